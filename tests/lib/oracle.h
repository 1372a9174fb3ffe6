/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * oracle.h: what an object may be after a crash: the state after some prefix of the operations sent
 * to it, one after the other, that has at least those before its last fsync.  Objects are of at
 * most ORACLE_BYTES.  One thread at a time.
 *
 *	oracle_write, _resize, _zero	when an operation is about to be sent
 *	oracle_acked			when it is answered with success
 *	oracle_synced			when a fsync is, that was sent after the last answer
 *	oracle_match			after the crash: how many operations are there
 *	oracle_settle			that many are; starts afresh from that state
 */
#ifndef TESTS_LIB_ORACLE_H
#define TESTS_LIB_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

#define ORACLE_BYTES (UINT32_C(1) << 21)

struct oracle_op {
	bool resize;
	bool zero;    /* as far as the object goes */
	uint32_t off; /* of a resize: the new size */
	uint32_t len;
	uint64_t number; /* the content: rnd_fill() of this */
	uint64_t sent;	 /* times, for who orders operations of several threads */
	uint64_t acked;	 /* 0: not answered */
};

/* Bytes from the size on are zero. */
struct oracle_state {
	uint32_t size;
	uint8_t *bytes; /* ORACLE_BYTES */
};

struct oracle {
	struct oracle_state base; /* before the first operation */
	struct oracle_state now;  /* after the last */
	struct oracle_op *ops;
	size_t nops;
	size_t max;
	size_t nacked;
	size_t nsynced;
};

void oracle_init(struct oracle *o, uint32_t size);
void oracle_fini(struct oracle *o);

/* A clone: dst, which is initialized, begins as src is now. */
void oracle_clone(struct oracle *dst, const struct oracle *src);

/* The bytes to send; they stay valid until the next call. */
const uint8_t *oracle_write(struct oracle *o, uint32_t off, uint32_t len, uint64_t number);
void oracle_resize(struct oracle *o, uint32_t size);
void oracle_zero(struct oracle *o, uint32_t off, uint32_t len);
void oracle_acked(struct oracle *o);
void oracle_synced(struct oracle *o);

/*
 * Finds the least number of operations, among those allowed, after which the object is as "found".
 * False: there is none.
 */
bool oracle_match(const struct oracle *o, const struct oracle_state *found,
		  size_t *nops) MUST_CHECK;

void oracle_settle(struct oracle *o, size_t nops);

#endif
