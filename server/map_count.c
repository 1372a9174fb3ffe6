/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reference counts in chunks: a value has those of MAP_COUNTS neighbours.  There is none where all of
 * them are 1, so that what was never cloned costs nothing.
 *
 * A chunk does not depend on what lies beside it, and mostly keeps its length: who copies a leaf in
 * pieces raises up to 128 counts that lie anywhere, most of them by one look-up.
 */
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/map_priv.h"

struct map_counts map_counts_of(struct kv_txn *kv, enum kv_table table)
{
	return (struct map_counts){
	    .kv = kv, .table = table, .chunk = MAP_COUNTS_NONE, .edited = MAP_COUNTS_NONE};
}

/* The bytes that the largest needs. */
static unsigned int counts_width(const uint64_t counts[MAP_COUNTS])
{
	uint64_t all = 0;

	for (unsigned int s = 0; s < MAP_COUNTS; s++)
		all |= counts[s];
	if (all <= UINT8_MAX)
		return 1;
	if (all <= UINT16_MAX)
		return 2;
	return all <= UINT32_MAX ? 4 : 8;
}

static bool counts_all_one(const uint64_t counts[MAP_COUNTS])
{
	uint64_t others = 0;

	for (unsigned int s = 0; s < MAP_COUNTS; s++)
		others |= counts[s] ^ 1;
	return others == 0;
}

static bool counts_any_zero(const uint64_t counts[MAP_COUNTS])
{
	bool any = false;

	for (unsigned int s = 0; s < MAP_COUNTS; s++)
		any |= counts[s] == 0;
	return any;
}

static void counts_decode(const uint8_t *bytes, unsigned int width, uint64_t counts[MAP_COUNTS])
{
	for (unsigned int s = 0; s < MAP_COUNTS; s++, bytes += width) {
		if (width == 1)
			counts[s] = *bytes;
		else if (width == 2)
			counts[s] = le16_get(bytes);
		else
			counts[s] = width == 4 ? le32_get(bytes) : le64_get(bytes);
	}
}

static void counts_encode(const uint64_t counts[MAP_COUNTS], unsigned int width, uint8_t *bytes)
{
	for (unsigned int s = 0; s < MAP_COUNTS; s++, bytes += width) {
		if (width == 1)
			*bytes = (uint8_t)counts[s];
		else if (width == 2)
			le16_put(bytes, (uint16_t)counts[s]);
		else if (width == 4)
			le32_put(bytes, (uint32_t)counts[s]);
		else
			le64_put(bytes, counts[s]);
	}
}

int map_counts_parse(enum kv_table table, uint64_t chunk, struct kv_buf val,
		     uint64_t counts[MAP_COUNTS])
{
	const struct disk_counts *head = val.data;
	unsigned int width = head->width;

	if ((width != 1 && width != 2 && width != 4 && width != 8) ||
	    val.len != MAP_COUNTS_LEN(width))
		return map_num_bad(table, chunk, "length");
	counts_decode((const uint8_t *)(head + 1), width, counts);
	if (counts_width(counts) != width || counts_any_zero(counts) || counts_all_one(counts))
		return map_num_bad(table, chunk, "counts");
	return 0;
}

int map_counts_store(struct map_counts *c)
{
	uint8_t bytes[MAP_COUNTS_LEN(8)];
	struct disk_counts *head = (struct disk_counts *)bytes;

	if (!c->dirty)
		return 0;
	*head = (struct disk_counts){.width = (uint8_t)counts_width(c->counts)};
	counts_encode(c->counts, head->width, (uint8_t *)(head + 1));
	map_num_replace(c->kv, c->table, c->chunk, c->stored_len,
			counts_all_one(c->counts) ? NULL : bytes, MAP_COUNTS_LEN(head->width));
	c->dirty = false;
	c->chunk = MAP_COUNTS_NONE;
	return kv_error(c->kv);
}

/* Turns to a chunk that is not stored. */
static void counts_begin(struct map_counts *c, uint64_t chunk)
{
	for (unsigned int s = 0; s < MAP_COUNTS; s++)
		c->counts[s] = 1;
	c->chunk = chunk;
	c->stored_len = 0;
}

/* Turns to a chunk that is; the value has been checked. */
static int counts_take(struct map_counts *c, uint64_t chunk, struct kv_buf val)
{
	int err;

	c->chunk = MAP_COUNTS_NONE;
	err = map_counts_parse(c->table, chunk, val, c->counts);
	if (err)
		return err;
	c->chunk = chunk;
	c->stored_len = val.len;
	return 0;
}

static int counts_load(struct map_counts *c, uint64_t chunk)
{
	struct map_key key = map_key(chunk);
	struct kv_buf val;
	int err;

	if (chunk == c->chunk)
		return 0;
	err = map_counts_store(c);
	c->edited = MAP_COUNTS_NONE;
	if (!err)
		err = map_value_get(c->kv, c->table, map_key_buf(&key), sizeof(struct disk_counts),
				    &val);
	if (!err)
		return counts_take(c, chunk, val);
	if (err == -ERR_NOENT) {
		counts_begin(c, chunk);
		err = 0;
	}
	return err;
}

