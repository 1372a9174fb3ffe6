/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's calls that work on names: create, clone, remove, info, list, and the store as a whole.
 */
#include "client/cow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/errors.h"
#include "client/names.h"
#include "common/err.h"
#include "common/name.h"

int names_copy(cow_t *cow, const char *name, char out[MSG_NAME_BYTES])
{
	const char *problem = name ? name_problem(name) : "is missing";
	char text[128];

	if (problem) {
		(void)snprintf(text, sizeof(text), "the object's name %s", problem);
		return errors_set(cow, -ERR_INVAL, text);
	}
	memcpy(out, name, strlen(name) + 1);
	return 0;
}

int cow_create(cow_t *cow, const char *name, uint64_t size)
{
	struct msg_create m = {.size_bytes = size};
	struct call call;
	int err = names_copy(cow, name, m.name);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_CREATE);
	return call_run(cow, &call, msg_create_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

static int names_decode_info(void *ctx, const uint8_t *body, size_t len)
{
	return msg_info_decode(body, len, ctx);
}

int cow_clone(cow_t *cow, const char *src, const char *dst)
{
	struct msg_clone m;
	struct msg_info info;
	struct call call;
	int err = names_copy(cow, src, m.src);

	if (err == 0)
		err = names_copy(cow, dst, m.dst);
	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_CLONE);
	call.decode = names_decode_info;
	call.ctx = &info;
	return call_run(cow, &call, msg_clone_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_remove(cow_t *cow, const char *name)
{
	struct msg_name m;
	struct call call;
	int err = names_copy(cow, name, m.name);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_REMOVE);
	return call_run(cow, &call, msg_name_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

/* ---- info ------------------------------------------------------------------------------------ */

static int names_fill_info(const struct msg_info *m, struct cow_info *info)
{
	char *name = strdup(m->name);

	if (!name)
		return -ERR_NOMEM;
	*info = (struct cow_info){
	    .name = name,
	    .id = m->id,
	    .size = m->size_bytes,
	    .mapped = m->mapped_bytes,
	    .generation = m->generation,
	    .ctime_ns = m->ctime_ns,
	    .mtime_ns = m->mtime_ns,
	    .origin = m->origin,
	};
	return 0;
}

int cow_get_info(cow_t *cow, const char *name, struct cow_info *info)
{
	struct msg_name m;
	struct msg_info got;
	struct call call;
	int err = names_copy(cow, name, m.name);

	if (err < 0)
		return err;
	call_init(&call, WIRE_OP_INFO);
	call.decode = names_decode_info;
	call.ctx = &got;
	err = call_run(cow, &call, msg_name_encode(call_body(&call), CHAN_BODY_MAX, &m));
	if (err < 0)
		return err;
	err = names_fill_info(&got, info);
	return err < 0 ? errors_set(cow, err, "") : 0;
}

void cow_info_clear(struct cow_info *info)
{
	free((char *)(uintptr_t)info->name);
	info->name = NULL;
}

/* ---- list ------------------------------------------------------------------------------------ */

/* One reply, and the list that grows by it. */
struct names_page {
	struct msg_info *infos; /* MSG_LIST_MAX */
	uint32_t count;
	bool more;
};

struct names_list {
	struct cow_info *infos;
	size_t count;
};

static int names_decode_page(void *ctx, const uint8_t *body, size_t len)
{
	struct names_page *page = ctx;

	return msg_list_reply_decode(body, len, page->infos, MSG_LIST_MAX, &page->count,
				     &page->more);
}

/* Names must go up from page to page: a list that does not would never end. */
static int names_append(struct names_list *list, const struct names_page *page, const char *after)
{
	struct cow_info *infos;

	if (page->count == 0)
		return page->more ? -ERR_PROTO : 0;
	infos = realloc(list->infos, (list->count + page->count) * sizeof(*infos));
	if (!infos)
		return -ERR_NOMEM;
	list->infos = infos;
	for (uint32_t i = 0; i < page->count; i++) {
		if (strcmp(page->infos[i].name, after) <= 0)
			return -ERR_PROTO;
		if (names_fill_info(&page->infos[i], &infos[list->count]) < 0)
			return -ERR_NOMEM;
		list->count++;
		after = page->infos[i].name;
	}
	return 0;
}

static int names_get_page(cow_t *cow, const struct msg_list *m, struct names_page *page)
{
	struct call call;

	call_init(&call, WIRE_OP_LIST);
	call.decode = names_decode_page;
	call.ctx = page;
	return call_run(cow, &call, msg_list_encode(call_body(&call), CHAN_BODY_MAX, m));
}

static int names_get_all(cow_t *cow, struct msg_list *m, struct names_page *page,
			 struct names_list *list)
{
	do {
		int err = names_get_page(cow, m, page);

		if (err < 0)
			return err;
		err = names_append(list, page, m->after);
		if (err < 0)
			return errors_set(
			    cow, err, err == -ERR_PROTO ? "the server sent an unsorted list" : "");
		if (page->more)
			memcpy(m->after, page->infos[page->count - 1].name, sizeof(m->after));
	} while (page->more);
	return 0;
}

int cow_list(cow_t *cow, const char *prefix, struct cow_info **infos, size_t *count)
{
	struct names_list list = {0};
	struct names_page page = {0};
	struct msg_list m = {0};
	size_t len = prefix ? strlen(prefix) : 0;
	int err;

	if (len > NAME_MAX_BYTES)
		return errors_set(cow, -ERR_INVAL, "the prefix is longer than 255 bytes");
	if (len > 0)
		memcpy(m.prefix, prefix, len);
	page.infos = calloc(MSG_LIST_MAX, sizeof(*page.infos));
	if (!page.infos)
		return errors_set(cow, -ERR_NOMEM, "");
	err = names_get_all(cow, &m, &page, &list);
	free(page.infos);
	if (err < 0) {
		cow_list_free(list.infos, list.count);
		return err;
	}
	*infos = list.infos;
	*count = list.count;
	return 0;
}

void cow_list_free(struct cow_info *infos, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cow_info_clear(&infos[i]);
	free(infos);
}

/* ---- the store ------------------------------------------------------------------------------- */

static int names_decode_statfs(void *ctx, const uint8_t *body, size_t len)
{
	return msg_statfs_reply_decode(body, len, ctx);
}

int cow_get_statfs(cow_t *cow, struct cow_statfs *st)
{
	struct msg_statfs_reply m;
	struct call call;
	int err;

	call_init(&call, WIRE_OP_STATFS);
	call.decode = names_decode_statfs;
	call.ctx = &m;
	err = call_run(cow, &call, 0);
	if (err < 0)
		return err;
	*st = (struct cow_statfs){
	    .block_size = m.block_bytes,
	    .total = m.total_bytes,
	    .free = m.free_bytes,
	    .reserved = m.reserved_bytes,
	    .mapped = m.mapped_bytes,
	    .meta_total = m.meta_total_bytes,
	    .meta_used = m.meta_used_bytes,
	    .objects = m.objects,
	};
	return 0;
}
