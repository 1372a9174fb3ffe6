/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/diffstream.h"

#include <assert.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/cursor.h"

#define STREAM_VERSION	   1u
#define STREAM_BLOCK_BYTES 4096u

#define CHECKED_BYTES (DIFFSTREAM_RECORD_BYTES - DIFFSTREAM_CRC_BYTES)

void diffstream_begin(struct diffstream *ds)
{
	*ds = (struct diffstream){.crc = crc32c(0, DIFFSTREAM_MAGIC, DIFFSTREAM_MAGIC_BYTES)};
}

static void stream_count(struct diffstream *ds, const struct diffstream_record *rec)
{
	ds->last = rec->type;
	if (rec->type == DIFFSTREAM_END)
		return;
	ds->records++;
	if (rec->type == DIFFSTREAM_DATA)
		ds->data_bytes += rec->len;
	else if (rec->type == DIFFSTREAM_ZERO)
		ds->zero_bytes += rec->len;
}

/* ---- writing --------------------------------------------------------------------------------- */

void diffstream_put(struct diffstream *ds, const struct diffstream_record *rec,
		    uint8_t out[DIFFSTREAM_RECORD_BYTES])
{
	struct cursor c = cursor_over(out, DIFFSTREAM_RECORD_BYTES);

	cursor_put_u32(&c, rec->type);
	cursor_put_u32(&c, rec->payload_len);
	cursor_put_u64(&c, rec->offset);
	cursor_put_u64(&c, rec->len);
	ds->crc = crc32c(ds->crc, out, CHECKED_BYTES);
	cursor_put_u32(&c, ds->crc);
	stream_count(ds, rec);
}

void diffstream_put_crc(struct diffstream *ds, const void *payload, size_t len,
			uint8_t out[DIFFSTREAM_CRC_BYTES])
{
	ds->crc = crc32c(ds->crc, payload, len);
	le32_put(out, ds->crc);
}

size_t diffstream_put_head(const struct diffstream_head *head, uint8_t out[DIFFSTREAM_HEAD_MAX])
{
	struct cursor c = cursor_over(out, DIFFSTREAM_HEAD_MAX);

	cursor_put_u32(&c, STREAM_VERSION);
	cursor_put_u32(&c, STREAM_BLOCK_BYTES);
	cursor_put_u64(&c, head->size);
	cursor_put_u64(&c, head->begin);
	cursor_put_str(&c, head->from_id);
	cursor_put_str(&c, head->to_id);
	cursor_put_str(&c, head->from);
	cursor_put_str(&c, head->to);
	cursor_put_str(&c, head->object);
	assert(!c.bad);
	return c.pos;
}

void diffstream_put_end(const struct diffstream *ds, uint8_t out[DIFFSTREAM_END_BYTES])
{
	le64_put(out, ds->records);
	le64_put(out + 8, ds->data_bytes);
	le64_put(out + 16, ds->zero_bytes);
}

/* ---- reading --------------------------------------------------------------------------------- */

static const char *range_problem(struct diffstream *ds, const struct diffstream_record *rec)
{
	if (rec->len == 0 || rec->offset < ds->next || rec->offset > ds->size ||
	    rec->len > ds->size - rec->offset)
		return "has a record out of range";
	ds->next = rec->offset + rec->len;
	return NULL;
}

static const char *record_problem(struct diffstream *ds, const struct diffstream_record *rec)
{
	if ((ds->last == 0) != (rec->type == DIFFSTREAM_HEAD) || ds->last == DIFFSTREAM_END)
		return "has a record out of order";
	switch (rec->type) {
	case DIFFSTREAM_HEAD:
		return rec->payload_len <= DIFFSTREAM_HEAD_MAX ? NULL : "has too large a head";
	case DIFFSTREAM_DATA:
		if (rec->payload_len > DIFFSTREAM_DATA_MAX || rec->payload_len != rec->len)
			return "has a record of a wrong length";
		return range_problem(ds, rec);
	case DIFFSTREAM_ZERO:
		if (rec->payload_len != 0)
			return "has a record of a wrong length";
		return range_problem(ds, rec);
	case DIFFSTREAM_END:
		return rec->payload_len == DIFFSTREAM_END_BYTES ? NULL
								: "has a record of a wrong length";
	}
	return "has a record of an unknown type";
}

const char *diffstream_get(struct diffstream *ds, const uint8_t in[DIFFSTREAM_RECORD_BYTES],
			   struct diffstream_record *rec)
{
	struct cursor c = cursor_over(in, DIFFSTREAM_RECORD_BYTES);
	struct diffstream_record got;
	const char *problem;

	got.type = (enum diffstream_type)cursor_u32(&c);
	got.payload_len = cursor_u32(&c);
	got.offset = cursor_u64(&c);
	got.len = cursor_u64(&c);
	ds->crc = crc32c(ds->crc, in, CHECKED_BYTES);
	if (cursor_u32(&c) != ds->crc)
		return "is damaged: a checksum does not fit";
	problem = record_problem(ds, &got);
	if (problem)
		return problem;
	stream_count(ds, &got);
	*rec = got;
	return NULL;
}

const char *diffstream_get_crc(struct diffstream *ds, const void *payload, size_t len,
			       const uint8_t in[DIFFSTREAM_CRC_BYTES])
{
	ds->crc = crc32c(ds->crc, payload, len);
	return le32_get(in) == ds->crc ? NULL : "is damaged: a checksum does not fit";
}

const char *diffstream_get_head(struct diffstream *ds, const uint8_t *payload, size_t len,
				struct diffstream_head *head)
{
	struct cursor c = cursor_over(payload, len);
	struct diffstream_head got = {0};

	if (cursor_u32(&c) != STREAM_VERSION || cursor_u32(&c) != STREAM_BLOCK_BYTES)
		return "is of a version that this program does not know";
	got.size = cursor_u64(&c);
	got.begin = cursor_u64(&c);
	cursor_get_str(&c, got.from_id, sizeof(got.from_id));
	cursor_get_str(&c, got.to_id, sizeof(got.to_id));
	cursor_get_str(&c, got.from, sizeof(got.from));
	cursor_get_str(&c, got.to, sizeof(got.to));
	cursor_get_str(&c, got.object, sizeof(got.object));
	if (c.bad || c.pos != c.len || got.begin > got.size || got.to_id[0] == '\0' ||
	    name_check_version(got.to) < 0 || (got.from_id[0] == '\0') != (got.from[0] == '\0'))
		return "has a head that is not valid";
	ds->size = got.size;
	ds->next = got.begin;
	*head = got;
	return NULL;
}

const char *diffstream_get_end(const struct diffstream *ds,
			       const uint8_t payload[DIFFSTREAM_END_BYTES])
{
	if (le64_get(payload) != ds->records || le64_get(payload + 8) != ds->data_bytes ||
	    le64_get(payload + 16) != ds->zero_bytes)
		return "has not what its end record says";
	return NULL;
}
