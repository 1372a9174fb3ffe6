/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names and objects.  Each name refers to one object, and the object says its name: the checker
 * compares them.
 */
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/map_priv.h"

/* ---- values ---------------------------------------------------------------------------------- */

struct map_name_key map_name_key(const char *name)
{
	struct map_name_key key;
	size_t len = strnlen(name, NAME_MAX_BYTES);

	key.bytes[0] = MAP_NAMESPACE_MAIN;
	memcpy(key.bytes + 1, name, len);
	key.len = 1 + len;
	return key;
}

struct kv_buf map_name_key_buf(const struct map_name_key *key)
{
	return (struct kv_buf){.data = key->bytes, .len = key->len};
}

static bool name_fits(const char *name)
{
	size_t len = strnlen(name, NAME_MAX_BYTES + 1);

	return len > 0 && len <= NAME_MAX_BYTES;
}

int map_name_read(struct kv_txn *kv, const char *name, uint64_t *oid)
{
	struct map_name_key key = map_name_key(name);
	struct kv_buf val;
	int err;

	if (!name_fits(name))
		return -ERR_NOENT;
	err = map_value_get(kv, KV_NAME, map_name_key_buf(&key), sizeof(struct disk_name), &val);
	if (!err)
		*oid = le64_get(((const struct disk_name *)val.data)->oid);
	return err;
}

static void name_write(struct kv_txn *kv, const char *name, uint64_t oid)
{
	struct map_name_key key = map_name_key(name);
	struct disk_name val = {0};

	le64_put(val.oid, oid);
	map_value_put(kv, KV_NAME, map_name_key_buf(&key), &val, sizeof(val));
}

static int object_parse(struct kv_buf val, uint64_t oid, struct map_object *obj)
{
	const struct disk_obj *disk = val.data;
	const char *name = (const char *)(disk + 1);
	struct map_object o = {0};

	if (val.len < sizeof(*disk) || val.len != sizeof(*disk) + disk->name_len)
		return map_num_bad(KV_OBJ, oid, "length");
	o.pub.id = le64_get(disk->id);
	o.pub.size_bytes = le64_get(disk->size_bytes);
	o.pub.mapped_nblks = le64_get(disk->mapped_nblks);
	o.pub.generation = le64_get(disk->generation);
	o.pub.ctime_ns = le64_get(disk->ctime_ns);
	o.pub.mtime_ns = le64_get(disk->mtime_ns);
	o.pub.origin = le64_get(disk->origin);
	memcpy(o.pub.name, name, disk->name_len);
	o.root = le64_get(disk->root);
	o.height = disk->height;
	if (o.pub.id != oid || o.height > MAP_HEIGHT_MAX || (o.root == 0) != (o.height == 0))
		return map_num_bad(KV_OBJ, oid, "id, root or height");
	*obj = o;
	return 0;
}

int map_object_found(struct kv_buf key, struct kv_buf val, struct map_object *obj)
{
	int err = map_value_check(KV_OBJ, key, val, sizeof(struct disk_obj));

	if (!err && key.len != sizeof(struct map_key))
		err = map_value_bad(KV_OBJ, key, "key length");
	return err ? err : object_parse(val, be64_get(key.data), obj);
}

int map_object_read(struct kv_txn *kv, uint64_t oid, struct map_object *obj)
{
	struct map_key key = map_key(oid);
	struct kv_buf val;
	int err = map_value_get(kv, KV_OBJ, map_key_buf(&key), sizeof(struct disk_obj), &val);

	return err ? err : object_parse(val, oid, obj);
}

