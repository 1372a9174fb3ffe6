/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's lists, which the server sends in pages: each is asked for with what the one before it
 * ended in.
 */
#include "client/cow.h"

#include <stdlib.h>
#include <string.h>

#include "client/aio.h"
#include "client/call.h"
#include "client/errors.h"
#include "client/infos.h"
#include "client/names.h"
#include "common/err.h"

/* The request for the next page; what it says to come after goes up with every entry. */
struct lists_ask {
	enum wire_op op;
	union {
		struct msg_list list;
		struct msg_versions versions;
		struct msg_children children;
	};
};

/* One reply, and the list that grows by it. */
struct lists_page {
	struct msg_info *infos; /* MSG_LIST_MAX */
	uint32_t count;
	bool more;
};

struct lists {
	struct cow_info *infos;
	size_t count;
};

static int lists_encode(const struct lists_ask *ask, uint8_t *buf)
{
	switch (ask->op) {
	case WIRE_OP_VERSIONS:
		return msg_versions_encode(buf, CHAN_BODY_MAX, &ask->versions);
	case WIRE_OP_CHILDREN:
		return msg_children_encode(buf, CHAN_BODY_MAX, &ask->children);
	default:
		return msg_list_encode(buf, CHAN_BODY_MAX, &ask->list);
	}
}

static bool lists_advance_name(char after[MSG_NAME_BYTES], const struct msg_info *info)
{
	if (strcmp(info->name, after) <= 0)
		return false;
	memcpy(after, info->name, MSG_NAME_BYTES);
	return true;
}

/* False for an entry that is out of order: a list that does not go up would never end. */
static bool lists_advance(struct lists_ask *ask, const struct msg_info *info)
{
	if (ask->op == WIRE_OP_LIST)
		return lists_advance_name(ask->list.after, info);
	if (ask->op == WIRE_OP_VERSIONS)
		return lists_advance_name(ask->versions.after, info);
	if (info->id <= ask->children.after)
		return false;
	ask->children.after = info->id;
	return true;
}

static int lists_append(struct lists *list, const struct lists_page *page, struct lists_ask *ask)
{
	struct cow_info *infos;

	if (page->count == 0)
		return page->more ? -ERR_PROTO : 0;
	infos = realloc(list->infos, (list->count + page->count) * sizeof(*infos));
	if (!infos)
		return -ERR_NOMEM;
	list->infos = infos;
	for (uint32_t i = 0; i < page->count; i++) {
		if (!lists_advance(ask, &page->infos[i]))
			return -ERR_PROTO;
		if (infos_fill(&page->infos[i], &infos[list->count]) < 0)
			return -ERR_NOMEM;
		list->count++;
	}
	return 0;
}

static int lists_decode(void *ctx, const uint8_t *body, size_t len)
{
	struct lists_page *page = ctx;

	return msg_list_reply_decode(body, len, page->infos, MSG_LIST_MAX, &page->count,
				     &page->more);
}

static int lists_get_page(cow_t *cow, const struct lists_ask *ask, struct lists_page *page)
{
	struct call call;

	call_init(&call, ask->op);
	call.decode = lists_decode;
	call.ctx = page;
	return call_run(cow, &call, lists_encode(ask, call_body(&call)));
}

static const char *lists_text(int err)
{
	return err == -ERR_PROTO ? "the server sent an unsorted list" : "";
}

static int lists_get_all(cow_t *cow, struct lists_ask *ask, struct lists_page *page,
			 struct lists *list)
{
	do {
		int err = lists_get_page(cow, ask, page);

		if (err < 0)
			return err;
		err = lists_append(list, page, ask);
		if (err < 0)
			return errors_set(cow, err, lists_text(err));
	} while (page->more);
	return 0;
}

static int lists_run(cow_t *cow, struct lists_ask *ask, struct cow_info **infos, size_t *count)
{
	struct lists list = {0};
	struct lists_page page = {.infos = calloc(MSG_LIST_MAX, sizeof(*page.infos))};
	int err;

	if (!page.infos)
		return errors_set(cow, -ERR_NOMEM, "");
	err = lists_get_all(cow, ask, &page, &list);
	free(page.infos);
	if (err < 0) {
		cow_list_free(list.infos, list.count);
		return err;
	}
	*infos = list.infos;
	*count = list.count;
	return 0;
}

int cow_list(cow_t *cow, const char *prefix, struct cow_info **infos, size_t *count)
{
	return cow_list_labelled(cow, prefix, NULL, infos, count);
}

static int lists_fill_labelled(cow_t *cow, const char *prefix, const char *label,
			       struct lists_ask *ask)
{
	size_t prefix_len = prefix ? strlen(prefix) : 0;
	size_t label_len = label ? strlen(label) : 0;

