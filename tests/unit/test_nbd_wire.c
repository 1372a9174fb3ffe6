/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_nbd_wire.c: NBD's messages, byte by byte as its specification has them, and at every bound.
 */
#include "proto/nbd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"

/* The bytes of a string literal. */
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

static void assert_bytes(const uint8_t *got, int n, const uint8_t *want, size_t len)
{
	assert_int_equal(n, len);
	assert_memory_equal(got, want, len);
}

/* What it writes, and that it writes nothing past a buffer that is a byte too small. */
#define ASSERT_ENCODES(want, fn, ...)                                                 \
	do {                                                                          \
		uint8_t buf_[256];                                                    \
                                                                                      \
		memset(buf_, 0xa5, sizeof(buf_));                                     \
		assert_bytes(buf_, fn(buf_, sizeof(buf_), __VA_ARGS__), BYTES(want)); \
		assert_int_equal(buf_[sizeof(want) - 1], 0xa5);                       \
		for (size_t room_ = 0; room_ < sizeof(want) - 1; room_++)             \
			assert_int_equal(fn(buf_, room_, __VA_ARGS__), -ERR_LIMIT);   \
	} while (0)

static void test_the_greeting(void **state)
{
	uint8_t out[NBD_GREETING_BYTES];

	(void)state;
	nbd_greeting_encode(out, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	assert_memory_equal(out, "NBDMAGICIHAVEOPT\0\3", 18);
	assert_int_equal(nbd_client_flags_decode((const uint8_t *)"\1\2\3\4"), 0x01020304);
}

static void test_the_head_of_an_option(void **state)
{
	struct nbd_option opt;

	(void)state;
	assert_int_equal(nbd_option_decode((const uint8_t *)"IHAVEOPT\0\0\0\7\0\1\2\3", &opt), 0);
	assert_int_equal(opt.option, NBD_OPT_GO);
	assert_int_equal(opt.len, 0x00010203);
	assert_int_equal(nbd_option_decode((const uint8_t *)"IHAVEOPU\0\0\0\7\0\0\0\0", &opt),
			 -ERR_FRAME_MAGIC);
}

static void test_replies_to_options(void **state)
{
	uint8_t out[NBD_OPTREPLY_BYTES];

	(void)state;
	nbd_optreply_encode(out, NBD_OPT_LIST, NBD_REP_ERR_POLICY, 258);
	assert_memory_equal(out,
			    "\x00\x03\xe8\x89\x04\x55\x65\xa9"
			    "\0\0\0\3\x80\0\0\2\0\0\1\2",
			    20);
	ASSERT_ENCODES("\0\0\0\3abctext", nbd_server_encode, "abc", "text");
	ASSERT_ENCODES("\0\0\1\2\3\4\5\6\7\x08\x11\x12", nbd_info_export_encode,
		       UINT64_C(0x0102030405060708), 0x1112);
	ASSERT_ENCODES("\0\2hello", nbd_info_text_encode, NBD_INFO_DESCRIPTION, "hello");
	ASSERT_ENCODES("\0\3\0\0\0\1\0\0\x10\0\2\0\0\0", nbd_info_block_size_encode, 1, 4096,
		       NBD_PAYLOAD_MAX);
	ASSERT_ENCODES("\0\0\0\7base:allocation", nbd_meta_context_encode, 7, "base:allocation");
	ASSERT_ENCODES("\0\0\0\0\0\0\1\0\0\3", nbd_export_reply_encode, 256, 3, false);
}

static void test_the_zeroes_behind_an_export(void **state)
{
	uint8_t out[NBD_EXPORT_REPLY_BYTES + NBD_EXPORT_REPLY_ZEROES];
	uint8_t zeroes[NBD_EXPORT_REPLY_ZEROES] = {0};

	(void)state;
	memset(out, 0xa5, sizeof(out));
	assert_int_equal(nbd_export_reply_encode(out, sizeof(out), 1, 1, true), 134);
	assert_memory_equal(out, "\0\0\0\0\0\0\0\1\0\1", 10);
	assert_memory_equal(out + 10, zeroes, sizeof(zeroes));
	assert_int_equal(nbd_export_reply_encode(out, sizeof(out) - 1, 1, 1, true), -ERR_LIMIT);
}

static void assert_text(struct nbd_text text, const char *want)
{
	assert_int_equal(text.len, strlen(want));
	assert_memory_equal(text.p, want, text.len);
}

static void test_names(void **state)
{
	static uint8_t longest[NBD_STRING_MAX + 1];
	struct nbd_text name;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(nbd_name_decode(BYTES(""), &name), 0);
	assert_int_equal(name.len, 0);
	assert_int_equal(nbd_name_decode(BYTES("a\xc3\xa4"), &name), 0);
	assert_text(name, "a\xc3\xa4");
	assert_int_equal(nbd_name_decode(longest, NBD_STRING_MAX, &name), 0);
	assert_int_equal(nbd_name_decode(longest, NBD_STRING_MAX + 1, &name), -ERR_FRAME_BODY);
	assert_int_equal(nbd_name_decode(BYTES("a\0b"), &name), -ERR_FRAME_BODY);
	assert_int_equal(nbd_name_decode(BYTES("a\xc3"), &name), -ERR_FRAME_BODY);
	assert_int_equal(nbd_name_decode(BYTES("\xed\xa0\x80"), &name), -ERR_FRAME_BODY);
}

static void test_what_info_and_go_ask_for(void **state)
{
	struct nbd_info_request m;

	(void)state;
	assert_int_equal(nbd_info_request_decode(BYTES("\0\0\0\2ab\0\0"), &m), 0);
	assert_text(m.name, "ab");
	assert_int_equal(m.asked, 0);
	assert_int_equal(nbd_info_request_decode(BYTES("\0\0\0\0\0\3\0\3\0\1\x12\x34"), &m), 0);
	assert_int_equal(m.name.len, 0);
	assert_int_equal(m.asked, 1u << NBD_INFO_BLOCK_SIZE | 1u << NBD_INFO_NAME);
	assert_int_equal(nbd_info_request_decode(BYTES("\0\0\0\0\0\2\0\3\0\3"), &m),
			 -ERR_FRAME_BODY);
}

static void test_info_requests_of_a_wrong_length(void **state)
{
	static const char whole[] = "\0\0\0\2ab\0\2\0\3\0\1";
	struct nbd_info_request m;

	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++)
		assert_int_equal(nbd_info_request_decode((const uint8_t *)whole, len, &m),
				 -ERR_FRAME_BODY);
	assert_int_equal(nbd_info_request_decode((const uint8_t *)whole, sizeof(whole) - 1, &m), 0);
	assert_int_equal(nbd_info_request_decode((const uint8_t *)whole, sizeof(whole), &m),
			 -ERR_FRAME_BODY);
	assert_int_equal(nbd_info_request_decode(BYTES("\xff\xff\xff\xff"
						       "ab\0\0"),
						 &m),
			 -ERR_FRAME_BODY);
}

