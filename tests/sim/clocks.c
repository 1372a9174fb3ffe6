/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clocks.c: the clocks of the whole process: libevent's timers are asked for by this, too.
 */
#include <time.h>

#include "tests/sim/sched.h"

int clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t now = sched_now_ns();

	(void)id;
	ts->tv_sec = (time_t)(now / 1000000000u);
	ts->tv_nsec = (long)(now % 1000000000u);
	return 0;
}
