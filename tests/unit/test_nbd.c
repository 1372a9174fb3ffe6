/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_nbd.c: the handshake of NBD: every option, right and wrong, and connections that end anywhere.
 */
#include "server/nbd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"
#include "tests/unit/nbd_fixture.h"

/* ---- options --------------------------------------------------------------------------------- */

static void test_unknown_client_flags_end_it(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 4);

	assert_closed(fx, &p);
}

static void test_bad_magic_of_an_option_ends_it(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	assert_true(frame_send_raw(&p.c, "IHAVEOPU\0\0\0\3\0\0\0\0", 16));
	assert_closed(fx, &p);
}

static void test_options_that_are_refused_leave_the_next(void **state)
{
	static const struct {
		uint32_t option;
		const char *data;
		size_t len;
		uint32_t reply;
	} rows[] = {
	    {0, "", 0, ERR_UNSUP_},
	    {4, "abc", 3, ERR_UNSUP_},
	    {77, "", 0, ERR_UNSUP_},
	    {3, "x", 1, ERR_INVALID_},
	    {5, "x", 1, ERR_INVALID_},
	    {5, "", 0, ERR_POLICY_},
	    {8, "x", 1, ERR_INVALID_},
	    {11, "x", 1, ERR_INVALID_},
	    {6, "", 0, ERR_INVALID_},
	    {7, "\0\0\0\1a\0", 6, ERR_INVALID_},
	    {7, "\0\0\0\1a\0\1\0", 8, ERR_INVALID_},
	    {7, "\0\0\0\1a\0\2\0\3\0\3", 11, ERR_INVALID_},
	    {7,
	     "\xff\xff\xff\xff"
	     "a\0\0",
	     7, ERR_INVALID_},
	    {9, "\0\0\0\1a", 5, ERR_INVALID_},
	    {9, "\0\0\0\1a\xff\xff\xff\xff", 9, ERR_INVALID_},
	    {10, "\0\0\0\1a\0\0\0\0", 9, ERR_INVALID_}, /* structured replies come first */
	};
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(nbd_peer_opt(&p, rows[i].option, rows[i].data, rows[i].len),
				 rows[i].reply);
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_opt(&p, 2, "what", 4), ACK);
	assert_closed(fx, &p);
}

static void test_data_of_options_is_bounded(void **state)
{
	static uint8_t junk[65537];
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	assert_int_equal(nbd_peer_opt(&p, 77, junk, 8192), ERR_UNSUP_);
	assert_int_equal(nbd_peer_opt(&p, 77, junk, 8193), ERR_BIG_);
	assert_int_equal(nbd_peer_opt(&p, 6, junk, 65536), ERR_BIG_);
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	nbd_peer_send_opt(&p, 77, junk, 65537);
	assert_closed(fx, &p);
}

static void test_the_number_of_options_is_bounded(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	for (int i = 0; i < 128; i++)
		assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), 0);
	assert_closed(fx, &p);
}

static void test_who_is_not_fixed_has_export_name_alone(void **state)
{
	static const uint8_t junk[8193];
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 0);

	nbd_peer_send_opt(&p, 3, NULL, 0);
	assert_closed(fx, &p);
	p = nbd_peer_greet(fx, 0);
	nbd_peer_send_opt(&p, 3, junk, sizeof(junk)); /* which is not kept */
	assert_closed(fx, &p);
}

static void test_handshake_deadline(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	fx->config.handshake_ms = 30;
	peer_reconfigure(fx);
	p = nbd_peer_greet(fx, 3);
	assert_closed(fx, &p);
}

