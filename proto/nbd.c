/* SPDX-License-Identifier: BSD-2-Clause */
#include "proto/nbd.h"

#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/utf8.h"

/* ---- big-endian ------------------------------------------------------------------------------ */

static uint64_t nbd_get(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor_take(c, n);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void nbd_put(struct cursor *c, size_t n, uint64_t v)
{
	uint8_t *p = cursor_take(c, n);

	for (size_t i = 0; p && i < n; i++)
		p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

static uint16_t get16(struct cursor *c)
{
	return (uint16_t)nbd_get(c, 2);
}

static uint32_t get32(struct cursor *c)
{
	return (uint32_t)nbd_get(c, 4);
}

static uint64_t get64(struct cursor *c)
{
	return nbd_get(c, 8);
}

static void put16(struct cursor *c, uint16_t v)
{
	nbd_put(c, 2, v);
}

static void put32(struct cursor *c, uint32_t v)
{
	nbd_put(c, 4, v);
}

static void put64(struct cursor *c, uint64_t v)
{
	nbd_put(c, 8, v);
}

static int nbd_end(const struct cursor *c)
{
	return c->bad ? -ERR_LIMIT : (int)c->pos;
}

/* Text that is put last: its length follows from that of the message. */
static void nbd_put_text(struct cursor *c, const char *text)
{
	cursor_put_bytes(c, text, strlen(text));
}

/* ---- strings --------------------------------------------------------------------------------- */

/* Whether these are characters, of which none is NUL. */
static bool nbd_is_string(const uint8_t *p, size_t len)
{
	size_t i = 0;

	while (i < len) {
		char one[5] = {0};
		uint32_t cp;
		size_t n = utf8_len(p[i]);

		if (p[i] == 0 || n == 0 || n > len - i)
			return false;
		memcpy(one, p + i, n);
		if (utf8_next(one, &cp) != n)
			return false;
		i += n;
	}
	return true;
}

static struct nbd_text nbd_get_string(struct cursor *c, uint32_t len)
{
	const uint8_t *p = len <= NBD_STRING_MAX ? cursor_take(c, len) : NULL;

	if (!p || !nbd_is_string(p, len)) {
		c->bad = true;
		return (struct nbd_text){"", 0};
	}
	return (struct nbd_text){(const char *)p, len};
}

/* ---- the handshake --------------------------------------------------------------------------- */

void nbd_greeting_encode(uint8_t out[NBD_GREETING_BYTES], uint16_t flags)
{
	struct cursor c = cursor_over(out, NBD_GREETING_BYTES);

	put64(&c, NBD_MAGIC);
	put64(&c, NBD_MAGIC_OPTION);
	put16(&c, flags);
}

uint32_t nbd_client_flags_decode(const uint8_t in[NBD_CLIENT_FLAGS_BYTES])
{
	struct cursor c = cursor_over(in, NBD_CLIENT_FLAGS_BYTES);

	return get32(&c);
}

int nbd_option_decode(const uint8_t in[NBD_OPTION_BYTES], struct nbd_option *opt)
{
	struct cursor c = cursor_over(in, NBD_OPTION_BYTES);

	if (get64(&c) != NBD_MAGIC_OPTION)
		return -ERR_FRAME_MAGIC;
	opt->option = get32(&c);
	opt->len = get32(&c);
	return 0;
}

int nbd_name_decode(const uint8_t *buf, size_t len, struct nbd_text *name)
{
	struct cursor c = cursor_over(buf, len);
	struct nbd_text text;

	if (len > NBD_STRING_MAX)
		return -ERR_FRAME_BODY;
	text = nbd_get_string(&c, (uint32_t)len);
	if (c.bad)
		return -ERR_FRAME_BODY;
	*name = text;
	return 0;
}

int nbd_info_request_decode(const uint8_t *buf, size_t len, struct nbd_info_request *m)
{
	struct cursor c = cursor_over(buf, len);
	struct nbd_info_request got = {0};
	uint16_t count;

	got.name = nbd_get_string(&c, get32(&c));
	count = get16(&c);
	if (cursor_left(&c) != (size_t)count * 2)
		return -ERR_FRAME_BODY;
	for (uint16_t i = 0; i < count; i++) {
		uint16_t info = get16(&c);
		uint32_t bit = info < 32 ? 1u << info : 0;

		if (got.asked & bit)
			return -ERR_FRAME_BODY;
		got.asked |= bit;
	}
	if (c.bad)
		return -ERR_FRAME_BODY;
	*m = got;
	return 0;
}

int nbd_meta_request_decode(const uint8_t *buf, size_t len, struct nbd_meta_request *m)
{
	struct cursor c = cursor_over(buf, len);
	struct nbd_meta_request got = {0};

	got.name = nbd_get_string(&c, get32(&c));
	got.nqueries = get32(&c);
	got.queries = buf + c.pos;
	for (uint32_t i = 0; i < got.nqueries && !c.bad; i++)
		(void)nbd_get_string(&c, get32(&c));
	if (c.bad || c.pos != c.len)
		return -ERR_FRAME_BODY;
	*m = got;
	return 0;
}

struct nbd_text nbd_meta_query(const uint8_t **at)
{
	struct cursor c = cursor_over(*at, 4);
	uint32_t len = get32(&c);
	struct nbd_text text = {(const char *)*at + 4, len};

	*at += 4 + len;
	return text;
}

void nbd_optreply_encode(uint8_t out[NBD_OPTREPLY_BYTES], uint32_t option, uint32_t type,
			 uint32_t len)
{
	struct cursor c = cursor_over(out, NBD_OPTREPLY_BYTES);

	put64(&c, NBD_MAGIC_OPTREPLY);
	put32(&c, option);
	put32(&c, type);
	put32(&c, len);
}

int nbd_server_encode(uint8_t *buf, size_t len, const char *name, const char *text)
{
	struct cursor c = cursor_over(buf, len);

	put32(&c, (uint32_t)strlen(name));
	nbd_put_text(&c, name);
	nbd_put_text(&c, text);
	return nbd_end(&c);
}

int nbd_info_export_encode(uint8_t *buf, size_t len, uint64_t size, uint16_t flags)
{
	struct cursor c = cursor_over(buf, len);

	put16(&c, NBD_INFO_EXPORT);
	put64(&c, size);
	put16(&c, flags);
	return nbd_end(&c);
}

int nbd_info_text_encode(uint8_t *buf, size_t len, uint16_t info, const char *text)
{
	struct cursor c = cursor_over(buf, len);

	put16(&c, info);
	nbd_put_text(&c, text);
	return nbd_end(&c);
}

int nbd_info_block_size_encode(uint8_t *buf, size_t len, uint32_t min, uint32_t preferred,
			       uint32_t max)
{
	struct cursor c = cursor_over(buf, len);

	put16(&c, NBD_INFO_BLOCK_SIZE);
	put32(&c, min);
	put32(&c, preferred);
	put32(&c, max);
	return nbd_end(&c);
}

int nbd_meta_context_encode(uint8_t *buf, size_t len, uint32_t id, const char *name)
{
	struct cursor c = cursor_over(buf, len);

	put32(&c, id);
	nbd_put_text(&c, name);
	return nbd_end(&c);
}

int nbd_export_reply_encode(uint8_t *buf, size_t len, uint64_t size, uint16_t flags, bool zeroes)
{
	struct cursor c = cursor_over(buf, len);
	uint8_t *p;

	put64(&c, size);
	put16(&c, flags);
	p = zeroes ? cursor_take(&c, NBD_EXPORT_REPLY_ZEROES) : NULL;
	if (p)
		memset(p, 0, NBD_EXPORT_REPLY_ZEROES);
	return nbd_end(&c);
}

/* ---- transmission ---------------------------------------------------------------------------- */

int nbd_request_decode(const uint8_t *in, bool extended, struct nbd_request *m)
{
	struct cursor c =
	    cursor_over(in, extended ? NBD_EXTENDED_REQUEST_BYTES : NBD_REQUEST_BYTES);

	if (get32(&c) != (extended ? NBD_MAGIC_EXTENDED_REQUEST : NBD_MAGIC_REQUEST))
		return -ERR_FRAME_MAGIC;
	m->flags = get16(&c);
	m->type = get16(&c);
	m->cookie = get64(&c);
	m->offset = get64(&c);
	m->len = extended ? get64(&c) : get32(&c);
	return 0;
}

void nbd_simple_reply_encode(uint8_t out[NBD_SIMPLE_REPLY_BYTES], uint32_t error, uint64_t cookie)
{
	struct cursor c = cursor_over(out, NBD_SIMPLE_REPLY_BYTES);

	put32(&c, NBD_MAGIC_SIMPLE_REPLY);
	put32(&c, error);
	put64(&c, cookie);
}

size_t nbd_chunk_encode(uint8_t out[NBD_EXTENDED_REPLY_BYTES], const struct nbd_chunk *m)
{
	struct cursor c = cursor_over(out, NBD_EXTENDED_REPLY_BYTES);

	put32(&c, m->extended ? NBD_MAGIC_EXTENDED_REPLY : NBD_MAGIC_STRUCTURED_REPLY);
	put16(&c, m->flags);
	put16(&c, m->type);
	put64(&c, m->cookie);
	if (m->extended) {
		put64(&c, m->offset);
		put64(&c, m->len);
	} else {
		put32(&c, m->len);
	}
	return c.pos;
}

int nbd_offset_encode(uint8_t *buf, size_t len, uint64_t offset)
{
	struct cursor c = cursor_over(buf, len);

	put64(&c, offset);
	return nbd_end(&c);
}

int nbd_hole_encode(uint8_t *buf, size_t len, uint64_t offset, uint32_t bytes)
{
	struct cursor c = cursor_over(buf, len);

	put64(&c, offset);
	put32(&c, bytes);
	return nbd_end(&c);
}

static void nbd_put_error(struct cursor *c, uint32_t error, const char *text)
{
	size_t len = strlen(text);

	if (len > NBD_STRING_MAX) {
		c->bad = true;
		return;
	}
	put32(c, error);
	put16(c, (uint16_t)len);
	nbd_put_text(c, text);
}

int nbd_error_encode(uint8_t *buf, size_t len, uint32_t error, const char *text)
{
	struct cursor c = cursor_over(buf, len);

	nbd_put_error(&c, error, text);
	return nbd_end(&c);
}

size_t nbd_status_bytes(bool extended, uint32_t n)
{
	return extended ? 8 + (size_t)n * 16 : 4 + (size_t)n * 8;
}

int nbd_status_encode(uint8_t *buf, size_t len, bool extended, uint32_t id,
		      const struct nbd_extent *extents, uint32_t n)
{
	struct cursor c = cursor_over(buf, len);

	put32(&c, id);
	if (extended)
		put32(&c, n);
	for (uint32_t i = 0; i < n && !c.bad; i++) {
		nbd_put(&c, extended ? 8 : 4, extents[i].len);
		nbd_put(&c, extended ? 8 : 4, extents[i].flags);
		if (!extended && extents[i].len > UINT32_MAX)
			c.bad = true;
	}
	return nbd_end(&c);
}

static bool nbd_has_id(const struct nbd_status_filter *m, uint32_t id)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->ids[i] == id)
			return true;
	return false;
}

