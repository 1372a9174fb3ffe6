/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_object.h: an engine in memory in place of server/object*.c, for tests of what lies above it:
 * objects are plain buffers, and an operation is done when it is called.  The test decides when its
 * callback runs, and what it says.  One thread, the loop's.
 */
#ifndef TESTS_LIB_FAKE_OBJECT_H
#define TESTS_LIB_FAKE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/object.h"

/* While held, callbacks of operations wait; giving up the hold runs them in order. */
void fake_hold(struct objects *objs, bool hold);

bool fake_is_held(const struct objects *objs);

/* Runs those callbacks that wait; what they ask for waits. */
void fake_step(struct objects *objs);

/* Callbacks that wait. */
size_t fake_held(const struct objects *objs);

/* The next callback says this instead, and its operation has no effect. */
void fake_fail_next(struct objects *objs, int err);

/* What object_close() returns from now on. */
void fake_set_close_err(struct objects *objs, int err);

/* Begins or ends a crowd; the end is told. */
void fake_set_crowded(struct objects *objs, bool crowded);

/* From now on a block of zeros is read as the engine reads a hole. */
void fake_set_holes(struct objects *objs);

/* Reads and writes that were direct, by handle or by call. */
size_t fake_direct(const struct objects *objs);

size_t fake_open_handles(const struct objects *objs);

/* What is made from now on can become no larger. */
void fake_set_size_max(struct objects *objs, uint64_t bytes);

/* The content of an object or a version, and how large it is; NULL: there is none. */
const uint8_t *fake_content(const struct objects *objs, const char *spec, uint64_t *size_bytes);

/* How often it was opened by somebody who may write to it. */
uint64_t fake_writers(const struct objects *objs, const char *spec);

/* How many there are whose names begin with this. */
size_t fake_count(const struct objects *objs, const char *prefix);

#endif
