/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * link.h: the life of a handle's connection: making it, noticing its end, making another, and opening
 * the objects again.  It owns the socket while that connects; then the channel does.  Never blocks;
 * all under the lock.
 *
 *	            cow_connect()
 *	DOWN ------------------------> HELLO --> READY      link_adopt(), link_accept()
 *	 ^  ^                            |         |
 *	 |  '---- it was not to be ------'         |        link_check()
 *	 |                                         |
 *	 |   given up for what came; or nobody     |
 *	 +------- wants another -------------------+
 *	                                           |        lost, or silent
 *	      ,------------------------------------'
 *	      v    calls wait         connected
 *	    LOST ---------> DIALING -----------> HELLO --> READY
 *	      ^                |                   |
 *	      '--- backoff ----+-------------------'        link_failed()
 *
 * What a restart of the server means is decided when READY is reached (link_reopen_all()): objects with
 * changes that no fsync has covered are marked if the server's incarnation is another.  A server
 * that did not restart still has what it acknowledged, whatever connections came and went.
 */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include <stdint.h>

#include "client/handle.h"
#include "common/annot.h"

void link_init(struct cow *cow);

/* Ends what is there; every call fails. */
void link_close(struct cow *cow);

/*
 * A socket that cow_connect() has made becomes the connection, with these credentials (NULL: none are
 * needed): its handshake is due.  -ERR_NOMEM: fd stays the caller's.
 */
int link_adopt(struct cow *cow, int fd, struct tls *tls) MUST_CHECK;

/* Fills in a call for the handshake, in its inline body.  The body's length, or a negative error. */
int link_encode_hello(struct cow *cow, struct call *hello, struct msg_hello_reply *reply,
		      bool crc) MUST_CHECK;

/* The handshake was answered.  NULL: READY; or why it is of no use. */
const char *link_accept(struct cow *cow, const struct msg_hello_reply *reply, bool crc) MUST_CHECK;

/* cow_connect() begins, while no channel is alive; and has ended.  When it has failed, calls that
 * waited for another connection go on waiting for one to where the last one went. */
void link_connect_begun(struct cow *cow);
void link_connect_ended(struct cow *cow);

/* Does all that can be done now.  revents: of the socket. */
void link_drive(struct cow *cow, short revents);

/* After calls were started or given up: what follows from that. */
void link_settle(struct cow *cow);

/* What to poll for; *fd is -1 where there is nothing.  And until when; HANDLE_NEVER. */
void link_pollfd(const struct cow *cow, int *fd, short *events);
uint64_t link_deadline_ns(const struct cow *cow);

/* Tells those who poll the descriptor of cow_get_fd(), or sleep in cow_wait(), to look again. */
void link_signal(struct cow *cow);

#endif
