/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_dev.h: a data device in memory, for tests: it counts calls, fails those that the test names,
 * holds calls back until they are released, and knows what would have survived a power cut.  It
 * owns its memory; dev_close() frees it.  Any thread, as the real one.
 *
 * A failed write leaves garbage where it should have written.  A failed sync loses what was
 * written since the last one, for good: a later sync that succeeds does not bring it to the
 * durable copy, as with a kernel that has dropped the pages it could not write.
 */
#ifndef TESTS_LIB_FAKE_DEV_H
#define TESTS_LIB_FAKE_DEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/dev.h"

enum fake_op { FAKE_READ, FAKE_WRITE, FAKE_SYNC, FAKE_NOPS };

struct fake_dev {
	struct dev dev;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	uint8_t *bytes;	  /* what a read returns */
	uint8_t *durable; /* what a power cut would leave */
	bool *pending;	  /* of each block: written since the last sync */
	struct fake_calls {
		uint64_t made;	    /* calls so far, those held back included */
		uint64_t pass_upto; /* calls beyond this number are held back */
		uint64_t fail_from; /* these calls fail: first, and how many */
		uint64_t fail_count;
		int fail_err;
	} calls[FAKE_NOPS];
};

/* nblks blocks of zeros; ends the program where there is no memory. */
struct fake_dev *fake_dev_new(uint64_t nblks);

/* The calls of a kind so far, those that failed or are held back included. */
uint64_t fake_dev_calls(struct fake_dev *fd, enum fake_op op);

/* Of the calls to come, the nth (from 1) and count - 1 after it return err. */
void fake_dev_fail(struct fake_dev *fd, enum fake_op op, uint64_t nth, uint64_t count, int err);

/* Holds back all calls to come; lets the n oldest of them go on; lets all go on from now on. */
void fake_dev_hold(struct fake_dev *fd, enum fake_op op);
void fake_dev_release(struct fake_dev *fd, enum fake_op op, uint64_t n);
void fake_dev_open_gate(struct fake_dev *fd, enum fake_op op);

/* Blocks the caller until n calls of the kind have been made since the device was new. */
void fake_dev_wait_calls(struct fake_dev *fd, enum fake_op op, uint64_t n);

/* Whether a block holds these bytes: for who reads it now, or after a power cut. */
bool fake_dev_holds(struct fake_dev *fd, pblk_t blk, const uint8_t *bytes);
bool fake_dev_durable(struct fake_dev *fd, pblk_t blk, const uint8_t *bytes);

/* Puts bytes in place durably, and damages one of them, behind the back of the callers. */
void fake_dev_put(struct fake_dev *fd, pblk_t blk, const uint8_t *bytes);
void fake_dev_flip(struct fake_dev *fd, pblk_t blk, uint32_t off);

#endif
