/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/oom.h"

#include <errno.h>

#include "tests/lib/must.h"

static struct {
	struct rnd *rnd;
	uint32_t one_in;
	bool armed;
	uint64_t failed;
} oom;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_reallocarray(void *old, size_t n, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_reallocarray(void *old, size_t n, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
char *__wrap_strdup(const char *text);

void oom_fail(struct rnd *rnd, uint32_t one_in)
{
	oom.rnd = rnd;
	oom.one_in = one_in;
}

void oom_arm(bool on)
{
	oom.armed = on;
}

uint64_t oom_failed(void)
{
	return oom.failed;
}

static bool oom_now(void)
{
	if (!oom.armed || oom.one_in == 0 || !rnd_one_in(oom.rnd, oom.one_in))
		return false;
	oom.failed++;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t bytes)
{
	return oom_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return oom_now() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return oom_now() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_reallocarray(void *old, size_t n, size_t bytes)
{
	return oom_now() ? NULL : __real_reallocarray(old, n, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
	return oom_now() ? NULL : __real_aligned_alloc(align, bytes);
}

char *__wrap_strdup(const char *text)
{
	return oom_now() ? NULL : __real_strdup(text);
}

void *oom_calloc(size_t n, size_t bytes)
{
	void *p = __real_calloc(n, bytes);

	MUST(p, "memory");
	return p;
}

void *oom_reallocarray(void *old, size_t n, size_t bytes)
{
	void *p = __real_reallocarray(old, n, bytes);

	MUST(p, "memory");
	return p;
}
