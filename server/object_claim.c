/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_claim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/thread.h"

/* A name that is claimed. */
struct claimed {
	char name[NAME_MAX_BYTES + 1];
	unsigned int shared;
	bool exclusive;
	UT_hash_handle hh;
};

static void claim_add_name(struct object_claim *claim, const char *name, size_t len, bool exclusive)
{
	struct claim_name *cn;

	for (unsigned int i = 0; i < claim->n; i++) {
		cn = &claim->names[i];
		if (strlen(cn->name) == len && memcmp(cn->name, name, len) == 0) {
			cn->exclusive = cn->exclusive || exclusive;
			return;
		}
	}
	assert(claim->n < claim->max && len <= NAME_MAX_BYTES);
	cn = &claim->names[claim->n++];
	memcpy(cn->name, name, len);
	cn->name[len] = '\0';
	cn->exclusive = exclusive;
}

void claim_init(struct object_claim *claim, struct claim_name *names, unsigned int max)
{
	*claim = (struct object_claim){.names = names, .max = max};
}

void claim_add(struct object_claim *claim, const char *spec, bool exclusive)
{
	const char *at = strchr(spec, '@');

	if (at)
		claim_add_name(claim, spec, (size_t)(at - spec), false);
	claim_add_name(claim, spec, strlen(spec), exclusive);
}

static struct claimed *claim_find(struct objects *objs, const char *name)
{
	struct claimed *c;

	HASH_FIND_STR(objs->claimed, name, c);
	return c;
}

static bool claim_is_free(struct objects *objs, const struct object_claim *claim)
{
	for (unsigned int i = 0; i < claim->n; i++) {
		const struct claimed *c = claim_find(objs, claim->names[i].name);

		if (c && (c->exclusive || claim->names[i].exclusive))
			return false;
	}
	return true;
}

static bool claim_conflicts(const struct object_claim *a, const struct object_claim *b)
{
	for (unsigned int i = 0; i < a->n; i++)
		for (unsigned int j = 0; j < b->n; j++)
			if ((a->names[i].exclusive || b->names[j].exclusive) &&
			    strcmp(a->names[i].name, b->names[j].name) == 0)
				return true;
	return false;
}

/* Must the claim wait for one that waits before it? */
static bool claim_is_behind(struct objects *objs, const struct object_claim *claim)
{
	const struct object_claim *other;

	TAILQ_FOREACH (other, &objs->claims, link) {
		if (other == claim)
			return false;
		if (claim_conflicts(other, claim))
			return true;
	}
	return false;
}

static void claim_drop(struct objects *objs, const struct claim_name *cn)
{
	struct claimed *c = claim_find(objs, cn->name);

	assert(c);
	if (cn->exclusive)
		c->exclusive = false;
	else
		c->shared--;
	if (c->exclusive || c->shared > 0)
		return;
	HASH_DELETE(hh, objs->claimed, c);
	free(c);
}

static int claim_hold(struct objects *objs, const struct claim_name *cn)
{
	struct claimed *c = claim_find(objs, cn->name);

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ERR_NOMEM;
		memcpy(c->name, cn->name, sizeof(c->name));
		HASH_ADD_STR(objs->claimed, name, c);
		if (!c->hh.tbl) {
			free(c);
			return -ERR_NOMEM;
		}
	}
	if (cn->exclusive)
		c->exclusive = true;
	else
		c->shared++;
	return 0;
}

static void claim_grant(struct objects *objs, struct object_claim *claim)
{
	for (unsigned int i = 0; i < claim->n; i++) {
		if (claim_hold(objs, &claim->names[i]) == 0)
			continue;
		while (i-- > 0)
			claim_drop(objs, &claim->names[i]);
		claim->granted(claim, -ERR_NOMEM);
		return;
	}
	claim->held = true;
	claim->granted(claim, 0);
}

void claim_take(struct objects *objs, struct object_claim *claim)
{
	ASSERT_LOOP();
	if (claim_is_free(objs, claim) && !claim_is_behind(objs, claim))
		claim_grant(objs, claim);
	else
		TAILQ_INSERT_TAIL(&objs->claims, claim, link);
}

/* The first that waits and need not any more. */
static struct object_claim *claim_next(struct objects *objs)
{
	struct object_claim *claim;

	TAILQ_FOREACH (claim, &objs->claims, link)
		if (claim_is_free(objs, claim) && !claim_is_behind(objs, claim))
			return claim;
	return NULL;
}

void claim_put(struct objects *objs, struct object_claim *claim)
{
	struct object_claim *next;

	ASSERT_LOOP();
	if (!claim->held)
		return;
	claim->held = false;
	for (unsigned int i = 0; i < claim->n; i++)
		claim_drop(objs, &claim->names[i]);
	while ((next = claim_next(objs))) { /* anew each time: what is granted may put others */
		TAILQ_REMOVE(&objs->claims, next, link);
		claim_grant(objs, next);
	}
}
