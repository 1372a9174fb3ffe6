/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * commands.h: the table of cowctl's commands, and the usage texts that are made of it.  Read-only;
 * any thread.
 */
#ifndef CLIENT_COMMANDS_H
#define CLIENT_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "client/ctl.h"

extern const struct ctl_command commands[];
extern const size_t ncommands;

/*
 * The command whose name or alias the words begin with, and how many of them that is ("snap add" is
 * two); NULL if there is none.
 */
const struct ctl_command *commands_find(char *const *words, size_t nwords, size_t *used);

/* Whether the word is the first of two that name a command. */
bool commands_is_group(const char *word);
bool commands_in_group(const struct ctl_command *command, const char *word);

/*
 * "unknown command ...", with the command that the words may have meant, or where to look.  Returns
 * buf.
 */
#define COMMANDS_TEXT_MAX 256
const char *commands_unknown(char buf[COMMANDS_TEXT_MAX], char *const *words, size_t nwords);

/* What "cowctl help", "cowctl help COMMAND" and "cowctl help snap" print. */
void commands_print_all(FILE *out);
void commands_print_usage(FILE *out, const struct ctl_command *command);
void commands_print_group(FILE *out, const char *word);

#endif
