/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/record/trace.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FIRST 64u /* where the first entry is */

static struct trace_head *trace_map(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!(flags & O_CREAT) || ftruncate(fd, (off_t)TRACE_BYTES) == 0)
		p = mmap(NULL, TRACE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			 0);
	(void)close(fd);
	return p == MAP_FAILED ? NULL : p;
}

struct trace_head *trace_make(const char *path)
{
	struct trace_head *trace = trace_map(path, O_CREAT | O_EXCL);

	if (trace)
		trace->used = FIRST;
	return trace;
}

struct trace_head *trace_open(const char *path)
{
	return trace_map(path, 0);
}

uint64_t trace_add(struct trace_head *trace, const struct trace_entry *entry, const void *data)
{
	uint64_t bytes = (sizeof(*entry) + (data ? entry->len : 0) + 7) & ~UINT64_C(7);
	uint64_t at = __atomic_fetch_add(&trace->used, bytes, __ATOMIC_SEQ_CST);
	struct trace_entry *e = (struct trace_entry *)((uint8_t *)trace + at);

	if (at + bytes + sizeof(*e) > TRACE_BYTES)
		_exit(99);
	if (data)
		memcpy(e + 1, data, entry->len);
	*e = *entry;
	__atomic_store_n(&e->bytes, bytes, __ATOMIC_RELEASE);
	return at;
}

const struct trace_entry *trace_at(const struct trace_head *trace, uint64_t at)
{
	const struct trace_entry *e =
	    (const struct trace_entry *)((const uint8_t *)trace + (at ? at : FIRST));

	return __atomic_load_n(&e->bytes, __ATOMIC_ACQUIRE) > 0 ? e : NULL;
}
