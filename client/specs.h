/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * specs.h: the objects and versions that a command of cowctl is about, and what they use together.
 * Main thread only.
 */
#ifndef CLIENT_SPECS_H
#define CLIENT_SPECS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/ctl.h"
#include "common/annot.h"

/* How long the server may take for the usage of large objects. */
#define SPECS_PATIENCE_SEC 600u

/* Their names, each owned and each but once, in the order in which they were found. */
struct specs {
	char **names;
	size_t n;
};

struct specs_usage {
	struct cow_usage usage;
	bool exact; /* false: they were too many for one question, and exclusive is the least */
};

enum specs_how {
	SPECS_NAMED,
	SPECS_WITH_VERSIONS, /* each object is followed by its versions */
	SPECS_REMOVABLE,     /* no object with versions that are not named before it */
};

/*
 * Those that the operands name and that exist.  0, or the exit status of the first that does not
 * exist or is not to be taken, printed; the others are there all the same.
 */
int specs_collect(const struct ctl *ctl, enum specs_how how, struct specs *specs) MUST_CHECK;
void specs_clear(struct specs *specs);

/* Of at least one.  0 or an exit status, printed. */
int specs_get_usage(const struct ctl *ctl, const struct specs *specs,
		    struct specs_usage *usage) MUST_CHECK;

#endif
