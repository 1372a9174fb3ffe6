/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_nbd_cmds.c: the commands of NBD, with replies of all three kinds, right and wrong.
 */
#include "server/nbd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/nbd_peer.h"

#define SIZE (1u << 20)

enum { READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS, RESIZE };
enum { FUA = 1, NO_HOLE = 2, DF = 4, REQ_ONE = 8, FAST = 16, PAYLOAD = 32 };
enum { PERM = 1, IO = 5, INVAL = 22, NOSPC = 28, OVERFLOW_ = 75, NOTSUP = 95 };

static void make(struct peer_fixture *fx, const char *name)
{
	struct frame_client c = peer_connect(fx);

	(void)peer_make(fx, &c, name, SIZE);
	close(c.fd);
}

static void other_client_resizes(struct peer_fixture *fx, const char *name, uint64_t size)
{
	struct frame_client c = peer_connect(fx);
	uint32_t h = peer_open(fx, &c, name, 0);

	assert_int_equal(CALL(fx, &c, WIRE_OP_RESIZE, msg_resize, .handle = h,
			      .flags = MSG_RESIZE_SHRINK, .size_bytes = size),
			 0);
	close(c.fd);
}

static uint32_t call(struct nbd_peer *p, uint16_t type, uint16_t flags, uint64_t offset,
		     uint64_t len)
{
	static uint8_t zeros[SIZE];
	static uint8_t room[SIZE];
	struct nbd_answer a = {.data = room};

	return nbd_peer_call(p, &a, type, flags, offset, len,
			     type == WRITE && len <= SIZE ? zeros : NULL);
}

static void write_data(struct nbd_peer *p, uint64_t offset, size_t len, uint8_t seed)
{
	uint8_t *data = peer_pattern(len, seed);
	struct nbd_answer a = {0};

	assert_int_equal(nbd_peer_call(p, &a, WRITE, 0, offset, len, data), 0);
	free(data);
}

/* Reads what was written so, and gives what the reply was like. */
static struct nbd_answer assert_reads(struct nbd_peer *p, uint16_t flags, uint64_t offset,
				      size_t len, uint8_t seed)
{
	uint8_t *want = peer_pattern(len, seed);
	struct nbd_answer a = {.data = malloc(len)};

	assert_non_null(a.data);
	assert_int_equal(nbd_peer_call(p, &a, READ, flags, offset, len, NULL), 0);
	assert_int_equal(a.have, len);
	assert_memory_equal(a.data, want, len);
	free(a.data);
	free(want);
	return a;
}

/* ---- data ------------------------------------------------------------------------------------ */

static void test_data_of_every_shape(void **state)
{
	static const struct {
		uint64_t offset;
		size_t len;
	} shapes[] = {{0, 1},	      {4095, 2},   {1, 4095},	  {4096, 4096}, {100, 8040},
		      {12288, 65536}, {7, 300000}, {SIZE - 1, 1}, {0, SIZE},	{3, SIZE - 3}};
	struct peer_fixture *fx = *state;

	make(fx, "a");
	for (int how = 0; how < 3; how++) {
		struct nbd_peer p = nbd_peer_connect(fx, "a", how);

		for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
			write_data(&p, shapes[i].offset, shapes[i].len, (uint8_t)(i + 3));
			(void)assert_reads(&p, 0, shapes[i].offset, shapes[i].len,
					   (uint8_t)(i + 3));
		}
		close(p.c.fd);
	}
}

