/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stack.h: the disk and file system that stack.sh has made in a directory, as a test uses them: power
 * cuts, I/O errors, a file system that is full.  Owns nothing; what stack.sh made it takes down.  Any
 * thread may cut and set errors; the rest is for one.
 */
#ifndef TESTS_FSSTACK_STACK_H
#define TESTS_FSSTACK_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "tests/lib/rnd.h"

#define STACK_PATH_MAX 96

struct stack {
	const char *script; /* stack.sh */
	const char *dir;
	char at[STACK_PATH_MAX]; /* where stores go */
	bool disk;		 /* it has one with a cache that is lost */
	bool bare;		 /* it has no file system */
};

void stack_init(struct stack *s, const char *script, const char *dir);

/*
 * Cuts the power: what runs on it gets errors from then on.  The number, any, chooses how: a file system
 * is shut down, with its log written before or not; a disk loses its cache.
 */
void stack_cut(const struct stack *s, uint64_t how);

/* Takes it down and up again, from what is on the disk.  rate: see stack.sh; below: when its cache is
 * flushed. */
void stack_again(const struct stack *s, bool below, unsigned int rate);

/* From now on, or no more. */
void stack_fail_writes(const struct stack *s, bool on);
void stack_fail_reads(const struct stack *s, bool on);

/* The file system has given up: nothing can be written to it any more. */
bool stack_is_dead(const struct stack *s);

/* Fills the file system to its last byte; and gives it back. */
void stack_fill(const struct stack *s);
void stack_unfill(const struct stack *s);

#endif
