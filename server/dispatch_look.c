/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch_look.c: what is asked about the data of open objects: where it is, where it differs, and
 * whether it is whole on the device.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/dispatch_priv.h"

static_assert(MSG_VERIFY_MAX * MSG_DAMAGE_BYTES < WIRE_BODY_MAX / 2, "a reply has all of them");

/* No object is as long as these are at most, and their sum is no overflow. */
static uint64_t clip(uint64_t bytes)
{
	return bytes < WIRE_OBJECT_SIZE_MAX ? bytes : WIRE_OBJECT_SIZE_MAX;
}

/* ---- extents --------------------------------------------------------------------------------- */

int dispatch_prepare_extents(struct request *req)
{
	int err = dispatch_pin(req, req->m.extents.handle);

	if (err == 0)
		session_promise(req, WIRE_BODY_MAX);
	return err;
}

static struct msg_extent extent_to_msg(const struct object_run *run)
{
	struct msg_extent ext = {.len = run->len_bytes, .physical = run->dev_bytes};

	ext.kind = MSG_EXTENT_HOLE;
	if (run->data || run->zero)
		ext.kind = run->data ? MSG_EXTENT_DATA : MSG_EXTENT_ZERO;
	ext.flags = run->shared ? MSG_EXTENT_SHARED : 0;
	if (run->dirty)
		ext.flags = MSG_EXTENT_DIRTY;
	return ext;
}

static void extents_cb(void *ctx, int err, const struct object_run *runs, uint32_t n)
{
	struct request *req = dispatch_request_of(ctx);
	size_t body_bytes = sizeof(uint32_t) + (size_t)n * MSG_EXTENT_BYTES;
	struct msg_extent *ext = calloc((size_t)n + 1, sizeof(*ext));
	uint8_t *body = malloc(body_bytes);
	int len = err;

	if (err == 0 && (!ext || !body))
		len = -ERR_NOMEM;
	for (uint32_t i = 0; len == 0 && i < n; i++)
		ext[i] = extent_to_msg(&runs[i]);
	if (len == 0)
		len = msg_extents_reply_encode(body, body_bytes, ext, n);
	if (len < 0)
		dispatch_error_name(req, len, object_name(req->slot->handle));
	else
		dispatch_finish(req, 0, body, (size_t)len, NULL, 0);
	free(ext);
	free(body);
}

void dispatch_extents(struct request *req)
{
	const struct msg_extents *m = &req->m.extents;
	uint32_t max = m->max == 0 || m->max > MSG_EXTENTS_MAX ? MSG_EXTENTS_MAX : m->max;
	uint64_t room;

	if (m->len == 0 || m->offset >= WIRE_OBJECT_SIZE_MAX) {
		extents_cb(req, 0, NULL, 0);
		return;
	}
	room = WIRE_OBJECT_SIZE_MAX - m->offset;
	object_extents(req->slot->handle, m->offset, m->len < room ? m->len : room, max,
		       m->flags & MSG_EXTENTS_DETAILS, extents_cb, req);
}

/* ---- diff ------------------------------------------------------------------------------------ */

int dispatch_prepare_diff(struct request *req)
{
	int err = dispatch_pin(req, req->m.diff.handle);

	if (err == 0)
		session_promise(req, WIRE_BODY_MAX);
	return err;
}

static uint32_t diff_kind(enum map_diff_kind kind)
{
	switch (kind) {
	case MAP_DIFF_SAME:
		return MSG_DIFF_SAME;
	case MAP_DIFF_HOLE:
		return MSG_DIFF_HOLE;
	case MAP_DIFF_DATA:
		break;
	}
	return MSG_DIFF_DATA;
}

static void diff_error(struct request *req, int err)
{
	char about[64];

	if (err != -ERR_NOENT) {
		dispatch_error_name(req, err, object_name(req->slot->handle));
		return;
	}
	snprintf(about, sizeof(about), "none has the id %llu",
		 (unsigned long long)req->m.diff.older);
	dispatch_error(req, err, about);
}

