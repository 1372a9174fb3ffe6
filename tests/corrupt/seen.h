/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * seen.h: a store as one sees it who starts a server on it: it is refused, or these are its objects, with
 * their bytes or an error in place of them.  One thread.
 */
#ifndef TESTS_CORRUPT_SEEN_H
#define TESTS_CORRUPT_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "server/map.h"

#define SEEN_OBJS 8u
#define SEEN_BLKS 24u /* of an object at most */

/* Objects and versions that there are at one time or another. */
extern const char *const seen_specs[SEEN_OBJS];

struct seen_obj {
	int err; /* of asking for it */
	struct map_obj info;
	int errs[SEEN_BLKS]; /* of reading each block */
	uint8_t bytes[SEEN_BLKS * 4096];
};

struct seen {
	bool refused;
	bool latched; /* it went on, and gave up later */
	bool
	    named; /* each error of a read was logged with object and offset, or what is bad of the map */
	bool cut; /* the log says that the journal ends with what was not whole */
	int err;  /* why it was refused */
	char why[512];
	uint64_t differences; /* that the checker has found */
	int list_err;
	uint64_t nlisted; /* objects, without versions */
	int space_err;
	struct map_space space;
	struct seen_obj objs[SEEN_OBJS];
};

enum seen_verdict {
	SEEN_REFUSED,
	SEEN_REPORTED, /* an error in place of what was there, and the checker says so too */
	SEEN_EXACT,
	SEEN_WRONG,
	SEEN_NVERDICTS,
};

/* A server on a sound store, which stays. */
struct seen_engine;

struct seen_engine *seen_start(const char *dir);
void seen_stop(struct seen_engine *engine);

/* The block of the device that a block of an object is in; 0: a hole. */
uint64_t seen_where(struct seen_engine *engine, unsigned int obj, uint64_t blk);

/* Reads a block from the device: an error, which is logged with object and offset. */
bool seen_read_fails(struct seen_engine *engine, unsigned int obj, uint64_t blk);

/* Starts on the store in dir, whose log is caught, and looks. */
void seen_look(const char *dir, struct seen *seen);

/* What is seen in place of what there was; SEEN_WRONG: *what says what. */
enum seen_verdict seen_compare(const struct seen *seen, const struct seen *was, const char **what);

/* All of it is there. */
bool seen_is_exact(const struct seen *seen, const struct seen *was);

#endif
