/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_world.h: what test_model knows of its objects: what each holds, who has it open.
 */
#ifndef TESTS_INTEGRATION_MODEL_WORLD_H
#define TESTS_INTEGRATION_MODEL_WORLD_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "client/cow.h"
#include "tests/lib/daemon.h"
#include "tests/lib/model.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

#define OBJECTS	    12
#define VERSIONS    2 /* of an object, at most */
#define CONNECTIONS 2
#define WRITE_MAX   (3u << 20)
#define DENSE_MAX   (8u << 20) /* the largest dense object */
#define WINDOW_MAX  (2u << 20) /* a sparse object has data in windows of about this */
#define OPS_DEFAULT 13000u
#define OPS_PART    2u /* of them for a path that shares all but the data's way with others */
#define RESTARTS    4u
#define TRIM_BYTES  4096u
#define TTL_MS	    UINT64_C(86400000)

/* Where the windows of a sparse object begin. */
static const uint64_t windows[] = {0, (UINT64_C(1) << 30) + 12345, (UINT64_C(1) << 40) - 1000001};

struct version {
	bool live;
	bool mortal; /* expires, but not before the test ends */
	char name[16];
	struct model model;
};

struct file {
	bool live;
	bool sparse;
	char name[32];
	char label[16]; /* "times"; "": none */
	uint64_t reserved;
	struct model model;
	struct version versions[VERSIONS];
	cow_object_t *handles[CONNECTIONS];
};

struct world {
	struct daemon d;
	cow_t *cow[CONNECTIONS];
	int kinds[CONNECTIONS];
	unsigned int flags[CONNECTIONS]; /* their objects are opened with */
	bool mixed;			 /* each request may be direct */
	bool remaps;			 /* the device is mapped at each second start */
	struct rnd rnd;
	struct file files[OBJECTS];
	unsigned int names; /* given out */
	uint8_t *data;	    /* random bytes to write */
	uint8_t *want;
	uint8_t *got;
	uint64_t op;
};

#define OK(call) ok_at(w, (call), #call, __LINE__)

static inline void ok_at(struct world *w, ssize_t result, const char *call, int line)
{
	if (result >= 0)
		return;
	must_failed(__FILE__, line, call, "%s; %s; %s (operation %" PRIu64 ", seed %" PRIu64 ")",
		    cow_strerror((int)result), cow_error(w->cow[0]), cow_error(w->cow[1]), w->op,
		    rnd_seed());
}

/* The name of an object, or of a version of it. */
struct spec {
	char text[64];
};

static inline struct spec spec_of(const struct file *f, const struct version *v)
{
	struct spec spec;

	(void)snprintf(spec.text, sizeof(spec.text), "%s%s%s", f->name, v ? "@" : "",
		       v ? v->name : "");
	return spec;
}

static inline cow_t *any_cow(struct world *w)
{
	return w->cow[rnd_below(&w->rnd, CONNECTIONS)];
}

void world_connect(struct world *w);
void world_disconnect(struct world *w);
void world_close_handles(struct world *w, struct file *f);

/* The object is gone. */
void world_forget(struct file *f);

/* model_group.c: operations on several objects, and on attributes. */
void world_group(struct world *w, struct file *f);
void world_set(struct world *w, struct file *f);

/* What is told of the object. */
void world_compare_info(struct world *w, struct file *f);

/* Stops the daemon, checks the store, starts it, and compares all that there is. */
void world_restart(struct world *w);

/* Removes all objects, and waits until so many bytes are free. */
void world_remove_all(struct world *w, uint64_t free_bytes);

#endif
