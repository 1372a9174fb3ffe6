/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/args.h"

#include <stdio.h>
#include <string.h>

#include "client/near.h"
#include "common/err.h"

const struct args_spec args_specs[ARGS_COUNT] = {
#define X(id, name, letter, value, help) {name, letter, value, help},
    ARGS_OPTIONS(X)
#undef X
};

/* The state of one pass over argv. */
struct scan {
	size_t argc;
	char **argv;
	size_t next; /* the argument to look at */
	struct args *args;
	char *problem;
};

static char scan_flag[] = "";

static int scan_set(struct scan *s, enum args_id id, char *value)
{
	struct args *args = s->args;

	if (id == ARGS_LABEL && args->nlabels == ARGS_LABELS_MAX) {
		(void)snprintf(s->problem, ARGS_PROBLEM_MAX, "too many labels");
		return -ERR_INVAL;
	}
	if (id == ARGS_LABEL)
		args->labels[args->nlabels++] = value;
	args->values[id] = value;
	args->given |= ARGS_BIT(id);
	return 0;
}

static int scan_unknown(struct scan *s, const char *name, size_t len)
{
	const char *names[ARGS_COUNT];
	const char *near;
	char text[64];

	for (size_t i = 0; i < ARGS_COUNT; i++)
		names[i] = args_specs[i].name;
	(void)snprintf(text, sizeof(text), "%.*s", (int)(len < 60 ? len : 60), name);
	near = near_find(text, names, ARGS_COUNT);
	(void)snprintf(s->problem, ARGS_PROBLEM_MAX, "unknown option --%s%s%s%s", text,
		       near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
	return -ERR_INVAL;
}

/* Options with such a value have no letter. */
static bool scan_may_lack(size_t id)
{
	return args_specs[id].value[0] == '[';
}

/* "--name", "--name=value", "--name value". */
static int scan_long(struct scan *s, char *text)
{
	size_t len = strcspn(text, "=");
	char *value = text[len] == '=' ? text + len + 1 : NULL;
	size_t id = 0;

	while (id < ARGS_COUNT &&
	       (strlen(args_specs[id].name) != len || strncmp(args_specs[id].name, text, len) != 0))
		id++;
	if (id == ARGS_COUNT)
		return scan_unknown(s, text, len);
	if (!args_specs[id].value && value) {
		(void)snprintf(s->problem, ARGS_PROBLEM_MAX, "option --%s takes no value",
			       args_specs[id].name);
		return -ERR_INVAL;
	}
	if (args_specs[id].value && !value && !scan_may_lack(id) && s->next < s->argc)
		value = s->argv[s->next++];
	if (args_specs[id].value && !value && !scan_may_lack(id)) {
		(void)snprintf(s->problem, ARGS_PROBLEM_MAX, "option --%s needs a value: %s",
			       args_specs[id].name, args_specs[id].value);
		return -ERR_INVAL;
	}
	return scan_set(s, (enum args_id)id, value ? value : scan_flag);
}

static size_t args_by_letter(char letter)
{
	size_t id = 0;

	while (id < ARGS_COUNT && (!letter || args_specs[id].letter != letter))
		id++;
	return id;
}

/* Letters together, "-lH"; the first that takes a value takes the rest, or the next argument. */
static int scan_short(struct scan *s, char *text)
{
	for (; *text; text++) {
		size_t id = args_by_letter(*text);
		char *value = text[1] ? text + 1 : NULL;

		if (id == ARGS_COUNT) {
			(void)snprintf(s->problem, ARGS_PROBLEM_MAX, "unknown option -%c", *text);
			return -ERR_INVAL;
		}
		if (!args_specs[id].value) {
			(void)scan_set(s, (enum args_id)id, scan_flag);
			continue;
		}
		if (!value && s->next < s->argc)
			value = s->argv[s->next++];
		if (!value) {
			(void)snprintf(s->problem, ARGS_PROBLEM_MAX, "option -%c needs a value: %s",
				       *text, args_specs[id].value);
			return -ERR_INVAL;
		}
		return scan_set(s, (enum args_id)id, value);
	}
	return 0;
}

static bool scan_is_operand(const char *text)
{
	return text[0] != '-' || text[1] == '\0' || (text[1] >= '0' && text[1] <= '9');
}

static void scan_operand(struct scan *s, char *text)
{
	s->args->operands[s->args->noperands++] = text;
}

int args_parse(size_t argc, char **argv, struct args *args, char problem[ARGS_PROBLEM_MAX])
{
	struct scan s = {.argc = argc, .argv = argv, .args = args, .problem = problem};
	bool ended = false;
	int err = 0;

	*args = (struct args){.operands = argv};
	while (err == 0 && s.next < argc) {
		char *text = argv[s.next++];

		if (ended || scan_is_operand(text))
			scan_operand(&s, text);
		else if (strcmp(text, "--") == 0)
			ended = true;
		else if (text[1] == '-')
			err = scan_long(&s, text + 2);
		else
			err = scan_short(&s, text + 1);
	}
	return err;
}

enum args_id args_not_allowed(const struct args *args, uint64_t mask)
{
	size_t id = 0;

	while (id < ARGS_COUNT && !(args->given & ~mask & ARGS_BIT(id)))
		id++;
	return (enum args_id)id;
}
