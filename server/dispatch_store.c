/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch_store.c: the operations on the store as a whole, or on many objects at once.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/dispatch_priv.h"

_Static_assert(OBJECT_CHECK_TEXTS_MAX <= MSG_CHECK_TEXTS_MAX, "all texts of a check fit its reply");

/* ---- statfs ---------------------------------------------------------------------------------- */

static void statfs_cb(void *ctx, int err, const struct object_space *space)
{
	struct request *req = dispatch_request_of(ctx);
	uint8_t body[sizeof(struct msg_statfs_reply)];
	struct msg_statfs_reply msg;
	int n;

	if (err < 0) {
		dispatch_error(req, err, NULL);
		return;
	}
	msg = (struct msg_statfs_reply){
	    .block_bytes = BLK_BYTES,
	    .total_bytes = space->total_nblks << BLK_SHIFT,
	    .free_bytes = space->free_nblks << BLK_SHIFT,
	    .reserved_bytes = space->reserved_nblks << BLK_SHIFT,
	    .mapped_bytes = space->map.mapped_nblks << BLK_SHIFT,
	    .meta_total_bytes = space->map.meta_total_bytes,
	    .meta_used_bytes = space->map.meta_used_bytes,
	    .objects = space->map.objects,
	    .versions = space->map.versions,
	    .reaping_bytes = space->map.reap_nblks << BLK_SHIFT,
	    .staged_bytes = space->staged_bytes,
	    .journal_bytes = space->journal_bytes,
	    .journal_used_bytes = space->journal_used_bytes,
	    .withheld_bytes = (space->withheld_nblks + space->kept_nblks) << BLK_SHIFT,
	};
	n = msg_statfs_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

void dispatch_statfs(struct request *req)
{
	object_statfs(req->session->host->objs, statfs_cb, req);
}

/* ---- usage ----------------------------------------------------------------------------------- */

/* The specs of a request: too large for its union, so they are beside it. */
struct usage_specs {
	uint32_t n;
	char *names; /* behind the last of spec */
	const char *spec[];
};

int dispatch_decode_usage(struct request *req, const uint8_t *body, size_t len)
{
	/* a spec has a byte at least, and two for its length */
	uint32_t max = len / 3 < MSG_USAGE_MAX ? (uint32_t)(len / 3) : MSG_USAGE_MAX;
	struct usage_specs *specs = malloc(sizeof(*specs) + max * sizeof(specs->spec[0]) + len);

	if (!specs)
		return -ERR_NOMEM;
	req->beside = specs;
	specs->names = (char *)&specs->spec[max];
	return msg_usage_decode(body, len, specs->names, specs->spec, max, &specs->n);
}

static void usage_error(struct request *req, int err)
{
	const struct usage_specs *specs = req->beside;
	bool about_store = err_class(err) == ERR_BUSY || err_class(err) == ERR_LIMIT;

	if (!about_store && specs->n == 1)
		dispatch_error_name(req, err, specs->spec[0]);
	else
		dispatch_error(req, err, about_store ? NULL : "one of those named");
}

static void usage_cb(void *ctx, int err, const struct object_usage *usage)
{
	struct request *req = dispatch_request_of(ctx);
	uint8_t body[sizeof(struct msg_usage_reply)];
	struct msg_usage_reply msg;
	int n;

	if (err < 0) {
		usage_error(req, err);
		return;
	}
	msg = (struct msg_usage_reply){
	    .mapped_bytes = usage->mapped_nblks << BLK_SHIFT,
	    .exclusive_bytes = usage->exclusive_nblks << BLK_SHIFT,
	};
	n = msg_usage_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

void dispatch_usage(struct request *req)
{
	const struct usage_specs *specs = req->beside;

	object_usage(req->session->host->objs, specs->spec, specs->n, usage_cb, req);
}

/* ---- reaping --------------------------------------------------------------------------------- */

static void reaping_cb(void *ctx, int err, uint64_t nblks)
{
	struct request *req = dispatch_request_of(ctx);
	struct msg_reaping_reply msg = {.reaping_bytes = nblks << BLK_SHIFT};
	uint8_t body[sizeof(msg)];
	int n;

	if (err < 0) {
		dispatch_error(req, err, NULL);
		return;
	}
	n = msg_reaping_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}

void dispatch_reaping(struct request *req)
{
	object_reaping(req->session->host->objs, reaping_cb, req);
}

/* ---- check ----------------------------------------------------------------------------------- */

static void check_to_msg(struct msg_check_reply *msg, const struct object_check *check)
{
	*msg = (struct msg_check_reply){
	    .differences = check->differences,
	    .objects = check->totals.objects + check->totals.versions,
	    .nodes = check->totals.nodes,
	    .mapped_bytes = check->totals.mapped_nblks << BLK_SHIFT,
	    .shared_bytes = check->totals.shared_nblks << BLK_SHIFT,
	    .free_bytes = check->totals.free_nblks << BLK_SHIFT,
	    .ntexts = (uint16_t)check->ntexts,
	};
	assert(check->ntexts <= OBJECT_CHECK_TEXTS_MAX);
	for (uint32_t i = 0; i < check->ntexts; i++)
		session_escape(msg->texts[i].text, sizeof(msg->texts[i].text), check->texts[i]);
}

static void check_cb(void *ctx, int err, const struct object_check *check)
{
	struct request *req = dispatch_request_of(ctx);
	struct msg_check_reply *msg = err < 0 ? NULL : malloc(sizeof(*msg));
	uint8_t *body = msg ? malloc(WIRE_BODY_MAX) : NULL;
	int n;

	if (!body) {
		dispatch_error(req, err < 0 ? err : -ERR_NOMEM, NULL);
	} else {
		check_to_msg(msg, check);
		n = msg_check_reply_encode(body, WIRE_BODY_MAX, msg);
		assert(n > 0);
		dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
	}
	free(body);
	free(msg);
}

void dispatch_check_store(struct request *req)
{
	object_check(req->session->host->objs, check_cb, req);
}

/* ---- the server ------------------------------------------------------------------------------ */

void dispatch_server(struct request *req)
{
	const struct session_host *host = req->session->host;
	struct msg_server_reply msg = {.incarnation = host->incarnation,
				       .uptime_ms = clock_now_ms() - host->started_ms,
				       .nbd_tls = host->nbd_tls};
	uint8_t body[sizeof(msg) + 2 * MSG_ADDRS_MAX]; /* a length takes one byte more than a NUL */
	int n;

	snprintf(msg.agent, sizeof(msg.agent), "%s", host->agent);
	for (uint16_t i = 0; i < host->naddrs && i < MSG_ADDRS_MAX; i++) {
		snprintf(msg.addrs[i].text, sizeof(msg.addrs[i].text), "%s%s",
			 host->addrs[i].nbd ? "nbd+" : "", host->addrs[i].text);
		msg.count++;
	}
	n = msg_server_reply_encode(body, sizeof(body), &msg);
	assert(n > 0);
	dispatch_finish(req, 0, body, (size_t)n, NULL, 0);
}
