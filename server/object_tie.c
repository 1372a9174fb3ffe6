/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/object_tie.h"

#include <assert.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/thread.h"

/* ---- rings ----------------------------------------------------------------------------------- */

void tie_init(struct object *obj)
{
	obj->tie = (struct tie){.lead = obj, .next = obj, .prev = obj, .n = 1};
}

/* The smaller ring gets the lead of the larger one. */
void tie_join(struct object *a, struct object *b)
{
	struct object *lead = a->tie.lead;
	struct object *other = b->tie.lead;
	struct object *a_last;
	struct object *b_last;

	ASSERT_LOOP();
	if (lead == other)
		return;
	if (lead->tie.n < other->tie.n) {
		tie_join(b, a);
		return;
	}
	lead->tie.n += other->tie.n;
	TIE_FOREACH (obj, other)
		obj->tie.lead = lead;
	a_last = lead->tie.prev;
	b_last = other->tie.prev;
	a_last->tie.next = other;
	other->tie.prev = a_last;
	b_last->tie.next = lead;
	lead->tie.prev = b_last;
}

void tie_leave(struct object *obj)
{
	struct object *next = obj->tie.next;

	ASSERT_LOOP();
	if (next == obj)
		return;
	obj->tie.prev->tie.next = next;
	next->tie.prev = obj->tie.prev;
	if (obj->tie.lead != obj) {
		obj->tie.lead->tie.n--;
	} else {
		next->tie.n = obj->tie.n - 1;
		next->tie.seen = obj->tie.seen;
		TIE_FOREACH (other, next)
			other->tie.lead = next;
	}
	tie_init(obj);
}

/* ---- groups ---------------------------------------------------------------------------------- */

void tie_again(struct object *obj)
{
	struct handle *handle;

	TAILQ_FOREACH (handle, &obj->handles, link)
		if (handle->group)
			tie_join(obj, LIST_FIRST(&handle->group->handles)->obj);
}

static void tie_group_add(struct tie_group *group, struct handle *handle)
{
	handle->group = group;
	LIST_INSERT_HEAD(&group->handles, handle, group_link);
	group->n++;
}

void tie_group_leave(struct handle *handle)
{
	struct tie_group *group = handle->group;

	ASSERT_LOOP();
	if (!group)
		return;
	LIST_REMOVE(handle, group_link);
	handle->group = NULL;
	if (--group->n == 0)
		free(group);
}

/* How many handles the group would have; each counts once. */
static uint32_t tie_group_count(struct handle *const *handles, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct tie_group *group = handles[i]->group;
		bool counted = false;

		for (uint32_t k = 0; k < i && !counted; k++)
			counted = handles[k] == handles[i] || (group && handles[k]->group == group);
		if (!counted)
			count += group ? group->n : 1;
	}
	return count;
}

int tie_group_make(struct handle *const *handles, uint32_t n)
{
	struct tie_group *group;

	ASSERT_LOOP();
	if (n > OBJECT_GROUP_MAX || tie_group_count(handles, n) > OBJECT_GROUP_MAX)
		return -ERR_LIMIT;
	group = calloc(1, sizeof(*group));
	if (!group)
		return -ERR_NOMEM;
	LIST_INIT(&group->handles);
	for (uint32_t i = 0; i < n; i++) {
		struct tie_group *old = handles[i]->group;
		struct handle *other = handles[i];

		if (old == group)
			continue;
		/* the last to leave a group frees it */
		for (uint32_t left = old ? old->n : 1; left > 0; left--) {
			if (old)
				other = LIST_FIRST(&old->handles);
			tie_group_leave(other);
			tie_group_add(group, other);
		}
	}
	return 0;
}
