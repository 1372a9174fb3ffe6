/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_dev.h: a data device in memory, for tests: it counts calls, fails those that the test names,
 * holds calls back until they are released, and knows what would have survived a power cut.  It
 * owns its memory; dev_close() frees it.  Any thread, as the real one.
 *
 * A failed write leaves garbage where it should have written, or what it should have written
 * (failed_writes_land).  A failed sync loses what was
 * written since the last one, for good: a later sync that succeeds does not bring it to the
 * durable copy, as with a kernel that has dropped the pages it could not write.
 *
 * Where the power goes (fake_dev_off_at()) the call that it happens in may have reached the device in
 * part, and nothing after it does: all fails until fake_dev_cut().
 */
#ifndef TESTS_LIB_FAKE_DEV_H
#define TESTS_LIB_FAKE_DEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/dev.h"

enum fake_op { FAKE_READ, FAKE_WRITE, FAKE_SYNC, FAKE_NOPS };
enum fake_power { FAKE_ON, FAKE_GOING, FAKE_OFF };

struct fake_dev {
	struct dev dev;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	uint8_t *bytes;	  /* what a read returns */
	uint8_t *durable; /* what a power cut would leave */
	bool *pending;	  /* of each block: written since the last sync */
	bool *unwritten;  /* of each block: never written */
	bool failed_writes_land;
	enum fake_power power;
	struct fake_calls {
		uint64_t made;	    /* calls so far, those held back included */
		uint64_t pass_upto; /* calls beyond this number are held back */
		uint64_t fail_from; /* these calls fail: first, and how many */
		uint64_t fail_count;
		int fail_err;
		uint64_t off_at; /* the power goes in this call; 0: in none */
	} calls[FAKE_NOPS];
};

/* nblks blocks of zeros; ends the program where there is no memory. */
struct fake_dev *fake_dev_new(uint64_t nblks);

/* The calls of a kind so far, those that failed or are held back included. */
uint64_t fake_dev_calls(struct fake_dev *fd, enum fake_op op);

/* Of the calls to come, the nth (from 1) and count - 1 after it return err. */
void fake_dev_fail(struct fake_dev *fd, enum fake_op op, uint64_t nth, uint64_t count, int err);

/* The power goes in the nth call to come (from 1). */
void fake_dev_off_at(struct fake_dev *fd, enum fake_op op, uint64_t nth);
bool fake_dev_is_off(struct fake_dev *fd);

/* From now on nothing is read, written or synced; all is again, and what was is still there. */
void fake_dev_off(struct fake_dev *fd);
void fake_dev_on(struct fake_dev *fd);

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

/*
 * Brings what was written since the last sync to the durable copy, in part: survives() is asked for
 * each sector of FAKE_SECTOR_BYTES of it, by their number on the device.  It stays unsynced.
 */
#define FAKE_SECTOR_BYTES 512u
void fake_dev_land(struct fake_dev *fd, bool (*survives)(void *ctx, uint64_t sector), void *ctx);

/* Blocks that count as never written until they are; there are none in a new device. */
void fake_dev_set_unwritten(struct fake_dev *fd, pblk_t blk, uint64_t nblks);

/* How many of these count as never written. */
uint64_t fake_dev_count_unwritten(struct fake_dev *fd, pblk_t blk, uint64_t nblks);

/* A power cut: what is not durable is gone.  The power is there again, and stays. */
void fake_dev_cut(struct fake_dev *fd);

#endif
