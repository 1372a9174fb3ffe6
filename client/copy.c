/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/copy.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl.h"
#include "common/clock.h"

struct copy {
	struct copy_source *src;
	struct copy_sink *sink;
	size_t buf_len;

	pthread_mutex_t source_lock; /* around next() and ticket */
	uint64_t ticket;	     /* of the next piece */
	bool ended;

	pthread_mutex_t lock; /* of all below; never taken before source_lock is released */
	uint64_t turn;	      /* the ticket whose piece an ordered sink takes next */
	/*
	 * The turn of this ticket has come: no two that wait have the same remainder, since each thread has one ticket
	 * and they have their turns in order.  Where several threads wait on one, glibc before 2.41 may lose a
	 * signal (its bug 25847).
	 */
	pthread_cond_t turned[COPY_THREADS];
	bool failed;
	struct copy_error *error;
	struct copy_result *result;
	struct progress *progress;
};

int copy_fail(struct copy_error *error, int status, const char *subject, const char *fmt, ...)
{
	va_list ap;

	error->status = status;
	error->subject = subject;
	va_start(ap, fmt);
	(void)vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
	return -1;
}

/* ---- zeros ----------------------------------------------------------------------------------- */

bool copy_is_zero(const uint8_t *buf, size_t len)
{
	/* equal to itself shifted by one byte, and that byte is zero */
	return len == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
}

size_t copy_next_data(const struct copy_piece *piece, size_t *from)
{
	size_t begin = *from;
	size_t pos = *from;
	bool in_data = false;

	while (pos < piece->len) {
		size_t unit = COPY_RUN_BYTES - (piece->offset + pos) % COPY_RUN_BYTES;
		size_t n = unit < piece->len - pos ? unit : (size_t)(piece->len - pos);

		if (copy_is_zero(piece->buf + pos, n)) {
			if (in_data)
				break;
		} else if (!in_data) {
			in_data = true;
			begin = pos;
		}
		pos += n;
	}
	*from = begin;
	return in_data ? pos - begin : 0;
}

/* ---- a thread -------------------------------------------------------------------------------- */

/* Remembers the first error; wakes who waits for a turn that will not come. */
static void copy_stop(struct copy *cp, const struct copy_error *error)
{
	(void)pthread_mutex_lock(&cp->lock);
	if (!cp->failed) {
		cp->failed = true;
		*cp->error = *error;
	}
	for (unsigned int i = 0; i < COPY_THREADS; i++)
		(void)pthread_cond_signal(&cp->turned[i]);
	(void)pthread_mutex_unlock(&cp->lock);
}

static bool copy_has_failed(struct copy *cp)
{
	bool failed;

	(void)pthread_mutex_lock(&cp->lock);
	failed = cp->failed;
	(void)pthread_mutex_unlock(&cp->lock);
	return failed;
}

/* 1: a piece; 0: the end; -1: an error. */
static int copy_take(struct copy *cp, struct copy_piece *piece, uint64_t *ticket,
		     struct copy_error *error)
{
	int err = 0;

	(void)pthread_mutex_lock(&cp->source_lock);
	piece->len = 0;
	/* behind the end nothing fails any more: a turn that comes behind it never comes */
	if (!cp->ended && ctl_interrupted() != 0)
		err = copy_fail(error, CTL_ERROR, NULL, "interrupted");
	else if (!cp->ended)
		err = cp->src->next(cp->src, piece, error);
	cp->ended = cp->ended || err < 0 || piece->len == 0;
	*ticket = cp->ticket++;
	(void)pthread_mutex_unlock(&cp->source_lock);
	return err < 0 ? -1 : piece->len > 0;
}

/* Waits for the ticket's turn; false when the copy has failed. */
static bool copy_await_turn(struct copy *cp, uint64_t ticket)
{
	bool ok;

	(void)pthread_mutex_lock(&cp->lock);
	while (!cp->failed && cp->turn != ticket)
		(void)pthread_cond_wait(&cp->turned[ticket % COPY_THREADS], &cp->lock);
	ok = !cp->failed;
	(void)pthread_mutex_unlock(&cp->lock);
	return ok;
}

static void copy_account(struct copy *cp, const struct copy_piece *piece)
{
	(void)pthread_mutex_lock(&cp->lock);
	cp->turn++;
	(void)pthread_cond_signal(&cp->turned[cp->turn % COPY_THREADS]);
	cp->result->total_bytes += piece->len;
	if (!piece->hole)
		cp->result->data_bytes += piece->len;
	progress_update(cp->progress, cp->result->total_bytes, clock_now_ns());
	(void)pthread_mutex_unlock(&cp->lock);
}

/*
 * One piece, from source to sink.  As copy_take().  Where there is an order an error of the source has its turn, too: what
 * came before it is put.
 */
static int copy_one(struct copy *cp, struct copy_piece *piece, struct copy_error *error)
{
	uint64_t ticket;
	int got = copy_take(cp, piece, &ticket, error);

	if (got == 0)
		return 0;
	if (got > 0 && !piece->hole && cp->src->fetch && cp->src->fetch(cp->src, piece, error) < 0)
		got = -1;
	if (cp->sink->ordered && !copy_await_turn(cp, ticket))
		return 0;
	if (got < 0)
		return -1;
	if (cp->sink->put(cp->sink, piece, error) < 0)
		return -1;
	copy_account(cp, piece);
	return 1;
}

static void *copy_main(void *arg)
{
	struct copy *cp = arg;
	struct copy_piece piece = {.buf = malloc(cp->buf_len), .buf_len = cp->buf_len};
	struct copy_error error = {.status = CTL_ERROR, .text = "out of memory"};
	int got = piece.buf ? 1 : -1;

	while (got > 0 && !copy_has_failed(cp)) {
		piece.hole = false;
		got = copy_one(cp, &piece, &error);
	}
	if (got < 0)
		copy_stop(cp, &error);
	free(piece.buf);
	return NULL;
}

int copy_run(struct copy_source *src, struct copy_sink *sink, unsigned int nthreads, size_t buf_len,
	     struct progress *progress, struct copy_result *result, struct copy_error *error)
{
	struct copy cp = {
	    .src = src,
	    .sink = sink,
	    .buf_len = buf_len,
	    .source_lock = PTHREAD_MUTEX_INITIALIZER,
	    .lock = PTHREAD_MUTEX_INITIALIZER,
	    .error = error,
	    .result = result,
	    .progress = progress,
	};
	pthread_t threads[COPY_THREADS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < COPY_THREADS; i++)
		cp.turned[i] = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	*result = (struct copy_result){0};
	/* this thread is one of them, so a copy goes on where no other can be made */
	while (n + 1 < nthreads && n < COPY_THREADS - 1 &&
	       pthread_create(&threads[n], NULL, copy_main, &cp) == 0)
		n++;
	(void)copy_main(&cp);
	while (n > 0)
		(void)pthread_join(threads[--n], NULL);
	return cp.failed ? -1 : 0;
}
