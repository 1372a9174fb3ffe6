/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/flight.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/clock.h"
#include "common/cursor.h"
#include "common/err.h"

#define FLIGHT_REPEAT 1u /* may be carried out twice: has then done what it does once */
#define FLIGHT_CHANGE 2u /* of the content of the call's first object; durable by a later fsync */
#define FLIGHT_ALL    4u /* of that of its other objects, too */

/*
 * Every operation has its line: what is added to the protocol does not compile before it has been
 * decided.  A RESET is not repeated, as others may have written since; nor is a CHECK, as the first
 * would be in the way of the second.  An UNSHARE changes where the content is: after a crash some of it may
 * be shared again, which who waits for the fsync has to be told.
 */
static unsigned int flight_traits(enum wire_op op)
{
	switch (op) {
	case WIRE_OP_WRITE:
	case WIRE_OP_ZERO:
	case WIRE_OP_RESIZE:
	case WIRE_OP_CLONE_RANGE:
	case WIRE_OP_WRITEV:
	case WIRE_OP_UNSHARE:
		return FLIGHT_REPEAT | FLIGHT_CHANGE;
	case WIRE_OP_WRITE_ALL:
		return FLIGHT_REPEAT | FLIGHT_CHANGE | FLIGHT_ALL;
	case WIRE_OP_PING:
	case WIRE_OP_OPEN:
	case WIRE_OP_INFO:
	case WIRE_OP_LIST:
	case WIRE_OP_READ:
	case WIRE_OP_READV:
	case WIRE_OP_FSYNC:
	case WIRE_OP_FSYNC_IF:
	case WIRE_OP_FSYNC_ALL:
	case WIRE_OP_DIFF:
	case WIRE_OP_EXTENTS:
	case WIRE_OP_VERIFY:
	case WIRE_OP_STATFS:
	case WIRE_OP_VERSIONS:
	case WIRE_OP_CHILDREN:
	case WIRE_OP_USAGE:
	case WIRE_OP_REAPING:
	case WIRE_OP_SERVER:
		return FLIGHT_REPEAT;
	case WIRE_OP_HELLO:
	case WIRE_OP_CREATE:
	case WIRE_OP_CLOSE:
	case WIRE_OP_CLONE:
	case WIRE_OP_TIE:
	case WIRE_OP_CLONE_ALL:
	case WIRE_OP_REMOVE:
	case WIRE_OP_SNAP:
	case WIRE_OP_RENAME:
	case WIRE_OP_RESET:
	case WIRE_OP_SET:
	case WIRE_OP_CHECK:
	case WIRE_OP_END:
		break;
	}
	return 0;
}

static bool flight_changes(const struct call *call)
{
	return flight_traits(call->req.op) & FLIGHT_CHANGE;
}

static bool flight_repeats(const struct call *call)
{
	return (flight_traits(call->req.op) & FLIGHT_REPEAT) && !call->once;
}

static bool flight_is_fsync(const struct call *call)
{
	return call->req.op == WIRE_OP_FSYNC || call->req.op == WIRE_OP_FSYNC_IF ||
	       call->req.op == WIRE_OP_FSYNC_ALL;
}

bool flight_is_dirty(const struct cow_object *obj)
{
	return obj->acked > obj->synced;
}

