/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changing objects: what there is, what they are called, what they refer to.
 *
 * What stands for an object beside its value: its name, its entry in child where it has an origin,
 * its entry in ttl where it expires, a reference to its root, a part of the counters.
 */
#include <string.h>

#include "common/err.h"
#include "common/thread.h"
#include "server/map_priv.h"

/* ---- looking --------------------------------------------------------------------------------- */

/* The object of a version; that it is not there is damage. */
static int object_parent(struct map_txn *txn, const struct map_object *obj,
			 struct map_object **parent)
{
	struct map_object *p = NULL;
	int err = obj->pub.parent ? map_object_get(txn, obj->pub.parent, &p) : 0;

	if (err == -ERR_NOENT || (p && p->pub.parent))
		err = map_num_bad(KV_OBJ, obj->pub.id, "parent");
	if (!err)
		*parent = p;
	return err;
}

/* The answer of a function that has changed, or looked for, an object. */
static int object_result(struct map_txn *txn, int err, const struct map_object *obj,
			 struct map_obj *pub)
{
	struct map_object *parent;

	if (!err)
		err = kv_error(txn->kv);
	if (!err)
		err = object_parent(txn, obj, &parent);
	if (!err)
		map_object_tell(obj, parent, pub);
	return map_txn_result(txn, err);
}

int map_txn_obj(struct map_txn *txn, uint64_t oid, struct map_obj *obj)
{
	struct map_object *o = NULL;
	int err;

	ASSERT_MAP();
	err = map_object_get(txn, oid, &o);
	return object_result(txn, err, o, obj);
}

int map_txn_obj_by_name(struct map_txn *txn, const char *spec, struct map_obj *obj)
{
	struct map_name_key key;
	uint64_t oid;
	int err;

	ASSERT_MAP();
	err = map_spec_read(txn->kv, spec, &key, &oid);
	return err ? map_txn_result(txn, err) : map_txn_obj(txn, oid, obj);
}

int map_txn_owned(struct map_txn *txn, uint64_t oid, uint64_t *nblks)
{
	struct map_object *o;
	int err;

	ASSERT_MAP();
	err = map_object_get(txn, oid, &o);
	if (!err)
		*nblks = o->pub.owned_nblks;
	return map_txn_result(txn, err);
}

/* An object that is no version: -ERR_PERM. */
static int object_get_plain(struct map_txn *txn, uint64_t oid, struct map_object **obj)
{
	struct map_object *o;
	int err = map_object_get(txn, oid, &o);

	if (!err && o->pub.parent)
		err = -ERR_PERM;
	if (!err)
		*obj = o;
	return err;
}

/* ---- coming and going ------------------------------------------------------------------------ */

/* A name that can be given: well-formed, and not in use. */
static int name_vacant(struct map_txn *txn, uint64_t parent, const char *name)
{
	uint64_t oid;
	int err = parent ? name_check_version(name) : name_check(name);

	if (err)
		return err;
	err = map_name_read(txn->kv, parent, name, &oid);
	if (err == -ERR_NOENT)
		return 0;
	return err ? err : -ERR_EXIST;
}

static int new_check(struct map_txn *txn, const struct map_new *new, struct map_object **parent)
{
	struct map_object *o;
	int err = new->oid == 0 || new->oid == UINT64_MAX ? -ERR_INVAL : 0;

	if (!err)
		err = label_check(new->labels, new->labels_len);
	if (err)
		return err;
	*parent = NULL;
	if (new->parent)
		err = object_get_plain(txn, new->parent, parent);
	if (!err)
		err = name_vacant(txn, new->parent, new->name);
	if (err)
		return err;
	err = map_object_get(txn, new->oid, &o);
	if (err == -ERR_NOENT)
		return 0;
	return err ? err : -ERR_EXIST;
}

/* A new object, or version of new->parent, that maps nothing yet. */
static int object_add(struct map_txn *txn, const struct map_new *new, uint64_t origin,
		      struct map_object **obj)
{
	struct map_object *parent;
	struct map_object *o;
	int err = new_check(txn, new, &parent);