static void test_holes_come_as_such(void **state)
{
	static uint8_t room[SIZE];
	static const uint8_t zeros[SIZE];
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {.data = room};

	make(fx, "a");
	fake_set_holes(fx->objs);
	for (int how = 1; how < 3; how++) {
		struct nbd_peer p = nbd_peer_connect(fx, "a", how);

		assert_int_equal(call(&p, ZEROES, 0, 0, SIZE), 0);
		memset(room, 0xa5, sizeof(room));
		assert_int_equal(nbd_peer_call(&p, &a, READ, 0, 100, SIZE - 100, NULL), 0);
		assert_int_equal(a.nholes, 1);
		assert_int_equal(a.nchunks, 1);
		assert_memory_equal(room, zeros, SIZE - 100);
		/* a hole that is short is data, and one behind data another chunk */
		write_data(&p, 8192, 4096, 1);
		write_data(&p, 20480, 4096, 1);
		assert_int_equal(nbd_peer_call(&p, &a, READ, 0, 4096, SIZE - 4096, NULL), 0);
		assert_int_equal(a.have, SIZE - 4096);
		assert_int_equal(a.nchunks, 2);
		assert_int_equal(a.nholes, 1);
		assert_memory_equal(room + 8192, zeros, 8192);
		close(p.c.fd);
	}
}

static void test_df_gets_one_chunk(void **state)
{
	static uint8_t room[SIZE];
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {.data = room};

	make(fx, "a");
	fake_set_holes(fx->objs);
	for (int how = 1; how < 3; how++) {
		struct nbd_peer p = nbd_peer_connect(fx, "a", how);

		write_data(&p, 8192, 4096, 1);
		assert_int_equal(nbd_peer_call(&p, &a, READ, DF, 0, SIZE, NULL), 0);
		assert_int_equal(a.nchunks, 1);
		assert_int_equal(a.nholes, 0);
		assert_int_equal(a.have, SIZE);
		close(p.c.fd);
	}
}

static void test_nothing_is_asked_for(void **state)
{
	struct peer_fixture *fx = *state;

	make(fx, "a");
	for (int how = 0; how < 3; how++) {
		struct nbd_peer p = nbd_peer_connect(fx, "a", how);

		for (uint16_t type = READ; type < STATUS; type++)
			if (type != DISC)
				assert_int_equal(call(&p, type, 0, type == FLUSH ? 0 : SIZE, 0), 0);
		(void)assert_reads(&p, 0, 0, 0, 0);
		close(p.c.fd);
	}
}

static void test_zeros_with_and_without_a_hole(void **state)
{
	static const uint16_t flags[] = {0, NO_HOLE, FAST, NO_HOLE | FUA, FUA};
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 1);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		static uint8_t room[SIZE];
		static uint8_t want[SIZE];
		struct nbd_answer a = {.data = room};
		uint8_t *data = peer_pattern(SIZE, 7);

		write_data(&p, 0, SIZE, 7);
		assert_int_equal(call(&p, ZEROES, flags[i], 1000, 500001), 0);
		assert_int_equal(nbd_peer_call(&p, &a, READ, 0, 0, SIZE, NULL), 0);
		memcpy(want, data, SIZE);
		memset(want + 1000, 0, 500001);
		assert_memory_equal(room, want, SIZE);
		free(data);
	}
	write_data(&p, 0, 3 * 4096, 7);
	assert_int_equal(call(&p, TRIM, 0, 100, 3 * 4096 - 200), 0);
	(void)assert_reads(&p, 0, 0, 4096, 7); /* of a block a part is not trimmed */
	close(p.c.fd);
}

static void test_cache_reads_and_sends_nothing(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 0);
	assert_int_equal(call(&p, CACHE, FUA, 3, SIZE - 3), 0);
	fake_fail_next(fx->objs, -ERR_CSUM);
	assert_int_equal(call(&p, CACHE, 0, 0, SIZE), IO);
	close(p.c.fd);
}

/* ---- durability ------------------------------------------------------------------------------ */

static void test_a_flush_is_answered_when_it_is_done(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct nbd_peer p;
	uint8_t byte;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 0);
	fake_fail_next(fx->objs, -ERR_WRITEBACK);
	assert_int_equal(call(&p, FLUSH, 0, 0, 0), IO);
	fake_hold(fx->objs, true);
	nbd_peer_send(&p, FLUSH, 0, 0, 0, NULL, 0);
	frame_settle(fx->base);
	assert_int_equal(fake_held(fx->objs), 1);
	assert_int_equal(recv(p.c.fd, &byte, 1, MSG_DONTWAIT), -1);
	fake_hold(fx->objs, false);
	assert_true(nbd_peer_recv(&p, &a, 0));
	assert_int_equal(a.error, 0);
	close(p.c.fd);
}

