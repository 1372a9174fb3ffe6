/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object.h: the storage engine: objects that are created, cloned, read, written, made durable.
 *
 * Every function here is of the loop thread and never blocks.  An operation ends in exactly one
 * call of its callback, with 0 or a negative error; the callback may run before the function
 * returns.  A caller that goes away keeps its context alive until then: nothing is cancelled.
 *
 * A write is acknowledged when it is in the cache, its space reserved (invariant 3).  It is durable
 * when an object_fsync() that began afterwards has answered 0, or earlier.  What is done to names
 * (create, clone, snapshot, rename, reset, remove) is durable when answered.
 *
 * Operations of one object that overlap in time may be applied in any order; each is applied whole.
 *
 * A "spec" names an object, or as "object@version" one of its versions: a read-only copy of it.
 * Where a parameter is a "name", it is that of an object.  Strings are copied unless it says
 * otherwise.  -ERR_BAD_NAME, -ERR_NOENT, -ERR_NOMEM, -ERR_LATCHED and what the map can meet
 * (-ERR_MAP, -ERR_NODE) are possible everywhere and are not named again.
 */
#ifndef SERVER_OBJECT_H
#define SERVER_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "common/name.h"
#include "server/check.h"
#include "server/journal.h"
#include "server/map.h"
#include "server/page.h"
#include "server/scrub.h"

struct objects; /* the engine of one store */
struct handle;	/* an open object, of one session */

/* Handles or pairs that one operation takes at most, and handles that are tied in one group. */
#define OBJECT_GROUP_MAX 128u

/* Objects that one write takes at most. */
#define OBJECT_PARTS_MAX 512u

typedef void (*object_cb)(void *ctx, int err);
/* generation: on success of the object as the change left it, and no later; else as it is. */
typedef void (*object_changed_cb)(void *ctx, int err, uint64_t generation);
typedef void (*object_info_cb)(void *ctx, int err, const struct map_obj *info);

/* generations: on success of each object as the change left it, in order.  On an error "at" is the object
 * that it is about, or how many there are if it is about none of them; of -ERR_CHANGED generations[at] is
 * what that is at. */
typedef void (*object_all_cb)(void *ctx, int err, uint32_t at, const uint64_t *generations);

/* On success "handle" is the caller's until object_close(). */
typedef void (*object_open_cb)(void *ctx, int err, struct handle *handle,
			       const struct map_obj *info);

/* pv is the caller's to move from (zero it) or to leave; pv->len is short at the object's end.  Of
 * several ranges it is an array, with one for each. */
typedef void (*object_read_cb)(void *ctx, int err, struct pagevec *pv);

/* n objects or versions, in order; "more": there are others behind the last. */
typedef void (*object_list_cb)(void *ctx, int err, const struct map_obj *objs, uint32_t n,
			       bool more);

struct object_run {
	uint64_t len_bytes;
	bool data; /* else it reads as zeros, and will take no space */
	/* These, where they were asked for: */
	bool zero;	    /* no data: the map does not know that yet */
	bool dirty;	    /* data or zero, in memory: not durable, or not in the map yet */
	bool shared;	    /* data that is not dirty: mapped from elsewhere, too (map.h) */
	uint64_t dev_bytes; /* data that is not dirty: where it is on the device; else 0 */
};

typedef void (*object_extents_cb)(void *ctx, int err, const struct object_run *runs, uint32_t n);

struct object_space {
	uint64_t total_nblks;	 /* data blocks, the device's header not counted */
	uint64_t free_nblks;	 /* not used, not reserved, neither withheld nor kept back */
	uint64_t reserved_nblks; /* for data in memory */
	uint64_t withheld_nblks; /* for objects that have reserved space */
	uint64_t kept_nblks;	 /* for what these write over */
	uint64_t staged_bytes;	 /* memory that holds metadata until the next checkpoint */
	uint64_t journal_bytes;
	uint64_t journal_used_bytes; /* of these, what recovery would read */
	struct map_space map;
};

