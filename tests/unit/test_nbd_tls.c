/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_nbd_tls.c: STARTTLS of NBD, and what is left of what came before it.
 */
#include "server/nbd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/stream.h"
#include "common/tls.h"
#include "tests/lib/certs.h"
#include "tests/lib/nbd_peer.h"

static char *dir;
static struct tls *server_tls;
static struct tls *client_tls;

static int group_setup(void **state)
{
	struct tls_server_files server = {0};
	struct tls_client_files client = {.host = "localhost"};
	char text[TLS_TEXT_MAX];

	(void)state;
	dir = certs_dir();
	server.certificates = client.certificates = dir;
	assert_int_equal(tls_server_new(&server, &server_tls, text), 0);
	assert_int_equal(tls_client_new(&client, &client_tls, text), 0);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	tls_put(server_tls);
	tls_put(client_tls);
	certs_remove(dir);
	return 0;
}

/* A connection with an object "a" to be had, by a server with these rules. */
static struct nbd_peer begin(struct peer_fixture *fx, const struct nbd_config *config)
{
	struct frame_client c = peer_connect(fx);

	(void)peer_make(fx, &c, "a", 65536);
	close(c.fd);
	frame_wait(fx->base, peer_none_left, fx);
	fx->config.nbd = config;
	peer_reconfigure(fx);
	conn_set_use_tls(fx->set, server_tls);
	return nbd_peer_greet(fx, 3);
}

/* ---- a client by TLS ------------------------------------------------------------------------- */

struct shaking {
	struct stream *s;
	int result;
};

static bool shake(void *ctx)
{
	struct shaking *sh = ctx;

	sh->result = stream_handshake(sh->s);
	return sh->result != STREAM_AGAIN;
}

static void shake_all(struct peer_fixture *fx, struct stream *s)
{
	struct shaking sh = {.s = s};

	frame_wait(fx->base, shake, &sh);
	assert_int_equal(sh.result, 0);
}

static struct stream secure(struct peer_fixture *fx, struct nbd_peer *p)
{
	struct stream s;

	stream_open(&s, p->c.fd);
	assert_int_equal(stream_start_tls(&s, client_tls), 0);
	shake_all(fx, &s);
	return s;
}

static void put(struct stream *s, const void *data, size_t len)
{
	const struct iovec iov = {(void *)(uintptr_t)data, len};

	assert_int_equal(stream_writev(s, &iov, 1), len);
}

struct getting {
	struct stream *s;
	uint8_t *data;
	size_t len;
};

static bool get_some(void *ctx)
{
	struct getting *g = ctx;
	const struct iovec iov = {g->data, g->len};
	ssize_t n = g->len > 0 ? stream_readv(g->s, &iov, 1) : 0;

	assert_true(n > 0 || g->len == 0 || (n < 0 && errno == EAGAIN));
	g->data += n > 0 ? n : 0;
	g->len -= n > 0 ? (size_t)n : 0;
	return g->len == 0;
}

static void get(struct peer_fixture *fx, struct stream *s, void *data, size_t len)
{
	frame_wait(fx->base, get_some, &(struct getting){.s = s, .data = data, .len = len});
}

/* An option, and its reply, which has this many bytes of data. */
static uint32_t option(struct peer_fixture *fx, struct stream *s, uint32_t number, const void *data,
		       size_t len)
{
	uint8_t head[20] = "IHAVEOPT";
	uint8_t text[4096];

	nbd_put(head + 8, 4, number);
	nbd_put(head + 12, 4, len);
	put(s, head, 16);
	if (len > 0)
		put(s, data, len);
	get(fx, s, head, sizeof(head));
	assert_int_equal(nbd_get(head + 8, 4), number);
	assert_true(nbd_get(head + 16, 4) <= sizeof(text));
	get(fx, s, text, nbd_get(head + 16, 4));
	if (nbd_get(head + 12, 4) != INFO)
		return (uint32_t)nbd_get(head + 12, 4);
	get(fx, s, head, sizeof(head)); /* the ACK behind it */
	assert_int_equal(nbd_get(head + 12, 4), ACK);
	return (uint32_t)nbd_get(text + 10, 2); /* transmission flags */
}

/* ---- tests ----------------------------------------------------------------------------------- */

static const struct nbd_config on = {.tls = NBD_TLS_ON};
static const struct nbd_config require = {.tls = NBD_TLS_REQUIRE};
static const struct nbd_config off = {.tls = NBD_TLS_OFF};

#define GO_A "\0\0\0\1a\0\0"

