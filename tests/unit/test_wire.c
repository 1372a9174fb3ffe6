/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_wire.c: frame headers, against the vectors of other code and at every bound.
 */
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "tests/vectors/codec.h"
#include "tests/vectors/vectors.h"

static const struct wire_header sample = {
    .magic = WIRE_MAGIC_REQUEST,
    .op = 0x0102,
    .flags = 0x0304,
    .id = UINT64_C(0x1112131415161718),
    .status = 0x21222324,
    .body_len = 0x3132,
    .payload_len = 0x414243,
    .body_crc = 0x51525354,
    .payload_crc = 0x61626364,
};

static int decode(const uint8_t *in, struct wire_header *h)
{
	return wire_header_decode(in, WIRE_MAGIC_REQUEST, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, h);
}

static void assert_header_equal(const struct wire_header *a, const struct wire_header *b)
{
	assert_int_equal(a->magic, b->magic);
	assert_int_equal(a->op, b->op);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->body_len, b->body_len);
	assert_int_equal(a->payload_len, b->payload_len);
	assert_int_equal(a->body_crc, b->body_crc);
	assert_int_equal(a->payload_crc, b->payload_crc);
}

static void test_fields_are_at_their_offsets(void **state)
{
	uint8_t out[WIRE_HEADER_BYTES];
	struct wire_header h;

	(void)state;
	wire_header_encode(out, &sample);
	assert_memory_equal(out, "COWQ", 4);
	assert_int_equal(le16_get(out + 4), sample.op);
	assert_int_equal(le16_get(out + 6), sample.flags);
	assert_int_equal(le64_get(out + 8), sample.id);
	assert_int_equal(le32_get(out + 16), sample.status);
	assert_int_equal(le32_get(out + 20), sample.body_len);
	assert_int_equal(le32_get(out + 24), sample.payload_len);
	assert_int_equal(le32_get(out + 28), sample.body_crc);
	assert_int_equal(le32_get(out + 32), sample.payload_crc);
	assert_int_equal(le32_get(out + 36), crc32c(0, out, 36));
	assert_int_equal(decode(out, &h), 0);
	assert_header_equal(&h, &sample);
}

static void test_every_flipped_bit_is_found(void **state)
{
	uint8_t out[WIRE_HEADER_BYTES];
	struct wire_header h;

	(void)state;
	wire_header_encode(out, &sample);
	for (unsigned int bit = 0; bit < 8 * WIRE_HEADER_BYTES; bit++) {
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(decode(out, &h), bit < 32 ? -ERR_FRAME_MAGIC : -ERR_FRAME_CRC);
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(decode(out, &h), 0);
}

static void test_magic_tells_directions_apart(void **state)
{
	uint8_t out[WIRE_HEADER_BYTES];
	struct wire_header h = sample;

	(void)state;
	h.magic = WIRE_MAGIC_REPLY;
	wire_header_encode(out, &h);
	assert_memory_equal(out, "COWR", 4);
	h.id = 99;
	assert_int_equal(decode(out, &h), -ERR_FRAME_MAGIC);
	assert_int_equal(h.id, 99);
	assert_int_equal(
	    wire_header_decode(out, WIRE_MAGIC_REPLY, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, &h), 0);
	assert_int_equal(h.id, sample.id);
}

/* Encodes a header with these lengths and decodes it under the given maxima. */
static int decode_lengths(uint32_t body_len, uint32_t payload_len, uint32_t body_max,
			  uint32_t payload_max)
{
	uint8_t out[WIRE_HEADER_BYTES];
	struct wire_header h = sample;
	int err;

	h.body_len = body_len;
	h.payload_len = payload_len;
	wire_header_encode(out, &h);
	memset(&h, 0, sizeof(h));
	err = wire_header_decode(out, WIRE_MAGIC_REQUEST, body_max, payload_max, &h);
	/* filled in whatever the lengths, so that an answer can name the request */
	assert_int_equal(h.id, sample.id);
	assert_int_equal(h.op, sample.op);
	assert_int_equal(h.body_len, body_len);
	return err;
}

static void test_lengths_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(decode_lengths(4096, 0, 4096, 0), 0);
	assert_int_equal(decode_lengths(4097, 0, 4096, 0), -ERR_FRAME_LEN);
	assert_int_equal(decode_lengths(0, 1, 4096, 0), -ERR_FRAME_LEN);
	assert_int_equal(decode_lengths(65536, 33554432, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX), 0);
	assert_int_equal(decode_lengths(65537, 0, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX), -ERR_FRAME_LEN);
	assert_int_equal(decode_lengths(0, 33554433, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX),
			 -ERR_FRAME_LEN);
	assert_int_equal(decode_lengths(UINT32_MAX, UINT32_MAX, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX),
			 -ERR_FRAME_LEN);
}

