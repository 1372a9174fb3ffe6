/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_export.c: choosing an export: INFO, GO and EXPORT_NAME; clones of a connection's own.
 *
 * What is chosen is looked at, then it is cloned where a clone is asked for, then opened; INFO does the first
 * only.
 */
#include "server/nbd_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/label.h"
#include "common/log.h"
#include "server/dispatch.h"

/* A clone that is not removed, since the server died, goes when it has expired. */
#define CLONE_TTL_MS 10000u

/* ---- names ----------------------------------------------------------------------------------- */

uint32_t nbd_export_set(struct nbd *nbd, struct nbd_text name, const char **why)
{
	struct nbd_export *e = &nbd->export;

	*e = (struct nbd_export){0};
	if (name.len == 0) {
		*why = "there is no default export: name an object";
		return NBD_REP_ERR_UNKNOWN;
	}
	if (name.len >= sizeof(e->name)) {
		*why = "no object has a name that long";
		return NBD_REP_ERR_UNKNOWN;
	}
	memcpy(e->name, name.p, name.len);
	e->clone = strncmp(e->name, NBD_CLONE_PREFIX, NBD_CLONE_PREFIX_LEN) == 0;
	e->spec = e->name + (e->clone ? NBD_CLONE_PREFIX_LEN : 0);
	if (e->clone && !nbd_config(nbd)->clones) {
		*why = "this server makes no clones for connections";
		return NBD_REP_ERR_POLICY;
	}
	if (strlen(e->spec) > NAME_MAX_BYTES) {
		*why = "no object has a name that long";
		return NBD_REP_ERR_UNKNOWN;
	}
	if (strncmp(e->spec, NBD_CLONES, sizeof(NBD_CLONES) - 1) == 0) {
		*why = "the clone of a connection is its own";
		return NBD_REP_ERR_UNKNOWN;
	}
	return 0;
}

/* ---- what an export is ----------------------------------------------------------------------- */

static void export_looked(struct nbd *nbd, const struct session_reply *reply)
{
	if (msg_info_decode(reply->body, reply->body_len, &nbd->info) < 0)
		nbd->failed = NBD_REP_ERR_UNKNOWN;
}

enum conn_step nbd_export_look(struct nbd *nbd, enum conn_step (*work)(struct nbd *nbd))
{
	struct msg_name m;
	uint8_t body[sizeof(m) + 2];

	snprintf(m.name, sizeof(m.name), "%s", nbd->export.spec);
	return nbd_ask(nbd, WIRE_OP_INFO, body, msg_name_encode(body, sizeof(body), &m),
		       export_looked, work);
}

static bool export_is_readonly(const struct nbd *nbd)
{
	return (nbd->info.flags & MSG_INFO_READONLY) && !nbd->export.clone;
}

static bool export_has_contexts(const struct nbd *nbd)
{
	return nbd->ncontexts > 0 && strcmp(nbd->meta_name, nbd->export.name) == 0;
}

static uint16_t export_flags(const struct nbd *nbd)
{
	uint32_t flags =
	    NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE;

	if (export_is_readonly(nbd))
		flags |= NBD_FLAG_READ_ONLY;
	else
		flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO |
			 NBD_FLAG_SEND_RESIZE;
	if (!nbd->export.clone) /* of that each connection has another */
		flags |= NBD_FLAG_CAN_MULTI_CONN;
	if (nbd_has_chunks(nbd))
		flags |= NBD_FLAG_SEND_DF;
	if (nbd->extended && export_has_contexts(nbd))
		flags |= NBD_FLAG_BLOCK_STATUS_PAYLOAD;
	return (uint16_t)flags;
}

/* The value of the label "description", or NULL. */
static const char *label_description(const struct msg_labels *labels)
{
	static const char key[] = "description=";

	for (size_t at = 0; at < labels->len; at += strlen(labels->bytes + at) + 1)
		if (strncmp(labels->bytes + at, key, sizeof(key) - 1) == 0)
			return labels->bytes + at + sizeof(key) - 1;
	return NULL;
}

void nbd_describe(const struct msg_info *info, char *buf, size_t len)
{
	const char *text = label_description(&info->labels);

	if (text)
		snprintf(buf, len, "%s", text);
	else if (info->parent)
		snprintf(buf, len, "a version, read-only");
	else if (info->flags & MSG_INFO_READONLY)
		snprintf(buf, len, "an object, read-only");
	else
		snprintf(buf, len, "an object");
}

/* ---- INFO, GO -------------------------------------------------------------------------------- */

