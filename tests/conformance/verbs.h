/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verbs.h: the lines of the conformance script as calls of libcow.
 *
 * A run owns the daemon, connections, open handles and variables of one run of the script.  A verb is
 * one function: it takes the words of a line, calls libcow, and leaves in the result what may be checked,
 * under the names that the protocol has.
 */
#ifndef TESTS_CONFORMANCE_VERBS_H
#define TESTS_CONFORMANCE_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/cow.h"
#include "tests/conformance/script.h"
#include "tests/lib/daemon.h"

#define VERBS_CONNS 5 /* numbers 1 to 4 */

struct verbs_handle {
	char name[16];
	unsigned int conn;
	cow_object_t *obj;
};

struct verbs_run {
	struct daemon d;
	bool made;     /* the daemon has a directory */
	bool damaged;  /* its store cannot pass the checker */
	char size[24]; /* of the store */
	char writeback_ms[24];
	cow_t *cow[VERBS_CONNS];
	struct verbs_handle *handles;
	size_t nhandles;
	struct script_vars vars;
};

/* The words of one run of a line; each has to be asked for. */
struct verbs_args {
	const struct script_vars *vars;
	char *words[SCRIPT_WORDS_MAX]; /* KEY=VALUE, expanded */
	bool used[SCRIPT_WORDS_MAX];
	size_t n;
};

enum verbs_kind { VERBS_NUMBER, VERBS_TEXT, VERBS_DATA, VERBS_EXTENTS };

struct verbs_value {
	const char *key;
	enum verbs_kind kind;
	uint64_t number; /* or the length of the data */
	char *text;	 /* owned; the data */
};

struct verbs_result {
	struct verbs_value values[24];
	size_t n;
};

/* The outcome: 0 or a negative COW_E* code. */
int verbs_call(struct verbs_run *run, const struct script_line *line, struct verbs_args *args,
	       struct verbs_result *result);
void verbs_result_clear(struct verbs_result *result);

/* The connection of that number, which for 1 is made where there is none. */
cow_t *verbs_conn(struct verbs_run *run, unsigned int number);

/* Ends all connections and what is open on them. */
void verbs_drop_all(struct verbs_run *run);

void verbs_args_init(struct verbs_args *args, const struct script_line *line, unsigned int index,
		     const struct script_vars *vars);

/* Ends the test where a word was not asked for. */
void verbs_args_done(struct verbs_args *args, const struct script_line *line);

/* The value, or "" or 0 where there is none. */
const char *verbs_text(struct verbs_args *args, const char *key);
uint64_t verbs_number(struct verbs_args *args, const char *key);

#endif