typedef void (*object_space_cb)(void *ctx, int err, const struct object_space *space);

/* ---- names ----------------------------------------------------------------------------------- */

/* What a new object or version gets beside its name; NULL in place of one: nothing. */
struct object_attrs {
	uint64_t ttl_ms;    /* from now until it expires; 0: never */
	const char *labels; /* good ones (label.h) */
	uint32_t labels_len;
	uint64_t reserved_nblks; /* of object_create() only */
};

/* -ERR_EXIST, -ERR_TOO_LARGE, -ERR_NOSPC (what it is to have reserved), -ERR_NOSPC_META. */
void object_create(struct objects *objs, const char *name, uint64_t size_bytes,
		   const struct object_attrs *attrs, object_info_cb cb, void *ctx) LOOP_FN;

/*
 * src and dst are specs.  The clone holds what was acknowledged on src before the call; later writes
 * stay apart.  As dst a version is made a version of its object, whatever that holds and whatever
 * src is.  -ERR_EXIST (dst), -ERR_NO_PARENT (the object of dst), -ERR_NOSPC_META, and what an fsync of
 * src can meet.  -ERR_NOSPC: src has reserved space, and there is none for what it would have to write
 * anew; so of object_snapshot(), object_clone_all(), object_reset() and, of its source, object_share().
 * What src has reserved the clone has not.
 */
void object_clone(struct objects *objs, const char *src, const char *dst,
		  const struct object_attrs *attrs, object_info_cb cb, void *ctx) LOOP_FN;

/*
 * Makes the version that spec names (else -ERR_INVAL), of the object that it names; as
 * object_clone().
 */
void object_snapshot(struct objects *objs, const char *spec, const struct object_attrs *attrs,
		     object_info_cb cb, void *ctx) LOOP_FN;

/* A change of the attributes of an object or a version; what it does not name stays. */
struct object_edit {
	bool set_ttl;
	uint64_t ttl_ms; /* from now until it expires; 0: never */
	bool set_readonly;
	bool readonly;
	bool set_reserved;
	uint64_t reserved_nblks; /* space for so many blocks; 0: none */
	bool replace;		 /* labels that are not among the edits go */
	const char *edits;	 /* of labels; these two as in common/label.h */
	uint32_t edits_len;
	const char *expected; /* what the labels must be, else nothing changes */
	uint32_t expected_len;
};

/*
 * All of it at once, durable when answered; the info is as it is then.  Generation and times of an
 * object stay.  Of an object that is read-only the content and the size do not change: it cannot be
 * reset or opened for writing, and on handles that are open writes are refused, which takes effect
 * with the answer; what was acknowledged before is durable by then.
 *
 * A reservation promises an object that it can have so many blocks of its own; the others find them taken.
 * It is as good as that from the answer on, and what it is set to is counted anew: what has become the object's
 * own since it shared it is noticed.  That reads the metadata of what it does not share, one object after the
 * other.  -ERR_NOSPC: there is not so much.  -ERR_COUNTS: too many wait for that.
 *
 * -ERR_INVAL: the edits.  -ERR_LABELS_OTHER: not as expected.  -ERR_LABELS_LONG.  -ERR_PERM: of a
 * version set_readonly or set_reserved.  -ERR_NOSPC_META, where something is added; and where it becomes read-only what
 * an fsync can meet.
 */
void object_set(struct objects *objs, const char *spec, const struct object_edit *edit,
		object_info_cb cb, void *ctx) LOOP_FN;

/* What is cloned, and what of it is made: an object, or, of an object, a version of that object. */
struct object_pair {
	const char *src;
	const char *dst;
};

/* "at" is the pair that the error is about, or how many there are if it is about none of them. */
typedef void (*object_pairs_cb)(void *ctx, int err, uint32_t at);

