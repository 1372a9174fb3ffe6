/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clock.h: the two clocks: one that never goes back, for how long something takes, and that of the
 * wall, for what is stored.  Any thread.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some time before the start (CLOCK_MONOTONIC). */
uint64_t clock_now_ns(void);

/* Nanoseconds since 1970 (CLOCK_REALTIME). */
uint64_t clock_wall_ns(void);

/* Nanoseconds of processor time that the calling thread has used. */
uint64_t clock_thread_ns(void);

/* Nanoseconds of processor time that all threads of the process have used. */
uint64_t clock_process_ns(void);

static inline uint64_t clock_now_ms(void)
{
	return clock_now_ns() / 1000000;
}

#endif