	if (!err)
		err = map_object_new(txn, new->oid, &o);
	if (err)
		return err;
	memcpy(o->pub.name, new->name, strlen(new->name) + 1);
	o->pub.ctime_ns = new->time_ns;
	o->pub.mtime_ns = new->time_ns;
	o->pub.origin = origin;
	o->pub.parent = new->parent;
	o->pub.expires_ns = new->expires_ns;
	o->pub.reserved_nblks = new->reserved_nblks;
	o->pub.labels_len = new->labels_len;
	if (new->labels_len > 0)
		memcpy(o->pub.labels, new->labels, new->labels_len);
	map_name_put(txn->kv, new->parent, new->name, new->oid);
	if (map_is_child(&o->pub))
		map_pair_put(txn->kv, KV_CHILD, (struct map_pair){origin, new->oid});
	if (new->expires_ns)
		map_pair_put(txn->kv, KV_TTL, (struct map_pair){new->expires_ns, new->oid});
	if (parent) {
		parent->pub.nversions++;
		parent->dirty = true;
		map_txn_state(txn)->versions++;
	} else {
		map_txn_state(txn)->objects++;
	}
	*obj = o;
	return 0;
}

/* Its content is that of "from" from now on; to give up its old root is the caller's part.  A version is
 * never asked what it owns. */
static int object_share(struct map_txn *txn, struct map_object *obj, struct map_object *from)
{
	if (!from->pub.parent)
		map_object_disown(from);
	map_object_disown(obj);
	map_txn_state(txn)->mapped_nblks += from->pub.mapped_nblks - obj->pub.mapped_nblks;
	obj->root = from->root;
	obj->height = from->height;
	obj->pub.size_bytes = from->pub.size_bytes;
	obj->pub.mapped_nblks = from->pub.mapped_nblks;
	obj->dirty = true;
	return from->root ? map_nref_inc(txn, from->root) : 0;
}

int map_txn_create(struct map_txn *txn, const struct map_new *new, struct map_obj *obj)
{
	struct map_object *o = NULL;
	int err = 0;

	ASSERT_MAP();
	if (blk_count(new->size_bytes) > BLK_OBJECT_MAX || new->reserved_nblks > BLK_OBJECT_MAX)
		err = -ERR_TOO_LARGE;
	else if (new->parent)
		err = -ERR_INVAL;
	if (!err)
		err = object_add(txn, new, 0, &o);
	if (!err)
		o->pub.size_bytes = new->size_bytes;
	return object_result(txn, err, o, obj);
}

int map_txn_clone(struct map_txn *txn, uint64_t src, const struct map_new *new, struct map_obj *obj)
{
	struct map_object *from;
	struct map_object *o = NULL;
	int err;

	ASSERT_MAP();
	err = new->reserved_nblks > 0 ? -ERR_INVAL : map_object_get(txn, src, &from);
	if (!err)
		err = object_add(txn, new, new->parent ? new->parent : src, &o);
	if (!err) {
		o->pub.mtime_ns = from->pub.mtime_ns;
		err = object_share(txn, o, from);
	}
	return object_result(txn, err, o, obj);
}

int map_txn_remove(struct map_txn *txn, uint64_t oid)
{
	struct map_object *parent;
	struct map_object *obj;
	int err;

	ASSERT_MAP();
	err = map_object_get(txn, oid, &obj);
	if (!err && obj->pub.nversions > 0)
		err = -ERR_BUSY;
	if (!err)
		err = object_parent(txn, obj, &parent);
	if (!err && obj->root)
		err = map_reap_add(txn, obj->root, obj->pub.mapped_nblks);
	if (err)
		return map_txn_result(txn, err);
	map_name_del(txn->kv, obj->pub.parent, obj->pub.name);
	if (map_is_child(&obj->pub))
		map_pair_del(txn->kv, KV_CHILD, (struct map_pair){obj->pub.origin, oid});
	if (obj->pub.expires_ns)
		map_pair_del(txn->kv, KV_TTL, (struct map_pair){obj->pub.expires_ns, oid});
	if (parent) {
		parent->pub.nversions--;
		parent->dirty = true;
		map_txn_state(txn)->versions--;
	} else {
		map_txn_state(txn)->objects--;
	}
	map_txn_state(txn)->mapped_nblks -= obj->pub.mapped_nblks;
	map_object_delete(txn, obj);
	return kv_error(txn->kv);
}

/* ---- names ----------------------------------------------------------------------------------- */

int map_txn_rename(struct map_txn *txn, uint64_t oid, const char *name)
{
	struct map_object *obj;
	int err;

	ASSERT_MAP();
	err = map_object_get(txn, oid, &obj);
	if (!err)
		err = name_vacant(txn, obj->pub.parent, name);
	if (err)
		return map_txn_result(txn, err);
	/* in this order: a table that becomes empty costs a page (kv.h) */
	map_name_put(txn->kv, obj->pub.parent, name, oid);
	map_name_del(txn->kv, obj->pub.parent, obj->pub.name);
	memcpy(obj->pub.name, name, strlen(name) + 1);
	obj->dirty = true;
	return kv_error(txn->kv);
}

