/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cpu.h: how the system shares its processors between the server's threads and others.  Where whoever started the
 * server has chosen another class than the usual one all is left as it is.
 */
#ifndef SERVER_CPU_H
#define SERVER_CPU_H

#include "common/annot.h"

/*
 * The calling thread, and each that it starts from then on, has the processor for 0.1 ms at a time where others
 * wait for it, and not for milliseconds: so who is woken soon has it, and who gives way soon has it back.
 * Its share is what it was.  Of Linux 6.12 or later: sched_setattr(2), "sched_runtime" of the classes
 * that are not of real time; before it makes no difference.
 */
void cpu_short_slices(void) ANY_FN;

/* The calling thread waits, when it is woken, until there is a processor: SCHED_BATCH, sched(7). */
void cpu_waits_its_turn(void) ANY_FN;

/*
 * For a thread that nobody waits for, between two pieces of its work: where 10 us have passed since it last did so,
 * others have the processor.  By itself the system looks at who is to have it when somebody is woken, and else at its next
 * tick, some milliseconds later: who is woken while a slice lasts would wait for that.
 */
void cpu_give_way(void) ANY_FN;

#endif
