/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_state.h: what the object_*.c files share: the engine, an object, its epochs, a handle.
 * Nobody else includes it.  All of it belongs to the loop thread.
 *
 * Life of an object struct: made by object_load() when a name is opened, cloned or removed;
 * referenced by handles and by operations under way; without references and with nothing left to
 * write it is idle, and the timer frees the longest idle ones.  object_unload() frees it: there,
 * after its removal, and with the engine; never while a fetch for it is under way.
 *
 * Epochs.  What is dirty in the cache, and the size and holes not yet committed, are the open
 * epoch.  Closing freezes it into a struct epoch:
 *
 *	open --epoch_close--> WRITING --epoch_written--> WRITTEN --set_advance--> COMMITTING
 *	                       ^   |                      (heads)                     |    |
 *	          epoch_retry  |   | error                               set_durable  |    |
 *	                      FAILED <--------------- epoch_done(err) ----------------'    v
 *	                                                 GONE <-- epoch_done(0) -- APPLYING
 *
 *  - Epochs of an object are committed whole and in the order of closing: only the head, the oldest
 *    that is not durable, is submitted.  So after a crash the object holds a prefix of its
 *    acknowledged writes.
 *  - At most EPOCH_CLOSED_MAX are closed and not durable; of an object that is not tied one, where what is
 *    open has nothing to be written before its record.  More fsyncs meanwhile share the next one.  Only
 *    one that is full, or whose moment counts (epoch_sync_now()), is closed nevertheless.
 *  - APPLYING: durable, but not in the map yet: its blocks stay staged in the cache.
 *  - A failed epoch keeps its place, its blocks stay in the cache, and everybody who waits for it
 *    or a later one is told.  It is written again, to other extents, at the next fsync, and by the
 *    timer after a time that grows with each failure in a row.
 *  - generation: counts the changes of the content, in memory with each that is applied, durable
 *    with its epoch.  After a crash those that were not durable are gone, and their numbers must
 *    not come again for another content that somebody could take for theirs: so the first change
 *    after an object was loaded goes on at the next multiple of 2^32, beyond all that may have been
 *    acknowledged and lost.
 *  - reads: a read of several turns keeps pages, and gives those back whose blocks are changed
 *    meanwhile (object_forget_pages()): so what it answers is the content of one moment.
 *  - holes: blocks that are in those of an epoch, and are neither dirty nor staged, read as zeros,
 *    whatever the map says, because it does not know of the epoch yet.  They are never fetched.
 *
 * Sets.  The open epochs of objects that are tied (object_tie.h) are closed in one turn of the loop;
 * what is frozen together is a set, for most objects one of a single epoch.
 *
 *  - A write to several objects ties their open epochs in the turn in which all of it is applied, and
 *    none is closed within that turn: so one set has it as a whole.
 *  - A set is one unit of the commit queue (commit.h): after a crash all of it is there or nothing.
 *    So together its epochs have no more than one may have; what would be more is closed before.
 *  - It is submitted when all its epochs are WRITTEN and each is the head of its object.  No two sets
 *    wait for each other, whatever objects they share: the epochs of a set are frozen in one turn, so
 *    those of each object stand in the order in which the sets were frozen, and before those of the
 *    oldest set that is not durable there is nothing.
 *  - An object of a set with nothing open has an epoch too, with nothing in it.  It is written and
 *    submitted no further; but so sets that share an object follow each other, though neither has
 *    changed that one.  A set of nothing but these is a barrier: it passes when it is at the head.
 *  - When none of its epochs moves any more and some have failed, the set has: those who wait for it,
 *    or for what can be committed only behind it, are told.  Those that are WRITTEN stay so; the
 *    others are written again together.
 *  - durable: the waiters of all its epochs run in one turn, and before they have no later epoch of
 *    any of its objects is submitted (obj->waking).
 *  - An object that is removed keeps its epochs until the removal is durable, and none of them is
 *    submitted behind that.  One that is tied is removed when its epochs are durable.  If that fails
 *    they leave their sets, and the removal is submitted before what is left of these.
 */
#ifndef SERVER_OBJECT_STATE_H
#define SERVER_OBJECT_STATE_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "server/alloc.h"
#include "server/cache.h"
#include "server/checkpoint.h"
#include "server/commit.h"
#include "server/fetch.h"
#include "server/freeload.h"
#include "server/holes.h"
#include "server/map.h"
#include "server/object.h"
#include "server/readahead.h"
#include "server/prepare.h"
#include "server/recover.h"
#include "server/worker.h"
#include "server/writeback.h"

#define EPOCH_CLOSED_MAX 2u
#define EPOCH_TIED_MAX	 512u		 /* objects in a set */
#define EPOCH_MAX_BLKS	 COMMIT_MAX_BLKS /* 32 MiB: an open epoch that has them is closed */
#define EPOCH_MAX_FOLIOS 768u		 /* or this many: what is scattered costs the map more */
#define EPOCH_MAX_HOLES	 32u		 /* or this many: one may drop 254 nodes of a level */