static void test_tls_that_is_required_comes_first(void **state)
{
	static const uint32_t options[] = {3, 8, 9, 10, 11, 77};
	static const uint8_t junk[8193];
	static const struct nbd_config require = {.tls = NBD_TLS_REQUIRE};
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	frame_wait(fx->base, peer_none_left, fx);
	fx->config.nbd = &require;
	peer_reconfigure(fx);
	p = nbd_peer_greet(fx, 3);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		assert_int_equal(nbd_peer_opt(&p, options[i], NULL, 0), ERR_TLS_);
	assert_int_equal(nbd_peer_opt(&p, 7, junk, sizeof(junk)), ERR_TLS_);
	assert_int_equal(nbd_peer_go(&p, 6, "a"), ERR_TLS_);
	assert_int_equal(nbd_peer_go(&p, 7, "a"), ERR_TLS_);
	assert_int_equal(nbd_peer_opt(&p, 1, "a", 1), 0);
	assert_closed(fx, &p);
	p = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_opt(&p, 2, NULL, 0), ACK);
	assert_closed(fx, &p);
}

/* ---- exports --------------------------------------------------------------------------------- */

static void test_info_tells_and_opens_nothing(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	snap(fx, "a@v");
	p = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_go(&p, 6, "a"), ACK);
	assert_int_equal(p.size, SIZE);
	assert_int_equal(p.flags, 0xf6d); /* no DF without structured replies */
	assert_string_equal(p.names, "a\nan object\n");
	assert_int_equal(p.nreplies, 4);
	assert_int_equal(nbd_peer_opt(&p, 6, "\0\0\0\1a\0\0", 7), ACK);
	assert_int_equal(p.nreplies, 1);
	assert_int_equal(nbd_peer_go(&p, 6, "a@v"), ACK);
	assert_int_equal(p.flags, 0x50f);
	assert_string_equal(p.names, "a@v\na version, read-only\n");
	assert_int_equal(fake_open_handles(fx->objs), 0);
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_go(&p, 7, "a"), ACK);
	assert_int_equal(p.flags, 0xfed);
	assert_int_equal(fake_open_handles(fx->objs), 1);
	close(p.c.fd);
}

static void test_exports_that_there_are_not(void **state)
{
	char longest[5000];
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_greet(fx, 3);
	memset(longest, 'a', sizeof(longest));
	longest[4096] = '\0';
	assert_int_equal(nbd_peer_go(&p, 7, longest), ERR_UNKNOWN_);
	longest[256] = '\0';
	assert_int_equal(nbd_peer_go(&p, 7, longest), ERR_UNKNOWN_);
	longest[255] = '\0';
	assert_int_equal(nbd_peer_go(&p, 7, longest), ERR_UNKNOWN_);
	assert_int_equal(nbd_peer_go(&p, 7, ""), ERR_UNKNOWN_);
	assert_non_null(strstr(p.text, "name an object"));
	assert_int_equal(nbd_peer_go(&p, 7, "b"), ERR_UNKNOWN_);
	assert_non_null(strstr(p.text, "no such object"));
	assert_int_equal(nbd_peer_go(&p, 7, "a@"), ERR_UNKNOWN_);
	assert_int_equal(nbd_peer_go(&p, 7, "a\x01"), ERR_UNKNOWN_);
	assert_int_equal(nbd_peer_opt(&p, 7, "\0\0\0\2a\0\0\0", 8), ERR_INVALID_);
	assert_int_equal(nbd_peer_go(&p, 7, "+clone:a"), ERR_POLICY_);
	assert_int_equal(nbd_peer_go(&p, 7, "a"), ACK);
	close(p.c.fd);
}

static void test_export_name_with_and_without_zeroes(void **state)
{
	uint8_t want[134] = {0, 0, 0, 0, 0, 1, 0, 0, 0x0f, 0x6d};
	struct peer_fixture *fx = *state;

	make(fx, "a");
	for (uint32_t flags = 0; flags < 4; flags++) {
		struct nbd_peer p = nbd_peer_greet(fx, flags);
		size_t len = flags & 2 ? 10 : 134;
		struct nbd_answer a;
		uint8_t got[134];

		nbd_peer_send_opt(&p, 1, "a", 1);
		assert_true(frame_recv_raw(&p.c, got, len));
		assert_memory_equal(got, want, len);
		assert_int_equal(nbd_peer_call(&p, &a, 3, 0, 0, 0, NULL), 0);
		close(p.c.fd);
	}
}

