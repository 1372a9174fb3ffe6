/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rig.h: the engine (server/object.h) on a map and a device of its own in a temporary directory, each
 * operation run to its end; and a way to fill the map without it.  The program's thread is the
 * loop's.  What fails ends the program.
 */
#ifndef BENCH_LIB_RIG_H
#define BENCH_LIB_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/lib/region_dev.h"
#include "server/object.h"
#include "server/recover.h"

struct rig_config {
	uint64_t data_bytes;
	uint64_t journal_bytes;
	uint64_t meta_bytes;
	bool real_data; /* else data blocks are dropped, and read as zeros */
	uint64_t cache_bytes;
	unsigned int writeback_ms;
};

struct rig {
	struct rig_config config;
	char dir[128];
	char map_path[160];
	char dev_path[160];
	struct map *map;
	struct region_dev *dev;
	struct recover_result recovered; /* of the last start */
	struct loop *loop;
	struct objects *objs;
};

/* What an operation answered. */
struct rig_result {
	bool done;
	int err;
	struct handle *handle;
	struct object_space space;
};

/* A new store, in a directory of $BENCH_DIR, or of /var/tmp: not in memory. */
void rig_make(struct rig *rig, const struct rig_config *config);
/* Removes the directory; nothing is open. */
void rig_remove(struct rig *rig);

/* A start in its three parts: map and device; recovery; the engine. */
void rig_open(struct rig *rig);
void rig_recover(struct rig *rig);
void rig_load(struct rig *rig);
/* The end of the first two. */
void rig_close(struct rig *rig);

/* All of them, and their end. */
void rig_start(struct rig *rig);
void rig_stop(struct rig *rig);

/* ---- the engine ------------------------------------------------------------------------------ */

void rig_done_cb(void *ctx, int err);
void rig_info_cb(void *ctx, int err, const struct map_obj *info);

/* Turns the loop once; until the operation has ended, which must be without an error. */
void rig_turn(struct rig *rig);
void rig_wait(struct rig *rig, struct rig_result *res);

void rig_create(struct rig *rig, const char *name, uint64_t size_bytes);
void rig_clone(struct rig *rig, const char *src, const char *dst);
void rig_snapshot(struct rig *rig, const char *spec);
struct handle *rig_open_object(struct rig *rig, const char *name);
/* With flags as of object_open(). */
struct handle *rig_open_object_as(struct rig *rig, const char *name, unsigned int flags);
void rig_fsync(struct rig *rig, struct handle *handle);
/* All durable, folded, and the journal empty. */
void rig_flush(struct rig *rig);
/* The bytes of the map in use; after a flush they are exact. */
uint64_t rig_meta_bytes(struct rig *rig);

/* Pages for a write of whole blocks: of zeros, as what is not there reads. */
struct pagevec rig_zeros(struct rig *rig, uint64_t off, uint32_t nblks);

/*
 * n operations of nblks blocks each at at(ctx, i), with so many of them under way; in the end all
 * have been answered.
 */
struct rig_run {
	struct handle *handle;
	bool write;
	uint64_t n;
	uint32_t nblks;
	unsigned int depth;
	bool fsync_each;
	uint64_t (*at)(void *ctx, uint64_t i);
	void *ctx;
};
void rig_run(struct rig *rig, const struct rig_run *run);

/* ---- filling the map ------------------------------------------------------------------------- */

/* Between rig_open() and rig_close(), without the engine.  Blocks of zeros are mapped. */
struct rig_fill {
	struct rig *rig;
	struct map_txn *txn;
	uint32_t nblks; /* of the transaction */
	struct map_tail tail;
	uint64_t next_oid;
	uint64_t next_dst;
};

void rig_fill_begin(struct rig_fill *fill, struct rig *rig);
/* Returns its id. */
uint64_t rig_fill_create(struct rig_fill *fill, const char *name, uint64_t size_bytes);
/* Consecutive blocks of the device, at most 8192. */
void rig_fill_map(struct rig_fill *fill, uint64_t oid, uint64_t blk, uint64_t dst, uint32_t nblks);
void rig_fill_end(struct rig_fill *fill);

/* The checksum of a block of zeros. */
uint32_t rig_zero_csum(void);

#endif