static void test_what_was_agreed_on_before_is_forgotten(void **state)
{
	static const char *const base[] = {"base:allocation"};
	struct peer_fixture *fx = *state;
	struct nbd_peer p = begin(fx, &on);
	struct stream s;

	assert_int_equal(nbd_peer_opt(&p, 11, NULL, 0), ACK);
	assert_int_equal(nbd_peer_meta(&p, 10, "a", 1, base), ACK);
	assert_int_equal(nbd_peer_opt(&p, 5, NULL, 0), ACK);
	s = secure(fx, &p);
	assert_int_equal(option(fx, &s, 5, NULL, 0), ERR_INVALID_);
	assert_int_equal(option(fx, &s, 10, "\0\0\0\1a\0\0\0\0", 9), ERR_INVALID_);
	/* neither DF nor payloads of BLOCK_STATUS */
	assert_int_equal(option(fx, &s, 6, GO_A, 7), 0xf6d);
	assert_int_equal(option(fx, &s, 8, NULL, 0), ACK);
	stream_close(&s);
}

static void test_what_was_sent_before_is_forgotten(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = begin(fx, &on);
	struct stream s;

	/* structured replies, by somebody in between, behind the option */
	assert_true(frame_send_raw(&p.c, "IHAVEOPT\0\0\0\5\0\0\0\0IHAVEOPT\0\0\0\x08\0\0\0\0", 32));
	assert_int_equal(nbd_peer_opt_reply(&p, 5), ACK);
	s = secure(fx, &p);
	assert_int_equal(option(fx, &s, 6, GO_A, 7), 0xf6d);
	stream_close(&s);
}

static void test_commands_by_tls(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = begin(fx, &require);
	uint8_t cmd[28] = {0x25, 0x60, 0x95, 0x13};
	uint8_t reply[16 + 5000];
	uint8_t *data = peer_pattern(5000, 3);
	struct stream s;

	assert_int_equal(nbd_peer_go(&p, 7, "a"), ERR_TLS_);
	assert_int_equal(nbd_peer_opt(&p, 5, NULL, 0), ACK);
	s = secure(fx, &p);
	assert_int_equal(option(fx, &s, 7, GO_A, 7), 0xf6d);
	nbd_put(cmd + 16, 8, 100);
	nbd_put(cmd + 24, 4, 5000);
	cmd[7] = 1;
	put(&s, cmd, sizeof(cmd));
	put(&s, data, 5000);
	get(fx, &s, reply, 16);
	assert_int_equal(nbd_get(reply + 4, 4), 0);
	cmd[7] = 0;
	put(&s, cmd, sizeof(cmd));
	get(fx, &s, reply, sizeof(reply));
	assert_memory_equal(reply + 16, data, 5000);
	free(data);
	stream_close(&s);
}

static void test_tls_that_is_off(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = begin(fx, &off);

	assert_int_equal(nbd_peer_opt(&p, 5, NULL, 0), ERR_POLICY_);
	assert_int_equal(nbd_peer_go(&p, 7, "a"), ACK);
	close(p.c.fd);
}

static void test_no_handshake_behind_starttls(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = begin(fx, &on);
	uint8_t byte;

	assert_int_equal(nbd_peer_opt(&p, 5, NULL, 0), ACK);
	nbd_peer_send_opt(&p, 3, NULL, 0);
	assert_false(frame_recv_raw(&p.c, &byte, 1));
	close(p.c.fd);
	frame_wait(fx->base, peer_none_left, fx);
}

/*
 * The handshake of a client that does not wait for what its options come to is not read with them, and
 * is there before they are answered.
 */
static void test_a_handshake_that_is_early(void **state)
{
	struct peer_fixture *fx = *state;
	struct nbd_peer p = begin(fx, &on);
	uint8_t bytes[8192 + 4096] = "IHAVEOPT\0\0\0\x63"; /* no such option, and STARTTLS */
	struct stream s;
	ssize_t n;
	int fds[2];

	frame_settle(fx->base); /* the flags are taken: what follows is read in pieces of 8 KiB */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	stream_open(&s, fds[0]);
	assert_int_equal(stream_start_tls(&s, client_tls), 0);
	assert_int_equal(stream_handshake(&s), STREAM_AGAIN);
	nbd_put(bytes + 12, 4, 8192 - 32);
	memcpy(bytes + 8192 - 16, "IHAVEOPT\0\0\0\5\0\0\0\0", 16);
	n = recv(fds[1], bytes + 8192, sizeof(bytes) - 8192, 0);
	assert_true(n > 0);
	assert_int_equal(send(p.c.fd, bytes, 8192 + (size_t)n, 0), 8192 + n);
	assert_int_equal(nbd_peer_opt_reply(&p, 0x63), ERR_UNSUP_);
	assert_int_equal(nbd_peer_opt_reply(&p, 5), ACK);
	assert_int_equal(dup2(p.c.fd, fds[0]), fds[0]); /* it goes on where it is answered */
	shake_all(fx, &s);
	assert_int_equal(option(fx, &s, 6, GO_A, 7), 0xf6d);
	stream_close(&s);
	close(p.c.fd);
	close(fds[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peer_setup, peer_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_what_was_agreed_on_before_is_forgotten),
	    TEST(test_what_was_sent_before_is_forgotten),
	    TEST(test_commands_by_tls),
	    TEST(test_tls_that_is_off),
	    TEST(test_no_handshake_behind_starttls),
	    TEST(test_a_handshake_that_is_early),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
