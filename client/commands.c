/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/commands.h"

#include <stdio.h>
#include <string.h>

#include "client/cmd.h"
#include "client/near.h"
#include "client/show.h"

#define NONE	  0u
#define TABLE	  (ARGS_BIT(ARGS_FIELDS) | ARGS_BIT(ARGS_NO_HEADER))
#define DIRECT	  ARGS_BIT(ARGS_DIRECT)
#define RANGE	  (ARGS_BIT(ARGS_OFFSET) | ARGS_BIT(ARGS_LENGTH))
#define COPY	  (ARGS_BIT(ARGS_FORCE) | ARGS_BIT(ARGS_PROGRESS))
#define WRITE	  (ARGS_BIT(ARGS_OFFSET) | ARGS_BIT(ARGS_FSYNC))
#define LONG	  (TABLE | ARGS_BIT(ARGS_LONG))
#define LABEL	  ARGS_BIT(ARGS_LABEL)
#define ATTRS	  (LABEL | ARGS_BIT(ARGS_TTL))
#define CREATE	  (ATTRS | ARGS_BIT(ARGS_RESERVE))
#define CLONE	  (ATTRS | ARGS_BIT(ARGS_COPIES) | ARGS_BIT(ARGS_PROGRESS))
#define WITH	  (ATTRS | ARGS_BIT(ARGS_NAME) | ARGS_BIT(ARGS_KEEP))
#define SHRINK	  ARGS_BIT(ARGS_SHRINK)
#define YES	  ARGS_BIT(ARGS_YES)
#define EXCHANGE  ARGS_BIT(ARGS_EXCHANGE)
#define RECURSIVE ARGS_BIT(ARGS_RECURSIVE)
#define ZERO	  (WRITE | YES | ARGS_BIT(ARGS_LENGTH))
#define RANGES	  (RANGE | YES | ARGS_BIT(ARGS_TO))
#define UNSHARE	  (WRITE | ARGS_BIT(ARGS_LENGTH) | ARGS_BIT(ARGS_PROGRESS))
#define VERIFY	  (RANGE | ARGS_BIT(ARGS_ALL) | ARGS_BIT(ARGS_RATE) | ARGS_BIT(ARGS_PROGRESS))
#define DU	  (TABLE | RECURSIVE | ARGS_BIT(ARGS_IF_DELETED))
#define REMOVE	  (YES | ARGS_BIT(ARGS_DRY_RUN) | ARGS_BIT(ARGS_WAIT) | ARGS_BIT(ARGS_PROGRESS))
#define EXPECT	  (ARGS_BIT(ARGS_IF) | ARGS_BIT(ARGS_UNLESS))
#define MANY	  CTL_MANY