int map_counts_get(struct map_counts *c, uint64_t at, uint64_t n, uint64_t *same, uint64_t *count)
{
	unsigned int slot = (unsigned int)(at % MAP_COUNTS);
	unsigned int end = n < MAP_COUNTS - slot ? slot + (unsigned int)n : MAP_COUNTS;
	int err = counts_load(c, at / MAP_COUNTS);

	if (err)
		return err;
	*count = c->counts[slot];
	for (*same = 1; slot + *same < end && c->counts[slot + *same] == *count;)
		++*same;
	return 0;
}

void map_counts_set(struct map_counts *c, uint64_t at, uint64_t n, uint64_t count)
{
	unsigned int slot = (unsigned int)(at % MAP_COUNTS);

	for (uint64_t i = 0; i < n; i++)
		c->counts[slot + i] = count;
	c->dirty = true;
}

/* ---- one more -------------------------------------------------------------------------------- */

/* One more for each of some neighbours in one chunk, which is stored later. */
static int counts_inc_loaded(struct map_counts *c, uint64_t at, uint64_t n)
{
	uint64_t same;
	uint64_t count;

	for (; n > 0; at += same, n -= same) {
		int err = map_counts_get(c, at, n, &same, &count);

		if (err)
			return err;
		map_counts_set(c, at, same, count + 1);
	}
	return 0;
}

/*
 * Turns to a chunk: to its bytes where it is stored with one for each count, else loads it.  What is
 * edited counts as staged from then on, so that what is bad in it must end the transaction.
 */
static int counts_edit(struct map_counts *c, uint64_t chunk)
{
	struct map_key key = map_key(chunk);
	struct kv_buf val;
	uint8_t *bytes;
	int err;

	if (chunk == c->edited || chunk == c->chunk)
		return 0;
	err = map_counts_store(c);
	c->edited = MAP_COUNTS_NONE;
	if (!err)
		err = kv_edit(c->kv, c->table, map_key_buf(&key), &val, &bytes);
	if (err == -ERR_NOENT) {
		counts_begin(c, chunk);
		return 0;
	}
	if (!err)
		err = map_value_check(c->table, map_key_buf(&key), val, sizeof(struct disk_counts));
	if (!err && (!val.staged || val.len != MAP_COUNTS_LEN(1)))
		err = counts_take(c, chunk, val);
	if (err)
		return kv_latch(c->kv, err);
	if (val.len == MAP_COUNTS_LEN(1)) {
		c->chunk = MAP_COUNTS_NONE;
		c->edited = chunk;
		c->bytes = bytes + sizeof(struct disk_counts);
	}
	return 0;
}

/* False: one of them would need more than its byte; nothing was done. */
static bool counts_bump(uint8_t *bytes, uint64_t n)
{
	bool fits = true;

	for (uint64_t i = 0; i < n; i++)
		fits = fits && bytes[i] < UINT8_MAX;
	for (uint64_t i = 0; i < n && fits; i++)
		bytes[i]++;
	return fits;
}

int map_counts_inc(struct map_counts *c, uint64_t at, uint64_t n)
{
	uint64_t len;

	for (; n > 0; at += len, n -= len) {
		uint64_t slot = at % MAP_COUNTS;
		int err = counts_edit(c, at / MAP_COUNTS);

		len = n < MAP_COUNTS - slot ? n : MAP_COUNTS - slot;
		if (!err && (c->chunk != MAP_COUNTS_NONE || !counts_bump(c->bytes + slot, len)))
			err = counts_inc_loaded(c, at, len);
		if (err)
			return err;
	}
	return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int counts_verify(struct kv_txn *kv, enum kv_table table)
{
	struct map_key pos = map_key(0);
	enum kv_rel how = KV_GE;
	uint64_t counts[MAP_COUNTS];
	struct kv_buf key;
	struct kv_buf val;
	int err;

	while (!(err = kv_find(kv, table, how, map_key_buf(&pos), &key, &val))) {
		if (key.len != sizeof(pos.bytes))
			return map_num_bad(table, be64_get(pos.bytes), "a key of another length");
		memcpy(pos.bytes, key.data, sizeof(pos.bytes));
		err = map_value_check(table, key, val, sizeof(struct disk_counts));
		if (!err)
			err = map_counts_parse(table, be64_get(pos.bytes), val, counts);
		if (err)
			return err;
		how = KV_GT;
	}
	return err == -ERR_NOENT ? 0 : err;
}

int map_verify_counts(struct map *map)
{
	struct map_view *view;
	int err = map_view_begin(map, &view);

	if (err)
		return err;
	err = counts_verify(view->kv, KV_NREF);
	if (!err)
		err = counts_verify(view->kv, KV_XREF);
	map_view_end(view);
	return err;
}
