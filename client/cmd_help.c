/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/cmd.h"

#include "client/commands.h"
#include "client/out.h"

static json_object *help_row(const struct ctl_command *command)
{
	json_object *row = json_object_new_object();

	out_json_add(row, "name", json_object_new_string(command->name));
	out_json_add(row, "usage", json_object_new_string(command->usage));
	out_json_add(row, "summary", json_object_new_string(command->summary));
	return row;
}

static int help_json(const struct ctl *ctl, const struct ctl_command *only)
{
	json_object *obj = out_json_new();
	json_object *rows = json_object_new_array();

	for (size_t i = 0; i < ncommands; i++)
		if (!only || only == &commands[i])
			(void)json_object_array_add(rows, help_row(&commands[i]));
	out_json_add(obj, "commands", rows);
	return out_json_print(ctl, obj);
}

int cmd_help(struct ctl *ctl)
{
	const char *name = ctl->args.noperands > 0 ? ctl->args.operands[0] : NULL;
	const struct ctl_command *command = name ? commands_find(name) : NULL;
	const char *near = name && !command ? commands_near(name) : NULL;

	if (name && !command)
		return ctl_fail(ctl, CTL_USAGE, name, "no such command%s%s%s",
				near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	if (ctl->json)
		return help_json(ctl, command);
	if (command)
		commands_print_usage(stdout, command);
	else
		commands_print_all(stdout);
	return CTL_OK;
}
