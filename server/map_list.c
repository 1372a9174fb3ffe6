/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding and listing objects: by name, by id, by origin, by the time they expire.
 */
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/map_priv.h"

/* As others see it: a version's name needs that of its parent. */
static int object_tell(struct kv_txn *kv, const struct map_object *obj, struct map_obj *pub)
{
	struct map_object parent;
	int err;

	if (!obj->pub.parent) {
		map_object_tell(obj, NULL, pub);
		return 0;
	}
	err = map_object_read(kv, obj->pub.parent, &parent);
	if (!err && parent.pub.parent)
		err = -ERR_NOENT;
	if (err)
		return err == -ERR_NOENT ? map_num_bad(KV_OBJ, obj->pub.id, "parent") : err;
	map_object_tell(obj, &parent, pub);
	return 0;
}

int map_obj_by_id(struct map_view *view, uint64_t id, struct map_obj *obj)
{
	struct map_object o;
	int err = map_object_read(view->kv, id, &o);

	return err ? err : object_tell(view->kv, &o, obj);
}

/* The object that a name refers to; the two must agree. */
static int object_of_name(struct kv_txn *kv, const struct map_name_key *key, uint64_t oid,
			  struct map_object *obj)
{
	struct kv_buf buf = map_name_key_buf(key);
	int err = map_object_read(kv, oid, obj);
	struct map_name_key own;

	if (err)
		return err == -ERR_NOENT ? map_value_bad(KV_NAME, buf, "no such object") : err;
	own = map_name_key(obj->pub.parent, obj->pub.name);
	if (own.len != key->len || memcmp(own.bytes, key->bytes, key->len) != 0)
		return map_value_bad(KV_NAME, buf, "the object has another name");
	return 0;
}

int map_obj_by_name(struct map_view *view, const char *spec, struct map_obj *obj)
{
	struct map_name_key key;
	struct map_object o;
	uint64_t oid;
	int err = map_spec_read(view->kv, spec, &key, &oid);

	if (!err)
		err = object_of_name(view->kv, &key, oid, &o);
	return err ? err : object_tell(view->kv, &o, obj);
}

/*
 * The next name of the namespace that *key is in (of an object's versions, if "parent" is one),
 * into *key, and what it refers to.
 */
static int list_step(struct kv_txn *kv, enum kv_rel rel, uint64_t parent, struct map_name_key *key,
		     struct map_object *obj)
{
	char name[NAME_MAX_BYTES + 1];
	struct kv_buf found;
	struct kv_buf val;
	uint64_t of;
	int err = kv_find(kv, KV_NAME, rel, map_name_key_buf(key), &found, &val);

	if (!err && !map_name_parse(found, &of, name))
		err = map_value_bad(KV_NAME, found, "key");
	if (err)
		return err;
	if (of != parent)
		return -ERR_NOENT;
	err = map_value_check(KV_NAME, found, val, sizeof(struct disk_name));
	if (err)
		return err;
	*key = map_name_key(parent, name);
	return object_of_name(kv, key, le64_get(((const struct disk_name *)val.data)->oid), obj);
}

int map_list(struct map_view *view, const char *prefix, const char *after, map_list_fn fn,
	     void *ctx)
{
	bool skip = after[0] != '\0' && strcmp(after, prefix) >= 0;
	struct map_name_key key = map_name_key(0, skip ? after : prefix);
	enum kv_rel rel = skip ? KV_GT : KV_GE;
	size_t prefix_len = strlen(prefix);
	struct map_object obj;
	int err;

	for (;;) {
		err = list_step(view->kv, rel, 0, &key, &obj);
		if (err)
			return err == -ERR_NOENT ? 0 : err;
		if (strncmp(obj.pub.name, prefix, prefix_len) != 0)
			return 0;
		err = fn(ctx, &obj.pub);
		if (err)
			return err < 0 ? err : 0;
		rel = KV_GT;
	}
}

int map_list_versions(struct map_view *view, uint64_t oid, const char *after, map_list_fn fn,
		      void *ctx)
{
	struct map_name_key key = map_name_key(oid, after);
	struct map_object parent;
	struct map_object obj;
	struct map_obj pub;
	int err = map_object_read(view->kv, oid, &parent);

	if (err)
		return err;
	for (;;) {
		err = list_step(view->kv, KV_GT, oid, &key, &obj);
		if (err)
			return err == -ERR_NOENT ? 0 : err;
		map_object_tell(&obj, &parent, &pub);
		err = fn(ctx, &pub);
		if (err)
			return err < 0 ? err : 0;
	}
}

int map_list_children(struct map_view *view, uint64_t oid, uint64_t after_id, map_list_fn fn,
		      void *ctx)
{
	struct map_pair pair = {.a = oid, .b = after_id};
	struct map_object obj;
	int err;

	for (;;) {
		err = map_pair_next(view->kv, KV_CHILD, &pair);
		if (err || pair.a != oid)
			return err == -ERR_NOENT ? 0 : err;
		err = map_object_read(view->kv, pair.b, &obj);
		if (err == -ERR_NOENT ||
		    (!err && (!map_is_child(&obj.pub) || obj.pub.origin != oid)))
			err = map_pair_bad(KV_CHILD, pair, "no such child");
		if (!err)
			err = fn(ctx, &obj.pub);
		if (err)
			return err < 0 ? err : 0;
	}
}

int map_next_expiry(struct map_view *view, uint64_t *expires_ns, uint64_t *oid)
{
	struct map_pair pair = {*expires_ns, *oid};
	int err = map_pair_next(view->kv, KV_TTL, &pair);

	if (err)
		return err;
	*expires_ns = pair.a;
	*oid = pair.b;
	return 0;
}

int map_next_object(struct map_view *view, uint64_t *oid)
{
	struct map_state state;
	int err = map_state_read(view->kv, &state);

	if (!err)
		*oid = state.next_object;
	return err;
}

int map_get_space(struct map_view *view, struct map_space *space)
{
	struct map_state state;
	int err = map_state_read(view->kv, &state);

	if (err)
		return err;
	map_meta_usage(view->map, &space->meta_used_bytes, &space->meta_total_bytes);
	space->mapped_nblks = state.mapped_nblks;
	space->objects = state.objects;
	space->versions = state.versions;
	space->free_nblks = state.free_nblks;
	space->reap_nblks = state.reap_nblks;
	space->reserved_nblks = state.reserved_nblks;
	space->promised_nblks = state.promised_nblks;
	return 0;
}