/*
 * object_clone() and object_snapshot() of several, of one point in time: all of them are made, or
 * none.  "pairs" and its strings stay the caller's and must be there until the callback.  attrs are
 * those of each.  -ERR_SAME_NAME: two of the same name are to be made; -ERR_INVAL: a version of
 * another object; -ERR_LIMIT: more than OBJECT_GROUP_MAX, or more than the journal takes at once;
 * -ERR_PAIRS: too many are asked for at once; and what those two can meet.
 */
void object_clone_all(struct objects *objs, const struct object_pair *pairs, uint32_t n,
		      const struct object_attrs *attrs, object_pairs_cb cb, void *ctx) LOOP_FN;

/*
 * At once: two objects, or two versions of one object, else -ERR_INVAL; to "exchange" are only two
 * objects, which then must both be there.  Handles stay with their object.  -ERR_EXIST (to).
 */
void object_rename(struct objects *objs, const char *from, const char *to, bool exchange,
		   object_cb cb, void *ctx) LOOP_FN;

/*
 * Gives the object the content and size of the version that spec names (else -ERR_INVAL), in
 * constant time and whether or not it is open; what was not written back yet is dropped.  The info
 * is that of the object.  -ERR_READONLY.
 */
void object_reset(struct objects *objs, const char *spec, object_info_cb cb, void *ctx) LOOP_FN;

/*
 * -ERR_BUSY while a handle is open on it: see object_holder().  -ERR_HAS_VERSIONS, unless
 * "versions": then these are removed too, one after the other, and the object last; after an error
 * some of them may be gone.
 */
void object_remove(struct objects *objs, const char *spec, bool versions, object_cb cb,
		   void *ctx) LOOP_FN;

/* Size, time of change and generation are those of now, the rest as of the last commit. */
void object_info(struct objects *objs, const char *spec, object_info_cb cb, void *ctx) LOOP_FN;

/*
 * Objects, no versions, whose names begin with prefix and are greater than after, and which have
 * the label, a "key" or a "key=value"; each may be "".  At most max, in order of names; fewer where
 * their infos would not fit a reply (and then "more").
 */
void object_list(struct objects *objs, const char *prefix, const char *after, const char *label,
		 uint32_t max, object_list_cb cb, void *ctx) LOOP_FN;

/* Versions of the object, in order of names; "after" is the part of a spec behind its '@', or "". */
void object_versions(struct objects *objs, const char *name, const char *after, uint32_t max,
		     object_list_cb cb, void *ctx) LOOP_FN;

/*
 * Objects (no versions) whose origin is exactly what spec names, and whose ids are greater than
 * after; in order of ids.
 */
void object_children(struct objects *objs, const char *spec, uint64_t after, uint32_t max,
		     object_list_cb cb, void *ctx) LOOP_FN;

/*
 * Who holds open what spec names, or a version of it, as given to object_open(); NULL if nobody.
 * *held is what is open, by its name.  Both are valid until the next rename or close.
 */
const char *object_holder(struct objects *objs, const char *spec, const char **held) LOOP_FN;

/* ---- the store as a whole -------------------------------------------------------------------- */

void object_statfs(struct objects *objs, object_space_cb cb, void *ctx) LOOP_FN;

struct object_usage {
	uint64_t mapped_nblks;	  /* the sum of all of them */
	uint64_t exclusive_nblks; /* what would become free if all of them were removed */
};

typedef void (*object_usage_cb)(void *ctx, int err, const struct object_usage *usage);

/*
 * What n objects and versions use in the map; what is named twice counts once.  "specs" and its
 * strings stay the caller's and must be there until the callback.  -ERR_LATE: too much was written
 * meanwhile, again and again.  -ERR_USAGES: too much is being asked for at once.
 */
void object_usage(struct objects *objs, const char *const *specs, uint32_t n, object_usage_cb cb,
		  void *ctx) LOOP_FN;

typedef void (*object_reaping_cb)(void *ctx, int err, uint64_t nblks);

/*
 * The blocks of removed data that are not yet reusable, those that others share included.  Asking
 * hastens that; 0: the space of all that had been removed before is free.
 */