static void diff_cb(void *ctx, int err, const struct object_diff *diff)
{
	struct request *req = dispatch_request_of(ctx);
	struct msg_diff_reply msg;
	struct msg_diff_run *runs;
	uint8_t *body;
	int len = -ERR_NOMEM;

	if (err < 0) {
		diff_error(req, err);
		return;
	}
	runs = calloc((size_t)diff->n + 1, sizeof(*runs));
	body = malloc(WIRE_BODY_MAX);
	if (runs && body) {
		msg = (struct msg_diff_reply){diff->n, diff->nodes, diff->size_bytes,
					      diff->older_bytes};
		for (uint32_t i = 0; i < diff->n; i++)
			runs[i] = (struct msg_diff_run){diff->runs[i].len_bytes,
							diff_kind(diff->runs[i].kind)};
		len = msg_diff_reply_encode(body, WIRE_BODY_MAX, &msg, runs);
	}
	if (len < 0)
		dispatch_error_name(req, len, object_name(req->slot->handle));
	else
		dispatch_finish(req, 0, body, (size_t)len, NULL, 0);
	free(runs);
	free(body);
}

void dispatch_diff(struct request *req)
{
	const struct msg_diff *m = &req->m.diff;
	uint32_t max = m->max == 0 || m->max > MSG_DIFF_MAX ? MSG_DIFF_MAX : m->max;

	object_diff(req->slot->handle, m->older, clip(m->offset), clip(m->len), max, diff_cb, req);
}

/* ---- verify ---------------------------------------------------------------------------------- */

int dispatch_prepare_verify(struct request *req)
{
	int err = dispatch_pin(req, req->m.verify.handle);

	if (err == 0)
		session_promise(req, WIRE_BODY_MAX);
	return err;
}

static uint32_t damage_kind(enum scrub_kind kind)
{
	switch (kind) {
	case SCRUB_CSUM:
		return MSG_DAMAGE_CHECKSUM;
	case SCRUB_READ:
		return MSG_DAMAGE_READ;
	case SCRUB_MAP:
		break;
	}
	return MSG_DAMAGE_METADATA;
}

static void verified_to_msg(struct msg_verify_reply *msg, const struct object_verified *verified)
{
	msg->len = verified->len_bytes;
	msg->left = verified->left_bytes;
	msg->read = verified->read_nblks << BLK_SHIFT;
	msg->pending = verified->pending_nblks << BLK_SHIFT;
	msg->count = verified->n;
	assert(verified->n <= MSG_VERIFY_MAX);
	for (uint32_t i = 0; i < verified->n; i++) {
		const struct scrub_damage *d = &verified->damages[i];

		msg->damages[i] = (struct msg_damage){d->blk.n << BLK_SHIFT, d->nblks << BLK_SHIFT,
						      d->at.n << BLK_SHIFT, damage_kind(d->kind)};
	}
}

static void verify_cb(void *ctx, int err, const struct object_verified *verified)
{
	struct request *req = dispatch_request_of(ctx);
	size_t body_bytes = sizeof(struct msg_verify_reply);
	struct msg_verify_reply *msg = calloc(1, sizeof(*msg));
	uint8_t *body = malloc(body_bytes);
	int len = err;

	if (err == 0 && (!msg || !body))
		len = -ERR_NOMEM;
	if (len == 0) {
		verified_to_msg(msg, verified);
		len = msg_verify_reply_encode(body, body_bytes, msg);
	}
	if (len < 0)
		dispatch_error_name(req, len, object_name(req->slot->handle));
	else
		dispatch_finish(req, 0, body, (size_t)len, NULL, 0);
	free(msg);
	free(body);
}

void dispatch_verify(struct request *req)
{
	const struct msg_verify *m = &req->m.verify;
	const struct object_verify what = {
	    .off_bytes = clip(m->offset),
	    .len_bytes = clip(m->len),
	    .older = m->older,
	    .rate_bytes = m->rate,
	    .max = m->max == 0 || m->max > MSG_VERIFY_MAX ? MSG_VERIFY_MAX : m->max};

	object_verify(req->slot->handle, &what, verify_cb, req);
}
