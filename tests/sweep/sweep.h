/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep.h: a workload on an engine in simulated time, of which one call fails.
 *
 * A workload is a table of steps; each begins an operation and waits for all that is under way, unless
 * it is marked to go on beside it.  What failed though the fault was a single one is begun once more,
 * and must succeed then.  Each object is open by two handles: by the first all is done, the other one
 * hears of failures only where it is asked at the end.  All of it is of the loop's thread.
 */
#ifndef TESTS_SWEEP_SWEEP_H
#define TESTS_SWEEP_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "server/dev.h"
#include "server/object.h"
#include "tests/sim/history.h"
#include "tests/sim/simdev.h"
#include "tests/sim/verify.h"
#include "tests/sweep/fault.h"

/* X(name, text) */
#define STEPS(X)                  \
	X(CREATE, "create")       \
	X(OPEN, "open")           \
	X(CLOSE, "close")         \
	X(WRITE, "write")         \
	X(DIRECT, "write-direct") \
	X(WRITEV, "writev")       \
	X(WRITE_ALL, "write-all") \
	X(ZERO, "zero")           \
	X(TRIM, "trim")           \
	X(RESIZE, "resize")       \
	X(FSYNC, "fsync")         \
	X(FSYNC_ALL, "fsync-all") \
	X(CLONE, "clone")         \
	X(SNAP, "snap")           \
	X(GROUP, "group")         \
	X(SHARE, "share")         \
	X(UNSHARE, "unshare")     \
	X(RESET, "reset")         \
	X(REMOVE, "remove")       \
	X(READ, "read")           \
	X(REAP, "reap")           \
	X(REST, "rest")

enum step_what {
#define X(name, text) STEP_##name,
	STEPS(X)
#undef X
	    STEP_NWHATS
};

/* Offsets and lengths are bytes; of a rest milliseconds. */
struct step {
	enum step_what what;
	unsigned int i; /* the object */
	unsigned int j; /* another one: what is made, the other source, the version */
	uint64_t off;
	uint64_t len;
	uint64_t src_off; /* of what is shared */
	bool beside;
};

struct work {
	const char *name;
	const struct step *before; /* without a fault, in a run of its own */
	const struct step *steps;
	uint32_t nbefore;
	uint32_t nsteps;
	uint64_t dev_nblks;
	bool crash;  /* the power is cut after what comes before; else it is stopped */
	bool start;  /* the start can fail, too */
	bool mapped; /* the device is */
	bool full;   /* it may lack space */
};

extern const struct work works[];
extern const unsigned int nworks;

struct sweep;

struct op {
	struct sweep *s;
	const struct step *step;
	unsigned int answers;
	unsigned int attempt;
	bool late; /* the engine had latched before */
	int err;
	uint32_t marks[2];
	struct history_unit *unit;
};

#define OPS_MAX 256u
#define HANDLES 2u

struct sweep_obj {
	struct handle *handles[HANDLES];
	bool owed;    /* an fsync by the first has failed: the other one is to be told */
	bool heard;   /* it may have been told by then */
	bool failing; /* for want of space: each fsync is one failure more */
	bool tied;    /* it has been committed with others, whose failures hold it up */
};

/* Where a case ends. */
enum sweep_end { SWEEP_STOPPED, SWEEP_LATCHED, SWEEP_DIED, SWEEP_REFUSED, SWEEP_NENDS };

struct sweep {
	const struct work *work;
	struct fault_plan plan;
	char map_path[96];
	char verify_path[112];
	char data_path[96];
	bool tells;
	struct rnd rnd;
	struct simdev *sd;
	struct loop *loop;
	struct map *map;
	struct dev *dev;
	struct objects *objs;
	struct history history;
	struct sweep_obj at[HISTORY_OBJS];
	struct op ops[OPS_MAX];
	uint32_t nops;
	uint32_t under_way;
	uint64_t answered_ns; /* when anything was, or a delay ended */
	uint64_t content;     /* the number of the last payload */
	uint32_t durables;    /* answers so far that say that something is durable */
	bool latched;
	bool lifted;	 /* the fault is over, and nothing is wrong any more */
	uint64_t states; /* that were judged */
};

const char *step_text(enum step_what what);

/* ---- sweep_ops.c ------------------------------------------------------------------------------ */

/* Begins the step; false: what it needs is not there. */
bool sweep_begin(struct sweep *s, const struct step *step, unsigned int attempt);

/* May this be an answer, with this fault? */
bool sweep_may_fail(const struct sweep *s, int err);

/* ---- sweep_run.c ------------------------------------------------------------------------------ */

/* One turn of the loop, with faults armed; delays end where nothing else has moved for long. */
void sweep_turn(struct sweep *s);

/* Until all that is under way has been answered; or for that long. */
void sweep_wait(struct sweep *s);
void sweep_rest(struct sweep *s, uint64_t ms);

/* The power is cut here, and all goes on as if it had not been. */
void sweep_cut(struct sweep *s);

/* Starts on what is on the device and in the map.  An error: all is closed again. */
int sweep_start(struct sweep *s);
void sweep_steps(struct sweep *s, const struct step *steps, uint32_t n);

/* Ends it in order; an error of the flush. */
int sweep_stop(struct sweep *s);

/* ---- sweep_judge.c ---------------------------------------------------------------------------- */

/* Everything can be read, and is as it should be. */
void sweep_read_all(struct sweep *s);

/* Closes the handles of an object; both have heard of the same failures. */
void sweep_close(struct sweep *s, unsigned int i);

/* Both handles of each object have heard of the same failures, and hear of nothing more. */
void sweep_ask_all(struct sweep *s);

/* It has stopped taking changes: each is refused. */
void sweep_refused(struct sweep *s);

#endif