static void test_export_name_has_no_other_answer_than_the_end(void **state)
{
	static const char *const names[] = {"b", "", "a\xff", "+clone:a"};
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		p = nbd_peer_greet(fx, 3);
		nbd_peer_send_opt(&p, 1, names[i], strlen(names[i]));
		assert_closed(fx, &p);
	}
	p = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_opt(&p, 11, NULL, 0), ACK);
	nbd_peer_send_opt(&p, 1, "a", 1);
	assert_closed(fx, &p);
}

static void test_extended_headers_are_not_given_up(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_opt(&p, 11, NULL, 0), ACK);
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ERR_EXT_);
	close(p.c.fd);
}

static void test_an_error_of_the_engine_is_told(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_greet(fx, 3);
	fake_hold(fx->objs, true);
	nbd_peer_send_opt(&p, 7, "\0\0\0\1a\0\0", 7);
	frame_settle(fx->base);
	assert_int_equal(fake_held(fx->objs), 1); /* INFO */
	fake_fail_next(fx->objs, -ERR_CSUM);	  /* OPEN */
	fake_hold(fx->objs, false);
	assert_int_equal(nbd_peer_opt_reply(&p, 7), ERR_UNKNOWN_);
	assert_non_null(strstr(p.text, "checksum"));
	assert_int_equal(nbd_peer_go(&p, 7, "a"), ACK);
	close(p.c.fd);
}

/* The option that waits for the engine has an answer; the one behind it was never read. */
static void test_a_server_that_stops_tells_an_option(void **state)
{
	static const struct {
		uint32_t option;
		const char *data;
		size_t len;
		uint32_t reply;
	} rows[] = {{1, "a", 1, 0},
		    {3, "", 0, ERR_SHUTDOWN_},
		    {6, "\0\0\0\1a\0\0", 7, ERR_SHUTDOWN_},
		    {7, "\0\0\0\1a\0\0", 7, ERR_SHUTDOWN_},
		    {9, "\0\0\0\1a\0\0\0\0", 9, ERR_SHUTDOWN_}};
	struct peer_fixture *fx = *state;

	make(fx, "a");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct nbd_peer p;

		frame_wait(fx->base, peer_none_left, fx);
		peer_reconfigure(fx);
		p = nbd_peer_greet(fx, 3);
		fake_hold(fx->objs, true);
		nbd_peer_send_opt(&p, rows[i].option, rows[i].data, rows[i].len);
		nbd_peer_send_opt(&p, 8, NULL, 0);
		frame_settle(fx->base);
		conn_set_stop(fx->set);
		fake_hold(fx->objs, false);
		assert_int_equal(nbd_peer_opt_reply(&p, rows[i].option), rows[i].reply);
		assert_int_equal(p.nreplies, 0);
		assert_closed(fx, &p);
		assert_int_equal(fake_open_handles(fx->objs), 0);
	}
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void test_list_has_objects_and_versions(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	assert_int_equal(nbd_peer_opt(&p, 3, NULL, 0), ACK);
	assert_int_equal(p.nreplies, 0);
	make(fx, "a");
	make(fx, "b/c");
	make(fx, "nbd-clone/7-1");
	snap(fx, "b/c@v1");
	snap(fx, "b/c@v2");
	assert_int_equal(nbd_peer_opt(&p, 3, NULL, 0), ACK);
	assert_string_equal(p.names, "a\nb/c\nb/c@v1\nb/c@v2\n");
	close(p.c.fd);
}

static void test_list_comes_in_pages(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);
	char name[32];

	for (int i = 0; i < 130; i++) {
		snprintf(name, sizeof(name), "o%03d", i);
		make(fx, name);
		snprintf(name, sizeof(name), "o064@v%03d", i);
		if (i >= 64)
			snap(fx, name);
	}
	snap(fx, "o129@v");
	assert_int_equal(nbd_peer_opt(&p, 3, NULL, 0), ACK);
	assert_int_equal(p.nreplies, 130 + 66 + 1);
	assert_non_null(strstr(p.names, "o000\n"));
	assert_non_null(strstr(p.names, "o064@v064\n"));
	assert_non_null(strstr(p.names, "o064@v129\n"));
	assert_non_null(strstr(p.names, "o129@v\n"));
	close(p.c.fd);
}