/* The write succeeds, and what makes it durable does not. */
static void test_fua_is_durable_when_answered(void **state)
{
	static const uint16_t types[] = {WRITE, ZEROES, TRIM, ZEROES};
	static const uint16_t flags[] = {FUA, FUA, FUA, FUA | NO_HOLE};
	struct peer_fixture *fx = *state;
	uint8_t data[8192] = {1};

	make(fx, "a");
	for (int how = 0; how < 3; how++) {
		struct nbd_peer p = nbd_peer_connect(fx, "a", how);

		for (size_t i = 0; i < ARRAY_LEN(types); i++) {
			size_t len = types[i] == WRITE ? sizeof(data) : 0;
			struct nbd_answer a = {0};

			fake_hold(fx->objs, true);
			nbd_peer_send(&p, types[i], flags[i], 0, sizeof(data), data, len);
			frame_settle(fx->base);
			assert_int_equal(fake_held(fx->objs), 1);
			fake_fail_next(fx->objs, -ERR_WRITEBACK);
			fake_hold(fx->objs, false);
			assert_true(nbd_peer_recv(&p, &a, 0));
			assert_int_equal(a.error, IO);
			assert_int_equal(call(&p, types[i], flags[i], 0, sizeof(data)), 0);
		}
		close(p.c.fd);
	}
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void test_commands_that_are_refused_leave_the_next(void **state)
{
	static const struct {
		uint16_t type;
		uint16_t flags;
		uint64_t offset;
		uint64_t len;
		uint32_t error;
	} rows[] = {
	    {READ, 0, SIZE - 5, 6, INVAL},
	    {READ, 0, SIZE + 1, 0, INVAL},
	    {READ, 0, UINT64_MAX, 2, INVAL},
	    {READ, 0, UINT64_MAX - 1, 0xffffffff, INVAL},
	    {WRITE, 0, SIZE - 5, 6, NOSPC},
	    {WRITE, 0, UINT64_MAX, 2, NOSPC},
	    {WRITE, 0, SIZE, 65536, NOSPC},
	    {TRIM, 0, SIZE - 5, 6, INVAL},
	    {ZEROES, 0, SIZE - 5, 6, NOSPC},
	    {ZEROES, 0, UINT64_MAX, 0xffffffff, NOSPC},
	    {CACHE, 0, SIZE, 1, INVAL},
	    {FLUSH, 0, 1, 0, INVAL},
	    {FLUSH, 0, 0, 1, INVAL},
	    {STATUS, 0, 0, 4096, INVAL},
	    {9, 0, 0, 0, INVAL},
	    {RESIZE, 0, SIZE, 1, INVAL},
	    {RESIZE, 0, UINT64_MAX, 0, NOSPC},
	    {RESIZE, NO_HOLE, SIZE, 0, INVAL},
	    {0xffff, 0, 0, 5, INVAL},
	    {READ, NO_HOLE, 0, 1, INVAL},
	    {READ, REQ_ONE, 0, 1, INVAL},
	    {READ, 0x8000, 0, 1, INVAL},
	    {WRITE, DF, 0, 5000, INVAL},
	    {WRITE, FAST, 0, 1, INVAL},
	    {TRIM, NO_HOLE, 0, 1, INVAL},
	    {CACHE, DF, 0, 1, INVAL},
	    {ZEROES, REQ_ONE, 0, 1, INVAL},
	    {ZEROES, NO_HOLE | FAST, 0, 1, NOTSUP},
	    {FLUSH, DF, 0, 0, INVAL},
	};
	struct peer_fixture *fx = *state;

	make(fx, "a");
	for (int how = 0; how < 3; how++) {
		struct nbd_peer p = nbd_peer_connect(fx, "a", how);

		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			assert_int_equal(
			    call(&p, rows[i].type, rows[i].flags, rows[i].offset, rows[i].len),
			    rows[i].error);
		assert_int_equal(call(&p, READ, DF, 0, 1), how == 0 ? INVAL : 0);
		assert_int_equal(call(&p, FLUSH, FUA, 0, 0), 0);
		close(p.c.fd);
	}
}

static void test_errors_have_words_where_there_are_chunks(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 2);
	assert_int_equal(nbd_peer_call(&p, &a, TRIM, 0, SIZE, 1, NULL), INVAL);
	assert_string_equal(a.text, "beyond the end of the export");
	fake_fail_next(fx->objs, -ERR_NOSPC);
	assert_int_equal(nbd_peer_call(&p, &a, WRITE, 0, 0, 1, "x"), NOSPC);
	assert_string_equal(a.text, "no space left in the store: a");
	close(p.c.fd);
}

