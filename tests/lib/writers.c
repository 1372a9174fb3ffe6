/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/writers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"
#include "tests/lib/must.h"

#define WRITE_MAX (512u << 10)

static uint64_t next_number(struct writers *w)
{
	return atomic_fetch_add(&w->numbers, 1) + 1;
}

/* What an operation has ended with: true if it is to be sent once more. */
static bool is_to_repeat(struct writer *w, ssize_t result)
{
	const struct writers_hooks *hooks = &w->all->hooks;

	if (result >= 0) {
		w->failures = 0;
		hooks->answered(hooks->ctx);
		return false;
	}
	return hooks->failed(hooks->ctx, w, (int)-result, ++w->failures);
}

/* ---- one operation --------------------------------------------------------------------------- */

/*
 * Each of these is false when the writer has met its end.  What is repeated changes nothing if it was
 * carried out before.
 */

static bool run_create(struct writer *w, struct writer_file *f)
{
	uint32_t size = (uint32_t)rnd_below(&w->rnd, ORACLE_BYTES);
	int err;

	(void)snprintf(f->name, sizeof(f->name), "f%" PRIu64, next_number(w->all));
	oracle_init(&f->oracle, size);
	f->live = true;
	f->pending = WRITER_PENDING_MADE;
	do
		err = cow_create(w->cow, f->name, size);
	while (is_to_repeat(w, err));
	if (err < 0)
		return false;
	f->pending = WRITER_PENDING_NONE;
	return true;
}

static bool run_clone(struct writer *w, struct writer_file *f, struct writer_file *src)
{
	int err;

	(void)snprintf(f->name, sizeof(f->name), "c%" PRIu64, next_number(w->all));
	oracle_init(&f->oracle, 0);
	oracle_clone(&f->oracle, &src->oracle);
	f->live = true;
	f->pending = WRITER_PENDING_MADE;
	do
		err = cow_clone(w->cow, src->name, f->name);
	while (is_to_repeat(w, err));
	if (err < 0)
		return false;
	f->pending = WRITER_PENDING_NONE;
	return true;
}

static bool need_handle(struct writer *w, struct writer_file *f)
{
	unsigned int flags = w->all->direct && rnd_one_in(&w->rnd, 2) ? COW_OPEN_DIRECT : 0;
	int err;

	if (f->handle)
		return true;
	do
		err = cow_open(w->cow, f->name, flags, &f->handle);
	while (is_to_repeat(w, err));
	return err == 0;
}

static bool run_close(struct writer *w, struct writer_file *f)
{
	int err = f->handle ? cow_close(f->handle) : 0;

	f->handle = NULL;
	return !is_to_repeat(w, err) ? err == 0 : true; /* it is closed in any case */
}

static bool run_remove(struct writer *w, struct writer_file *f)
{
	int err;

	if (f->handle && !run_close(w, f))
		return false;
	f->pending = WRITER_PENDING_REMOVED;
	do
		err = cow_remove(w->cow, f->name);
	while (is_to_repeat(w, err));
	if (err < 0)
		return false;
	f->pending = WRITER_PENDING_NONE;
	f->live = false;
	oracle_fini(&f->oracle);
	return true;
}

static bool run_write(struct writer *w, struct writer_file *f)
{
	uint32_t len = (uint32_t)rnd_log(&w->rnd, WRITE_MAX);
	uint32_t off = (uint32_t)rnd_below(&w->rnd, ORACLE_BYTES - len);
	const uint8_t *data;
	ssize_t n;

	if (!need_handle(w, f))
		return false;
	data = oracle_write(&f->oracle, off, len, next_number(w->all));
	do
		n = cow_pwrite(f->handle, data, len, off);
	while (is_to_repeat(w, n));
	if (n < 0)
		return false;
	oracle_acked(&f->oracle);
	return true;
}

static bool run_resize(struct writer *w, struct writer_file *f)
{
	uint32_t size = (uint32_t)rnd_below(&w->rnd, ORACLE_BYTES);
	int err;

	if (!need_handle(w, f))
		return false;
	oracle_resize(&f->oracle, size);
	do
		err = cow_resize(f->handle, size, COW_RESIZE_SHRINK);
	while (is_to_repeat(w, err));
	if (err < 0)
		return false;
	oracle_acked(&f->oracle);
	return true;
}

