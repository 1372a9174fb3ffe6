/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handle.h: the inside of libcow's handles.  Only libcow's own files include it.
 *
 * A struct cow owns its channel, its objects' places in the list and everything under way, and its
 * mutex guards all of it but what is said never to change.  Functions on these structs want the
 * mutex held, unless they say otherwise; no callback of the application is called under it.
 *
 * The life of a call, that of another thread which waits as well as one of cow_aio_*:
 *
 *	            flight_start()
 *	                 |
 *	    ,------------+------------.
 *	    v                         v
 *	PARKED  -- flight_unpark() -> GIVEN   the channel has it: queued, started, sent, being received
 *	no connection, or its         |  |    (chan.h)
 *	object is not open on it      |  |
 *	    |     ^                   |  |
 *	    |     '-- flight_done() --'  |   the connection was lost, and it may go out again
 *	    |                            |
 *	    '------------+---------------'
 *	                 v
 *	               DONE    flight_end(): the one place where a result is set
 *
 * From PARKED and GIVEN alike a deadline (flight_expire()) and cow_aio_cancel() lead to DONE at once,
 * by flight_give_up(): what the channel has of it is left to an orphan.  Then a thread that waits
 * goes on, or "ended" is called.  A call is in "calls" from its start to DONE; the time that it may
 * take counts from the start, through every connection.
 *
 * What goes out again after a connection was lost: every request of which the server cannot have had
 * the last byte; and of those that were sent whole the ones that may be carried out twice
 * (flight_traits(): reads; fsync; writes, zeroing and resizing, which set what they set).  The others
 * end with CONN, and may have been carried out.
 *
 * The life of the connection is in link.h.  An object is open on one connection only; after another
 * was made it is opened on that by its name, and must have the same id:
 *
 *	OPEN --- the connection ends ---> LOST --- link_ready() ---> OPENING --> OPEN
 *	                                   ^                            |
 *	                                   '---- the connection ends ---+--> GONE   not found, another
 *	                                                                            object, refused
 */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/chan.h"
#include "client/cow.h"
#include "client/dial.h"
#include "common/look.h"
#include "proto/msg.h"

#define HANDLE_NEVER UINT64_MAX /* a time that does not come */

struct call;
struct aio;
TAILQ_HEAD(call_list, call);
TAILQ_HEAD(object_list, cow_object);
TAILQ_HEAD(aio_list, aio);
LIST_HEAD(aio_bucket, aio);

/* Takes the body of a success apart into ctx; runs once, under the lock, in any thread. */
typedef int (*call_decode_fn)(void *ctx, const uint8_t *body, size_t len);

/* Objects whose handles are in a request, without memory for more. */
#define CALL_OBJECTS 2u

/* One of them. */
struct call_object {
	struct cow_object *obj;
	uint32_t handle_at; /* where in the body the number goes */
	uint64_t sync_seq;  /* of an fsync: what it covers */
};

enum call_state { CALL_NEW, CALL_PARKED, CALL_GIVEN, CALL_DONE };

struct call {
	struct chan_request req;
	struct cow *cow;

	/* Who makes it says these; the others are 0. */
	bool handshake;		 /* belongs to the connection that is being made */
	bool once;		 /* is not to be repeated, though others of its operation may */
	uint64_t session;	 /* only on this connection; 0: on any */
	unsigned int timeout_ms; /* 0: that of the connection's handle */
	call_decode_fn decode;
	void *ctx;
	struct call_object *bound; /* call_bind(); a change is made to the first, or to all */
	uint32_t nbound;
	struct call_object some_bound[CALL_OBJECTS];
	/* Instead of waking a thread: under the lock, and must not use the channel. */
	void (*ended)(struct call *call);
	void *owner; /* for "ended" */

	enum call_state state;
	uint64_t begun_ns; /* given to the channel */
	uint64_t deadline_ns;
	uint64_t min_session; /* the server refused it because it is shutting down */
	bool has_crc;
	bool doubt; /* a change that an older connection may still carry out */
	int err;    /* 0 or a negative class of common/err.h */
	uint32_t payload_len;
	char text[WIRE_TEXT_MAX];
	pthread_cond_t cond;
	TAILQ_ENTRY(call) all_link;
	TAILQ_ENTRY(call) parked_link;
	TAILQ_ENTRY(call) waiter_link;
};