static void export_tell_text(struct nbd *nbd, uint16_t info, const char *text)
{
	uint8_t body[2 + LABEL_MAX_BYTES + NBD_NAME_BYTES];

	nbd_opt_reply(nbd, NBD_REP_INFO, body,
		      nbd_info_text_encode(body, sizeof(body), info, text));
}

/* What was asked for, and what every client needs. */
static void export_tell(struct nbd *nbd)
{
	char text[LABEL_MAX_BYTES + 1];
	uint32_t asked = nbd->export.asked;
	uint8_t body[16];

	nbd->size_bytes = nbd->info.size_bytes;
	nbd->flags = export_flags(nbd);
	nbd_opt_reply(nbd, NBD_REP_INFO, body,
		      nbd_info_export_encode(body, sizeof(body), nbd->size_bytes, nbd->flags));
	if (asked & 1u << NBD_INFO_NAME)
		export_tell_text(nbd, NBD_INFO_NAME, nbd->export.name);
	if (asked & 1u << NBD_INFO_DESCRIPTION) {
		nbd_describe(&nbd->info, text, sizeof(text));
		export_tell_text(nbd, NBD_INFO_DESCRIPTION, text);
	}
	if (asked & 1u << NBD_INFO_BLOCK_SIZE)
		nbd_opt_reply(
		    nbd, NBD_REP_INFO, body,
		    nbd_info_block_size_encode(body, sizeof(body), 1, BLK_BYTES, NBD_PAYLOAD_MAX));
}

/* Of an answer it is enough that it is no error. */
static void export_ignored(struct nbd *nbd, const struct session_reply *reply)
{
	(void)nbd;
	(void)reply;
}

static enum conn_step export_failed(struct nbd *nbd)
{
	char quoted[4 * WIRE_TEXT_MAX];

	if (nbd->opt.option == NBD_OPT_EXPORT_NAME) {
		if (log_rate_pass(&nbd->conn->set->refusals, "nbd-export", clock_now_ms()))
			log_event(LOG_INFO, "nbd-export", "client=\"%s\" refused=%s",
				  nbd->conn->session.holder,
				  log_quote(quoted, sizeof(quoted), nbd->why));
		conn_finish(nbd->conn);
		return STEP_WAIT;
	}
	return nbd_opt_error(nbd, nbd->failed, nbd->why);
}

/* A clone that could not be opened has been removed, and the client may go on; else it goes with the connection,
 * so that no other takes its place. */
static enum conn_step export_uncloned(struct nbd *nbd)
{
	bool left = nbd->failed;

	nbd->failed = nbd->unopened;
	if (!left) {
		nbd->clone[0] = '\0';
		return export_failed(nbd);
	}
	(void)export_failed(nbd);
	conn_finish(nbd->conn);
	return STEP_WAIT;
}

static enum conn_step export_unclone(struct nbd *nbd)
{
	struct msg_remove m = {0};
	uint8_t body[sizeof(m) + 8];

	nbd->unopened = nbd->failed;
	snprintf(m.name, sizeof(m.name), "%s", nbd->clone);
	return nbd_ask(nbd, WIRE_OP_REMOVE, body, msg_remove_encode(body, sizeof(body), &m),
		       export_ignored, export_uncloned);
}

/* From here on it is commands. */
static enum conn_step export_ready(struct nbd *nbd)
{
	uint8_t body[NBD_EXPORT_REPLY_BYTES + NBD_EXPORT_REPLY_ZEROES];
	int n;

	if (nbd->failed)
		return nbd->clone[0] != '\0' ? export_unclone(nbd) : export_failed(nbd);
	if (!export_has_contexts(nbd))
		nbd->ncontexts = 0;
	if (nbd->opt.option == NBD_OPT_EXPORT_NAME) {
		nbd->size_bytes = nbd->info.size_bytes;
		nbd->flags = export_flags(nbd);
		n = nbd_export_reply_encode(body, sizeof(body), nbd->size_bytes, nbd->flags,
					    !nbd->no_zeroes);
		nbd_send(nbd, body, n < 0 ? 0 : (size_t)n);
	} else {
		export_tell(nbd);
		(void)nbd_opt_ack(nbd);
	}
	nbd->phase = NBD_TRANSMIT;
	conn_set_ready(nbd->conn);
	log_event(LOG_DEBUG, "nbd-export", "client=\"%s\" size=%" PRIu64 " flags=%u",
		  nbd->conn->session.holder, nbd->size_bytes, nbd->flags);
	return STEP_ON;
}

static void export_opened(struct nbd *nbd, const struct session_reply *reply)
{
	struct msg_open_reply m;

	if (msg_open_reply_decode(reply->body, reply->body_len, &m) < 0) {
		nbd->failed = NBD_REP_ERR_UNKNOWN;
		return;
	}
	nbd->handle = m.handle;
	nbd->info = m.info;
}

