/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch_reply.c: how requests end: replies, errors and their texts.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/label.h"
#include "common/log.h"
#include "common/name.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/dispatch_priv.h"

/* Every encoded info: no field takes more bytes than its member and the length of a string. */
#define INFO_BYTES_MAX (sizeof(struct msg_info) + 2)

_Static_assert(MAP_LABELS_MAX == LABELS_MAX_BYTES, "the labels of the map fit an info");

struct request *dispatch_request_of(void *ctx)
{
	struct request *req = ctx;

	assert(req->magic == REQUEST_MAGIC);
	return req;
}

static uint32_t payload_crc(uint32_t crc, const struct pagevec *pv)
{
	for (uint32_t i = 0; i < pv->npages; i++) {
		uint32_t off;
		uint32_t len;

		pagevec_span(pv, i, &off, &len);
		crc = crc32c(crc, pv->pages[i]->data + off, len);
	}
	return crc;
}

/* Adds a payload, and says in the header what it is. */
static void reply_add(struct session_reply *reply, bool checked, struct pagevec *pvs, uint32_t n)
{
	reply->payload = pvs;
	reply->npayload = n;
	for (uint32_t i = 0; i < n; i++) {
		reply->header.payload_len += (uint32_t)pvs[i].len;
		if (checked)
			reply->header.payload_crc = payload_crc(reply->header.payload_crc, &pvs[i]);
	}
}

/* A CLOSE may have waited for the last request on the slot. */
static void dispatch_leave(struct session_slot *slot)
{
	if (slot->users == 0 && slot->closing)
		dispatch_close_now(slot->closing, slot);
}

void dispatch_finish(struct request *req, int err, const void *body, size_t body_len,
		     struct pagevec *payload, uint32_t npayload)
{
	struct session *session = req->session;
	struct session_slot *slot = req->slot;
	struct session_slots *slots = session_unpin_all(req);
	struct session_reply reply = {
	    .header = {.magic = WIRE_MAGIC_REPLY,
		       .op = req->header.op,
		       .id = req->header.id,
		       .status = (uint32_t)err_class(err)},
	    .body = body,
	    .body_len = (uint32_t)body_len,
	};

	reply_add(&reply, session->features & WIRE_FEATURE_PAYLOAD_CRC, payload, npayload);
	session_request_end(req);
	session->reply(session, &reply);
	if (slot)
		dispatch_leave(slot);
	for (uint32_t i = 0; slots && i < slots->n; i++)
		dispatch_leave(slots->slot[i]);
	free(slots);
}

/* ---- errors ---------------------------------------------------------------------------------- */

size_t dispatch_error_body(uint8_t *buf, size_t len, int err, const char *about)
{
	struct msg_error msg;
	int n;

	if (about && about[0] != '\0')
		snprintf(msg.text, sizeof(msg.text), "%s: %s", err_text(err), about);
	else
		snprintf(msg.text, sizeof(msg.text), "%s", err_text(err));
	n = msg_error_encode(buf, len, &msg);
	assert(n > 0);
	return (size_t)n;
}

void dispatch_error(struct request *req, int err, const char *about)
{
	uint8_t body[WIRE_TEXT_MAX + 16];
	size_t n = dispatch_error_body(body, sizeof(body), err, about);

	log_event(LOG_DEBUG, "request-refused", "op=%u id=%llu error=%s", req->header.op,
		  (unsigned long long)req->header.id, err_name(err));
	dispatch_finish(req, err, body, n, NULL, 0);
}

/* What is wrong with the name of an error; "" where that is not the error. */
static const char *name_fault(int err, const char *spec)
{
	const char *problem = err == -ERR_BAD_NAME ? name_problem(spec) : NULL;

	/* of a spec that is none for another reason, the operation takes no version */
	if (problem && strchr(spec, '@'))
		problem = name_spec_problem(spec) ? name_spec_problem(spec) : problem;
	return problem ? problem : "";
}