/* One part in so many of the map file is kept for what is reserved already, and for deletion. */
#define META_RESERVE_PART 5u

/* What a dirty block may take of it: a leaf of its own.  More is known when it is in the map. */
#define META_BLK_BYTES 2048u

/* Look-ups that began before so many objects were taken out of memory, or renamed, are made again. */
#define CHANGED_KEPT 64u

struct claimed;
struct event;
struct object;
struct object_claim;
struct object_walk;
struct unshare_op;

/* Waits for an epoch: an fsync, a clone, a flush. */
struct epoch_waiter {
	STAILQ_ENTRY(epoch_waiter) link;
	void (*ready)(struct epoch_waiter *waiter, int err);
};

STAILQ_HEAD(epoch_waiters, epoch_waiter);

enum epoch_state {
	EPOCH_WRITING,
	EPOCH_WRITTEN,
	EPOCH_COMMITTING,
	EPOCH_APPLYING,
	EPOCH_FAILED,
	EPOCH_GONE
};

/* What was open, frozen.  The set has these apart: of most objects that are tied nothing is. */
struct epoch_data {
	struct writeback_batch batch;
	struct epoch *epoch;
};

struct epoch {
	struct epoch_data *data; /* NULL: it is empty, nothing was open */
	struct object *obj;
	struct epoch_set *set;
	enum epoch_state state;
	bool held; /* the set has a reference to the object */
	struct epoch_waiters waiters;
	struct holes holes; /* of the batch's change */
	TAILQ_ENTRY(epoch) link;
};

TAILQ_HEAD(epoch_list, epoch);

/* Epochs that were frozen together.  It is there until all of them are gone. */
struct epoch_set {
	struct objects *objs;
	TAILQ_ENTRY(epoch_set) link; /* until it is durable */
	bool durable;
	bool told;		  /* set_fail(): its waiters are */
	uint32_t nleft;		  /* not gone */
	uint32_t nmoving;	  /* WRITING or COMMITTING; a barrier that passes counts as one */
	uint32_t nfailed;	  /* FAILED */
	uint32_t holds;		  /* it stays though all are gone */
	int err;		  /* of one that failed */
	struct loop_msg msg;	  /* a barrier passes */
	struct epoch_data *datas; /* as many as are not empty */
	uint32_t n;
	struct epoch epochs[];
};

/* The objects whose open epochs are tied to this one's are in a ring: object_tie.h. */
struct tie {
	struct object *lead; /* the same one for all of them */
	struct object *next;
	struct object *prev;
	uint32_t n;    /* of the lead: how many they are */
	uint64_t seen; /* of the lead: objs->tie_seq of who has counted them */
};

/* Handles whose objects are tied as long as they are open: object_tie.h. */
struct tie_group {
	uint32_t n;
	LIST_HEAD(, handle) handles;
};

/* The open epoch, beside the dirty blocks in the cache. */
struct open_epoch {
	bool meta; /* the size changed, or there are holes */
	struct holes holes;
	uint64_t since_ms; /* when it got its first change */
	unsigned int
	    placed_gen;	   /* commit_sync_gen() from before any of its placed data was written */
	bool close_wanted; /* as soon as fewer are closed */
	struct epoch_waiters waiters;
};

struct read_op;
struct mutate;
TAILQ_HEAD(mutate_list, mutate);

/* Waits to be the one that replaces content of an object: see object_io.h. */
struct gate_waiter {
	TAILQ_ENTRY(gate_waiter) link;
	void (*ready)(struct gate_waiter *waiter);
};

struct object {
	struct objects *objs;
	uint64_t id;
	UT_hash_handle hh;
	struct cache_object cache;
	uint64_t size_bytes;
	uint64_t mtime_ns;
	uint64_t generation;
	bool has_changed;	    /* since it was loaded */
	struct map_obj info;	    /* as last committed */
	LIST_HEAD(, read_op) reads; /* that wait for pages */

	struct open_epoch open;
	struct tie tie;
	struct epoch_list closed; /* and not in the map; oldest first */
	uint32_t nclosed;	  /* of these, not durable */
	uint32_t nholey;	  /* of these, those that have holes */
	unsigned int err_seq;	  /* failures of writeback so far */
	uint64_t retry_at_ms;	  /* the timer writes a failed epoch again from then on */
	uint64_t retry_gap_ms;	  /* doubled by each failure in a row */

	uint64_t nheld; /* blocks that changes which are not applied have reserved, or placed */
	uint64_t
	    asked_nblks; /* what it will have reserved, or 0: these five are object_promise.h's */
	uint64_t counted_nblks;	 /* its part of objs->reserved_nblks */
	uint64_t renewing_nblks; /* of it, about to be shared */
	uint64_t withheld_nblks; /* for it: its part of the allocator's sum */

