/* SPDX-License-Identifier: BSD-2-Clause */
/* msg_group.c: the bodies of operations on several objects at once. */
#include <string.h>

#include "common/cursor.h"
#include "common/err.h"
#include "proto/msg.h"
#include "proto/msg_priv.h"

static void msg_handles_put(struct cursor *c, const struct msg_handles *m)
{
	cursor_put_u16(c, (uint16_t)m->count);
	for (uint32_t i = 0; i < m->count && i < MSG_GROUP_MAX; i++)
		cursor_put_u32(c, m->handles[i].handle);
	if (m->count == 0 || m->count > MSG_GROUP_MAX)
		c->bad = true;
}

static void msg_handles_get(struct cursor *c, struct msg_handles *m)
{
	m->count = cursor_u16(c);
	for (uint32_t i = 0; i < m->count && i < MSG_GROUP_MAX; i++)
		m->handles[i].handle = cursor_u32(c);
	if (m->count == 0 || m->count > MSG_GROUP_MAX)
		c->bad = true;
}

MSG_DEFINE(msg_handles)

/* ---- one write to several -------------------------------------------------------------------- */

static void msg_write_all_put(struct cursor *c, const struct msg_write_all *m)
{
	cursor_put_u32(c, m->count);
	if (m->count == 0 || m->count > WIRE_RANGES_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++) {
		const struct msg_object_range *range = &m->ranges[i];

		cursor_put_u32(c, range->handle);
		cursor_put_u32(c, range->flags);
		cursor_put_u64(c, range->generation);
		cursor_put_u64(c, range->offset);
		cursor_put_u32(c, range->len);
	}
}

/* Not more bytes than a payload has; and a condition stands with the first range of its object. */
static void msg_write_all_get(struct cursor *c, struct msg_write_all *m)
{
	uint64_t sum = 0;

	m->count = cursor_u32(c);
	if (m->count == 0 || m->count > WIRE_RANGES_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++) {
		struct msg_object_range *range = &m->ranges[i];

		range->handle = cursor_u32(c);
		msg_get_condition(c, &range->flags, &range->generation);
		range->offset = cursor_u64(c);
		range->len = cursor_u32(c);
		sum += range->len;
		if (sum > WIRE_PAYLOAD_MAX)
			c->bad = true;
		if (i > 0 && range->handle == m->ranges[i - 1].handle && range->flags != 0)
			c->bad = true;
	}
}

static void msg_generations_put(struct cursor *c, const struct msg_generations *m)
{
	cursor_put_u16(c, (uint16_t)m->count);
	if (m->count > MSG_PARTS_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++)
		cursor_put_u64(c, m->generations[i]);
}

static void msg_generations_get(struct cursor *c, struct msg_generations *m)
{
	m->count = cursor_u16(c);
	if (m->count > MSG_PARTS_MAX)
		c->bad = true;
	for (uint32_t i = 0; i < m->count && !c->bad; i++)
		m->generations[i] = cursor_u64(c);
}

MSG_DEFINE(msg_write_all)
MSG_DEFINE(msg_generations)

/* ---- names ----------------------------------------------------------------------------------- */

int msg_clone_all_encode(uint8_t *buf, size_t len, const struct msg_clone_all *m,
			 const struct msg_pair *pairs)
{
	struct cursor c = cursor_over(buf, len);

	if (m->count == 0 || m->count > MSG_GROUP_MAX)
		return -ERR_LIMIT;
	cursor_put_u64(&c, m->ttl_ms);
	msg_labels_put(&c, &m->labels);
	cursor_put_u16(&c, m->count);
	for (uint32_t i = 0; i < m->count; i++) {
		cursor_put_str(&c, pairs[i].src);
		cursor_put_str(&c, pairs[i].dst);
	}
	return c.bad ? -ERR_LIMIT : (int)c.pos;
}

/* Where names is NULL only whether it is well formed.  A name takes less room with its NUL than with
 * its length. */
static const char *msg_get_name(struct cursor *c, char **names)
{
	char name[MSG_NAME_BYTES];
	char *at = *names;

	cursor_get_str(c, name, sizeof(name));
	if (!at)
		return NULL;
	memcpy(at, name, strlen(name) + 1);
	*names = at + strlen(name) + 1;
	return at;
}

static bool msg_get_pairs(struct cursor c, char *names, struct msg_pair *pairs, uint32_t count)
{
	for (uint32_t i = 0; i < count && !c.bad; i++) {
		const char *src = msg_get_name(&c, &names);
		const char *dst = msg_get_name(&c, &names);

		if (names)
			pairs[i] = (struct msg_pair){src, dst};
	}
	return msg_at_end(&c);
}

int msg_clone_all_decode(const uint8_t *buf, size_t len, struct msg_clone_all *m, char *names,
			 struct msg_pair *pairs)
{
	struct cursor c = cursor_over(buf, len);
	struct msg_clone_all got;

	got.ttl_ms = msg_get_ttl(&c);
	msg_labels_get(&c, &got.labels);
	got.count = cursor_u16(&c);
	if (c.bad || got.count == 0 || got.count > MSG_GROUP_MAX)
		return -ERR_FRAME_BODY;
	/* a first pass, so that a malformed request leaves pairs alone */
	if (!msg_get_pairs(c, NULL, NULL, got.count) || !msg_get_pairs(c, names, pairs, got.count))
		return -ERR_FRAME_BODY;
	*m = got;
	return 0;
}
