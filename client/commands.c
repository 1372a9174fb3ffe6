/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/commands.h"

#include <string.h>

#include "client/cmd.h"
#include "client/near.h"

#define NONE   0u
#define TABLE  (ARGS_BIT(ARGS_FIELDS) | ARGS_BIT(ARGS_NO_HEADER))
#define RANGE  (ARGS_BIT(ARGS_OFFSET) | ARGS_BIT(ARGS_LENGTH))
#define COPY   (ARGS_BIT(ARGS_FORCE) | ARGS_BIT(ARGS_PROGRESS))
#define WRITE  (ARGS_BIT(ARGS_OFFSET) | ARGS_BIT(ARGS_FSYNC))
#define LIST   (TABLE | ARGS_BIT(ARGS_LONG))
#define SHRINK ARGS_BIT(ARGS_SHRINK)
#define YES    ARGS_BIT(ARGS_YES)
#define MANY   CTL_MANY

const struct ctl_command commands[] = {
    {"create", NULL, "OBJ SIZE", "make an object, all zeros", 2, 2, NONE, cmd_create},
    {"ls", "list", "[-l] [-o FIELDS] [-H] [PREFIX]", "list objects", 0, 1, LIST, cmd_ls},
    {"info", NULL, "[-o FIELDS] [-H] OBJ...", "show what is known of objects", 1, MANY, TABLE,
     cmd_info},
    {"clone", NULL, "SRC DST", "make DST an instant copy of SRC", 2, 2, NONE, cmd_clone},
    {"cp", NULL, "[-f] [--progress=FD] SRC DST",
     "copy data between an object and a file, \"-\" or another object", 2, 2, COPY, cmd_cp},
    {"cat", NULL, "[--offset=SIZE] [--length=SIZE] OBJ", "print an object's data", 1, 1, RANGE,
     cmd_cat},
    {"write", NULL, "[--offset=SIZE] [--fsync] OBJ", "write standard input into an object", 1, 1,
     WRITE, cmd_write},
    {"fsync", NULL, "OBJ", "make all that was written to an object durable", 1, 1, NONE, cmd_fsync},
    {"resize", NULL, "[--shrink] OBJ [+|-]SIZE", "set, raise or lower an object's size", 2, 2,
     SHRINK, cmd_resize},
    {"rm", NULL, "[-y] OBJ...", "remove objects", 1, MANY, YES, cmd_rm},
    {"df", NULL, "[-o FIELDS] [-H]", "show the space of the store", 0, 0, TABLE, cmd_df},
    {"ping", NULL, "", "measure one exchange with the server", 0, 0, NONE, cmd_ping},
    {"version", NULL, "", "show the versions of cowctl and of the server", 0, 0, NONE, cmd_version},
    {"help", NULL, "[COMMAND]", "show how to use a command", 0, 1, NONE, cmd_help},
};

const size_t ncommands = ARRAY_LEN(commands);

const struct ctl_command *commands_find(const char *name)
{
	for (size_t i = 0; i < ncommands; i++)
		if (strcmp(commands[i].name, name) == 0 ||
		    (commands[i].alias && strcmp(commands[i].alias, name) == 0))
			return &commands[i];
	return NULL;
}

const char *commands_near(const char *name)
{
	const char *names[2 * ARRAY_LEN(commands)];

	for (size_t i = 0; i < ncommands; i++) {
		names[2 * i] = commands[i].name;
		names[2 * i + 1] = commands[i].alias;
	}
	return near_find(name, names, ARRAY_LEN(names));
}

/* "  -o, --fields=FIELDS    the columns" */
static void commands_print_options(FILE *out, unsigned int mask)
{
	char left[64];

	for (size_t i = 0; i < ARGS_COUNT; i++) {
		const struct args_spec *spec = &args_specs[i];
		char letter[8] = "    ";

		if (!(mask & ARGS_BIT(i)))
			continue;
		if (spec->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ", spec->letter);
		(void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, spec->name,
			       spec->value ? "=" : "", spec->value ? spec->value : "");
		(void)fprintf(out, "  %-22s %s\n", left, spec->help);
	}
}

void commands_print_all(FILE *out)
{
	(void)fprintf(out, "usage: cowctl [OPTION...] COMMAND [ARGUMENT...]\n\ncommands:\n");
	for (size_t i = 0; i < ncommands; i++)
		(void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	(void)fprintf(out, "\noptions of every command:\n");
	commands_print_options(out, ARGS_COMMON);
	(void)fprintf(out, "\n\"cowctl help COMMAND\" says more; so does cowctl(1).\n");
}

void commands_print_usage(FILE *out, const struct ctl_command *command)
{
	(void)fprintf(out, "usage: cowctl [OPTION...] %s%s%s\n", command->name,
		      command->usage[0] ? " " : "", command->usage);
	if (command->alias)
		(void)fprintf(out, "alias: %s\n", command->alias);
	(void)fprintf(out, "\n%s\n\noptions:\n", command->summary);
	commands_print_options(out, command->options | ARGS_COMMON);
}