void dispatch_error_name(struct request *req, int err, const char *spec)
{
	char safe[DISPATCH_ABOUT_BYTES - 64];
	char about[DISPATCH_ABOUT_BYTES];
	const char *fault = name_fault(err, spec);

	session_escape(safe, sizeof(safe), spec);
	snprintf(about, sizeof(about), "%s%s%s", safe, fault[0] != '\0' ? " " : "", fault);
	dispatch_error(req, err, about);
}

/* ---- what most operations answer with -------------------------------------------------------- */

void dispatch_answer(struct request *req, int err, const char *spec)
{
	if (err < 0)
		dispatch_error_name(req, err, spec);
	else
		dispatch_finish(req, 0, NULL, 0, NULL, 0);
}

void dispatch_info_to_msg(struct msg_info *msg, const struct map_obj *obj)
{
	assert(obj->labels_len <= sizeof(msg->labels.bytes));
	*msg = (struct msg_info){
	    .id = obj->id,
	    .size_bytes = obj->size_bytes,
	    .mapped_bytes = obj->mapped_nblks << BLK_SHIFT,
	    .generation = obj->generation,
	    .ctime_ns = obj->ctime_ns,
	    .mtime_ns = obj->mtime_ns,
	    .origin = obj->origin,
	    .parent = obj->parent,
	    .expires_ns = obj->expires_ns,
	    .reserved_bytes = obj->reserved_nblks << BLK_SHIFT,
	    .withheld_bytes = map_obj_promised(obj) << BLK_SHIFT,
	    .nversions = obj->nversions,
	    .flags = obj->readonly || obj->parent ? MSG_INFO_READONLY : 0,
	    .labels.len = (uint16_t)obj->labels_len,
	};
	snprintf(msg->name, sizeof(msg->name), "%s", obj->name);
	memcpy(msg->labels.bytes, obj->labels, obj->labels_len);
}

void dispatch_answer_info(struct request *req, int err, const char *spec,
			  const struct map_obj *info)
{
	uint8_t body[INFO_BYTES_MAX];
	struct msg_info msg;
	int n;

	if (err < 0) {
		dispatch_error_name(req, err, spec);
		return;
	}
	dispatch_info_to_msg(&msg, info);
	n = msg_info_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

int dispatch_prepare_large(struct request *req)
{
	session_promise(req, WIRE_BODY_MAX);
	return 0;
}

void dispatch_answer_list(struct request *req, int err, const char *spec,
			  const struct map_obj *objs, uint32_t n, bool more)
{
	uint8_t *body = err < 0 ? NULL : malloc(WIRE_BODY_MAX);
	size_t used = MSG_LIST_HEAD_BYTES;
	uint32_t i;

	if (!body) {
		dispatch_error_name(req, err < 0 ? err : -ERR_NOMEM, spec);
		return;
	}
	for (i = 0; i < n; i++) {
		struct msg_info msg;

		dispatch_info_to_msg(&msg, &objs[i]);
		if (msg_list_add(body, WIRE_BODY_MAX, &used, &msg) < 0)
			break;
	}
	msg_list_finish(body, i, more || i < n);
	dispatch_finish(req, 0, body, used, NULL, 0);
	free(body);
}

/* ---- attributes ------------------------------------------------------------------------------ */

bool dispatch_labels_refused(struct request *req, const struct msg_labels *labels)
{
	char about[DISPATCH_ABOUT_BYTES];
	int err = label_check(labels->bytes, labels->len);

	if (err == 0)
		return false;
	snprintf(about, sizeof(about), "the labels %s", label_problem(labels->bytes, labels->len));
	dispatch_error(req, err, about);
	return true;
}

struct object_attrs dispatch_attrs_of(uint64_t ttl_ms, const struct msg_labels *labels)
{
	return (struct object_attrs){
	    .ttl_ms = ttl_ms, .labels = labels->bytes, .labels_len = labels->len};
}
