/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/dev_flush.h"

#include <assert.h>
#include <stdint.h>

#define CACHE_LINE_BYTES 64u

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

/* Leaf 7: CLFLUSHOPT also throws the line out of the cache, CLWB may keep it. */
#define CPUID_FEATURES	 7u
#define CPUID_CLFLUSHOPT (1u << 23)
#define CPUID_CLWB	 (1u << 24)

static unsigned int flush_features(void)
{
	unsigned int a;
	unsigned int b = 0;
	unsigned int c;
	unsigned int d;

	return __get_cpuid_count(CPUID_FEATURES, 0, &a, &b, &c, &d) ? b : 0;
}

__attribute__((target("clwb"))) static void flush_clwb(uint8_t *line, const uint8_t *end)
{
	for (; line < end; line += CACHE_LINE_BYTES)
		_mm_clwb(line);
}

__attribute__((target("clflushopt"))) static void flush_clflushopt(uint8_t *line,
								   const uint8_t *end)
{
	for (; line < end; line += CACHE_LINE_BYTES)
		_mm_clflushopt(line);
}

bool dev_flush_usable(void)
{
	return flush_features() & (CPUID_CLWB | CPUID_CLFLUSHOPT);
}

void dev_flush(const void *p, size_t len)
{
	uint8_t *line = (uint8_t *)((uintptr_t)p & ~(uintptr_t)(CACHE_LINE_BYTES - 1));
	const uint8_t *end = (const uint8_t *)p + len;
	unsigned int features = flush_features();

	assert(features & (CPUID_CLWB | CPUID_CLFLUSHOPT));
	if (features & CPUID_CLWB)
		flush_clwb(line, end);
	else
		flush_clflushopt(line, end);
	_mm_sfence(); /* they are ordered by nothing else */
}

#else

bool dev_flush_usable(void)
{
	return false;
}

void dev_flush(const void *p, size_t len)
{
	(void)p;
	(void)len;
	assert(false);
}

#endif