static void test_a_version_is_not_written(void **state)
{
	static const uint16_t types[] = {WRITE, TRIM, ZEROES, RESIZE};
	struct peer_fixture *fx = *state;
	struct frame_client c;
	struct nbd_peer p;

	make(fx, "a");
	c = peer_connect(fx);
	assert_int_equal(CALL(fx, &c, WIRE_OP_SNAP, msg_snap, .name = "a@v"), 0);
	close(c.fd);
	p = nbd_peer_connect(fx, "a@v", 1);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		assert_int_equal(call(&p, types[i], 0, 0, types[i] == RESIZE ? 0 : 4096), PERM);
	assert_int_equal(call(&p, READ, 0, 0, 4096), 0);
	assert_int_equal(call(&p, FLUSH, 0, 0, 0), 0);
	close(p.c.fd);
}

static void assert_ends(struct peer_fixture *fx, struct nbd_peer *p)
{
	uint8_t byte;

	assert_false(frame_recv_raw(&p->c, &byte, 1));
	close(p->c.fd);
	frame_wait(fx->base, peer_none_left, fx);
	assert_int_equal(fake_open_handles(fx->objs), 0);
}

static void test_payloads_that_are_too_large_end_it(void **state)
{
	struct peer_fixture *fx = *state;

	make(fx, "a");
	for (int how = 0; how < 3; how++) {
		struct nbd_peer p = nbd_peer_connect(fx, "a", how);

		assert_int_equal(call(&p, READ, 0, 0, (32u << 20) + 1), INVAL);
		nbd_peer_send(&p, WRITE, 0, 0, (32u << 20) + 1, NULL, 0);
		assert_ends(fx, &p);
	}
}

static void test_bad_magic_ends_it(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 1);
	p.extended = true; /* and it has not agreed to that */
	nbd_peer_send(&p, READ, 0, 0, 1, NULL, 0);
	assert_ends(fx, &p);
}

/* ---- many at once ---------------------------------------------------------------------------- */

static void test_replies_have_the_cookies_of_their_requests(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	uint64_t cookies[8];
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 0);
	fake_hold(fx->objs, true);
	for (uint64_t i = 0; i < 8; i++) {
		cookies[i] = nbd_peer_send(&p, WRITE, 0, 0, 1, "x", 1);
		p.cookie -= i % 2; /* one that is in flight is the client's affair */
	}
	frame_settle(fx->base);
	assert_int_equal(fake_held(fx->objs), 8);
	fake_hold(fx->objs, false);
	for (uint64_t i = 0; i < 8; i++) {
		assert_true(nbd_peer_recv(&p, &a, 0));
		assert_int_equal(a.cookie, cookies[i]);
	}
	close(p.c.fd);
}

static void test_what_is_in_flight_is_bounded(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 0);
	fake_hold(fx->objs, true);
	for (int i = 0; i < 300; i++)
		nbd_peer_send(&p, WRITE, i % 2 ? FUA : 0, 0, 1, "x", 1);
	frame_settle(fx->base);
	assert_int_equal(fake_held(fx->objs), WIRE_INFLIGHT_MAX);
	fake_hold(fx->objs, false);
	for (uint64_t i = 0; i < 300; i++)
		assert_true(nbd_peer_recv(&p, &a, 0));
	close(p.c.fd);
}

