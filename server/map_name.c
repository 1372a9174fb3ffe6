/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names.  Those of objects are one namespace, those of an object's versions another, under its id:
 * so that an object that gets another name takes its versions along.
 */
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/map_priv.h"

#define PARENT_BYTES 8 /* of a version's key, behind the namespace */

struct map_name_key map_name_key(uint64_t parent, const char *name)
{
	struct map_name_key key = {.bytes = {MAP_NAMESPACE_MAIN}, .len = 1};
	size_t len = strnlen(name, NAME_OBJECT_MAX);

	if (parent) {
		key.bytes[0] = MAP_NAMESPACE_VERSION;
		be64_put(key.bytes + 1, parent);
		key.len += PARENT_BYTES;
	}
	memcpy(key.bytes + key.len, name, len);
	key.len += len;
	return key;
}

struct kv_buf map_name_key_buf(const struct map_name_key *key)
{
	return (struct kv_buf){.data = key->bytes, .len = key->len};
}

bool map_name_parse(struct kv_buf key, uint64_t *parent, char name[NAME_MAX_BYTES + 1])
{
	const uint8_t *bytes = key.data;
	bool version = key.len > 0 && bytes[0] == MAP_NAMESPACE_VERSION;
	size_t head = version ? 1 + PARENT_BYTES : 1;
	size_t max = version ? NAME_VERSION_MAX : NAME_OBJECT_MAX;

	if (key.len <= head || key.len - head > max || (!version && bytes[0] != MAP_NAMESPACE_MAIN))
		return false;
	*parent = version ? be64_get(bytes + 1) : 0;
	memcpy(name, bytes + head, key.len - head);
	name[key.len - head] = '\0';
	return true;
}

int map_name_read(struct kv_txn *kv, uint64_t parent, const char *name, uint64_t *oid)
{
	struct map_name_key key = map_name_key(parent, name);
	struct kv_buf val;
	int err =
	    map_value_get(kv, KV_NAME, map_name_key_buf(&key), sizeof(struct disk_name), &val);

	if (!err)
		*oid = le64_get(((const struct disk_name *)val.data)->oid);
	return err;
}

int map_spec_read(struct kv_txn *kv, const char *spec, struct map_name_key *key, uint64_t *oid)
{
	char object[NAME_OBJECT_MAX + 1];
	char version[NAME_VERSION_MAX + 1];
	uint64_t parent;
	int err;

	if (name_split(spec, object, version))
		return -ERR_NOENT;
	*key = map_name_key(0, object);
	if (version[0] == '\0')
		return map_name_read(kv, 0, object, oid);
	err = map_name_read(kv, 0, object, &parent);
	if (err)
		return err;
	*key = map_name_key(parent, version);
	return map_name_read(kv, parent, version, oid);
}

void map_name_put(struct kv_txn *kv, uint64_t parent, const char *name, uint64_t oid)
{
	struct map_name_key key = map_name_key(parent, name);
	struct disk_name val = {0};

	le64_put(val.oid, oid);
	map_value_put(kv, KV_NAME, map_name_key_buf(&key), &val, sizeof(val));
}

void map_name_del(struct kv_txn *kv, uint64_t parent, const char *name)
{
	struct map_name_key key = map_name_key(parent, name);

	kv_del(kv, KV_NAME, map_name_key_buf(&key));
}
