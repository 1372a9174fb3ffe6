/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch_name.c: the operations on objects and versions by name.
 */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/label.h"
#include "common/name.h"
#include "proto/msg.h"
#include "server/blk.h"
#include "server/dispatch_priv.h"

/* The object's part of a spec. */
static const char *object_part(char part[MSG_NAME_BYTES], const char *spec)
{
	snprintf(part, MSG_NAME_BYTES, "%.*s", (int)strcspn(spec, "@"), spec);
	return part;
}

/* Ends a request that is about a version; -ERR_INVAL: what it names is none. */
static void version_answer(struct request *req, int err, const char *spec,
			   const struct map_obj *info)
{
	char about[DISPATCH_ABOUT_BYTES];
	char safe[DISPATCH_ABOUT_BYTES - 64];

	if (err != -ERR_INVAL) {
		dispatch_answer_info(req, err, spec, info);
		return;
	}
	snprintf(about, sizeof(about), "%s is no version, as \"object@version\" is",
		 session_escape(safe, sizeof(safe), spec));
	dispatch_error(req, err, about);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* In whole blocks; more than an object can have is refused as such. */
static uint64_t reserved_nblks(uint64_t bytes)
{
	return bytes > BLK_OBJECT_MAX << BLK_SHIFT ? BLK_OBJECT_MAX + 1 : blk_count(bytes);
}

static void create_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);

	dispatch_answer_info(req, err, req->m.create.name, info);
}

void dispatch_create(struct request *req)
{
	const struct msg_create *m = &req->m.create;
	struct object_attrs attrs = dispatch_attrs_of(m->ttl_ms, &m->labels);

	attrs.reserved_nblks = reserved_nblks(m->reserved_bytes);
	if (!dispatch_labels_refused(req, &m->labels))
		object_create(req->session->host->objs, m->name, m->size_bytes, &attrs, create_cb,
			      req);
}

static void clone_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);
	const struct msg_clone *m = &req->m.clone;
	bool about_dst = err == -ERR_EXIST || (err == -ERR_BAD_NAME && name_spec_problem(m->dst));
	char object[MSG_NAME_BYTES];

	if (err == -ERR_NO_PARENT)
		dispatch_answer_info(req, err, object_part(object, m->dst), info);
	else
		dispatch_answer_info(req, err, about_dst ? m->dst : m->src, info);
}

void dispatch_clone(struct request *req)
{
	const struct msg_clone *m = &req->m.clone;
	struct object_attrs attrs = dispatch_attrs_of(m->ttl_ms, &m->labels);

	if (!dispatch_labels_refused(req, &m->labels))
		object_clone(req->session->host->objs, m->src, m->dst, &attrs, clone_cb, req);
}

static void snap_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);
	const struct msg_snap *m = &req->m.snap;
	char object[MSG_NAME_BYTES];

	/* it is the object that is not there */
	version_answer(req, err, err == -ERR_NOENT ? object_part(object, m->name) : m->name, info);
}

void dispatch_snap(struct request *req)
{
	const struct msg_snap *m = &req->m.snap;
	struct object_attrs attrs = dispatch_attrs_of(m->ttl_ms, &m->labels);

	if (!dispatch_labels_refused(req, &m->labels))
		object_snapshot(req->session->host->objs, m->name, &attrs, snap_cb, req);
}

/* ---- changing -------------------------------------------------------------------------------- */

static void rename_error(struct request *req, int err)
{
	const struct msg_rename *m = &req->m.rename;
	char from[DISPATCH_NAME_BYTES];
	char to[DISPATCH_NAME_BYTES];
	char about[DISPATCH_ABOUT_BYTES];
	bool about_to = err == -ERR_EXIST || (err == -ERR_BAD_NAME && name_spec_problem(m->to));
	bool about_both = err == -ERR_INVAL || (err == -ERR_NOENT && m->flags != 0);

	if (!about_both) {
		dispatch_error_name(req, err, about_to ? m->to : m->from);
		return;
	}
	snprintf(about, sizeof(about), "%s and %s%s", session_escape(from, sizeof(from), m->from),
		 session_escape(to, sizeof(to), m->to),
		 err == -ERR_NOENT ? ", not both are there"
				   : " are not two objects or two versions of one");
	dispatch_error(req, err, about);
}

static void rename_cb(void *ctx, int err)
{
	struct request *req = dispatch_request_of(ctx);

	if (err < 0)
		rename_error(req, err);
	else
		dispatch_finish(req, 0, NULL, 0, NULL, 0);
}

void dispatch_rename(struct request *req)
{
	const struct msg_rename *m = &req->m.rename;

	object_rename(req->session->host->objs, m->from, m->to, m->flags & MSG_RENAME_EXCHANGE,
		      rename_cb, req);
}

static void reset_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);

	char object[MSG_NAME_BYTES];
	const char *spec = req->m.name.name;

	/* it is the object that does not let its content change */
	version_answer(req, err, err == -ERR_READONLY ? object_part(object, spec) : spec, info);
}