/* Both ways: a trim of whole blocks is a zeroing of them. */
static bool run_zero(struct writer *w, struct writer_file *f)
{
	uint32_t len = 1 + (uint32_t)rnd_log(&w->rnd, ORACLE_BYTES - 1);
	uint32_t off = (uint32_t)rnd_below(&w->rnd, ORACLE_BYTES - len + 1);
	bool trim = rnd_one_in(&w->rnd, 2);
	int err;

	if (!need_handle(w, f))
		return false;
	if (trim) {
		off &= ~4095u;
		len &= ~4095u;
	}
	oracle_zero(&f->oracle, off, len);
	do
		err = (trim ? cow_trim : cow_zero)(f->handle, off, len);
	while (is_to_repeat(w, err));
	if (err < 0)
		return false;
	oracle_acked(&f->oracle);
	return true;
}

/* Changes nothing, wherever it is cut off. */
static bool run_unshare(struct writer *w, struct writer_file *f)
{
	int err;

	if (!need_handle(w, f))
		return false;
	do
		err = cow_unshare(f->handle, 0, ORACLE_BYTES, NULL);
	while (is_to_repeat(w, err));
	return err == 0;
}

/* One that is repeated has to cover all that the one that failed had to. */
static bool run_fsync(struct writer *w, struct writer_file *f)
{
	int err;

	if (!need_handle(w, f))
		return false;
	do
		err = cow_fsync(f->handle);
	while (is_to_repeat(w, err));
	if (err < 0)
		return false;
	oracle_synced(&f->oracle);
	return true;
}

static bool run_one(struct writer *w)
{
	struct writer_file *f = &w->files[rnd_below(&w->rnd, WRITER_FILES)];
	struct writer_file *src = &w->files[rnd_below(&w->rnd, WRITER_FILES)];
	uint64_t pick = rnd_below(&w->rnd, 100);

	if (!f->live)
		return src->live ? run_clone(w, f, src) : run_create(w, f);
	if (pick < 6)
		return run_remove(w, f);
	if (pick < 16)
		return run_fsync(w, f);
	if (pick < 24)
		return run_resize(w, f);
	if (pick < 32)
		return run_zero(w, f);
	if (pick < 36)
		return run_unshare(w, f);
	return run_write(w, f);
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	while (run_one(w))
		;
	return NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

void writers_connect(struct writers *w)
{
	for (size_t i = 0; i < WRITERS; i++)
		w->writer[i].cow = daemon_connect(w->d, w->writer[i].kind);
}

void writers_init(struct writers *w, struct daemon *d, bool direct,
		  const struct writers_hooks *hooks)
{
	memset(w, 0, sizeof(*w));
	w->d = d;
	w->direct = direct;
	w->hooks = *hooks;
	for (size_t i = 0; i < WRITERS; i++) {
		w->writer[i] = (struct writer){.all = w, .kind = i % 2 ? DAEMON_TCP : DAEMON_UNIX};
		w->writer[i].rnd = rnd_stream(100 + i);
	}
}

void writers_start(struct writers *w)
{
	for (size_t i = 0; i < WRITERS; i++)
		MUST(pthread_create(&w->writer[i].thread, NULL, writer_main, &w->writer[i]) == 0,
		     "thread");
}

void writers_join(struct writers *w)
{
	for (size_t i = 0; i < WRITERS; i++)
		MUST(pthread_join(w->writer[i].thread, NULL) == 0, "join");
}

static void close_handle(struct writer_file *f)
{
	if (f->handle)
		(void)cow_close(f->handle);
	f->handle = NULL;
}

void writers_disconnect(struct writers *w)
{
	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < WRITER_FILES; j++)
			close_handle(&w->writer[i].files[j]);
		cow_free(w->writer[i].cow);
		w->writer[i].cow = NULL;
		w->writer[i].failures = 0;
	}
}

void writers_synced(struct writers *w)
{
	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < WRITER_FILES; j++)
			oracle_synced(&w->writer[i].files[j].oracle);
	}
}