void object_reaping(struct objects *objs, object_reaping_cb cb, void *ctx) LOOP_FN;

#define OBJECT_CHECK_TEXT_BYTES 512u
#define OBJECT_CHECK_TEXTS_MAX	64u

struct object_check {
	struct check_totals totals;
	uint64_t differences;
	uint32_t ntexts; /* sentences about the first differences */
	char (*texts)[OBJECT_CHECK_TEXT_BYTES];
};

typedef void (*object_check_cb)(void *ctx, int err, const struct object_check *check);

/*
 * Checks the map, not the data, beside all other work.  -ERR_CHECKING while another one is under way,
 * -ERR_LATE as in object_usage().
 */
void object_check(struct objects *objs, object_check_cb cb, void *ctx) LOOP_FN;

/* ---- open objects ---------------------------------------------------------------------------- */

enum {
	OBJECT_READONLY = 1,
	OBJECT_DIRECT = 2, /* all reads and writes are, as by the calls of that name */
	OBJECT_FIXED = 4,  /* writes do not make the object longer: -ERR_FIXED_SIZE */
};

/*
 * holder describes the client ("pid 4711", "127.0.0.1:5022") and is copied.  -ERR_PERM: a version,
 * and not OBJECT_READONLY.  -ERR_READONLY: an object that is, and not OBJECT_READONLY.
 */
void object_open(struct objects *objs, const char *spec, unsigned int flags, const char *holder,
		 object_open_cb cb, void *ctx) LOOP_FN;

/*
 * Operations under way on the handle must have ended.  Returns -ERR_WRITEBACK when writeback failed
 * since the handle was opened or last told; the handle is gone all the same.
 */
int object_close(struct handle *handle) LOOP_FN;

/* Bytes of an object. */
struct object_range {
	uint64_t off_bytes;
	uint64_t len_bytes;
};

void object_read(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, object_read_cb cb,
		 void *ctx) LOOP_FN;

/* Several ranges, 1 or more, in any order: all as they are at one moment. */
void object_readv(struct handle *handle, const struct object_range *ranges, uint32_t n,
		  object_read_cb cb, void *ctx) LOOP_FN;

/*
 * Takes over the pages of pv (which is zeroed) whatever the outcome; pv->head is off_bytes modulo
 * BLK_BYTES and every page is filled in.  Grows the object where needed.  -ERR_PERM on a read-only
 * handle, -ERR_READONLY (the object), -ERR_TOO_LARGE, -ERR_NOSPC, -ERR_LATCHED, -ERR_IO and
 * -ERR_CSUM when a partial block could not be filled.
 */
void object_write(struct handle *handle, uint64_t off_bytes, struct pagevec *pv, object_cb cb,
		  void *ctx) LOOP_FN;

/*
 * Makes the vectors of a write of n ranges, 1 or more, which ascend and do not overlap: their pages
 * (pagevecs_page()) are to be filled in.  *npages: how many there will be.  -ERR_RANGES,
 * -ERR_TOO_LARGE, -ERR_SCATTERED: more blocks, or in more places, than one epoch may have.
 */
int object_payload(const struct object_range *ranges, uint32_t n, struct pagevec **pvs,
		   uint64_t *npages) MUST_CHECK;

/*
 * Writes these ranges, all or nothing: for readers, and after a crash.  Takes over the pages of pvs,
 * as object_payload() made it, whatever the outcome; the array stays the caller's.  if_generation:
 * NULL, or -ERR_CHANGED unless that is the object's when the write is applied.  As object_write().
 */
void object_writev(struct handle *handle, const struct object_range *ranges, struct pagevec *pvs,
		   uint32_t n, const uint64_t *if_generation, object_changed_cb cb,
		   void *ctx) LOOP_FN;

/* What a write of several objects does to one of them. */
struct object_part {
	struct handle *handle;
	const struct object_range *ranges; /* as of object_writev() */
	uint32_t nranges;		   /* 1 or more */
	const uint64_t *if_generation;
};

