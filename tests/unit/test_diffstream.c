/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The records of difference streams: what is written is read; and a stream with a record too few, too
 * many, in another place, out of range or with other totals is refused, however good its checksums.
 */
#include "client/diffstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/crc32c.h"
#include "common/cursor.h"

#define SIZE UINT64_C(1000000)

static const struct diffstream_head good_head = {
    .size = SIZE,
    .begin = 100,
    .from_id = "store/1",
    .to_id = "store/2",
    .from = "a",
    .to = "b",
    .object = "disk",
};

/* A stream under construction, and where its records begin. */
struct stream {
	struct diffstream ds;
	uint8_t bytes[4096];
	size_t len;
	size_t at[16];
	size_t nrecords;
};

static void add(struct stream *s, const void *bytes, size_t len)
{
	assert_true(len <= sizeof(s->bytes) - s->len);
	memcpy(s->bytes + s->len, bytes, len);
	s->len += len;
}

static void add_record(struct stream *s, enum diffstream_type type, uint64_t offset, uint64_t len,
		       const void *payload, uint32_t payload_len)
{
	const struct diffstream_record rec = {type, payload_len, offset, len};
	uint8_t bytes[DIFFSTREAM_RECORD_BYTES];

	s->at[s->nrecords++] = s->len;
	diffstream_put(&s->ds, &rec, bytes);
	add(s, bytes, sizeof(bytes));
	if (payload_len == 0)
		return;
	add(s, payload, payload_len);
	diffstream_put_crc(&s->ds, payload, payload_len, bytes);
	add(s, bytes, DIFFSTREAM_CRC_BYTES);
}

static void begin(struct stream *s, const struct diffstream_head *head)
{
	uint8_t payload[DIFFSTREAM_HEAD_MAX];
	size_t len = diffstream_put_head(head, payload);

	memset(s, 0, sizeof(*s));
	diffstream_begin(&s->ds);
	add_record(s, DIFFSTREAM_HEAD, 0, 0, payload, (uint32_t)len);
}

static void add_end(struct stream *s)
{
	uint8_t payload[DIFFSTREAM_END_BYTES];

	diffstream_put_end(&s->ds, payload);
	add_record(s, DIFFSTREAM_END, 0, 0, payload, sizeof(payload));
}

/* NULL, or why the stream is refused. */
static const char *read_all(const struct stream *s, struct diffstream_head *head)
{
	struct diffstream ds;
	size_t pos = 0;

	diffstream_begin(&ds);
	for (;;) {
		struct diffstream_record rec;
		const uint8_t *payload = s->bytes + pos + DIFFSTREAM_RECORD_BYTES;
		const char *problem;

		if (s->len - pos < DIFFSTREAM_RECORD_BYTES)
			return "ends";
		problem = diffstream_get(&ds, s->bytes + pos, &rec);
		pos += DIFFSTREAM_RECORD_BYTES;
		if (!problem && rec.payload_len > 0) {
			if (s->len - pos < rec.payload_len + DIFFSTREAM_CRC_BYTES)
				return "ends";
			problem = diffstream_get_crc(&ds, payload, rec.payload_len,
						     payload + rec.payload_len);
			pos += rec.payload_len + DIFFSTREAM_CRC_BYTES;
		}
		if (!problem && rec.type == DIFFSTREAM_HEAD)
			problem = diffstream_get_head(&ds, payload, rec.payload_len, head);
		if (!problem && rec.type == DIFFSTREAM_END)
			return diffstream_get_end(&ds, payload);
		if (problem)
			return problem;
	}
}

static void make_good(struct stream *s)
{
	begin(s, &good_head);
	add_record(s, DIFFSTREAM_DATA, 100, 5, "hello", 5);
	add_record(s, DIFFSTREAM_ZERO, 105, 95, NULL, 0);
	add_record(s, DIFFSTREAM_DATA, 4096, 5, "hello", 5);
	add_record(s, DIFFSTREAM_ZERO, SIZE - 1, 1, NULL, 0);
	add_end(s);
}

