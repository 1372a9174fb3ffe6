/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer.h: connections over socket pairs with the engine of fake_object.h, and clients that
 * speak the protocol to them from the same thread.  The fixture owns the loop, the engine and the
 * connections; a client's descriptor is the test's to close.
 */
#ifndef TESTS_LIB_PEER_H
#define TESTS_LIB_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "proto/msg.h"
#include "server/conn.h"
#include "tests/lib/fake_object.h"
#include "tests/lib/frame_client.h"

#define MIB (1u << 20)

struct peer_fixture {
	struct loop *loop;
	struct event_base *base;
	struct objects *objs;
	struct session_host host;
	struct conn_config config;
	struct conn_set *set;
	unsigned int closed;
	struct frame frame;
};

/* For cmocka: each test has a fixture of its own, with generous limits. */
int peer_setup(void **state);
int peer_teardown(void **state);

/* Makes fx->config hold, while there is no connection yet. */
void peer_reconfigure(struct peer_fixture *fx);

/* For frame_wait(): no connection is left. */
bool peer_none_left(void *ctx);

/* A client before its handshake; the handshake, and its status; both at once. */
struct frame_client peer_dial(struct peer_fixture *fx);
uint32_t peer_hello(struct peer_fixture *fx, struct frame_client *c, uint64_t features);
struct frame_client peer_connect(struct peer_fixture *fx);

#define CALL(fx, c, op, type, ...)                                           \
	({                                                                   \
		struct type m_ = {__VA_ARGS__};                              \
		uint8_t body_[1024];                                         \
		int n_ = type##_encode(body_, sizeof(body_), &m_);           \
		assert_true(n_ > 0);                                         \
		frame_call(c, &(fx)->frame, op, body_, (size_t)n_, NULL, 0); \
	})

#define SEND(c, op, type, ...)                                     \
	({                                                         \
		struct type m_ = {__VA_ARGS__};                    \
		uint8_t body_[1024];                               \
		int n_ = type##_encode(body_, sizeof(body_), &m_); \
		assert_true(n_ > 0);                               \
		frame_send(c, op, body_, (size_t)n_, NULL, 0);     \
	})

/* Opens an object; makes one and opens it.  The handle. */
uint32_t peer_open(struct peer_fixture *fx, struct frame_client *c, const char *name,
		   uint32_t flags);
uint32_t peer_make(struct peer_fixture *fx, struct frame_client *c, const char *name,
		   uint64_t size);

/* Bytes that differ from place to place and from seed to seed, for free(). */
uint8_t *peer_pattern(size_t len, uint8_t seed);

/* The status of a write; a read must give exactly these bytes; the status of a ping. */
uint32_t peer_write(struct peer_fixture *fx, struct frame_client *c, uint32_t handle,
		    uint64_t offset, const uint8_t *data, size_t len);
void peer_assert_reads(struct peer_fixture *fx, struct frame_client *c, uint32_t handle,
		       uint64_t offset, const uint8_t *data, size_t len);
uint32_t peer_ping(struct peer_fixture *fx, struct frame_client *c);

/* The server answers with PROTO and this text, ends the stream, and forgets the connection. */
void peer_assert_faulted(struct peer_fixture *fx, struct frame_client *c, const char *text);

#endif
