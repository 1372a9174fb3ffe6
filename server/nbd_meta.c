/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_meta.c: the contexts of BLOCK_STATUS: what there are, and which are to be used.  A query that names
 * none is no error; a version that a bitmap is to be against is looked up.
 */
#include "server/nbd_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define QUERIES_MAX 64u

struct nbd_meta {
	bool set;
	const uint8_t *at; /* the next query */
	uint32_t left;
	char object[NAME_OBJECT_MAX + 1]; /* whose versions there are bitmaps against */
	char version[NAME_VERSION_MAX + 1];
	uint64_t id; /* of that version */
};

static const struct {
	const char *name;
	enum nbd_kind kind;
} plain[] = {{"base:allocation", NBD_ALLOCATION}, {"cowd:shared", NBD_SHARED}};

void nbd_meta_free(struct nbd *nbd)
{
	free(nbd->meta);
	nbd->meta = NULL;
}

static enum conn_step meta_next(struct nbd *nbd);

/* ---- contexts -------------------------------------------------------------------------------- */

static bool meta_has(const struct nbd *nbd, struct nbd_context context)
{
	for (uint32_t i = 0; i < nbd->ncontexts; i++)
		if (nbd->contexts[i].kind == context.kind &&
		    nbd->contexts[i].older == context.older)
			return true;
	return false;
}

/* Tells of a context, and notes it where it is to be used.  False: there are too many. */
static bool meta_tell(struct nbd *nbd, const char *name, struct nbd_context context)
{
	uint8_t body[4 + NBD_CONTEXT_BYTES];
	uint32_t id = 0;

	if (nbd->meta->set) {
		if (meta_has(nbd, context))
			return true;
		if (nbd->ncontexts == NBD_CONTEXTS_MAX)
			return false;
		id = nbd->ncontexts;
		nbd->contexts[nbd->ncontexts++] = context;
	}
	nbd_opt_reply(nbd, NBD_REP_META_CONTEXT, body,
		      nbd_meta_context_encode(body, sizeof(body), id, name));
	return true;
}

static enum conn_step meta_too_many(struct nbd *nbd)
{
	nbd->ncontexts = 0;
	return nbd_opt_error(nbd, NBD_REP_ERR_TOO_BIG, "too many contexts");
}

/* ---- bitmaps --------------------------------------------------------------------------------- */

static void meta_got_version(struct nbd *nbd, const struct session_reply *reply)
{
	struct msg_info info;

	if (msg_info_decode(reply->body, reply->body_len, &info) < 0)
		nbd->failed = NBD_REP_ERR_UNKNOWN;
	else
		nbd->meta->id = info.id;
}

static enum conn_step meta_tell_version(struct nbd *nbd)
{
	char name[NBD_CONTEXT_BYTES];

	/* no such version, or nothing that one can be called: the query names nothing */
	if (nbd->failed && (nbd->status == ERR_NOENT || nbd->status == ERR_INVAL))
		return meta_next(nbd);
	if (nbd->failed)
		return nbd_opt_error(nbd, nbd->failed, nbd->why);
	snprintf(name, sizeof(name), NBD_BITMAP_PREFIX "%s", nbd->meta->version);
	if (!meta_tell(nbd, name, (struct nbd_context){NBD_BITMAP, nbd->meta->id}))
		return meta_too_many(nbd);
	return meta_next(nbd);
}

static enum conn_step meta_ask_version(struct nbd *nbd, struct nbd_text version)
{
	struct msg_name m;
	uint8_t body[sizeof(m) + 2];

	if (version.len > NAME_VERSION_MAX)
		return meta_next(nbd);
	snprintf(nbd->meta->version, sizeof(nbd->meta->version), "%.*s", (int)version.len,
		 version.p);
	snprintf(m.name, sizeof(m.name), "%s@%s", nbd->meta->object, nbd->meta->version);
	return nbd_ask(nbd, WIRE_OP_INFO, body, msg_name_encode(body, sizeof(body), &m),
		       meta_got_version, meta_tell_version);
}

/* ---- queries --------------------------------------------------------------------------------- */

static bool text_is(struct nbd_text text, const char *s)
{
	return text.len == strlen(s) && memcmp(text.p, s, text.len) == 0;
}

