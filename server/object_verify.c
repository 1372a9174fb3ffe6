/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_verify.c: what an object maps, read from the device and compared with its checksums.
 *
 *	queued --> its turn --> what is durable is in the map --> scrub_run() --> held --> answered
 *	  |         |           a mark, if some of it is not      a worker         |
 *	  |         `- the engine's rate: a timer             the handle's rate: a timer
 *	  `- behind those of all clients that came before
 *
 * One piece is under way at a time, so that no more than one worker and one buffer are taken by however
 * many clients verify.  The rates are kept by waiting before the next piece, and before the answer of this
 * one: nothing is held meanwhile but the request, so that who asks for little is in nobody's way, and who
 * goes away leaves one piece to be finished.  A piece is no more than its rate lets through in a quarter of
 * a second, but a block.
 *
 * What the map says is as of one moment in each piece; the versions of an object stay as they are.  The
 * object cannot be removed while its handle is open; a reset or a write replaces blocks, and a piece that
 * was looked up before reads what was there, which nobody writes over until it has ended (scrub.h).
 */
#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/thread.h"
#include "server/object_epoch.h"
#include "server/object_table.h"

#define PIECES_A_SECOND 4u
#define CATCH_UP_NS	UINT64_C(20000000) /* so much that came late may be made up for */

struct verify_op {
	TAILQ_ENTRY(verify_op) link; /* of the queue, then of those that are held */
	bool begun;
	uint64_t begun_ns;
	struct handle *handle; /* its object is not removed while it is open */
	struct object_verify what;
	uint64_t end_bytes; /* of the range within the object */
	struct commit_req mark;
	struct worker_job job;
	struct fetch_entry entry; /* from its look-up on it counts as a fetch */
	struct scrub scrub;
	struct event *timer; /* while it is held, until due_ns */
	uint64_t due_ns;
	int err;
	object_verify_cb cb;
	void *ctx;
};

static void verify_next(struct objects *objs);

static struct objects *verify_objs(const struct verify_op *op)
{
	return op->handle->obj->objs;
}

static void verify_answer(struct verify_op *op)
{
	const struct scrub *s = &op->scrub;
	uint64_t done = s->next << BLK_SHIFT;
	struct object_verified verified = {.read_nblks = s->read_nblks,
					   .pending_nblks = s->pending_nblks,
					   .n = s->n,
					   .damages = s->damages};

	if (op->err == 0) {
		if (done > op->end_bytes)
			done = op->end_bytes;
		verified.len_bytes = done - op->what.off_bytes;
		verified.left_bytes = op->end_bytes - done;
	}
	op->cb(op->ctx, op->err, op->err < 0 ? NULL : &verified);
	if (op->timer)
		event_free(op->timer);
	free(op->scrub.damages);
	free(op);
}

/* ---- rates ----------------------------------------------------------------------------------- */

/* When what a piece has read has had its time at a rate.  Who came a little late does not begin anew. */
static void verify_charge(uint64_t *due_ns, uint64_t begun_ns, uint64_t nblks, uint64_t rate)
{
	if (rate == 0)
		return;
	if (*due_ns + CATCH_UP_NS < begun_ns)
		*due_ns = begun_ns - CATCH_UP_NS;
	*due_ns += (uint64_t)((double)(nblks << BLK_SHIFT) * 1e9 / (double)rate);
}

/* false: there is no timer, and nothing to wait for. */
static bool verify_wait(struct objects *objs, struct event **timer, uint64_t due_ns,
			event_callback_fn fn, void *ctx)
{
	uint64_t now = clock_now_ns();
	uint64_t us = due_ns > now ? (due_ns - now) / 1000 : 0;
	struct timeval tv = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};

	if (us == 0 || objs->verify.stopping)
		return false;
	if (!*timer)
		*timer = evtimer_new(loop_base(objs->config.loop), fn, ctx);
	return *timer && evtimer_add(*timer, &tv) == 0;
}

static void verify_on_held(evutil_socket_t fd, short what, void *ctx)
{
	struct verify_op *op = ctx;

	(void)fd;
	(void)what;
	/* a timer counts from the beginning of the turn in which it was set, and may be early */
	if (verify_wait(verify_objs(op), &op->timer, op->due_ns, verify_on_held, op))
		return;
	TAILQ_REMOVE(&verify_objs(op)->verify.held, op, link);
	verify_answer(op);
}

static void verify_on_turn(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	verify_next(ctx);
}

static uint32_t verify_max_blks(uint64_t rate)
{
	uint64_t nblks = (rate / PIECES_A_SECOND) >> BLK_SHIFT;

	if (rate == 0 || nblks > SCRUB_MAX_BLKS)
		return SCRUB_MAX_BLKS;
	return nblks > 0 ? (uint32_t)nblks : 1;
}

/* ---- one piece ------------------------------------------------------------------------------- */

/* It is not under way any more, and answered as soon as its rate allows. */
static void verify_end(struct verify_op *op, int err)
{
	struct objects *objs = verify_objs(op);

	TAILQ_REMOVE(&objs->verify.queue, op, link);
	free(op->scrub.buf);
	op->err = err;
	if (err == 0) {
		verify_charge(&objs->verify.due_ns, op->begun_ns, op->scrub.read_nblks,
			      objs->config.verify_rate);
		verify_charge(&op->handle->verify_due_ns, op->begun_ns, op->scrub.read_nblks,
			      op->what.rate_bytes);
	}
	op->due_ns = err == 0 && op->what.rate_bytes > 0 ? op->handle->verify_due_ns : 0;
	if (verify_wait(objs, &op->timer, op->due_ns, verify_on_held, op))
		TAILQ_INSERT_TAIL(&objs->verify.held, op, link);
	else
		verify_answer(op);
	verify_next(objs);
}

