/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch_group.c: the operations on several objects at once.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/name.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/dispatch_priv.h"

_Static_assert(MSG_GROUP_MAX == OBJECT_GROUP_MAX && MSG_PARTS_MAX == OBJECT_PARTS_MAX,
	       "the engine takes what a request may have");

/* ---- handles --------------------------------------------------------------------------------- */

int dispatch_prepare_handles(struct request *req)
{
	return session_pin_all(req, req->m.handles.handles, req->m.handles.count);
}

/* The handles of what is pinned. */
static void slots_handles(const struct session_slots *slots, struct handle **handles)
{
	for (uint32_t i = 0; i < slots->n; i++)
		handles[i] = slots->slot[i]->handle;
}

static void handles_cb(void *ctx, int err)
{
	struct request *req = dispatch_request_of(ctx);

	if (err < 0)
		dispatch_error(req, err,
			       err_class(err) == ERR_LIMIT ? "so many are tied to each other"
			       : err == -ERR_BAD_HANDLE
				   ? NULL
				   : "of one of them, or of what it is tied to");
	else
		dispatch_finish(req, 0, NULL, 0, NULL, 0);
}

void dispatch_tie(struct request *req)
{
	struct handle *handles[OBJECT_GROUP_MAX];

	slots_handles(req->slots, handles);
	handles_cb(req, object_tie(handles, req->slots->n));
}

void dispatch_fsync_all(struct request *req)
{
	struct handle *handles[OBJECT_GROUP_MAX];

	slots_handles(req->slots, handles);
	object_fsync_all(handles, req->slots->n, handles_cb, req);
}

/* ---- one write to several -------------------------------------------------------------------- */

int dispatch_decode_write_all(struct request *req, const uint8_t *body, size_t len)
{
	req->beside = malloc(sizeof(struct msg_write_all));
	if (!req->beside)
		return -ERR_NOMEM;
	return msg_write_all_decode(body, len, req->beside);
}

/* What a WRITE_ALL asks the engine for. */
struct write_all {
	struct object_range ranges[WIRE_RANGES_MAX];
	struct object_part parts[MSG_PARTS_MAX]; /* their handles not */
	struct msg_handle handles[MSG_PARTS_MAX];
	uint32_t n;
	uint64_t len; /* of all ranges */
};

/* Ranges of one handle that follow each other are a part.  -ERR_LIMIT: too many. */
static int write_all_of(const struct msg_write_all *m, struct write_all *all)
{
	all->n = 0;
	all->len = 0;
	for (uint32_t i = 0; i < m->count; i++) {
		const struct msg_object_range *range = &m->ranges[i];

		if (i == 0 || range->handle != m->ranges[i - 1].handle) {
			if (all->n == MSG_PARTS_MAX)
				return -ERR_LIMIT;
			all->handles[all->n].handle = range->handle;
			all->parts[all->n++] = (struct object_part){
			    .ranges = &all->ranges[i],
			    .if_generation =
				range->flags & MSG_IF_GENERATION ? &range->generation : NULL};
		}
		all->parts[all->n - 1].nranges++;
		all->ranges[i] = (struct object_range){range->offset, range->len};
		all->len += range->len;
	}
	return 0;
}

int dispatch_prepare_write_all(struct request *req)
{
	struct write_all all;
	uint64_t npages;
	int err = write_all_of(req->beside, &all);

	if (err == 0)
		err = session_pin_all(req, all.handles, all.n);
	if (err == 0 && req->slots->n < all.n)
		err = -ERR_SAME_OBJECT;
	if (err == 0 && all.len != req->header.payload_len)
		err = -ERR_PAYLOAD;
	if (err == 0)
		err = object_payload_all(all.parts, all.n, &req->payload, &req->npayload, &npages);
	if (err < 0)
		return err;
	req->payload_bytes = npages << BLK_SHIFT;
	return 0;
}

