/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/tls_hand.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/certs.h"

#define HAND_PATIENCE 200000 /* passes of the loop without a byte */
#define RECORD_HEADER 5u
#define TAG_BYTES     16u
#define FORGED_MAX    17000u /* content, padding and type; more than there may be */

/* ---- credentials ----------------------------------------------------------------------------- */

struct tls_creds tls_creds;

int tls_creds_setup(void **state)
{
	struct tls_server_files server = {0};
	struct tls_client_files client = {.host = "localhost"};
	char text[TLS_TEXT_MAX];
	char psk[128];

	(void)state;
	tls_creds.dir = certs_dir();
	(void)snprintf(psk, sizeof(psk), "%s/keys.psk", tls_creds.dir);
	server.certificates = client.certificates = tls_creds.dir;
	assert_int_equal(tls_server_new(&server, &tls_creds.server[TLS_BY_CERT], text), 0);
	assert_int_equal(tls_client_new(&client, &tls_creds.client[TLS_BY_CERT], text), 0);
	server.certificates = client.certificates = NULL;
	server.psk = client.psk = psk;
	client.identity = "alice";
	assert_int_equal(tls_server_new(&server, &tls_creds.server[TLS_BY_KEY], text), 0);
	assert_int_equal(tls_client_new(&client, &tls_creds.client[TLS_BY_KEY], text), 0);
	return 0;
}

int tls_creds_teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		tls_put(tls_creds.server[i]);
		tls_put(tls_creds.client[i]);
	}
	certs_remove(tls_creds.dir);
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Only a connection by TCP can be reset. */
static void tcp_pair(int fds[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int on = 1;

	assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&addr, len), 0);
	fds[0] = accept(listener, NULL, NULL);
	assert_true(fds[0] >= 0);
	close(listener);
}

static int hand_prepare(struct tls_hand *h, struct peer_fixture *fx, bool tcp)
{
	int fds[2];

	if (tcp)
		tcp_pair(fds);
	else
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	h->fx = fx;
	h->ssl = NULL;
	h->fd = fds[1];
	h->made = h->sent = 0;
	h->ended = false;
	h->forged = 0;
	return fds[0];
}

void tls_hand_open(struct tls_hand *h, struct peer_fixture *fx, const struct conn_proto *proto,
		   bool tcp)
{
	assert_int_equal(conn_new(fx->set, proto, hand_prepare(h, fx, tcp)), 0);
}

void tls_hand_open_tls(struct tls_hand *h, struct peer_fixture *fx, bool tcp, struct tls *client)
{
	assert_int_equal(conn_new_tls(fx->set, &conn_frames, hand_prepare(h, fx, tcp)), 0);
	tls_hand_begin(h, client);
}

/* The secret of what the client sends, out of the line of a log of keys. */
static void note_secret(const SSL *ssl, const char *line)
{
	static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
	struct tls_hand *h = SSL_get_ex_data(ssl, 1);
	const char *hex = strrchr(line, ' ') + 1;
	size_t len;

	if (strncmp(line, label, sizeof(label) - 1) != 0)
		return;
	assert_int_equal(OPENSSL_hexstr2buf_ex(h->secret, TLS_HAND_SECRET, &len, hex, '\0'), 1);
	assert_int_equal(len, TLS_HAND_SECRET); /* of SHA-256 */
}

void tls_hand_begin(struct tls_hand *h, struct tls *client)
{
	BIO *in = BIO_new(BIO_s_mem());
	BIO *out = BIO_new(BIO_s_mem());

	h->ssl = tls_session(client, &h->peer);
	assert_true(h->ssl && in && out);
	SSL_set_bio(h->ssl, in, out);
	assert_int_equal(SSL_set_ex_data(h->ssl, 1, h), 1);
	SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(h->ssl), note_secret);
}

void tls_hand_close(struct tls_hand *h)
{
	SSL_free(h->ssl);
	if (h->fd >= 0)
		close(h->fd);
}

/* ---- moving ---------------------------------------------------------------------------------- */

void tls_hand_pass(struct peer_fixture *fx)
{
	assert_true(event_base_loop(fx->base, EVLOOP_NONBLOCK | EVLOOP_ONCE) >= 0);
}

void tls_hand_settle(struct peer_fixture *fx)
{
	for (int i = 0; i < 8; i++)
		assert_true(event_base_loop(fx->base, EVLOOP_NONBLOCK) >= 0);
}