const struct ctl_command commands[] = {
    {"create", NULL, "[--reserve[=SIZE]] [--ttl=TIME] [--label=KEY=VALUE]... OBJ SIZE",
     "make an object, all zeros", 2, 2, CREATE, cmd_create},
    {"ls", "list", "[-l] [-o FIELDS] [-H] [--label=KEY[=VALUE]] [PREFIX]", "list objects", 0, 1,
     LONG | LABEL, cmd_ls},
    {"info", NULL, "[-o FIELDS] [-H] OBJ...", "show what is known of objects and versions", 1, MANY,
     TABLE, cmd_info},
    {"clone", NULL,
     "[-N COUNT [--progress=FD]] [--ttl=TIME] [--label=KEY=VALUE]... SRC DST|PATTERN%d",
     "make DST an instant copy of SRC, or make COUNT of them", 2, 2, CLONE, cmd_clone},
    {"clone-all", NULL, "[--ttl=TIME] [--label=KEY=VALUE]... SRC DST [SRC DST]...",
     "make copies of several objects, of one point in time", 2, MANY, ATTRS, cmd_clone_all},
    {"with-clone", NULL,
     "[--ttl=TIME] [--label=KEY=VALUE]... [--name=NAME] [--keep-on-failure] SRC -- COMMAND "
     "[ARG]...",
     "run a command with a clone of SRC, which is then removed", 2, MANY, WITH, cmd_with_clone},
    {"tree", NULL, "[-o FIELDS] [-H] [OBJ]", "show what was cloned from what", 0, 1, TABLE,
     cmd_tree},
    {"children", NULL, "[-r] [-l] [-o FIELDS] [-H] OBJ", "list the clones of an object or version",
     1, 1, LONG | RECURSIVE, cmd_children},
    {"snap add", "snap create", "[--ttl=TIME] [--label=KEY=VALUE]... OBJ@VERSION...",
     "make versions of objects, of one point in time", 1, MANY, ATTRS, cmd_snap_add},
    {"snap ls", "snap list", "[-l] [-o FIELDS] [-H] OBJ", "list the versions of an object", 1, 1,
     LONG, cmd_snap_ls},
    {"snap rm", NULL, "[-n | --wait [--progress=FD]] [-y] OBJ@VERSION...", "remove versions", 1,
     MANY, REMOVE, cmd_snap_rm},
    {"snap rename", NULL, "OBJ@VERSION VERSION", "give a version another name", 2, 2, NONE,
     cmd_snap_rename},
    {"reset", NULL, "[-y] OBJ [@VERSION]", "give an object back the content of a version", 1, 2,
     YES, cmd_reset},
    {"set", NULL, "[--if=KEY=VALUE] [--unless=KEY] OBJ KEY=VALUE...",
     "set labels, ttl=TIME, readonly=yes or reservation=SIZE", 2, MANY, EXPECT, cmd_set},
    {"get", NULL, "[-o FIELDS] [-H] OBJ [KEY]", "show the attributes of an object, or one of them",
     1, 2, TABLE, cmd_get},
    {"unset", NULL, "[--if=KEY=VALUE] [--unless=KEY] OBJ KEY...",
     "take away labels, ttl, readonly or reservation", 2, MANY, EXPECT, cmd_unset},
    {"mv", NULL, "[--exchange] OLD NEW", "rename an object, or swap two names", 2, 2, EXCHANGE,
     cmd_mv},
    {"cp", NULL, "[-f] [--direct] [--progress=FD] SRC DST",
     "copy data between an object and a file, \"-\" or another object, of another server too", 2, 2,
     COPY | DIRECT, cmd_cp},
    {"cat", NULL, "[--offset=SIZE] [--length=SIZE] [--direct] OBJ", "print an object's data", 1, 1,
     RANGE | DIRECT, cmd_cat},
    {"write", NULL, "[--offset=SIZE] [--if-generation=N] [--direct] [--fsync] OBJ",
     "write standard input into an object", 1, 1, WRITE | DIRECT | ARGS_BIT(ARGS_IF_GENERATION),
     cmd_write},
    {"write-all", NULL, "[--direct] [--fsync] OBJ OFFSET FILE [OBJ OFFSET FILE]...",
     "write files into several objects, all of it or nothing", 3, MANY,
     DIRECT | ARGS_BIT(ARGS_FSYNC), cmd_write_all},
    {"zero", NULL, "[--offset=SIZE] [--length=SIZE] [--fsync] [-y] OBJ",
     "make a range of an object zeros", 1, 1, ZERO, cmd_zero},
    {"trim", NULL, "[--offset=SIZE] [--length=SIZE] [--fsync] [-y] OBJ",
     "give back the whole blocks of a range, as zeros", 1, 1, ZERO, cmd_trim},
    {"clone-range", "reflink", "[--offset=SIZE] [--to=SIZE] [--length=SIZE] [-y] SRC DST",
     "make a range of DST an instant copy of one of SRC", 2, 2, RANGES, cmd_clone_range},
    {"unshare", NULL, "[--offset=SIZE] [--length=SIZE] [--fsync] [--progress=FD] OBJ",
     "give an object copies of its own of what it shares", 1, 1, UNSHARE, cmd_unshare},
    {"map", NULL, "[-s] [--offset=SIZE] [--length=SIZE] [-o FIELDS] [-H] OBJ",
     "show where data, holes and zeros are, and what is shared", 1, 1,
     TABLE | RANGE | ARGS_BIT(ARGS_SUMMARY), cmd_map},
    {"diff", NULL, "[-o FIELDS] [-H] A [B]", "show where an object or version differs from another",
     1, 2, TABLE, cmd_diff},
    {"compare", NULL, "[--progress=FD] A B", "compare the bytes of objects, versions and files", 2,
     2, ARGS_BIT(ARGS_PROGRESS), cmd_compare},
    {"export-diff", NULL,
     "[--from=@VERSION] [--skip-to=SIZE] [-f] [--progress=FD] OBJ@VERSION FILE|-",
     "write a version, or what changed since another, as a stream", 2, 2,
     COPY | ARGS_BIT(ARGS_FROM) | ARGS_BIT(ARGS_SKIP_TO), cmd_export_diff},
    {"import-diff", NULL, "[--resume] [--progress=FD] FILE|- OBJ",
     "bring an object to the version of a stream", 2, 2,
     ARGS_BIT(ARGS_RESUME) | ARGS_BIT(ARGS_PROGRESS), cmd_import_diff},
    {"fsync", NULL, "OBJ...", "make all that was written to objects durable, as one commit", 1,
     MANY, NONE, cmd_fsync},
    {"resize", NULL, "[--shrink] OBJ [+|-]SIZE", "set, raise or lower an object's size", 2, 2,
     SHRINK, cmd_resize},
    {"rm", NULL, "[-n | --wait [--progress=FD]] [-r] [-y] OBJ...", "remove objects and versions", 1,
     MANY, REMOVE | RECURSIVE, cmd_rm},
    {"du", NULL, "[-r] [--if-deleted] [-o FIELDS] [-H] OBJ...", "show the space that objects use",
     1, MANY, DU, cmd_du},
    {"df", NULL, "[-o FIELDS] [-H]", "show the space of the store", 0, 0, TABLE, cmd_df},
    {"verify", "scrub",
     "[--rate=SIZE] [--offset=SIZE] [--length=SIZE] [--progress=FD] OBJ... | --all",
     "have the server read data from its device and compare it with the checksums", 0, MANY, VERIFY,
     cmd_verify},
    {"check", NULL, "", "have the server check its metadata", 0, 0, NONE, cmd_check},
    {"ping", NULL, "", "measure one exchange with the server", 0, 0, NONE, cmd_ping},
    {"server", NULL, "", "show what the server is and where it listens", 0, 0, NONE, cmd_server},
    {"version", NULL, "", "show the versions of cowctl and of the server", 0, 0, NONE, cmd_version},
    {"help", NULL, "[COMMAND]", "show how to use a command", 0, 2, NONE, cmd_help},
};

