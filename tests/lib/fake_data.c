/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_data.c: the fake server's operations on open objects.
 */
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"
#include "tests/lib/fake_ops_priv.h"
#include "tests/lib/must.h"

void fake_op_read(struct answer *a)
{
	const struct fake_entry *e;
	uint64_t left;
	DECODE(msg_read, m);

	a->st->io_flags = m.flags;
	e = fake_answer_entry(a, m.handle);
	if (!e)
		return;
	left = m.offset < e->info.size_bytes ? e->info.size_bytes - m.offset : 0;
	a->payload_len = m.len < left ? m.len : (size_t)left;
	a->payload = calloc(1, a->payload_len + 1);
	MUST(a->payload, "calloc");
	for (size_t i = 0; i < a->payload_len; i++) {
		uint64_t at = m.offset + i;
		const struct fake_block *block = e->blocks[at / FAKE_BLOCK_BYTES];

		a->payload[i] = block ? block->data[at % FAKE_BLOCK_BYTES] : 0;
	}
}

void fake_op_write(struct answer *a)
{
	struct fake_entry *e;
	DECODE(msg_write, m);

	a->st->io_flags = m.flags;
	e = fake_answer_entry(a, m.handle);
	if (!e || a->f->h.payload_len == 0)
		return;
	fake_store_write(a->st, e, m.offset, a->f->payload, a->f->h.payload_len);
	e->info.mtime_ns = fake_store_tick(a->st);
}

/* What is cut off is gone, the end of a block too. */
static void cut(struct fake_store *st, struct fake_entry *e, uint64_t size_bytes)
{
	static const uint8_t zeros[FAKE_BLOCK_BYTES];
	size_t first = (size_t)(size_bytes / FAKE_BLOCK_BYTES);
	size_t rest = size_bytes % FAKE_BLOCK_BYTES;

	if (rest > 0 && e->blocks[first])
		fake_store_write_block(st, e, first, rest, zeros, FAKE_BLOCK_BYTES - rest);
	for (size_t i = first + (rest > 0); i < FAKE_BLOCKS; i++)
		e->blocks[i] = NULL;
}

void fake_op_resize(struct answer *a)
{
	struct fake_entry *e;
	DECODE(msg_resize, m);

	e = fake_answer_entry(a, m.handle);
	if (!e)
		return;
	if (m.size_bytes < e->info.size_bytes)
		cut(a->st, e, m.size_bytes);
	e->info.size_bytes = m.size_bytes;
}

void fake_op_zero(struct answer *a)
{
	static const uint8_t zeros[FAKE_BLOCK_BYTES];
	struct fake_entry *e;
	uint64_t end;
	DECODE(msg_zero, m);

	e = fake_answer_entry(a, m.handle);
	if (!e)
		return;
	end = e->info.size_bytes;
	if (m.len < end && m.offset < end - m.len)
		end = m.offset + m.len;
	for (uint64_t at = m.offset; at < end;) {
		uint64_t first = at % FAKE_BLOCK_BYTES;
		uint64_t n =
		    FAKE_BLOCK_BYTES - first < end - at ? FAKE_BLOCK_BYTES - first : end - at;
		bool whole = n == FAKE_BLOCK_BYTES || at + n == e->info.size_bytes;

		if (whole)
			e->blocks[at / FAKE_BLOCK_BYTES] = NULL;
		else if (!(m.flags & MSG_ZERO_WHOLE))
			fake_store_write_block(a->st, e, at / FAKE_BLOCK_BYTES, first, zeros, n);
		at += n;
	}
}