void dispatch_reset(struct request *req)
{
	object_reset(req->session->host->objs, req->m.name.name, reset_cb, req);
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* Refuses edits that are none; then the request has ended. */
static bool edits_refused(struct request *req, const char *what, const struct msg_labels *edits)
{
	const char *problem = label_edits_problem(edits->bytes, edits->len);
	char about[DISPATCH_ABOUT_BYTES];

	if (!problem)
		return false;
	snprintf(about, sizeof(about), "%s %s", what, problem);
	dispatch_error(req, -ERR_INVAL, about);
	return true;
}

static void set_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);
	char about[DISPATCH_ABOUT_BYTES];
	char safe[DISPATCH_ABOUT_BYTES - 64];

	if (err != -ERR_PERM) {
		dispatch_answer_info(req, err, req->m.set.name, info);
		return;
	}
	snprintf(about, sizeof(about), "%s is a version, which is always read-only%s",
		 session_escape(safe, sizeof(safe), req->m.set.name),
		 req->m.set.flags & MSG_SET_RESERVED ? " and reserves no space" : "");
	dispatch_error(req, err, about);
}

void dispatch_set(struct request *req)
{
	const struct msg_set *m = &req->m.set;
	struct object_edit edit = {
	    .set_ttl = m->flags & MSG_SET_TTL,
	    .ttl_ms = m->ttl_ms,
	    .set_readonly = m->flags & (MSG_SET_READONLY | MSG_SET_WRITABLE),
	    .readonly = m->flags & MSG_SET_READONLY,
	    .replace = m->flags & MSG_SET_REPLACE,
	    .set_reserved = m->flags & MSG_SET_RESERVED,
	    .reserved_nblks = reserved_nblks(m->reserved_bytes),
	    .edits = m->edits.bytes,
	    .edits_len = m->edits.len,
	    .expected = m->expect.bytes,
	    .expected_len = m->expect.len,
	};

	if (!edits_refused(req, "the labels", &m->edits) &&
	    !edits_refused(req, "the expected labels", &m->expect))
		object_set(req->session->host->objs, m->name, &edit, set_cb, req);
}

/* ---- removing -------------------------------------------------------------------------------- */

/* It was refused because of its versions: how many there are. */
static void remove_count_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);
	char about[DISPATCH_ABOUT_BYTES];
	char safe[DISPATCH_ABOUT_BYTES - 64];

	if (err < 0) {
		dispatch_error_name(req, -ERR_HAS_VERSIONS, req->m.remove.name);
		return;
	}
	snprintf(about, sizeof(about), "%s has %u",
		 session_escape(safe, sizeof(safe), req->m.remove.name), info->nversions);
	dispatch_error(req, -ERR_HAS_VERSIONS, about);
}

static void remove_cb(void *ctx, int err)
{
	struct request *req = dispatch_request_of(ctx);
	struct objects *objs = req->session->host->objs;
	const char *name = req->m.remove.name;
	const char *held = NULL;
	const char *holder = err == -ERR_BUSY ? object_holder(objs, name, &held) : NULL;
	char about[DISPATCH_ABOUT_BYTES];
	char safe[MSG_NAME_BYTES];

	if (err == -ERR_HAS_VERSIONS) {
		object_info(objs, name, remove_count_cb, req);
		return;
	}
	if (!holder) {
		dispatch_answer(req, err, name);
		return;
	}
	snprintf(about, sizeof(about), "%s is held open by %s",
		 session_escape(safe, sizeof(safe), held), holder);
	dispatch_error(req, err, about);
}

void dispatch_remove(struct request *req)
{
	const struct msg_remove *m = &req->m.remove;

	object_remove(req->session->host->objs, m->name, m->flags & MSG_REMOVE_VERSIONS, remove_cb,
		      req);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void info_cb(void *ctx, int err, const struct map_obj *info)
{
	struct request *req = dispatch_request_of(ctx);

	dispatch_answer_info(req, err, req->m.name.name, info);
}

void dispatch_info(struct request *req)
{
	object_info(req->session->host->objs, req->m.name.name, info_cb, req);
}

static uint32_t list_max(uint32_t asked)
{
	return asked == 0 || asked > MSG_LIST_MAX ? MSG_LIST_MAX : asked;
}

static void list_cb(void *ctx, int err, const struct map_obj *objs, uint32_t n, bool more)
{
	struct request *req = dispatch_request_of(ctx);

	dispatch_answer_list(req, err, req->m.list.prefix, objs, n, more);
}

void dispatch_list(struct request *req)
{
	const struct msg_list *m = &req->m.list;

	object_list(req->session->host->objs, m->prefix, m->after, m->label, list_max(m->max),
		    list_cb, req);
}

static void versions_cb(void *ctx, int err, const struct map_obj *objs, uint32_t n, bool more)
{
	struct request *req = dispatch_request_of(ctx);

	dispatch_answer_list(req, err, req->m.versions.name, objs, n, more);
}

void dispatch_versions(struct request *req)
{
	const struct msg_versions *m = &req->m.versions;
	size_t len = strlen(m->name);
	bool behind = strncmp(m->after, m->name, len) == 0 && m->after[len] == '@';

	if (m->after[0] != '\0' && !behind) {
		dispatch_error(req, -ERR_INVAL, "\"after\" is of another object");
		return;
	}
	object_versions(req->session->host->objs, m->name, behind ? m->after + len + 1 : "",
			list_max(m->max), versions_cb, req);
}

static void children_cb(void *ctx, int err, const struct map_obj *objs, uint32_t n, bool more)
{
	struct request *req = dispatch_request_of(ctx);

	dispatch_answer_list(req, err, req->m.children.name, objs, n, more);
}

void dispatch_children(struct request *req)
{
	const struct msg_children *m = &req->m.children;

	object_children(req->session->host->objs, m->name, m->after, list_max(m->max), children_cb,
			req);
}
