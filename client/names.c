/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's calls on one object or version by its name.
 */
#include "client/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/infos.h"
#include "common/err.h"
#include "common/name.h"

_Static_assert(MSG_REMOVE_VERSIONS == COW_REMOVE_VERSIONS, "flags go out as they are");
_Static_assert(MSG_RENAME_EXCHANGE == COW_RENAME_EXCHANGE, "flags go out as they are");

/* ---- arguments ------------------------------------------------------------------------------- */

static int names_refuse(cow_t *cow, const char *what, const char *problem)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s %s", what, problem);
	return errors_set(cow, -ERR_INVAL, text);
}

int names_copy(cow_t *cow, const char *name, char out[MSG_NAME_BYTES])
{
	const char *problem = name ? name_problem(name) : "is missing";

	if (problem)
		return names_refuse(cow, "the object's name", problem);
	memcpy(out, name, strlen(name) + 1);
	return 0;
}

int names_copy_spec_as(cow_t *cow, const char *which, const char *spec, char out[MSG_NAME_BYTES])
{
	const char *problem = spec ? name_spec_problem(spec) : "is missing";

	if (problem)
		return names_refuse(cow, which, problem);
	memcpy(out, spec, strlen(spec) + 1);
	return 0;
}

int names_copy_spec(cow_t *cow, const char *spec, char out[MSG_NAME_BYTES])
{
	return names_copy_spec_as(cow, "the object's name", spec, out);
}