/* One extent after the other, of as many blocks of a kind as there are. */
void fake_op_extents(struct answer *a)
{
	struct msg_extent ext[64];
	const struct fake_entry *e;
	uint32_t n = 0;
	uint64_t end;
	DECODE(msg_extents, m);

	e = fake_answer_entry(a, m.handle);
	if (!e)
		return;
	end = e->info.size_bytes;
	if (m.len < end && m.offset < end - m.len)
		end = m.offset + m.len;
	for (uint64_t at = m.offset; at < end;) {
		uint64_t len = FAKE_BLOCK_BYTES - at % FAKE_BLOCK_BYTES;
		uint16_t kind =
		    e->blocks[at / FAKE_BLOCK_BYTES] ? MSG_EXTENT_DATA : MSG_EXTENT_HOLE;

		len = len < end - at ? len : end - at;
		at += len;
		if (n > 0 && ext[n - 1].kind == kind)
			ext[n - 1].len += len;
		else if (n == ARRAY_LEN(ext) || n == m.max)
			break;
		else
			ext[n++] = (struct msg_extent){.len = len, .kind = kind};
	}
	a->len = msg_extents_reply_encode(a->body, sizeof(a->body), ext, n);
}

/* Of what the two share in the fake is copied: a test sees what it reads. */
void fake_op_clone_range(struct answer *a)
{
	struct msg_clone_range_reply reply = {0};
	struct fake_entry *src;
	struct fake_entry *dst;
	uint8_t *copy;
	uint64_t len;
	DECODE(msg_clone_range, m);

	src = fake_answer_entry(a, m.src);
	dst = fake_answer_entry(a, m.dst);
	if (!src || !dst)
		return;
	len = m.len > 0 ? m.len : src->info.size_bytes - m.src_offset;
	reply.len = a->st->clone_range_max > 0 && len > a->st->clone_range_max
			? a->st->clone_range_max
			: len;
	reply.left = len - reply.len;
	copy = malloc(reply.len + 1);
	MUST(copy, "malloc");
	for (uint64_t i = 0; i < reply.len; i++) {
		uint64_t from = m.src_offset + i;
		const struct fake_block *block = src->blocks[from / FAKE_BLOCK_BYTES];

		copy[i] = block ? block->data[from % FAKE_BLOCK_BYTES] : 0;
	}
	fake_store_write(a->st, dst, m.dst_offset, copy, reply.len);
	free(copy);
	a->len = msg_clone_range_reply_encode(a->body, sizeof(a->body), &reply);
}

/* What is damaged is what the test says, as far as there is room for it. */
void fake_op_verify(struct answer *a)
{
	struct msg_verify_reply reply = {.pending = 4096};
	const struct msg_damage *d = a->st->damages;
	uint64_t max = a->st->verify_max;
	const struct fake_entry *e;
	DECODE(msg_verify, m);

	e = fake_answer_entry(a, m.handle);
	if (!e)
		return;
	a->st->verified = m;
	if (m.offset < e->info.size_bytes)
		reply.len = e->info.size_bytes - m.offset;
	if (m.len < reply.len)
		reply.len = m.len;
	if (max > 0 && reply.len > max) {
		reply.left = reply.len - max;
		reply.len = max;
	}
	reply.read = reply.len;
	for (uint32_t i = 0; i < a->st->ndamages; i++)
		if (a->st->damages_anywhere ||
		    (d[i].offset + d[i].len > m.offset && d[i].offset < m.offset + reply.len))
			reply.damages[reply.count++] = d[i];
	a->len = msg_verify_reply_encode(a->body, sizeof(a->body), &reply);
}

/* All of the range counts as shared. */
void fake_op_unshare(struct answer *a)
{
	struct msg_unshare_reply reply = {0};
	const struct fake_entry *e;
	uint64_t max = a->st->unshare_max;
	DECODE(msg_unshare, m);

	e = fake_answer_entry(a, m.handle);
	if (!e)
		return;
	if (a->st->unshare_room > 0 && m.offset >= a->st->unshare_room) {
		fake_answer_fail(a, ERR_NOSPC, "no space");
		return;
	}
	if (m.offset < e->info.size_bytes)
		reply.len = e->info.size_bytes - m.offset;
	if (m.len < reply.len)
		reply.len = m.len;
	if (max > 0 && reply.len > max) {
		reply.left = reply.len - max;
		reply.len = max;
	}
	reply.copied = reply.len;
	a->len = msg_unshare_reply_encode(a->body, sizeof(a->body), &reply);
}