	unsigned int refs;	 /* handles and waiting operations */
	bool removing;		 /* nobody finds it */
	bool removal_sent;	 /* to the commit thread: no epoch of it is until that has failed */
	bool removed;		 /* and is durable: what is left of it is dropped */
	bool gated;		 /* content of it is about to be replaced: writes wait */
	struct mutate_list gate; /* these, in order */
	TAILQ_HEAD(, gate_waiter) gate_waiters; /* others that are to replace some */
	bool opening;				/* the gate: those who waited are called */
	bool waking;   /* the waiters of a committed set run: the next is submitted behind them */
	bool foreseen; /* an fsync of it is: the message is on its way */
	struct loop_msg foreseen_msg;
	bool is_busy; /* on objs->busy */
	TAILQ_ENTRY(object) busy_link;
	TAILQ_ENTRY(object) idle_link; /* while refs is 0 and it is not busy */
	TAILQ_HEAD(, handle) handles;
};

TAILQ_HEAD(object_list, object);

/* Where fsyncs come after as many writes each time, the next one is foreseen: object_handle.c. */
struct foresight {
	uint32_t nwrites; /* since the last fsync */
	uint32_t nlast;	  /* from the one before to that */
	uint32_t due;	  /* so many are expected; 0: any number */
};

struct handle {
	struct object *obj;
	struct foresight foresight;
	bool readonly;
	bool direct;
	bool fixed; /* see OBJECT_FIXED */
	struct readahead ahead;
	unsigned int err_seen;
	TAILQ_ENTRY(handle) link;
	struct tie_group *group; /* or NULL */
	LIST_ENTRY(handle) group_link;
	uint64_t verify_due_ns; /* when the rate of its verifies lets the next one be answered */
	char holder[128];
};

/* Waits until all that has been committed before is in the map proper; embedded. */
struct objects_settle {
	void (*ready)(struct objects_settle *settle, int err);

	struct objects *objs; /* private from here on */
	struct commit_req mark;
	struct checkpoint_waiter waiter;
};

void objects_settle(struct objects *objs, struct objects_settle *settle) LOOP_FN;

/* May the map grow?  Deletion must find the room that it needs.  What is staged counts at its worst
 * until it is settled. */
bool objects_may_grow(const struct objects *objs) LOOP_FN;

struct verify_op;
TAILQ_HEAD(verify_list, verify_op);

/* What scrubs data: object_verify.c. */
struct verifying {
	struct verify_list queue; /* the first is under way, unless the timer runs */
	struct verify_list held;  /* done, and answered later */
	struct event *timer;	  /* of the queue */
	uint64_t due_ns;	  /* when config.verify_rate lets the next one begin */
	bool turn;		  /* the next of them is being begun */
	bool stopping;
};

struct objects {
	struct objects_config config;
	struct page_pool *pages;
	struct worker_pool *pool;
	struct worker_pool *fold_pool; /* of one thread */
	struct fetcher fetcher;
	struct alloc *alloc;
	struct freeload *freeload;
	struct commit *commit;
	struct checkpoint *checkpoint;
	struct prepare *prepare;
	struct writeback wb;
	struct cache *cache;
	uint64_t total_nblks;
	uint64_t reserved_nblks; /* by all objects, and by those who ask for it */
	size_t dirty_limit;	 /* dirty and staged pages above which writes wait */
	size_t crowd_limit;
	size_t ahead_nblks; /* being read ahead */

	struct object *table;	      /* uthash by id */
	struct object_list busy;      /* something dirty or closed */
	TAILQ_HEAD(, epoch_set) sets; /* not durable, in the order in which they were frozen */
	uint64_t tie_seq;
	struct object_list idle; /* longest idle first */
	unsigned int nidle;
	uint64_t change_seq;		/* objects unloaded or renamed so far */
	uint64_t changed[CHANGED_KEPT]; /* the last of them, by their number */

	uint64_t next_object;		   /* the id that the next new object gets */
	struct claimed *claimed;	   /* uthash by name: object_claim.c */
	TAILQ_HEAD(, object_claim) claims; /* that wait, in order */

	size_t usage_bytes;	   /* of what waits for its usage */
	uint32_t npairs;	   /* of object_clone_all(), under way */
	uint32_t ncounts;	   /* object_set()s that wait for what their objects own */
	bool lacking;		   /* failed epochs may lack space */
	unsigned int nplacing;	   /* changes whose data is on its way to the device */
	struct mutate_list parked; /* writes that wait for space or memory, in order */
	struct event *timer;
	bool latched;
	bool expiring;	   /* what has expired is being removed */
	bool expire_again; /* one that has expired was closed since that began */
	bool checking;
	TAILQ_HEAD(, object_walk) walks;   /* the first is under way, the others wait for it */
	TAILQ_HEAD(, unshare_op) unshares; /* likewise */
	bool unshare_turn;		   /* the next of them is being begun */
	struct verifying verify;
	bool was_crowded;
	void (*progress)(struct objects *objs); /* space or memory may have become free */
	/* the data of an inlined batch is in the journal only: its pages are kept for it */
	void (*keep_home)(struct objects *objs, const struct writeback_batch *batch);
	void (*on_latch)(void *ctx);
	void *latch_ctx;
	void (*on_room)(void *ctx);
	void *room_ctx;
};

#endif
