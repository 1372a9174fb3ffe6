/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record.c: the layout of an entry.  Integers are little-endian, a string is its length (u16) and
 * its bytes without a terminator; nothing is padded.
 *
 *	kind u8, flags u8 (bit 0: inlined), zero u16, length of the whole entry u32, then
 *
 *	EPOCH	  oid u64, size u64, time u64, generation u64, holes u32, shares u32, extents u32,
 *		  blocks u32, of each hole: blk u64, nblks u64; of each share: blk u64, src u64,
 *		  src_blk u64, nblks u64; of each extent: blk u64, dst u64, nblks u32;
 *		  of each block: CRC-32C u32
 *	CREATE	  oid u64, size u64, time u64, expires u64, reserved u64, name, labels
 *	CLONE	  oid u64, other u64, parent u64, time u64, expires u64, name, labels
 *	REMOVE	  oid u64
 *	RENAME	  oid u64, name
 *	EXCHANGE  oid u64, other u64
 *	RESET	  oid u64, other u64, time u64, generation u64
 *	SET	  oid u64, expires u64, read-only u8 (0 or 1), reserved u64, regained u64,
 *		  owned_seq u64, labels
 *
 * A change has one encoding: what is read and written again gives the same bytes.
 */
#include "server/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"

#define ENTRY_HEAD_BYTES   8u
#define ENTRY_EPOCH_BYTES  (ENTRY_HEAD_BYTES + 48u)
#define ENTRY_HOLE_BYTES   16u
#define ENTRY_SHARE_BYTES  32u
#define ENTRY_EXTENT_BYTES 20u
#define ENTRY_CSUM_BYTES   4u
#define ENTRY_INLINED	   1u

/* The map has 48 bits for a physical block. */
#define ENTRY_PBLK_END (UINT64_C(1) << 48)

#define RECORD_CAP_MIN 4096u

/* ---- writing --------------------------------------------------------------------------------- */

size_t record_change_len(const struct change *change)
{
	size_t n = ENTRY_HEAD_BYTES;

	switch (change->kind) {
	case CHANGE_EPOCH:
		return ENTRY_EPOCH_BYTES + change->nholes * (size_t)ENTRY_HOLE_BYTES +
		       change->nshares * (size_t)ENTRY_SHARE_BYTES +
		       change->nextents * (size_t)ENTRY_EXTENT_BYTES +
		       change->nblks * (size_t)ENTRY_CSUM_BYTES;
	case CHANGE_CREATE:
		return n + 40 + 2 + strlen(change->name) + 2 + change->labels_len;
	case CHANGE_CLONE:
		return n + 40 + 2 + strlen(change->name) + 2 + change->labels_len;
	case CHANGE_REMOVE:
		return n + 8;
	case CHANGE_RENAME:
		return n + 8 + 2 + strlen(change->name);
	case CHANGE_EXCHANGE:
		return n + 16;
	case CHANGE_RESET:
		return n + 32;
	case CHANGE_SET:
		return n + 41 + 2 + change->labels_len;
	}
	assert(false);
	return 0;
}

static void record_put_epoch(struct cursor *c, const struct change *change)
{
	uint64_t nblks = 0;
	uint8_t *p;

	cursor_put_u64(c, change->size_bytes);
	cursor_put_u64(c, change->time_ns);
	cursor_put_u64(c, change->generation);
	cursor_put_u32(c, change->nholes);
	cursor_put_u32(c, change->nshares);
	cursor_put_u32(c, change->nextents);
	cursor_put_u32(c, change->nblks);
	p = cursor_take(c, change->nholes * (size_t)ENTRY_HOLE_BYTES);
	for (uint32_t i = 0; p && i < change->nholes; i++, p += ENTRY_HOLE_BYTES) {
		le64_put(p, change->holes[i].blk.n);
		le64_put(p + 8, change->holes[i].nblks);
	}
	p = cursor_take(c, change->nshares * (size_t)ENTRY_SHARE_BYTES);
	for (uint32_t i = 0; p && i < change->nshares; i++, p += ENTRY_SHARE_BYTES) {
		le64_put(p, change->shares[i].blk.n);
		le64_put(p + 8, change->shares[i].src);
		le64_put(p + 16, change->shares[i].src_blk.n);
		le64_put(p + 24, change->shares[i].nblks);
	}
	p = cursor_take(c, change->nextents * (size_t)ENTRY_EXTENT_BYTES);
	for (uint32_t i = 0; p && i < change->nextents; i++, p += ENTRY_EXTENT_BYTES) {
		le64_put(p, change->extents[i].blk.n);
		le64_put(p + 8, change->extents[i].dst.n);
		le32_put(p + 16, change->extents[i].nblks);
		nblks += change->extents[i].nblks;
	}
	assert(nblks == change->nblks);
	p = cursor_take(c, change->nblks * (size_t)ENTRY_CSUM_BYTES);
	for (uint32_t i = 0; p && i < change->nblks; i++)
		le32_put(p + i * (size_t)ENTRY_CSUM_BYTES, change->csums[i]);
}