void flight_set_gone(struct cow_object *obj, int err, const char *text)
{
	obj->state = OBJECT_GONE;
	obj->gone_err = err;
	obj->gone_text = text;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void flight_end(struct call *call, int err, const char *text)
{
	struct cow *cow = call->cow;

	assert(call->state != CALL_DONE);
	TAILQ_REMOVE(&cow->calls, call, all_link);
	call->state = CALL_DONE;
	call->err = err;
	if (err < 0)
		(void)snprintf(call->text, sizeof(call->text), "%s", text);
	if (call->ended) {
		call->ended(call);
		return;
	}
	(void)pthread_cond_signal(&call->cond);
	if (cow->polling) /* by cow_process(): it may be the call of the thread that polls */
		(void)eventfd_write(cow->wake_fd, 1);
}

static void flight_end_restarted(struct call *call)
{
	for (uint32_t i = 0; i < call->nbound; i++)
		call->bound[i].obj->restarted = false;
	flight_end(call, -ERR_RESTARTED, "");
}

/* A close of what the server has closed by itself, with the connection. */
static void flight_end_close(struct call *call)
{
	const struct cow_object *obj = call->bound[0].obj;

	if (obj->restarted)
		flight_end_restarted(call);
	else if (flight_is_dirty(obj))
		flight_end(call, -ERR_CONN,
			   "the connection was lost: what was not fsynced may be gone");
	else
		flight_end(call, 0, "");
}

/* All that an fsync covers is durable; whether a handle has something to be told. */
static bool flight_fsynced(struct call *call)
{
	bool restarted = false;

	for (uint32_t i = 0; i < call->nbound; i++) {
		struct call_object *bound = &call->bound[i];

		if (bound->obj->synced < bound->sync_seq)
			bound->obj->synced = bound->sync_seq;
		restarted = restarted || bound->obj->restarted;
	}
	return restarted;
}

/* What an answer means for the objects of the call. */
static void flight_end_answered(struct call *call)
{
	uint32_t nchanged = flight_traits(call->req.op) & FLIGHT_ALL ? call->nbound : 1;
	bool restarted = false;

	for (uint32_t i = 0; flight_changes(call) && i < call->nbound && i < nchanged; i++)
		call->bound[i].obj->acked++;
	if (flight_is_fsync(call))
		restarted = flight_fsynced(call);
	else if (call->req.op == WIRE_OP_CLOSE && call->nbound > 0)
		restarted = call->bound[0].obj->restarted;
	for (uint32_t i = 0; call->req.op == WIRE_OP_TIE && i < call->nbound; i++)
		call->bound[i].obj->tied = true;
	if (restarted)
		flight_end_restarted(call);
	else
		flight_end(call, 0, "");
}

static void flight_succeeded(struct call *call, const struct chan_reply *reply)
{
	if (call->decode && call->decode(call->ctx, reply->body, reply->body_len) < 0) {
		flight_end(call, -ERR_PROTO, "the server sent a malformed reply");
	} else if (!call->decode && reply->body_len > 0) {
		flight_end(call, -ERR_PROTO, "the server sent a reply that is too long");
	} else {
		call->payload_len = reply->payload_len;
		flight_end_answered(call);
	}
}

/* ---- parking --------------------------------------------------------------------------------- */

static void flight_park(struct call *call)
{
	call->state = CALL_PARKED;
	TAILQ_INSERT_TAIL(&call->cow->parked, call, parked_link);
}

/* Whether there will be another connection for a call that this one had. */
static bool flight_can_move(const struct call *call)
{
	const struct cow *cow = call->cow;

	return cow->reconnect && cow->link.state == LINK_READY && call->session == 0;
}

static void flight_lost(struct call *call, const struct chan_reply *reply)
{
	const struct cow *cow = call->cow;
	bool move = flight_can_move(call) && cow->chan.end != CHAN_CLOSED;
	char text[WIRE_TEXT_MAX];

	if (move && call->req.op == WIRE_OP_CLOSE && call->nbound > 0) {
		flight_end_close(call);
	} else if (move && (!call->req.sent || flight_repeats(call))) {
		call->doubt |=
		    call->req.sent && flight_changes(call) && cow->chan.end == CHAN_SILENT;
		flight_park(call);
	} else if (move) {
		(void)snprintf(text, sizeof(text), "%.400s; the request may have been carried out",
			       reply->text);
		flight_end(call, reply->err, text);
	} else {
		flight_end(call, reply->err, reply->text);
	}
}

/* From the channel: an answer, or that there will be none. */
static void flight_done(struct chan_request *req, const struct chan_reply *reply)
{
	struct call *call = CONTAINER_OF(req, struct call, req);

	if (reply->lost) {
		flight_lost(call, reply);
	} else if (reply->err == -ERR_SHUTDOWN && flight_can_move(call) && flight_repeats(call)) {
		call->min_session = call->cow->session + 1;
		flight_park(call);
	} else if (reply->err < 0) {
		flight_end(call, reply->err, reply->text);
	} else {
		flight_succeeded(call, reply);
	}
}

/* ---- going out ------------------------------------------------------------------------------- */

enum flight_way { FLIGHT_OPEN, FLIGHT_WAIT, FLIGHT_SHUT };

struct flight_gate {
	enum flight_way way;
	int err; /* of FLIGHT_SHUT */
	const char *text;
};

static const struct flight_gate flight_wait = {FLIGHT_WAIT, 0, ""};

static struct flight_gate flight_object_gate(const struct cow *cow, const struct cow_object *obj)
{
	if (obj->state == OBJECT_GONE)
		return (struct flight_gate){FLIGHT_SHUT, obj->gone_err, obj->gone_text};
	if (obj->state == OBJECT_OPEN && obj->session == cow->session)
		return (struct flight_gate){FLIGHT_OPEN, 0, ""};
	return flight_wait;
}

/* Whether the call can go out on the connection as it is. */
static struct flight_gate flight_gate(const struct cow *cow, const struct call *call)
{
	const struct link *link = &cow->link;
	struct flight_gate gate = {FLIGHT_OPEN, 0, ""};

	if (call->handshake)
		return cow->chan.alive
			   ? gate
			   : (struct flight_gate){FLIGHT_SHUT, -ERR_CONN, cow->chan.reason};
	if (link->state == LINK_DOWN)
		return (struct flight_gate){FLIGHT_SHUT, -ERR_CONN, cow->chan.reason};
	if (link->state != LINK_READY && (cow->connecting || !cow->reconnect))
		return (struct flight_gate){FLIGHT_SHUT, -ERR_CONN, "not connected"};
	if (call->session != 0 && (call->session != cow->session || link->state != LINK_READY))
		return (struct flight_gate){FLIGHT_SHUT, -ERR_CONN, "the connection was lost"};
	if (link->state != LINK_READY || call->min_session > cow->session)
		return flight_wait;
	for (uint32_t i = 0; i < call->nbound && gate.way == FLIGHT_OPEN; i++)
		gate = flight_object_gate(cow, call->bound[i].obj);
	if (gate.way == FLIGHT_OPEN && call->req.payload_len > cow->chan.payload_max)
		return (struct flight_gate){FLIGHT_SHUT, -ERR_LIMIT,
					    "the server takes less than that in one request"};
	return gate;
}

/* The server has closed what was open on a connection that is gone: there is nothing to wait for. */
static bool flight_is_closed(const struct cow *cow, const struct call *call)
{
	enum object_state state;

	if (call->req.op != WIRE_OP_CLOSE || call->nbound == 0 || !cow->reconnect ||
	    cow->link.state == LINK_DOWN)
		return false;
	state = call->bound[0].obj->state;
	return cow->link.state != LINK_READY || state == OBJECT_LOST || state == OBJECT_GONE;
}

static void flight_submit(struct cow *cow, struct call *call)
{
	for (uint32_t i = 0; i < call->nbound; i++)
		le32_put((uint8_t *)(uintptr_t)call->req.body + call->bound[i].handle_at,
			 call->bound[i].obj->wire_handle);
	for (uint32_t i = 0; flight_is_fsync(call) && i < call->nbound; i++)
		call->bound[i].sync_seq = call->bound[i].obj->acked;
	if (!call->has_crc && cow->chan.features & WIRE_FEATURE_PAYLOAD_CRC)
		chan_request_crc(&call->req);
	call->has_crc |= cow->chan.features & WIRE_FEATURE_PAYLOAD_CRC;
	if (call->req.op == WIRE_OP_CLOSE && call->nbound > 0)
		flight_set_gone(call->bound[0].obj, -ERR_INVAL, "the object was closed");
	call->state = CALL_GIVEN;
	call->doubt = false;
	call->begun_ns = clock_now_ns();
	chan_submit(&cow->chan, &call->req);
}

static void flight_go(struct cow *cow, struct call *call)
{
	struct flight_gate gate;

	if (flight_is_closed(cow, call)) {
		flight_end_close(call);
		return;
	}
	gate = flight_gate(cow, call);
	if (gate.way == FLIGHT_OPEN)
		flight_submit(cow, call);
	else if (gate.way == FLIGHT_WAIT)
		flight_park(call);
	else
		flight_end(call, gate.err, gate.text);
}

/* By deadline; most are later than all before. */
static void flight_link(struct cow *cow, struct call *call)
{
	uint64_t ms = call->timeout_ms > 0 ? call->timeout_ms : cow->timeout_ms;
	struct call *before = TAILQ_LAST(&cow->calls, call_list);

	call->cow = cow;
	call->req.done = flight_done;
	call->deadline_ns = clock_now_ns() + ms * UINT64_C(1000000);
	while (before && before->deadline_ns > call->deadline_ns)
		before = TAILQ_PREV(before, call_list, all_link);
	if (before)
		TAILQ_INSERT_AFTER(&cow->calls, before, call, all_link);
	else
		TAILQ_INSERT_HEAD(&cow->calls, call, all_link);
}

void flight_start(struct cow *cow, struct call *call)
{
	flight_link(cow, call);
	flight_go(cow, call);
}

void flight_start_parked(struct cow *cow, struct call *call)
{
	flight_link(cow, call);
	flight_park(call);
	cow->unpark = true;
}

/* Those that wait on get to the end of the list again, and so does what comes meanwhile. */
void flight_unpark(struct cow *cow)
{
	struct call *call;
	size_t n = 0;

	cow->unpark = false;
	TAILQ_FOREACH (call, &cow->parked, parked_link)
		n++;
	while (n-- > 0 && (call = TAILQ_FIRST(&cow->parked)) != NULL) {
		TAILQ_REMOVE(&cow->parked, call, parked_link);
		flight_go(cow, call);
	}
}

void flight_drop_doubtful(struct cow *cow)
{
	struct call *call = TAILQ_FIRST(&cow->parked);
	struct call *next;

	for (; call; call = next) {
		next = TAILQ_NEXT(call, parked_link);
		if (!call->doubt)
			continue;
		TAILQ_REMOVE(&cow->parked, call, parked_link);
		flight_end(call, -ERR_CONN,
			   "the connection was given up: the change may still be carried out");
	}
}

/* ---- giving up ------------------------------------------------------------------------------- */

/* An OPEN that nobody waits for any more was answered. */
static void flight_late_open(void *ctx, const struct chan_reply *reply)
{
	struct msg_open_reply *m;

	if (reply->err < 0)
		return;
	m = malloc(sizeof(*m));
	if (m && msg_open_reply_decode(reply->body, reply->body_len, m) == 0)
		flight_close_handle(ctx, m->handle);
	free(m);
}

void flight_give_up(struct call *call, int err, const char *text)
{
	struct cow *cow = call->cow;
	int broken = 0;

	if (call->state == CALL_PARKED) {
		TAILQ_REMOVE(&cow->parked, call, parked_link);
	} else {
		if (call->req.op == WIRE_OP_CLOSE && call->nbound > 0 &&
		    !chan_is_begun(&cow->chan, &call->req))
			flight_close_handle(cow, call->bound[0].obj->wire_handle);
		broken = chan_abandon(&cow->chan, &call->req,
				      call->req.op == WIRE_OP_OPEN ? flight_late_open : NULL, cow);
	}
	flight_end(call, err, text);
	if (broken < 0)
		chan_kill(&cow->chan, CHAN_LOST, NULL, 0, -ERR_CONN,
			  "the connection was given up: out of memory", "out of memory");
}

uint64_t flight_deadline_ns(const struct cow *cow)
{
	const struct call *call = TAILQ_FIRST(&cow->calls);

	return call ? call->deadline_ns : HANDLE_NEVER;
}

/* Nothing at all has come for as long as an ordinary call may take. */
static bool flight_is_silent(const struct cow *cow, const struct call *call, uint64_t now_ns)
{
	uint64_t since = call->begun_ns > cow->heard_ns ? call->begun_ns : cow->heard_ns;

	return call->state == CALL_GIVEN && call->req.started &&
	       now_ns >= since + (uint64_t)cow->timeout_ms * UINT64_C(1000000);
}

static void flight_expire_one(struct cow *cow, struct call *call, uint64_t now_ns)
{
	char text[WIRE_TEXT_MAX];

	if (flight_is_silent(cow, call, now_ns)) {
		chan_kill(&cow->chan, CHAN_SILENT, &call->req, -ERR_TIMEOUT, -ERR_CONN,
			  "the connection was given up: the server did not answer in time",
			  "the server did not answer in time");
	} else if (call->state == CALL_PARKED && cow->link.state != LINK_READY) {
		(void)snprintf(text, sizeof(text), "%s, and was not made again in time%s%.300s",
			       cow->chan.reason, cow->link.text[0] ? ": " : "", cow->link.text);
		flight_give_up(call, -ERR_TIMEOUT, text);
	} else {
		flight_give_up(call, -ERR_TIMEOUT, "the server did not answer in time");
	}
}

void flight_expire(struct cow *cow, uint64_t now_ns)
{
	struct call *call;

	while ((call = TAILQ_FIRST(&cow->calls)) != NULL && call->deadline_ns <= now_ns)
		flight_expire_one(cow, call, now_ns);
}

/* ---- objects --------------------------------------------------------------------------------- */

static void flight_freed(struct call *call)
{
	free(call);
}

/* Without memory for it the number stays until the connection ends. */
void flight_close_handle(struct cow *cow, uint32_t wire_handle)
{
	struct msg_handle m = {.handle = wire_handle};
	struct call *call = calloc(1, sizeof(*call));
	int n;

	if (!call)
		return;
	call->req.op = WIRE_OP_CLOSE;
	call->req.body = call->req.inline_body;
	n = msg_handle_encode(call->req.inline_body, CHAN_BODY_MAX, &m);
	assert(n > 0);
	call->req.body_len = (uint32_t)n;
	call->session = cow->session;
	call->ended = flight_freed;
	flight_start_parked(cow, call);
}

void flight_object_opened(struct cow_object *obj, const struct msg_open_reply *reply)
{
	struct cow *cow = obj->cow;

	if (obj->state == OBJECT_NEW) {
		obj->id = reply->info.id;
		obj->size = reply->info.size_bytes;
		TAILQ_INSERT_TAIL(&cow->objects, obj, link);
	}
	obj->state = OBJECT_OPEN;
	obj->session = cow->session;
	obj->wire_handle = reply->handle;
	cow->unpark = true;
}

void flight_object_put(struct cow_object *obj)
{
	if (--obj->refs == 0)
		free(obj);
}

void flight_object_closed(struct cow_object *obj)
{
	struct cow *cow = obj->cow;

	if (obj->state == OBJECT_OPENING)
		flight_give_up(obj->reopening, -ERR_CANCELED, "");
	if (obj->state == OBJECT_OPEN && obj->session == cow->session)
		flight_close_handle(cow, obj->wire_handle);
	if (obj->state != OBJECT_NEW)
		TAILQ_REMOVE(&cow->objects, obj, link);
	flight_set_gone(obj, -ERR_INVAL, "the object was closed");
	flight_object_put(obj);
}
