/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/record/log.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FIRST 64u /* where the first entry is */

static struct log_head *log_map(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (!(flags & O_CREAT) || ftruncate(fd, (off_t)LOG_BYTES) == 0)
		p = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			 0);
	(void)close(fd);
	return p == MAP_FAILED ? NULL : p;
}

struct log_head *log_make(const char *path)
{
	struct log_head *log = log_map(path, O_CREAT | O_EXCL);

	if (log)
		log->used = FIRST;
	return log;
}

struct log_head *log_open(const char *path)
{
	return log_map(path, 0);
}

uint64_t log_add(struct log_head *log, const struct log_entry *entry, const void *data)
{
	uint64_t bytes = (sizeof(*entry) + (data ? entry->len : 0) + 7) & ~UINT64_C(7);
	uint64_t at = __atomic_fetch_add(&log->used, bytes, __ATOMIC_SEQ_CST);
	struct log_entry *e = (struct log_entry *)((uint8_t *)log + at);

	if (at + bytes + sizeof(*e) > LOG_BYTES)
		_exit(99);
	if (data)
		memcpy(e + 1, data, entry->len);
	*e = *entry;
	__atomic_store_n(&e->bytes, bytes, __ATOMIC_RELEASE);
	return at;
}

const struct log_entry *log_at(const struct log_head *log, uint64_t at)
{
	const struct log_entry *e =
	    (const struct log_entry *)((const uint8_t *)log + (at ? at : FIRST));

	return __atomic_load_n(&e->bytes, __ATOMIC_ACQUIRE) > 0 ? e : NULL;
}