	if (prefix_len >= sizeof(ask->list.prefix))
		return errors_set(cow, -ERR_INVAL, "the prefix is longer than 255 bytes");
	if (label_len >= sizeof(ask->list.label))
		return errors_set(cow, -ERR_INVAL, "the label is longer than 319 bytes");
	if (prefix_len > 0)
		memcpy(ask->list.prefix, prefix, prefix_len);
	if (label_len > 0)
		memcpy(ask->list.label, label, label_len);
	return 0;
}

int cow_list_labelled(cow_t *cow, const char *prefix, const char *label, struct cow_info **infos,
		      size_t *count)
{
	struct lists_ask ask = {.op = WIRE_OP_LIST, .list = {.max = 0}};
	int err = lists_fill_labelled(cow, prefix, label, &ask);

	return err < 0 ? err : lists_run(cow, &ask, infos, count);
}

int cow_list_versions(cow_t *cow, const char *name, struct cow_info **infos, size_t *count)
{
	struct lists_ask ask = {.op = WIRE_OP_VERSIONS, .versions = {.max = 0}};
	int err = names_copy(cow, name, ask.versions.name);

	return err < 0 ? err : lists_run(cow, &ask, infos, count);
}

int cow_list_children(cow_t *cow, const char *spec, struct cow_info **infos, size_t *count)
{
	struct lists_ask ask = {.op = WIRE_OP_CHILDREN, .children = {.max = 0}};
	int err = names_copy_spec(cow, spec, ask.children.name);

	return err < 0 ? err : lists_run(cow, &ask, infos, count);
}

void cow_list_free(struct cow_info *infos, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cow_info_clear(&infos[i]);
	free(infos);
}

/* ---- asynchronous twins ---------------------------------------------------------------------- */

struct lists_aio {
	struct lists_page page; /* first: the decoder's ctx */
	struct lists_ask ask;
	struct lists list;
	struct msg_info infos[MSG_LIST_MAX];
};

static int lists_more(struct aio *aio)
{
	struct lists_aio *st = aio->state;
	int err = lists_append(&st->list, &st->page, &st->ask);

	if (err < 0 || !st->page.more)
		return err;
	aio->body_len = lists_encode(&st->ask, aio_body(aio));
	return aio->body_len < 0 ? aio->body_len : 1;
}

static int64_t lists_finish(struct aio *aio)
{
	struct lists_aio *st = aio->state;

	*(struct cow_info **)aio->out = st->list.infos;
	*(size_t *)aio->out2 = st->list.count;
	return 0;
}

static void lists_drop(struct aio *aio)
{
	struct lists_aio *st = aio->state;

	cow_list_free(st->list.infos, st->list.count);
}

static int lists_submit(cow_t *cow, const struct lists_ask *ask, struct cow_info **infos,
			size_t *count, const struct cow_aio *how, uint64_t *id)
{
	static const struct aio_kind kinds[WIRE_OP_END] = {
#define KIND(op_)                                         \
	[op_] = {.op = (op_),                             \
		 .decode = lists_decode,                  \
		 .state_bytes = sizeof(struct lists_aio), \
		 .more = lists_more,                      \
		 .finish = lists_finish,                  \
		 .drop = lists_drop}
	    KIND(WIRE_OP_LIST),
	    KIND(WIRE_OP_VERSIONS),
	    KIND(WIRE_OP_CHILDREN),
#undef KIND
	};
	struct lists_aio *st;
	struct aio *aio;
	int err = aio_new(cow, NULL, &kinds[ask->op], how, &aio);

	if (err < 0)
		return err;
	st = aio->state;
	st->page.infos = st->infos;
	st->ask = *ask;
	aio->out = infos;
	aio->out2 = count;
	return aio_submit(aio, lists_encode(ask, aio_body(aio)), id);
}

int cow_aio_list(cow_t *cow, const char *prefix, const char *label, struct cow_info **infos,
		 size_t *count, const struct cow_aio *how, uint64_t *id)
{
	struct lists_ask ask = {.op = WIRE_OP_LIST, .list = {.max = 0}};
	int err = lists_fill_labelled(cow, prefix, label, &ask);

	return err < 0 ? err : lists_submit(cow, &ask, infos, count, how, id);
}

int cow_aio_list_versions(cow_t *cow, const char *name, struct cow_info **infos, size_t *count,
			  const struct cow_aio *how, uint64_t *id)
{
	struct lists_ask ask = {.op = WIRE_OP_VERSIONS, .versions = {.max = 0}};
	int err = names_copy(cow, name, ask.versions.name);

	return err < 0 ? err : lists_submit(cow, &ask, infos, count, how, id);
}

int cow_aio_list_children(cow_t *cow, const char *spec, struct cow_info **infos, size_t *count,
			  const struct cow_aio *how, uint64_t *id)
{
	struct lists_ask ask = {.op = WIRE_OP_CHILDREN, .children = {.max = 0}};
	int err = names_copy_spec(cow, spec, ask.children.name);

	return err < 0 ? err : lists_submit(cow, &ask, infos, count, how, id);
}