int map_txn_exchange(struct map_txn *txn, uint64_t a, uint64_t b)
{
	char name[NAME_MAX_BYTES + 1];
	struct map_object *x;
	struct map_object *y;
	int err;

	ASSERT_MAP();
	err = object_get_plain(txn, a, &x);
	if (!err)
		err = object_get_plain(txn, b, &y);
	if (err || x == y)
		return map_txn_result(txn, err);
	memcpy(name, x->pub.name, sizeof(name));
	memcpy(x->pub.name, y->pub.name, sizeof(name));
	memcpy(y->pub.name, name, sizeof(name));
	map_name_put(txn->kv, 0, x->pub.name, a);
	map_name_put(txn->kv, 0, y->pub.name, b);
	x->dirty = true;
	y->dirty = true;
	return kv_error(txn->kv);
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* In this order: a table that becomes empty costs a page (kv.h). */
static void object_set_expiry(struct map_txn *txn, struct map_object *obj, uint64_t expires_ns)
{
	uint64_t old_ns = obj->pub.expires_ns;

	if (expires_ns == old_ns)
		return;
	if (expires_ns)
		map_pair_put(txn->kv, KV_TTL, (struct map_pair){expires_ns, obj->pub.id});
	if (old_ns)
		map_pair_del(txn->kv, KV_TTL, (struct map_pair){old_ns, obj->pub.id});
	obj->pub.expires_ns = expires_ns;
}

/* Blocks that are its own though that was not known. */
static void object_regain(struct map_object *obj, const struct map_attrs *attrs)
{
	if (attrs->regained_nblks == 0 || attrs->owned_seq != obj->pub.owned_seq)
		return;
	obj->pub.owned_nblks += attrs->regained_nblks;
	obj->pub.owned_seq++; /* others that have counted the same do not do so again */
}

int map_txn_set(struct map_txn *txn, uint64_t oid, const struct map_attrs *attrs,
		struct map_obj *obj)
{
	struct map_object *o = NULL;
	int err;

	ASSERT_MAP();
	err = label_check(attrs->labels, attrs->labels_len);
	if (!err)
		err = map_object_get(txn, oid, &o);
	if (!err && o->pub.parent && (attrs->readonly || attrs->reserved_nblks > 0))
		err = -ERR_PERM;
	if (!err && attrs->reserved_nblks > BLK_OBJECT_MAX)
		err = -ERR_TOO_LARGE;
	if (err)
		return map_txn_result(txn, err);
	object_set_expiry(txn, o, attrs->expires_ns);
	object_regain(o, attrs);
	o->pub.reserved_nblks = attrs->reserved_nblks;
	o->pub.readonly = attrs->readonly;
	o->pub.labels_len = attrs->labels_len;
	if (attrs->labels_len > 0)
		memcpy(o->pub.labels, attrs->labels, attrs->labels_len);
	o->dirty = true;
	return object_result(txn, 0, o, obj);
}

/* ---- content --------------------------------------------------------------------------------- */

int map_txn_reset(struct map_txn *txn, uint64_t oid, uint64_t src, uint64_t now_ns,
		  uint64_t generation, struct map_obj *obj)
{
	struct map_object *from;
	struct map_object *o;
	uint64_t old_root;
	uint64_t old_mapped;
	int err;

	ASSERT_MAP();
	err = object_get_plain(txn, oid, &o);
	if (!err)
		err = map_object_get(txn, src, &from);
	if (err)
		return map_txn_result(txn, err);
	old_root = o->root;
	old_mapped = o->pub.mapped_nblks;
	/* the new reference first: the old root may be the same */
	err = object_share(txn, o, from);
	if (!err && old_root)
		err = map_reap_add(txn, old_root, old_mapped);
	o->pub.mtime_ns = now_ns;
	o->pub.generation = generation;
	return object_result(txn, err, o, obj);
}

int map_txn_update(struct map_txn *txn, uint64_t oid, uint64_t size_bytes, uint64_t mtime_ns,
		   uint64_t generation, struct map_obj *obj)
{
	struct map_object *o;
	int err;

	ASSERT_MAP();
	if (blk_count(size_bytes) > BLK_OBJECT_MAX)
		return map_txn_result(txn, -ERR_TOO_LARGE);
	err = object_get_plain(txn, oid, &o);
	if (err)
		return map_txn_result(txn, err);
	o->pub.size_bytes = size_bytes;
	o->pub.mtime_ns = mtime_ns;
	o->pub.generation = generation;
	o->dirty = true;
	return object_result(txn, 0, o, obj);
}
