/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_msg.c: bodies of requests and replies, against the vectors of other code: both directions,
 * every truncation, and every bound.
 */
#include "proto/msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"
#include "tests/vectors/codec.h"
#include "tests/vectors/vectors.h"

#define UNTOUCHED 0xa5

static struct vectors *vectors;

static void *alloc_zero(size_t len)
{
	void *p = calloc(1, len > 0 ? len : 1);

	assert_non_null(p);
	return p;
}

/* A copy in memory of exactly len bytes, so that a sanitizer sees a read past its end. */
static uint8_t *exact_copy(const uint8_t *bytes, size_t len)
{
	uint8_t *p = malloc(len);

	assert_true(p || len == 0);
	if (len > 0)
		memcpy(p, bytes, len);
	return p;
}

static bool all_bytes_are(const uint8_t *p, size_t len, uint8_t byte)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != byte)
			return false;
	return true;
}

/* Asserts that these bytes are refused and that nothing was written. */
static void assert_refused(const struct codec *codec, const uint8_t *bytes, size_t len)
{
	uint8_t *m = alloc_zero(codec->struct_bytes);
	uint8_t *copy = exact_copy(bytes, len);

	memset(m, UNTOUCHED, codec->struct_bytes);
	assert_int_equal(codec->decode(copy, len, m), -ERR_FRAME_BODY);
	assert_true(all_bytes_are(m, codec->struct_bytes, UNTOUCHED));
	free(copy);
	free(m);
}

typedef void (*vector_fn)(const struct codec *codec, const struct vector *v);

/* Calls fn for every vector of a verb and returns how many there were. */
static size_t for_each(const char *verb, vector_fn fn)
{
	size_t n = 0;

	for (size_t i = 0; i < vectors->n; i++) {
		const struct vector *v = &vectors->v[i];
		const struct codec *codec = codec_find(v->name);

		if (strcmp(v->verb, verb) != 0)
			continue;
		assert_non_null(codec);
		fn(codec, v);
		n++;
	}
	return n;
}

struct field_ctx {
	const struct codec *codec;
	void *m;
};

static void set_field(void *arg, const char *key, const char *value)
{
	struct field_ctx *ctx = arg;

	assert_true(codec_set(ctx->codec, ctx->m, key, value));
}

static void check_field(void *arg, const char *key, const char *value)
{
	struct field_ctx *ctx = arg;

	assert_true(codec_has(ctx->codec, ctx->m, key, value));
}

static void check_encode(const struct codec *codec, const struct vector *v)
{
	void *m = alloc_zero(codec->struct_bytes);
	struct field_ctx ctx = {.codec = codec, .m = m};
	uint8_t *buf = alloc_zero(v->len);

	vector_each_word(v, set_field, &ctx);
	assert_int_equal(codec->encode(buf, v->len, m), v->len);
	assert_memory_equal(buf, v->bytes, v->len);
	free(buf);
	free(m);
}

static void test_encode_gives_the_vector(void **state)
{
	(void)state;
	assert_true(for_each("msg", check_encode) >= 30);
}

static void check_decode(const struct codec *codec, const struct vector *v)
{
	void *m = alloc_zero(codec->struct_bytes);
	struct field_ctx ctx = {.codec = codec, .m = m};
	uint8_t *buf = alloc_zero(v->len);

	assert_int_equal(codec->decode(v->bytes, v->len, m), 0);
	vector_each_word(v, check_field, &ctx);
	assert_int_equal(codec->encode(buf, v->len, m), v->len);
	assert_memory_equal(buf, v->bytes, v->len);
	free(buf);
	free(m);
}

static void test_decode_gives_the_fields(void **state)
{
	(void)state;
	assert_true(for_each("msg", check_decode) >= 30);
}

static void check_truncations(const struct codec *codec, const struct vector *v)
{
	for (size_t len = 0; len < v->len; len++)
		assert_refused(codec, v->bytes, len);
}

static void test_every_truncation_is_refused(void **state)
{
	(void)state;
	assert_true(for_each("msg", check_truncations) >= 30);
}

static void check_trailing(const struct codec *codec, const struct vector *v)
{
	uint8_t *longer = alloc_zero(v->len + 1);

	memcpy(longer, v->bytes, v->len);
	assert_refused(codec, longer, v->len + 1);
	free(longer);
}

