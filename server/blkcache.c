/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/blkcache.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/thread.h"

#define USES_MAX     3u /* two bits */
#define USES_TO_STAY 2u /* with fewer a page of the small queue goes */
#define SMALL_PART   10u
#define GROUP_SHIFT  3
#define GHOST_SHIFT  2	   /* slots for each that is remembered: few are lost to another */
#define LOOKS_MIN    1024u /* at pages, in one call to evict */
#define LOOKS_EACH   8u	   /* and for each that is wanted */

enum blkcache_queue { QUEUE_NONE, QUEUE_SMALL, QUEUE_MAIN, QUEUE_PINNED, QUEUE_END };

/* The number of a block that went from the small queue; "when" counts such blocks. */
struct ghost {
	uint32_t tag; /* of the block's hash; 0: none */
	uint32_t when;
};

struct blkcache {
	struct page **chains; /* by hash */
	struct ghost *ghosts; /* by hash; a later one takes the place of an earlier one */
	unsigned int hash_shift;
	uint32_t ghosts_max;		    /* an older one has been forgotten */
	uint32_t nghosts;		    /* so far */
	struct page_list queues[QUEUE_END]; /* youngest first */
	size_t lens[QUEUE_END];
	_Atomic uint64_t *present; /* a bit for each block of the device */
	_Atomic uint64_t *pinned;
	uint64_t dev_nblks;
	uint64_t npinned;
	uint64_t evicted;
};

/* ---- bitmaps --------------------------------------------------------------------------------- */

static bool bit_get(const _Atomic uint64_t *map, pblk_t blk)
{
	return atomic_load_explicit(&map[blk.n / 64], memory_order_acquire) >> (blk.n % 64) & 1;
}

/* These two return what the bit was.  Only the loop changes bits, so a store is enough. */
static bool bit_set(_Atomic uint64_t *map, pblk_t blk)
{
	uint64_t word = atomic_load_explicit(&map[blk.n / 64], memory_order_relaxed);
	uint64_t bit = UINT64_C(1) << (blk.n % 64);

	atomic_store_explicit(&map[blk.n / 64], word | bit, memory_order_release);
	return word & bit;
}

static bool bit_clear(_Atomic uint64_t *map, pblk_t blk)
{
	uint64_t word = atomic_load_explicit(&map[blk.n / 64], memory_order_relaxed);
	uint64_t bit = UINT64_C(1) << (blk.n % 64);

	atomic_store_explicit(&map[blk.n / 64], word & ~bit, memory_order_release);
	return word & bit;
}

/* The first set bit in [at, end), or end. */
static uint64_t bit_next(const _Atomic uint64_t *map, uint64_t at, uint64_t end)
{
	while (at < end) {
		uint64_t word = atomic_load_explicit(&map[at / 64], memory_order_relaxed);

		word >>= at % 64;
		if (word) {
			at += (uint64_t)__builtin_ctzll(word);
			return at < end ? at : end;
		}
		at = (at / 64 + 1) * 64;
	}
	return end;
}

bool blkcache_hint(const struct blkcache *bc, pblk_t blk)
{
	return blk.n < bc->dev_nblks && bit_get(bc->present, blk);
}

