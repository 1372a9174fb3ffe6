/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/page.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/err.h"
#include "common/thread.h"

#define SLAB_PAGES 512u
#define SLAB_BYTES ((size_t)SLAB_PAGES * BLK_BYTES) /* 2 MiB */

#define PAGE_REFS_BYTES \
	64u /* about, of what refers to a page: vectors, batches, pieces of the output */

struct slab {
	struct slab *next;
	uint8_t *mem;
	struct page pages[SLAB_PAGES];
};

struct page_pool {
	struct slab *slabs;
	struct page *free;
	size_t used;
	struct page zero;
	uint8_t *zero_mem;
};

struct page_pool *page_pool_new(void)
{
	struct page_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->zero_mem = aligned_alloc(BLK_BYTES, BLK_BYTES);
	if (!pool->zero_mem) {
		free(pool);
		return NULL;
	}
	memset(pool->zero_mem, 0, BLK_BYTES);
	pool->zero = (struct page){.data = pool->zero_mem, .refs = 1, .pool = pool};
	return pool;
}

void page_pool_free(struct page_pool *pool)
{
	if (!pool)
		return;
	assert(pool->used == 0 && pool->zero.refs == 1);
	while (pool->slabs) {
		struct slab *slab = pool->slabs;

		pool->slabs = slab->next;
		munmap(slab->mem, SLAB_BYTES);
		free(slab);
	}
	free(pool->zero_mem);
	free(pool);
}

size_t page_pool_used(const struct page_pool *pool)
{
	return pool->used;
}

size_t page_pool_used_bytes(const struct page_pool *pool)
{
	return pool->used * (BLK_BYTES + sizeof(struct page) + PAGE_REFS_BYTES);
}

/* NULL: the system has not so much. */
static uint8_t *slabs_map(size_t n)
{
	void *mem =
	    mmap(NULL, n * SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* Takes over the memory of a slab. */
static int page_pool_add(struct page_pool *pool, uint8_t *mem)
{
	struct slab *slab = malloc(sizeof(*slab));

	if (!slab) {
		munmap(mem, SLAB_BYTES);
		return -ERR_NOMEM;
	}
	slab->mem = mem;
	/* the free list hands out ascending addresses, so that runs of blocks are contiguous */
	for (size_t i = SLAB_PAGES; i-- > 0;) {
		slab->pages[i] = (struct page){
		    .data = slab->mem + i * BLK_BYTES, .next = pool->free, .pool = pool};
		pool->free = &slab->pages[i];
	}
	slab->next = pool->slabs;
	pool->slabs = slab;
	return 0;
}

static int page_pool_grow(struct page_pool *pool)
{
	uint8_t *mem = slabs_map(1);

	return mem ? page_pool_add(pool, mem) : -ERR_NOMEM;
}

int page_pool_prealloc(struct page_pool *pool, size_t npages)
{
	size_t nslabs = (npages + SLAB_PAGES - 1) / SLAB_PAGES;
	uint8_t *mem = slabs_map(nslabs); /* in one piece: what no system could give is refused */
	int err = 0;

	ASSERT_LOOP();
	if (!mem)
		return -ERR_NOMEM;
	memset(mem, 0, nslabs * SLAB_BYTES);
	while (nslabs > 0 && err == 0)
		err = page_pool_add(pool, mem + --nslabs * SLAB_BYTES);
	if (nslabs > 0)
		munmap(mem, nslabs * SLAB_BYTES);
	return err;
}

struct page *page_new(struct page_pool *pool)
{
	struct page *page;

	ASSERT_LOOP();
	if (!pool->free && page_pool_grow(pool) < 0)
		return NULL;
	page = pool->free;
	pool->free = page->next;
	page->refs = 1;
	pool->used++;
	return page;
}

struct page *page_zero(struct page_pool *pool)
{
	return page_get(&pool->zero);
}

struct page *page_zero_peek(struct page_pool *pool)
{
	return &pool->zero;
}

bool page_is_zero(const struct page *page)
{
	return page == &page->pool->zero;
}

struct page *page_get(struct page *page)
{
	ASSERT_LOOP();
	page->refs++;
	return page;
}

void page_put(struct page *page)
{
	if (!page)
		return;
	ASSERT_LOOP();
	assert(page->refs > 0);
	if (--page->refs > 0)
		return;
	assert(page->queue == 0);
	page->next = page->pool->free;
	page->pool->free = page;
	page->pool->used--;
}

int pagevec_init(struct pagevec *pv, uint32_t head, uint64_t len)
{
	uint64_t npages = len == 0 ? 0 : blk_count(head + len);

	assert(head < BLK_BYTES && npages <= UINT32_MAX);
	*pv = (struct pagevec){.npages = (uint32_t)npages, .head = head, .len = len};
	if (npages == 0)
		return 0;
	pv->pages = calloc(npages, sizeof(struct page *));
	if (!pv->pages) {
		*pv = (struct pagevec){0};
		return -ERR_NOMEM;
	}
	return 0;
}

void pagevec_fini(struct pagevec *pv)
{
	for (uint32_t i = 0; i < pv->npages; i++)
		page_put(pv->pages[i]);
	free(pv->pages);
	*pv = (struct pagevec){0};
}

void pagevecs_free(struct pagevec *pvs, uint32_t n)
{
	for (uint32_t i = 0; pvs && i < n; i++)
		pagevec_fini(&pvs[i]);
	free(pvs);
}

struct page *pagevecs_page(struct page_pool *pool, struct pagevec *pvs, uint32_t v, uint32_t i)
{
	struct pagevec *pv = &pvs[v];
	struct page *page = pv->pages[i];
	uint32_t off;
	uint32_t len;

	if (page)
		return page;
	if (i == 0 && pv->joined) {
		const struct pagevec *before = &pvs[v - 1];

		pv->pages[0] = page_get(before->pages[before->npages - 1]);
		return pv->pages[0];
	}
	page = page_new(pool);
	if (!page)
		return NULL;
	pagevec_span(pv, i, &off, &len);
	memset(page->data, 0, off);
	memset(page->data + off + len, 0, BLK_BYTES - off - len);
	pv->pages[i] = page;
	return page;
}

void pagevec_span(const struct pagevec *pv, uint32_t i, uint32_t *off, uint32_t *len)
{
	uint64_t begin = i == 0 ? pv->head : 0;
	uint64_t end = pv->head + pv->len - (uint64_t)i * BLK_BYTES;

	assert(i < pv->npages);
	if (end > BLK_BYTES)
		end = BLK_BYTES;
	*off = (uint32_t)begin;
	*len = (uint32_t)(end - begin);
}