static void record_put_labels(struct cursor *c, const struct change *change)
{
	assert(change->labels_len <= RECORD_LABELS_MAX);
	cursor_put_u16(c, (uint16_t)change->labels_len);
	cursor_put_bytes(c, change->labels, change->labels_len);
}

/* The members of its kind, but for oid. */
static void record_put_members(struct cursor *c, const struct change *change)
{
	switch (change->kind) {
	case CHANGE_EPOCH:
		record_put_epoch(c, change);
		break;
	case CHANGE_CREATE:
		cursor_put_u64(c, change->size_bytes);
		cursor_put_u64(c, change->time_ns);
		cursor_put_u64(c, change->expires_ns);
		cursor_put_u64(c, change->reserved_nblks);
		cursor_put_str(c, change->name);
		record_put_labels(c, change);
		break;
	case CHANGE_CLONE:
		cursor_put_u64(c, change->other);
		cursor_put_u64(c, change->parent);
		cursor_put_u64(c, change->time_ns);
		cursor_put_u64(c, change->expires_ns);
		cursor_put_str(c, change->name);
		record_put_labels(c, change);
		break;
	case CHANGE_REMOVE:
		break;
	case CHANGE_RENAME:
		cursor_put_str(c, change->name);
		break;
	case CHANGE_EXCHANGE:
		cursor_put_u64(c, change->other);
		break;
	case CHANGE_RESET:
		cursor_put_u64(c, change->other);
		cursor_put_u64(c, change->time_ns);
		cursor_put_u64(c, change->generation);
		break;
	case CHANGE_SET:
		cursor_put_u64(c, change->expires_ns);
		cursor_put_u8(c, change->readonly);
		cursor_put_u64(c, change->reserved_nblks);
		cursor_put_u64(c, change->regained_nblks);
		cursor_put_u64(c, change->owned_seq);
		record_put_labels(c, change);
		break;
	}
}

static int record_reserve(struct record *record, size_t len)
{
	size_t cap = 2 * record->cap > RECORD_CAP_MIN ? 2 * record->cap : RECORD_CAP_MIN;
	uint8_t *bytes;

	if (len <= record->cap)
		return 0;
	cap = cap > len ? cap : len;
	bytes = realloc(record->bytes, cap);
	if (!bytes)
		return -ERR_NOMEM;
	record->bytes = bytes;
	record->cap = cap;
	return 0;
}

int record_add(struct record *record, const struct change *change)
{
	size_t len = record_change_len(change);
	bool inlined = change->kind == CHANGE_EPOCH && change->inlined;
	struct cursor c;
	int err = record_reserve(record, record->len + len);

	if (err < 0)
		return err;
	assert(len <= UINT32_MAX);
	c = cursor_over(record->bytes + record->len, len);
	cursor_put_u8(&c, (uint8_t)change->kind);
	cursor_put_u8(&c, inlined ? ENTRY_INLINED : 0);
	cursor_put_u16(&c, 0);
	cursor_put_u32(&c, (uint32_t)len);
	cursor_put_u64(&c, change->oid);
	record_put_members(&c, change);
	assert(!c.bad && c.pos == len);
	record->len += len;
	record->ndata += inlined ? change->nblks : 0;
	return 0;
}

void record_clear(struct record *record)
{
	record->len = 0;
	record->ndata = 0;
}

void record_fini(struct record *record)
{
	free(record->bytes);
	*record = (struct record){0};
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Room for n elements of this size; what was in the array is lost. */
static int record_reserve_array(void *array, size_t *cap, size_t n, size_t elem_bytes)
{
	void **p = array;
	size_t want = n > 2 * *cap ? n : 2 * *cap;
	void *mem;

	if (n <= *cap)
		return 0;
	mem = reallocarray(NULL, want, elem_bytes);
	if (!mem)
		return -ERR_NOMEM;
	free(*p);
	*p = mem;
	*cap = want;
	return 0;
}

/* Reads the extents; false: one is empty, out of bounds or not behind the one before. */
static bool record_get_extents(const uint8_t *p, struct change_extent *extents, uint32_t nextents,
			       uint32_t nblks)
{
	uint64_t end = 0;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < nextents; i++, p += ENTRY_EXTENT_BYTES) {
		uint64_t blk = le64_get(p);
		uint64_t dst = le64_get(p + 8);
		uint32_t n = le32_get(p + 16);

		if (n == 0 || blk < end || blk > BLK_OBJECT_MAX || n > BLK_OBJECT_MAX - blk ||
		    dst == 0 || dst > ENTRY_PBLK_END || n > ENTRY_PBLK_END - dst)
			return false;
		extents[i] = (struct change_extent){lblk(blk), pblk(dst), n};
		end = blk + n;
		sum += n;
	}
	return sum == nblks;
}