static void assert_refused(const struct stream *s, const char *why)
{
	struct diffstream_head head;
	const char *problem = read_all(s, &head);

	assert_non_null(problem);
	if (!strstr(problem, why))
		fail_msg("%s instead of %s", problem, why);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_what_is_written_is_read(void **state)
{
	struct diffstream_head head;
	struct stream s;

	(void)state;
	make_good(&s);
	assert_null(read_all(&s, &head));
	assert_memory_equal(&head, &good_head, sizeof(head));
	assert_int_equal(s.ds.records, 5);
	assert_int_equal(s.ds.data_bytes, 10);
	assert_int_equal(s.ds.zero_bytes, 96);
}

static void test_cut_and_flipped_everywhere(void **state)
{
	struct diffstream_head head;
	struct stream s, bad;

	(void)state;
	make_good(&s);
	for (size_t i = 0; i < s.len; i++) {
		bad = s;
		bad.len = i;
		assert_non_null(read_all(&bad, &head));
		for (unsigned int bit = 0; bit < 8; bit++) {
			bad = s;
			bad.bytes[i] ^= (uint8_t)(1u << bit);
			assert_non_null(read_all(&bad, &head));
		}
	}
}

/* Bytes [from, to) are not there. */
static void cut_out(struct stream *s, size_t from, size_t to)
{
	memmove(s->bytes + from, s->bytes + to, s->len - to);
	s->len -= to - from;
}

static void test_records_fit_only_where_they_were_written(void **state)
{
	struct stream s;
	uint8_t copy[64];
	size_t len;

	(void)state;
	for (size_t i = 1; i < 5; i++) { /* one is missing */
		make_good(&s);
		cut_out(&s, s.at[i], s.at[i + 1]);
		assert_refused(&s, "checksum");
	}
	make_good(&s); /* one is there twice */
	len = s.at[3] - s.at[2];
	memcpy(copy, s.bytes + s.at[2], len);
	memmove(s.bytes + s.at[3] + len, s.bytes + s.at[3], s.len - s.at[3]);
	memcpy(s.bytes + s.at[3], copy, len);
	s.len += len;
	assert_refused(&s, "checksum");
}

static void test_order_and_ranges(void **state)
{
	static const struct {
		enum diffstream_type type;
		uint64_t offset, len;
		const char *why;
	} bad[] = {
	    {DIFFSTREAM_ZERO, 99, 1, "range"},		 /* before its beginning */
	    {DIFFSTREAM_ZERO, 100, 0, "range"},		 /* nothing */
	    {DIFFSTREAM_ZERO, SIZE, 1, "range"},	 /* behind the end */
	    {DIFFSTREAM_ZERO, SIZE - 1, 2, "range"},	 /* across it */
	    {DIFFSTREAM_ZERO, 200, UINT64_MAX, "range"}, /* a sum that wraps */
	    {DIFFSTREAM_ZERO, UINT64_MAX, 2, "range"},	 /* likewise */
	    {DIFFSTREAM_DATA, 200, 1, "length"},	 /* no payload */
	    {DIFFSTREAM_HEAD, 0, 0, "order"},		 /* once more */
	    {(enum diffstream_type)0, 0, 0, "unknown"},	 /* of no type */
	    {(enum diffstream_type)5, 0, 0, "unknown"},	 /* of none that is known */
	    {DIFFSTREAM_END, 0, 0, "length"},		 /* without totals */
	};
	struct stream s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(&s, &good_head);
		add_record(&s, bad[i].type, bad[i].offset, bad[i].len, NULL, 0);
		assert_refused(&s, bad[i].why);
	}
	begin(&s, &good_head);
	add_record(&s, DIFFSTREAM_ZERO, 200, 100, NULL, 0);
	add_record(&s, DIFFSTREAM_DATA, 299, 1, "x", 1); /* overlaps */
	assert_refused(&s, "range");
	begin(&s, &good_head);
	add_record(&s, DIFFSTREAM_DATA, 200, 2, "x", 1); /* more than its payload */
	assert_refused(&s, "length");
	memset(&s, 0, sizeof(s)); /* no head */
	diffstream_begin(&s.ds);
	add_end(&s);
	assert_refused(&s, "order");
}

static void test_totals(void **state)
{
	struct stream s;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t records, data, zero;

		begin(&s, &good_head);
		records = s.ds.records;
		data = s.ds.data_bytes;
		zero = s.ds.zero_bytes;
		s.ds.records += i == 0;
		s.ds.data_bytes += i == 1;
		s.ds.zero_bytes += i == 2;
		add_end(&s);
		assert_refused(&s, "end record");
		assert_true(s.ds.records + s.ds.data_bytes + s.ds.zero_bytes ==
			    records + data + zero + 1);
	}
}

static void test_heads(void **state)
{
	struct diffstream_head bad[6];
	struct stream s;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		bad[i] = good_head;
	bad[0].begin = SIZE + 1;
	bad[1].to_id[0] = '\0';
	bad[2].to[0] = '\0';
	bad[3].to[0] = '/';
	bad[4].from[0] = '\0';
	bad[5].from_id[0] = '\0';
	for (size_t i = 0; i < 6; i++) {
		begin(&s, &bad[i]);
		assert_refused(&s, "head that is not valid");
	}
	for (size_t field = 0; field < 8; field += 4) { /* version, size of blocks */
		uint8_t payload[DIFFSTREAM_HEAD_MAX];
		size_t len = diffstream_put_head(&good_head, payload);

		payload[field] ^= 2;
		memset(&s, 0, sizeof(s));
		diffstream_begin(&s.ds);
		add_record(&s, DIFFSTREAM_HEAD, 0, 0, payload, (uint32_t)len);
		assert_refused(&s, "version");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_written_is_read),
	    cmocka_unit_test(test_cut_and_flipped_everywhere),
	    cmocka_unit_test(test_records_fit_only_where_they_were_written),
	    cmocka_unit_test(test_order_and_ranges),
	    cmocka_unit_test(test_totals),
	    cmocka_unit_test(test_heads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