static void test_contexts_that_there_are(void **state)
{
	static const char *const wild[] = {"base:", "cowd:", "qemu:", "x-mine:", "base:nothing"};
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);

	make(fx, "a");
	snap(fx, "a@v");
	assert_int_equal(nbd_peer_meta(&p, 9, "b", 0, NULL), ERR_UNKNOWN_);
	assert_int_equal(nbd_peer_meta(&p, 9, "a", 0, NULL), ACK);
	assert_string_equal(p.names, "base:allocation\ncowd:shared\nqemu:dirty-bitmap:v\n");
	assert_int_equal(nbd_peer_meta(&p, 9, "a", 5, wild), ACK);
	assert_string_equal(p.names, "base:allocation\ncowd:shared\nqemu:dirty-bitmap:v\n");
	assert_int_equal(nbd_peer_meta(&p, 9, "a@v", 1, wild), ACK);
	assert_string_equal(p.names, "base:allocation\n");
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 5, wild), ACK); /* a wildcard selects nothing */
	assert_int_equal(p.nreplies, 0);
	close(p.c.fd);
}

static void test_contexts_that_are_set(void **state)
{
	static const char *const queries[] = {"qemu:dirty-bitmap:v", "base:allocation",
					      "qemu:dirty-bitmap:w", "qemu:dirty-bitmap:v",
					      "base:allocation"};
	const char *many[65];
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);
	char names[20][32];

	make(fx, "a");
	snap(fx, "a@v");
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 5, queries), ACK);
	assert_string_equal(p.names, "qemu:dirty-bitmap:v\nbase:allocation\n");
	for (int i = 0; i < 65; i++)
		many[i] = "x:y";
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 65, many), ERR_BIG_);
	for (int i = 0; i < 17; i++) {
		snprintf(names[i], sizeof(names[i]), "a@w%d", i);
		snap(fx, names[i]);
		snprintf(names[i], sizeof(names[i]), "qemu:dirty-bitmap:w%d", i);
		many[i] = names[i];
	}
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 16, many), ACK);
	assert_int_equal(p.nreplies, 16);
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 17, many), ERR_BIG_);
	close(p.c.fd);
}

/* The one that failed has noted a context before it did, and the one before was for the same export. */
static void test_contexts_of_a_set_that_failed_are_not_used(void **state)
{
	static const char *const queries[] = {"base:allocation"};
	static const char set[] = "\0\0\0\1a\0\0\0\2\0\0\0\x0f"
				  "base:allocation\0\0\0\x13"
				  "qemu:dirty-bitmap:v";
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct nbd_peer p;

	make(fx, "a");
	snap(fx, "a@v");
	p = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_opt(&p, 11, NULL, 0), ACK);
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 1, queries), ACK);
	assert_int_equal(p.nreplies, 1);
	fake_hold(fx->objs, true);
	nbd_peer_send_opt(&p, 10, set, sizeof(set) - 1);
	frame_settle(fx->base);
	assert_int_equal(fake_held(fx->objs), 1); /* INFO of the export */
	fake_fail_next(fx->objs, -ERR_CSUM);	  /* and of the version */
	fake_hold(fx->objs, false);
	assert_int_equal(nbd_peer_opt_reply(&p, 10), ERR_UNKNOWN_);
	assert_int_equal(p.nreplies, 1);
	assert_int_equal(nbd_peer_go(&p, 7, "a"), ACK);
	assert_int_equal(p.flags & 0x1000, 0); /* no BLOCK_STATUS with a payload */
	assert_int_equal(nbd_peer_call(&p, &a, 7, 0, 0, 4096, NULL), 22);
	close(p.c.fd);
}

/* ---- ends anywhere --------------------------------------------------------------------------- */