/* The same for holes. */
static bool record_get_holes(const uint8_t *p, struct change_hole *holes, uint32_t nholes)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < nholes; i++, p += ENTRY_HOLE_BYTES) {
		uint64_t blk = le64_get(p);
		uint64_t n = le64_get(p + 8);

		if (n == 0 || blk < end || blk > BLK_OBJECT_MAX || n > BLK_OBJECT_MAX - blk)
			return false;
		holes[i] = (struct change_hole){lblk(blk), n};
		end = blk + n;
	}
	return true;
}

/* The same for shares; those of one object may not overlap. */
static bool record_get_shares(const uint8_t *p, struct change_share *shares, uint32_t nshares,
			      uint64_t oid)
{
	for (uint32_t i = 0; i < nshares; i++, p += ENTRY_SHARE_BYTES) {
		uint64_t blk = le64_get(p);
		uint64_t src = le64_get(p + 8);
		uint64_t src_blk = le64_get(p + 16);
		uint64_t n = le64_get(p + 24);
		uint64_t apart = blk < src_blk ? src_blk - blk : blk - src_blk;

		if (n == 0 || n > BLK_OBJECT_MAX || blk > BLK_OBJECT_MAX - n ||
		    src_blk > BLK_OBJECT_MAX - n || (src == oid && apart < n))
			return false;
		shares[i] = (struct change_share){lblk(blk), src, lblk(src_blk), n};
	}
	return true;
}

/* Makes room for what the counts in the change announce. */
static int record_reserve_epoch(struct record_reader *r, const struct change *change)
{
	int err = record_reserve_array(&r->holes, &r->holes_cap, change->nholes, sizeof(*r->holes));

	if (err == 0)
		err = record_reserve_array(&r->shares, &r->shares_cap, change->nshares,
					   sizeof(*r->shares));
	if (err == 0)
		err = record_reserve_array(&r->extents, &r->extents_cap, change->nextents,
					   sizeof(*r->extents));
	if (err == 0)
		err = record_reserve_array(&r->csums, &r->csums_cap, change->nblks,
					   sizeof(*r->csums));
	return err;
}

static int record_get_epoch(struct record_reader *r, struct cursor *c, struct change *change)
{
	const uint8_t *holes;
	const uint8_t *shares;
	const uint8_t *extents;
	const uint8_t *csums;
	int err;

	change->size_bytes = cursor_u64(c);
	change->time_ns = cursor_u64(c);
	change->generation = cursor_u64(c);
	change->nholes = cursor_u32(c);
	change->nshares = cursor_u32(c);
	change->nextents = cursor_u32(c);
	change->nblks = cursor_u32(c);
	holes = cursor_take(c, change->nholes * (size_t)ENTRY_HOLE_BYTES);
	shares = cursor_take(c, change->nshares * (size_t)ENTRY_SHARE_BYTES);
	extents = cursor_take(c, change->nextents * (size_t)ENTRY_EXTENT_BYTES);
	csums = cursor_take(c, change->nblks * (size_t)ENTRY_CSUM_BYTES);
	if (c->bad || change->size_bytes > BLK_OBJECT_MAX << BLK_SHIFT)
		return -ERR_JOURNAL;
	err = record_reserve_epoch(r, change);
	if (err < 0)
		return err;
	if (!record_get_holes(holes, r->holes, change->nholes) ||
	    !record_get_shares(shares, r->shares, change->nshares, change->oid) ||
	    !record_get_extents(extents, r->extents, change->nextents, change->nblks))
		return -ERR_JOURNAL;
	for (uint32_t i = 0; i < change->nblks; i++)
		r->csums[i] = le32_get(csums + i * (size_t)ENTRY_CSUM_BYTES);
	change->holes = r->holes;
	change->shares = r->shares;
	change->extents = r->extents;
	change->csums = r->csums;
	return 0;
}

static void record_get_name(struct record_reader *r, struct cursor *c, struct change *change)
{
	cursor_get_str(c, r->name, sizeof(r->name));
	if (r->name[0] == '\0')
		c->bad = true;
	change->name = r->name;
}