/* What the library has to send, to what is to be sent. */
static void hand_collect(struct tls_hand *h)
{
	int n;

	while ((n = BIO_read(SSL_get_wbio(h->ssl), h->out + h->made,
			     (int)(TLS_HAND_BYTES - h->made))) > 0)
		h->made += (size_t)n;
	assert_true(h->made < TLS_HAND_BYTES);
}

/* What has come from the server, to the library. */
static bool hand_receive(struct tls_hand *h)
{
	uint8_t buf[32768];
	ssize_t n = h->fd >= 0 ? recv(h->fd, buf, sizeof(buf), MSG_DONTWAIT) : 0;

	if (n > 0)
		assert_int_equal(BIO_write(SSL_get_rbio(h->ssl), buf, (int)n), n);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		h->ended = true;
	return n > 0;
}

bool tls_hand_step(struct tls_hand *h)
{
	bool done;

	(void)hand_receive(h);
	done = SSL_do_handshake(h->ssl) == 1;
	hand_collect(h);
	return done;
}

void tls_hand_shake(struct tls_hand *h)
{
	for (int i = 0; !tls_hand_step(h); i++) {
		assert_true(i < HAND_PATIENCE);
		tls_hand_flush(h);
		tls_hand_pass(h->fx);
	}
	tls_hand_flush(h);
}

void tls_hand_put_plain(struct tls_hand *h, const void *data, size_t len)
{
	assert_true(len <= TLS_HAND_BYTES - h->made);
	memcpy(h->out + h->made, data, len);
	h->made += len;
}

void tls_hand_put(struct tls_hand *h, const void *data, size_t len)
{
	if (h->ssl) {
		assert_int_equal(SSL_write(h->ssl, data, (int)len), len);
		hand_collect(h);
	} else {
		tls_hand_put_plain(h, data, len);
	}
}

size_t tls_hand_deliver(struct tls_hand *h, size_t max)
{
	size_t len = h->made - h->sent < max ? h->made - h->sent : max;
	ssize_t n = len == 0 ? 0 : send(h->fd, h->out + h->sent, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n <= 0)
		return 0;
	h->sent += (size_t)n;
	if (h->sent == h->made && max == TLS_HAND_ALL)
		h->sent = h->made = 0;
	return (size_t)n;
}

void tls_hand_flush(struct tls_hand *h)
{
	for (int i = 0; h->sent < h->made && i < HAND_PATIENCE; i++) {
		if (tls_hand_deliver(h, TLS_HAND_ALL) > 0)
			i = 0;
		if (h->sent < h->made)
			tls_hand_pass(h->fx);
	}
	assert_int_equal(h->sent, h->made);
}

ssize_t tls_hand_get(struct tls_hand *h, void *buf, size_t len)
{
	int n;

	if (!h->ssl)
		return recv(h->fd, buf, len, MSG_DONTWAIT);
	while ((n = SSL_read(h->ssl, buf, (int)len)) <= 0 && hand_receive(h))
		;
	hand_collect(h); /* keys that have changed are answered */
	if (n > 0 || SSL_get_error(h->ssl, n) == SSL_ERROR_ZERO_RETURN)
		return n > 0 ? n : 0;
	errno = SSL_get_error(h->ssl, n) != SSL_ERROR_WANT_READ ? EPROTO
		: h->ended					? ECONNRESET
								: EAGAIN;
	return -1;
}

bool tls_hand_read(struct tls_hand *h, void *buf, size_t len)
{
	size_t have = 0;

	for (int i = 0; have < len; i++) {
		ssize_t n = tls_hand_get(h, (uint8_t *)buf + have, len - have);

		assert_true(i < HAND_PATIENCE);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		if (n > 0) {
			have += (size_t)n;
			i = 0;
		} else {
			tls_hand_pass(h->fx);
		}
	}
	return true;
}

/* ---- messages -------------------------------------------------------------------------------- */

void tls_hand_change_keys(struct tls_hand *h, bool requested)
{
	int type = requested ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;

	assert_int_equal(SSL_key_update(h->ssl, type), 1);
	assert_int_equal(SSL_do_handshake(h->ssl), 1);
	hand_collect(h);
}

void tls_hand_say_end(struct tls_hand *h)
{
	assert_true(SSL_shutdown(h->ssl) >= 0);
	hand_collect(h);
}