void map_object_write(struct kv_txn *kv, const struct map_object *obj)
{
	uint8_t bytes[sizeof(struct disk_obj) + NAME_MAX_BYTES];
	size_t name_len = strlen(obj->pub.name);
	struct disk_obj disk = {.height = (uint8_t)obj->height, .name_len = (uint8_t)name_len};

	le64_put(disk.id, obj->pub.id);
	le64_put(disk.root, obj->root);
	le64_put(disk.size_bytes, obj->pub.size_bytes);
	le64_put(disk.mapped_nblks, obj->pub.mapped_nblks);
	le64_put(disk.generation, obj->pub.generation);
	le64_put(disk.ctime_ns, obj->pub.ctime_ns);
	le64_put(disk.mtime_ns, obj->pub.mtime_ns);
	le64_put(disk.origin, obj->pub.origin);
	memcpy(bytes, &disk, sizeof(disk));
	memcpy(bytes + sizeof(disk), obj->pub.name, name_len);
	map_num_put(kv, KV_OBJ, obj->pub.id, bytes, sizeof(disk) + name_len);
}

/* The object that a name refers to; the two must agree. */
static int object_of_name(struct kv_txn *kv, struct kv_buf key, uint64_t oid,
			  struct map_object *obj)
{
	int err = map_object_read(kv, oid, obj);
	struct map_name_key own;

	if (err)
		return err == -ERR_NOENT ? map_value_bad(KV_NAME, key, "no such object") : err;
	own = map_name_key(obj->pub.name);
	if (own.len != key.len || memcmp(own.bytes, key.data, key.len) != 0)
		return map_value_bad(KV_NAME, key, "the object has another name");
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

int map_obj_by_id(struct map_view *view, uint64_t id, struct map_obj *obj)
{
	struct map_object o;
	int err = map_object_read(view->kv, id, &o);

	if (!err)
		*obj = o.pub;
	return err;
}

int map_obj_by_name(struct map_view *view, const char *name, struct map_obj *obj)
{
	struct map_name_key key = map_name_key(name);
	struct map_object o;
	uint64_t oid;
	int err = map_name_read(view->kv, name, &oid);

	if (!err)
		err = object_of_name(view->kv, map_name_key_buf(&key), oid, &o);
	if (!err)
		*obj = o.pub;
	return err;
}

/* The next name, into *key, and the object that it refers to. */
static int list_step(struct kv_txn *kv, enum kv_rel rel, struct map_name_key *key,
		     struct map_object *obj)
{
	struct kv_buf found;
	struct kv_buf val;
	int err = kv_find(kv, KV_NAME, rel, map_name_key_buf(key), &found, &val);