static void test_disc_waits_for_what_is_in_flight(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	for (uint16_t flags = 0; flags <= NO_HOLE; flags += NO_HOLE) { /* of one piece, of many */
		struct nbd_answer a = {0};

		p = nbd_peer_connect(fx, "a", 0);
		fake_hold(fx->objs, true);
		nbd_peer_send(&p, ZEROES, FUA | flags, 0, SIZE, NULL, 0);
		nbd_peer_send(&p, DISC, 0, 0, 0, NULL, 0);
		frame_settle(fx->base);
		assert_int_equal(fake_held(fx->objs), 1);
		fake_hold(fx->objs, false);
		assert_true(nbd_peer_recv(&p, &a, 0));
		assert_int_equal(a.error, 0);
		assert_ends(fx, &p);
	}
}

static void test_a_stop_answers_what_is_in_flight(void **state)
{
	static const uint16_t flags[] = {FUA, NO_HOLE};
	static const uint32_t errors[] = {0, 108};
	struct peer_fixture *fx = *state;

	make(fx, "a");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		struct nbd_answer a = {0};
		struct nbd_peer p = nbd_peer_connect(fx, "a", 1);

		fake_hold(fx->objs, true);
		nbd_peer_send(&p, ZEROES, flags[i], 0, SIZE, NULL, 0);
		frame_settle(fx->base);
		conn_set_stop(fx->set);
		fake_hold(fx->objs, false);
		assert_true(nbd_peer_recv(&p, &a, 0));
		assert_int_equal(a.error, errors[i]);
		assert_ends(fx, &p);
		peer_reconfigure(fx);
	}
}

static void test_a_stop_answers_what_waits_for_its_turn(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 1);
	fake_hold(fx->objs, true);
	nbd_peer_send(&p, ZEROES, NO_HOLE, 0, SIZE, NULL, 0);
	frame_settle(fx->base);
	fake_hold(fx->objs, false);
	conn_set_stop(fx->set);
	assert_true(nbd_peer_recv(&p, &a, 0));
	assert_int_equal(a.error, 108);
	assert_ends(fx, &p);
}

/* ---- sizes that change ----------------------------------------------------------------------- */

static void test_the_size_is_that_of_the_handshake(void **state)
{
	static uint8_t room[SIZE];
	static const uint8_t zeros[SIZE];
	struct peer_fixture *fx = *state;

	for (int how = 0; how < 3; how++) {
		struct nbd_answer a = {.data = room};
		char name[] = {(char)('a' + how), '\0'};
		struct nbd_peer p;

		make(fx, name);
		p = nbd_peer_connect(fx, name, how);
		write_data(&p, 0, SIZE, 1);
		other_client_resizes(fx, name, 2 * SIZE);
		assert_int_equal(call(&p, READ, 0, SIZE, 1), INVAL);
		assert_int_equal(call(&p, WRITE, 0, SIZE, 1), NOSPC);
		other_client_resizes(fx, name, 5000);
		memset(room, 0xa5, sizeof(room));
		assert_int_equal(nbd_peer_call(&p, &a, READ, 0, 4096, 8192, NULL), 0);
		assert_int_equal(a.have, 8192);
		assert_memory_equal(room + 904, zeros, 8192 - 904);
		memset(room, 0xa5, sizeof(room));
		assert_int_equal(nbd_peer_call(&p, &a, READ, how ? DF : 0, 8192, 5000, NULL), 0);
		assert_memory_equal(room, zeros, 5000);
		assert_int_equal(call(&p, WRITE, 0, 4999, 1), 0);
		assert_int_equal(call(&p, WRITE, 0, 4999, 2), NOSPC);
		assert_int_equal(call(&p, ZEROES, NO_HOLE, 0, SIZE), NOSPC);
		assert_int_equal(call(&p, TRIM, 0, 0, SIZE), 0);
		close(p.c.fd);
	}
}