static void test_a_trailing_byte_is_refused(void **state)
{
	(void)state;
	assert_true(for_each("msg", check_trailing) >= 30);
}

static void check_small_buffer(const struct codec *codec, const struct vector *v)
{
	void *m = alloc_zero(codec->struct_bytes);

	assert_int_equal(codec->decode(v->bytes, v->len, m), 0);
	for (size_t len = 0; len < v->len; len++) {
		uint8_t *buf = exact_copy(v->bytes, len);

		assert_int_equal(codec->encode(buf, len, m), -ERR_LIMIT);
		free(buf);
	}
	free(m);
}

static void test_a_small_buffer_is_refused(void **state)
{
	(void)state;
	assert_true(for_each("msg", check_small_buffer) >= 30);
}

static void check_bad(const struct codec *codec, const struct vector *v)
{
	assert_refused(codec, v->bytes, v->len);
}

static void test_bad_vectors_are_refused(void **state)
{
	(void)state;
	assert_true(for_each("badmsg", check_bad) >= 20);
}

static void test_every_message_has_a_vector(void **state)
{
	(void)state;
	for (size_t i = 0; i < ncodecs; i++) {
		size_t n = 0;

		for (size_t j = 0; j < vectors->n; j++)
			n += strcmp(vectors->v[j].verb, "msg") == 0 &&
			     strcmp(vectors->v[j].name, codecs[i].name) == 0;
		assert_true(n > 0 || strcmp(codecs[i].name, "wire_header") == 0);
	}
}

/* A list reply of count entries with empty names; the buffer is to be freed. */
static uint8_t *list_of(uint32_t count, size_t *used)
{
	static const struct msg_info empty;
	uint8_t *buf = alloc_zero(WIRE_BODY_MAX);

	*used = MSG_LIST_HEAD_BYTES;
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(msg_list_add(buf, WIRE_BODY_MAX, used, &empty), 0);
	msg_list_finish(buf, count, false);
	return buf;
}

static void test_list_count_is_bounded(void **state)
{
	struct msg_info *infos = alloc_zero((MSG_LIST_MAX + 1) * sizeof(*infos));
	uint32_t count = 77;
	bool more = true;
	size_t used;
	uint8_t *buf = list_of(3, &used);

	(void)state;
	assert_int_equal(msg_list_reply_decode(buf, used, infos, 2, &count, &more),
			 -ERR_FRAME_BODY);
	assert_int_equal(count, 77);
	assert_int_equal(msg_list_reply_decode(buf, used, infos, 3, &count, &more), 0);
	assert_int_equal(count, 3);
	assert_false(more);
	free(buf);

	/* more than a reply may have, in room for them */
	buf = list_of(MSG_LIST_MAX + 1, &used);
	assert_int_equal(msg_list_reply_decode(buf, used, infos, MSG_LIST_MAX + 1, &count, &more),
			 -ERR_FRAME_BODY);
	free(buf);
	free(infos);
}

static void test_list_add_stops_at_the_end(void **state)
{
	uint8_t buf[MSG_LIST_HEAD_BYTES + 150];
	struct msg_info info = {.name = "n", .id = 1};
	size_t used = MSG_LIST_HEAD_BYTES;

	(void)state;
	assert_int_equal(msg_list_add(buf, sizeof(buf), &used, &info), 0);
	assert_int_equal(used, MSG_LIST_HEAD_BYTES + 101);
	assert_int_equal(msg_list_add(buf, sizeof(buf), &used, &info), -ERR_LIMIT);
	assert_int_equal(used, MSG_LIST_HEAD_BYTES + 101);
}

