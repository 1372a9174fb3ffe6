/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_priv.h: what the files of the engine in memory share: fake_object.c (open objects, control),
 * fake_object_ranges.c (several ranges, generations) and fake_name.c (names).  Nobody else includes it.
 */
#ifndef TESTS_LIB_FAKE_PRIV_H
#define TESTS_LIB_FAKE_PRIV_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/object.h"

/* An object or a version. */
struct fake {
	TAILQ_ENTRY(fake) link;
	struct map_obj info;
	uint8_t *data;
	uint64_t size_max;
	uint64_t nwriters; /* opened to be written to, so many times */
};

struct handle {
	struct objects *objs;
	struct fake *fake;
	bool readonly;
	bool direct;
	bool fixed;
	char holder[512];
	LIST_ENTRY(handle) link;
};

/* A callback that is due. */
struct due {
	STAILQ_ENTRY(due) link;
	void (*fire)(struct due *due);
	union {
		object_cb plain;
		object_info_cb info;
		object_open_cb open;
		object_read_cb read;
		object_changed_cb changed;
		object_pairs_cb pairs;
		object_all_cb all;
		object_list_cb list;
	} cb;
	void *ctx;
	int err;
	struct map_obj obj;
	struct handle *handle;
	struct pagevec pv;
	struct pagevec *pvs; /* of several ranges */
	uint32_t npvs;
	uint32_t at;
	uint64_t *generations; /* of several objects */
	struct map_obj *list;  /* of at objects */
	bool more;
};

struct objects {
	TAILQ_HEAD(fake_list, fake) fakes; /* by spec */
	LIST_HEAD(, handle) handles;
	STAILQ_HEAD(, due) dues;
	size_t ndues;
	size_t nhandles;
	size_t ndirect;
	uint64_t next_id;
	struct page_pool *pages;
	bool hold;
	bool crowded;
	bool holes;
	uint64_t size_max;
	int fail;
	int close_err;
	void (*on_room)(void *ctx);
	void *room_ctx;
};

/* The planned failure, once. */
int fake_failure(struct objects *objs);

struct fake *fake_find(const struct objects *objs, const char *spec);
int fake_resize(struct fake *f, uint64_t size);
void fake_free(struct objects *objs, struct fake *f);

/* A callback, and its firing, or its waiting while callbacks are held. */
struct due *due_new(void (*fire)(struct due *due), int err, void *ctx);
void due_run(struct objects *objs, struct due *due);

/* The same for the usual kinds. */
void fake_answer(struct objects *objs, object_cb cb, void *ctx, int err);
void fake_answer_pairs(struct objects *objs, object_pairs_cb cb, void *ctx, int err, uint32_t at);
void fake_answer_info(struct objects *objs, object_info_cb cb, void *ctx, int err,
		      const struct fake *f);

#endif
