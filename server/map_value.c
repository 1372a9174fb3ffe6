/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/map_priv.h"

#define CRC_BYTES  4
#define CRC_GATHER 63u

struct map_key map_key(uint64_t n)
{
	struct map_key key;

	be64_put(key.bytes, n);
	return key;
}

struct kv_buf map_key_buf(const struct map_key *key)
{
	return (struct kv_buf){.data = key->bytes, .len = sizeof(key->bytes)};
}

/* Most values are small, and most of the time for one goes into beginning a sum: one sum is begun. */
static uint32_t value_crc(enum kv_table table, struct kv_buf key, const void *val, size_t len)
{
	const uint8_t *rest = (const uint8_t *)val + CRC_BYTES;
	size_t rest_len = len - CRC_BYTES;
	uint8_t bytes[1 + CRC_GATHER];
	uint32_t crc;

	bytes[0] = (uint8_t)table;
	if (key.len + rest_len <= CRC_GATHER) {
		memcpy(bytes + 1, key.data, key.len);
		memcpy(bytes + 1 + key.len, rest, rest_len);
		return crc32c(0, bytes, 1 + key.len + rest_len);
	}
	crc = crc32c(0, bytes, 1);
	crc = crc32c(crc, key.data, key.len);
	return crc32c(crc, rest, rest_len);
}

int map_value_bad(enum kv_table table, struct kv_buf key, const char *why)
{
	char hex[2 * 32 + 1] = "";
	const uint8_t *bytes = key.data;

	for (size_t i = 0; i < key.len && i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	log_event(LOG_ERROR, "map-value", "table=%s key=%s problem=\"%s\"", kv_table_name(table),
		  hex, why);
	return -ERR_NODE;
}

int map_value_check(enum kv_table table, struct kv_buf key, struct kv_buf val, size_t min_len)
{
	if (val.len < min_len || val.len < CRC_BYTES || val.len > MAP_VALUE_MAX)
		return map_value_bad(table, key, "length");
	if (!val.staged && le32_get(val.data) != value_crc(table, key, val.data, val.len))
		return map_value_bad(table, key, "checksum");
	return 0;
}

int map_value_get(struct kv_txn *kv, enum kv_table table, struct kv_buf key, size_t min_len,
		  struct kv_buf *val)
{
	struct kv_buf v;
	int err = kv_get(kv, table, key, &v);

	if (!err)
		err = map_value_check(table, key, v, min_len);
	if (!err)
		*val = v;
	return err;
}

void map_value_seal(enum kv_table table, struct kv_buf key, void *val, size_t len)
{
	le32_put(val, value_crc(table, key, val, len));
}

/* What is staged is sealed when it goes into LMDB. */
static void value_seal_now(struct kv_txn *kv, enum kv_table table, struct kv_buf key, void *val,
			   size_t len)
{
	if (kv_is_write(kv))
		map_value_seal(table, key, val, len);
	else
		le32_put(val, 0);
}

void map_value_put(struct kv_txn *kv, enum kv_table table, struct kv_buf key, void *val, size_t len)
{
	value_seal_now(kv, table, key, val, len);
	kv_put(kv, table, key, (struct kv_buf){.data = val, .len = len});
}

int map_num_bad(enum kv_table table, uint64_t key, const char *why)
{
	struct map_key k = map_key(key);

	return map_value_bad(table, map_key_buf(&k), why);
}

int map_num_get(struct kv_txn *kv, enum kv_table table, uint64_t key, size_t len,
		struct kv_buf *val)
{
	struct map_key k = map_key(key);
	struct kv_buf v;
	int err = map_value_get(kv, table, map_key_buf(&k), len, &v);

	if (!err && v.len != len)
		err = map_value_bad(table, map_key_buf(&k), "length");
	if (!err)
		*val = v;
	return err;
}

int map_num_find(struct kv_txn *kv, enum kv_table table, enum kv_rel rel, uint64_t key, size_t len,
		 uint64_t *found, struct kv_buf *val)
{
	struct map_key k = map_key(key);
	struct kv_buf f;
	struct kv_buf v;
	int err = kv_find(kv, table, rel, map_key_buf(&k), &f, &v);

	if (err)
		return err;
	if (f.len != sizeof(k.bytes))
		return map_value_bad(table, f, "key length");
	err = map_value_check(table, f, v, len);
	if (!err && v.len != len)
		err = map_value_bad(table, f, "length");
	if (err)
		return err;
	*found = be64_get(f.data);
	*val = v;
	return 0;
}

void map_num_put(struct kv_txn *kv, enum kv_table table, uint64_t key, void *val, size_t len)
{
	struct map_key k = map_key(key);

	map_value_put(kv, table, map_key_buf(&k), val, len);
}

void map_num_replace(struct kv_txn *kv, enum kv_table table, uint64_t key, size_t old_len,
		     void *val, size_t len)
{
	struct map_key k = map_key(key);
	struct kv_buf v = {.data = val, .len = len};

	if (val)
		value_seal_now(kv, table, map_key_buf(&k), val, len);
	kv_replace(kv, table, map_key_buf(&k), old_len, val ? &v : NULL);
}

void map_num_del(struct kv_txn *kv, enum kv_table table, uint64_t key)
{
	struct map_key k = map_key(key);

	kv_del(kv, table, map_key_buf(&k));
}

/* ---- pairs ----------------------------------------------------------------------------------- */

struct map_pair_key map_pair_key(struct map_pair pair)
{
	struct map_pair_key key;

	be64_put(key.bytes, pair.a);
	be64_put(key.bytes + 8, pair.b);
	return key;
}

struct kv_buf map_pair_key_buf(const struct map_pair_key *key)
{
	return (struct kv_buf){.data = key->bytes, .len = sizeof(key->bytes)};
}

int map_pair_bad(enum kv_table table, struct map_pair pair, const char *why)
{
	struct map_pair_key key = map_pair_key(pair);

	return map_value_bad(table, map_pair_key_buf(&key), why);
}

int map_pair_get(struct kv_txn *kv, enum kv_table table, struct map_pair pair)
{
	struct map_pair_key key = map_pair_key(pair);
	struct kv_buf val;

	return map_value_get(kv, table, map_pair_key_buf(&key), sizeof(struct disk_mark), &val);
}

int map_pair_next(struct kv_txn *kv, enum kv_table table, struct map_pair *pair)
{
	struct map_pair_key key = map_pair_key(*pair);
	struct kv_buf found;
	struct kv_buf val;
	int err = kv_find(kv, table, KV_GT, map_pair_key_buf(&key), &found, &val);

	if (err)
		return err;
	if (found.len != sizeof(key.bytes))
		return map_value_bad(table, found, "key length");
	err = map_value_check(table, found, val, sizeof(struct disk_mark));
	if (err)
		return err;
	pair->a = be64_get(found.data);
	pair->b = be64_get((const uint8_t *)found.data + 8);
	return 0;
}

void map_pair_put(struct kv_txn *kv, enum kv_table table, struct map_pair pair)
{
	struct map_pair_key key = map_pair_key(pair);
	struct disk_mark val = {0};

	map_value_put(kv, table, map_pair_key_buf(&key), &val, sizeof(val));
}

void map_pair_del(struct kv_txn *kv, enum kv_table table, struct map_pair pair)
{
	struct map_pair_key key = map_pair_key(pair);

	kv_del(kv, table, map_pair_key_buf(&key));
}