static void test_queries_for_contexts(void **state)
{
	static const char whole[] = "\0\0\0\1a\0\0\0\2\0\0\0\5base:\0\0\0\1x";
	struct nbd_meta_request m;
	const uint8_t *at;

	(void)state;
	assert_int_equal(nbd_meta_request_decode(BYTES(whole), &m), 0);
	assert_text(m.name, "a");
	assert_int_equal(m.nqueries, 2);
	at = m.queries;
	assert_text(nbd_meta_query(&at), "base:");
	assert_text(nbd_meta_query(&at), "x");
	for (size_t len = 0; len < sizeof(whole) - 1; len++)
		assert_int_equal(nbd_meta_request_decode((const uint8_t *)whole, len, &m),
				 -ERR_FRAME_BODY);
	assert_int_equal(nbd_meta_request_decode((const uint8_t *)whole, sizeof(whole), &m),
			 -ERR_FRAME_BODY);
	assert_int_equal(nbd_meta_request_decode(BYTES("\0\0\0\0\xff\xff\xff\xff"), &m),
			 -ERR_FRAME_BODY);
}

static void test_requests(void **state)
{
	struct nbd_request m;

	(void)state;
	assert_int_equal(nbd_request_decode((const uint8_t *)"\x25\x60\x95\x13\0\1\0\6"
							     "\1\2\3\4\5\6\7\x08"
							     "\x11\x12\x13\x14\x15\x16\x17\x18"
							     "\xff\xff\xff\xfe",
					    false, &m),
			 0);
	assert_int_equal(m.flags, NBD_CMD_FLAG_FUA);
	assert_int_equal(m.type, NBD_CMD_WRITE_ZEROES);
	assert_int_equal(m.cookie, UINT64_C(0x0102030405060708));
	assert_int_equal(m.offset, UINT64_C(0x1112131415161718));
	assert_int_equal(m.len, UINT64_C(0xfffffffe));
	assert_int_equal(nbd_request_decode((const uint8_t *)"\x21\xe4\x1c\x71\0\x20\0\1"
							     "\1\2\3\4\5\6\7\x08"
							     "\0\0\0\0\0\0\0\x09"
							     "\x80\0\0\0\0\0\0\1",
					    true, &m),
			 0);
	assert_int_equal(m.flags, NBD_CMD_FLAG_PAYLOAD_LEN);
	assert_int_equal(m.type, NBD_CMD_WRITE);
	assert_int_equal(m.offset, 9);
	assert_int_equal(m.len, UINT64_C(0x8000000000000001));
}