static int names_by_key(const void *a, const void *b)
{
	const struct cow_label *const *x = a;
	const struct cow_label *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* Fewer bytes than these make no label: a character, "=" and the end. */
#define NAMES_LABEL_LEAST 3u

/* NULL, or why the label cannot even be written down; label_problem() judges the rest. */
static const char *names_add_label(struct msg_labels *out, const struct cow_label *label)
{
	size_t left = sizeof(out->bytes) - out->len;
	int n;

	if (strchr(label->key, '='))
		return "have a key with '=' in it";
	n = snprintf(out->bytes + out->len, left, "%s%s%s", label->key, label->value ? "=" : "",
		     label->value ? label->value : "");
	if (n < 0 || (size_t)n >= left)
		return "are longer than 1024 bytes in all";
	out->len = (uint16_t)(out->len + n + 1);
	return NULL;
}

int names_copy_edits(cow_t *cow, const char *which, const struct cow_label *labels, size_t nlabels,
		     struct msg_labels *out)
{
	const struct cow_label *sorted[LABELS_MAX_BYTES / NAMES_LABEL_LEAST];
	const char *problem = NULL;

	out->len = 0;
	if (nlabels > ARRAY_LEN(sorted))
		return names_refuse(cow, which, "are too many");
	for (size_t i = 0; i < nlabels; i++) {
		if (!labels[i].key)
			return names_refuse(cow, which, "are incomplete");
		sorted[i] = &labels[i];
	}
	qsort(sorted, nlabels, sizeof(sorted[0]), names_by_key);
	for (size_t i = 0; !problem && i < nlabels; i++)
		problem = names_add_label(out, sorted[i]);
	if (!problem)
		problem = label_edits_problem(out->bytes, out->len);
	return problem ? names_refuse(cow, which, problem) : 0;
}

int names_copy_labels(cow_t *cow, const struct cow_label *labels, size_t nlabels,
		      struct msg_labels *out)
{
	for (size_t i = 0; i < nlabels; i++)
		if (!labels[i].value)
			return names_refuse(cow, "the labels", "are incomplete");
	return names_copy_edits(cow, "the labels", labels, nlabels, out);
}

int names_copy_attrs(cow_t *cow, const struct cow_attrs *attrs, uint64_t *ttl_ms,
		     struct msg_labels *labels)
{
	*ttl_ms = attrs ? attrs->ttl_ms : 0;
	if (attrs && attrs->reserved > 0)
		return names_refuse(cow, "the reservation", "is of new objects only");
	if (*ttl_ms > MSG_TTL_MAX_MS)
		return names_refuse(cow, "the time to live", "is longer than 100 years");
	return names_copy_labels(cow, attrs ? attrs->labels : NULL, attrs ? attrs->nlabels : 0,
				 labels);
}

int names_fill_clone(cow_t *cow, const char *spec, const char *name, const struct cow_attrs *attrs,
		     struct msg_clone *m)
{
	int err = names_copy_spec(cow, spec, m->src);

	if (err == 0)
		err = names_copy_spec(cow, name, m->dst);
	if (err == 0)
		err = names_copy_attrs(cow, attrs, &m->ttl_ms, &m->labels);
	return err;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* CREATE, CLONE and SNAP are answered with an info that nobody asked for. */
static int names_run_make(cow_t *cow, struct call *call, int body_len)
{
	call->decode = infos_decode;
	return call_run(cow, call, body_len);
}

static int names_fill_create(cow_t *cow, const char *name, uint64_t size,
			     const struct cow_attrs *attrs, struct msg_create *m)
{
	struct cow_attrs others = attrs ? *attrs : (struct cow_attrs){0};
	int err = names_copy(cow, name, m->name);

	m->size_bytes = size;
	m->reserved_bytes = others.reserved;
	others.reserved = 0;
	return err < 0 ? err : names_copy_attrs(cow, &others, &m->ttl_ms, &m->labels);
}

int cow_create_with(cow_t *cow, const char *name, uint64_t size, const struct cow_attrs *attrs)
{
	struct msg_create m;
	struct call call;
	int err = names_fill_create(cow, name, size, attrs, &m);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_CREATE);
	return names_run_make(cow, &call, msg_create_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_create(cow_t *cow, const char *name, uint64_t size)
{
	return cow_create_with(cow, name, size, NULL);
}

int cow_clone_with(cow_t *cow, const char *spec, const char *name, const struct cow_attrs *attrs)
{
	struct msg_clone m;
	struct call call;
	int err = names_fill_clone(cow, spec, name, attrs, &m);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_CLONE);
	return names_run_make(cow, &call, msg_clone_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_clone(cow_t *cow, const char *spec, const char *name)
{
	return cow_clone_with(cow, spec, name, NULL);
}

static int names_fill_snap(cow_t *cow, const char *spec, const struct cow_attrs *attrs,
			   struct msg_snap *m)
{
	int err = names_copy_spec(cow, spec, m->name);

	return err < 0 ? err : names_copy_attrs(cow, attrs, &m->ttl_ms, &m->labels);
}

int cow_snap_with(cow_t *cow, const char *spec, const struct cow_attrs *attrs)
{
	struct msg_snap m;
	struct call call;
	int err = names_fill_snap(cow, spec, attrs, &m);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_SNAP);
	return names_run_make(cow, &call, msg_snap_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_snap(cow_t *cow, const char *spec, const struct cow_label *labels, size_t nlabels)
{
	const struct cow_attrs attrs = {.labels = labels, .nlabels = nlabels};

	return cow_snap_with(cow, spec, &attrs);
}

/* ---- changing -------------------------------------------------------------------------------- */

static int names_fill_rename(cow_t *cow, const char *from, const char *to, unsigned int flags,
			     struct msg_rename *m)
{
	bool exchange = flags & COW_RENAME_EXCHANGE;
	int err =
	    names_copy_spec_as(cow, exchange ? "the first name" : "the old name", from, m->from);

	if (err == 0)
		err = names_copy_spec_as(cow, exchange ? "the second name" : "the new name", to,
					 m->to);
	if (err < 0)
		return err;
	m->flags = flags;
	return flags & ~COW_RENAME_EXCHANGE ? errors_set(cow, -ERR_INVAL, "unknown flags") : 0;
}

int cow_rename(cow_t *cow, const char *from, const char *to, unsigned int flags)
{
	struct msg_rename m;
	struct call call;
	int err = names_fill_rename(cow, from, to, flags, &m);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_RENAME);
	return call_run(cow, &call, msg_rename_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

static int names_fill_remove(cow_t *cow, const char *spec, unsigned int flags, struct msg_remove *m)
{
	int err = names_copy_spec(cow, spec, m->name);

	if (err < 0)
		return err;
	m->flags = flags;
	return flags & ~COW_REMOVE_VERSIONS ? errors_set(cow, -ERR_INVAL, "unknown flags") : 0;
}

int cow_remove_with(cow_t *cow, const char *spec, unsigned int flags)
{
	struct msg_remove m;
	struct call call;
	int err = names_fill_remove(cow, spec, flags, &m);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_REMOVE);
	return call_run(cow, &call, msg_remove_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_remove(cow_t *cow, const char *spec)
{
	return cow_remove_with(cow, spec, 0);
}

/* ---- info ------------------------------------------------------------------------------------ */

/* INFO and RESET: a name for an info. */
static int names_ask(cow_t *cow, enum wire_op op, const char *spec, struct cow_info *info)
{
	struct msg_name m;
	struct msg_info got;
	struct call call;
	int err = names_copy_spec(cow, spec, m.name);

	if (err < 0)
		return err;
	call_init(&call, op);
	call.decode = infos_decode;
	call.ctx = &got;
	err = call_run(cow, &call, msg_name_encode(call_body(&call), CHAN_BODY_MAX, &m));
	if (err < 0 || !info)
		return err;
	err = infos_fill(&got, info);
	return err < 0 ? errors_set(cow, err, "") : 0;
}

int cow_get_info(cow_t *cow, const char *spec, struct cow_info *info)
{
	return names_ask(cow, WIRE_OP_INFO, spec, info);
}

int cow_reset(cow_t *cow, const char *spec, struct cow_info *info)
{
	return names_ask(cow, WIRE_OP_RESET, spec, info);
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

int cow_aio_create(cow_t *cow, const char *name, uint64_t size, const struct cow_attrs *attrs,
		   const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_CREATE, .decode = infos_decode};
	struct msg_create m;
	struct aio *aio;
	int err = names_fill_create(cow, name, size, attrs, &m);

	if (err == 0)
		err = aio_new(cow, NULL, &kind, how, &aio);
	return err < 0 ? err
		       : aio_submit(aio, msg_create_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

int cow_aio_clone(cow_t *cow, const char *spec, const char *name, const struct cow_attrs *attrs,
		  const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_CLONE, .decode = infos_decode};
	struct msg_clone m;
	struct aio *aio;
	int err = names_fill_clone(cow, spec, name, attrs, &m);

	if (err == 0)
		err = aio_new(cow, NULL, &kind, how, &aio);
	return err < 0 ? err
		       : aio_submit(aio, msg_clone_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

int cow_aio_snap(cow_t *cow, const char *spec, const struct cow_attrs *attrs,
		 const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_SNAP, .decode = infos_decode};
	struct msg_snap m;
	struct aio *aio;
	int err = names_fill_snap(cow, spec, attrs, &m);

	if (err == 0)
		err = aio_new(cow, NULL, &kind, how, &aio);
	return err < 0 ? err
		       : aio_submit(aio, msg_snap_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

int cow_aio_rename(cow_t *cow, const char *from, const char *to, unsigned int flags,
		   const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_RENAME};
	struct msg_rename m;
	struct aio *aio;
	int err = names_fill_rename(cow, from, to, flags, &m);

	if (err == 0)
		err = aio_new(cow, NULL, &kind, how, &aio);
	return err < 0 ? err
		       : aio_submit(aio, msg_rename_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

int cow_aio_remove(cow_t *cow, const char *spec, unsigned int flags, const struct cow_aio *how,
		   uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_REMOVE};
	struct msg_remove m;
	struct aio *aio;
	int err = names_fill_remove(cow, spec, flags, &m);

	if (err == 0)
		err = aio_new(cow, NULL, &kind, how, &aio);
	return err < 0 ? err
		       : aio_submit(aio, msg_remove_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

static int64_t names_finish_info(struct aio *aio)
{
	return aio->out ? infos_fill(aio->state, aio->out) : 0;
}

static int names_submit_ask(cow_t *cow, const struct aio_kind *kind, const char *spec,
			    struct cow_info *info, const struct cow_aio *how, uint64_t *id)
{
	struct msg_name m;
	struct aio *aio;
	int err = names_copy_spec(cow, spec, m.name);

	if (err == 0)
		err = aio_new(cow, NULL, kind, how, &aio);
	if (err < 0)
		return err;
	aio->out = info;
	return aio_submit(aio, msg_name_encode(aio_body(aio), CHAN_BODY_MAX, &m), id);
}

int cow_aio_get_info(cow_t *cow, const char *spec, struct cow_info *info, const struct cow_aio *how,
		     uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_INFO,
					     .decode = infos_decode,
					     .state_bytes = sizeof(struct msg_info),
					     .finish = names_finish_info};

	return names_submit_ask(cow, &kind, spec, info, how, id);
}

int cow_aio_reset(cow_t *cow, const char *spec, struct cow_info *info, const struct cow_aio *how,
		  uint64_t *id)
{
	static const struct aio_kind kind = {.op = WIRE_OP_RESET,
					     .decode = infos_decode,
					     .state_bytes = sizeof(struct msg_info),
					     .finish = names_finish_info};

	return names_submit_ask(cow, &kind, spec, info, how, id);
}
