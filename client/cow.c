/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/cow.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/call.h"
#include "client/dial.h"
#include "client/errors.h"
#include "client/handle.h"
#include "client/uri.h"
#include "common/clock.h"
#include "common/err.h"

#define COW_TIMEOUT_DEFAULT_MS 60000u

/* Smaller limits than these would not let every request through. */
#define COW_PAYLOAD_LEAST 4096u

#define TEXT_OF(x)  TEXT_OF2(x)
#define TEXT_OF2(x) #x

const char *cow_version(void)
{
	return TEXT_OF(COW_VERSION_MAJOR) "." TEXT_OF(COW_VERSION_MINOR) "." TEXT_OF(
	    COW_VERSION_PATCH);
}

cow_t *cow_new(void)
{
	static atomic_uint_fast64_t serials;
	struct cow *cow = calloc(1, sizeof(*cow));

	if (!cow)
		return NULL;
	cow->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cow->wake_fd < 0) {
		free(cow);
		return NULL;
	}
	cow->serial = atomic_fetch_add(&serials, 1) + 1;
	cow->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	cow->idle = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	cow->timeout_ms = COW_TIMEOUT_DEFAULT_MS;
	TAILQ_INIT(&cow->waiters);
	(void)snprintf(cow->agent, sizeof(cow->agent), "libcow");
	chan_init(&cow->chan);
	return cow;
}

void cow_free(cow_t *cow)
{
	if (!cow)
		return;
	chan_close(&cow->chan);
	(void)close(cow->wake_fd);
	(void)pthread_cond_destroy(&cow->idle);
	(void)pthread_mutex_destroy(&cow->lock);
	free(cow);
}

int cow_set_timeout(cow_t *cow, unsigned int ms)
{
	if (ms == 0)
		return errors_set(cow, -ERR_INVAL, "the timeout must be at least 1 ms");
	(void)pthread_mutex_lock(&cow->lock);
	cow->timeout_ms = ms;
	(void)pthread_mutex_unlock(&cow->lock);
	return 0;
}