/*
 * object_payload() of n of these, 1 or more, of which only the ranges are looked at: one array of
 * vectors, those of each part behind those of the part before.  *npvs: how many.
 */
int object_payload_all(const struct object_part *parts, uint32_t n, struct pagevec **pvs,
		       uint32_t *npvs, uint64_t *npages) MUST_CHECK;

/*
 * Writes to several objects, at most OBJECT_PARTS_MAX, as one change: all or nothing, for readers and
 * after a crash, whether or not they are tied otherwise.  They are tied by it until it is committed.
 * parts and their ranges are not needed any more when it returns; pvs is as of object_writev().  Each
 * part goes the way that its handle says, past the cache or not.  -ERR_SAME_OBJECT: two parts are of one
 * object.  -ERR_LIMIT: with what they are tied to they are more than the engine ties.  As
 * object_writev().
 */
void object_write_all(const struct object_part *parts, uint32_t n, struct pagevec *pvs,
		      object_all_cb cb, void *ctx) LOOP_FN;

/*
 * The same bytes, past the cache: what has to be read is not kept, and nothing is read ahead; what is
 * written in whole blocks is on the device when that is answered (and durable no sooner than any
 * other write), and not kept once it is durable.  -ERR_IO: the device failed, and nothing has changed.
 * Several ranges go that way by a handle that is OBJECT_DIRECT.
 */
void object_read_direct(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes,
			object_read_cb cb, void *ctx) LOOP_FN;
void object_write_direct(struct handle *handle, uint64_t off_bytes, struct pagevec *pv,
			 object_cb cb, void *ctx) LOOP_FN;

void object_fsync(struct handle *handle, object_cb cb, void *ctx) LOOP_FN;

/*
 * The same, and says up to which generation; if_generation: NULL, or -ERR_CHANGED unless that is the
 * object's now, and nothing is done.
 */
void object_fsync_if(struct handle *handle, const uint64_t *if_generation, object_changed_cb cb,
		     void *ctx) LOOP_FN;

/*
 * object_fsync() of several objects, as one commit of one point in time: a crash shows what was
 * acknowledged on them since the last one on all of them, or on none.  Also -ERR_LIMIT.
 */
void object_fsync_all(struct handle *const *handles, uint32_t n, object_cb cb, void *ctx) LOOP_FN;

/*
 * From now on, until they are closed, what is acknowledged on any of these handles' objects is
 * committed in that order across them: after a crash they hold a prefix of it together.  Handles that
 * were tied before bring those that they are tied to.  An object whose last handle of these is closed
 * leaves them; what was acknowledged before stays tied.  -ERR_LIMIT: more handles than
 * OBJECT_GROUP_MAX, or too many objects are tied through others; then what is tied stays as it is.
 */
int object_tie(struct handle *const *handles, uint32_t n) LOOP_FN MUST_CHECK;

/* A smaller size only where shrink is set: else -ERR_SHRINK. */
void object_resize(struct handle *handle, uint64_t size_bytes, bool shrink, object_cb cb,
		   void *ctx) LOOP_FN;

/*
 * The bytes become zeros, as far as the object goes; its size stays.  Blocks become holes and give
 * their space back; a block that is covered in part is written, unless "whole": then it stays as it
 * is.  Errors as of object_write().
 */
void object_zero(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, bool whole,
		 object_cb cb, void *ctx) LOOP_FN;

/* So many bytes are cloned, and so many were asked for as well. */
typedef void (*object_share_cb)(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes);

/*
 * A range clone, as Linux FICLONERANGE: the bytes of dst from dst_off on become those of src from
 * src_off on, as they are at some moment between call and answer; to the end of src where len_bytes is
 * 0.  Whole blocks are shared and take no space.  What is answered is durable, as a whole.  It is not
 * all where that would be too much for one change: more than 16 MiB, or of ranges whose distance is a
 * multiple of 128^n blocks more than 128^n times as much.  Of two handles one may be
 * read-only; src may be closed meanwhile.  -ERR_RANGE: beyond the end of src.  -ERR_OVERLAP.
 * -ERR_UNALIGNED: the offsets differ by no multiple of a block.  Else as object_write() and
 * object_fsync() of both.
 */