static enum conn_step export_open(struct nbd *nbd)
{
	struct msg_open m = {.flags = export_is_readonly(nbd) ? MSG_OPEN_READONLY : MSG_OPEN_FIXED};
	uint8_t body[sizeof(m) + 2];

	if (nbd->failed) {
		nbd->clone[0] = '\0'; /* it was not made */
		return export_failed(nbd);
	}
	snprintf(m.name, sizeof(m.name), "%s", nbd->export.clone ? nbd->clone : nbd->export.spec);
	return nbd_ask(nbd, WIRE_OP_OPEN, body, msg_open_encode(body, sizeof(body), &m),
		       export_opened, export_ready);
}

/* ---- clones ---------------------------------------------------------------------------------- */

/* No two of a store's have one name: the incarnation is another at each start. */
static enum conn_step export_clone(struct nbd *nbd)
{
	static uint64_t number;
	struct msg_clone m = {.ttl_ms = CLONE_TTL_MS};
	uint8_t body[sizeof(m) + 16];

	snprintf(nbd->clone, sizeof(nbd->clone), NBD_CLONES "%" PRIx64 "-%" PRIx64,
		 nbd->conn->session.host->incarnation, ++number);
	snprintf(m.src, sizeof(m.src), "%s", nbd->export.spec);
	snprintf(m.dst, sizeof(m.dst), "%s", nbd->clone);
	return nbd_ask(nbd, WIRE_OP_CLONE, body, msg_clone_encode(body, sizeof(body), &m),
		       export_ignored, export_open);
}

/* A request of the end: its answer is waited for, and not looked at.  False: there will be none. */
static bool export_request(struct nbd *nbd, uint16_t op, const uint8_t *body, int n)
{
	struct wire_header header = {.op = op, .body_len = (uint32_t)n};
	struct request *req;

	if (n < 0 || dispatch_begin(&nbd->conn->session, &header, body, &req) < 0)
		return false;
	dispatch_run(req);
	return true;
}

/* The handle of what is open, whether or not its OPEN could be answered; 0: nothing is. */
static uint32_t export_handle(const struct session *session)
{
	for (uint32_t i = 0; i < session->nslots; i++)
		if (session->slots[i])
			return session->slots[i]->number;
	return 0;
}

bool nbd_export_end(struct nbd *nbd)
{
	struct msg_handle close = {export_handle(&nbd->conn->session)};
	struct msg_remove remove = {0};
	uint8_t body[sizeof(remove) + 8];

	if (nbd->clone[0] == '\0' || nbd->ending == 2)
		return true;
	if (nbd->ending++ == 0)
		return !export_request(nbd, WIRE_OP_CLOSE, body,
				       msg_handle_encode(body, sizeof(body), &close));
	snprintf(remove.name, sizeof(remove.name), "%s", nbd->clone);
	return !export_request(nbd, WIRE_OP_REMOVE, body,
			       msg_remove_encode(body, sizeof(body), &remove));
}

/* ---- the options ----------------------------------------------------------------------------- */

/* What was asked about has been looked at. */
static enum conn_step export_go(struct nbd *nbd)
{
	if (nbd->failed)
		return export_failed(nbd);
	if (nbd->opt.option == NBD_OPT_INFO) {
		export_tell(nbd);
		return nbd_opt_ack(nbd);
	}
	return nbd->export.clone ? export_clone(nbd) : export_open(nbd);
}

static enum conn_step export_begin(struct nbd *nbd, struct nbd_text name, uint32_t asked)
{
	const char *why = "";

	nbd->failed = nbd_export_set(nbd, name, &why);
	nbd->export.asked = asked;
	if (nbd->failed) {
		snprintf(nbd->why, sizeof(nbd->why), "%s", why);
		return export_failed(nbd);
	}
	return nbd_export_look(nbd, export_go);
}

enum conn_step nbd_opt_info(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	struct nbd_info_request m;

	if (nbd_info_request_decode(data, len, &m) < 0)
		return nbd_opt_error(nbd, NBD_REP_ERR_INVALID, "malformed data");
	return export_begin(nbd, m.name, m.asked);
}

/* With extended headers there is no EXPORT_NAME. */
enum conn_step nbd_opt_export_name(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	struct nbd_text name;

	if (nbd->extended || nbd_name_decode(data, len, &name) < 0)
		return nbd_refuse(nbd, -ERR_FRAME_BODY);
	return export_begin(nbd, name, 0);
}
