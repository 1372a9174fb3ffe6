/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cursor.h: little-endian integers, and a bounded cursor over a buffer that latches its first
 * error: reading past the end yields zeros and sets "bad"; writing past the end sets "bad".  Check
 * "bad" once, at the end.  Pure; any thread.
 */
#ifndef COMMON_CURSOR_H
#define COMMON_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void le16_put(void *p, uint16_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}

static inline void le32_put(void *p, uint32_t v)
{
	uint8_t *b = p;

	le16_put(b, (uint16_t)v);
	le16_put(b + 2, (uint16_t)(v >> 16));
}

/* Of v the lower 48 bits. */
static inline void le48_put(void *p, uint64_t v)
{
	uint8_t *b = p;

	le32_put(b, (uint32_t)v);
	le16_put(b + 4, (uint16_t)(v >> 32));
}

static inline void le64_put(void *p, uint64_t v)
{
	uint8_t *b = p;

	le32_put(b, (uint32_t)v);
	le32_put(b + 4, (uint32_t)(v >> 32));
}

static inline uint16_t le16_get(const void *p)
{
	const uint8_t *b = p;

	return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t le32_get(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)le16_get(b) | (uint32_t)le16_get(b + 2) << 16;
}

static inline uint64_t le48_get(const void *p)
{
	const uint8_t *b = p;

	return (uint64_t)le32_get(b) | (uint64_t)le16_get(b + 4) << 32;
}

static inline uint64_t le64_get(const void *p)
{
	const uint8_t *b = p;

	return (uint64_t)le32_get(b) | (uint64_t)le32_get(b + 4) << 32;
}

/* Big-endian, for LMDB keys that must sort by number. */
static inline void be64_put(void *p, uint64_t v)
{
	uint8_t *b = p;

	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline uint64_t be64_get(const void *p)
{
	const uint8_t *b = p;
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | b[i];
	return v;
}

struct cursor {
	uint8_t *buf;
	size_t len;
	size_t pos;
	bool bad;
};

static inline struct cursor cursor_over(const void *buf, size_t len)
{
	return (struct cursor){.buf = (uint8_t *)(uintptr_t)buf, .len = len};
}

/* The next n bytes, or NULL (and bad) where there are not as many. */
static inline uint8_t *cursor_take(struct cursor *c, size_t n)
{
	uint8_t *p;

	if (c->bad || n > c->len - c->pos) {
		c->bad = true;
		return NULL;
	}
	p = c->buf + c->pos;
	c->pos += n;
	return p;
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->bad ? 0 : c->len - c->pos;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? *p : 0;
}

static inline uint16_t cursor_u16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);

	return p ? le16_get(p) : 0;
}

static inline uint32_t cursor_u32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);

	return p ? le32_get(p) : 0;
}

static inline uint64_t cursor_u64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);

	return p ? le64_get(p) : 0;
}

static inline void cursor_put_u8(struct cursor *c, uint8_t v)
{
	uint8_t *p = cursor_take(c, 1);

	if (p)
		*p = v;
}

static inline void cursor_put_u16(struct cursor *c, uint16_t v)
{
	uint8_t *p = cursor_take(c, 2);

	if (p)
		le16_put(p, v);
}

static inline void cursor_put_u32(struct cursor *c, uint32_t v)
{
	uint8_t *p = cursor_take(c, 4);

	if (p)
		le32_put(p, v);
}

static inline void cursor_put_u64(struct cursor *c, uint64_t v)
{
	uint8_t *p = cursor_take(c, 8);

	if (p)
		le64_put(p, v);
}

static inline void cursor_put_bytes(struct cursor *c, const void *src, size_t n)
{
	uint8_t *p = cursor_take(c, n);

	if (p && n > 0)
		memcpy(p, src, n);
}

static inline void cursor_get_bytes(struct cursor *c, void *dst, size_t n)
{
	const uint8_t *p = cursor_take(c, n);

	if (p && n > 0)
		memcpy(dst, p, n);
	else if (n > 0)
		memset(dst, 0, n);
}

/* A string as u16 length and bytes, no terminator on the wire. */
static inline void cursor_put_str(struct cursor *c, const char *s)
{
	size_t n = strlen(s);

	if (n > UINT16_MAX) {
		c->bad = true;
		return;
	}
	cursor_put_u16(c, (uint16_t)n);
	cursor_put_bytes(c, s, n);
}

/* Reads such a string into dst of dst_len bytes, terminated; too long or with a NUL inside: bad. */
static inline void cursor_get_str(struct cursor *c, char *dst, size_t dst_len)
{
	size_t n = cursor_u16(c);
	const uint8_t *p = n < dst_len ? cursor_take(c, n) : NULL;

	dst[0] = '\0';
	if (!p || (n > 0 && memchr(p, 0, n))) {
		c->bad = true;
		return;
	}
	memcpy(dst, p, n);
	dst[n] = '\0';
}

#endif
