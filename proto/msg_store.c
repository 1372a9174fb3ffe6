/* SPDX-License-Identifier: BSD-2-Clause */
/* msg_store.c: the bodies of operations on the store as a whole. */
#include "proto/msg.h"

#include "common/cursor.h"
#include "common/err.h"
#include "proto/msg_priv.h"

static void msg_statfs_reply_put(struct cursor *c, const struct msg_statfs_reply *m)
{
	cursor_put_u64(c, m->block_bytes);
	cursor_put_u64(c, m->total_bytes);
	cursor_put_u64(c, m->free_bytes);
	cursor_put_u64(c, m->reserved_bytes);
	cursor_put_u64(c, m->mapped_bytes);
	cursor_put_u64(c, m->meta_total_bytes);
	cursor_put_u64(c, m->meta_used_bytes);
	cursor_put_u64(c, m->objects);
	cursor_put_u64(c, m->versions);
	cursor_put_u64(c, m->reaping_bytes);
	cursor_put_u64(c, m->staged_bytes);
	cursor_put_u64(c, m->journal_bytes);
	cursor_put_u64(c, m->journal_used_bytes);
	cursor_put_u64(c, m->withheld_bytes);
}

static void msg_statfs_reply_get(struct cursor *c, struct msg_statfs_reply *m)
{
	m->block_bytes = cursor_u64(c);
	m->total_bytes = cursor_u64(c);
	m->free_bytes = cursor_u64(c);
	m->reserved_bytes = cursor_u64(c);
	m->mapped_bytes = cursor_u64(c);
	m->meta_total_bytes = cursor_u64(c);
	m->meta_used_bytes = cursor_u64(c);
	m->objects = cursor_u64(c);
	m->versions = cursor_u64(c);
	m->reaping_bytes = cursor_u64(c);
	m->staged_bytes = cursor_u64(c);
	m->journal_bytes = cursor_u64(c);
	m->journal_used_bytes = cursor_u64(c);
	m->withheld_bytes = cursor_u64(c);
}

static void msg_usage_reply_put(struct cursor *c, const struct msg_usage_reply *m)
{
	cursor_put_u64(c, m->mapped_bytes);
	cursor_put_u64(c, m->exclusive_bytes);
}

static void msg_usage_reply_get(struct cursor *c, struct msg_usage_reply *m)
{
	m->mapped_bytes = cursor_u64(c);
	m->exclusive_bytes = cursor_u64(c);
}

static void msg_reaping_reply_put(struct cursor *c, const struct msg_reaping_reply *m)
{
	cursor_put_u64(c, m->reaping_bytes);
}

static void msg_reaping_reply_get(struct cursor *c, struct msg_reaping_reply *m)
{
	m->reaping_bytes = cursor_u64(c);
}

static void msg_check_reply_put(struct cursor *c, const struct msg_check_reply *m)
{
	cursor_put_u64(c, m->differences);
	cursor_put_u64(c, m->objects);
	cursor_put_u64(c, m->nodes);
	cursor_put_u64(c, m->mapped_bytes);
	cursor_put_u64(c, m->shared_bytes);
	cursor_put_u64(c, m->free_bytes);
	cursor_put_u16(c, m->ntexts);
	for (uint16_t i = 0; i < m->ntexts && i < MSG_CHECK_TEXTS_MAX; i++)
		cursor_put_str(c, m->texts[i].text);
	if (m->ntexts > MSG_CHECK_TEXTS_MAX)
		c->bad = true;
}

static void msg_check_reply_get(struct cursor *c, struct msg_check_reply *m)
{
	m->differences = cursor_u64(c);
	m->objects = cursor_u64(c);
	m->nodes = cursor_u64(c);
	m->mapped_bytes = cursor_u64(c);
	m->shared_bytes = cursor_u64(c);
	m->free_bytes = cursor_u64(c);
	m->ntexts = cursor_u16(c);
	for (uint16_t i = 0; i < m->ntexts && i < MSG_CHECK_TEXTS_MAX; i++)
		cursor_get_str(c, m->texts[i].text, sizeof(m->texts[i].text));
	if (m->ntexts > MSG_CHECK_TEXTS_MAX)
		c->bad = true;
}

static void msg_server_reply_put(struct cursor *c, const struct msg_server_reply *m)
{
	cursor_put_u64(c, m->incarnation);
	cursor_put_u64(c, m->uptime_ms);
	cursor_put_u32(c, m->nbd_tls);
	cursor_put_str(c, m->agent);
	cursor_put_u16(c, m->count);
	if (m->count > MSG_ADDRS_MAX)
		c->bad = true;
	for (uint16_t i = 0; i < m->count && !c->bad; i++)
		cursor_put_str(c, m->addrs[i].text);
}

static void msg_server_reply_get(struct cursor *c, struct msg_server_reply *m)
{
	m->incarnation = cursor_u64(c);
	m->uptime_ms = cursor_u64(c);
	m->nbd_tls = cursor_u32(c);
	cursor_get_str(c, m->agent, sizeof(m->agent));
	m->count = cursor_u16(c);
	if (m->count > MSG_ADDRS_MAX || m->nbd_tls > MSG_NBD_TLS_REQUIRE)
		c->bad = true;
	for (uint16_t i = 0; i < m->count && !c->bad; i++)
		cursor_get_str(c, m->addrs[i].text, sizeof(m->addrs[i].text));
}

MSG_DEFINE(msg_statfs_reply)
MSG_DEFINE(msg_usage_reply)
MSG_DEFINE(msg_reaping_reply)
MSG_DEFINE(msg_check_reply)
MSG_DEFINE(msg_server_reply)

int msg_usage_encode(uint8_t *buf, size_t len, const char *const *specs, uint32_t count)
{
	struct cursor c = cursor_over(buf, len);

	if (count == 0 || count > MSG_USAGE_MAX)
		return -ERR_LIMIT;
	cursor_put_u16(&c, (uint16_t)count);
	for (uint32_t i = 0; i < count; i++)
		cursor_put_str(&c, specs[i]);
	return c.bad ? -ERR_LIMIT : (int)c.pos;
}

/*
 * The specs of a usage request; where specs is NULL, only whether they are well formed.  One takes
 * less room with its NUL than with its length.
 */
static bool msg_usage_get_specs(struct cursor c, char *names, const char **specs, uint32_t count)
{
	char spec[MSG_NAME_BYTES];

	for (uint32_t i = 0; i < count && !c.bad; i++) {
		size_t bytes;

		cursor_get_str(&c, spec, sizeof(spec));
		if (!specs)
			continue;
		bytes = strlen(spec) + 1;
		memcpy(names, spec, bytes);
		specs[i] = names;
		names += bytes;
	}
	return msg_at_end(&c);
}

int msg_usage_decode(const uint8_t *buf, size_t len, char *names, const char **specs, uint32_t max,
		     uint32_t *count)
{
	struct cursor c = cursor_over(buf, len);
	uint32_t n = cursor_u16(&c);

	if (n == 0 || n > max || n > MSG_USAGE_MAX)
		return -ERR_FRAME_BODY;
	/* a first pass, so that a malformed request leaves specs alone */
	if (!msg_usage_get_specs(c, NULL, NULL, n) || !msg_usage_get_specs(c, names, specs, n))
		return -ERR_FRAME_BODY;
	*count = n;
	return 0;
}
