/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session_fixture.h: a session without a socket, on the engine of tests/lib/fake_object.c, for the
 * unit tests of sessions and of the table of operations.
 */
#ifndef TESTS_UNIT_SESSION_FIXTURE_H
#define TESTS_UNIT_SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/dispatch.h"
#include "server/session.h"
#include "tests/lib/fake_object.h"

struct fixture {
	struct session session; /* first: the reply callback gets a pointer to it */
	struct session_host host;
	struct objects *objs;
	uint64_t next_id;
	unsigned int replies;
	struct wire_header last;
	uint8_t body[WIRE_BODY_MAX];
	uint32_t body_len;
};

static inline void fixture_reply(struct session *session, const struct session_reply *reply)
{
	struct fixture *fx = (struct fixture *)session;

	fx->replies++;
	fx->last = reply->header;
	fx->body_len = reply->body_len;
	if (reply->body_len > 0)
		memcpy(fx->body, reply->body, reply->body_len);
	for (uint32_t i = 0; i < reply->npayload; i++)
		pagevec_fini(&reply->payload[i]);
}

static inline int fixture_setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct objects_config config = {0};

	assert_non_null(fx);
	thread_set_role(THREAD_LOOP);
	assert_int_equal(objects_new(&config, &fx->objs), 0);
	fx->host = (struct session_host){.objs = fx->objs, .agent = "cowd/test"};
	session_init(&fx->session, &fx->host, fixture_reply, "pid 1 uid 2");
	*state = fx;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fx = *state;

	fake_hold(fx->objs, false);
	session_fini(&fx->session);
	objects_free(fx->objs);
	free(fx);
	return 0;
}

/* Runs a request that the table allows; its status, or -1 when it is not answered yet. */
static inline int fixture_run(struct fixture *fx, uint16_t op, const uint8_t *body, int body_len)
{
	struct wire_header h = {.magic = WIRE_MAGIC_REQUEST, .op = op, .id = ++fx->next_id};
	struct request *req = NULL;
	unsigned int before = fx->replies;

	assert_true(body_len >= 0);
	h.body_len = (uint32_t)body_len;
	assert_int_equal(dispatch_check(&fx->session, &h), 0);
	assert_int_equal(dispatch_begin(&fx->session, &h, body, &req), 0);
	dispatch_run(req);
	if (fx->replies == before)
		return -1;
	assert_int_equal(fx->replies, before + 1);
	assert_int_equal(fx->last.id, h.id);
	assert_int_equal(fx->last.op, op);
	return (int)fx->last.status;
}

#define RUN(fx, op, type, ...)                                                        \
	({                                                                            \
		struct type m_ = {__VA_ARGS__};                                       \
		uint8_t body_[2048];                                                  \
		fixture_run(fx, op, body_, type##_encode(body_, sizeof(body_), &m_)); \
	})

static inline void fixture_ready(struct fixture *fx)
{
	assert_int_equal(RUN(fx, WIRE_OP_HELLO, msg_hello, .version_min = 1, .version_max = 1,
			     .agent = "tester\x01"),
			 0);
}

static inline void assert_text(struct fixture *fx, const char *text)
{
	struct msg_error msg;

	assert_int_equal(msg_error_decode(fx->body, fx->body_len, &msg), 0);
	assert_string_equal(msg.text, text);
}

static inline uint32_t fixture_open(struct fixture *fx, const char *name)
{
	struct msg_open m = {.flags = 0};
	struct msg_open_reply reply;
	uint8_t body[512];

	memcpy(m.name, name, strlen(name) + 1);
	assert_int_equal(
	    fixture_run(fx, WIRE_OP_OPEN, body, msg_open_encode(body, sizeof(body), &m)), 0);
	assert_int_equal(msg_open_reply_decode(fx->body, fx->body_len, &reply), 0);
	return reply.handle;
}

#endif
