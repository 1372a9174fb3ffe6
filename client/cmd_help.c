/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/cmd.h"

#include "client/commands.h"
#include "client/out.h"

static json_object *help_row(const struct ctl_command *command)
{
	json_object *row = json_object_new_object();

	out_json_add(row, "name", out_json_text(command->name));
	out_json_add(row, "usage", out_json_text(command->usage));
	out_json_add(row, "summary", out_json_text(command->summary));
	return row;
}

/* What the words leave of the commands: one, a group, or with no words all. */
static bool help_wants(const struct ctl_command *command, const struct ctl_command *only,
		       const char *group)
{
	if (only)
		return command == only;
	return !group || commands_in_group(command, group);
}

static int help_json(const struct ctl *ctl, const struct ctl_command *only, const char *group)
{
	json_object *obj = out_json_new();
	json_object *rows = json_object_new_array();

	for (size_t i = 0; i < ncommands; i++)
		if (help_wants(&commands[i], only, group))
			(void)json_object_array_add(rows, help_row(&commands[i]));
	out_json_add(obj, "commands", rows);
	return out_json_print(ctl, obj);
}

int cmd_help(struct ctl *ctl)
{
	char **words = ctl->args.operands;
	size_t nwords = ctl->args.noperands;
	size_t used = 0;
	const struct ctl_command *command = commands_find(words, nwords, &used);
	const char *group = nwords == 1 && commands_is_group(words[0]) ? words[0] : NULL;
	char text[COMMANDS_TEXT_MAX];

	if (nwords > 0 && used != nwords && !group)
		return ctl_fail(ctl, CTL_USAGE, NULL, "%s", commands_unknown(text, words, nwords));
	if (ctl->json)
		return help_json(ctl, command, group);
	if (command)
		commands_print_usage(stdout, command);
	else if (group)
		commands_print_group(stdout, group);
	else
		commands_print_all(stdout);
	return CTL_OK;
}