bool blkcache_is_pinned(const struct blkcache *bc, pblk_t blk)
{
	return blk.n < bc->dev_nblks && bit_get(bc->pinned, blk);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct blkcache *blkcache_new(size_t limit_pages, uint64_t dev_nblks)
{
	struct blkcache *bc = calloc(1, sizeof(*bc));
	size_t nchains = 64;

	if (!bc)
		return NULL;
	bc->hash_shift = 64 - 6;
	for (; nchains < limit_pages; nchains *= 2)
		bc->hash_shift--;
	bc->ghosts_max = limit_pages < UINT32_MAX / 2 ? (uint32_t)limit_pages : UINT32_MAX / 2;
	bc->dev_nblks = dev_nblks;
	bc->chains = calloc(nchains, sizeof(struct page *));
	bc->ghosts = calloc(nchains << GHOST_SHIFT, sizeof(struct ghost));
	bc->present = calloc(dev_nblks / 64 + 1, sizeof(*bc->present));
	bc->pinned = calloc(dev_nblks / 64 + 1, sizeof(*bc->pinned));
	for (int i = 0; i < QUEUE_END; i++)
		TAILQ_INIT(&bc->queues[i]);
	if (!bc->chains || !bc->ghosts || !bc->present || !bc->pinned) {
		blkcache_free(bc);
		return NULL;
	}
	return bc;
}

void blkcache_free(struct blkcache *bc)
{
	if (!bc)
		return;
	if (bc->present && bc->pinned)
		blkcache_drop(bc, pblk(0), bc->dev_nblks);
	free(bc->chains);
	free(bc->ghosts);
	free(bc->present);
	free(bc->pinned);
	free(bc);
}

/* ---- finding --------------------------------------------------------------------------------- */

/* Multiplied by the golden ratio's fraction: the upper bits are the hash. */
static uint64_t blkcache_hash(uint64_t n)
{
	return n * UINT64_C(0x9e3779b97f4a7c15);
}

/* In a table of 2^(64 - shift) slots: blocks that lie together have theirs together, in a line of the
 * processor's cache. */
static size_t blkcache_slot(pblk_t blk, unsigned int shift)
{
	size_t group = (size_t)(blkcache_hash(blk.n >> GROUP_SHIFT) >> (shift + GROUP_SHIFT));

	return group << GROUP_SHIFT | (blk.n & ((1u << GROUP_SHIFT) - 1));
}

static struct page **blkcache_chain(const struct blkcache *bc, pblk_t blk)
{
	return &bc->chains[blkcache_slot(blk, bc->hash_shift)];
}

struct page *blkcache_peek(const struct blkcache *bc, pblk_t blk)
{
	struct page *page = *blkcache_chain(bc, blk);

	ASSERT_LOOP();
	while (page && page->at.n != blk.n)
		page = page->next;
	return page;
}

struct page *blkcache_find(struct blkcache *bc, pblk_t blk)
{
	struct page *page = blkcache_peek(bc, blk);

	if (page && page->uses < USES_MAX)
		page->uses++;
	return page;
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void blkcache_enqueue(struct blkcache *bc, struct page *page, enum blkcache_queue queue)
{
	TAILQ_INSERT_HEAD(&bc->queues[queue], page, queue_link);
	bc->lens[queue]++;
	page->queue = (uint8_t)queue;
}

static void blkcache_dequeue(struct blkcache *bc, struct page *page)
{
	TAILQ_REMOVE(&bc->queues[page->queue], page, queue_link);
	bc->lens[page->queue]--;
	page->queue = QUEUE_NONE;
}

static void blkcache_requeue(struct blkcache *bc, struct page *page, enum blkcache_queue queue)
{
	blkcache_dequeue(bc, page);
	blkcache_enqueue(bc, page, queue);
}

static struct ghost *blkcache_ghost(struct blkcache *bc, pblk_t blk, uint32_t *tag)
{
	*tag = (uint32_t)(blkcache_hash(blk.n) >> 8) | 1;
	return &bc->ghosts[blkcache_slot(blk, bc->hash_shift - GHOST_SHIFT)];
}

static void blkcache_note_ghost(struct blkcache *bc, pblk_t blk)
{
	uint32_t tag;
	struct ghost *ghost = blkcache_ghost(bc, blk, &tag);

	*ghost = (struct ghost){tag, bc->nghosts++};
}

static bool blkcache_take_ghost(struct blkcache *bc, pblk_t blk)
{
	uint32_t tag;
	struct ghost *ghost = blkcache_ghost(bc, blk, &tag);

	if (ghost->tag != tag || bc->nghosts - ghost->when > bc->ghosts_max)
		return false;
	ghost->tag = 0;
	return true;
}

void blkcache_insert(struct blkcache *bc, pblk_t blk, struct page *page)
{
	struct page **chain = blkcache_chain(bc, blk);
	enum blkcache_queue queue = QUEUE_SMALL;

	ASSERT_LOOP();
	assert(blk.n < bc->dev_nblks && !page_is_zero(page));
	if (bit_get(bc->present, blk))
		return;
	assert(page->queue == QUEUE_NONE);
	if (blkcache_take_ghost(bc, blk))
		queue = QUEUE_MAIN;
	if (blkcache_is_pinned(bc, blk))
		queue = QUEUE_PINNED;
	page_get(page);
	page->at = blk;
	page->uses = 0;
	page->next = *chain;
	*chain = page;
	blkcache_enqueue(bc, page, queue);
	bit_set(bc->present, blk);
}

/* Of a block that has a page. */
static void blkcache_remove(struct blkcache *bc, pblk_t blk)
{
	struct page **link = blkcache_chain(bc, blk);
	struct page *page;

	while ((*link)->at.n != blk.n)
		link = &(*link)->next;
	page = *link;
	*link = page->next;
	blkcache_dequeue(bc, page);
	bit_clear(bc->present, blk);
	page_put(page);
}

void blkcache_forget(struct blkcache *bc, pblk_t blk, uint64_t nblks)
{
	uint64_t end = blk.n + nblks;

	ASSERT_LOOP();
	assert(end <= bc->dev_nblks);
	for (uint64_t at = bit_next(bc->present, blk.n, end); at < end;
	     at = bit_next(bc->present, at + 1, end))
		if (!bit_get(bc->pinned, pblk(at)))
			blkcache_remove(bc, pblk(at));
}

void blkcache_drop(struct blkcache *bc, pblk_t blk, uint64_t nblks)
{
	blkcache_unpin(bc, blk, nblks);
	blkcache_forget(bc, blk, nblks);
}

/* ---- evicting -------------------------------------------------------------------------------- */

enum blkcache_look { LOOK_GONE, LOOK_STAYS, LOOK_IN_USE };

/* Looks at the oldest page of a queue, and decides about it. */
static enum blkcache_look blkcache_look(struct blkcache *bc, enum blkcache_queue queue)
{
	struct page *page = TAILQ_LAST(&bc->queues[queue], page_list);

	if (queue == QUEUE_SMALL && page->uses >= USES_TO_STAY) {
		page->uses = 0;
		blkcache_requeue(bc, page, QUEUE_MAIN);
		return LOOK_STAYS;
	}
	if (queue == QUEUE_MAIN && page->uses > 0) {
		page->uses--;
		blkcache_requeue(bc, page, QUEUE_MAIN);
		return LOOK_STAYS;
	}
	if (page->refs > 1) {
		blkcache_requeue(bc, page, queue);
		return LOOK_IN_USE;
	}
	if (queue == QUEUE_SMALL)
		blkcache_note_ghost(bc, page->at);
	blkcache_remove(bc, page->at);
	bc->evicted++;
	return LOOK_GONE;
}

/* The queue to look at, but for one of which as many as it has were found in use; or QUEUE_NONE. */
static enum blkcache_queue blkcache_choose(const struct blkcache *bc, const size_t *in_use)
{
	size_t small = bc->lens[QUEUE_SMALL];
	size_t main = bc->lens[QUEUE_MAIN];

	if (main <= in_use[QUEUE_MAIN])
		return small > in_use[QUEUE_SMALL] ? QUEUE_SMALL : QUEUE_NONE;
	if (small > in_use[QUEUE_SMALL] && small >= (small + main) / SMALL_PART)
		return QUEUE_SMALL;
	return QUEUE_MAIN;
}

size_t blkcache_evict(struct blkcache *bc, size_t want)
{
	size_t looks = want * LOOKS_EACH < LOOKS_MIN ? LOOKS_MIN : want * LOOKS_EACH;
	size_t in_use[QUEUE_END] = {0};
	size_t gone = 0;

	ASSERT_LOOP();
	for (; gone < want && looks > 0; looks--) {
		enum blkcache_queue queue = blkcache_choose(bc, in_use);
		enum blkcache_look look;

		if (queue == QUEUE_NONE)
			break;
		look = blkcache_look(bc, queue);
		gone += look == LOOK_GONE;
		in_use[queue] += look == LOOK_IN_USE;
	}
	return gone;
}

/* ---- pinning --------------------------------------------------------------------------------- */

void blkcache_pin(struct blkcache *bc, pblk_t blk, uint64_t nblks)
{
	ASSERT_LOOP();
	assert(blk.n + nblks <= bc->dev_nblks);
	for (uint64_t i = 0; i < nblks; i++) {
		struct page *page = blkcache_peek(bc, pblk(blk.n + i));

		bc->npinned += !bit_set(bc->pinned, pblk(blk.n + i));
		if (page)
			blkcache_requeue(bc, page, QUEUE_PINNED);
	}
}

void blkcache_unpin(struct blkcache *bc, pblk_t blk, uint64_t nblks)
{
	uint64_t end = blk.n + nblks;

	ASSERT_LOOP();
	assert(end <= bc->dev_nblks);
	for (uint64_t at = bit_next(bc->pinned, blk.n, end); at < end;
	     at = bit_next(bc->pinned, at + 1, end)) {
		struct page *page = blkcache_peek(bc, pblk(at));

		if (page)
			blkcache_requeue(bc, page, QUEUE_SMALL);
		bit_clear(bc->pinned, pblk(at));
		bc->npinned--;
	}
}

size_t blkcache_bytes(const struct blkcache *bc)
{
	size_t nchains = (size_t)1 << (64 - bc->hash_shift);

	return nchains * sizeof(struct page *) + (nchains << GHOST_SHIFT) * sizeof(struct ghost);
}

void blkcache_get_stats(const struct blkcache *bc, struct blkcache_stats *stats)
{
	ASSERT_LOOP();
	*stats = (struct blkcache_stats){
	    .pages = bc->lens[QUEUE_SMALL] + bc->lens[QUEUE_MAIN] + bc->lens[QUEUE_PINNED],
	    .pinned = bc->npinned,
	    .evicted = bc->evicted,
	};
}