static void test_requests_of_the_other_kind_are_refused(void **state)
{
	static const uint8_t compact[32] = {0x25, 0x60, 0x95, 0x13};
	static const uint8_t extended[32] = {0x21, 0xe4, 0x1c, 0x71};
	struct nbd_request m;

	(void)state;
	assert_int_equal(nbd_request_decode(compact, true, &m), -ERR_FRAME_MAGIC);
	assert_int_equal(nbd_request_decode(extended, false, &m), -ERR_FRAME_MAGIC);
}

static void test_heads_of_replies(void **state)
{
	struct nbd_chunk m = {.flags = NBD_REPLY_FLAG_DONE,
			      .type = NBD_REPLY_TYPE_ERROR,
			      .cookie = UINT64_C(0x0102030405060708),
			      .offset = 9,
			      .len = 6};
	uint8_t out[NBD_EXTENDED_REPLY_BYTES];

	(void)state;
	nbd_simple_reply_encode(out, NBD_ENOSPC, UINT64_C(0x0102030405060708));
	assert_memory_equal(out, "\x67\x44\x66\x98\0\0\0\x1c\1\2\3\4\5\6\7\x08", 16);
	assert_bytes(out, (int)nbd_chunk_encode(out, &m),
		     BYTES("\x66\x8e\x33\xef\0\1\x80\1\1\2\3\4\5\6\7\x08\0\0\0\6"));
	m.extended = true;
	assert_bytes(out, (int)nbd_chunk_encode(out, &m),
		     BYTES("\x6e\x8a\x27\x8c\0\1\x80\1\1\2\3\4\5\6\7\x08"
			   "\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\6"));
}

static void test_payloads_of_chunks(void **state)
{
	(void)state;
	ASSERT_ENCODES("\1\2\3\4\5\6\7\x08", nbd_offset_encode, UINT64_C(0x0102030405060708));
	ASSERT_ENCODES("\0\0\0\0\0\0\0\1\0\0\2\0", nbd_hole_encode, 1, 512);
	ASSERT_ENCODES("\0\0\0\x16\0\3why", nbd_error_encode, NBD_EINVAL, "why");
}

static void test_block_status(void **state)
{
	static const struct nbd_extent runs[] = {{4096, 0}, {512, 3}};
	static const struct nbd_extent large[] = {{UINT64_C(0x100000000), 3}};
	uint8_t out[64];

	(void)state;
	ASSERT_ENCODES("\0\0\0\1\0\0\x10\0\0\0\0\0\0\0\2\0\0\0\0\3", nbd_status_encode, false, 1,
		       runs, 2);
	ASSERT_ENCODES("\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\3", nbd_status_encode, true,
		       1, large, 1);
	assert_int_equal(nbd_status_encode(out, sizeof(out), false, 1, large, 1), -ERR_LIMIT);
	assert_int_equal(nbd_status_bytes(false, 2), 20);
	assert_int_equal(nbd_status_bytes(true, 1), 24);
}