enum object_state { OBJECT_NEW, OBJECT_OPEN, OBJECT_LOST, OBJECT_OPENING, OBJECT_GONE };

struct cow_object {
	struct cow *cow;
	char spec[MSG_NAME_BYTES]; /* never changes, as flags and id do not */
	uint32_t flags;
	uint64_t id;

	uint64_t refs; /* that of the application, and one for each asynchronous call */
	enum object_state state;
	uint64_t session;	/* that it is open on, or was */
	uint32_t wire_handle;	/* on that */
	struct call *reopening; /* while OPENING */
	int gone_err;		/* while GONE */
	const char *gone_text;	/* static storage */
	uint64_t size;
	uint64_t acked;	 /* counts changes that the server acknowledged */
	uint64_t synced; /* up to which one an fsync covers them */
	bool restarted;	 /* the server did, and may have lost some: to be told once */
	bool tied;	 /* to others: for one connection only */
	TAILQ_ENTRY(cow_object) link;
};

enum link_state {
	LINK_DOWN,    /* no connection, and none is coming: calls fail */
	LINK_LOST,    /* from retry_ns on the next is tried, if calls wait for it */
	LINK_DIALING, /* the socket connects, until retry_ns */
	LINK_HELLO,   /* the handshake is under way */
	LINK_READY,
};

struct link {
	enum link_state state;
	struct dial_addr addr; /* of the last connection that was made by cow_connect() */
	bool crc;	       /* checksums of payloads are asked for there */
	struct tls *tls;       /* credentials for there; NULL: none are needed */
	int fd;		       /* while DIALING, else -1 */
	uint64_t retry_ns;
	unsigned int backoff_ms;
	char text[DIAL_TEXT_MAX]; /* why the last attempt failed; "" */
	struct call hello;
	struct msg_hello_reply hello_reply;
};

#define AIO_BUCKETS 64u

/* The asynchronous side: see aio.h. */
struct aio_set {
	uint64_t next_id;
	struct aio_bucket table[AIO_BUCKETS]; /* by id, until the callback */
	struct aio_list done;		      /* whose callbacks are due */
	int epoll_fd;			      /* what cow_get_fd() gave out; -1: not yet */
	int event_fd;			      /* in epoll_fd: there is something to be done */
	bool signaled;
	bool driving;	      /* who has the lock will look at "done" before it gives it up */
	unsigned int waiting; /* threads that sleep in cow_wait() */
	int watched_fd;	      /* in epoll_fd: the socket; -1 */
	short watched_events;
	uint64_t told_ns; /* the deadline that cow_next_timeout_ms() told last */
};

struct cow {
	uint64_t serial; /* unique in the process: tags messages; never changes */
	int wake_fd;	 /* eventfd: makes the thread that pumps look again; never changes */

	pthread_mutex_t lock;
	struct chan chan;
	struct link link;
	uint64_t session;	    /* counts connections; 0: never connected */
	bool reconnect;		    /* cow_set_reconnect() */
	bool connecting;	    /* a thread is in cow_connect() */
	struct call_list calls;	    /* under way, by deadline */
	struct call_list parked;    /* of these, what waits, oldest first */
	bool unpark;		    /* something that they may wait for has happened */
	struct object_list objects; /* OPEN and later */
	uint64_t heard_ns;	    /* when bytes came last */

	bool pumping; /* a thread polls the socket, for everybody */
	bool polling; /* it does so now, with these three, and without the lock */
	int pump_fd;
	short pump_events;
	uint64_t pump_deadline_ns;
	struct look look;	  /* of the thread that pumps */
	unsigned int poll_us;	  /* cow_set_poll() */
	struct call_list waiters; /* calls whose threads wait for the pump */

	struct aio_set aio;
	unsigned int timeout_ms;
	char agent[MSG_AGENT_BYTES];
	struct msg_hello_reply
	    server; /* valid while session is not 0, and kept from one to the next */
};

#endif