void object_share(struct handle *dst, uint64_t dst_off, struct handle *src, uint64_t src_off,
		  uint64_t len_bytes, object_share_cb cb, void *ctx) LOOP_FN;

/* So many bytes of the range are done, so many are left; of copied_nblks blocks there are copies now. */
typedef void (*object_unshare_cb)(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes,
				  uint64_t copied_nblks);

/*
 * Linux FALLOC_FL_UNSHARE_RANGE: blocks that have bytes of the range, as far as the object goes, and
 * are shared get copies of their own.  The content stays, and so do generation and times; holes, what is
 * dirty and what is exclusive are left alone.  Like a write it is durable with the next fsync.  It may not
 * come to the end of the range at once: at most 2 MiB are copied, in at most 64 places, and not too much
 * of the map is looked at.  Errors as of object_write(): nothing of this call is done, what earlier ones
 * have copied stays.
 */
void object_unshare(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes,
		    object_unshare_cb cb, void *ctx) LOOP_FN;

/*
 * At most max runs, consecutive from off_bytes on, within off_bytes + len_bytes and the size; fewer where
 * many look-ups were needed, but at least one if there is any.  "details": runs end where any member
 * changes, and not only where data does.
 */
void object_extents(struct handle *handle, uint64_t off_bytes, uint64_t len_bytes, uint32_t max,
		    bool details, object_extents_cb cb, void *ctx) LOOP_FN;

/* What is to be verified of an object, and how. */
struct object_verify {
	uint64_t off_bytes;
	uint64_t len_bytes;
	uint64_t older; /* what it has in one place with that id is not read; 0: nothing */
	uint64_t
	    rate_bytes; /* a second, at most, by this handle; 0: as much as the engine allows */
	uint32_t max;	/* damages: at least 1 */
};

struct object_verified {
	uint64_t len_bytes;  /* so far it came */
	uint64_t left_bytes; /* of the range within the object */
	uint64_t read_nblks;
	uint64_t pending_nblks; /* in the journal only: the device is still to get them */
	uint32_t n;
	const struct scrub_damage *damages; /* in ascending order; of whole blocks */
};

typedef void (*object_verify_cb)(void *ctx, int err, const struct object_verified *verified);

/*
 * Reads what the object maps in the range from the device, past the cache, and compares it with its
 * checksums; holes cost nothing.  What is dirty is not on the device, and not looked at; what is durable
 * is.  It comes no further than one piece at a time, of at most 1 MiB, and less at a low rate: is left_bytes
 * more than 0, the next call begins at off_bytes + len_bytes.  Of all verifies one is under way at a time, and
 * between two calls nothing is held.  What was replaced while it was read is no damage, and what is damaged
 * no error.
 */
void object_verify(struct handle *handle, const struct object_verify *what, object_verify_cb cb,
		   void *ctx) LOOP_FN;

/* Who has asked through this handle has gone: those that have not begun fail with -ERR_CONN, and none waits
 * for its rate any more, so that the object is not held open for that. */
void object_verify_drop(struct handle *handle) LOOP_FN;

/* The daemon is about to end: those that wait for their turn fail with -ERR_SHUTDOWN, as all that follow,
 * and none waits for its rate any more. */
void object_verify_stop(struct objects *objs) LOOP_FN;

struct object_diff_run {
	uint64_t len_bytes;
	enum map_diff_kind kind;
};

struct object_diff {
	uint64_t size_bytes;  /* of the object, as of this answer */
	uint64_t older_bytes; /* of the older one */
	uint32_t nodes;	      /* of the map that were read */
	uint32_t n;
	const struct object_diff_run *runs;
};

