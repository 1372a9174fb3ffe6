/* SPDX-License-Identifier: BSD-2-Clause */
/* The operation DIFF of fake_ops.h: blocks are compared by where they are, as by the server. */
#include "common/annot.h"
#include "tests/lib/fake_ops_priv.h"

static uint32_t kind_of(const struct fake_block *older, const struct fake_block *newer)
{
	if (older == newer)
		return MSG_DIFF_SAME;
	return newer ? MSG_DIFF_DATA : MSG_DIFF_HOLE;
}

static const struct fake_entry *by_id(const struct fake_store *st, uint64_t id)
{
	for (size_t i = 0; i < st->count; i++)
		if (st->entries[i]->info.id == id)
			return st->entries[i];
	return NULL;
}

static void answer_diff(struct answer *a, const struct msg_diff *m, const struct fake_entry *older,
			const struct fake_entry *newer)
{
	struct msg_diff_reply reply = {.nodes = 3, .size_bytes = newer->info.size_bytes};
	struct msg_diff_run ext[8]; /* few, so that more must be asked for */
	uint64_t end = newer->info.size_bytes;

	if (older)
		reply.older_bytes = older->info.size_bytes;
	if (m->len < end && m->offset < end - m->len)
		end = m->offset + m->len;
	for (uint64_t at = m->offset; at < end;) {
		uint64_t i = at / FAKE_BLOCK_BYTES;
		uint64_t n = FAKE_BLOCK_BYTES - at % FAKE_BLOCK_BYTES;
		uint32_t kind = kind_of(older ? older->blocks[i] : NULL, newer->blocks[i]);

		n = n < end - at ? n : end - at;
		at += n;
		if (reply.count > 0 && ext[reply.count - 1].kind == kind)
			ext[reply.count - 1].len += n;
		else if (reply.count == ARRAY_LEN(ext) || reply.count == m->max)
			break;
		else
			ext[reply.count++] = (struct msg_diff_run){.len = n, .kind = kind};
	}
	a->len = msg_diff_reply_encode(a->body, sizeof(a->body), &reply, ext);
}

void fake_op_diff(struct answer *a)
{
	const struct fake_entry *newer;
	const struct fake_entry *older;
	DECODE(msg_diff, m);

	newer = fake_answer_entry(a, m.handle);
	older = by_id(a->st, m.older);
	if (m.older != 0 && !older)
		fake_answer_fail(a, ERR_NOENT, "no such object");
	else if (newer)
		answer_diff(a, &m, older, newer);
}
