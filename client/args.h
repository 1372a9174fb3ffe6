/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * args.h: the options of cowctl and the taking apart of a command line.  Options and operands mix
 * freely; "--" ends the options; "-" is an operand, and so is what looks like a negative number.
 * Pure; a struct args points into argv.
 */
#ifndef CLIENT_ARGS_H
#define CLIENT_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

/* X(id, name, letter or 0, value's name or NULL, help): one row per option.  "[VALUE]": it may be left out,
 * and is not the next argument. */
#define ARGS_OPTIONS(X)                                                                            \
	X(URI, "uri", 'u', "URI", "the server (default $COW_URI, else the local socket)")          \
	X(TIMEOUT, "timeout", 0, "SEC", "give up when the server does not answer (default 60)")    \
	X(JSON, "json", 0, NULL, "print JSON")                                                     \
	X(QUIET, "quiet", 'q', NULL, "print no progress and no remarks")                           \
	X(VERBOSE, "verbose", 'v', NULL, "say more on stderr")                                     \
	X(HELP, "help", 'h', NULL, "show the usage")                                               \
	X(VERSION, "version", 'V', NULL, "show the version of cowctl")                             \
	X(FIELDS, "fields", 'o', "FIELDS", "the columns, separated by commas")                     \
	X(NO_HEADER, "no-header", 'H', NULL, "no header, tabs between columns, plain numbers")     \
	X(LONG, "long", 'l', NULL, "show more than names")                                         \
	X(PROGRESS, "progress", 0, "FD", "write the progress to a descriptor, as N/100 lines")     \
	X(FORCE, "force", 'f', NULL, "overwrite the destination")                                  \
	X(OFFSET, "offset", 0, "SIZE", "where to begin (default 0)")                               \
	X(LENGTH, "length", 0, "SIZE", "how much (default: all)")                                  \
	X(TO, "to", 0, "SIZE", "where in DST (default: as --offset)")                              \
	X(FSYNC, "fsync", 0, NULL, "make it durable at the end")                                   \
	X(DIRECT, "direct", 0, NULL, "past the server's cache")                                    \
	X(SHRINK, "shrink", 0, NULL, "allow a smaller size")                                       \
	X(YES, "yes", 'y', NULL, "do not ask")                                                     \
	X(COPIES, "count", 'N', "COUNT", "make so many, numbered from 0")                          \
	X(RESERVE, "reserve", 0, "[SIZE]", "reserve space for it (default: its size)")             \
	X(TTL, "ttl", 0, "TIME", "remove it after so long (30s, 15m, 2h, 7d)")                     \
	X(LABEL, "label", 0, "KEY=VALUE", "a label; may be given again")                           \
	X(DRY_RUN, "dry-run", 'n', NULL, "only say what would be removed, and what that frees")    \
	X(RECURSIVE, "recursive", 'r', NULL, "with the versions of objects")                       \
	X(WAIT, "wait", 0, NULL, "wait until the space can be used again")                         \
	X(FROM, "from", 0, "VERSION", "only what changed since this version")                      \
	X(SKIP_TO, "skip-to", 0, "SIZE", "only what is at this offset and behind it")              \
	X(RESUME, "resume", 0, NULL, "go on with an import that was cut")                          \
	X(EXCHANGE, "exchange", 0, NULL, "swap two names that both exist")                         \
	X(IF_GENERATION, "if-generation", 0, "N", "only if this is still the object's generation") \
	X(IF_DELETED, "if-deleted", 0, NULL, "say what removing all of them would free")           \
	X(IF, "if", 0, "KEY=VALUE", "only if it has this label")                                   \
	X(UNLESS, "unless", 0, "KEY", "only if it has no label of this key")                       \
	X(SUMMARY, "summary", 's', NULL, "show the totals only")                                   \
	X(ALL, "all", 0, NULL, "all objects and versions of the store")                            \
	X(RATE, "rate", 0, "SIZE", "read no more than this a second (default: no limit)")          \
	X(NAME, "name", 0, "NAME", "what the clone is called (default: a new name)")               \
	X(KEEP, "keep-on-failure", 0, NULL, "keep the clone if the command fails")

enum args_id {
#define X(id, name, letter, value, help) ARGS_##id,
	ARGS_OPTIONS(X)
#undef X
	    ARGS_COUNT,
};

#define ARGS_BIT(id) (UINT64_C(1) << (id))

_Static_assert(ARGS_COUNT <= 64, "a bit for each");

/* What every command takes. */
#define ARGS_COMMON                                                            \
	(ARGS_BIT(ARGS_URI) | ARGS_BIT(ARGS_TIMEOUT) | ARGS_BIT(ARGS_JSON) |   \
	 ARGS_BIT(ARGS_QUIET) | ARGS_BIT(ARGS_VERBOSE) | ARGS_BIT(ARGS_HELP) | \
	 ARGS_BIT(ARGS_VERSION))

struct args_spec {
	const char *name;
	char letter;
	const char *value; /* NULL: a flag */
	const char *help;
};

extern const struct args_spec args_specs[ARGS_COUNT];

/* More labels than a name can have: they have 1024 bytes together, and 3 each. */
#define ARGS_LABELS_MAX 342

struct args {
	const char *values
	    [ARGS_COUNT]; /* NULL: not given; "" for a flag, and where a value was left out; of
					   many the last */
	uint64_t given;	  /* ARGS_BIT()s */
	char *labels[ARGS_LABELS_MAX]; /* all values of --label */
	size_t nlabels;
	char **operands;
	size_t noperands;
};

#define ARGS_PROBLEM_MAX 200

/*
 * Sorts argv (without the program's name): the operands are moved to its front.  -ERR_INVAL for an
 * unknown option, one without its value or with one that it does not take, and for too many labels;
 * "problem" then says so.
 */
int args_parse(size_t argc, char **argv, struct args *args,
	       char problem[ARGS_PROBLEM_MAX]) MUST_CHECK;

static inline bool args_has(const struct args *args, enum args_id id)
{
	return args->values[id] != NULL;
}

/* An option that was given and is not in the mask; ARGS_COUNT if there is none. */
enum args_id args_not_allowed(const struct args *args, uint64_t mask);

#endif
