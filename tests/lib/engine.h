/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * engine.h: the engine (server/object.h) on a real map and a real device file in a directory of its
 * own, with a gate before the file; each operation run to its end.  For unit tests; whatever fails
 * ends the test.
 */
#ifndef TESTS_LIB_ENGINE_H
#define TESTS_LIB_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/object.h"
#include "server/writeback.h"
#include "tests/lib/gate_dev.h"

#define MIB UINT64_C(1048576)

/* For writeback_ms: nothing is written that the test does not ask for. */
#define ENGINE_NO_TIMER 3600000u

struct engine {
	char dir[64];
	char map_path[96];
	char dev_path[96];
	struct loop *loop;
	struct map *map;
	struct gate_dev *gate; /* the device; its calls are counted from engine_start() on */
	struct objects *objs;
	uint64_t cache_bytes;
	unsigned int writeback_ms;
	unsigned int nworkers;
	uint64_t verify_rate;
	bool mapped; /* the device */
};

#define ENGINE_RUNS_MAX 256u

/* What an operation answered. */
struct result {
	bool done;
	int err;
	struct map_obj info;
	struct handle *handle;
	struct pagevec pv;
	struct object_space space;
	struct object_run runs[ENGINE_RUNS_MAX];
	uint32_t nruns;
};

/* Stores that are made from now on are used through a mapping, or not. */
void engine_map_devices(bool mapped);

/* For cmocka's setup and teardown: a store of 96 MiB, started; stopped, checked and removed. */
int engine_setup(void **state);
int engine_setup_tiny(void **state); /* with a cache of 1 MiB */
int engine_setup_sized(void **state, uint64_t dev_bytes, uint64_t meta_bytes);
int engine_teardown(void **state);

void engine_start(struct engine *e);

/* Without a flush this is a crash: what was not committed is forgotten. */
void engine_stop(struct engine *e);
void engine_flush(struct engine *e);

/* Starts again as it is configured now, with nothing in the cache and nothing lost. */
void engine_restart(struct engine *e);

/* The checker finds no difference.  While the engine is stopped. */
void engine_check(struct engine *e);

/* One turn of the loop; turns until the operation has ended, and its error. */
void engine_turn(struct engine *e);
int engine_wait(struct engine *e, struct result *res);

/* Turns the loop until the device has had that many calls, those held back included. */
void engine_wait_calls(struct engine *e, enum gate_op op, uint64_t n);

/* Many ways through a worker and back: what waits for no gate has come to rest meanwhile. */
void engine_settle(struct engine *e);

/* Turns the loop until a clone of this object that was begun has found it, and waits for its epoch. */
void engine_wait_clone(struct engine *e, const struct handle *h);

/* Callbacks that fill in the struct result that is their context. */
void engine_done_cb(void *ctx, int err);
void engine_info_cb(void *ctx, int err, const struct map_obj *info);
void engine_read_cb(void *ctx, int err, struct pagevec *pv);

int engine_create(struct engine *e, const char *name, uint64_t size);
int engine_clone(struct engine *e, const char *src, const char *dst);
int engine_remove(struct engine *e, const char *name);
struct handle *engine_open(struct engine *e, const char *name);
struct handle *engine_open_as(struct engine *e, const char *name, unsigned int flags);
struct handle *engine_create_open(struct engine *e, const char *name, uint64_t size);
int engine_write(struct engine *e, struct handle *h, uint64_t off, const uint8_t *data,
		 uint64_t len);
int engine_fsync(struct engine *e, struct handle *h);
int engine_resize(struct engine *e, struct handle *h, uint64_t size, bool shrink);
int engine_zero(struct engine *e, struct handle *h, uint64_t off, uint64_t len, bool whole);

/* Reads into buf; the number of bytes or an error. */
int64_t engine_read(struct engine *e, struct handle *h, uint64_t off, uint8_t *buf, uint64_t len);

/* A whole block, all its bytes alike; its first byte, where the object has all of it. */
int engine_write_blk(struct engine *e, struct handle *h, uint64_t blk, uint8_t byte);
uint8_t engine_blk_byte(struct engine *e, struct handle *h, uint64_t blk);

/* The same for n blocks.  So many make an epoch whose data is written, and not in its record. */
#define ENGINE_WRITTEN_BLKS (WRITEBACK_INLINE_BLKS + 1)
int engine_write_blks(struct engine *e, struct handle *h, uint64_t blk, uint64_t n, uint8_t byte);

/* The runs are in res. */
int engine_extents(struct engine *e, struct handle *h, uint64_t off, uint64_t len,
		   struct result *res);
/* The same with details. */
int engine_map(struct engine *e, struct handle *h, uint64_t off, uint64_t len, struct result *res);
uint64_t engine_free_nblks(struct engine *e);

/* Removes every object, with its versions. */
void engine_remove_all(struct engine *e);

/* The checker finds no difference, beside all that goes on. */
void engine_check_online(struct engine *e);

/* Waits until the space of all that was given up can be used again. */
void engine_reap(struct engine *e);

/* len bytes at data in pages, as a write at off takes them. */
struct pagevec engine_payload(struct engine *e, uint64_t off, const uint8_t *data, uint64_t len);

/* Fills vectors of object_payload() with a byte.  What is not payload is what nobody has written. */
void engine_fill(struct engine *e, struct pagevec *pvs, uint32_t n, uint8_t byte);

#endif
