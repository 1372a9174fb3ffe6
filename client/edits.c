/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's calls that change the attributes of what there is.
 */
#include "client/cow.h"

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/infos.h"
#include "client/names.h"
#include "common/err.h"

_Static_assert(MSG_SET_TTL == COW_SET_TTL, "flags go out as they are");
_Static_assert(MSG_SET_READONLY == COW_SET_READONLY, "flags go out as they are");
_Static_assert(MSG_SET_WRITABLE == COW_SET_WRITABLE, "flags go out as they are");
_Static_assert(MSG_SET_REPLACE == COW_SET_REPLACE, "flags go out as they are");
_Static_assert(MSG_SET_RESERVED == COW_SET_RESERVED, "flags go out as they are");

#define EDITS_FLAGS \
	(COW_SET_TTL | COW_SET_READONLY | COW_SET_WRITABLE | COW_SET_REPLACE | COW_SET_RESERVED)

/* Whether the flags and the time go together; else the message is set. */
static int edits_check(cow_t *cow, const struct cow_edit *edit)
{
	const unsigned int both = COW_SET_READONLY | COW_SET_WRITABLE;

	if (edit->flags & ~EDITS_FLAGS)
		return errors_set(cow, -ERR_INVAL, "unknown flags");
	if ((edit->flags & both) == both)
		return errors_set(cow, -ERR_INVAL, "read-only and writable at once");
	if (edit->ttl_ms > 0 && !(edit->flags & COW_SET_TTL))
		return errors_set(cow, -ERR_INVAL, "a time to live without its flag");
	if (edit->ttl_ms > MSG_TTL_MAX_MS)
		return errors_set(cow, -ERR_INVAL, "the time to live is longer than 100 years");
	if (edit->reserved > 0 && !(edit->flags & COW_SET_RESERVED))
		return errors_set(cow, -ERR_INVAL, "a reservation without its flag");
	return 0;
}

static int edits_fill(cow_t *cow, const char *spec, const struct cow_edit *edit, struct msg_set *m)
{
	int err = names_copy_spec(cow, spec, m->name);

	m->flags = edit->flags;
	m->ttl_ms = edit->ttl_ms;
	m->reserved_bytes = edit->reserved;
	if (err == 0)
		err = edits_check(cow, edit);
	if (err == 0)
		err = names_copy_edits(cow, "the labels", edit->labels, edit->nlabels, &m->edits);
	if (err == 0)
		err = names_copy_edits(cow, "the expected labels", edit->expect, edit->nexpect,
				       &m->expect);
	return err;
}

int cow_set(cow_t *cow, const char *spec, const struct cow_edit *edit, struct cow_info *info)
{
	struct msg_set m;
	struct msg_info got;
	struct call call;
	int err = edits_fill(cow, spec, edit, &m);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_SET);
	call.decode = infos_decode;
	call.ctx = &got;
	err = call_run(cow, &call, msg_set_encode(call_body(&call), CHAN_BODY_MAX, &m));
	if (err < 0 || !info)
		return err;
	err = infos_fill(&got, info);
	return err < 0 ? errors_set(cow, err, "") : 0;
}

static int64_t edits_finish(struct aio *aio)
{
	return aio->out ? infos_fill(aio->state, aio->out) : 0;
}

int cow_aio_set(cow_t *cow, const char *spec, const struct cow_edit *edit, struct cow_info *info,
		const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_SET,
					     .decode = infos_decode,
					     .state_bytes = sizeof(struct msg_info),
					     .finish = edits_finish};
	struct msg_set m;
	struct aio *aio;
	int err = edits_fill(cow, spec, edit, &m);

	if (err == 0)
		err = aio_new(cow, NULL, &kind, how, &aio);
	if (err < 0)
		return err;
	aio->out = info;
	return aio_submit(aio, msg_set_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

static int edits_one(cow_t *cow, const char *spec, const char *key, const char *value)
{
	const struct cow_label label = {key, value};
	const struct cow_edit edit = {.labels = &label, .nlabels = 1};

	return cow_set(cow, spec, &edit, NULL);
}

int cow_set_label(cow_t *cow, const char *spec, const char *key, const char *value)
{
	if (!value)
		return errors_set(cow, -ERR_INVAL, "the label's value is missing");
	return edits_one(cow, spec, key, value);
}

int cow_unset_label(cow_t *cow, const char *spec, const char *key)
{
	return edits_one(cow, spec, key, NULL);
}

int cow_set_ttl(cow_t *cow, const char *spec, uint64_t ttl_ms)
{
	const struct cow_edit edit = {.flags = COW_SET_TTL, .ttl_ms = ttl_ms};

	return cow_set(cow, spec, &edit, NULL);
}

int cow_set_readonly(cow_t *cow, const char *spec, int readonly)
{
	const struct cow_edit edit = {.flags = readonly ? COW_SET_READONLY : COW_SET_WRITABLE};

	return cow_set(cow, spec, &edit, NULL);
}

int cow_set_reserved(cow_t *cow, const char *spec, uint64_t bytes)
{
	const struct cow_edit edit = {.flags = COW_SET_RESERVED, .reserved = bytes};

	return cow_set(cow, spec, &edit, NULL);
}