static void test_crc_comes_before_lengths(void **state)
{
	uint8_t out[WIRE_HEADER_BYTES];
	struct wire_header h = sample;

	(void)state;
	h.body_len = UINT32_MAX;
	wire_header_encode(out, &h);
	out[36] ^= 1;
	memset(&h, 0, sizeof(h));
	assert_int_equal(decode(out, &h), -ERR_FRAME_CRC);
	assert_int_equal(h.id, sample.id);
	assert_int_equal(h.op, sample.op);
}

static void test_op_names(void **state)
{
	(void)state;
	assert_null(wire_op_name(0));
	assert_string_equal(wire_op_name(1), "HELLO");
	assert_string_equal(wire_op_name(9), "READ");
	assert_string_equal(wire_op_name(15), "STATFS");
	assert_string_equal(wire_op_name(23), "CHECK");
	assert_null(wire_op_name(WIRE_OP_END));
	assert_null(wire_op_name(0x10001));
	for (uint32_t op = 1; op < WIRE_OP_END; op++)
		assert_non_null(wire_op_name(op));
}

struct set_ctx {
	const struct codec *codec;
	void *m;
};

static void set_field(void *arg, const char *key, const char *value)
{
	struct set_ctx *ctx = arg;

	if (strcmp(key, "body") != 0)
		assert_true(codec_set(ctx->codec, ctx->m, key, value));
}

static void check_body(const struct vector *v, const struct wire_header *h)
{
	char *type = vector_word(v, "body");
	const struct codec *codec = type ? codec_find(type) : NULL;
	void *m;

	assert_non_null(type);
	if (strcmp(type, "-") == 0) {
		assert_int_equal(h->body_len, 0);
	} else {
		assert_non_null(codec);
		m = calloc(1, codec->struct_bytes);
		assert_non_null(m);
		assert_int_equal(codec->decode(v->bytes + WIRE_HEADER_BYTES, h->body_len, m), 0);
		free(m);
	}
	free(type);
}

static void check_frame(const struct vector *v)
{
	struct wire_header want = {0};
	struct wire_header got;
	struct set_ctx ctx = {.codec = codec_find("wire_header"), .m = &want};
	uint8_t out[WIRE_HEADER_BYTES];
	const uint8_t *payload;

	vector_each_word(v, set_field, &ctx);
	wire_header_encode(out, &want);
	assert_true(v->len >= sizeof(out));
	assert_memory_equal(out, v->bytes, sizeof(out));
	assert_int_equal(
	    wire_header_decode(v->bytes, want.magic, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, &got), 0);
	assert_header_equal(&got, &want);
	assert_int_equal(v->len, sizeof(out) + got.body_len + got.payload_len);
	assert_int_equal(got.body_crc, crc32c(0, v->bytes + sizeof(out), got.body_len));
	payload = v->bytes + sizeof(out) + got.body_len;
	if (got.payload_crc)
		assert_int_equal(got.payload_crc, crc32c(0, payload, got.payload_len));
	check_body(v, &got);
}

static void check_bad_frame(const struct vector *v)
{
	struct wire_header h;
	char *want = vector_word(v, "error");

	assert_true(v->len >= WIRE_HEADER_BYTES);
	assert_non_null(want);
	assert_string_equal(err_name(decode(v->bytes, &h)), want);
	free(want);
}

static void test_vectors(void **state)
{
	struct vectors *vectors = vectors_load();
	size_t good = 0;
	size_t bad = 0;

	(void)state;
	for (size_t i = 0; i < vectors->n; i++) {
		if (strcmp(vectors->v[i].verb, "frame") == 0) {
			check_frame(&vectors->v[i]);
			good++;
		} else if (strcmp(vectors->v[i].verb, "badframe") == 0) {
			check_bad_frame(&vectors->v[i]);
			bad++;
		}
	}
	assert_true(good >= 20);
	assert_true(bad >= 8);
	vectors_free(vectors);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fields_are_at_their_offsets),
	    cmocka_unit_test(test_every_flipped_bit_is_found),
	    cmocka_unit_test(test_magic_tells_directions_apart),
	    cmocka_unit_test(test_lengths_are_bounded),
	    cmocka_unit_test(test_crc_comes_before_lengths),
	    cmocka_unit_test(test_op_names),
	    cmocka_unit_test(test_vectors),
	};

	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
