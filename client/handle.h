/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handle.h: the inside of libcow's handles.  Only libcow's own files include it.
 *
 * A struct cow owns its channel, and its mutex guards everything in it.  A struct cow_object
 * belongs to the session (the connection) it was opened in: after a reconnect the server knows
 * nothing of it.
 */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/chan.h"
#include "client/cow.h"
#include "proto/msg.h"

struct call;
TAILQ_HEAD(call_list, call);

struct cow {
	uint64_t serial; /* unique in the process: tags messages; never changes */
	int wake_fd;	 /* eventfd: makes the thread that pumps look again; never changes */

	pthread_mutex_t lock;
	struct chan chan;
	uint64_t session; /* counts connections; 0: never connected */
	bool ready;	  /* the handshake is done */
	bool connecting;  /* a thread is in cow_connect() */
	bool pumping;	  /* a thread polls the socket, for everybody */
	uint64_t pump_deadline_ns;
	pthread_cond_t idle;	  /* pumping became false */
	struct call_list waiters; /* calls whose threads wait for the pump */
	unsigned int timeout_ms;
	char agent[MSG_AGENT_BYTES];
	struct msg_hello_reply server; /* valid while session is not 0 */
};

struct cow_object {
	struct cow *cow;
	uint64_t session;
	uint32_t handle;
	uint64_t size; /* guarded by the lock of cow */
};

#endif
