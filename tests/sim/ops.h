/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ops.h: random operations on the objects of a run (run.h), and what their answers say of the history.
 * All of it is of the loop's thread.
 */
#ifndef TESTS_SIM_OPS_H
#define TESTS_SIM_OPS_H

#include "server/loop.h"
#include "server/object.h"
#include "tests/sim/history.h"
#include "tests/sim/simdev.h"
#include "tests/sim/verify.h"

struct run_stats {
	bool tells;	 /* its runs say what they do */
	uint64_t states; /* that were recovered from */
	uint64_t ops;
	uint64_t refused; /* of these, for want of space or by a fault */
	uint64_t faults;  /* calls of the device that failed */
	uint64_t latches; /* runs that ended so */
	uint64_t turns;
	uint64_t digest; /* of all that happened; of several seeds the sum */
};

/* Something has happened that has this number. */
static inline void run_stats_note(struct run_stats *stats, uint64_t what)
{
	stats->digest = (stats->digest ^ what) * UINT64_C(0x9e3779b97f4a7c15);
	stats->digest ^= stats->digest >> 29;
}

/* Of the state that was judged last. */
struct run_judged {
	struct verify_found found[HISTORY_OBJS];
	bool still; /* nothing was in the device's cache alone */
	uint64_t moves;
	uint64_t commits;
};

/* What is going on with an object. */
struct run_obj {
	struct handle *handle; /* NULL: it is not open */
	uint64_t id;	       /* while it is open */
	unsigned int light;    /* fsyncs under way */
	bool busy;	       /* anything else is */
};

struct run {
	struct loop *loop;
	struct map *map;
	struct simdev *sd;
	struct objects *objs;
	struct history *history;
	struct run_obj at[HISTORY_OBJS];
	struct rnd rnd;
	struct run_stats *stats;
	const char *path;
	char verify_path[96];
	bool faults;
	uint64_t ooms;	  /* allocations that failed before it */
	bool tells;	  /* what it does */
	const char *kind; /* of the operation that is being begun */
	bool latched;	  /* or an operation on names failed: what is true is known after a start */
	unsigned int under_way;
	struct run_judged judged;
};

/* Begins one operation on some object that is free for it, or none. */
void ops_begin(struct run *run);

/* From now on an operation is drawn with this weight.  False: there is none of that name. */
bool ops_weigh(const char *name, unsigned int weight);

/* Opens an object; answered by and by. */
void ops_open(struct run *run, unsigned int i);

#endif
