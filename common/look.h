/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * look.h: adaptive polling: a thread that waits looks for a while before it sleeps, since to be woken costs
 * more than most of what it waits for.
 *
 *	since = now
 *	do
 *		if (there is something)
 *			return
 *	while (look_again(&look, since, now))     others have had the processor
 *	sleep
 *	look_slept(&look, now - since)
 *
 * How long is learned as KVM does for a halted processor (grow_halt_poll_ns() and shrink_halt_poll_ns() in
 * Linux' virt/kvm/kvm_main.c): longer where that would have been enough, else less.  Whoever looks gives way
 * each time, and where somebody else needs the processor he does not look for a while.  Who says so (ignore_own)
 * means other processes alone by that.
 *
 * Any thread, one at a time.
 */
#ifndef COMMON_LOOK_H
#define COMMON_LOOK_H

#include <stdbool.h>
#include <stdint.h>

/* As KVM's halt_poll_ns.  A fast device reads a block, or makes one durable, in less: who waits for that need not be woken. */
#define LOOK_MAX_NS 200000u

/* Zeroed but for the first two. */
struct look {
	uint64_t max_ns;	 /* never longer than this: LOOK_MAX_NS; 0: not at all */
	bool ignore_own;	 /* the process's other threads are never in the way */
	uint64_t for_ns;	 /* how long to look */
	uint64_t rests_until_ns; /* not at all before then */
	uint64_t rest_ns;
	uint64_t gave_ns;   /* others have had so much since it last rested */
	uint64_t own_ns;    /* processor time of the process's other threads, */
	uint64_t own_at_ns; /* read then */
};

/* Nothing has come since then (clock_now_ns()): is it worth another look?  If so others had their turn
 * meanwhile. */
bool look_again(struct look *look, uint64_t since_ns, uint64_t now_ns);

/* The thread slept: something has come so long after it began to wait. */
void look_slept(struct look *look, uint64_t waited_ns);

#endif
