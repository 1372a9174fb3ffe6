/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_ranges.c: the fake server's operations on several ranges, of one object or several, and at a
 * generation.
 */
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"
#include "tests/lib/fake_ops_priv.h"
#include "tests/lib/must.h"

static uint8_t byte_at(const struct fake_entry *e, uint64_t at)
{
	const struct fake_block *block = e->blocks[at / FAKE_BLOCK_BYTES];

	return block ? block->data[at % FAKE_BLOCK_BYTES] : 0;
}

void fake_op_readv(struct answer *a)
{
	struct msg_readv_reply reply;
	const struct fake_entry *e;
	DECODE(msg_readv, m);

	e = fake_answer_entry(a, m.handle);
	if (!e)
		return;
	a->payload = malloc(WIRE_PAYLOAD_MAX);
	MUST(a->payload, "malloc");
	reply.count = m.count;
	for (uint32_t i = 0; i < m.count; i++) {
		uint64_t off = m.ranges[i].offset;
		uint64_t left = off < e->info.size_bytes ? e->info.size_bytes - off : 0;

		reply.lens[i] = m.ranges[i].len < left ? m.ranges[i].len : (uint32_t)left;
		for (uint32_t k = 0; k < reply.lens[i]; k++)
			a->payload[a->payload_len++] = byte_at(e, off + k);
	}
	if (reply.count > 0)
		reply.lens[0] -= a->st->short_by;
	a->len = msg_readv_reply_encode(a->body, sizeof(a->body), &reply);
}

static bool is_changed(struct answer *a, const struct fake_entry *e, uint32_t flags,
		       uint64_t generation)
{
	if (!(flags & MSG_IF_GENERATION) || generation == e->info.generation)
		return false;
	fake_answer_fail(a, ERR_CHANGED, "the object has changed");
	return true;
}

static void answer_generation(struct answer *a, const struct fake_entry *e)
{
	struct msg_generation reply = {e->info.generation};

	a->len = msg_generation_encode(a->body, sizeof(a->body), &reply);
}

/* Where the data behind its is. */
static const uint8_t *write_range(struct answer *a, struct fake_entry *e, uint64_t at, uint64_t len,
				  const uint8_t *from)
{
	fake_store_write(a->st, e, at, from, len);
	return from + len;
}

void fake_op_writev(struct answer *a)
{
	const uint8_t *from = a->f->payload;
	struct fake_entry *e;
	DECODE(msg_writev, m);

	e = fake_answer_entry(a, m.handle);
	if (!e || is_changed(a, e, m.flags, m.generation))
		return;
	for (uint32_t i = 0; i < m.count; i++)
		from = write_range(a, e, m.ranges[i].offset, m.ranges[i].len, from);
	MUST(from == a->f->payload + a->f->h.payload_len, "a payload of other ranges");
	e->info.generation++;
	answer_generation(a, e);
}

void fake_op_write_all(struct answer *a)
{
	const uint8_t *from = a->f->payload;
	struct msg_generations reply = {.count = 0};
	DECODE(msg_write_all, m);

	for (uint32_t i = 0; i < m.count; i++) {
		const struct fake_entry *e = fake_answer_entry(a, m.ranges[i].handle);

		if (!e || is_changed(a, e, m.ranges[i].flags, m.ranges[i].generation))
			return;
	}
	for (uint32_t i = 0; i < m.count; i++) {
		struct fake_entry *e = fake_answer_entry(a, m.ranges[i].handle);

		from = write_range(a, e, m.ranges[i].offset, m.ranges[i].len, from);
		if (i == 0 || m.ranges[i].handle != m.ranges[i - 1].handle)
			reply.generations[reply.count++] = ++e->info.generation;
	}
	MUST(from == a->f->payload + a->f->h.payload_len, "a payload of other ranges");
	reply.count -= a->st->short_by;
	a->len = msg_generations_encode(a->body, sizeof(a->body), &reply);
}

void fake_op_fsync_if(struct answer *a)
{
	const struct fake_entry *e;
	DECODE(msg_fsync_if, m);

	e = fake_answer_entry(a, m.handle);
	if (e && !is_changed(a, e, m.flags, m.generation))
		answer_generation(a, e);
}