/* Whether the bytes are "key=value" strings, each with its terminator. */
static bool record_labels_fit(const char *labels, size_t len)
{
	while (len > 0) {
		const char *end = memchr(labels, '\0', len);
		const char *equals = end ? memchr(labels, '=', (size_t)(end - labels)) : NULL;

		if (!equals || equals == labels)
			return false;
		len -= (size_t)(end + 1 - labels);
		labels = end + 1;
	}
	return true;
}

static void record_get_labels(struct cursor *c, struct change *change)
{
	uint32_t len = cursor_u16(c);
	const char *labels = (const char *)cursor_take(c, len);

	if (!labels || len > RECORD_LABELS_MAX || !record_labels_fit(labels, len)) {
		c->bad = true;
		return;
	}
	change->labels = labels;
	change->labels_len = len;
}

static void record_get_set(struct cursor *c, struct change *change)
{
	uint8_t readonly;

	change->expires_ns = cursor_u64(c);
	readonly = cursor_u8(c);
	if (readonly > 1)
		c->bad = true;
	change->readonly = readonly;
	change->reserved_nblks = cursor_u64(c);
	change->regained_nblks = cursor_u64(c);
	change->owned_seq = cursor_u64(c);
	if (change->reserved_nblks > BLK_OBJECT_MAX)
		c->bad = true;
	record_get_labels(c, change);
}

/* The members of its kind, but for oid; -ERR_JOURNAL, -ERR_NOMEM, or the cursor is bad. */
static int record_get_members(struct record_reader *r, struct cursor *c, struct change *change)
{
	switch (change->kind) {
	case CHANGE_EPOCH:
		return record_get_epoch(r, c, change);
	case CHANGE_CREATE:
		change->size_bytes = cursor_u64(c);
		change->time_ns = cursor_u64(c);
		change->expires_ns = cursor_u64(c);
		change->reserved_nblks = cursor_u64(c);
		record_get_name(r, c, change);
		record_get_labels(c, change);
		return change->size_bytes > BLK_OBJECT_MAX << BLK_SHIFT ||
			       change->reserved_nblks > BLK_OBJECT_MAX
			   ? -ERR_JOURNAL
			   : 0;
	case CHANGE_CLONE:
		change->other = cursor_u64(c);
		change->parent = cursor_u64(c);
		change->time_ns = cursor_u64(c);
		change->expires_ns = cursor_u64(c);
		record_get_name(r, c, change);
		record_get_labels(c, change);
		return 0;
	case CHANGE_REMOVE:
		return 0;
	case CHANGE_RENAME:
		record_get_name(r, c, change);
		return 0;
	case CHANGE_EXCHANGE:
		change->other = cursor_u64(c);
		return 0;
	case CHANGE_RESET:
		change->other = cursor_u64(c);
		change->time_ns = cursor_u64(c);
		change->generation = cursor_u64(c);
		return 0;
	case CHANGE_SET:
		record_get_set(c, change);
		return 0;
	}
	return -ERR_JOURNAL;
}

/* Reads the entry that begins at the cursor, which is over all that follows. */
static int record_get_change(struct record_reader *r, struct cursor *rest, struct change *change)
{
	uint8_t kind = cursor_u8(rest);
	uint8_t flags = cursor_u8(rest);
	uint16_t zero = cursor_u16(rest);
	uint32_t len = cursor_u32(rest);
	struct cursor c;
	const uint8_t *members;
	int err;

	if (rest->bad || len < ENTRY_HEAD_BYTES || zero != 0 ||
	    flags > (kind == CHANGE_EPOCH ? ENTRY_INLINED : 0))
		return -ERR_JOURNAL;
	members = cursor_take(rest, len - ENTRY_HEAD_BYTES);
	if (!members)
		return -ERR_JOURNAL;
	c = cursor_over(members, len - ENTRY_HEAD_BYTES);
	change->kind = kind;
	change->inlined = flags == ENTRY_INLINED;
	change->oid = cursor_u64(&c);
	err = record_get_members(r, &c, change);
	if (err == 0 && (c.bad || cursor_left(&c) > 0))
		err = -ERR_JOURNAL;
	return err;
}

int record_next(struct record_reader *reader)
{
	struct cursor rest = cursor_over(reader->bytes + reader->pos, reader->len - reader->pos);
	uint32_t inlined = reader->change.inlined ? reader->change.nblks : 0;
	struct change change = {0};
	int err = 0;

	if (cursor_left(&rest) > 0)
		err = record_get_change(reader, &rest, &change);
	if (err < 0)
		return err;
	reader->ndata += inlined;
	reader->change = change;
	reader->pos += rest.pos;
	return rest.pos > 0;
}

void record_reader_fini(struct record_reader *reader)
{
	free(reader->holes);
	free(reader->shares);
	free(reader->extents);
	free(reader->csums);
	*reader = (struct record_reader){0};
}