/* A whole exchange, as bytes. */
static size_t script(uint8_t *buf)
{
	static const struct {
		const char *bytes;
		size_t len;
	} parts[] = {
#define PART(s) {s, sizeof(s) - 1}
	    PART("\0\0\0\3"),
	    PART("IHAVEOPT\0\0\0\3\0\0\0\0"),
	    PART("IHAVEOPT\0\0\0\x08\0\0\0\0"),
	    PART("IHAVEOPT\0\0\0\x0a\0\0\0\x1c\0\0\0\1a\0\0\0\1\0\0\0\x0f"
		 "base:allocation"),
	    PART("IHAVEOPT\0\0\0\6\0\0\0\x09\0\0\0\1a\0\1\0\3"),
	    PART("IHAVEOPT\0\0\0\7\0\0\0\x09\0\0\0\1a\0\1\0\3"),
	    PART("\x25\x60\x95\x13\0\1\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\5\0\0\0\3"
		 "abc"),
	    PART("\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\x10\0"),
	    PART("\x25\x60\x95\x13\0\0\0\7\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\x10\0"),
	    PART("\x25\x60\x95\x13\0\2\0\6\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\0\0\0\x10\0"),
	    PART("\x25\x60\x95\x13\0\0\0\3\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\0\0\0\0\0"),
	    PART("\x25\x60\x95\x13\0\0\0\2\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\0"),
#undef PART
	};
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		memcpy(buf + len, parts[i].bytes, parts[i].len);
		len += parts[i].len;
	}
	return len;
}

/* Sends it, reads whatever comes, and goes; nothing is left. */
static void play(struct peer_fixture *fx, const uint8_t *buf, size_t len)
{
	struct nbd_peer p = nbd_peer_dial(fx);
	uint8_t byte;

	(void)frame_send_raw(&p.c, buf, len);
	shutdown(p.c.fd, SHUT_WR);
	while (frame_recv_raw(&p.c, &byte, 1))
		;
	close(p.c.fd);
	frame_wait(fx->base, peer_none_left, fx);
	assert_int_equal(fake_open_handles(fx->objs), 0);
}

static void test_a_stream_may_be_cut_at_every_byte(void **state)
{
	struct peer_fixture *fx = *state;
	uint8_t buf[1024];
	size_t len = script(buf);

	make(fx, "a");
	for (size_t n = 0; n <= len; n++)
		play(fx, buf, n);
}

static void test_every_byte_may_be_another(void **state)
{
	static const uint8_t changes[] = {0x01, 0x80, 0xff};
	struct peer_fixture *fx = *state;
	uint8_t buf[1024];
	size_t len = script(buf);

	make(fx, "a");
	for (size_t i = 0; i < len; i++) {
		for (size_t c = 0; c < ARRAY_LEN(changes); c++) {
			buf[i] ^= changes[c];
			play(fx, buf, len);
			buf[i] ^= changes[c];
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_unknown_client_flags_end_it),
	    TEST(test_bad_magic_of_an_option_ends_it),
	    TEST(test_options_that_are_refused_leave_the_next),
	    TEST(test_data_of_options_is_bounded),
	    TEST(test_the_number_of_options_is_bounded),
	    TEST(test_who_is_not_fixed_has_export_name_alone),
	    TEST(test_handshake_deadline),
	    TEST(test_tls_that_is_required_comes_first),
	    TEST(test_info_tells_and_opens_nothing),
	    TEST(test_exports_that_there_are_not),
	    TEST(test_export_name_with_and_without_zeroes),
	    TEST(test_export_name_has_no_other_answer_than_the_end),
	    TEST(test_extended_headers_are_not_given_up),
	    TEST(test_an_error_of_the_engine_is_told),
	    TEST(test_a_server_that_stops_tells_an_option),
	    TEST(test_list_has_objects_and_versions),
	    TEST(test_list_comes_in_pages),
	    TEST(test_contexts_that_there_are),
	    TEST(test_contexts_that_are_set),
	    TEST(test_contexts_of_a_set_that_failed_are_not_used),
	    TEST(test_a_stream_may_be_cut_at_every_byte),
	    TEST(test_every_byte_may_be_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
