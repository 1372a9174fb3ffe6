/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/cpu.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"

#define SLICE_NS   100000u /* the shortest that the system gives */
#define STRETCH_NS 10000u  /* of work, before others have their turn */

/* As the kernel has it, in the first of its sizes (SCHED_ATTR_SIZE_VER0); the C library has no name for it. */
struct cpu_attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns;
	uint64_t deadline_ns;
	uint64_t period_ns;
};

/*
 * Of the calling thread, where it is of the usual class; slice 0: it stays as it is.  Where it fails all is as it was,
 * and nothing but time depends on it.
 */
static void cpu_set(uint32_t policy, uint64_t slice_ns)
{
	struct cpu_attr attr = {0};

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 || attr.policy != SCHED_OTHER)
		return;
	attr.size = sizeof(attr);
	attr.policy = policy;
	if (slice_ns > 0)
		attr.runtime_ns = slice_ns;
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

void cpu_short_slices(void)
{
	cpu_set(SCHED_OTHER, SLICE_NS);
}

void cpu_waits_its_turn(void)
{
	cpu_set(SCHED_BATCH, 0);
}

void cpu_give_way(void)
{
	static _Thread_local uint64_t since_ns;

	if (clock_now_ns() - since_ns < STRETCH_NS)
		return;
	sched_yield();
	since_ns = clock_now_ns();
}