int cow_set_agent(cow_t *cow, const char *agent)
{
	size_t len = strlen(agent);

	if (len >= sizeof(cow->agent))
		return errors_set(cow, -ERR_INVAL, "the agent is longer than 63 bytes");
	(void)pthread_mutex_lock(&cow->lock);
	memcpy(cow->agent, agent, len + 1);
	(void)pthread_mutex_unlock(&cow->lock);
	return 0;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int cow_decode_hello(void *ctx, const uint8_t *body, size_t len)
{
	return msg_hello_reply_decode(body, len, ctx);
}

/* Why the handshake is of no use; NULL if it is fine. */
static const char *cow_hello_problem(const struct msg_hello_reply *m, uint64_t asked)
{
	if (m->version != WIRE_VERSION)
		return "the server chose an unknown version of the protocol";
	if (m->features & ~asked)
		return "the server chose features that were not asked for";
	if (m->body_max < CHAN_BODY_MAX || m->payload_max < COW_PAYLOAD_LEAST ||
	    m->inflight_max < 1)
		return "the server's limits are too low";
	return NULL;
}

static uint32_t cow_at_most(uint32_t value, uint32_t limit)
{
	return value < limit ? value : limit;
}

/* Ends a session that never became ready. */
static int cow_give_up(struct cow *cow, int err, const char *text)
{
	(void)pthread_mutex_lock(&cow->lock);
	chan_kill(&cow->chan, NULL, 0, -ERR_CONN, "not connected", text);
	(void)pthread_mutex_unlock(&cow->lock);
	return errors_set(cow, err, text);
}

/* The payload CRC is for wires that may change bits: a unix socket does not. */
static int cow_handshake(struct cow *cow, bool crc)
{
	struct msg_hello hello = {
	    .version_min = WIRE_VERSION,
	    .version_max = WIRE_VERSION,
	    .features = crc ? WIRE_FEATURE_PAYLOAD_CRC : 0,
	};
	struct msg_hello_reply reply = {0};
	const char *problem;
	struct call call;
	int err;

	call_init(&call, WIRE_OP_HELLO);
	call.handshake = true;
	call.decode = cow_decode_hello;
	call.ctx = &reply;
	(void)pthread_mutex_lock(&cow->lock);
	memcpy(hello.agent, cow->agent, sizeof(hello.agent));
	(void)pthread_mutex_unlock(&cow->lock);
	err = call_run(cow, &call, msg_hello_encode(call_body(&call), CHAN_BODY_MAX, &hello));
	if (err < 0)
		return cow_give_up(cow, call.err, call.text);
	problem = cow_hello_problem(&reply, hello.features);
	if (problem)
		return cow_give_up(cow, -ERR_PROTO, problem);
	(void)pthread_mutex_lock(&cow->lock);
	chan_set_limits(&cow->chan, reply.features, WIRE_BODY_MAX,
			cow_at_most(reply.payload_max, WIRE_PAYLOAD_MAX), reply.inflight_max);
	cow->server = reply;
	cow->ready = true;
	(void)pthread_mutex_unlock(&cow->lock);
	return 0;
}

static void cow_adopt(struct cow *cow, int fd)
{
	(void)pthread_mutex_lock(&cow->lock);
	while (cow->pumping) /* somebody has yet to see that the last connection is dead */
		(void)pthread_cond_wait(&cow->idle, &cow->lock);
	chan_close(&cow->chan);
	chan_open(&cow->chan, fd);
	cow->session++;
	cow->ready = false;
	(void)pthread_mutex_unlock(&cow->lock);
}

static int cow_dial(struct cow *cow, const struct uri *uri)
{
	char text[DIAL_TEXT_MAX];
	uint64_t deadline_ns;
	int err;
	int fd;

	(void)pthread_mutex_lock(&cow->lock);
	deadline_ns = clock_now_ns() + (uint64_t)cow->timeout_ms * UINT64_C(1000000);
	(void)pthread_mutex_unlock(&cow->lock);
	err = dial(uri, deadline_ns, &fd, text);
	if (err < 0)
		return errors_set(cow, err, text);
	cow_adopt(cow, fd);
	return cow_handshake(cow, uri->host != NULL);
}

static int cow_dial_text(struct cow *cow, const char *text)
{
	struct uri uri = {0};
	const char *problem;
	char message[DIAL_TEXT_MAX];
	int err;

	if (text) {
		err = uri_parse(text, &uri, &problem);
		if (err < 0) {
			(void)snprintf(message, sizeof(message), "the URI %.300s %s", text,
				       problem);
			return errors_set(cow, err, message);
		}
	}
	err = cow_dial(cow, &uri);
	uri_clear(&uri);
	return err;
}

int cow_connect(cow_t *cow, const char *uri)
{
	const char *obstacle = NULL;
	int err;

	(void)pthread_mutex_lock(&cow->lock);
	if (cow->connecting)
		obstacle = "another thread is connecting";
	else if (cow->chan.alive)
		obstacle = "already connected";
	else
		cow->connecting = true;
	(void)pthread_mutex_unlock(&cow->lock);
	if (obstacle)
		return errors_set(cow, -ERR_BUSY, obstacle);
	err = cow_dial_text(cow, uri ? uri : uri_from_environment());
	(void)pthread_mutex_lock(&cow->lock);
	cow->connecting = false;
	(void)pthread_mutex_unlock(&cow->lock);
	return err;
}

int cow_uri_object(const char *uri, char **name)
{
	struct uri parsed;
	const char *problem;
	int err;

	if (!uri || !name)
		return -COW_EINVAL;
	err = uri_parse(uri, &parsed, &problem);
	if (err < 0)
		return errors_code(err);
	*name = parsed.object;
	parsed.object = NULL;
	uri_clear(&parsed);
	return 0;
}

int cow_get_server(cow_t *cow, struct cow_server *server)
{
	bool ready;

	(void)pthread_mutex_lock(&cow->lock);
	ready = cow->ready;
	if (ready) {
		server->version = cow->server.version;
		server->block_size = cow->server.block_bytes;
		server->incarnation = cow->server.incarnation;
		memcpy(server->store_uuid, cow->server.store_uuid, sizeof(server->store_uuid));
		memcpy(server->agent, cow->server.agent, sizeof(server->agent));
	}
	(void)pthread_mutex_unlock(&cow->lock);
	return ready ? 0 : errors_set(cow, -ERR_CONN, "not connected");
}

int cow_ping(cow_t *cow)
{
	struct call call;

	call_init(&call, WIRE_OP_PING);
	return call_run(cow, &call, 0);
}
