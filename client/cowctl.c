/* SPDX-License-Identifier: BSD-2-Clause */
/* cowctl: the command line of cowd. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "client/commands.h"
#include "client/ctl.h"
#include "client/out.h"

/* No command, but perhaps the first word of some. */
static int main_unknown(const struct ctl *ctl)
{
	char text[COMMANDS_TEXT_MAX];

	if (args_has(&ctl->args, ARGS_HELP) && commands_is_group(ctl->args.operands[0])) {
		commands_print_group(stdout, ctl->args.operands[0]);
		return CTL_OK;
	}
	return ctl_fail(ctl, CTL_USAGE, NULL, "%s",
			commands_unknown(text, ctl->args.operands, ctl->args.noperands));
}

/* Without a command only --help and --version mean something. */
static int main_no_command(const struct ctl *ctl)
{
	if (args_has(&ctl->args, ARGS_VERSION)) {
		(void)printf("cowctl %s\n", cow_version());
		return CTL_OK;
	}
	if (args_has(&ctl->args, ARGS_HELP)) {
		commands_print_all(stdout);
		return CTL_OK;
	}
	commands_print_all(stderr);
	return CTL_USAGE;
}

static int main_check(const struct ctl *ctl)
{
	const struct ctl_command *command = ctl->command;
	enum args_id wrong = args_not_allowed(&ctl->args, command->options | ARGS_COMMON);

	if (wrong != ARGS_COUNT)
		return ctl_fail(ctl, CTL_USAGE, NULL, "it takes no option --%s (cowctl help %s)",
				args_specs[wrong].name, command->name);
	if (ctl->args.noperands < command->least || ctl->args.noperands > command->most)
		return ctl_fail(ctl, CTL_USAGE, NULL, "too %s arguments; usage: cowctl %s %s",
				ctl->args.noperands < command->least ? "few" : "many",
				command->name, command->usage);
	return CTL_OK;
}

static int main_run(struct ctl *ctl)
{
	int status;

	if (args_has(&ctl->args, ARGS_HELP)) {
		commands_print_usage(stdout, ctl->command);
		return CTL_OK;
	}
	status = main_check(ctl);
	if (status == CTL_OK)
		status = ctl->command->run(ctl);
	cow_free(ctl->cow);
	return status;
}

/* The command is the first operand, or the first two. */
static int main_dispatch(struct ctl *ctl)
{
	size_t used = 0;

	if (ctl->args.noperands == 0 || args_has(&ctl->args, ARGS_VERSION))
		return main_no_command(ctl);
	ctl->command = commands_find(ctl->args.operands, ctl->args.noperands, &used);
	if (!ctl->command)
		return main_unknown(ctl);
	ctl->args.operands += used;
	ctl->args.noperands -= used;
	ctl->json = args_has(&ctl->args, ARGS_JSON);
	ctl->quiet = args_has(&ctl->args, ARGS_QUIET);
	ctl->verbose = args_has(&ctl->args, ARGS_VERBOSE);
	return main_run(ctl);
}

int main(int argc, char **argv)
{
	char problem[ARGS_PROBLEM_MAX];
	struct ctl ctl = {0};
	int status;
	int finished;

	/* for the width of names in tables; a number is written alike everywhere */
	(void)setlocale(LC_CTYPE, "");
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc < 1)
		return CTL_USAGE;
	if (args_parse((size_t)argc - 1, argv + 1, &ctl.args, problem) < 0)
		return ctl_fail(&ctl, CTL_USAGE, NULL, "%s", problem);
	status = main_dispatch(&ctl);
	finished = out_finish(&ctl);
	return status != CTL_OK ? status : finished;
}