static void write_all_error(struct request *req, int err, uint32_t at, uint64_t generation)
{
	char about[DISPATCH_ABOUT_BYTES];
	char safe[DISPATCH_ABOUT_BYTES - 64];

	if (at == req->slots->n) {
		dispatch_error(req, err,
			       err == -ERR_LIMIT ? "so many are tied to each other" : NULL);
	} else if (err != -ERR_CHANGED) {
		dispatch_error_name(req, err, object_name(req->slots->slot[at]->handle));
	} else {
		session_escape(safe, sizeof(safe), object_name(req->slots->slot[at]->handle));
		snprintf(about, sizeof(about), "%s is at generation %" PRIu64, safe, generation);
		dispatch_error(req, err, about);
	}
}

static void write_all_cb(void *ctx, int err, uint32_t at, const uint64_t *generations)
{
	struct request *req = dispatch_request_of(ctx);
	struct msg_generations reply = {.count = req->slots->n};
	uint8_t body[sizeof(reply)];
	int n;

	if (err < 0) {
		write_all_error(req, err, at, err == -ERR_CHANGED ? generations[at] : 0);
		return;
	}
	memcpy(reply.generations, generations, reply.count * sizeof(generations[0]));
	n = msg_generations_encode(body, sizeof(body), &reply);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

void dispatch_write_all(struct request *req)
{
	struct write_all all;
	int err = write_all_of(req->beside, &all);

	assert(err == 0);
	for (uint32_t i = 0; i < all.n; i++)
		all.parts[i].handle = req->slots->slot[i]->handle;
	object_write_all(all.parts, all.n, req->payload, write_all_cb, req);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* A CLONE_ALL: too large for its request's union, so it is beside it. */
struct clone_all {
	struct msg_clone_all m;
	struct msg_pair pairs[MSG_GROUP_MAX];
	struct object_pair objects[MSG_GROUP_MAX];
	char names[];
};

int dispatch_decode_clone_all(struct request *req, const uint8_t *body, size_t len)
{
	struct clone_all *all = malloc(sizeof(*all) + len);

	if (!all)
		return -ERR_NOMEM;
	req->beside = all;
	return msg_clone_all_decode(body, len, &all->m, all->names, all->pairs);
}

/* The pair is to blame for what it names, and for no other error. */
static bool pair_is_to_blame(int err)
{
	enum err class = err_class(err);

	return class == ERR_INVAL || class == ERR_NOENT || class == ERR_EXIST;
}

static void pair_error(struct request *req, int err, const struct msg_pair *pair)
{
	char about[DISPATCH_ABOUT_BYTES];
	char src[DISPATCH_NAME_BYTES];
	char dst[DISPATCH_NAME_BYTES];

	if (err == -ERR_NOENT || (err == -ERR_BAD_NAME && name_spec_problem(pair->src))) {
		dispatch_error_name(req, err, pair->src);
	} else if (err == -ERR_INVAL) {
		snprintf(about, sizeof(about),
			 "%s cannot be made of %s: a version is of its own object",
			 session_escape(dst, sizeof(dst), pair->dst),
			 session_escape(src, sizeof(src), pair->src));
		dispatch_error(req, err, about);
	} else {
		dispatch_error_name(req, err, pair->dst);
	}
}

static void clone_all_cb(void *ctx, int err, uint32_t at)
{
	struct request *req = dispatch_request_of(ctx);
	const struct clone_all *all = req->beside;

	if (err == 0)
		dispatch_finish(req, 0, NULL, 0, NULL, 0);
	else if (at < all->m.count && pair_is_to_blame(err))
		pair_error(req, err, &all->pairs[at]);
	else
		dispatch_error(req, err, err == -ERR_LIMIT ? "too much for one commit" : NULL);
}

void dispatch_clone_all(struct request *req)
{
	struct clone_all *all = req->beside;
	struct object_attrs attrs = dispatch_attrs_of(all->m.ttl_ms, &all->m.labels);

	if (dispatch_labels_refused(req, &all->m.labels))
		return;
	for (uint32_t i = 0; i < all->m.count; i++)
		all->objects[i] = (struct object_pair){all->pairs[i].src, all->pairs[i].dst};
	object_clone_all(req->session->host->objs, all->objects, all->m.count, &attrs, clone_all_cb,
			 req);
}
