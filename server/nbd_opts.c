/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_opts.c: the options of the handshake: a row of the table for each, and what may come when.
 */
#include "server/nbd_priv.h"

#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"

struct nbd_opt_row {
	uint32_t option;
	bool plain; /* without TLS, too, where that is required */
	bool empty; /* has no data */
	enum conn_step (*run)(struct nbd *nbd, const uint8_t *data, uint32_t len);
};

void nbd_opt_end(struct nbd *nbd)
{
	nbd_list_free(nbd);
	nbd_meta_free(nbd);
	free(nbd->data);
	nbd->data = NULL;
}

void nbd_forget(struct nbd *nbd)
{
	nbd->structured = false;
	nbd->extended = false;
	nbd->ncontexts = 0;
	nbd->meta_name[0] = '\0';
}

/* ---- what needs nobody else ------------------------------------------------------------------ */

/* Whatever data comes with it. */
static enum conn_step opt_abort(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	(void)data;
	(void)len;
	(void)nbd_opt_ack(nbd);
	conn_finish(nbd->conn);
	return STEP_WAIT;
}

static enum conn_step opt_structured_reply(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	(void)data;
	(void)len;
	if (nbd->extended)
		return nbd_opt_error(nbd, NBD_REP_ERR_EXT_HEADER_REQD,
				     "extended headers are in use already");
	nbd->structured = true;
	return nbd_opt_ack(nbd);
}

static enum conn_step opt_extended_headers(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	(void)data;
	(void)len;
	nbd->extended = true;
	return nbd_opt_ack(nbd);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static enum conn_step opt_starttls(struct nbd *nbd, const uint8_t *data, uint32_t len)
{
	(void)data;
	(void)len;
	if (conn_is_tls(nbd->conn))
		return nbd_opt_error(nbd, NBD_REP_ERR_INVALID, "this connection has TLS already");
	if (nbd_config(nbd)->tls == NBD_TLS_OFF || !conn_has_tls(nbd->conn))
		return nbd_opt_error(nbd, NBD_REP_ERR_POLICY, "this server has no TLS");
	(void)nbd_opt_ack(nbd);
	nbd_forget(nbd);
	conn_start_tls(nbd->conn);
	return STEP_ON;
}

/* Without the TLS that it must have, this connection gets nothing. */
static bool nbd_needs_tls(const struct nbd *nbd)
{
	return nbd_config(nbd)->tls == NBD_TLS_REQUIRE && !conn_is_tls(nbd->conn);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct nbd_opt_row rows[] = {
    {NBD_OPT_EXPORT_NAME, false, false, nbd_opt_export_name},
    {NBD_OPT_ABORT, true, false, opt_abort},
    {NBD_OPT_LIST, false, true, nbd_opt_list},
    {NBD_OPT_STARTTLS, true, true, opt_starttls},
    {NBD_OPT_INFO, false, false, nbd_opt_info},
    {NBD_OPT_GO, false, false, nbd_opt_info},
    {NBD_OPT_STRUCTURED_REPLY, false, true, opt_structured_reply},
    {NBD_OPT_LIST_META_CONTEXT, false, false, nbd_opt_meta},
    {NBD_OPT_SET_META_CONTEXT, false, false, nbd_opt_meta},
    {NBD_OPT_EXTENDED_HEADERS, false, true, opt_extended_headers},
};

static const struct nbd_opt_row *row_of(uint32_t option)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].option == option)
			return &rows[i];
	return NULL;
}

/* An option that is not to be run: EXPORT_NAME has no other answer than the end. */
static enum conn_step nbd_opt_no(struct nbd *nbd, uint32_t type, const char *why)
{
	if (nbd->opt.option == NBD_OPT_EXPORT_NAME)
		return nbd_refuse(nbd, -ERR_PERM);
	return nbd_opt_error(nbd, type, why);
}

enum conn_step nbd_opt_run(struct nbd *nbd, const uint8_t *data)
{
	const struct nbd_opt_row *row = row_of(nbd->opt.option);

	/* who does not speak the fixed newstyle would not understand a reply */
	if (!nbd->fixed && nbd->opt.option != NBD_OPT_EXPORT_NAME &&
	    nbd->opt.option != NBD_OPT_ABORT)
		return nbd_refuse(nbd, -ERR_FRAME_STATE);
	if (nbd->conn->session.refusal[0] != '\0' && nbd->opt.option != NBD_OPT_ABORT)
		return nbd_opt_no(nbd, NBD_REP_ERR_POLICY, nbd->conn->session.refusal);
	if ((!row || !row->plain) && nbd_needs_tls(nbd))
		return nbd_opt_no(nbd, NBD_REP_ERR_TLS_REQD, "this server requires TLS");
	if (!data && nbd->opt.option == NBD_OPT_EXPORT_NAME)
		return nbd_refuse(nbd, -ERR_FRAME_LEN);
	if (!data)
		return nbd_opt_error(nbd, NBD_REP_ERR_TOO_BIG, "the option has too much data");
	if (!row)
		return nbd_opt_error(nbd, NBD_REP_ERR_UNSUP, "no such option");
	if (row->empty && nbd->opt.len > 0)
		return nbd_opt_error(nbd, NBD_REP_ERR_INVALID, "this option has no data");
	return row->run(nbd, data, nbd->opt.len);
}
