/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_list.c: LIST: a page of objects, then the versions of each of them that has some, page by page, then
 * the next objects.  A page is asked for when what came before is on its way, so that a client who does not
 * read holds no more than the limits of its connection.
 */
#include "server/nbd_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/label.h"

#define LIST_PAGE 64u

struct nbd_list {
	bool bitmaps; /* versions of one object, as contexts */
	enum conn_step (*then)(struct nbd *nbd);
	bool more;			    /* objects, */
	char after[MSG_NAME_BYTES];	    /* behind this one */
	uint32_t n;			    /* objects that have versions, */
	uint32_t at;			    /* of which these are done; */
	char version[NAME_VERSION_MAX + 1]; /* of the next one, up to here */
	char objects[LIST_PAGE][NAME_OBJECT_MAX + 1];
};

void nbd_list_free(struct nbd *nbd)
{
	free(nbd->list);
	nbd->list = NULL;
}

static enum conn_step list_work(struct nbd *nbd);

/* ---- answers --------------------------------------------------------------------------------- */

static void list_tell(struct nbd *nbd, const struct msg_info *info)
{
	char text[LABEL_MAX_BYTES + 1];
	uint8_t body[4 + MSG_NAME_BYTES + sizeof(text)];

	nbd_describe(info, text, sizeof(text));
	nbd_opt_reply(nbd, NBD_REP_SERVER, body,
		      nbd_server_encode(body, sizeof(body), info->name, text));
}

static void list_tell_bitmap(struct nbd *nbd, const char *version)
{
	char name[NBD_CONTEXT_BYTES];
	uint8_t body[4 + NBD_CONTEXT_BYTES];

	snprintf(name, sizeof(name), NBD_BITMAP_PREFIX "%s", version);
	nbd_opt_reply(nbd, NBD_REP_META_CONTEXT, body,
		      nbd_meta_context_encode(body, sizeof(body), 0, name));
}

/* Decodes a page; NULL: it cannot be. */
static struct msg_info *list_page(struct nbd *nbd, const struct session_reply *reply, uint32_t *n,
				  bool *more)
{
	struct msg_info *infos = calloc(LIST_PAGE, sizeof(*infos));

	if (infos &&
	    msg_list_reply_decode(reply->body, reply->body_len, infos, LIST_PAGE, n, more) == 0)
		return infos;
	free(infos);
	nbd->failed = NBD_REP_ERR_TOO_BIG;
	snprintf(nbd->why, sizeof(nbd->why), "%s", err_text(-ERR_NOMEM));
	return NULL;
}

static void list_got_objects(struct nbd *nbd, const struct session_reply *reply)
{
	struct nbd_list *list = nbd->list;
	uint32_t n = 0;
	struct msg_info *infos = list_page(nbd, reply, &n, &list->more);

	list->n = 0;
	list->at = 0;
	for (uint32_t i = 0; infos && i < n; i++) {
		snprintf(list->after, sizeof(list->after), "%s", infos[i].name);
		if (strncmp(infos[i].name, NBD_CLONES, sizeof(NBD_CLONES) - 1) == 0)
			continue;
		list_tell(nbd, &infos[i]);
		if (infos[i].nversions > 0)
			snprintf(list->objects[list->n++], sizeof(list->objects[0]), "%.*s",
				 NAME_OBJECT_MAX, infos[i].name);
	}
	free(infos);
}

static void list_next_object(struct nbd_list *list)
{
	list->at++;
	list->version[0] = '\0';
}

static void list_got_versions(struct nbd *nbd, const struct session_reply *reply)
{
	struct nbd_list *list = nbd->list;
	bool more = false;
	uint32_t n = 0;
	struct msg_info *infos = list_page(nbd, reply, &n, &more);

	for (uint32_t i = 0; infos && i < n; i++) {
		const char *at = strchr(infos[i].name, '@');

		if (!at)
			continue;
		snprintf(list->version, sizeof(list->version), "%.*s", NAME_VERSION_MAX, at + 1);
		if (list->bitmaps)
			list_tell_bitmap(nbd, list->version);
		else
			list_tell(nbd, &infos[i]);
	}
	if (!more)
		list_next_object(list);
	free(infos);
}

/* ---- questions ------------------------------------------------------------------------------- */

static enum conn_step list_ask_objects(struct nbd *nbd)
{
	struct msg_list m = {.max = LIST_PAGE};
	uint8_t body[sizeof(m) + 8];

	snprintf(m.after, sizeof(m.after), "%s", nbd->list->after);
	return nbd_ask(nbd, WIRE_OP_LIST, body, msg_list_encode(body, sizeof(body), &m),
		       list_got_objects, list_work);
}

/* An object that has gone meanwhile has no versions. */
static enum conn_step list_got_or_gone(struct nbd *nbd)
{
	if (nbd->failed && nbd->status == ERR_NOENT) {
		nbd->failed = 0;
		list_next_object(nbd->list);
	}
	return list_work(nbd);
}

static enum conn_step list_ask_versions(struct nbd *nbd)
{
	const struct nbd_list *list = nbd->list;
	struct msg_versions m = {.max = LIST_PAGE};
	uint8_t body[sizeof(m) + 8];

	snprintf(m.name, sizeof(m.name), "%s", list->objects[list->at]);
	if (list->version[0] != '\0')
		snprintf(m.after, sizeof(m.after), "%s@%s", list->objects[list->at], list->version);
	return nbd_ask(nbd, WIRE_OP_VERSIONS, body, msg_versions_encode(body, sizeof(body), &m),
		       list_got_versions, list_got_or_gone);
}

static enum conn_step list_work(struct nbd *nbd)
{
	struct nbd_list *list = nbd->list;
	enum conn_step (*then)(struct nbd * nbd) = list->then;

	if (nbd->failed)
		return nbd_opt_error(nbd, nbd->failed, nbd->why);
	if (list->at < list->n)
		return list_ask_versions(nbd);
	if (list->more)
		return list_ask_objects(nbd);
	nbd_list_free(nbd);
	return then(nbd);
}

static enum conn_step list_begin(struct nbd *nbd, enum conn_step (*then)(struct nbd *nbd))
{
	nbd->failed = 0;
	nbd->list = calloc(1, sizeof(*nbd->list));
	if (!nbd->list)
		return nbd_opt_error(nbd, NBD_REP_ERR_TOO_BIG, err_text(-ERR_NOMEM));
	nbd->list->then = then;
	return STEP_ON;
}

enum conn_step nbd_opt_list(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	(void)data;
	(void)len;
	(void)list_begin(nbd, nbd_opt_ack);
	if (!nbd->list)
		return STEP_ON;
	nbd->list->more = true;
	return list_work(nbd);
}

enum conn_step nbd_list_bitmaps(struct nbd *nbd, const char *object,
				enum conn_step (*then)(struct nbd *nbd))
{
	(void)list_begin(nbd, then);
	if (!nbd->list)
		return STEP_ON;
	nbd->list->bitmaps = true;
	nbd->list->n = 1;
	snprintf(nbd->list->objects[0], sizeof(nbd->list->objects[0]), "%s", object);
	return list_work(nbd);
}