void writers_fini(struct writers *w)
{
	writers_disconnect(w);
	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < WRITER_FILES; j++) {
			if (w->writer[i].files[j].live)
				oracle_fini(&w->writer[i].files[j].oracle);
		}
	}
}

/* ---- after the crash ------------------------------------------------------------------------- */

/* What is beyond its size is zero. */
static int read_handle(cow_object_t *handle, const char *name, struct oracle_state *s)
{
	ssize_t n;

	MUST(cow_object_size(handle) <= ORACLE_BYTES, "the size of %s", name);
	s->size = (uint32_t)cow_object_size(handle);
	s->bytes = calloc(1, ORACLE_BYTES);
	MUST(s->bytes, "memory");
	n = cow_pread(handle, s->bytes, ORACLE_BYTES, 0);
	MUST(n < 0 || n == (ssize_t)s->size, "%s: %zd of %u bytes", name, n, s->size);
	if (n >= 0)
		return 0;
	free(s->bytes);
	return (int)n;
}

int writers_read(cow_t *cow, const char *name, struct oracle_state *s)
{
	cow_object_t *handle;
	int err = cow_open(cow, name, COW_OPEN_READONLY, &handle);
	int closed;

	if (err < 0)
		return err;
	err = read_handle(handle, name, s);
	closed = cow_close(handle);
	MUST(err < 0 || closed == 0, "%s: %s", name, cow_error(cow));
	return err;
}

static bool is_there(cow_t *cow, const char *name)
{
	struct cow_info info;
	int err = cow_get_info(cow, name, &info);

	MUST(err == 0 || err == -COW_ENOENT, "%s: %s", name, cow_error(cow));
	if (err == 0)
		cow_info_clear(&info);
	return err == 0;
}

static void verify_file(struct writer *w, struct writer_file *f)
{
	bool there = is_there(w->cow, f->name);
	struct oracle_state s;
	size_t n;

	MUST(there || f->pending != WRITER_PENDING_NONE, "%s is not there, seed %" PRIu64, f->name,
	     rnd_seed());
	f->pending = WRITER_PENDING_NONE;
	f->live = there;
	if (!there) {
		oracle_fini(&f->oracle);
		return;
	}
	MUST(writers_read(w->cow, f->name, &s) == 0, "%s: %s", f->name, cow_error(w->cow));
	MUST(oracle_match(&f->oracle, &s, &n),
	     "%s is no prefix: %zu sent, %zu answered, %zu fsynced; size %u; seed %" PRIu64,
	     f->name, f->oracle.nops, f->oracle.nacked, f->oracle.nsynced, s.size, rnd_seed());
	oracle_settle(&f->oracle, n);
	free(s.bytes);
}

static size_t count_live(const struct writers *w)
{
	size_t live = 0;

	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < WRITER_FILES; j++)
			live += w->writer[i].files[j].live;
	}
	return live;
}

void writers_verify(struct writers *w, size_t others)
{
	cow_t *cow;
	struct cow_info *infos;
	size_t count;

	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < WRITER_FILES; j++) {
			if (w->writer[i].files[j].live)
				verify_file(&w->writer[i], &w->writer[i].files[j]);
		}
	}
	cow = w->writer[0].cow;
	MUST(cow_list(cow, "", &infos, &count) == 0, "%s", cow_error(cow));
	cow_list_free(infos, count);
	MUST(count == count_live(w) + others, "%zu objects, not %zu: one that was removed is there",
	     count, count_live(w) + others);
}

static bool look_at(struct writer *w, struct writer_file *f)
{
	struct oracle_state s;
	size_t n;
	int err = writers_read(w->cow, f->name, &s);

	if (err < 0) {
		(void)w->all->hooks.failed(w->all->hooks.ctx, w, -err, 1);
		return false;
	}
	MUST(oracle_match(&f->oracle, &s, &n), "%s is another than before, seed %" PRIu64, f->name,
	     rnd_seed());
	free(s.bytes);
	return true;
}

unsigned int writers_look(struct writers *w)
{
	unsigned int good = 0;

	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < WRITER_FILES; j++) {
			struct writer_file *f = &w->writer[i].files[j];

			good += f->live && look_at(&w->writer[i], f);
		}
	}
	return good;
}