static WORKER_FN void verify_run(struct worker_job *job)
{
	struct verify_op *op = CONTAINER_OF(job, struct verify_op, job);

	ASSERT_WORKER();
	op->err = scrub_run(&op->scrub);
}

static LOOP_FN void verify_done(struct worker_job *job)
{
	struct verify_op *op = CONTAINER_OF(job, struct verify_op, job);

	fetch_leave(&verify_objs(op)->fetcher, &op->entry);
	verify_end(op, op->err);
}

static void verify_scrub(struct verify_op *op)
{
	struct objects *objs = verify_objs(op);
	struct scrub *s = &op->scrub;

	s->map = objs->config.map;
	s->dev = objs->config.dev;
	s->cached = cache_clean_blks(objs->cache);
	s->oid = op->handle->obj->id;
	s->older = op->what.older == s->oid ? 0 : op->what.older;
	s->blk = blk_of(op->what.off_bytes).n;
	s->end = blk_count(op->end_bytes);
	op->job.run = verify_run;
	op->job.done = verify_done;
	fetch_enter(&objs->fetcher, &op->entry);
	worker_submit(objs->pool, &op->job);
}

static LOOP_FN void verify_marked(struct commit_req *mark)
{
	struct verify_op *op = CONTAINER_OF(mark, struct verify_op, mark);
	int err = mark->err;

	if (verify_objs(op)->wb.stopping) /* no worker is left, perhaps */
		err = -ERR_SHUTDOWN;
	if (err < 0)
		verify_end(op, err);
	else
		verify_scrub(op);
}

static int verify_make_room(struct verify_op *op)
{
	struct scrub *s = &op->scrub;
	uint32_t mine = verify_max_blks(op->what.rate_bytes);
	uint32_t all = verify_max_blks(verify_objs(op)->config.verify_rate);

	s->max_blks = mine < all ? mine : all;
	s->max = op->what.max;
	s->damages = calloc(s->max, sizeof(s->damages[0]));
	if (!s->damages ||
	    posix_memalign((void **)&s->buf, BLK_BYTES, (size_t)s->max_blks * BLK_BYTES))
		return -ERR_NOMEM;
	return 0;
}

/* What is durable is applied in order: behind a mark it is in the map. */
static void verify_begin(struct verify_op *op)
{
	struct objects *objs = verify_objs(op);
	int err = objs->verify.stopping ? -ERR_SHUTDOWN : verify_make_room(op);

	op->begun = true;
	op->begun_ns = clock_now_ns();
	if (err < 0) {
		verify_end(op, err);
		return;
	}
	op->mark = (struct commit_req){.kind = COMMIT_MARK, .done = verify_marked};
	if (TAILQ_EMPTY(&op->handle->obj->closed))
		verify_marked(&op->mark);
	else
		commit_submit(objs->commit, &op->mark);
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* Begins the next one when none is under way.  One may end while it is begun. */
static void verify_next(struct objects *objs)
{
	struct verifying *v = &objs->verify;
	struct verify_op *op;

	if (v->turn)
		return;
	v->turn = true;
	while ((op = TAILQ_FIRST(&v->queue)) && !op->begun) {
		if (verify_wait(objs, &v->timer, v->due_ns, verify_on_turn, objs))
			break;
		verify_begin(op);
	}
	v->turn = false;
}

void object_verify(struct handle *handle, const struct object_verify *what, object_verify_cb cb,
		   void *ctx)
{
	static const struct object_verified nothing = {0};
	uint64_t size = handle->obj->size_bytes;
	struct objects *objs = handle->obj->objs;
	struct verify_op *op;

	ASSERT_LOOP();
	assert(what->max > 0);
	if (what->off_bytes >= size || what->len_bytes == 0) {
		cb(ctx, 0, &nothing);
		return;
	}
	op = calloc(1, sizeof(*op));
	if (!op) {
		cb(ctx, -ERR_NOMEM, NULL);
		return;
	}
	op->handle = handle;
	op->what = *what;
	op->end_bytes = size;
	if (what->len_bytes < size - what->off_bytes)
		op->end_bytes = what->off_bytes + what->len_bytes;
	op->cb = cb;
	op->ctx = ctx;
	TAILQ_INSERT_TAIL(&objs->verify.queue, op, link);
	verify_next(objs);
}

void object_verify_drop(struct handle *handle)
{
	struct verifying *v = &handle->obj->objs->verify;
	struct verify_op *op;
	struct verify_op *next;

	ASSERT_LOOP();
	TAILQ_FOREACH_SAFE (op, &v->queue, link, next) {
		if (op->handle == handle && op->begun)
			op->what.rate_bytes = 0;
		if (op->handle != handle || op->begun)
			continue;
		TAILQ_REMOVE(&v->queue, op, link);
		op->err = -ERR_CONN;
		verify_answer(op); /* the last of them may close the handle */
	}
	TAILQ_FOREACH_SAFE (op, &v->held, link, next) {
		if (op->handle != handle)
			continue;
		TAILQ_REMOVE(&v->held, op, link);
		verify_answer(op);
	}
}

void object_verify_stop(struct objects *objs)
{
	struct verifying *v = &objs->verify;
	struct verify_op *op;

	ASSERT_LOOP();
	v->stopping = true;
	while ((op = TAILQ_FIRST(&v->held))) {
		TAILQ_REMOVE(&v->held, op, link);
		verify_answer(op);
	}
	verify_next(objs);
	if (v->timer)
		event_free(v->timer);
	v->timer = NULL;
}
