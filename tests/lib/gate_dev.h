/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate_dev.h: a device in front of another, for tests: it counts calls, holds them back until they
 * are released, and fails those that the test names.  It owns the other; dev_close() closes both.
 * Any thread.  fake_dev.h does the same for a device in memory; this one is for an engine that is
 * stopped and started on a real file.
 */
#ifndef TESTS_LIB_GATE_DEV_H
#define TESTS_LIB_GATE_DEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/dev.h"

enum gate_op { GATE_READ, GATE_WRITE, GATE_SYNC, GATE_NOPS };

struct gate_dev {
	struct dev dev;
	struct dev *inner;
	bool tells_unwritten; /* what the other does; else nothing is */
	pthread_mutex_t lock; /* guards the calls */
	pthread_cond_t changed;
	struct gate_calls {
		uint64_t made;	    /* calls so far, those held back included */
		uint64_t gone;	    /* of these, those that have gone on */
		uint64_t pass_upto; /* calls beyond this number are held back */
		uint64_t fail_upto; /* calls up to this number fail, without reaching the other */
	} calls[GATE_NOPS];
};

/* Open, with no failures planned. */
struct gate_dev *gate_dev_new(struct dev *inner);

/* How many calls of a kind there were. */
uint64_t gate_dev_calls(struct gate_dev *gate, enum gate_op op);

/* Calls are numbered from 1; the outcome of one is decided when it goes on. */
void gate_dev_fail_upto(struct gate_dev *gate, enum gate_op op, uint64_t number);

/* Holds back all calls to come; lets the n oldest of them go on; lets all go on from now on.  Those that were
 * held back have gone on when it returns. */
void gate_dev_hold(struct gate_dev *gate, enum gate_op op);
void gate_dev_release(struct gate_dev *gate, enum gate_op op, uint64_t n);
void gate_dev_open(struct gate_dev *gate, enum gate_op op);

#endif