	if (!err && found.len > sizeof(key->bytes))
		err = map_value_bad(KV_NAME, found, "key length");
	if (!err)
		err = map_value_check(KV_NAME, found, val, sizeof(struct disk_name));
	if (err)
		return err;
	memcpy(key->bytes, found.data, found.len);
	key->len = found.len;
	return object_of_name(kv, found, le64_get(((const struct disk_name *)val.data)->oid), obj);
}

int map_list(struct map_view *view, const char *prefix, const char *after,
	     int (*fn)(void *ctx, const struct map_obj *obj), void *ctx)
{
	bool skip = after[0] != '\0' && strcmp(after, prefix) >= 0;
	struct map_name_key key = map_name_key(skip ? after : prefix);
	enum kv_rel rel = skip ? KV_GT : KV_GE;
	size_t prefix_len = strlen(prefix);
	struct map_object obj;
	int err;

	for (;;) {
		err = list_step(view->kv, rel, &key, &obj);
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

int map_get_space(struct map_view *view, struct map_space *space)
{
	struct map_space sum = {0};
	struct map_key key = map_key(0);
	struct map_object obj;
	struct kv_buf found;
	struct kv_buf val;
	int err;

	while (!(err = kv_find(view->kv, KV_OBJ, KV_GT, map_key_buf(&key), &found, &val))) {
		err = map_object_found(found, val, &obj);
		if (err)
			return err;
		sum.objects++;
		sum.mapped_nblks += obj.pub.mapped_nblks;
		key = map_key(obj.pub.id);
	}
	if (err != -ERR_NOENT)
		return err;
	map_meta_usage(view->map, &sum.meta_used_bytes, &sum.meta_total_bytes);
	*space = sum;
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

int map_txn_obj(struct map_txn *txn, uint64_t oid, struct map_obj *obj)
{
	struct map_object *o;
	int err;

	ASSERT_COMMIT();
	err = map_object_get(txn, oid, &o);
	if (!err)
		*obj = o->pub;
	return map_txn_result(txn, err);
}

int map_txn_obj_by_name(struct map_txn *txn, const char *name, struct map_obj *obj)
{
	uint64_t oid;
	int err;

	ASSERT_COMMIT();
	err = map_name_read(txn->kv, name, &oid);
	return err ? map_txn_result(txn, err) : map_txn_obj(txn, oid, obj);
}

/* A new object under a name that is not in use. */
static int object_add(struct map_txn *txn, const char *name, uint64_t now_ns,
		      struct map_object **obj)
{
	struct map_object *o;
	uint64_t oid;
	int err;

	if (!name_fits(name))
		return -ERR_BAD_NAME;
	err = map_name_read(txn->kv, name, &oid);
	if (err != -ERR_NOENT)
		return err ? err : -ERR_EXIST;
	err = map_txn_grow(txn);
	if (!err)
		err = map_object_new(txn, &o);
	if (err)
		return err;
	memcpy(o->pub.name, name, strlen(name) + 1);
	o->pub.ctime_ns = now_ns;
	o->pub.mtime_ns = now_ns;
	name_write(txn->kv, name, o->pub.id);
	*obj = o;
	return kv_error(txn->kv);
}

int map_txn_create(struct map_txn *txn, const char *name, uint64_t size_bytes, uint64_t now_ns,
		   struct map_obj *obj)
{
	struct map_object *o;
	int err;

	ASSERT_COMMIT();
	if (blk_count(size_bytes) > BLK_OBJECT_MAX)
		return map_txn_result(txn, -ERR_TOO_LARGE);
	err = object_add(txn, name, now_ns, &o);
	if (err)
		return map_txn_result(txn, err);
	o->pub.size_bytes = size_bytes;
	*obj = o->pub;
	return 0;
}

int map_txn_clone(struct map_txn *txn, uint64_t src, const char *dst, uint64_t now_ns,
		  struct map_obj *obj)
{
	struct map_object *from;
	struct map_object *o;
	int err;

	ASSERT_COMMIT();
	err = map_object_get(txn, src, &from);
	if (!err)
		err = object_add(txn, dst, now_ns, &o);
	if (!err && from->root)
		err = map_nref_inc(txn->kv, from->root);
	if (err)
		return map_txn_result(txn, err);
	o->root = from->root;
	o->height = from->height;
	o->pub.size_bytes = from->pub.size_bytes;
	o->pub.mapped_nblks = from->pub.mapped_nblks;
	o->pub.mtime_ns = from->pub.mtime_ns;
	o->pub.origin = src;
	*obj = o->pub;
	return 0;
}

int map_txn_remove(struct map_txn *txn, uint64_t oid)
{
	struct map_name_key key;
	struct map_object *obj;
	int err;

	ASSERT_COMMIT();
	err = map_object_get(txn, oid, &obj);
	if (!err && obj->root)
		err = map_reap_add(txn, obj->root);
	if (err)
		return map_txn_result(txn, err);
	key = map_name_key(obj->pub.name);
	kv_del(txn->kv, KV_NAME, map_name_key_buf(&key));
	map_object_delete(txn, obj);
	return kv_error(txn->kv);
}

int map_txn_update(struct map_txn *txn, uint64_t oid, uint64_t size_bytes, uint64_t mtime_ns,
		   struct map_obj *obj)
{
	struct map_object *o;
	int err;

	ASSERT_COMMIT();
	if (blk_count(size_bytes) > BLK_OBJECT_MAX)
		return map_txn_result(txn, -ERR_TOO_LARGE);
	err = map_object_get(txn, oid, &o);
	if (err)
		return map_txn_result(txn, err);
	o->pub.size_bytes = size_bytes;
	o->pub.mtime_ns = mtime_ns;
	o->pub.generation++;
	o->dirty = true;
	*obj = o->pub;
	return 0;
}
