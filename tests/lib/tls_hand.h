/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_hand.h: a client by TLS that a test moves by hand, in the thread of the loop: what it sends waits in a
 * buffer until the test delivers it, byte by byte if it likes; and it sends what our own streams never do.
 * One that is misused fails the test.
 */
#ifndef TESTS_LIB_TLS_HAND_H
#define TESTS_LIB_TLS_HAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tls.h"
#include "tests/lib/peer.h"

#define TLS_HAND_BYTES	 (256u << 10)
#define TLS_HAND_ALL	 SIZE_MAX
#define TLS_HAND_SECRET	 32u
#define TLS_TYPE_CCS	 20 /* types of records */
#define TLS_TYPE_ALERT	 21
#define TLS_TYPE_MESSAGE 22
#define TLS_TYPE_DATA	 23

/* What two ends need, of both ways to know each other. */
struct tls_creds {
	char *dir;
	struct tls *server[2];
	struct tls *client[2];
};

#define TLS_BY_CERT 0
#define TLS_BY_KEY  1

/* Those of a program, from the setup of its group to the teardown. */
extern struct tls_creds tls_creds;
int tls_creds_setup(void **state);
int tls_creds_teardown(void **state);

struct tls_hand {
	struct peer_fixture *fx;
	struct ssl_st *ssl;
	struct tls_peer peer;
	int fd; /* to the server */
	uint8_t out[TLS_HAND_BYTES];
	size_t made; /* bytes of "out" that the client has sent, */
	size_t sent; /* and that the server has been given */
	bool ended;  /* the server's end has come, in order or not */
	uint64_t forged;
	uint8_t secret[TLS_HAND_SECRET];
};

/* Without or with a handshake of TLS, which "client" is for, by unix socket or by TCP on this machine. */
void tls_hand_open(struct tls_hand *h, struct peer_fixture *fx, const struct conn_proto *proto,
		   bool tcp);
void tls_hand_open_tls(struct tls_hand *h, struct peer_fixture *fx, bool tcp, struct tls *client);
void tls_hand_begin(struct tls_hand *h, struct tls *client);
void tls_hand_close(struct tls_hand *h);

/* One pass of the loop.  All that can happen without the client. */
void tls_hand_pass(struct peer_fixture *fx);
void tls_hand_settle(struct peer_fixture *fx);

/* The client's next step of the handshake, with what has come from the server; true: it is through. */
bool tls_hand_step(struct tls_hand *h);

/* All of the handshake. */
void tls_hand_shake(struct tls_hand *h);

/* Puts bytes behind what is to be sent: in one record, or, before there is TLS, as they are. */
void tls_hand_put(struct tls_hand *h, const void *data, size_t len);

/* The same without TLS though there is. */
void tls_hand_put_plain(struct tls_hand *h, const void *data, size_t len);

/* Up to so many bytes to the server, as far as its socket takes them; how many. */
size_t tls_hand_deliver(struct tls_hand *h, size_t max);

/* All of it, with passes of the loop while the socket is full. */
void tls_hand_flush(struct tls_hand *h);

/* As recv(2) on what was received and decrypted: -1 with EAGAIN, 0 at an orderly end; other errors. */
ssize_t tls_hand_get(struct tls_hand *h, void *buf, size_t len);

/* Exactly these many bytes, with passes of the loop meanwhile; false: the stream has ended. */
bool tls_hand_read(struct tls_hand *h, void *buf, size_t len) MUST_CHECK;

/* Messages, put behind what is to be sent. */
void tls_hand_change_keys(struct tls_hand *h, bool requested);
void tls_hand_say_end(struct tls_hand *h);

/*
 * A record of any type with these bytes and so much padding, by the keys that come out of the handshake.
 * Nothing else but such records may be sent by it.
 */
void tls_hand_forge(struct tls_hand *h, uint8_t type, const void *data, size_t len, size_t padding);

/* Ends the client's side, or cuts the connection with a reset; the socket stays readable after the first. */
void tls_hand_fin(struct tls_hand *h);
void tls_hand_reset(struct tls_hand *h);

/* A request in a record of its own, or in as many; its id. */
uint64_t tls_hand_send(struct tls_hand *h, uint16_t op, const void *body, size_t body_len,
		       const void *payload, size_t payload_len, size_t pieces);

/* A reply into fx->frame, whose payload is dropped; false: the stream has ended. */
bool tls_hand_recv(struct tls_hand *h) MUST_CHECK;

/* HELLO and its answer. */
void tls_hand_hello(struct tls_hand *h);

#define HAND_SEND(h, op, type, ...)                                  \
	({                                                           \
		struct type m_ = {__VA_ARGS__};                      \
		uint8_t body_[1024];                                 \
		int n_ = type##_encode(body_, sizeof(body_), &m_);   \
		assert_true(n_ > 0);                                 \
		tls_hand_send(h, op, body_, (size_t)n_, NULL, 0, 1); \
	})

#endif
