/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/world.h"

#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "tests/lib/must.h"

struct world_obj *world_find(struct world *w, uint64_t id)
{
	for (unsigned int i = 0; i < WORLD_OBJS; i++)
		if (w->objs[i].id == id && id != 0)
			return &w->objs[i];
	return NULL;
}

struct world_obj *world_unused(struct world *w)
{
	for (unsigned int i = 0; i < WORLD_OBJS; i++)
		if (w->objs[i].id == 0)
			return &w->objs[i];
	return NULL;
}

bool world_has(const struct world *w, uint64_t parent, const char *name)
{
	for (unsigned int i = 0; i < WORLD_OBJS; i++)
		if (w->objs[i].id != 0 && w->objs[i].parent == parent &&
		    strcmp(w->objs[i].name, name) == 0)
			return true;
	return false;
}

unsigned int world_nversions(const struct world *w, uint64_t id)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < WORLD_OBJS; i++)
		n += w->objs[i].id != 0 && w->objs[i].parent == id;
	return n;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void world_make(struct world *w, const struct change *change, const struct world_obj *src)
{
	struct world_obj *obj = world_unused(w);

	MUST(obj, "no room for another object");
	*obj = (struct world_obj){.id = change->oid,
				  .parent = change->parent,
				  .size_bytes = src ? src->size_bytes : change->size_bytes,
				  .expires_ns = change->expires_ns};
	obj->mtime_ns = src ? src->mtime_ns : change->time_ns;
	(void)snprintf(obj->name, sizeof(obj->name), "%s", change->name);
	memcpy(obj->label, change->labels, change->labels_len);
	if (src)
		memcpy(obj->csums, src->csums, sizeof(obj->csums));
}

static void world_share(struct world *w, struct world_obj *obj, const struct change_share *share)
{
	const struct world_obj *src = world_find(w, share->src);

	for (uint64_t i = 0; i < share->nblks; i++)
		obj->csums[share->blk.n + i] = src->csums[share->src_blk.n + i];
}

static void world_epoch(struct world *w, struct world_obj *obj, const struct change *change,
			const uint32_t *csums)
{
	for (uint32_t h = 0; h < change->nholes; h++) {
		uint64_t blk = change->holes[h].blk.n;
		uint64_t end = blk + change->holes[h].nblks;

		for (; blk < end && blk < WORLD_BLKS; blk++)
			obj->csums[blk] = 0;
	}
	for (uint32_t s = 0; s < change->nshares; s++)
		world_share(w, obj, &change->shares[s]);
	for (uint32_t e = 0; e < change->nextents; e++) {
		const struct change_extent *ext = &change->extents[e];

		memcpy(&obj->csums[ext->blk.n], csums, ext->nblks * sizeof(*csums));
		csums += ext->nblks;
	}
	obj->size_bytes = change->size_bytes;
	obj->mtime_ns = change->time_ns;
}

static void world_set(struct world_obj *obj, const struct change *change)
{
	obj->expires_ns = change->expires_ns;
	obj->readonly = change->readonly;
	memset(obj->label, 0, sizeof(obj->label));
	memcpy(obj->label, change->labels, change->labels_len);
}

static void world_exchange(struct world_obj *a, struct world_obj *b)
{
	char name[sizeof(a->name)];

	memcpy(name, a->name, sizeof(name));
	memcpy(a->name, b->name, sizeof(name));
	memcpy(b->name, name, sizeof(name));
}

void world_apply(struct world *w, const struct change *change, const uint32_t *csums)
{
	struct world_obj *obj = world_find(w, change->oid);
	struct world_obj *other = world_find(w, change->other);

	switch (change->kind) {
	case CHANGE_CREATE:
	case CHANGE_CLONE:
		world_make(w, change, other);
		break;
	case CHANGE_EPOCH:
		world_epoch(w, obj, change, csums);
		break;
	case CHANGE_REMOVE:
		*obj = (struct world_obj){0};
		break;
	case CHANGE_RENAME:
		(void)snprintf(obj->name, sizeof(obj->name), "%s", change->name);
		break;
	case CHANGE_EXCHANGE:
		world_exchange(obj, other);
		break;
	case CHANGE_RESET:
		memcpy(obj->csums, other->csums, sizeof(obj->csums));
		obj->size_bytes = other->size_bytes;
		obj->mtime_ns = change->time_ns;
		break;
	case CHANGE_SET:
		world_set(obj, change);
		break;
	}
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool world_content_matches(const struct world_obj *obj, struct map_view *view)
{
	struct map_lookup found;
	uint64_t blk = 0;

	while (blk < WORLD_BLKS) {
		uint32_t csums[WORLD_BLKS] = {0};

		MUST(map_begin(view, obj->id, lblk(blk), WORLD_BLKS - blk, MAP_FOR_READ, &found,
			       csums) == 0,
		     "look-up");
		for (uint64_t i = 0; i < found.nblks; i++)
			if (obj->csums[blk + i] != (found.src.kind == MAP_MAPPED ? csums[i] : 0))
				return false;
		blk += found.nblks;
	}
	return true;
}

static bool world_obj_matches(struct world *w, const struct world_obj *obj, struct map_view *view)
{
	const struct world_obj *parent = world_find(w, obj->parent);
	char spec[NAME_MAX_BYTES + 1];
	struct map_obj info;
	int err;

	(void)snprintf(spec, sizeof(spec), "%s%s%s", parent ? parent->name : "", parent ? "@" : "",
		       obj->name);
	err = map_obj_by_name(view, spec, &info);
	MUST(err == 0 || err == -ERR_NOENT, "%s: %s", spec, err_name(err));
	return err == 0 && info.id == obj->id && info.parent == obj->parent &&
	       strcmp(info.name, spec) == 0 && info.size_bytes == obj->size_bytes &&
	       info.mtime_ns == obj->mtime_ns && info.expires_ns == obj->expires_ns &&
	       info.readonly == obj->readonly && info.nversions == world_nversions(w, obj->id) &&
	       memcmp(info.labels, obj->label, info.labels_len) == 0 &&
	       info.labels_len == (obj->label[0] ? strlen(obj->label) + 1 : 0) &&
	       world_content_matches(obj, view);
}

bool world_matches(const struct world *w, struct map_view *view)
{
	struct world copy = *w;
	struct map_space space;
	uint64_t n = 0;

	MUST(map_get_space(view, &space) == 0, "space");
	for (unsigned int i = 0; i < WORLD_OBJS; i++)
		n += w->objs[i].id != 0;
	if (n != space.objects + space.versions)
		return false;
	for (unsigned int i = 0; i < WORLD_OBJS; i++)
		if (w->objs[i].id != 0 && !world_obj_matches(&copy, &w->objs[i], view))
			return false;
	return true;
}