static void test_a_size_is_asked_for(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p;

	make(fx, "a");
	p = nbd_peer_connect(fx, "a", 1);
	assert_int_equal(p.flags & 0x200, 0x200);
	assert_int_equal(call(&p, RESIZE, FUA, SIZE + 1, 0), 0);
	assert_int_equal(call(&p, WRITE, 0, SIZE, 1), 0);
	assert_int_equal(call(&p, WRITE, 0, SIZE, 2), NOSPC);
	assert_int_equal(call(&p, RESIZE, 0, 4096, 0), 0);
	assert_int_equal(call(&p, WRITE, 0, 4095, 2), NOSPC);
	assert_int_equal(call(&p, READ, 0, 4095, 2), NOSPC); /* as that extension has it */
	assert_int_equal(call(&p, READ, 0, SIZE, 2), INVAL);
	assert_int_equal(call(&p, READ, 0, 4095, 1), 0);
	close(p.c.fd);
}

/* ---- block status ---------------------------------------------------------------------------- */

static const char *const contexts[] = {"base:allocation", "cowd:shared", "qemu:dirty-bitmap:v"};

static struct nbd_peer status_peer(struct peer_fixture *fx, int how, const char *other)
{
	struct frame_client c = peer_connect(fx);
	struct nbd_peer p;

	(void)peer_make(fx, &c, "a", SIZE);
	assert_int_equal(CALL(fx, &c, WIRE_OP_SNAP, msg_snap, .name = "a@v"), 0);
	close(c.fd);
	p = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_opt(&p, how == 1 ? 8 : 11, NULL, 0), ACK);
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 3, contexts), ACK);
	assert_int_equal(p.nreplies, 3);
	assert_int_equal(nbd_peer_go(&p, 7, other), ACK);
	return p;
}

/* The engine of the tests says: all is data, shared but for its end, and differs. */
static void assert_status(struct peer_fixture *fx, int how)
{
	static const uint32_t want[] = {0, 8192, 0, 1, 8189, 1, 3, 0, 2, 8192, 1};
	static const uint32_t shrunk[] = {0, 8192, 3, 1, 8192, 0, 2, 8192, 1};
	struct nbd_peer p = status_peer(fx, how, "a");
	struct nbd_answer a = {0};

	assert_int_equal(nbd_peer_call(&p, &a, STATUS, 0, 4096, 8192, NULL), 0);
	assert_int_equal(a.nchunks, 3);
	assert_int_equal(a.nstatus, ARRAY_LEN(want));
	assert_memory_equal(a.status, want, sizeof(want));
	assert_int_equal(call(&p, STATUS, 0, 0, 0), INVAL);
	assert_int_equal(call(&p, STATUS, 0, SIZE, 1), INVAL);
	assert_int_equal(call(&p, STATUS, DF, 0, 1), INVAL);
	fake_fail_next(fx->objs, -ERR_NODE);
	assert_int_equal(call(&p, STATUS, 0, 0, 4096), IO);
	other_client_resizes(fx, "a", 0);
	assert_int_equal(nbd_peer_call(&p, &a, STATUS, 0, 4096, 8192, NULL), 0);
	assert_memory_equal(a.status, shrunk, sizeof(shrunk));
	close(p.c.fd);
}

static void test_status_in_structured_replies(void **state)
{
	assert_status(*state, 1);
}

static void test_status_in_extended_replies(void **state)
{
	assert_status(*state, 2);
}

static void test_contexts_are_of_the_export_that_was_named(void **state)
{
	struct nbd_peer p = status_peer(*state, 1, "a@v");

	assert_int_equal(call(&p, STATUS, 0, 0, 4096), INVAL);
	close(p.c.fd);
}

