/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/check.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/check_priv.h"

#define TEXT_MAX 1024

void check_differ(struct check *c, enum check_fault fault, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->differences++;
	c->faults[fault]++;
	if (c->judge)
		c->judge(c, fault, text);
	else
		c->report(c->ctx, text);
}

enum check_fault check_queued(const struct check *c, enum check_fault fault)
{
	return c->in_queue ? CHECK_QUEUE : fault;
}

/* Of a node that has a value; what is said of those that have none is said where it is met. */
static enum check_fault fault_of_node(struct check *c, const uint64_t *id)
{
	const struct check_node *node = id ? check_node_find(c, *id) : NULL;

	if (!node)
		return CHECK_ORPHAN;
	return node->queued ? CHECK_QUEUE : CHECK_NODE;
}

enum check_fault check_fault_of(struct check *c, enum kv_table table, const uint64_t *id)
{
	switch (table) {
	case KV_NODE:
		return fault_of_node(c, id);
	case KV_NREF:
		return CHECK_NREF_VALUE;
	case KV_XREF:
		return CHECK_XREF_VALUE;
	case KV_FREE:
		return CHECK_FREE_VALUE;
	case KV_REAP:
		return CHECK_QUEUE;
	case KV_OBJ:
	default: /* no other is read in this way */
		return CHECK_OBJECT_VALUE;
	}
}

