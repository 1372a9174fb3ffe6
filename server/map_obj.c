/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects as values.  Each name refers to one object, and the object says its name: the checker
 * compares them.
 */
#include <assert.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/map_priv.h"

/* The parts of a value; those behind the head have the lengths that it says. */
static const char *object_problem(const struct map_object *obj, uint64_t oid)
{
	size_t name_max = obj->pub.parent ? NAME_VERSION_MAX : NAME_OBJECT_MAX;

	if (obj->pub.id != oid)
		return "id";
	if (obj->height > MAP_HEIGHT_MAX || (obj->root == 0) != (obj->height == 0))
		return "root or height";
	if (obj->pub.parent && (obj->pub.readonly || obj->pub.reserved_nblks > 0))
		return "attributes";
	if (obj->pub.reserved_nblks > BLK_OBJECT_MAX)
		return "reservation";
	return strlen(obj->pub.name) > name_max ? "length of the name" : NULL;
}

static int object_parse(struct kv_buf val, uint64_t oid, struct map_object *obj)
{
	const struct disk_obj *disk = val.data;
	const char *name = (const char *)(disk + 1);
	struct map_object o = {0};
	const char *problem;

	if (val.len < sizeof(*disk))
		return map_num_bad(KV_OBJ, oid, "length");
	o.pub.labels_len = le16_get(disk->labels_len);
	if (disk->readonly > 1)
		return map_num_bad(KV_OBJ, oid, "attributes");
	if (o.pub.labels_len > MAP_LABELS_MAX ||
	    val.len != sizeof(*disk) + disk->name_len + o.pub.labels_len)
		return map_num_bad(KV_OBJ, oid, "length");
	o.pub.id = le64_get(disk->id);
	o.pub.size_bytes = le64_get(disk->size_bytes);
	o.pub.mapped_nblks = le64_get(disk->mapped_nblks);
	o.pub.generation = le64_get(disk->generation);
	o.pub.ctime_ns = le64_get(disk->ctime_ns);
	o.pub.mtime_ns = le64_get(disk->mtime_ns);
	o.pub.origin = le64_get(disk->origin);
	o.pub.parent = le64_get(disk->parent);
	o.pub.expires_ns = le64_get(disk->expires_ns);
	o.pub.nversions = le32_get(disk->nversions);
	o.pub.readonly = disk->readonly;
	o.pub.reserved_nblks = le64_get(disk->reserved_nblks);
	o.pub.owned_nblks = le64_get(disk->owned_nblks);
	o.pub.owned_seq = le64_get(disk->owned_seq);
	memcpy(o.pub.name, name, disk->name_len);
	memcpy(o.pub.labels, name + disk->name_len, o.pub.labels_len);
	o.root = le64_get(disk->root);
	o.height = disk->height;
	problem = object_problem(&o, oid);
	if (problem)
		return map_num_bad(KV_OBJ, oid, problem);
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
	uint8_t bytes[MAP_OBJ_MAX];
	size_t name_len = strlen(obj->pub.name);
	size_t len = sizeof(struct disk_obj);
	struct disk_obj disk = {.height = (uint8_t)obj->height,
				.name_len = (uint8_t)name_len,
				.readonly = obj->pub.readonly};

	assert(name_len <= NAME_OBJECT_MAX && obj->pub.labels_len <= MAP_LABELS_MAX);
	le16_put(disk.labels_len, (uint16_t)obj->pub.labels_len);
	le64_put(disk.id, obj->pub.id);
	le64_put(disk.root, obj->root);
	le64_put(disk.size_bytes, obj->pub.size_bytes);
	le64_put(disk.mapped_nblks, obj->pub.mapped_nblks);
	le64_put(disk.generation, obj->pub.generation);
	le64_put(disk.ctime_ns, obj->pub.ctime_ns);
	le64_put(disk.mtime_ns, obj->pub.mtime_ns);
	le64_put(disk.origin, obj->pub.origin);
	le64_put(disk.parent, obj->pub.parent);
	le64_put(disk.expires_ns, obj->pub.expires_ns);
	le32_put(disk.nversions, obj->pub.nversions);
	le64_put(disk.reserved_nblks, obj->pub.reserved_nblks);
	le64_put(disk.owned_nblks, obj->pub.owned_nblks);
	le64_put(disk.owned_seq, obj->pub.owned_seq);
	memcpy(bytes, &disk, sizeof(disk));
	memcpy(bytes + len, obj->pub.name, name_len);
	len += name_len;
	memcpy(bytes + len, obj->pub.labels, obj->pub.labels_len);
	len += obj->pub.labels_len;
	map_num_put(kv, KV_OBJ, obj->pub.id, bytes, len);
}

void map_object_tell(const struct map_object *obj, const struct map_object *parent,
		     struct map_obj *pub)
{
	size_t len = parent ? strlen(parent->pub.name) : 0;

	*pub = obj->pub;
	if (!parent)
		return;
	assert(len + 1 + strlen(obj->pub.name) <= NAME_MAX_BYTES);
	memcpy(pub->name, parent->pub.name, len);
	pub->name[len] = '@';
	memcpy(pub->name + len + 1, obj->pub.name, strlen(obj->pub.name) + 1);
}