static void test_filters_of_block_status(void **state)
{
	uint8_t full[NBD_STATUS_FILTER_BYTES_MAX + 4] = {0};
	struct nbd_status_filter m;

	(void)state;
	assert_int_equal(nbd_status_filter_decode(BYTES("\0\0\0\0\0\0\1\0\0\0\0\7\0\0\0\x09"), &m),
			 0);
	assert_int_equal(m.len, 256);
	assert_int_equal(m.n, 2);
	assert_int_equal(m.ids[0], 7);
	assert_int_equal(m.ids[1], 9);
	assert_int_equal(nbd_status_filter_decode(BYTES("\0\0\0\0\0\0\1\0"), &m), -ERR_FRAME_BODY);
	assert_int_equal(nbd_status_filter_decode(BYTES("\0\0\0\0\0\0\1\0\0\0\0"), &m),
			 -ERR_FRAME_BODY);
	assert_int_equal(nbd_status_filter_decode(BYTES("\0\0\0\0\0\0\1\0\0\0\0\7\0\0\0\7"), &m),
			 -ERR_FRAME_BODY);
	for (uint8_t i = 0; i <= NBD_CONTEXTS_MAX; i++)
		full[8 + 4 * i + 3] = i;
	assert_int_equal(nbd_status_filter_decode(full, sizeof(full) - 4, &m), 0);
	assert_int_equal(m.n, NBD_CONTEXTS_MAX);
	assert_int_equal(nbd_status_filter_decode(full, sizeof(full), &m), -ERR_FRAME_BODY);
}

static void test_errors_have_numbers_of_the_specification(void **state)
{
	static const uint32_t known[] = {NBD_EPERM,  NBD_EIO,	    NBD_ENOMEM,	 NBD_EINVAL,
					 NBD_ENOSPC, NBD_EOVERFLOW, NBD_ENOTSUP, NBD_ESHUTDOWN};
	static const struct {
		int err;
		uint32_t number;
	} rows[] = {
	    {0, 0},
	    {-ERR_INVAL, NBD_EINVAL},
	    {-ERR_NOENT, NBD_EINVAL},
	    {-ERR_READONLY, NBD_EPERM},
	    {-ERR_PERM, NBD_EPERM},
	    {-ERR_NOSPC_META, NBD_ENOSPC},
	    {-ERR_TOO_LARGE, NBD_ENOSPC},
	    {-ERR_CSUM, NBD_EIO},
	    {-ERR_LATCHED, NBD_EIO},
	    {-ERR_WRITEBACK, NBD_EIO},
	    {-ERR_NOMEM, NBD_ENOMEM},
	    {-ERR_NOTSUP, NBD_ENOTSUP},
	    {-ERR_LIMIT, NBD_EOVERFLOW},
	    {-ERR_SHUTDOWN, NBD_ESHUTDOWN},
	    {-ERR_CONN, NBD_ESHUTDOWN},
	    {-99999, NBD_EIO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(nbd_errno(rows[i].err), rows[i].number);
	for (int err = 1; err < ERR_END; err++) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			found = found || nbd_errno(-err) == known[i];
		assert_true(found);
		assert_true(nbd_rep_err(-err) > NBD_REP_ERR(0));
		assert_true(nbd_rep_err(-err) <= NBD_REP_ERR_EXT_HEADER_REQD);
	}
	assert_int_equal(nbd_rep_err(-ERR_NOENT), NBD_REP_ERR_UNKNOWN);
	assert_int_equal(nbd_rep_err(-ERR_BAD_NAME), NBD_REP_ERR_UNKNOWN);
	assert_int_equal(nbd_rep_err(-ERR_FRAME_BODY), NBD_REP_ERR_INVALID);
	assert_int_equal(nbd_rep_err(-ERR_PERM), NBD_REP_ERR_POLICY);
	assert_int_equal(nbd_rep_err(-ERR_SHUTDOWN), NBD_REP_ERR_SHUTDOWN);
}

static void test_names_of_numbers(void **state)
{
	(void)state;
	assert_string_equal(nbd_cmd_name(NBD_CMD_READ), "READ");
	assert_string_equal(nbd_cmd_name(7), "BLOCK_STATUS");
	assert_null(nbd_cmd_name(NBD_CMD_END));
	assert_string_equal(nbd_opt_name(11), "EXTENDED_HEADERS");
	assert_null(nbd_opt_name(4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_greeting),
	    cmocka_unit_test(test_the_head_of_an_option),
	    cmocka_unit_test(test_replies_to_options),
	    cmocka_unit_test(test_the_zeroes_behind_an_export),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_what_info_and_go_ask_for),
	    cmocka_unit_test(test_info_requests_of_a_wrong_length),
	    cmocka_unit_test(test_queries_for_contexts),
	    cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_requests_of_the_other_kind_are_refused),
	    cmocka_unit_test(test_heads_of_replies),
	    cmocka_unit_test(test_payloads_of_chunks),
	    cmocka_unit_test(test_block_status),
	    cmocka_unit_test(test_filters_of_block_status),
	    cmocka_unit_test(test_errors_have_numbers_of_the_specification),
	    cmocka_unit_test(test_names_of_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
