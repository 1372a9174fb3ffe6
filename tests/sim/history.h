/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * history.h: what each object may be after a power cut: as after some prefix of the operations sent to
 * it, which has at least those before its last fsync.  One operation that changes it at a time.
 *
 * States are known by the checksums of their blocks; the bytes are kept of the last one.
 */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/map.h"

#define HISTORY_OBJS  8u
#define HISTORY_BLKS  48u
#define HISTORY_BYTES (HISTORY_BLKS * BLK_BYTES)

enum history_life {
	HISTORY_NONE,
	HISTORY_COMING, /* its creation is not answered */
	HISTORY_THERE,
	HISTORY_GOING /* nor is its removal */
};

struct history_state {
	uint64_t size;
	uint32_t csums[HISTORY_BLKS]; /* 0: all zeros */
};

/* A state, and what number its operation had among all that were answered. */
struct history_step {
	struct history_state state;
	uint64_t seq; /* UINT64_MAX: it is not answered */
};

/* What it is beside its content; an object's reservation is as many blocks. */
struct history_attrs {
	uint64_t reserved_nblks;
	uint64_t expires_ns; /* 0: never */
	bool readonly;
};

struct history_obj {
	enum history_life life;
	struct history_attrs attrs;
	struct history_attrs attrs_sent; /* of a change that is not answered; else the same */
	char spec[24];
	bool version;
	unsigned int parent; /* of a version: which one */
	uint8_t *bytes;	     /* of the last state */
	uint8_t *before;     /* of the one before it: what lies from "kept" to before "kept_end" */
	uint64_t kept;
	uint64_t kept_end;
	struct history_step *steps;
	uint32_t n; /* at least 1 */
	uint32_t cap;
	uint32_t synced; /* the index of the first that it may be */
	bool pending;	 /* the last one is not answered */
};

/* Objects (bits) that are committed in one order since so many answers. */
struct history_tie {
	uint32_t objs;
	uint64_t seq;
};

#define HISTORY_TIES 32u

/* One change of several objects (bits): the step that it is of each. */
struct history_unit {
	uint32_t objs; /* 0: not in use */
	uint32_t steps[HISTORY_OBJS];
};

#define HISTORY_UNITS 64u

struct history {
	bool fits;		/* no object is larger than its reservation, if it has one */
	unsigned int nversions; /* ever made: for their names */
	uint64_t seq;		/* answers so far */
	struct history_tie ties[HISTORY_TIES];
	unsigned int nties;
	struct history_unit units[HISTORY_UNITS];
	struct history_obj objs[HISTORY_OBJS];
};

void history_init(struct history *h);
void history_fini(struct history *h);

/* An object that there may be from now on, with the content of another, or none. */
void history_begin(struct history *h, struct history_obj *o, const char *spec,
		   const struct history_obj *src, uint64_t size);
void history_end(struct history_obj *o);

/* An operation is sent: the functions change the bytes, history_sent() makes a state of them. */
void history_write(struct history_obj *o, uint64_t off, const uint8_t *bytes, uint64_t len);
void history_zero(struct history_obj *o, uint64_t off, uint64_t len);
void history_resize(struct history_obj *o, uint64_t size);
void history_become(struct history_obj *o, const struct history_obj *src);
void history_sent(struct history_obj *o);

/* It is answered: with an error it has not happened. */
void history_answered(struct history *h, struct history_obj *o, bool done);

/* What has been answered so far, and that it is durable. */
uint32_t history_mark(const struct history_obj *o);
void history_synced(struct history_obj *o, uint32_t mark);

uint64_t history_size(const struct history_obj *o);

/* May it have these now? */
bool history_allows_attrs(const struct history_obj *o, const struct history_attrs *attrs);

/* Its time has come: so it may be gone. */
bool history_is_late(const struct history_obj *o, uint64_t now_ns);

/* Does what has been sent and is not answered change it? */
bool history_changes(const struct history_obj *o);

/* Is the state one that it may be in?  *k: which. */
bool history_allows(const struct history_obj *o, const struct history_state *state, uint32_t *k);

/* Two objects, and those that they are tied to, are tied.  False: there are too many ties. */
bool history_tie(struct history *h, unsigned int i, unsigned int j);
bool history_is_tied(const struct history *h, unsigned int i);

/* Its handle was closed, and it stays: it is tied no more, and what comes is its own. */
void history_tie_ended(struct history *h, unsigned int i);

/* What has just been sent to these objects is one change.  NULL: there are too many. */
struct history_unit *history_unit(struct history *h, uint32_t objs);

/* It is answered, and so are its parts. */
void history_unit_answered(struct history *h, struct history_unit *unit, bool done);

/*
 * Objects that are tied: are these states, one for each object (NULL: it is not there), those of one
 * moment in the order of the answers?
 */
bool history_allows_tied(const struct history *h, const struct history_state *const *states);

/* Of each change of several objects: do these show all of it, or nothing? */
bool history_allows_units(const struct history *h, const struct history_state *const *states);

/* After a power cut: it is in this state, and has these bytes. */
void history_settle(struct history *h, struct history_obj *o, const struct history_state *state,
		    const uint8_t *bytes);

uint32_t history_csum(const uint8_t *blk);

#endif