static void test_one_extent_is_asked_for(void **state)
{
	static const char *const plain[] = {"base:allocation"};
	struct peer_fixture *fx = *state;
	struct nbd_peer p = nbd_peer_greet(fx, 3);
	struct nbd_answer a = {0};

	make(fx, "a");
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 1, plain), ACK);
	assert_int_equal(nbd_peer_go(&p, 7, "a"), ACK);
	assert_int_equal(nbd_peer_call(&p, &a, STATUS, REQ_ONE, 4096, 512, NULL), 0);
	assert_int_equal(a.nstatus, 3);
	assert_int_equal(a.status[1], 512);
	close(p.c.fd);
}

/* A BLOCK_STATUS with a payload. */
static uint32_t filtered(struct nbd_peer *p, struct nbd_answer *a, const char *payload, size_t len)
{
	*a = (struct nbd_answer){.offset = 4096};
	nbd_peer_send(p, STATUS, PAYLOAD, 4096, len, payload, len);
	assert_true(nbd_peer_recv(p, a, 0));
	return a->error;
}

static void test_a_payload_chooses_the_contexts(void **state)
{
	static const uint32_t want[] = {0, 8192, 0, 2, 8192, 1};
	char longest[100] = {0};
	struct nbd_peer p = status_peer(*state, 2, "a");
	struct nbd_answer a;

	assert_int_equal(p.flags & 0x1000, 0x1000);
	assert_int_equal(filtered(&p, &a, "\0\0\0\0\0\0\x20\0\0\0\0\2\0\0\0\0", 16), 0);
	assert_int_equal(a.nstatus, ARRAY_LEN(want));
	assert_memory_equal(a.status, want, sizeof(want));
	assert_int_equal(filtered(&p, &a, "\0\0\0\0\0\0\x20\0\0\0\0\3", 12), INVAL);
	assert_int_equal(filtered(&p, &a, "\0\0\0\0\0\0\x20\0\0\0\0\1\0\0\0\1", 16), INVAL);
	assert_int_equal(filtered(&p, &a, "\0\0\0\0\0\0\x20\0\0\0\0", 11), INVAL);
	assert_int_equal(filtered(&p, &a, "\xff\0\0\0\0\0\0\0\0\0\0\1", 12), INVAL);
	assert_int_equal(filtered(&p, &a, longest, sizeof(longest)), INVAL);
	a = (struct nbd_answer){0};
	nbd_peer_send(&p, TRIM, PAYLOAD, 0, 5, "12345", 5);
	assert_true(nbd_peer_recv(&p, &a, 0));
	assert_int_equal(a.error, INVAL);
	assert_int_equal(call(&p, FLUSH, 0, 0, 0), 0);
	close(p.c.fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_data_of_every_shape),
	    TEST(test_holes_come_as_such),
	    TEST(test_df_gets_one_chunk),
	    TEST(test_nothing_is_asked_for),
	    TEST(test_zeros_with_and_without_a_hole),
	    TEST(test_cache_reads_and_sends_nothing),
	    TEST(test_a_flush_is_answered_when_it_is_done),
	    TEST(test_fua_is_durable_when_answered),
	    TEST(test_commands_that_are_refused_leave_the_next),
	    TEST(test_errors_have_words_where_there_are_chunks),
	    TEST(test_a_version_is_not_written),
	    TEST(test_payloads_that_are_too_large_end_it),
	    TEST(test_bad_magic_ends_it),
	    TEST(test_replies_have_the_cookies_of_their_requests),
	    TEST(test_what_is_in_flight_is_bounded),
	    TEST(test_disc_waits_for_what_is_in_flight),
	    TEST(test_a_stop_answers_what_is_in_flight),
	    TEST(test_a_stop_answers_what_waits_for_its_turn),
	    TEST(test_the_size_is_that_of_the_handshake),
	    TEST(test_a_size_is_asked_for),
	    TEST(test_status_in_structured_replies),
	    TEST(test_status_in_extended_replies),
	    TEST(test_contexts_are_of_the_export_that_was_named),
	    TEST(test_one_extent_is_asked_for),
	    TEST(test_a_payload_chooses_the_contexts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
