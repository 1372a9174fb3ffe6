/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * writers.h: clients that change objects of a daemon, each its own and one operation at a time, until
 * the daemon fails them; and what must be there when it has been started again.  Owns the threads, the
 * connections and the oracle of each object.
 *
 *	writers_connect			the daemon runs
 *	writers_start, _join		from a moment on until each has met its end
 *	writers_disconnect		before the daemon is ended or after
 *	writers_connect, _verify	it has been started again; may go on with writers_start
 *
 * One thread calls these; the hooks are called by the writers' own.
 */
#ifndef TESTS_LIB_WRITERS_H
#define TESTS_LIB_WRITERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/cow.h"
#include "tests/lib/daemon.h"
#include "tests/lib/oracle.h"
#include "tests/lib/rnd.h"

#define WRITERS	     4
#define WRITER_FILES 4

/* One of "pending" is what was sent and not answered. */
enum writer_pending { WRITER_PENDING_NONE, WRITER_PENDING_MADE, WRITER_PENDING_REMOVED };

struct writer_file {
	bool live;
	enum writer_pending pending;
	char name[32];
	struct oracle oracle;
	cow_object_t *handle;
};

struct writer {
	struct writers *all;
	pthread_t thread;
	struct rnd rnd;
	int kind;
	cow_t *cow;
	unsigned int failures; /* of the operation under way */
	struct writer_file files[WRITER_FILES];
};

struct writers_hooks {
	/* Behind each answer that is no error. */
	void (*answered)(void *ctx);
	/* An operation ended with this code of libcow, the nth time in a row: whether it is repeated.
	 * If not, this was the end of the writer. */
	bool (*failed)(void *ctx, const struct writer *w, int err, unsigned int n);
	void *ctx;
};

struct writers {
	struct daemon *d;
	struct writers_hooks hooks;
	bool direct;		      /* every other handle is */
	atomic_uint_fast64_t numbers; /* of contents and names */
	struct writer writer[WRITERS];
};

void writers_init(struct writers *w, struct daemon *d, bool direct,
		  const struct writers_hooks *hooks);
void writers_connect(struct writers *w);
void writers_start(struct writers *w);
void writers_join(struct writers *w);
void writers_disconnect(struct writers *w);

/* All that was acknowledged has become durable: the daemon ended well. */
void writers_synced(struct writers *w);

/* What is there becomes what was.  There are so many other objects. */
void writers_verify(struct writers *w, size_t others);

/*
 * Reads all objects once more, while nobody writes and after a verification.  What is read must be what
 * was verified; what cannot be read goes to the hook.  The number of objects that were read.
 */
unsigned int writers_look(struct writers *w);

void writers_fini(struct writers *w);

/* Reads an object whole, into a state whose bytes the caller frees; or libcow's code. */
int writers_read(cow_t *cow, const char *name, struct oracle_state *s);

#endif
