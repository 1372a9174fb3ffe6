/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two looks: the first, of which nothing is said, shows whether all that is believed can be read; only
 * then can the second say of each difference what becomes of it.
 *
 * The order in which parts are mended is that in which a crash does no harm.  The queue goes before the
 * counts that its trees had a part in: else the reaper would take the last reference to what others
 * have.  What nothing refers to goes before its blocks become free.
 */
#include "server/repair.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/recover.h"
#include "server/repair_priv.h"

#define TEXT_MAX 1536

/* ---- what is touched ------------------------------------------------------------------------- */

/*
 * Where something names an object that is not there, or there were more, and there are nodes that
 * nothing refers to, these may be what is left of it.
 */
static bool look_lost(const struct check *c)
{
	bool fewer = c->state.objects > c->totals.objects || c->state.versions > c->totals.versions;

	return c->faults[CHECK_ORPHAN] > 0 && (c->lost || fewer);
}

static const char *look_torn(const struct check *c)
{
	if (c->faults[CHECK_OBJECT_VALUE])
		return "an object cannot be read, and what it refers to is not known";
	if (c->faults[CHECK_NODE])
		return "a node below an object cannot be used, and what it referred to is not "
		       "known";
	if (c->faults[CHECK_LEAF])
		return "a leaf maps what is no block for data, and which it had is not known";
	if (c->faults[CHECK_CLAIM])
		return "a block is mapped with two checksums, and which block one of them is of "
		       "is not known";
	if (look_lost(c))
		return "an object is missing, and what nothing refers to may be what is left of "
		       "it";
	return NULL;
}

/* Why a difference is left; NULL: it is mended. */
static const char *judge(const struct repair *r, enum check_fault fault)
{
	const uint64_t *faults = r->faults;

	if (r->refused)
		return r->refused;
	switch (fault) {
	case CHECK_META:
	case CHECK_OBJECT:
	case CHECK_OBJECT_VALUE:
	case CHECK_LEAF:
	case CHECK_DATA:
		return "nothing else says what it was";
	case CHECK_NAME:
		return "a name is neither made nor taken away";
	case CHECK_NODE:
		return "what it referred to is not known";
	case CHECK_CLAIM:
		return "which of the two is right is not known";
	case CHECK_NVERSIONS:
		return faults[CHECK_NAME] ? "there are names that are not right" : NULL;
	case CHECK_SUM:
	case CHECK_ID:
	case CHECK_LINK:
		return NULL;
	case CHECK_NREF_LOW:
		return faults[CHECK_NREF_VALUE] ? r->torn : NULL;
	case CHECK_XREF_LOW:
		return faults[CHECK_XREF_VALUE] ? r->torn : NULL;
	case CHECK_FREE_MAPPED:
		return faults[CHECK_FREE_VALUE] || faults[CHECK_FREE_SHAPE] ? r->torn : NULL;
	default: /* to mend it something is given back */
		return r->torn;
	}
}

/* ---- looking --------------------------------------------------------------------------------- */

static void say_nothing(struct check *c, enum check_fault fault, const char *text)
{
	(void)c;
	(void)fault;
	(void)text;
}

static void say_what_becomes(struct check *c, enum check_fault fault, const char *text)
{
	struct repair *r = CONTAINER_OF(c, struct repair, c);
	const char *why = judge(r, fault);
	char line[TEXT_MAX];

	(void)snprintf(line, sizeof(line), "%s: %s%s", text, why ? "not touched: " : "mended",
		       why ? why : "");
	if (why)
		r->result->left++;
	else
		r->result->mended++;
	r->report(r->ctx, line);
}

/* What was counted before is forgotten. */
static int look(struct repair *r, void (*say)(struct check *c, enum check_fault f, const char *t),
		bool without_queue)
{
	struct map_view *view;
	int err;

	check_fini(&r->c);
	r->c = (struct check){.judge = say, .claims = true, .without_queue = without_queue};
	err = map_view_begin(r->map, &view);
	if (err)
		return err;
	err = check_run(&r->c, view);
	map_view_end(view);
	return err;
}

/* A record maps blocks that were free; if a leaf has them already, only who applies it can say what
 * comes of that, and it cannot be applied any more once they are not free. */
static void see_record(void *ctx, pblk_t blk, uint64_t nblks)
{
	struct repair *r = ctx;

	for (uint64_t b = blk.n; b < blk.n + nblks && b < r->c.dev_nblks; b++)
		if (r->c.counts[b] > 0)
			r->refused = "the journal maps blocks that are mapped already: start the "
				     "server once, so that it is applied";
}

