/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/fake_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/err.h"
#include "common/label.h"
#include "common/name.h"
#include "tests/lib/fake_ops_priv.h"
#include "tests/lib/fake_store.h"
#include "tests/lib/must.h"

void fake_answer_fail(struct answer *a, uint32_t status, const char *text)
{
	a->status = status;
	(void)snprintf(a->text, sizeof(a->text), "%s", text);
}

/* ---- what operations have in common ---------------------------------------------------------- */

static bool injected(struct answer *a, const char *name)
{
	if (a->st->fail_status == 0 || strcmp(name, a->st->fail_name) != 0)
		return false;
	fake_answer_fail(a, a->st->fail_status, "as the test wants it");
	return true;
}

static bool free_name(struct answer *a, const char *name, bool version)
{
	if (injected(a, name))
		return false;
	if (!strchr(name, '@') == version)
		fake_answer_fail(a, ERR_INVAL, "not a name of that kind");
	else if (fake_store_find(a->st, name))
		fake_answer_fail(a, ERR_EXIST, "the name exists already");
	return a->status == 0;
}

static struct fake_entry *known(struct answer *a, const char *spec)
{
	struct fake_entry *e = fake_store_find(a->st, spec);

	if (injected(a, spec))
		return NULL;
	if (!e)
		fake_answer_fail(a, ERR_NOENT, "no such object");
	return e;
}

/* The object of a version. */
static struct fake_entry *object_of(const struct fake_store *st, const char *spec)
{
	char object[NAME_OBJECT_MAX + 1];
	char version[NAME_VERSION_MAX + 1];

	return name_split(spec, object, version) == 0 ? fake_store_find(st, object) : NULL;
}

static bool good_labels(struct answer *a, const struct msg_labels *labels)
{
	if (label_check(labels->bytes, labels->len) == 0)
		return true;
	fake_answer_fail(a, ERR_INVAL, "bad labels");
	return false;
}

static void answer_info(struct answer *a, const struct fake_entry *e)
{
	struct msg_info info = fake_store_info(a->st, e);

	a->len = msg_info_encode(a->body, sizeof(a->body), &info);
}

