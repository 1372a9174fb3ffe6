/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow's questions about the store as a whole, what objects use of it, and its server. */
#include "client/cow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "client/names.h"
#include "common/err.h"

_Static_assert(MSG_NBD_TLS_ON == COW_NBD_TLS_ON && MSG_NBD_TLS_REQUIRE == COW_NBD_TLS_REQUIRE,
	       "handed on as it comes");
_Static_assert(MSG_USAGE_MAX == COW_USAGE_MAX, "the protocol's limit is told to callers");

/* ---- space ----------------------------------------------------------------------------------- */

static int store_decode_statfs(void *ctx, const uint8_t *body, size_t len)
{
	return msg_statfs_reply_decode(body, len, ctx);
}

static void store_fill_statfs(const struct msg_statfs_reply *m, struct cow_statfs *st)
{
	*st = (struct cow_statfs){
	    .block_size = m->block_bytes,
	    .total = m->total_bytes,
	    .free = m->free_bytes,
	    .reserved = m->reserved_bytes,
	    .mapped = m->mapped_bytes,
	    .meta_total = m->meta_total_bytes,
	    .meta_used = m->meta_used_bytes,
	    .objects = m->objects,
	    .versions = m->versions,
	    .reaping = m->reaping_bytes,
	    .staged = m->staged_bytes,
	    .journal = m->journal_bytes,
	    .journal_used = m->journal_used_bytes,
	    .withheld = m->withheld_bytes,
	};
}

int cow_get_statfs(cow_t *cow, struct cow_statfs *st)
{
	struct msg_statfs_reply m;
	struct call call;
	int err;

	call_init(&call, WIRE_OP_STATFS);
	call.decode = store_decode_statfs;
	call.ctx = &m;
	err = call_run(cow, &call, 0);
	if (err == 0)
		store_fill_statfs(&m, st);
	return err;
}

static int store_decode_reaping(void *ctx, const uint8_t *body, size_t len)
{
	return msg_reaping_reply_decode(body, len, ctx);
}

int cow_get_reaping(cow_t *cow, uint64_t *bytes)
{
	struct msg_reaping_reply m;
	struct call call;
	int err;

	call_init(&call, WIRE_OP_REAPING);
	call.decode = store_decode_reaping;
	call.ctx = &m;
	err = call_run(cow, &call, 0);
	if (err < 0)
		return err;
	*bytes = m.reaping_bytes;
	return 0;
}

/* ---- usage ----------------------------------------------------------------------------------- */

static int store_decode_usage(void *ctx, const uint8_t *body, size_t len)
{
	return msg_usage_reply_decode(body, len, ctx);
}

static int store_check_specs(cow_t *cow, const char *const *specs, size_t count)
{
	char copy[MSG_NAME_BYTES];
	char which[64];
	int err = 0;

	if (count == 0 || count > MSG_USAGE_MAX)
		return errors_set(cow, -ERR_INVAL, "usage is asked of 1 to 4096 objects");
	for (size_t i = 0; err == 0 && i < count; i++) {
		(void)snprintf(which, sizeof(which), "name %zu of %zu", i + 1, count);
		err = names_copy_spec_as(cow, which, specs[i], copy);
	}
	return err;
}

/* A request that may be too long to lie within its struct. */
static int store_ask_usage(cow_t *cow, const char *const *specs, size_t count, uint8_t *body,
			   struct msg_usage_reply *m)
{
	struct call call;

	call_init(&call, WIRE_OP_USAGE);
	call.req.body = body;
	call.decode = store_decode_usage;
	call.ctx = m;
	return call_run(cow, &call,
			msg_usage_encode(body, call_body_max(cow), specs, (uint32_t)count));
}

int cow_get_usage(cow_t *cow, const char *const *specs, size_t count, struct cow_usage *usage)
{
	struct msg_usage_reply m;
	uint8_t *body;
	int err = store_check_specs(cow, specs, count);

	if (err < 0)
		return err;
	body = malloc(WIRE_BODY_MAX);
	if (!body)
		return errors_set(cow, -ERR_NOMEM, "");
	err = store_ask_usage(cow, specs, count, body, &m);
	free(body);
	if (err < 0)
		return err;
	*usage = (struct cow_usage){.mapped = m.mapped_bytes, .exclusive = m.exclusive_bytes};
	return 0;
}

/* ---- check ----------------------------------------------------------------------------------- */

static int store_decode_check(void *ctx, const uint8_t *body, size_t len)
{
	return msg_check_reply_decode(body, len, ctx);
}

/* One piece of memory: the pointers, then what they point to. */
static int store_fill_report(const struct msg_check_reply *m, struct cow_report *report)
{
	const char **texts = malloc(m->ntexts * (sizeof(*texts) + sizeof(m->texts[0])) + 1);
	struct msg_error *copies = (struct msg_error *)(texts + m->ntexts);

	if (!texts)
		return -ERR_NOMEM;
	for (size_t i = 0; i < m->ntexts; i++) {
		copies[i] = m->texts[i];
		texts[i] = copies[i].text;
	}
	*report = (struct cow_report){
	    .differences = m->differences,
	    .objects = m->objects,
	    .nodes = m->nodes,
	    .mapped = m->mapped_bytes,
	    .shared = m->shared_bytes,
	    .free = m->free_bytes,
	    .texts = texts,
	    .ntexts = m->ntexts,
	};
	return 0;
}

