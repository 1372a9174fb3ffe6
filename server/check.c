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

#define TEXT_MAX   1024
#define QUOTED_MAX (4 * NAME_MAX_BYTES + 3)

void check_differ(struct check *c, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->differences++;
	c->report(c->ctx, text);
}

int check_result(const struct check *c, int err)
{
	if (err)
		return err;
	return c->differences > INT_MAX ? INT_MAX : (int)c->differences;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* A copy of the key that an iteration has reached. */
struct table_pos {
	uint8_t bytes[KV_KEY_MAX];
	size_t len;
};

static struct kv_buf pos_buf(const struct table_pos *pos)
{
	return (struct kv_buf){.data = pos->bytes, .len = pos->len};
}

/* The next entry; its value may be bad: *good tells. */
static int table_step(struct check *c, enum kv_table table, size_t len, struct table_pos *pos,
		      struct kv_buf *val, bool *good)
{
	struct kv_buf found;
	int err = kv_find(c->view->kv, table, KV_GT, pos_buf(pos), &found, val);

	if (err)
		return err;
	memcpy(pos->bytes, found.data, found.len);
	pos->len = found.len;
	*good = map_value_check(table, found, *val, len) == 0;
	return 0;
}

int check_each(struct check *c, enum kv_table table, size_t len,
	       int (*fn)(struct check *c, uint64_t key, struct kv_buf val))
{
	struct table_pos pos = {.len = 1}; /* less than every number */
	struct kv_buf val;
	bool good;
	int err;

	while (!(err = table_step(c, table, len, &pos, &val, &good))) {
		uint64_t key;

		if (pos.len != sizeof(struct map_key)) {
			check_differ(c, "%s has a key of %zu bytes", kv_table_name(table), pos.len);
			continue;
		}
		key = be64_get(pos.bytes);
		if (good)
			err = fn(c, key, val);
		else
			check_differ(c, "%s value of %" PRIu64 " is damaged", kv_table_name(table),
				     key);
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

/* ---- names, objects, queue ------------------------------------------------------------------- */

static int check_name(struct check *c, const struct table_pos *pos, uint64_t oid)
{
	char name[NAME_MAX_BYTES + 1] = "";
	char quoted[QUOTED_MAX];
	struct map_object obj;
	int err;

	if (pos->len < 2 || pos->len > 1 + NAME_MAX_BYTES || pos->bytes[0] != MAP_NAMESPACE_MAIN) {
		check_differ(c, "a name has a key of %zu bytes in namespace %u", pos->len,
			     pos->bytes[0]);
		return 0;
	}
	memcpy(name, pos->bytes + 1, pos->len - 1);
	log_quote(quoted, sizeof(quoted), name);
	err = map_object_read(c->view->kv, oid, &obj);
	if (err == -ERR_NOENT || err == -ERR_NODE)
		check_differ(c, "name %s refers to object %" PRIu64 ", which is missing or damaged",
			     quoted, oid);
	else if (!err && strcmp(obj.pub.name, name) != 0)
		check_differ(c, "name %s refers to object %" PRIu64 ", which has another name",
			     quoted, oid);
	return err == -ERR_NOENT || err == -ERR_NODE ? 0 : err;
}

static int check_names(struct check *c)
{
	struct table_pos pos = {.len = 1};
	struct kv_buf val;
	bool good;
	int err;

	while (!(err = table_step(c, KV_NAME, sizeof(struct disk_name), &pos, &val, &good))) {
		if (good)
			err = check_name(c, &pos,
					 le64_get(((const struct disk_name *)val.data)->oid));
		else
			check_differ(c, "the value of a name is damaged");
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

/* The object is found under the name that it says it has. */
static int check_own_name(struct check *c, const struct map_object *obj)
{
	char quoted[QUOTED_MAX];
	uint64_t oid;
	int err = map_name_read(c->view->kv, obj->pub.name, &oid);

	log_quote(quoted, sizeof(quoted), obj->pub.name);
	if (err == -ERR_NOENT || err == -ERR_NODE)
		check_differ(c,
			     "object %" PRIu64 " says that its name is %s, which is missing or"
			     " damaged",
			     obj->pub.id, quoted);
	else if (!err && oid != obj->pub.id)
		check_differ(c,
			     "object %" PRIu64
			     " says that its name is %s, which refers to object %" PRIu64,
			     obj->pub.id, quoted, oid);
	return err == -ERR_NOENT || err == -ERR_NODE ? 0 : err;
}

static void check_sizes(struct check *c, const struct map_object *obj, uint64_t mapped,
			uint64_t end)
{
	if (blk_count(obj->pub.size_bytes) > BLK_OBJECT_MAX)
		check_differ(c, "object %" PRIu64 " is larger than an object can be", obj->pub.id);
	if (mapped != obj->pub.mapped_nblks)
		check_differ(
		    c, "object %" PRIu64 " says %" PRIu64 " blocks are mapped, there are %" PRIu64,
		    obj->pub.id, obj->pub.mapped_nblks, mapped);
	if (end > blk_count(obj->pub.size_bytes))
		check_differ(c,
			     "object %" PRIu64 " has %" PRIu64 " bytes, but its block %" PRIu64
			     " is mapped",
			     obj->pub.id, obj->pub.size_bytes, end - 1);
}

static int check_object(struct check *c, uint64_t oid, struct kv_buf val)
{
	struct map_key key = map_key(oid);
	struct check_node *root;
	struct map_object obj;
	int err = map_object_found(map_key_buf(&key), val, &obj);

	if (err) {
		check_differ(c, "object %" PRIu64 " is damaged", oid);
		return 0;
	}
	c->totals.objects++;
	if (oid >= c->state.next_object)
		check_differ(c, "object %" PRIu64 " has an id that was not given out yet", oid);
	err = check_own_name(c, &obj);
	if (err)
		return err;
	if (obj.root == 0) {
		check_sizes(c, &obj, 0, 0);
		return 0;
	}
	err = check_ref(c, obj.root, (int)obj.height - 1, "object", oid, &root);
	if (!err && !root->bad)
		check_sizes(c, &obj, root->mapped, root->end);
	return err;
}

static int check_reap_entry(struct check *c, uint64_t seq, struct kv_buf val)
{
	uint64_t id = le64_get(((const struct disk_reap *)val.data)->node);
	struct check_node *node;

	c->totals.reap_entries++;
	return check_ref(c, id, CHECK_ANY_LEVEL, "reap entry", seq, &node);
}

/* ---- all ------------------------------------------------------------------------------------- */

/* The order matters: references first, then what counts them. */
static int check_tables(struct check *c)
{
	int err = map_state_read(c->view->kv, &c->state);

	if (err == -ERR_NODE) {
		check_differ(c, "the counters are missing or damaged");
		c->state = (struct map_state){UINT64_MAX, UINT64_MAX, 0};
		err = 0;
	}
	if (!err)
		err = check_names(c);
	if (!err)
		err = check_each(c, KV_OBJ, sizeof(struct disk_obj), check_object);
	if (!err)
		err = check_each(c, KV_REAP, sizeof(struct disk_reap), check_reap_entry);
	if (!err)
		err = check_node_table(c);
	if (!err)
		err = check_nref_table(c);
	if (!err)
		err = check_xref_table(c);
	return err ? err : check_free_table(c);
}

int check_map(struct map *map, check_report_fn report, void *ctx, struct check_totals *totals)
{
	struct check c = {.report = report, .ctx = ctx, .nodes = RB_INITIALIZER(&c.nodes)};
	size_t bytes;
	int err;

	c.dev_nblks = map_geometry(map)->dev_nblks;
	bytes = c.dev_nblks * sizeof(*c.counts);
	/* pages of it come into being only where a block is mapped */
	c.counts = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c.counts == MAP_FAILED)
		return -ERR_NOMEM;
	err = map_view_begin(map, &c.view);
	if (err)
		goto unmap;
	err = check_tables(&c);
	map_view_end(c.view);
	check_nodes_free(&c);
	if (!err)
		*totals = c.totals;
unmap:
	munmap(c.counts, bytes);
	return check_result(&c, err);
}