static int look_first(struct repair *r, struct dev *dev)
{
	int err = look(r, say_nothing, false);

	if (err || r->c.differences == 0)
		return err;
	memcpy(r->faults, r->c.faults, sizeof(r->faults));
	r->torn = look_torn(&r->c);
	r->drop_queue = !r->torn && (r->faults[CHECK_QUEUE] || r->c.queue_shared);
	if (!r->c.state_known)
		r->refused = "the counters, which say where the journal begins, cannot be read";
	else if (dev)
		err = recover_scan(r->map, dev, see_record, r);
	return err;
}

/* ---- transactions ---------------------------------------------------------------------------- */

static int txn_fold(struct repair *r)
{
	struct map_freed freed = {0};
	struct map_txn *txn = r->txn;
	int err;

	r->txn = NULL;
	err = map_txn_commit(txn, &freed);
	free(freed.ranges);
	if (!err)
		err = map_cut(r->map, r->tail);
	return err ? err : map_fold(r->map);
}

int repair_step(struct repair *r)
{
	bool room;
	int err = map_txn_has_room(r->txn, &room);

	if (err || room)
		return err;
	err = txn_fold(r);
	return err ? err : map_txn_begin(r->map, &r->txn);
}

int repair_next(struct repair *r, enum kv_table table, struct check_pos *pos, struct kv_buf *val)
{
	struct kv_buf found;
	int err = kv_find(r->txn->kv, table, KV_GT, check_pos_key(pos), &found, val);

	if (err)
		return err;
	memcpy(pos->bytes, found.data, found.len);
	pos->len = found.len;
	return 0;
}

int repair_drop(struct repair *r, enum kv_table table, const struct check_pos *pos)
{
	kv_del(r->txn->kv, table, check_pos_key(pos));
	return repair_step(r);
}

/* ---- mending --------------------------------------------------------------------------------- */

/* What has an id was given one; an id that is skipped does no harm. */
static int mend_ids(struct repair *r)
{
	const struct check *c = &r->c;
	struct map_state *state = map_txn_state(r->txn);

	if (state->next_node <= c->last_node && c->last_node < UINT64_MAX)
		state->next_node = c->last_node + 1;
	if (state->next_object <= c->last_object && c->last_object < UINT64_MAX)
		state->next_object = c->last_object + 1;
	return 0;
}

static int mend_counters(struct repair *r)
{
	const struct check *c = &r->c;
	struct map_state *state = map_txn_state(r->txn);

	if (r->torn)
		return 0;
	state->objects = c->totals.objects;
	state->versions = c->totals.versions;
	state->mapped_nblks = c->object_nblks;
	state->free_nblks = r->free_nblks;
	state->reap_nblks = c->reap_nblks;
	state->reserved_nblks = c->reserved_nblks;
	state->promised_nblks = r->promised_nblks;
	return 0;
}

static int mend(struct repair *r)
{
	static int (*const parts[])(struct repair * r) = {
	    mend_ids,	 repair_queue, repair_sums,    repair_objects, repair_links,
	    repair_nref, repair_xref,  repair_orphans, repair_free,    mend_counters,
	};
	int err = map_txn_begin(r->map, &r->txn);

	r->tail = (struct map_tail){r->c.state.journal_seq, r->c.state.journal_blk};
	r->promised_nblks = r->c.promised_nblks;
	for (size_t i = 0; i < ARRAY_LEN(parts) && !err; i++)
		err = parts[i](r);
	if (!err)
		return txn_fold(r);
	map_txn_abort(r->txn);
	return err;
}

/* The difference that there are is said, and mended. */
static int look_and_mend(struct repair *r)
{
	int err = look(r, say_what_becomes, false);

	if (!err && r->result->mended > 0 && r->drop_queue)
		err = look(r, say_nothing, true);
	if (!err && r->result->mended > 0)
		err = mend(r);
	return err;
}

int repair_map(struct map *map, struct dev *dev, check_report_fn report, void *ctx,
	       struct repair_result *result)
{
	struct repair_result res = {0};
	struct repair r = {.map = map, .report = report, .ctx = ctx, .result = &res};
	enum thread_role role = thread_role();
	int err;

	thread_set_role(THREAD_MAP);
	err = look_first(&r, dev);
	if (!err && r.c.differences > 0)
		err = look_and_mend(&r);
	check_fini(&r.c);
	thread_set_role(role);
	if (!err)
		*result = res;
	return err;
}
