/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sweep/heap.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/sim/oom.h"
#include "tests/sweep/fault.h"

/* The sanitizers' functions know of each block; both of them keep the C library's names for these. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif

/* Called before the sanitizers have set themselves up. */
#define EARLY __attribute__((no_sanitize("address", "undefined", "thread")))

#define SLOT_BITS 15
#define SLOTS	  (UINT64_C(1) << SLOT_BITS)

void *REAL(malloc)(size_t bytes);
void *REAL(calloc)(size_t n, size_t bytes);
void *REAL(realloc)(void *old, size_t bytes);
void *REAL(memalign)(size_t align, size_t bytes);
void REAL(free)(void *p);

struct heap_blk {
	uintptr_t p; /* 0: the slot is free */
	size_t bytes;
	uint64_t number;
	const void *by;
};

/* A hash table with linear probing. */
static struct {
	bool on;
	uint64_t n;
	uint64_t number;
	struct heap_blk slots[SLOTS];
} heap;

static uint64_t slot_of(uintptr_t p)
{
	return (p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SLOT_BITS);
}

static uint64_t slot_find(uintptr_t p)
{
	uint64_t at = slot_of(p);

	while (heap.slots[at].p != 0 && heap.slots[at].p != p)
		at = (at + 1) % SLOTS;
	return at;
}

static void *heap_note(void *p, size_t bytes, const void *by)
{
	if (!p)
		return p;
	MUST(++heap.n < SLOTS / 2, "so many blocks of memory");
	heap.slots[slot_find((uintptr_t)p)] =
	    (struct heap_blk){(uintptr_t)p, bytes, ++heap.number, by};
	return p;
}

/* What comes behind it in its run of slots moves up where it may. */
static void heap_forget(const void *p)
{
	uint64_t hole = slot_find((uintptr_t)p);
	uint64_t at = hole;

	if (!p || heap.slots[hole].p == 0)
		return;
	heap.n--;
	for (;;) {
		uint64_t home;

		at = (at + 1) % SLOTS;
		if (heap.slots[at].p == 0)
			break;
		home = slot_of(heap.slots[at].p);
		if ((at - home) % SLOTS < (at - hole) % SLOTS)
			continue;
		heap.slots[hole] = heap.slots[at];
		hole = at;
	}
	heap.slots[hole].p = 0;
}

void heap_begin(void)
{
	heap.on = true;
}

uint64_t heap_leaks(void)
{
	uint64_t left = heap.n;

	heap.on = false;
	for (uint64_t i = 0; left > 0 && i < SLOTS; i++) {
		const struct heap_blk *blk = &heap.slots[i];
		Dl_info info = {.dli_fname = "?"};

		if (blk->p == 0)
			continue;
		(void)dladdr(blk->by, &info);
		(void)fprintf(stderr,
			      "leaked: %zu bytes, number %" PRIu64 ", by %s+0x%" PRIxPTR "\n",
			      blk->bytes, blk->number, info.dli_fname,
			      (uintptr_t)blk->by - (uintptr_t)info.dli_fbase);
	}
	return left;
}

/* ---- in place of the C library's ------------------------------------------------------------- */

void *malloc(size_t bytes);
void *calloc(size_t n, size_t bytes);
void *realloc(void *old, size_t bytes);
void *aligned_alloc(size_t align, size_t bytes);
int posix_memalign(void **p, size_t align, size_t bytes);
char *strdup(const char *text);
void free(void *p);

static bool heap_fails(void)
{
	if (fault_next(FAULT_MEMORY) == FAULT_NONE)
		return false;
	errno = ENOMEM;
	return true;
}

EARLY void *malloc(size_t bytes)
{
	if (!heap.on)
		return REAL(malloc)(bytes);
	if (heap_fails())
		return NULL;
	return heap_note(REAL(malloc)(bytes), bytes, __builtin_return_address(0));
}

EARLY void *calloc(size_t n, size_t bytes)
{
	if (!heap.on)
		return REAL(calloc)(n, bytes);
	if (heap_fails())
		return NULL;
	return heap_note(REAL(calloc)(n, bytes), n * bytes, __builtin_return_address(0));
}

static void *heap_move(void *old, size_t bytes, const void *by)
{
	void *p;

	if (heap_fails())
		return NULL;
	heap_forget(old);
	p = REAL(realloc)(old, bytes);
	MUST(p || bytes == 0, "memory");
	return heap_note(p, bytes, by);
}

EARLY void *realloc(void *old, size_t bytes)
{
	if (!heap.on)
		return REAL(realloc)(old, bytes);
	return heap_move(old, bytes, __builtin_return_address(0));
}

EARLY void *aligned_alloc(size_t align, size_t bytes)
{
	if (!heap.on)
		return REAL(memalign)(align, bytes);
	if (heap_fails())
		return NULL;
	return heap_note(REAL(memalign)(align, bytes), bytes, __builtin_return_address(0));
}

EARLY int posix_memalign(void **p, size_t align, size_t bytes)
{
	void *got = aligned_alloc(align, bytes);

	if (!got)
		return ENOMEM;
	*p = got;
	return 0;
}

EARLY char *strdup(const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *p = malloc(bytes);

	return p ? memcpy(p, text, bytes) : NULL;
}

EARLY void free(void *p)
{
	if (heap.on)
		heap_forget(p);
	REAL(free)(p);
}

/* ---- the test's own -------------------------------------------------------------------------- */

void *oom_calloc(size_t n, size_t bytes)
{
	void *p = REAL(calloc)(n, bytes);

	MUST(p, "memory");
	return p;
}

void *oom_reallocarray(void *old, size_t n, size_t bytes)
{
	void *p = REAL(realloc)(old, n * bytes);

	MUST(p, "memory");
	return p;
}
