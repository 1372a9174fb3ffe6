/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_nbd_limits.c: what the answers of NBD may hold of the memory that all connections have together.
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

#include "tests/lib/nbd_peer.h"

#define HEAD_BYTES 28u
#define SENT_MAX   (4u << 20) /* far more than sockets and a connection's own share have room for */

enum { READ = 0, TRIM = 4, ZEROES = 6, STATUS = 7, NO_HOLE = 2, REQ_ONE = 8, INVAL = 22 };

/* A client that asks for as much as the budget has and does not read it. */
static struct frame_client use_up(struct peer_fixture *fx)
{
	struct frame_client c;
	uint32_t h;

	fx->config.send_budget_bytes = MIB;
	peer_reconfigure(fx);
	c = peer_connect(fx);
	h = peer_make(fx, &c, "a", 3 * MIB);
	SEND(&c, WIRE_OP_READ, msg_read, .handle = h, .len = 3 * MIB);
	frame_settle(fx->base);
	return c;
}

/* Sends one command again and again until the server takes no more; the bytes that it took. */
static size_t send_until_full(struct nbd_peer *p, const uint8_t head[HEAD_BYTES])
{
	size_t sent = 0;
	ssize_t n = 0;

	while (n >= 0 && sent < SENT_MAX) {
		size_t at = sent % HEAD_BYTES;

		n = send(p->c.fd, head + at, HEAD_BYTES - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			frame_settle(p->c.base);
			n = send(p->c.fd, head + at, HEAD_BYTES - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		}
		sent += n < 0 ? 0 : (size_t)n;
	}
	return sent;
}

/* The command is answered at once, so that its answers are all that there is of it. */
static void assert_waits(struct peer_fixture *fx, uint16_t type, uint64_t offset, uint32_t error)
{
	uint8_t head[HEAD_BYTES] = {0x25, 0x60, 0x95, 0x13};
	struct frame_client deaf = use_up(fx);
	struct nbd_peer p = nbd_peer_connect(fx, "a", 0);
	struct nbd_answer a = {0};
	size_t sent;

	nbd_put(head + 6, 2, type);
	nbd_put(head + 16, 8, offset);
	sent = send_until_full(&p, head);
	assert_true(sent < SENT_MAX);
	close(deaf.fd);
	for (size_t i = 0; i < sent / HEAD_BYTES; i++) {
		assert_true(nbd_peer_recv(&p, &a, 0));
		assert_int_equal(a.error, error);
	}
	close(p.c.fd);
}

static void test_commands_that_are_refused_wait_for_the_budget(void **state)
{
	assert_waits(*state, TRIM, 3 * MIB + 1, INVAL);
}

static void test_commands_of_no_length_wait_for_the_budget(void **state)
{
	assert_waits(*state, TRIM, 0, 0);
}

static void test_reads_of_no_length_wait_for_the_budget(void **state)
{
	assert_waits(*state, READ, 0, 0);
}

#define CONTEXTS 16u

/* A client of an object with as many bitmaps as can be set. */
static struct nbd_peer connect_with_contexts(struct peer_fixture *fx)
{
	struct frame_client c = peer_connect(fx);
	char names[CONTEXTS][32];
	const char *queries[CONTEXTS];
	struct nbd_peer p;

	(void)peer_make(fx, &c, "b", MIB);
	for (unsigned int i = 0; i < CONTEXTS; i++) {
		struct msg_snap m = {.name = "b@v"};
		uint8_t body[2048];

		snprintf(m.name, sizeof(m.name), "b@v%u", i);
		assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_SNAP, body,
					    (size_t)msg_snap_encode(body, sizeof(body), &m), NULL,
					    0),
				 0);
		snprintf(names[i], sizeof(names[i]), "qemu:dirty-bitmap:v%u", i);
		queries[i] = names[i];
	}
	close(c.fd);
	p = nbd_peer_greet(fx, 3);
	assert_int_equal(nbd_peer_opt(&p, 8, NULL, 0), ACK);
	assert_int_equal(nbd_peer_meta(&p, 10, "b", CONTEXTS, queries), ACK);
	assert_int_equal(p.nreplies, CONTEXTS);
	assert_int_equal(nbd_peer_go(&p, 7, "b"), ACK);
	return p;
}

/* Each context once, in order, the last alone ends the reply; one extent of each is asked for. */
static void test_all_contexts_are_in_one_reply(void **state)
{
	struct nbd_peer p = connect_with_contexts(*state);
	struct nbd_answer a = {0};

	assert_int_equal(nbd_peer_call(&p, &a, STATUS, REQ_ONE, 512, 8192, NULL), 0);
	assert_int_equal(a.nchunks, CONTEXTS);
	assert_int_equal(a.nstatus, 3 * CONTEXTS);
	for (unsigned int i = 0; i < CONTEXTS; i++) {
		assert_int_equal(a.status[3 * i], i);
		assert_int_equal(a.status[3 * i + 1], 8192);
	}
	close(p.c.fd);
}

/* Who asks for much and reads nothing has no more of it made than a connection may have. */
static void test_contexts_wait_for_who_reads(void **state)
{
	struct peer_fixture *fx = *state;
	uint8_t head[HEAD_BYTES] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, STATUS};
	struct nbd_peer p = connect_with_contexts(fx);
	struct nbd_answer a = {0};
	size_t sent;

	nbd_put(head + 24, 4, 4096);
	sent = send_until_full(&p, head);
	assert_true(sent < SENT_MAX);
	for (size_t i = 0; i < sent / HEAD_BYTES; i++) {
		assert_true(nbd_peer_recv(&p, &a, 0)); /* parts of others are between its parts */
		assert_int_equal(a.error, 0);
		a.nstatus = 0;
	}
	assert_int_equal(a.nchunks, CONTEXTS * (sent / HEAD_BYTES));
	close(p.c.fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

/* More of them than there may be commands under way: who is between two pieces counts, too. */
static void test_many_that_come_in_pieces(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_answer a = {0};
	struct frame_client c;
	struct nbd_peer p;

	c = peer_connect(fx);
	(void)peer_make(fx, &c, "a", MIB);
	p = nbd_peer_connect(fx, "a", 0);
	for (uint32_t i = 0; i < 2 * WIRE_INFLIGHT_MAX; i++)
		(void)nbd_peer_send(&p, ZEROES, NO_HOLE, 0, MIB, NULL, 0);
	for (uint32_t i = 0; i < 2 * WIRE_INFLIGHT_MAX; i++) {
		assert_true(nbd_peer_recv(&p, &a, 0));
		assert_int_equal(a.error, 0);
	}
	close(p.c.fd);
	close(c.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_commands_that_are_refused_wait_for_the_budget),
	    TEST(test_commands_of_no_length_wait_for_the_budget),
	    TEST(test_reads_of_no_length_wait_for_the_budget),
	    TEST(test_many_that_come_in_pieces),
	    TEST(test_all_contexts_are_in_one_reply),
	    TEST(test_contexts_wait_for_who_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