int nbd_status_filter_decode(const uint8_t *buf, size_t len, struct nbd_status_filter *m)
{
	struct cursor c = cursor_over(buf, len);
	struct nbd_status_filter got = {0};

	if (len < 8 + 4 || len > NBD_STATUS_FILTER_BYTES_MAX || len % 4 != 0)
		return -ERR_FRAME_BODY;
	got.len = get64(&c);
	while (cursor_left(&c) > 0) {
		uint32_t id = get32(&c);

		if (nbd_has_id(&got, id))
			return -ERR_FRAME_BODY;
		got.ids[got.n++] = id;
	}
	*m = got;
	return 0;
}

/* ---- errors, names --------------------------------------------------------------------------- */

uint32_t nbd_errno(int err)
{
	if (err == 0)
		return 0;
	if (err == -ERR_TOO_LARGE || err == ERR_TOO_LARGE)
		return NBD_ENOSPC; /* as EFBIG */
	switch (err_class(err)) {
	case ERR_PERM:
		return NBD_EPERM;
	case ERR_NOSPC:
		return NBD_ENOSPC;
	case ERR_NOMEM:
		return NBD_ENOMEM;
	case ERR_LIMIT:
		return NBD_EOVERFLOW;
	case ERR_NOTSUP:
		return NBD_ENOTSUP;
	case ERR_SHUTDOWN:
	case ERR_CONN:
		return NBD_ESHUTDOWN;
	case ERR_INVAL:
	case ERR_NOENT:
	case ERR_EXIST:
	case ERR_PROTO:
		return NBD_EINVAL;
	default: /* BUSY, IO, CORRUPT, TIMEOUT, FORMAT, CHANGED, CANCELED, RESTARTED */
		return NBD_EIO;
	}
}

uint32_t nbd_rep_err(int err)
{
	if (err == -ERR_FRAME_BODY)
		return NBD_REP_ERR_INVALID;
	switch (err_class(err)) {
	case ERR_PERM:
		return NBD_REP_ERR_POLICY;
	case ERR_PROTO:
		return NBD_REP_ERR_INVALID;
	case ERR_NOTSUP:
		return NBD_REP_ERR_UNSUP;
	case ERR_SHUTDOWN:
		return NBD_REP_ERR_SHUTDOWN;
	case ERR_LIMIT:
	case ERR_NOMEM:
		return NBD_REP_ERR_TOO_BIG;
	default: /* the export is not to be had: there is none, or it cannot be read */
		return NBD_REP_ERR_UNKNOWN;
	}
}

#define X(name, num)         \
	case NBD_CMD_##name: \
		return #name;

const char *nbd_cmd_name(uint32_t cmd)
{
	switch (cmd) {
		NBD_CMDS(X)
	default:
		return NULL;
	}
}

#undef X
#define X(name, num)         \
	case NBD_OPT_##name: \
		return #name;

const char *nbd_opt_name(uint32_t option)
{
	switch (option) {
		NBD_OPTS(X)
	default:
		return NULL;
	}
}

#undef X