/* HKDF-Expand-Label() of RFC 8446 with an empty context, of at most 32 bytes. */
static void expand(const uint8_t *secret, const char *label, uint8_t *out, size_t len)
{
	uint8_t info[32] = {0, (uint8_t)len, (uint8_t)(6 + strlen(label))};
	uint8_t mac[32];
	size_t n = 3;

	n += (size_t)snprintf((char *)info + n, sizeof(info) - n, "tls13 %s", label);
	info[n++] = 0;
	info[n++] = 1; /* HKDF's count of blocks */
	assert_non_null(HMAC(EVP_sha256(), secret, TLS_HAND_SECRET, info, n, mac, NULL));
	memcpy(out, mac, len);
}

/* AES-128-GCM of what is in "text", in place, with its tag behind it. */
static void seal(struct tls_hand *h, const uint8_t head[RECORD_HEADER], uint8_t *text, size_t len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[16];
	uint8_t iv[12];
	int n;

	expand(h->secret, "key", key, sizeof(key));
	expand(h->secret, "iv", iv, sizeof(iv));
	for (size_t i = 0; i < 8; i++)
		iv[4 + i] ^= (uint8_t)(h->forged >> 8 * (7 - i));
	h->forged++;
	assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, head, RECORD_HEADER), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, text, &n, text, (int)len), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, text + len, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, text + len), 1);
	EVP_CIPHER_CTX_free(ctx);
}

void tls_hand_forge(struct tls_hand *h, uint8_t type, const void *data, size_t len, size_t padding)
{
	uint8_t *head = h->out + h->made;
	uint8_t *text = head + RECORD_HEADER;
	size_t inner = len + 1 + padding;
	size_t outer = inner + TAG_BYTES;

	assert_true(inner <= FORGED_MAX && outer + RECORD_HEADER <= TLS_HAND_BYTES - h->made);
	assert_string_equal(SSL_get_cipher_name(h->ssl), "TLS_AES_128_GCM_SHA256");
	memcpy(head, (uint8_t[]){23, 3, 3, (uint8_t)(outer >> 8), (uint8_t)outer}, RECORD_HEADER);
	memset(text, 0, inner);
	if (len > 0)
		memcpy(text, data, len);
	text[len] = type;
	seal(h, head, text, inner);
	h->made += RECORD_HEADER + outer;
}

/* ---- ends ------------------------------------------------------------------------------------ */

void tls_hand_fin(struct tls_hand *h)
{
	assert_int_equal(shutdown(h->fd, SHUT_WR), 0);
}

void tls_hand_reset(struct tls_hand *h)
{
	const struct linger at_once = {.l_onoff = 1};

	assert_int_equal(setsockopt(h->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(h->fd);
	h->fd = -1;
}

/* ---- our own frames -------------------------------------------------------------------------- */

uint64_t tls_hand_send(struct tls_hand *h, uint16_t op, const void *body, size_t body_len,
		       const void *payload, size_t payload_len, size_t pieces)
{
	static uint64_t last_id;
	struct frame_client c = {0};
	size_t len = WIRE_HEADER_BYTES + body_len + payload_len;
	uint8_t *frame = malloc(len);

	assert_non_null(frame);
	(void)frame_build(&c, frame, op, ++last_id, body, body_len, payload, payload_len);
	for (size_t at = 0, i = 1; i <= pieces; i++) {
		size_t end = len * i / pieces;

		tls_hand_put(h, frame + at, end - at);
		at = end;
	}
	free(frame);
	return last_id;
}

bool tls_hand_recv(struct tls_hand *h)
{
	struct frame *f = &h->fx->frame;
	uint8_t head[WIRE_HEADER_BYTES];
	uint8_t rest[4096];

	if (!tls_hand_read(h, head, sizeof(head)))
		return false;
	assert_int_equal(
	    wire_header_decode(head, WIRE_MAGIC_REPLY, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, &f->header),
	    0);
	if (f->header.body_len > 0 && !tls_hand_read(h, f->body, f->header.body_len))
		return false;
	for (size_t left = f->header.payload_len; left > 0;) {
		size_t n = left < sizeof(rest) ? left : sizeof(rest);

		if (!tls_hand_read(h, rest, n))
			return false;
		left -= n;
	}
	return true;
}

void tls_hand_hello(struct tls_hand *h)
{
	HAND_SEND(h, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1);
	tls_hand_flush(h);
	assert_true(tls_hand_recv(h));
	assert_int_equal(h->fx->frame.header.status, 0);
}
