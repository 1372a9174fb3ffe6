/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commands.h: the table of cowctl's commands, and the usage texts that are made of it.  Read-only;
 * any thread.
 */
#ifndef CLIENT_COMMANDS_H
#define CLIENT_COMMANDS_H

#include <stddef.h>
#include <stdio.h>

#include "client/ctl.h"

extern const struct ctl_command commands[];
extern const size_t ncommands;

/* By name or alias; NULL if there is none. */
const struct ctl_command *commands_find(const char *name);

/* The name of the command that a mistyped one may have meant; NULL. */
const char *commands_near(const char *name);

/* What "cowctl help" and "cowctl help COMMAND" print. */
void commands_print_all(FILE *out);
void commands_print_usage(FILE *out, const struct ctl_command *command);

#endif