/* Whether it asks for all of a namespace, which only a list can be asked for. */
static bool query_is_wild(const struct nbd_meta *meta, struct nbd_text query, const char *name)
{
	size_t len = strcspn(name, ":") + 1;

	return !meta->set && query.len == len && memcmp(query.p, name, len) == 0;
}

static bool query_is_wild_bitmap(const struct nbd_meta *meta, struct nbd_text query)
{
	return !meta->set && (text_is(query, NBD_BITMAP_PREFIX) || text_is(query, "qemu:"));
}

static bool query_is_bitmap(struct nbd_text query)
{
	return query.len > NBD_BITMAP_PREFIX_LEN &&
	       memcmp(query.p, NBD_BITMAP_PREFIX, NBD_BITMAP_PREFIX_LEN) == 0;
}

static enum conn_step meta_query(struct nbd *nbd, struct nbd_text query)
{
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if ((text_is(query, plain[i].name) ||
		     query_is_wild(nbd->meta, query, plain[i].name)) &&
		    !meta_tell(nbd, plain[i].name, (struct nbd_context){plain[i].kind, 0}))
			return meta_too_many(nbd);
	if (query_is_wild_bitmap(nbd->meta, query))
		return nbd_list_bitmaps(nbd, nbd->meta->object, meta_next);
	if (query_is_bitmap(query)) {
		query.p += NBD_BITMAP_PREFIX_LEN;
		query.len -= (uint32_t)NBD_BITMAP_PREFIX_LEN;
		return meta_ask_version(nbd, query);
	}
	nbd->phase = NBD_WORK;
	nbd->work = meta_next;
	return STEP_ON;
}

static enum conn_step meta_next(struct nbd *nbd)
{
	struct nbd_meta *meta = nbd->meta;

	if (meta->left > 0) {
		meta->left--;
		return meta_query(nbd, nbd_meta_query(&meta->at));
	}
	if (meta->set)
		snprintf(nbd->meta_name, sizeof(nbd->meta_name), "%s", nbd->export.name);
	return nbd_opt_ack(nbd);
}

/* The export is there. */
static enum conn_step meta_begin(struct nbd *nbd)
{
	struct nbd_meta *meta = nbd->meta;

	if (nbd->failed)
		return nbd_opt_error(nbd, nbd->failed, nbd->why);
	snprintf(meta->object, sizeof(meta->object), "%.*s", (int)strcspn(nbd->export.spec, "@"),
		 nbd->export.spec);
	if (meta->set || meta->left > 0)
		return meta_next(nbd);
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		(void)meta_tell(nbd, plain[i].name, (struct nbd_context){plain[i].kind, 0});
	return nbd_list_bitmaps(nbd, meta->object, meta_next);
}

/* Copies what is used while the engine is asked. */
static enum conn_step meta_keep(struct nbd *nbd, const uint8_t *data, uint32_t len,
				const struct nbd_meta_request *m)
{
	nbd->data = malloc(len);
	nbd->meta = calloc(1, sizeof(*nbd->meta));
	if (!nbd->data || !nbd->meta)
		return nbd_opt_error(nbd, NBD_REP_ERR_TOO_BIG, err_text(-ERR_NOMEM));
	memcpy(nbd->data, data, len);
	nbd->meta->set = nbd->opt.option == NBD_OPT_SET_META_CONTEXT;
	nbd->meta->at = nbd->data + (m->queries - data);
	nbd->meta->left = m->nqueries;
	return nbd_export_look(nbd, meta_begin);
}

enum conn_step nbd_opt_meta(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	struct nbd_meta_request m;
	const char *why = "";
	uint32_t failed;

	if (nbd->opt.option == NBD_OPT_SET_META_CONTEXT) {
		nbd->ncontexts = 0; /* whatever comes of this */
		nbd->meta_name[0] = '\0';
		if (!nbd_has_chunks(nbd))
			return nbd_opt_error(nbd, NBD_REP_ERR_INVALID,
					     "structured replies have to be negotiated first");
	}
	if (nbd_meta_request_decode(data, len, &m) < 0)
		return nbd_opt_error(nbd, NBD_REP_ERR_INVALID, "malformed data");
	if (m.nqueries > QUERIES_MAX)
		return nbd_opt_error(nbd, NBD_REP_ERR_TOO_BIG, "too many queries");
	failed = nbd_export_set(nbd, m.name, &why);
	if (failed)
		return nbd_opt_error(nbd, failed, why);
	return meta_keep(nbd, data, len, &m);
}
