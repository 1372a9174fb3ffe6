/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names, objects and versions, and the tables that lead to them: each refers to what refers back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/check_priv.h"

/* That a value is missing or bad is a difference, and reported; other errors end the check. */
static bool check_is_found(int err)
{
	return err == -ERR_NOENT || err == -ERR_NODE;
}

/* What names an object that is not there may be all that is left of it. */
static void check_lost(struct check *c, int err)
{
	c->lost |= err == -ERR_NOENT;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* A name as sentences have it. */
struct name_text {
	char text[4 * NAME_MAX_BYTES + 64];
};

static struct name_text name_text(uint64_t parent, const char *name)
{
	struct name_text t;
	size_t len;

	log_quote(t.text, sizeof(t.text), name);
	len = strlen(t.text);
	if (parent)
		(void)snprintf(t.text + len, sizeof(t.text) - len,
			       " among the versions of object %" PRIu64, parent);
	return t;
}

static int check_name(struct check *c, uint64_t parent, const char *name, uint64_t oid)
{
	struct name_text t = name_text(parent, name);
	struct map_object obj;
	int err = map_object_read(c->view->kv, oid, &obj);

	check_lost(c, err);
	if (check_is_found(err))
		check_differ(c, CHECK_NAME,
			     "name %s refers to object %" PRIu64 ", which is missing or damaged",
			     t.text, oid);
	else if (!err && (obj.pub.parent != parent || strcmp(obj.pub.name, name) != 0))
		check_differ(c, CHECK_NAME,
			     "name %s refers to object %" PRIu64 ", which has another name", t.text,
			     oid);
	return check_is_found(err) ? 0 : err;
}

int check_name_table(struct check *c)
{
	struct check_pos pos = CHECK_POS_FIRST;
	char name[NAME_MAX_BYTES + 1];
	struct kv_buf val;
	uint64_t parent;
	bool good;
	int err;

	while (!(err = check_step(c, KV_NAME, sizeof(struct disk_name), &pos, &val, &good))) {
		if (!map_name_parse(check_pos_key(&pos), &parent, name))
			check_differ(c, CHECK_NAME, "a name has a key of %zu bytes in namespace %u",
				     pos.len, pos.bytes[0]);
		else if (!good)
			check_differ(c, CHECK_NAME, "the value of name %s is damaged",
				     name_text(parent, name).text);
		else
			err = check_name(c, parent, name,
					 le64_get(((const struct disk_name *)val.data)->oid));
		if (err)
			return err;
	}
	return err == -ERR_NOENT ? 0 : err;
}

/* The object is found under the name that it says it has. */
static int check_own_name(struct check *c, const struct map_obj *obj)
{
	struct name_text t = name_text(obj->parent, obj->name);
	uint64_t oid;
	int err = map_name_read(c->view->kv, obj->parent, obj->name, &oid);

	if (check_is_found(err))
		check_differ(c, CHECK_NAME,
			     "object %" PRIu64
			     " says that its name is %s, which is missing or damaged",
			     obj->id, t.text);
	else if (!err && oid != obj->id)
		check_differ(c, CHECK_NAME,
			     "object %" PRIu64
			     " says that its name is %s, which refers to object %" PRIu64,
			     obj->id, t.text, oid);
	return check_is_found(err) ? 0 : err;
}

/* ---- versions -------------------------------------------------------------------------------- */

static int check_parent(struct check *c, const struct map_obj *obj)
{
	struct map_object parent;
	int err = obj->parent ? map_object_read(c->view->kv, obj->parent, &parent) : 0;

	check_lost(c, err);
	if (check_is_found(err))
		check_differ(c, CHECK_NAME,
			     "object %" PRIu64 " is a version of object %" PRIu64
			     ", which is missing or damaged",
			     obj->id, obj->parent);
	else if (!err && obj->parent && parent.pub.parent)
		check_differ(c, CHECK_NAME,
			     "object %" PRIu64 " is a version of object %" PRIu64
			     ", which is a version itself",
			     obj->id, obj->parent);
	return check_is_found(err) ? 0 : err;
}

int check_count_versions(struct kv_txn *kv, uint64_t oid, uint64_t *n)
{
	struct map_name_key first = map_name_key(oid, "");
	struct check_pos pos = {.len = first.len};
	struct kv_buf found;
	struct kv_buf val;
	int err;

	*n = 0;
	memcpy(pos.bytes, first.bytes, first.len);
	while (!(err = kv_find(kv, KV_NAME, KV_GT, check_pos_key(&pos), &found, &val))) {
		if (found.len < first.len || memcmp(found.data, first.bytes, first.len) != 0)
			break;
		memcpy(pos.bytes, found.data, found.len);
		pos.len = found.len;
		++*n;
	}
	return err == -ERR_NOENT ? 0 : err;
}

/* As many names as the object says it has versions; that each is one is compared elsewhere. */
static int check_nversions(struct check *c, const struct map_obj *obj)
{
	uint64_t n;
	int err = check_count_versions(c->view->kv, obj->id, &n);

	if (!err && n != obj->nversions)
		check_differ(c, CHECK_NVERSIONS,
			     "object %" PRIu64 " says it has %" PRIu32
			     " versions, there are %" PRIu64,
			     obj->id, obj->nversions, n);
	return err;
}

/* ---- what leads to objects ------------------------------------------------------------------- */

/* A damaged entry is reported where its table is looked at. */
static int check_entry(struct check *c, enum kv_table table, struct map_pair pair)
{
	int err = map_pair_get(c->view->kv, table, pair);

	if (err == -ERR_NOENT)
		check_differ(c, CHECK_LINK, "%s has no entry for object %" PRIu64 " under %" PRIu64,
			     kv_table_name(table), pair.b, pair.a);
	return check_is_found(err) ? 0 : err;
}

static int check_entries(struct check *c, const struct map_obj *obj)
{
	int err = 0;

	if (map_is_child(obj))
		err = check_entry(c, KV_CHILD, (struct map_pair){obj->origin, obj->id});
	if (!err && obj->expires_ns)
		err = check_entry(c, KV_TTL, (struct map_pair){obj->expires_ns, obj->id});
	return err;
}

static int child_entry(struct check *c, struct map_pair pair)
{
	struct map_object obj;
	int err = map_object_read(c->view->kv, pair.b, &obj);

	check_lost(c, err);
	if (check_is_found(err))
		check_differ(c, CHECK_LINK_STRAY,
			     "child has object %" PRIu64 " under origin %" PRIu64
			     ", which is missing or damaged",
			     pair.b, pair.a);
	else if (!err && (!map_is_child(&obj.pub) || obj.pub.origin != pair.a))
		check_differ(c, CHECK_LINK,
			     "child has object %" PRIu64 " under origin %" PRIu64
			     ", which is no clone of that",
			     pair.b, pair.a);
	return check_is_found(err) ? 0 : err;
}

int check_child_table(struct check *c)
{
	return check_pairs(c, KV_CHILD, child_entry);
}

static int ttl_entry(struct check *c, struct map_pair pair)
{
	struct map_object obj;
	int err = map_object_read(c->view->kv, pair.b, &obj);

	check_lost(c, err);
	if (check_is_found(err))
		check_differ(c, CHECK_LINK_STRAY,
			     "ttl has object %" PRIu64 " under time %" PRIu64
			     ", which is missing or damaged",
			     pair.b, pair.a);
	else if (!err && obj.pub.expires_ns != pair.a)
		check_differ(c, CHECK_LINK,
			     "ttl has object %" PRIu64 " under time %" PRIu64
			     ", which expires at %" PRIu64,
			     pair.b, pair.a, obj.pub.expires_ns);
	return check_is_found(err) ? 0 : err;
}

int check_ttl_table(struct check *c)
{
	return check_pairs(c, KV_TTL, ttl_entry);
}

/* ---- objects --------------------------------------------------------------------------------- */

static void check_sizes(struct check *c, const struct map_obj *obj, uint64_t mapped, uint64_t end)
{
	if (blk_count(obj->size_bytes) > BLK_OBJECT_MAX)
		check_differ(c, CHECK_OBJECT, "object %" PRIu64 " is larger than an object can be",
			     obj->id);
	if (mapped != obj->mapped_nblks)
		check_differ(c, CHECK_SUM,
			     "object %" PRIu64 " says %" PRIu64
			     " blocks are mapped, there are %" PRIu64,
			     obj->id, obj->mapped_nblks, mapped);
	if (end > blk_count(obj->size_bytes))
		check_differ(c, CHECK_OBJECT,
			     "object %" PRIu64 " has %" PRIu64 " bytes, but its block %" PRIu64
			     " is mapped",
			     obj->id, obj->size_bytes, end - 1);
}

static void check_owns_nothing(struct check *c, const struct map_obj *obj)
{
	if (obj->owned_nblks > 0)
		check_differ(c, CHECK_OWNED,
			     "object %" PRIu64 " says it owns %" PRIu64 " blocks, it has none",
			     obj->id, obj->owned_nblks);
}

static int check_root(struct check *c, const struct map_object *obj)
{
	struct check_node *root;
	int err;

	if (obj->root == 0) {
		check_sizes(c, &obj->pub, 0, 0);
		check_owns_nothing(c, &obj->pub);
		return 0;
	}
	err = check_ref(c, obj->root, (int)obj->height - 1, "object", obj->pub.id, &root);
	if (err)
		return err;
	if (root->bad) {
		c->unsure = true;
		return 0;
	}
	check_sizes(c, &obj->pub, root->mapped, root->end);
	c->object_nblks += root->mapped;
	return check_own(c, root, &obj->pub);
}

static void check_values(struct check *c, const struct map_obj *obj)
{
	const char *problem = label_problem(obj->labels, obj->labels_len);

	if (problem)
		check_differ(c, CHECK_OBJECT, "the labels of object %" PRIu64 " %s", obj->id,
			     problem);
	if (c->state_known && obj->id >= c->state.next_object)
		check_differ(c, CHECK_ID, "object %" PRIu64 " has an id that was not given out yet",
			     obj->id);
}

int check_object(struct check *c, uint64_t oid, struct kv_buf val)
{
	struct map_key key = map_key(oid);
	struct map_object obj;
	int err = map_object_found(map_key_buf(&key), val, &obj);

	if (err) {
		check_differ(c, CHECK_OBJECT_VALUE, "object %" PRIu64 " is damaged", oid);
		c->unsure = true;
		return 0;
	}
	if (obj.pub.parent)
		c->totals.versions++;
	else
		c->totals.objects++;
	c->last_object = oid > c->last_object ? oid : c->last_object;
	if (obj.pub.origin > c->last_object)
		c->last_object = obj.pub.origin;
	c->reserved_nblks += obj.pub.reserved_nblks;
	c->promised_nblks += map_obj_promised(&obj.pub);
	check_values(c, &obj.pub);
	err = check_own_name(c, &obj.pub);
	if (!err)
		err = check_parent(c, &obj.pub);
	if (!err)
		err = check_nversions(c, &obj.pub);
	if (!err)
		err = check_entries(c, &obj.pub);
	return err ? err : check_root(c, &obj);
}
