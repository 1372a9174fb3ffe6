/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * msg_priv.h: what the files of the messages share.  For proto/msg*.c only.
 */
#ifndef PROTO_MSG_PRIV_H
#define PROTO_MSG_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cursor.h"

/*
 * Each message has a put and a get over a cursor, which latches the first overrun, so neither
 * checks anything but the values that must be refused.  MSG_DEFINE makes the public pair of them.
 */
#define MSG_DEFINE(type)                                                  \
	int type##_encode(uint8_t *buf, size_t len, const struct type *m) \
	{                                                                 \
		struct cursor c = cursor_over(buf, len);                  \
                                                                          \
		type##_put(&c, m);                                        \
		return c.bad ? -ERR_LIMIT : (int)c.pos;                   \
	}                                                                 \
                                                                          \
	int type##_decode(const uint8_t *buf, size_t len, struct type *m) \
	{                                                                 \
		struct cursor c = cursor_over(buf, len);                  \
		struct type got = {0};                                    \
                                                                          \
		type##_get(&c, &got);                                     \
		if (!msg_at_end(&c))                                      \
			return -ERR_FRAME_BODY;                           \
		*m = got;                                                 \
		return 0;                                                 \
	}

/* What several messages have (msg.c): a time to live, within its bound, and labels. */
struct msg_labels;
uint64_t msg_get_ttl(struct cursor *c);
void msg_labels_put(struct cursor *c, const struct msg_labels *m);
void msg_labels_get(struct cursor *c, struct msg_labels *m);

/* A flag MSG_IF_GENERATION and the generation that it is about (msg_data.c). */
void msg_get_condition(struct cursor *c, uint32_t *flags, uint64_t *generation);

static inline bool msg_at_end(const struct cursor *c)
{
	return !c->bad && c->pos == c->len;
}

/* Flags of which none but "known" may be set. */
static inline uint32_t msg_get_flags(struct cursor *c, uint32_t known)
{
	uint32_t flags = cursor_u32(c);

	if (flags & ~known)
		c->bad = true;
	return flags;
}

#endif
