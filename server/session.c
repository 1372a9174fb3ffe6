/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/session.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "common/utf8.h"

#define SLOTS_STEP 16u

void session_init(struct session *session, const struct session_host *host, session_reply_fn reply,
		  const char *peer)
{
	*session = (struct session){.host = host, .reply = reply, .state = SESSION_NEW};
	LIST_INIT(&session->requests);
	snprintf(session->peer, sizeof(session->peer), "%s", peer);
	snprintf(session->holder, sizeof(session->holder), "%s", session->peer);
}

void session_set_identity(struct session *session, const char *name)
{
	char safe[SESSION_NAME_BYTES];
	size_t len = strlen(session->peer);

	session_escape(safe, sizeof(safe), name);
	for (char *p = safe; *p; p++)
		if (*p == '"' || *p == '\'')
			*p = '_';
	snprintf(session->peer + len, sizeof(session->peer) - len, " '%s'", safe);
	snprintf(session->holder, sizeof(session->holder), "%s", session->peer);
}

void session_hurry(struct session *session)
{
	for (uint32_t i = 0; i < session->nslots; i++)
		if (session->slots[i] && session->slots[i]->handle)
			object_verify_drop(session->slots[i]->handle);
}

void session_fini(struct session *session)
{
	assert(session->nrequests == 0);
	for (uint32_t i = 0; i < session->nslots; i++) {
		struct session_slot *slot = session->slots[i];
		int err = slot ? session_slot_drop(session, slot) : 0;

		/* its owner went away without asking: this is the last chance to say it */
		if (err < 0)
			log_event(LOG_ERROR, "session-close", "peer=\"%s\" error=%s", session->peer,
				  err_name(err));
	}
	free(session->spare);
	session->spare = NULL;
	free(session->slots);
	session->slots = NULL;
	session->nslots = 0;
}

void session_set_ready(struct session *session, const char *agent, uint64_t features)
{
	char safe[MSG_AGENT_BYTES * 4];

	session->state = SESSION_READY;
	session->features = features;
	if (agent[0] != '\0')
		snprintf(session->holder, sizeof(session->holder), "%s (%s)", session->peer,
			 session_escape(safe, sizeof(safe), agent));
}

bool session_has_request(const struct session *session, uint64_t id)
{
	const struct request *req;

	LIST_FOREACH (req, &session->requests, link)
		if (req->header.id == id)
			return true;
	return false;
}

struct request *session_request_new(struct session *session, const struct wire_header *header)
{
	struct request *req = session->spare ? session->spare : malloc(sizeof(*req));

	if (!req)
		return NULL;
	session->spare = NULL;
	/* the union is large and is filled by the decoder */
	memset(req, 0, offsetof(struct request, m));
	req->magic = REQUEST_MAGIC;
	req->session = session;
	req->header = *header;
	LIST_INSERT_HEAD(&session->requests, req, link);
	session->nrequests++;
	return req;
}

void session_request_end(struct request *req)
{
	struct session *session = req->session;

	assert(session->nrequests > 0);
	LIST_REMOVE(req, link);
	session->nrequests--;
	session->promised_bytes -= req->promise_bytes;
	if (req->slot)
		req->slot->users--;
	free(session_unpin_all(req));
	session_drop_payload(req);
	free(req->beside);
	req->magic = 0;
	free(session->spare); /* the one that is kept is the one that is in the CPU's cache */
	session->spare = req;
}

void session_drop_payload(struct request *req)
{
	if (req->payload == &req->whole)
		pagevec_fini(&req->whole);
	else
		pagevecs_free(req->payload, req->npayload);
	req->payload = NULL;
	req->npayload = 0;
}

int session_pin_all(struct request *req, const struct msg_handle *handles, uint32_t n)
{
	struct session_slots *slots = calloc(1, sizeof(*slots) + n * sizeof(struct session_slot *));
	bool pinned[SESSION_HANDLES_MAX] = {false};

	if (!slots)
		return -ERR_NOMEM;
	req->slots = slots;
	for (uint32_t i = 0; i < n; i++) {
		struct session_slot *slot = session_slot_find(req->session, handles[i].handle);

		if (!slot)
			return -ERR_BAD_HANDLE; /* what is pinned is unpinned with the request */
		if (pinned[slot->number - 1])
			continue;
		pinned[slot->number - 1] = true;
		slot->users++;
		slots->slot[slots->n++] = slot;
	}
	return 0;
}

struct session_slots *session_unpin_all(struct request *req)
{
	struct session_slots *slots = req->slots;

	req->slots = NULL;
	for (uint32_t i = 0; slots && i < slots->n; i++)
		slots->slot[i]->users--;
	return slots;
}

void session_promise(struct request *req, uint64_t bytes)
{
	req->promise_bytes += bytes;
	req->session->promised_bytes += bytes;
}

/* The index of an empty place, after the last one given out: numbers are not reused at once. */
static int session_slot_place(struct session *session, uint32_t *place)
{
	struct session_slot **more;

	for (uint32_t i = 1; i <= session->nslots; i++) {
		uint32_t at = (session->last_slot + i) % session->nslots;

		if (!session->slots[at]) {
			*place = at;
			return 0;
		}
	}
	if (session->nslots >= SESSION_HANDLES_MAX)
		return -ERR_LIMIT;
	more =
	    realloc(session->slots, (session->nslots + SLOTS_STEP) * sizeof(struct session_slot *));
	if (!more)
		return -ERR_NOMEM;
	memset(more + session->nslots, 0, SLOTS_STEP * sizeof(struct session_slot *));
	session->slots = more;
	*place = session->nslots;
	session->nslots += SLOTS_STEP;
	return 0;
}

int session_slot_new(struct session *session, struct session_slot **slot)
{
	struct session_slot *s = calloc(1, sizeof(*s));
	uint32_t place = 0;
	int err;

	if (!s)
		return -ERR_NOMEM;
	err = session_slot_place(session, &place);
	if (err < 0) {
		free(s);
		return err;
	}
	session->slots[place] = s;
	session->last_slot = place;
	s->number = place + 1;
	*slot = s;
	return 0;
}

int session_slot_drop(struct session *session, struct session_slot *slot)
{
	int err = slot->handle ? object_close(slot->handle) : 0;

	assert(slot->users == 0 && session->slots[slot->number - 1] == slot);
	session->slots[slot->number - 1] = NULL;
	free(slot);
	return err;
}

struct session_slot *session_slot_find(const struct session *session, uint32_t number)
{
	struct session_slot *slot;

	if (number == 0 || number > session->nslots)
		return NULL;
	slot = session->slots[number - 1];
	return slot && slot->handle && !slot->closing ? slot : NULL;
}

const char *session_escape(char *buf, size_t len, const char *text)
{
	size_t pos = 0;

	while (*text != '\0') {
		uint32_t cp = 0;
		size_t n = utf8_next(text, &cp);
		bool plain = n > 0 && !utf8_is_control(cp);
		size_t need = plain ? n : 4;

		if (pos + need >= len)
			break;
		if (plain)
			memcpy(buf + pos, text, n);
		else
			snprintf(buf + pos, 5, "\\x%02x", (unsigned char)*text);
		pos += need;
		text += plain ? n : 1;
	}
	buf[pos] = '\0';
	return buf;
}