int check_result(const struct check *c, int err)
{
	if (err)
		return err;
	return c->differences > INT_MAX ? INT_MAX : (int)c->differences;
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct kv_buf check_pos_key(const struct check_pos *pos)
{
	return (struct kv_buf){.data = pos->bytes, .len = pos->len};
}

int check_step(struct check *c, enum kv_table table, size_t len, struct check_pos *pos,
	       struct kv_buf *val, bool *good)
{
	struct kv_buf found;
	int err;

	if (map_snapshot_is_late(c->view))
		return -ERR_LATE;
	err = kv_find(c->view->kv, table, KV_GT, check_pos_key(pos), &found, val);
	if (err)
		return err;
	memcpy(pos->bytes, found.data, found.len);
	pos->len = found.len;
	*good = map_value_check(table, found, *val, len) == 0;
	return 0;
}

/* check_step() for keys that are numbers; others are reported. */
static int num_step(struct check *c, enum kv_table table, size_t len, struct check_pos *pos,
		    uint64_t *key, struct kv_buf *val, bool *good)
{
	for (;;) {
		int err = check_step(c, table, len, pos, val, good);

		if (err)
			return err;
		if (pos->len == sizeof(struct map_key))
			break;
		check_differ(c, check_fault_of(c, table, NULL), "%s has a key of %zu bytes",
			     kv_table_name(table), pos->len);
	}
	*key = be64_get(pos->bytes);
	return 0;
}

static void num_damaged(struct check *c, enum kv_table table, uint64_t key)
{
	check_differ(c, check_fault_of(c, table, &key), "%s value of %" PRIu64 " is damaged",
		     kv_table_name(table), key);
	c->unsure = true;
}

int check_each(struct check *c, enum kv_table table, size_t len,
	       int (*fn)(struct check *c, uint64_t key, struct kv_buf val))
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	uint64_t key;
	bool good;
	int err;

	while (!(err = num_step(c, table, len, &pos, &key, &val, &good))) {
		if (good)
			err = fn(c, key, val);
		else
			num_damaged(c, table, key);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

int check_counts(struct check *c, enum kv_table table,
		 void (*fn)(struct check *c, uint64_t chunk, const uint64_t counts[MAP_COUNTS]))
{
	struct check_pos pos = CHECK_POS_FIRST;
	uint64_t counts[MAP_COUNTS];
	struct kv_buf val;
	uint64_t chunk;
	bool good;
	int err;

	while (!(err = num_step(c, table, sizeof(struct disk_counts), &pos, &chunk, &val, &good))) {
		if (chunk > UINT64_MAX / MAP_COUNTS)
			check_differ(c, check_fault_of(c, table, NULL),
				     "%s has a key %" PRIu64 ", which is of no chunk",
				     kv_table_name(table), chunk);
		else if (good && map_counts_parse(table, chunk, val, counts) == 0)
			fn(c, chunk, counts);
		else
			num_damaged(c, table, chunk);
	}
	return err == -ERR_NOENT ? 0 : err;
}

int check_pairs(struct check *c, enum kv_table table,
		int (*fn)(struct check *c, struct map_pair pair))
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	bool good;
	int err;

	while (!(err = check_step(c, table, sizeof(struct disk_mark), &pos, &val, &good))) {
		struct map_pair pair;

		if (pos.len != sizeof(struct map_pair_key)) {
			check_differ(c, CHECK_LINK_STRAY, "%s has a key of %zu bytes",
				     kv_table_name(table), pos.len);
			continue;
		}
		pair = (struct map_pair){be64_get(pos.bytes), be64_get(pos.bytes + 8)};
		if (good)
			err = fn(c, pair);
		else
			check_differ(c, CHECK_LINK_STRAY,
				     "%s value of %" PRIu64 ", %" PRIu64 " is damaged",
				     kv_table_name(table), pair.a, pair.b);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

/* ---- counters, queue ------------------------------------------------------------------------- */

/* Values of which there is one each. */
static int check_meta(struct check *c)
{
	struct check_pos pos = CHECK_POS_FIRST;
	struct kv_buf val;
	bool good;
	int err = map_state_read(c->view->kv, &c->state);

	c->state_known = !err;
	if (err == -ERR_NODE)
		check_differ(c, CHECK_META, "the counters are missing or damaged");
	else if (err)
		return err;
	while (!(err = check_step(c, KV_META, 1, &pos, &val, &good))) {
		size_t len = sizeof(MAP_KEY_STATE) - 1;

		if (!good && (pos.len != len || memcmp(pos.bytes, MAP_KEY_STATE, len) != 0))
			check_differ(c, CHECK_META, "meta value \"%.*s\" is damaged", (int)pos.len,
				     (const char *)pos.bytes);
	}
	return err == -ERR_NOENT ? 0 : err;
}

static int check_reap_entry(struct check *c, uint64_t seq, struct kv_buf val)
{
	uint64_t id = le64_get(((const struct disk_reap *)val.data)->node);
	struct check_node *node;
	int err = check_ref(c, id, CHECK_ANY_LEVEL, "reap entry", seq, &node);

	if (err)
		return err;
	c->totals.reap_entries++;
	c->reap_nblks += node->mapped;
	c->unsure |= node->bad;
	c->queue_shared |= node->refs > 1;
	return 0;
}

static void check_counter(struct check *c, const char *what, uint64_t says, uint64_t found)
{
	if (says != found)
		check_differ(c, CHECK_COUNTER,
			     "the counter of %s says %" PRIu64 ", there are %" PRIu64, what, says,
			     found);
}

static int check_queue(struct check *c)
{
	int err;

	if (c->without_queue)
		return 0;
	c->in_queue = true;
	err = check_each(c, KV_REAP, sizeof(struct disk_reap), check_reap_entry);
	c->in_queue = false;
	return err;
}

/* Where something could not be read, the sums are not known. */
static void check_counters(struct check *c)
{
	if (!c->state_known || c->unsure)
		return;
	check_counter(c, "free blocks", c->state.free_nblks, c->totals.free_nblks);
	check_counter(c, "objects", c->state.objects, c->totals.objects);
	check_counter(c, "versions", c->state.versions, c->totals.versions);
	check_counter(c, "mapped blocks", c->state.mapped_nblks, c->object_nblks);
	check_counter(c, "blocks to reap", c->state.reap_nblks, c->reap_nblks);
	check_counter(c, "reserved blocks", c->state.reserved_nblks, c->reserved_nblks);
	check_counter(c, "promised blocks", c->state.promised_nblks, c->promised_nblks);
}

/* ---- all ------------------------------------------------------------------------------------- */

/* The order matters: references first, then what counts them. */
static int check_tables(struct check *c)
{
	int err = check_meta(c);

	if (!err)
		err = check_name_table(c);
	if (!err)
		err = check_each(c, KV_OBJ, sizeof(struct disk_obj), check_object);
	if (!err)
		err = check_child_table(c);
	if (!err)
		err = check_ttl_table(c);
	if (!err)
		err = check_queue(c);
	if (!err)
		err = check_node_table(c);
	if (!err)
		check_owners(c);
	if (!err)
		err = check_nref_table(c);
	if (!err)
		err = check_xref_table(c);
	if (!err)
		err = check_free_table(c);
	if (!err)
		check_counters(c);
	return err;
}

/* Pages of it come into being only where a block is mapped.  NULL: there is no memory. */
static uint32_t *check_blks(const struct check *c)
{
	void *blks = mmap(NULL, c->dev_nblks * sizeof(uint32_t), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return blks == MAP_FAILED ? NULL : blks;
}

int check_run(struct check *c, struct map_view *view)
{
	const struct map_geometry *geo = map_geometry(view->map);

	c->view = view;
	STAILQ_INIT(&c->owners);
	RB_INIT(&c->nodes);
	c->dev_nblks = geo->dev_nblks;
	c->first_blk = 1 + geo->journal_nblks;
	c->counts = check_blks(c);
	c->csums = c->counts && c->claims ? check_blks(c) : NULL;
	if (!c->counts || (c->claims && !c->csums))
		return -ERR_NOMEM;
	return check_tables(c);
}

void check_fini(struct check *c)
{
	check_nodes_free(c);
	if (c->counts)
		munmap(c->counts, c->dev_nblks * sizeof(*c->counts));
	if (c->csums)
		munmap(c->csums, c->dev_nblks * sizeof(*c->csums));
}

int check_view(struct map_view *view, check_report_fn report, void *ctx,
	       struct check_totals *totals)
{
	struct check c = {.report = report, .ctx = ctx};
	int err = check_run(&c, view);

	check_fini(&c);
	if (!err)
		*totals = c.totals;
	return check_result(&c, err);
}

int check_map(struct map *map, check_report_fn report, void *ctx, struct check_totals *totals)
{
	struct map_view *view;
	int err = map_view_begin(map, &view);

	if (err)
		return err;
	err = check_view(view, report, ctx, totals);
	map_view_end(view);
	return err;
}