static void test_extents_count_is_bounded(void **state)
{
	struct msg_extent *ext = alloc_zero((MSG_EXTENTS_MAX + 1) * sizeof(*ext));
	size_t room = WIRE_BODY_MAX + MSG_EXTENT_BYTES;
	uint8_t *buf = alloc_zero(room);
	uint32_t count = 77;
	int len;

	(void)state;
	len = msg_extents_reply_encode(buf, WIRE_BODY_MAX, ext, MSG_EXTENTS_MAX);
	assert_true(len > 0 && (uint32_t)len <= WIRE_BODY_MAX);
	assert_int_equal(
	    msg_extents_reply_decode(buf, (size_t)len, ext, MSG_EXTENTS_MAX - 1, &count),
	    -ERR_FRAME_BODY);
	assert_int_equal(count, 77);
	assert_int_equal(msg_extents_reply_decode(buf, (size_t)len, ext, MSG_EXTENTS_MAX, &count),
			 0);
	assert_int_equal(count, MSG_EXTENTS_MAX);

	/* one too many, in room for it, either way */
	assert_int_equal(msg_extents_reply_encode(buf, room, ext, MSG_EXTENTS_MAX + 1), -ERR_LIMIT);
	memset(buf, 0, room);
	le32_put(buf, MSG_EXTENTS_MAX + 1);
	assert_int_equal(msg_extents_reply_decode(buf, 4 + (MSG_EXTENTS_MAX + 1) * MSG_EXTENT_BYTES,
						  ext, MSG_EXTENTS_MAX + 1, &count),
			 -ERR_FRAME_BODY);
	free(buf);
	free(ext);
}

static void test_diff_count_is_bounded(void **state)
{
	struct msg_diff_run *ext = alloc_zero((MSG_DIFF_MAX + 1) * sizeof(*ext));
	size_t room = WIRE_BODY_MAX + MSG_DIFF_RUN_BYTES;
	struct msg_diff_reply m = {.count = MSG_DIFF_MAX};
	struct msg_diff_reply got = {.count = 77};
	uint8_t *buf = alloc_zero(room);
	int len = msg_diff_reply_encode(buf, WIRE_BODY_MAX, &m, ext);

	(void)state;
	assert_true(len > 0 && (uint32_t)len <= WIRE_BODY_MAX);
	assert_int_equal(msg_diff_reply_decode(buf, (size_t)len, &got, ext, MSG_DIFF_MAX - 1),
			 -ERR_FRAME_BODY);
	assert_int_equal(got.count, 77);
	assert_int_equal(msg_diff_reply_decode(buf, (size_t)len, &got, ext, MSG_DIFF_MAX), 0);
	assert_int_equal(got.count, MSG_DIFF_MAX);

	/* one too many, in room for it, either way */
	m.count++;
	assert_int_equal(msg_diff_reply_encode(buf, room, &m, ext), -ERR_LIMIT);
	memset(buf, 0, room);
	le32_put(buf, m.count);
	len = (int)(MSG_DIFF_HEAD_BYTES + m.count * MSG_DIFF_RUN_BYTES);
	assert_int_equal(msg_diff_reply_decode(buf, (size_t)len, &got, ext, m.count),
			 -ERR_FRAME_BODY);
	free(buf);
	free(ext);
}

static void test_damages_are_bounded(void **state)
{
	struct msg_verify_reply *m = alloc_zero(sizeof(*m));
	struct msg_verify_reply *got = alloc_zero(sizeof(*got));
	size_t room = 36 + (MSG_VERIFY_MAX + 1) * MSG_DAMAGE_BYTES;
	struct msg_verify verify = {.rate = MSG_VERIFY_RATE_MIN - 1};
	uint8_t *buf = alloc_zero(room);
	int len;

	(void)state;
	m->count = 2;
	m->damages[0] = (struct msg_damage){0, 4096, 0, MSG_DAMAGE_METADATA};
	m->damages[1] = (struct msg_damage){0, 4096, 0, MSG_DAMAGE_METADATA + 1};
	len = msg_verify_reply_encode(buf, room, m);
	assert_int_equal(len, 36 + 2 * MSG_DAMAGE_BYTES);
	assert_int_equal(msg_verify_reply_decode(buf, (size_t)len, got), -ERR_FRAME_BODY);
	m->damages[1].kind = 0;
	assert_int_equal(msg_verify_reply_encode(buf, room, m), len);
	assert_int_equal(msg_verify_reply_decode(buf, (size_t)len, got), -ERR_FRAME_BODY);
	m->damages[1] = (struct msg_damage){0, 0, 0, MSG_DAMAGE_READ};
	assert_int_equal(msg_verify_reply_encode(buf, room, m), len);
	assert_int_equal(msg_verify_reply_decode(buf, (size_t)len, got), -ERR_FRAME_BODY);
	m->damages[1].len = 1;
	assert_int_equal(msg_verify_reply_encode(buf, room, m), len);
	assert_int_equal(msg_verify_reply_decode(buf, (size_t)len, got), 0);
	assert_int_equal(got->damages[1].kind, MSG_DAMAGE_READ);
	m->count = MSG_VERIFY_MAX + 1;
	assert_int_equal(msg_verify_reply_encode(buf, room, m), -ERR_LIMIT);
	le32_put(buf + 32, MSG_VERIFY_MAX + 1);
	assert_int_equal(msg_verify_reply_decode(buf, room, got), -ERR_FRAME_BODY);
	len = msg_verify_encode(buf, room, &verify);
	assert_int_equal(msg_verify_decode(buf, (size_t)len, &verify), -ERR_FRAME_BODY);
	free(buf);
	free(got);
	free(m);
}