const size_t ncommands = ARRAY_LEN(commands);

/* What -o takes. */
static const struct {
	int (*run)(struct ctl *ctl);
	const struct out_column *columns;
	size_t n;
} commands_columns[] = {
    {cmd_ls, show_columns, SHOW_COLUMNS},
    {cmd_info, show_columns, SHOW_COLUMNS},
    {cmd_children, show_columns, SHOW_COLUMNS},
    {cmd_snap_ls, show_columns, SHOW_COLUMNS},
    {cmd_tree, cmd_tree_columns, CMD_TREE_COLUMNS},
    {cmd_du, cmd_du_columns, CMD_DU_COLUMNS},
    {cmd_df, cmd_df_columns, CMD_DF_COLUMNS},
    {cmd_get, cmd_get_columns, CMD_GET_COLUMNS},
    {cmd_map, cmd_map_columns, CMD_MAP_COLUMNS},
    {cmd_map, cmd_map_totals_columns, CMD_MAP_TOTALS_COLUMNS},
    {cmd_diff, cmd_diff_columns, CMD_DIFF_COLUMNS},
};

/* Where an option means something else than in most commands. */
static const struct {
	int (*run)(struct ctl *ctl);
	enum args_id id;
	struct args_spec spec;
} commands_options[] = {
    {cmd_ls,
     ARGS_LABEL,
     {"label", 0, "KEY[=VALUE]", "only what has this label, with any or this value"}},
    {cmd_with_clone,
     ARGS_TTL,
     {"ttl", 0, "TIME", "how long the clone outlives cowctl (default 1m)"}},
    {cmd_children, ARGS_RECURSIVE, {"recursive", 'r', NULL, "with the clones of its versions"}},
};

/* ---- finding --------------------------------------------------------------------------------- */

/* How many of the words are this name, which has one or two; 0 if they are not. */
static size_t commands_match(const char *name, char *const *words, size_t nwords)
{
	size_t len = strcspn(name, " ");

	if (nwords < 1 || strlen(words[0]) != len || strncmp(words[0], name, len) != 0)
		return 0;
	if (name[len] == '\0')
		return 1;
	return nwords > 1 && strcmp(words[1], name + len + 1) == 0 ? 2 : 0;
}

const struct ctl_command *commands_find(char *const *words, size_t nwords, size_t *used)
{
	for (size_t i = 0; i < ncommands; i++) {
		const struct ctl_command *command = &commands[i];
		size_t n = commands_match(command->name, words, nwords);

		if (n == 0 && command->alias)
			n = commands_match(command->alias, words, nwords);
		if (n == 0)
			continue;
		*used = n;
		return command;
	}
	return NULL;
}

bool commands_in_group(const struct ctl_command *command, const char *word)
{
	size_t len = strlen(word);

	return strncmp(command->name, word, len) == 0 && command->name[len] == ' ';
}

bool commands_is_group(const char *word)
{
	for (size_t i = 0; i < ncommands; i++)
		if (commands_in_group(&commands[i], word))
			return true;
	return false;
}

/* What other tools call it; a word of the second column is a command. */
static const char *const commands_elsewhere[][2] = {
    {"rename", "mv"},
    {"move", "mv"},
    {"delete", "rm"},
    {"remove", "rm"},
    {"destroy", "rm"},
    {"rollback", "reset"},
    {"revert", "reset"},
    {"snapshot", "snap add"},
    {"stat", "info"},
    {"show", "info"},
    {"snap delete", "snap rm"},
    {"snap remove", "snap rm"},
    {"snap destroy", "snap rm"},
    {"snap mv", "snap rename"},
    {"snap move", "snap rename"},
    {"snap rollback", "reset"},
    {"snap revert", "reset"},
    {"snap reset", "reset"},
    {"copy-range", "clone-range"},
};

