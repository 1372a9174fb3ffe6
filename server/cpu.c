/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/cpu.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS 100000u /* the shortest that the system gives */

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

/* Of the calling thread, where it is of the usual class.  False: it is not, or the system does not say. */
static bool cpu_get(struct cpu_attr *attr)
{
	return syscall(SYS_sched_getattr, 0, attr, sizeof(*attr), 0) == 0 &&
	       attr->policy == SCHED_OTHER;
}

/* Where it fails all is as it was, and nothing but time depends on it. */
static void cpu_set(struct cpu_attr *attr)
{
	attr->size = sizeof(*attr);
	(void)syscall(SYS_sched_setattr, 0, attr, 0);
}

void cpu_short_slices(void)
{
	struct cpu_attr attr = {0};

	if (!cpu_get(&attr))
		return;
	attr.runtime_ns = SLICE_NS;
	cpu_set(&attr);
}

void cpu_waits_its_turn(void)
{
	struct cpu_attr attr = {0};

	if (!cpu_get(&attr))
		return;
	attr.policy = SCHED_BATCH;
	cpu_set(&attr);
}