static void test_labels_and_texts_are_bounded(void **state)
{
	struct msg_snap snap = {.name = "a@b", .labels.len = LABELS_MAX_BYTES};
	struct msg_check_reply *check = alloc_zero(sizeof(*check));
	uint8_t *buf = alloc_zero(WIRE_BODY_MAX);

	(void)state;
	assert_int_equal(msg_snap_encode(buf, WIRE_BODY_MAX, &snap), 5 + 8 + 2 + LABELS_MAX_BYTES);
	snap.labels.len++;
	assert_int_equal(msg_snap_encode(buf, WIRE_BODY_MAX, &snap), -ERR_LIMIT);
	check->ntexts = MSG_CHECK_TEXTS_MAX;
	assert_int_equal(msg_check_reply_encode(buf, WIRE_BODY_MAX, check), 50 + 2 * 64);
	check->ntexts++;
	assert_int_equal(msg_check_reply_encode(buf, WIRE_BODY_MAX, check), -ERR_LIMIT);
	free(buf);
	free(check);
}

static void test_usage_count_is_bounded(void **state)
{
	static const char *specs[MSG_USAGE_MAX + 1];
	static const char *found[MSG_USAGE_MAX + 1];
	static char names[2 + 3 * (MSG_USAGE_MAX + 1)];
	uint8_t *buf = alloc_zero(WIRE_BODY_MAX);
	uint32_t count = 77;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		specs[i] = "a";
	assert_int_equal(msg_usage_encode(buf, WIRE_BODY_MAX, specs, 0), -ERR_LIMIT);
	assert_int_equal(msg_usage_encode(buf, WIRE_BODY_MAX, specs, MSG_USAGE_MAX + 1),
			 -ERR_LIMIT);
	assert_int_equal(msg_usage_encode(buf, WIRE_BODY_MAX, specs, 2), 8);
	assert_int_equal(msg_usage_decode(buf, 8, names, found, 1, &count), -ERR_FRAME_BODY);
	assert_int_equal(count, 77);
	assert_int_equal(msg_usage_decode(buf, 8, names, found, 2, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(found[1], "a");
	assert_true(found[1] + 2 <= names + 8);
	/* one too many, in room for them */
	le16_put(buf, MSG_USAGE_MAX + 1);
	for (size_t i = 0; i <= MSG_USAGE_MAX; i++)
		memcpy(buf + 2 + 3 * i, "\x01\0a", 3);
	assert_int_equal(
	    msg_usage_decode(buf, sizeof(names), names, found, MSG_USAGE_MAX + 1, &count),
	    -ERR_FRAME_BODY);
	free(buf);
}

static int load(void **state)
{
	(void)state;
	vectors = vectors_load();
	return 0;
}

static int unload(void **state)
{
	(void)state;
	vectors_free(vectors);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_encode_gives_the_vector),
	    cmocka_unit_test(test_decode_gives_the_fields),
	    cmocka_unit_test(test_every_truncation_is_refused),
	    cmocka_unit_test(test_a_trailing_byte_is_refused),
	    cmocka_unit_test(test_a_small_buffer_is_refused),
	    cmocka_unit_test(test_bad_vectors_are_refused),
	    cmocka_unit_test(test_every_message_has_a_vector),
	    cmocka_unit_test(test_list_count_is_bounded),
	    cmocka_unit_test(test_list_add_stops_at_the_end),
	    cmocka_unit_test(test_extents_count_is_bounded),
	    cmocka_unit_test(test_diff_count_is_bounded),
	    cmocka_unit_test(test_damages_are_bounded),
	    cmocka_unit_test(test_labels_and_texts_are_bounded),
	    cmocka_unit_test(test_usage_count_is_bounded),
	};

	return cmocka_run_group_tests_name("msg", tests, load, unload);
}
