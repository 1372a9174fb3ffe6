/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_group.c: the fake server's operations on several objects at once.
 */
#include <stdlib.h>
#include <string.h>

#include "common/name.h"
#include "tests/lib/fake_ops_priv.h"
#include "tests/lib/must.h"

void fake_op_handles(struct answer *a)
{
	DECODE(msg_handles, m);

	for (uint32_t i = 0; i < m.count; i++)
		if (!fake_answer_entry(a, m.handles[i].handle))
			return;
}

/* Why the pair cannot be made, or 0. */
static uint32_t pair_status(struct answer *a, const struct msg_pair *pair)
{
	if (a->st->fail_status != 0 && strcmp(pair->dst, a->st->fail_name) == 0)
		return a->st->fail_status;
	if (!fake_store_find(a->st, pair->src))
		return ERR_NOENT;
	return fake_store_find(a->st, pair->dst) ? ERR_EXIST : 0;
}

static void pair_make(struct answer *a, const struct msg_clone_all *m, const struct msg_pair *pair)
{
	const struct fake_entry *src = fake_store_find(a->st, pair->src);
	struct fake_entry *e = fake_store_make(a->st, pair->dst, src);

	e->info.labels = m->labels;
	fake_set_ttl(a->st, e, m->ttl_ms);
	if (strchr(pair->dst, '@'))
		e->info.parent = src->info.id;
}

void fake_op_clone_all(struct answer *a)
{
	struct msg_pair pairs[MSG_GROUP_MAX];
	struct msg_clone_all m;
	char *names = malloc(a->f->h.body_len + 1);

	MUST(names, "malloc");
	if (msg_clone_all_decode(a->f->body, a->f->h.body_len, &m, names, pairs) < 0) {
		fake_answer_fail(a, ERR_INVAL, "malformed request");
		free(names);
		return;
	}
	for (uint32_t i = 0; i < m.count && a->status == 0; i++) {
		uint32_t status = pair_status(a, &pairs[i]);

		if (status != 0)
			fake_answer_fail(a, status, pairs[i].dst);
	}
	for (uint32_t i = 0; i < m.count && a->status == 0; i++)
		pair_make(a, &m, &pairs[i]);
	free(names);
}
