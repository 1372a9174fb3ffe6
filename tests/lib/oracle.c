/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

#define ORACLE_BLOCK  4096u
#define ORACLE_BLOCKS (ORACLE_BYTES / ORACLE_BLOCK)

static void oracle_apply(struct oracle_state *s, const struct oracle_op *op)
{
	if (op->resize) {
		if (op->off < s->size)
			memset(s->bytes + op->off, 0, s->size - op->off);
		s->size = op->off;
		return;
	}
	if (op->zero) { /* what is behind the end is zeros already */
		memset(s->bytes + op->off, 0, op->len);
		return;
	}
	rnd_fill(s->bytes + op->off, op->len, op->number);
	if (op->off + op->len > s->size)
		s->size = op->off + op->len;
}

void oracle_init(struct oracle *o, uint32_t size)
{
	memset(o, 0, sizeof(*o));
	o->base.size = o->now.size = size;
	o->base.bytes = calloc(1, ORACLE_BYTES);
	o->now.bytes = calloc(1, ORACLE_BYTES);
	MUST(o->base.bytes && o->now.bytes, "memory");
}

void oracle_fini(struct oracle *o)
{
	free(o->base.bytes);
	free(o->now.bytes);
	free(o->ops);
	memset(o, 0, sizeof(*o));
}

void oracle_clone(struct oracle *dst, const struct oracle *src)
{
	dst->base.size = dst->now.size = src->now.size;
	memcpy(dst->base.bytes, src->now.bytes, ORACLE_BYTES);
	memcpy(dst->now.bytes, src->now.bytes, ORACLE_BYTES);
}

static void oracle_add(struct oracle *o, const struct oracle_op *op)
{
	MUST(o->nacked == o->nops, "one operation at a time");
	if (o->nops == o->max) {
		o->max = o->max ? o->max * 2 : 64;
		o->ops = realloc(o->ops, o->max * sizeof(*o->ops));
		MUST(o->ops, "memory");
	}
	o->ops[o->nops++] = *op;
	oracle_apply(&o->now, op);
}

const uint8_t *oracle_write(struct oracle *o, uint32_t off, uint32_t len, uint64_t number)
{
	struct oracle_op op = {.off = off, .len = len, .number = number};

	MUST(len <= ORACLE_BYTES && off <= ORACLE_BYTES - len, "%u at %u", len, off);
	oracle_add(o, &op);
	return o->now.bytes + off;
}

void oracle_resize(struct oracle *o, uint32_t size)
{
	struct oracle_op op = {.resize = true, .off = size};

	MUST(size <= ORACLE_BYTES, "%u", size);
	oracle_add(o, &op);
}

void oracle_zero(struct oracle *o, uint32_t off, uint32_t len)
{
	struct oracle_op op = {.zero = true, .off = off, .len = len};

	MUST(len <= ORACLE_BYTES && off <= ORACLE_BYTES - len, "%u at %u", len, off);
	oracle_add(o, &op);
}

void oracle_acked(struct oracle *o)
{
	o->nacked = o->nops;
}

void oracle_synced(struct oracle *o)
{
	o->nsynced = o->nacked;
}

/* ---- which prefix ---------------------------------------------------------------------------- */

/* A state, and how many of its blocks are not as they were found. */
struct oracle_search {
	struct oracle_state s;
	const struct oracle_state *found;
	bool differs[ORACLE_BLOCKS];
	unsigned int ndiffer;
};

static void oracle_compare(struct oracle_search *search, uint32_t off, uint32_t len)
{
	uint32_t end = len ? (off + len - 1) / ORACLE_BLOCK + 1 : 0;

	for (uint32_t b = off / ORACLE_BLOCK; b < end; b++) {
		size_t at = (size_t)b * ORACLE_BLOCK;
		bool differs =
		    memcmp(search->s.bytes + at, search->found->bytes + at, ORACLE_BLOCK) != 0;

		search->ndiffer += differs;
		search->ndiffer -= search->differs[b];
		search->differs[b] = differs;
	}
}

static void oracle_step(struct oracle_search *search, const struct oracle_op *op)
{
	uint32_t size = search->s.size;

	oracle_apply(&search->s, op);
	if (!op->resize)
		oracle_compare(search, op->off, op->len);
	else if (op->off < size)
		oracle_compare(search, op->off, size - op->off);
}

static struct oracle_search *search_begin(const struct oracle *o, const struct oracle_state *found)
{
	struct oracle_search *search = calloc(1, sizeof(*search));

	MUST(search, "memory");
	search->found = found;
	search->s = o->base;
	search->s.bytes = malloc(ORACLE_BYTES);
	MUST(search->s.bytes, "memory");
	memcpy(search->s.bytes, o->base.bytes, ORACLE_BYTES);
	oracle_compare(search, 0, ORACLE_BYTES);
	return search;
}

static void search_end(struct oracle_search *search)
{
	free(search->s.bytes);
	free(search);
}

static bool search_fits(const struct oracle_search *search)
{
	return search->ndiffer == 0 && search->s.size == search->found->size;
}

static void explain_op(const struct oracle_op *op, bool answered)
{
	const char *what = op->resize ? "resize" : op->zero ? "zero" : "write";

	(void)fprintf(stderr, "then %s of %u bytes at %u%s\n", what, op->len, op->off,
		      answered ? "" : ", not answered");
}

/* How what was found differs from each state, those before the last fsync too: a lost fsync shows as
 * one of these, a mix as none. */
static void oracle_explain(const struct oracle *o, const struct oracle_state *found)
{
	struct oracle_search *search = search_begin(o, found);

	for (size_t n = 0; n <= o->nops; n++) {
		unsigned int first = 0;

		while (first < ORACLE_BLOCKS && !search->differs[first])
			first++;
		(void)fprintf(stderr, "state %zu%s: size %u for %u, %u blocks differ, first %u\n",
			      n, n < o->nsynced ? ", before the last fsync" : "", found->size,
			      search->s.size, search->ndiffer, first);
		if (n == o->nops)
			break;
		explain_op(&o->ops[n], n < o->nacked);
		oracle_step(search, &o->ops[n]);
	}
	search_end(search);
}

bool oracle_match(const struct oracle *o, const struct oracle_state *found, size_t *nops)
{
	struct oracle_search *search = search_begin(o, found);
	bool same = false;
	size_t n;

	for (n = 0; n <= o->nops; n++) {
		same = n >= o->nsynced && search_fits(search);
		if (same)
			break;
		if (n < o->nops)
			oracle_step(search, &o->ops[n]);
	}
	search_end(search);
	if (same)
		*nops = n;
	else
		oracle_explain(o, found);
	return same;
}

void oracle_settle(struct oracle *o, size_t nops)
{
	for (size_t i = 0; i < nops; i++)
		oracle_apply(&o->base, &o->ops[i]);
	memcpy(o->now.bytes, o->base.bytes, ORACLE_BYTES);
	o->now.size = o->base.size;
	o->nops = o->nacked = o->nsynced = 0;
}