void fake_set_ttl(const struct fake_store *st, struct fake_entry *e, uint64_t ttl_ms)
{
	e->info.expires_ns = ttl_ms > 0 ? st->now_ns + ttl_ms * 1000000u : 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void op_create(struct answer *a)
{
	struct fake_entry *e;
	DECODE(msg_create, m);

	if (!free_name(a, m.name, false) || !good_labels(a, &m.labels))
		return;
	e = fake_store_make(a->st, m.name, NULL);
	e->info.size_bytes = m.size_bytes;
	e->info.labels = m.labels;
	e->info.reserved_bytes = m.reserved_bytes;
	fake_set_ttl(a->st, e, m.ttl_ms);
	answer_info(a, e);
}

static void op_clone(struct answer *a)
{
	const struct fake_entry *src;
	struct fake_entry *e;
	DECODE(msg_clone, m);

	src = known(a, m.src);
	if (!src || !free_name(a, m.dst, strchr(m.dst, '@')) || !good_labels(a, &m.labels))
		return;
	e = fake_store_make(a->st, m.dst, src);
	e->info.origin = src->info.id;
	if (strchr(m.dst, '@') && object_of(a->st, m.dst))
		e->info.parent = object_of(a->st, m.dst)->info.id;
	e->info.labels = m.labels;
	fake_set_ttl(a->st, e, m.ttl_ms);
	answer_info(a, e);
}

static void op_snap(struct answer *a)
{
	const struct fake_entry *src;
	struct fake_entry *e;
	DECODE(msg_snap, m);

	if (!free_name(a, m.name, true) || !good_labels(a, &m.labels))
		return;
	src = object_of(a->st, m.name);
	if (!src) {
		fake_answer_fail(a, ERR_NOENT, "no such object");
		return;
	}
	e = fake_store_make(a->st, m.name, src);
	e->info.parent = src->info.id;
	e->info.labels = m.labels;
	fake_set_ttl(a->st, e, m.ttl_ms);
	answer_info(a, e);
}

static void op_info(struct answer *a)
{
	const struct fake_entry *e;
	DECODE(msg_name, m);

	e = known(a, m.name);
	if (e)
		answer_info(a, e);
}

/* Labels alone. */
static void op_set(struct answer *a)
{
	struct msg_labels labels;
	struct fake_entry *e;
	size_t len;
	DECODE(msg_set, m);

	MUST((m.flags & ~(MSG_SET_RESERVED | MSG_SET_TTL)) == 0 && m.expect.len == 0,
	     "an edit that is not known here");
	e = known(a, m.name);
	if (!e)
		return;
	MUST(label_edit(e->info.labels.bytes, e->info.labels.len, m.edits.bytes, m.edits.len,
			labels.bytes, &len) == 0,
	     "the labels of %s", m.name);
	labels.len = (uint16_t)len;
	e->info.labels = labels;
	if (m.flags & MSG_SET_RESERVED)
		e->info.reserved_bytes = m.reserved_bytes;
	if (m.flags & MSG_SET_TTL)
		fake_set_ttl(a->st, e, m.ttl_ms);
	answer_info(a, e);
}

static void op_reset(struct answer *a)
{
	const struct fake_entry *version;
	struct fake_entry *e;
	DECODE(msg_name, m);

	version = known(a, m.name);
	if (!version)
		return;
	if (version->info.parent == 0) {
		fake_answer_fail(a, ERR_INVAL, "not a version");
		return;
	}
	e = object_of(a->st, m.name);
	MUST(e, "the object of %s", m.name);
	memcpy(e->blocks, version->blocks, sizeof(e->blocks));
	e->info.size_bytes = version->info.size_bytes;
	e->info.mtime_ns = fake_store_tick(a->st);
	answer_info(a, e);
}

/* Of the versions of an object that is called otherwise now. */
static void rename_versions(struct fake_store *st, const struct fake_entry *e)
{
	for (size_t i = 0; i < st->count; i++) {
		struct msg_info *info = &st->entries[i]->info;
		char old[MSG_NAME_BYTES];

		if (info->parent != e->info.id)
			continue;
		memcpy(old, info->name, sizeof(old));
		(void)snprintf(info->name, sizeof(info->name), "%.191s%s", e->info.name,
			       strchr(old, '@'));
	}
}

static void rename_entry(struct fake_store *st, struct fake_entry *e, const char *to)
{
	(void)snprintf(e->info.name, sizeof(e->info.name), "%s", to);
	rename_versions(st, e);
}

static void op_rename(struct answer *a)
{
	struct fake_entry *from;
	struct fake_entry *to;
	bool exchange;
	DECODE(msg_rename, m);

	exchange = m.flags & MSG_RENAME_EXCHANGE;
	from = known(a, m.from);
	to = fake_store_find(a->st, m.to);
	if (!from)
		return;
	if (!strchr(m.from, '@') != !strchr(m.to, '@') || (exchange && strchr(m.to, '@')) ||
	    object_of(a->st, m.to) != (from->info.parent ? object_of(a->st, m.from) : to))
		fake_answer_fail(a, ERR_INVAL, "not two objects or two versions of one object");
	else if (exchange && !to)
		fake_answer_fail(a, ERR_NOENT, "no such object");
	else if (!exchange && to)
		fake_answer_fail(a, ERR_EXIST, "the name exists already");
	if (a->status != 0)
		return;
	rename_entry(a->st, from, m.to);
	if (to)
		rename_entry(a->st, to, m.from);
	fake_store_sort(a->st);
}

static void op_remove(struct answer *a)
{
	struct fake_entry *e;
	DECODE(msg_remove, m);

	e = known(a, m.name);
	if (!e)
		return;
	if (a->st->remove_fails > 0) {
		a->st->remove_fails--;
		fake_answer_fail(a, a->st->remove_status, "not removed, as the test wants it");
		return;
	}
	if (fake_store_info(a->st, e).nversions > 0 && !(m.flags & MSG_REMOVE_VERSIONS)) {
		fake_answer_fail(a, ERR_BUSY, "the object has versions");
		return;
	}
	for (size_t i = 0; i < a->st->count;)
		if (a->st->entries[i]->info.parent == e->info.id)
			fake_store_drop(a->st, a->st->entries[i]);
		else
			i++;
	fake_store_drop(a->st, e);
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Adds it, or ends the page: false. */
static bool list_add(struct answer *a, const struct fake_entry *e, uint32_t max, uint32_t *count)
{
	struct msg_info info = fake_store_info(a->st, e);
	size_t used = (size_t)a->len;

	if (max == 0 || (a->st->list_max > 0 && a->st->list_max < max))
		max = a->st->list_max > 0 ? a->st->list_max : MSG_LIST_MAX;
	if (*count == max || msg_list_add(a->body, sizeof(a->body), &used, &info) < 0)
		return false;
	a->len = (int)used;
	(*count)++;
	return true;
}

static bool in_list(const struct msg_list *m, const struct msg_info *info)
{
	return info->parent == 0 && strncmp(info->name, m->prefix, strlen(m->prefix)) == 0 &&
	       strcmp(info->name, m->after) > 0 &&
	       (!m->label[0] || label_match(info->labels.bytes, info->labels.len, m->label));
}

static void op_list(struct answer *a)
{
	uint32_t count = 0;
	bool more = false;
	DECODE(msg_list, m);

	a->len = MSG_LIST_HEAD_BYTES;
	for (size_t i = 0; !more && i < a->st->count; i++)
		if (in_list(&m, &a->st->entries[i]->info))
			more = !list_add(a, a->st->entries[i], m.max, &count);
	msg_list_finish(a->body, count, more);
}

static void op_versions(struct answer *a)
{
	const struct fake_entry *object;
	uint32_t count = 0;
	bool more = false;
	DECODE(msg_versions, m);

	object = known(a, m.name);
	if (!object)
		return;
	a->len = MSG_LIST_HEAD_BYTES;
	for (size_t i = 0; !more && i < a->st->count; i++) {
		const struct msg_info *info = &a->st->entries[i]->info;

		if (info->parent == object->info.id && strcmp(info->name, m.after) > 0)
			more = !list_add(a, a->st->entries[i], m.max, &count);
	}
	msg_list_finish(a->body, count, more);
}

/* By id: the entries are in the order of names. */
static const struct fake_entry *next_child(const struct fake_store *st, uint64_t origin,
					   uint64_t after)
{
	const struct fake_entry *best = NULL;

	for (size_t i = 0; i < st->count; i++) {
		const struct fake_entry *e = st->entries[i];

		if (e->info.origin == origin && e->info.id > after &&
		    (!best || e->info.id < best->info.id))
			best = e;
	}
	return best;
}

static void op_children(struct answer *a)
{
	const struct fake_entry *source;
	const struct fake_entry *e;
	uint32_t count = 0;
	bool more = false;
	DECODE(msg_children, m);

	source = known(a, m.name);
	if (!source)
		return;
	a->len = MSG_LIST_HEAD_BYTES;
	for (e = next_child(a->st, source->info.id, m.after); e && !more;
	     e = next_child(a->st, source->info.id, e->info.id))
		more = !list_add(a, e, m.max, &count);
	msg_list_finish(a->body, count, more);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void op_statfs(struct answer *a)
{
	const struct msg_statfs_reply m = {
	    .block_bytes = FAKE_BLOCK_BYTES,
	    .total_bytes = 1u << 30,
	    .free_bytes = 1u << 29,
	    .reserved_bytes = 1u << 20,
	    .mapped_bytes = 3u << 28,
	    .meta_total_bytes = 1u << 26,
	    .meta_used_bytes = 1u << 16,
	    .objects = a->st->count,
	    .versions = 7,
	    .reaping_bytes = a->st->reaping,
	    .staged_bytes = 1u << 18,
	    .journal_bytes = 1u << 27,
	    .journal_used_bytes = 1u << 21,
	    .withheld_bytes = 1u << 24,
	};

	a->len = msg_statfs_reply_encode(a->body, sizeof(a->body), &m);
}

/* Marks what the entry maps, or takes the marks away; how many blocks changed. */
static uint64_t mark(const struct fake_entry *e, bool counted)
{
	uint64_t n = 0;

	for (size_t i = 0; i < FAKE_BLOCKS; i++) {
		if (!e->blocks[i] || e->blocks[i]->counted == counted)
			continue;
		e->blocks[i]->counted = counted;
		n++;
	}
	return n;
}

static bool is_named(const struct fake_entry *e, const char *const *specs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(e->info.name, specs[i]) == 0)
			return true;
	return false;
}

static void usage(const struct fake_store *st, const char *const *specs, uint32_t n,
		  struct msg_usage_reply *m)
{
	for (size_t i = 0; i < st->count; i++) {
		if (!is_named(st->entries[i], specs, n))
			continue;
		m->mapped_bytes += fake_store_mapped(st->entries[i]);
		m->exclusive_bytes += mark(st->entries[i], true) * FAKE_BLOCK_BYTES;
	}
	for (size_t i = 0; i < st->count; i++)
		if (!is_named(st->entries[i], specs, n))
			m->exclusive_bytes -= mark(st->entries[i], false) * FAKE_BLOCK_BYTES;
	for (size_t i = 0; i < st->count; i++)
		(void)mark(st->entries[i], false);
}

static void op_usage(struct answer *a)
{
	struct msg_usage_reply m = {0};
	const char **specs = calloc(MSG_USAGE_MAX, sizeof(*specs));
	char *names = malloc(a->f->h.body_len + 1);
	uint32_t n = 0;

	MUST(specs && names, "malloc");
	if (msg_usage_decode(a->f->body, a->f->h.body_len, names, specs, MSG_USAGE_MAX, &n) < 0)
		fake_answer_fail(a, ERR_INVAL, "malformed request");
	for (uint32_t i = 0; a->status == 0 && i < n; i++)
		(void)known(a, specs[i]);
	if (a->status == 0)
		usage(a->st, specs, n, &m);
	free(names);
	free(specs);
	a->len = msg_usage_reply_encode(a->body, sizeof(a->body), &m);
}

static void op_reaping(struct answer *a)
{
	const struct msg_reaping_reply m = {.reaping_bytes = a->st->reaping};
	uint64_t step = a->st->reap_step;

	a->st->reaping -= step < a->st->reaping ? step : a->st->reaping;
	a->len = msg_reaping_reply_encode(a->body, sizeof(a->body), &m);
}

static void op_check(struct answer *a)
{
	a->len = msg_check_reply_encode(a->body, sizeof(a->body), &a->st->report);
}

static void op_server(struct answer *a)
{
	a->len = msg_server_reply_encode(a->body, sizeof(a->body), &a->st->server);
}

/* ---- data ------------------------------------------------------------------------------------ */

struct fake_entry *fake_answer_entry(struct answer *a, uint32_t handle)
{
	for (size_t i = 0; i < a->st->count; i++)
		if (a->st->entries[i]->info.id == handle)
			return a->st->entries[i];
	fake_answer_fail(a, ERR_INVAL, "no such handle");
	return NULL;
}

static void op_open(struct answer *a)
{
	struct msg_open_reply reply;
	const struct fake_entry *e;
	DECODE(msg_open, m);

	e = known(a, m.name);
	if (!e)
		return;
	a->st->open_flags = m.flags;
	if (e->info.parent != 0 && !(m.flags & MSG_OPEN_READONLY)) {
		fake_answer_fail(a, ERR_PERM, "a version is read-only");
		return;
	}
	reply.handle = (uint32_t)e->info.id;
	reply.info = fake_store_info(a->st, e);
	a->len = msg_open_reply_encode(a->body, sizeof(a->body), &reply);
}

static void op_empty(struct answer *a)
{
	a->len = 0;
}

/* ---- serving --------------------------------------------------------------------------------- */

static void (*const ops[WIRE_OP_END])(struct answer *a) = {
    [WIRE_OP_PING] = op_empty,
    [WIRE_OP_CREATE] = op_create,
    [WIRE_OP_OPEN] = op_open,
    [WIRE_OP_CLOSE] = op_empty,
    [WIRE_OP_INFO] = op_info,
    [WIRE_OP_LIST] = op_list,
    [WIRE_OP_CLONE] = op_clone,
    [WIRE_OP_READ] = fake_op_read,
    [WIRE_OP_WRITE] = fake_op_write,
    [WIRE_OP_FSYNC] = op_empty,
    [WIRE_OP_RESIZE] = fake_op_resize,
    [WIRE_OP_REMOVE] = op_remove,
    [WIRE_OP_EXTENTS] = fake_op_extents,
    [WIRE_OP_STATFS] = op_statfs,
    [WIRE_OP_SNAP] = op_snap,
    [WIRE_OP_VERSIONS] = op_versions,
    [WIRE_OP_CHILDREN] = op_children,
    [WIRE_OP_RENAME] = op_rename,
    [WIRE_OP_RESET] = op_reset,
    [WIRE_OP_USAGE] = op_usage,
    [WIRE_OP_REAPING] = op_reaping,
    [WIRE_OP_CHECK] = op_check,
    [WIRE_OP_SERVER] = op_server,
    [WIRE_OP_ZERO] = fake_op_zero,
    [WIRE_OP_CLONE_RANGE] = fake_op_clone_range,
    [WIRE_OP_READV] = fake_op_readv,
    [WIRE_OP_WRITEV] = fake_op_writev,
    [WIRE_OP_FSYNC_IF] = fake_op_fsync_if,
    [WIRE_OP_SET] = op_set,
    [WIRE_OP_DIFF] = fake_op_diff,
    [WIRE_OP_TIE] = fake_op_handles,
    [WIRE_OP_FSYNC_ALL] = fake_op_handles,
    [WIRE_OP_CLONE_ALL] = fake_op_clone_all,
    [WIRE_OP_UNSHARE] = fake_op_unshare,
    [WIRE_OP_VERIFY] = fake_op_verify,
    [WIRE_OP_WRITE_ALL] = fake_op_write_all,
};

static void serve_one(struct fake_conn *conn, const struct fake_frame *f)
{
	struct answer *a = calloc(1, sizeof(*a));
	bool mute;

	MUST(a && f->h.op < WIRE_OP_END && ops[f->h.op], "operation %u", f->h.op);
	a->st = conn->ctx;
	a->f = f;
	fake_store_lock(a->st);
	a->st->requests[f->h.op]++;
	ops[f->h.op](a);
	mute = f->h.op == WIRE_OP_WRITE && a->st->mute_writes > 0;
	a->st->mute_writes -= mute;
	fake_store_unlock(a->st);
	MUST(a->len >= 0, "encoding %u", f->h.op);
	if (a->status != 0)
		fake_reply_error(conn, f, a->status, a->text);
	else if (!mute)
		fake_reply(conn, f, 0, a->body, (size_t)a->len, a->payload, a->payload_len);
	free(a->payload);
	free(a);
}

/* The client has no reason to send more before it gets an answer. */
static void look_for_more(struct fake_conn *conn)
{
	struct fake_store *st = conn->ctx;
	char byte;

	if (recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		st->over_batch = true;
}

static bool shut_down(struct fake_conn *conn, struct fake_frame *f)
{
	struct fake_store *st = conn->ctx;

	if (f->h.op != st->shuts_down)
		return false;
	st->shuts_down = WIRE_OP_END;
	fake_reply_error(conn, f, ERR_SHUTDOWN, "going down");
	fake_frame_clear(f);
	return true;
}

static bool is_overtaken(struct fake_store *st, const struct fake_frame *f)
{
	if (f->h.op != st->overtaken)
		return false;
	st->overtaken = WIRE_OP_END;
	return true;
}

void fake_ops_serve(struct fake_conn *conn)
{
	struct fake_frame *held = calloc(FAKE_HELD_MAX, sizeof(*held));
	struct fake_store *st = conn->ctx;
	unsigned int n = 0;

	MUST(held && st->clone_batch <= FAKE_HELD_MAX, "memory");
	if (!fake_hello(conn, st->hello.version > 0 ? &st->hello : NULL)) {
		free(held);
		return;
	}
	while (fake_recv(conn, &held[n])) {
		if (shut_down(conn, &held[n]))
			break;
		n++;
		if (held[n - 1].h.op == WIRE_OP_CLONE && n < st->clone_batch)
			continue;
		if (is_overtaken(st, &held[n - 1]))
			continue;
		if (n == st->clone_batch && n > 1)
			look_for_more(conn);
		while (n > 0) {
			serve_one(conn, &held[--n]);
			fake_frame_clear(&held[n]);
		}
	}
	while (n > 0)
		fake_frame_clear(&held[--n]);
	free(held);
}
