/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream.h: the bytes of one connected socket, as they are or by TLS.  It owns the socket; it never
 * blocks, whatever the socket's mode, raises no SIGPIPE, and has no clock and no lock: one thread at a
 * time.
 *
 *	stream_open() --> plain ---stream_start_tls()---> handshake --> TLS
 *	                    |                                |           |
 *	                    '--------- stream_close() -------+-----------'
 *
 * Whoever polls asks stream_events() what for, and tries both directions whatever has come: by TLS a
 * read may have to wait until something can be written, and the other way round.  What has been
 * received and is not yet read is not seen by poll(): see stream_is_pending(), which is to be looked at
 * behind each read, and behind the handshake.
 *
 * An error is final: it is returned again by whatever is called next, with its text.  One of writing is
 * final for writing alone, so that what the other end still has to say is read.  Who refuses a client
 * should read on until its end before the stream is closed: else what the client has sent meanwhile
 * makes its system forget the reason.
 */
#ifndef COMMON_STREAM_H
#define COMMON_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/annot.h"
#include "common/tls.h"

#define STREAM_AGAIN 1 /* beside 0 and negative errors */

struct stream_tls;

struct stream {
	int fd;			/* -1: closed */
	struct stream_tls *tls; /* NULL: plain */
};

/* Takes over fd.  No TLS yet. */
void stream_open(struct stream *s, int fd);

/*
 * From here on TLS: the handshake is due.  It takes a reference to the context.  What the caller has
 * received before is not part of it, and must be forgotten.  -ERR_NOMEM: as before.
 */
int stream_start_tls(struct stream *s, struct tls *tls) MUST_CHECK;

/*
 * Gets on with the handshake; 0: it is over, or there is none.  STREAM_AGAIN; or -ERR_CONN,
 * -ERR_PERM (one end refuses the other) or -ERR_PROTO.  By TLS 1.3 a client is through with it before
 * the server has looked at its certificate: that it is refused is an error of its first read.
 */
int stream_handshake(struct stream *s) MUST_CHECK;

/* Whether a handshake is under way. */
bool stream_is_shaking(const struct stream *s);

/*
 * As the system calls of these names on a non-blocking socket: -1 with errno, EAGAIN where it has to
 * wait.  A read of 0 bytes is the orderly end of what the other end sends.  By TLS an end of the
 * socket before that is an error, ECONNRESET; EACCES: the other end refuses us; EPROTO.  A read takes
 * all that is there and fits.  A write that was not taken whole must be tried again with the same
 * bytes first, of which there may be more and not less; they may have moved.
 */
ssize_t stream_readv(struct stream *s, const struct iovec *iov, int count) MUST_CHECK;
ssize_t stream_writev(struct stream *s, const struct iovec *iov, int count) MUST_CHECK;

/* Whether a part of what stream_writev() has last been given, and has not taken, may be sent already. */
bool stream_is_begun(const struct stream *s);

/* The poll() events to wait for; of the handshake while there is one. */
short stream_events(const struct stream *s, bool read, bool write);

/* Whether a read may return something though poll() says nothing.  False after EAGAIN. */
bool stream_is_pending(const struct stream *s);

/* Whether it is worth trying to read, after poll() has returned these. */
bool stream_may_read(const struct stream *s, short revents);

/*
 * Tells the other end that nothing more will be written; everything has been.  0, STREAM_AGAIN or
 * -ERR_CONN.  Reading goes on.
 */
int stream_end(struct stream *s) MUST_CHECK;

/* What the last error was; for a stream without one "". */
const char *stream_text(const struct stream *s);

/* A name of the other end, after a handshake; "" before, and of a plain stream. */
const char *stream_peer_name(const struct stream *s);

/* Without a word to the other end.  A stream that is closed may be closed again. */
void stream_close(struct stream *s);

#endif
