/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/cow.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/dial.h"
#include "client/errors.h"
#include "client/handle.h"
#include "client/link.h"
#include "client/uri.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/tls.h"

#define COW_TIMEOUT_DEFAULT_MS 60000u
#define COW_POLL_MAX_US	       1000u

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
	cow->timeout_ms = COW_TIMEOUT_DEFAULT_MS;
	cow->poll_us = LOOK_MAX_NS / 1000;
	(void)snprintf(cow->agent, sizeof(cow->agent), "libcow");
	cow->reconnect = true;
	link_init(cow);
	aio_init(cow);
	return cow;
}

void cow_free(cow_t *cow)
{
	if (!cow)
		return;
	aio_end(cow);
	tls_put(cow->link.tls);
	(void)close(cow->wake_fd);
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

int cow_set_poll(cow_t *cow, unsigned int us)
{
	if (us > COW_POLL_MAX_US)
		return errors_set(cow, -ERR_INVAL, "polling is for 1,000 us at most");
	(void)pthread_mutex_lock(&cow->lock);
	cow->poll_us = us;
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

int cow_set_reconnect(cow_t *cow, int on)
{
	(void)pthread_mutex_lock(&cow->lock);
	cow->reconnect = on != 0;
	(void)pthread_mutex_unlock(&cow->lock);
	return 0;
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* Ends a session that never became ready. */
static int cow_give_up(struct cow *cow, int err, const char *text)
{
	(void)pthread_mutex_lock(&cow->lock);
	chan_kill(&cow->chan, CHAN_CLOSED, NULL, 0, -ERR_CONN, "not connected", text);
	link_settle(cow);
	(void)pthread_mutex_unlock(&cow->lock);
	return errors_set(cow, err, text);
}

static int cow_handshake(struct cow *cow, bool crc)
{
	struct msg_hello_reply reply = {0};
	const char *problem;
	struct call call;
	int body_len;
	int err;

	call_init(&call, WIRE_OP_HELLO);
	(void)pthread_mutex_lock(&cow->lock);
	body_len = link_encode_hello(cow, &call, &reply, crc);
	(void)pthread_mutex_unlock(&cow->lock);
	err = call_run(cow, &call, body_len);
	if (err < 0)
		return cow_give_up(cow, call.err, call.text);
	(void)pthread_mutex_lock(&cow->lock);
	problem = link_accept(cow, &reply, crc);
	(void)pthread_mutex_unlock(&cow->lock);
	return problem ? cow_give_up(cow, -ERR_PROTO, problem) : 0;
}

/* Where the server was found, for connections that are made again. */
static void cow_keep(struct cow *cow, const struct dial_addr *addr, struct tls *tls)
{
	struct tls *last;

	(void)pthread_mutex_lock(&cow->lock);
	last = cow->link.tls;
	cow->link.addr = *addr;
	cow->link.tls = tls ? tls_get(tls) : NULL;
	(void)pthread_mutex_unlock(&cow->lock);
	tls_put(last);
}

static int cow_dial(struct cow *cow, const struct uri *uri, struct tls *tls)
{
	char text[DIAL_TEXT_MAX];
	struct dial_addr addr;
	uint64_t deadline_ns;
	int err;
	int fd;

	(void)pthread_mutex_lock(&cow->lock);
	deadline_ns = clock_now_ns() + (uint64_t)cow->timeout_ms * UINT64_C(1000000);
	(void)pthread_mutex_unlock(&cow->lock);
	err = dial(uri, deadline_ns, &fd, &addr, text);
	if (err < 0)
		return errors_set(cow, err, text);
	(void)pthread_mutex_lock(&cow->lock);
	err = link_adopt(cow, fd, tls);
	(void)pthread_mutex_unlock(&cow->lock);
	if (err < 0) {
		(void)close(fd);
		return errors_set(cow, err, "out of memory");
	}
	err = cow_handshake(cow, uri->host && !tls);
	if (err == 0)
		cow_keep(cow, &addr, tls);
	return err;
}

/* Reads the credentials that the URI asks for. */
static int cow_load(struct cow *cow, const struct uri *uri, struct tls **tls)
{
	char *def = uri->certificates || uri->psk ? NULL : uri_certificates();
	struct tls_client_files files = {
	    .certificates = uri->certificates ? uri->certificates : def,
	    .psk = uri->psk,
	    .identity = uri->identity,
	    .host = uri->hostname ? uri->hostname : uri->host,
	};
	char text[TLS_TEXT_MAX];
	int err;

	if (!files.certificates && !files.psk)
		return errors_set(cow, -ERR_NOMEM, "out of memory");
	err = tls_client_new(&files, tls, text);
	free(def);
	/* what is missing is a file here, and not an object of the server */
	return err < 0 ? errors_set(cow, err == -ERR_NOENT ? -ERR_INVAL : err, text) : 0;
}

static int cow_dial_uri(struct cow *cow, const struct uri *uri)
{
	struct tls *tls = NULL;
	int err = uri->tls ? cow_load(cow, uri, &tls) : 0;

	if (err == 0)
		err = cow_dial(cow, uri, tls);
	tls_put(tls);
	return err;
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
	err = cow_dial_uri(cow, &uri);
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
		link_connect_begun(cow);
	(void)pthread_mutex_unlock(&cow->lock);
	if (obstacle)
		return errors_set(cow, -ERR_BUSY, obstacle);
	err = cow_dial_text(cow, uri ? uri : uri_from_environment());
	(void)pthread_mutex_lock(&cow->lock);
	link_connect_ended(cow);
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
	ready = cow->link.state == LINK_READY;
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

int cow_aio_ping(cow_t *cow, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_PING};
	struct aio *aio;
	int err = aio_new(cow, NULL, &kind, how, &aio);

	return err < 0 ? err : aio_submit(aio, 0, id);
}