/* On an error diff is not to be looked at. */
typedef void (*object_diff_cb)(void *ctx, int err, const struct object_diff *diff);

/*
 * Where the object differs from that with the id "older" (a version, too; 0: from nothing, which is
 * all holes).  At most max runs, at least 1, consecutive from off_bytes on, within off_bytes + len_bytes
 * and the size; it ends earlier where much has been looked at, and is to be asked again from there.
 * What was written to either before the call is made durable and is counted in; what is written
 * meanwhile may be.  -ERR_NOENT: there is no such id.  And what an fsync of either can meet.
 */
void object_diff(struct handle *handle, uint64_t older, uint64_t off_bytes, uint64_t len_bytes,
		 uint32_t max, object_diff_cb cb, void *ctx) LOOP_FN;

/* The name as of now, that of a version with its object's.  Valid until the next rename or close. */
const char *object_name(const struct handle *handle) LOOP_FN;

/* The size and the generation as of now. */
uint64_t object_size(const struct handle *handle) LOOP_FN;
uint64_t object_generation(const struct handle *handle) LOOP_FN;

/* ---- the engine ------------------------------------------------------------------------------ */

struct loop;
struct dev;

struct objects_config {
	struct loop *loop;
	struct map *map;      /* open and recovered; the engine's to use until objects_free() */
	struct dev *dev;      /* likewise */
	uint64_t journal_key; /* of this start (recover.h) */
	struct journal_pos journal_head;
	uint64_t cache_bytes;	   /* the most memory for pages */
	bool cache_prealloc;	   /* three quarters of it are taken from the system at the start */
	unsigned int nworkers;	   /* threads for device I/O */
	unsigned int writeback_ms; /* the longest time a write stays only in memory */
	uint64_t verify_rate;	   /* bytes a second that all verifies read; 0: no limit */
};

/* Starts its threads and the loading of the free space.  -ERR_NOMEM, -ERR_MAP, -ERR_NODE. */
int objects_new(const struct objects_config *config, struct objects **objs) MUST_CHECK;

/*
 * What a cache of that size leaves to the map at all times, for what is staged and for the pages of
 * folds: also what map_limit_folds() is to be told, before anything is recovered.
 */
uint64_t objects_map_bytes(uint64_t cache_bytes);

/* The pages of this engine, for who receives payloads. */
struct page_pool *objects_pages(struct objects *objs);

/* To be called before a part of them is taken: clean blocks give way, as far as there have to be less. */
void objects_make_room(struct objects *objs) LOOP_FN;

/*
 * True while so much of the cache's memory is not that of clean blocks that who receives payloads should stop reading
 * from its sockets: a quarter is left for those that were let in.  objects_on_room() sets what is called
 * when that ends; NULL for nothing.
 */
bool objects_crowded(struct objects *objs) LOOP_FN;
/* To be called by who gave pages back: replies that were sent, payloads that were dropped. */
void objects_check_room(struct objects *objs) LOOP_FN;
void objects_on_room(struct objects *objs, void (*fn)(void *ctx), void *ctx) LOOP_FN;

/* The counters of the cache (cache.h). */
struct cache_stats;
void objects_cache_stats(const struct objects *objs, struct cache_stats *stats) LOOP_FN;

/* Makes all acknowledged writes durable and leaves nothing in the journal; cb gets the first error.
 * For a clean stop. */
void objects_flush(struct objects *objs, object_cb cb, void *ctx) LOOP_FN;

/*
 * Set once durability can no longer be had (a failed map commit): every later write is answered
 * -ERR_LATCHED, and the daemon must end (invariant 9).  fn is called at that moment.
 */
void objects_on_latch(struct objects *objs, void (*fn)(void *ctx), void *ctx) LOOP_FN;

/*
 * All handles closed and no operation under way.  Joins the threads.  Once latched it is not
 * called: the process ends as it is.
 */
void objects_free(struct objects *objs);

#endif
