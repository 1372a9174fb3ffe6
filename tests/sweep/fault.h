/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fault.h: which call fails, and how.  Calls that can fail are counted by their point; a plan names one
 * point, the number of a call, and what becomes of it, or of it and all behind it.  Only what is done
 * while faults are armed counts: the rest is the test's own.
 *
 * A delay is over when fault_release() is called: by the loop's thread, where everything else has
 * stopped moving.
 */
#ifndef TESTS_SWEEP_FAULT_H
#define TESTS_SWEEP_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, text) */
#define FAULT_POINTS(X)             \
	X(DATA_READ, "data-read")   \
	X(DATA_WRITE, "data-write") \
	X(DATA_SYNC, "data-sync")   \
	X(MAP_OPEN, "map-open")     \
	X(MAP_READ, "map-read")     \
	X(MAP_SEEK, "map-seek")     \
	X(MAP_WRITE, "map-write")   \
	X(MAP_SYNC, "map-sync")     \
	X(MAP_SIZE, "map-size")     \
	X(MAP_MMAP, "map-mmap")     \
	X(MEMORY, "memory")

enum fault_point {
#define X(name, text) FAULT_##name,
	FAULT_POINTS(X)
#undef X
	    FAULT_NPOINTS
};

/* X(name, text): what becomes of a call. */
#define FAULT_KINDS(X)                                                               \
	X(NONE, "none")                                                              \
	X(EIO, "eio")		/* nothing is done */                                \
	X(EIO_DONE, "eio-done") /* all is done, and it is an error nevertheless */   \
	X(ENOSPC, "enospc")                                                          \
	X(EINTR, "eintr")                                                            \
	X(SHORT, "short")	  /* half of it is done, and that is said */         \
	X(SHORT_EIO, "short-eio") /* the same, and what goes on there is an error */ \
	X(DELAY, "delay")                                                            \
	X(NOMEM, "nomem")

enum fault_kind {
#define X(name, text) FAULT_##name,
	FAULT_KINDS(X)
#undef X
	    FAULT_NKINDS
};

/* How long it lasts. */
enum fault_span {
	FAULT_ONCE,
	FAULT_ON,     /* until it is lifted */
	FAULT_ALWAYS, /* to the end of the stop */
	FAULT_NSPANS
};

struct fault_plan {
	enum fault_point point;
	enum fault_kind kind;
	enum fault_span span;
	uint64_t n; /* the first call that it meets, from 1 on; 0: none */
};

const char *fault_point_text(enum fault_point point);
const char *fault_kind_text(enum fault_kind kind);
const char *fault_span_text(enum fault_span span);

/* "data-write:eio:once:12"; false: it is no plan. */
bool fault_parse(const char *text, struct fault_plan *plan);
void fault_print(const struct fault_plan *plan, char *text, size_t len);

/* Counting begins anew. */
void fault_set(const struct fault_plan *plan);
void fault_lift(void);

/* Returns how it was. */
bool fault_arm(bool on);

/* Another call: what becomes of it. */
enum fault_kind fault_next(enum fault_point point);

uint64_t fault_count(enum fault_point point);
uint64_t fault_hits(void);

/* Of a thread that is not the loop's: waits to be released.  While delays are not allowed it returns. */
void fault_delay(void);
void fault_allow_delay(bool on);
bool fault_is_delayed(void);
void fault_release(void);

#endif