int cow_check(cow_t *cow, struct cow_report *report)
{
	struct msg_check_reply *m = malloc(sizeof(*m));
	struct call call;
	int err;

	if (!m)
		return errors_set(cow, -ERR_NOMEM, "");
	call_init(&call, WIRE_OP_CHECK);
	call.decode = store_decode_check;
	call.ctx = m;
	err = call_run(cow, &call, 0);
	if (err == 0 && store_fill_report(m, report) < 0)
		err = errors_set(cow, -ERR_NOMEM, "");
	free(m);
	return err;
}

void cow_report_clear(struct cow_report *report)
{
	free(report->texts);
	report->texts = NULL;
	report->ntexts = 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

static int store_decode_service(void *ctx, const uint8_t *body, size_t len)
{
	return msg_server_reply_decode(body, len, ctx);
}

/* One piece of memory: the pointers, then what they point to. */
static int store_fill_service(const struct msg_server_reply *m, struct cow_service *service)
{
	const char **addrs = malloc(m->count * (sizeof(*addrs) + sizeof(m->addrs[0])) + 1);
	struct msg_addr *copies = (struct msg_addr *)(addrs + m->count);

	if (!addrs)
		return -ERR_NOMEM;
	for (size_t i = 0; i < m->count; i++) {
		copies[i] = m->addrs[i];
		addrs[i] = copies[i].text;
	}
	*service = (struct cow_service){
	    .incarnation = m->incarnation,
	    .uptime_ms = m->uptime_ms,
	    .nbd_tls = m->nbd_tls,
	    .addrs = addrs,
	    .naddrs = m->count,
	};
	memcpy(service->agent, m->agent, sizeof(service->agent));
	return 0;
}

int cow_get_service(cow_t *cow, struct cow_service *service)
{
	struct msg_server_reply m;
	struct call call;
	int err;

	call_init(&call, WIRE_OP_SERVER);
	call.decode = store_decode_service;
	call.ctx = &m;
	err = call_run(cow, &call, 0);
	if (err == 0 && store_fill_service(&m, service) < 0)
		err = errors_set(cow, -ERR_NOMEM, "");
	return err;
}

void cow_service_clear(struct cow_service *service)
{
	free(service->addrs);
	service->addrs = NULL;
	service->naddrs = 0;
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

static int store_submit(cow_t *cow, const struct aio_kind *kind, void *out,
			const struct cow_aio *how, uint64_t *id)
{
	struct aio *aio;
	int err = aio_new(cow, NULL, kind, how, &aio);

	if (err < 0)
		return err;
	aio->out = out;
	return aio_submit(aio, 0, id);
}

static int64_t store_finish_statfs(struct aio *aio)
{
	store_fill_statfs(aio->state, aio->out);
	return 0;
}

int cow_aio_get_statfs(cow_t *cow, struct cow_statfs *st, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_STATFS,
					     .decode = store_decode_statfs,
					     .state_bytes = sizeof(struct msg_statfs_reply),
					     .finish = store_finish_statfs};

	return store_submit(cow, &kind, st, how, id);
}

static int64_t store_finish_reaping(struct aio *aio)
{
	const struct msg_reaping_reply *m = aio->state;

	*(uint64_t *)aio->out = m->reaping_bytes;
	return 0;
}

int cow_aio_get_reaping(cow_t *cow, uint64_t *bytes, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_REAPING,
					     .decode = store_decode_reaping,
					     .state_bytes = sizeof(struct msg_reaping_reply),
					     .finish = store_finish_reaping};

	return store_submit(cow, &kind, bytes, how, id);
}

static int64_t store_finish_check(struct aio *aio)
{
	return store_fill_report(aio->state, aio->out);
}

int cow_aio_check(cow_t *cow, struct cow_report *report, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_CHECK,
					     .decode = store_decode_check,
					     .state_bytes = sizeof(struct msg_check_reply),
					     .finish = store_finish_check};

	return store_submit(cow, &kind, report, how, id);
}

static int64_t store_finish_service(struct aio *aio)
{
	return store_fill_service(aio->state, aio->out);
}

int cow_aio_get_service(cow_t *cow, struct cow_service *service, const struct cow_aio *how,
			uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_SERVER,
					     .decode = store_decode_service,
					     .state_bytes = sizeof(struct msg_server_reply),
					     .finish = store_finish_service};

	return store_submit(cow, &kind, service, how, id);
}

/* The body, which may be too long to lie within the call, stands behind the reply. */
struct store_usage_aio {
	struct msg_usage_reply m; /* first: the decoder's ctx */
	uint8_t body[WIRE_BODY_MAX];
};

static int64_t store_finish_usage(struct aio *aio)
{
	const struct store_usage_aio *st = aio->state;

	*(struct cow_usage *)aio->out =
	    (struct cow_usage){.mapped = st->m.mapped_bytes, .exclusive = st->m.exclusive_bytes};
	return 0;
}

int cow_aio_get_usage(cow_t *cow, const char *const *specs, size_t count, struct cow_usage *usage,
		      const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_USAGE,
					     .decode = store_decode_usage,
					     .state_bytes = sizeof(struct store_usage_aio),
					     .finish = store_finish_usage};
	struct store_usage_aio *st;
	struct aio *aio;
	int err = store_check_specs(cow, specs, count);

	if (err == 0)
		err = aio_new(cow, NULL, &kind, how, &aio);
	if (err < 0)
		return err;
	st = aio->state;
	aio->parts[0].req.body = st->body;
	aio->out = usage;
	return aio_submit(
	    aio, msg_usage_encode(st->body, call_body_max(cow), specs, (uint32_t)count), id);
}