/* The command that was meant, or NULL. */
static const char *commands_guess(const char *text)
{
	const char *names[2 * ARRAY_LEN(commands)];

	for (size_t i = 0; i < ARRAY_LEN(commands_elsewhere); i++)
		if (strcmp(commands_elsewhere[i][0], text) == 0)
			return commands_elsewhere[i][1];
	for (size_t i = 0; i < ncommands; i++) {
		names[2 * i] = commands[i].name;
		names[2 * i + 1] = commands[i].alias;
	}
	return near_find(text, names, ARRAY_LEN(names));
}

const char *commands_unknown(char buf[COMMANDS_TEXT_MAX], char *const *words, size_t nwords)
{
	bool two = nwords > 1 && commands_is_group(words[0]);
	const char *near;
	char text[128];

	if (nwords == 1 && commands_is_group(words[0])) {
		(void)snprintf(buf, COMMANDS_TEXT_MAX, "%.60s what? (cowctl help %.60s)", words[0],
			       words[0]);
		return buf;
	}
	(void)snprintf(text, sizeof(text), "%.60s%s%.60s", words[0], two ? " " : "",
		       two ? words[1] : "");
	near = commands_guess(text);
	(void)snprintf(buf, COMMANDS_TEXT_MAX, "unknown command %s%s%s%s", text,
		       near ? "; did you mean " : " (cowctl help lists them)", near ? near : "",
		       near ? "?" : "");
	return buf;
}

/* ---- usage ----------------------------------------------------------------------------------- */

static const struct args_spec *commands_option(const struct ctl_command *command, enum args_id id)
{
	for (size_t i = 0; command && i < ARRAY_LEN(commands_options); i++)
		if (commands_options[i].run == command->run && commands_options[i].id == id)
			return &commands_options[i].spec;
	return &args_specs[id];
}

/* "  -o, --fields=FIELDS    the columns"; command: whose options they are, or NULL. */
static void commands_print_options(FILE *out, const struct ctl_command *command, uint64_t mask)
{
	char left[64];

	for (size_t i = 0; i < ARGS_COUNT; i++) {
		const struct args_spec *spec = commands_option(command, (enum args_id)i);
		char letter[8] = "    ";

		if (!(mask & ARGS_BIT(i)))
			continue;
		if (spec->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ", spec->letter);
		(void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, spec->name,
			       spec->value ? "=" : "", spec->value ? spec->value : "");
		(void)fprintf(out, "  %-23s %s\n", left, spec->help);
	}
}

static void commands_print_fields(FILE *out, const struct ctl_command *command)
{
	char names[OUT_NAMES_MAX];

	for (size_t i = 0; i < ARRAY_LEN(commands_columns); i++)
		if (commands_columns[i].run == command->run)
			(void)fprintf(
			    out, "\nfields: %s\n",
			    out_names(names, commands_columns[i].columns, commands_columns[i].n));
}

void commands_print_all(FILE *out)
{
	(void)fprintf(out, "usage: cowctl [OPTION...] COMMAND [ARGUMENT...]\n\ncommands:\n");
	for (size_t i = 0; i < ncommands; i++)
		(void)fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
	(void)fprintf(out, "\noptions of every command:\n");
	commands_print_options(out, NULL, ARGS_COMMON);
	(void)fprintf(out, "\n\"cowctl help COMMAND\" says more; so does cowctl(1).\n");
}

void commands_print_usage(FILE *out, const struct ctl_command *command)
{
	(void)fprintf(out, "usage: cowctl [OPTION...] %s%s%s\n", command->name,
		      command->usage[0] ? " " : "", command->usage);
	if (command->alias)
		(void)fprintf(out, "alias: %s\n", command->alias);
	(void)fprintf(out, "\n%s\n\noptions:\n", command->summary);
	commands_print_options(out, command, command->options | ARGS_COMMON);
	commands_print_fields(out, command);
}

void commands_print_group(FILE *out, const char *word)
{
	const char *lead = "usage:";

	for (size_t i = 0; i < ncommands; i++) {
		if (!commands_in_group(&commands[i], word))
			continue;
		(void)fprintf(out, "%s cowctl [OPTION...] %s %s\n", lead, commands[i].name,
			      commands[i].usage);
		lead = "      ";
	}
	(void)fprintf(out, "\n\"cowctl help %s COMMAND\" says more; so does cowctl(1).\n", word);
}
