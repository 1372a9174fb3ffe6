/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * page.h: the memory of blocks: 4 KiB buffers with a reference count.
 *
 * The reference rule is what makes data stable while others look at it: who wants to change a page
 * that has more than one reference replaces it by a changed copy.  So a page under writeback, or in
 * a reply that is not yet sent, never changes (invariant 14).
 *
 * References are counted by the loop thread only.  Other threads may touch the bytes of pages that
 * a request hands to them and that the request holds a reference on.
 */
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/blk.h"

struct page_pool;

struct page {
	uint8_t *data; /* BLK_BYTES, aligned to BLK_BYTES */
	uint32_t refs;
	uint8_t queue;	   /* blkcache.c's: which one it is in, 0 for none */
	uint8_t uses;	   /* likewise */
	pblk_t at;	   /* likewise: the block of the device that it holds */
	struct page *next; /* of the free list; of a chain of blkcache.c while it is there */
	TAILQ_ENTRY(page) queue_link;
	struct page_pool *pool;
};

TAILQ_HEAD(page_list, page);

/* A pool without a limit of its own: "used" is for those who keep one.  NULL: out of memory. */
struct page_pool *page_pool_new(void);

/* Every page must have been put. */
void page_pool_free(struct page_pool *pool);

/*
 * Takes the memory of so many pages, rounded up to 2 MiB, and has the system give all of it: who uses a page for
 * the first time need not wait for that then.  It takes 0.3 ms for each MiB.  -ERR_NOMEM.
 */
int page_pool_prealloc(struct page_pool *pool, size_t npages) LOOP_FN MUST_CHECK;

/* Pages that have a reference, the zero page not counted; and their memory, with what refers to them. */
size_t page_pool_used(const struct page_pool *pool);
size_t page_pool_used_bytes(const struct page_pool *pool);

/* A page with one reference and undefined bytes; NULL: out of memory.  LOOP_FN. */
struct page *page_new(struct page_pool *pool) LOOP_FN;

/* A reference to the pool's page of zeros.  Nobody ever writes to it.  LOOP_FN. */
struct page *page_zero(struct page_pool *pool) LOOP_FN;

/* The same page without a reference, for who only looks. */
struct page *page_zero_peek(struct page_pool *pool);

bool page_is_zero(const struct page *page);

/* Another reference; returns page.  LOOP_FN. */
struct page *page_get(struct page *page) LOOP_FN;

/* Gives a reference back; NULL is allowed.  LOOP_FN. */
void page_put(struct page *page) LOOP_FN;

/*
 * Bytes in pages: the first "head" bytes of the first page are not part of it.  An entry is NULL
 * until it has been filled in.  In an array of them, of bytes that belong into one object, "joined"
 * says that the first page is also the last one of the vector before.
 */
struct pagevec {
	struct page **pages;
	uint32_t npages;
	uint32_t head;
	bool joined;
	uint64_t len;
};

/*
 * Prepares a vector for "len" bytes that start "head" bytes into a block; all entries NULL.
 * -ERR_NOMEM.
 */
int pagevec_init(struct pagevec *pv, uint32_t head, uint64_t len) MUST_CHECK;

/* Puts every page and frees the array; a zeroed struct is allowed.  LOOP_FN. */
void pagevec_fini(struct pagevec *pv) LOOP_FN;

/* The same of an array from malloc(), and the array; NULL is allowed.  LOOP_FN. */
void pagevecs_free(struct pagevec *pvs, uint32_t n) LOOP_FN;

/*
 * Page i of vector v of an array, of which everything before it has been asked for.  A page that is
 * made for it has zeros where the vector has no byte.  NULL: out of memory.  LOOP_FN.
 */
struct page *pagevecs_page(struct page_pool *pool, struct pagevec *pvs, uint32_t v,
			   uint32_t i) LOOP_FN;

/* The bytes of page i that are part of the vector. */
void pagevec_span(const struct pagevec *pv, uint32_t i, uint32_t *off, uint32_t *len);

#endif
