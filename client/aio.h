/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * aio.h: the asynchronous calls of libcow: what all of them have in common.  Any thread.
 *
 * A struct aio is one such call as the application sees it: one call of handle.h or several (the
 * parts of a long transfer, which are under way together; the pages of a list, one after the other).
 *
 *	aio_new()      made, nobody knows of it
 *	aio_submit()   in the table: every part is PARKED or GIVEN (handle.h)
 *	    |             the last part is DONE; or cow_aio_cancel() has given up all of them
 *	aio_ended()    in "done": its result is decided, but for the pages of a list
 *	cow_process()  out of the table; more(), finish() or drop(); the callback, once; freed
 *
 * Only cow_process() and cow_free() call callbacks, without the lock, in the thread that calls
 * them.  The application's buffers are used until then, and not by what is left of a call that was
 * given up (chan_abandon()).
 *
 * From aio_submit() to the callback a reference is held on every object whose handle is in the request.
 *
 * A twin of a synchronous call is: a struct aio_kind, if the reply has more than a status; aio_new();
 * the body, encoded into aio_body(); aio_submit().
 */
#ifndef CLIENT_AIO_H
#define CLIENT_AIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/handle.h"
#include "common/annot.h"

struct aio;

/* All functions may be NULL.  They run without the lock, in cow_process(). */
struct aio_kind {
	enum wire_op op;
	call_decode_fn decode; /* its ctx is aio->state */
	size_t state_bytes;    /* zeros at first; freed with the aio */
	/* After each page: 1: the next has been encoded, of aio->body_len bytes; 0: that was the last; or
	 * a negative error. */
	int (*more)(struct aio *aio);
	/* It succeeded: fills in the application's outputs.  The result, or a negative error. */
	int64_t (*finish)(struct aio *aio);
	/* It did not: frees what was made for it. */
	void (*drop)(struct aio *aio);
	/* more() and finish() may set aio->text, which is told with a negative result of theirs. */
};

struct aio {
	const struct aio_kind *kind;
	struct cow *cow;
	struct cow_object *obj; /* NULL; else the one that it is about */
	struct cow_aio how;
	uint64_t id;
	void *out; /* the kind's: where the application wants the outputs */
	void *out2;
	void *state;	  /* the kind's */
	int body_len;	  /* of the next page */
	const char *text; /* static storage; "": that of the error */
	uint64_t deadline_ns;
	bool canceled;
	bool decided; /* no page will follow: too late to be canceled */
	size_t left;  /* parts that are not DONE */
	size_t nparts;
	LIST_ENTRY(aio) bucket_link;
	TAILQ_ENTRY(aio) done_link;
	struct call parts[];
};

/* For cow_new() and cow_free(). */
void aio_init(struct cow *cow);
void aio_end(struct cow *cow);

/*
 * Makes one, of one part, whose body then begins with the number of obj's handle, if that is not
 * NULL.  0, or -COW_EINVAL or -COW_ENOMEM with the message set; *aio is to go to aio_submit().
 */
int aio_new(cow_t *cow, cow_object_t *obj, const struct aio_kind *kind, const struct cow_aio *how,
	    struct aio **aio) MUST_CHECK;

/* The same, of several parts, which are to be filled in. */
int aio_new_parts(cow_object_t *obj, const struct aio_kind *kind, const struct cow_aio *how,
		  size_t nparts, struct aio **aio) MUST_CHECK;

/* Where the body of a call of one part is to be encoded: CHAN_BODY_MAX bytes. */
uint8_t *aio_body(struct aio *aio);

/* Begins.  A negative body_len is an error of encoding: the aio is freed.  0, or -COW_EINVAL with
 * the message set; *id, if id is not NULL, is set before a callback can come. */
int aio_submit(struct aio *aio, int body_len, uint64_t *id) MUST_CHECK;

/* The same, of one whose parts have their body_len. */
int aio_submit_parts(struct aio *aio, uint64_t *id) MUST_CHECK;

/* Instead of submitting it: frees it. */
void aio_discard(struct aio *aio);

#endif
