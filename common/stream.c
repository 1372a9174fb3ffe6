/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/stream.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"

#define STREAM_RECORD 16384u /* bytes of a record of TLS */
#define STREAM_READS  64u    /* records, which may be of one byte, in one go */

/*
 * Messages that change keys cost the one who gets them more than the one who sends them: some are
 * let through, and one more for each piece of data of this size.
 */
#define STREAM_MESSAGES	     32u
#define STREAM_MESSAGE_BYTES (1u << 20)

struct stream_tls {
	struct tls *tls;
	SSL *ssl;
	BIO_METHOD *method; /* of its own, so that no lock is needed to share one */
	int fd;
	bool shaking;
	short shake_wants; /* poll() events */
	short read_wants;
	bool more;     /* the last read has not met the end of what is there */
	size_t begun;  /* bytes of a write that has to be tried again; 0: none */
	uint8_t *rest; /* what the socket has not taken of records that are made; NULL: nothing */
	size_t rest_at;
	size_t rest_len;
	bool ended;	  /* the end is written */
	int errnum;	  /* of the error that has ended it; 0 */
	int err;	  /* as one of the project's */
	int write_errnum; /* of one that has ended writing only */
	uint64_t bytes;	  /* read */
	uint64_t messages;
	struct tls_peer peer;
	char text[TLS_TEXT_MAX];
};

/* ---- the socket, for the library ------------------------------------------------------------- */

static ssize_t stream_recv(int fd, const struct iovec *iov, int count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
			     .msg_iovlen = (size_t)count};
	ssize_t n;

	do {
		n = count == 1 ? recv(fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT)
			       : recvmsg(fd, &msg, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n;
}

static ssize_t stream_send(int fd, const struct iovec *iov, int count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
			     .msg_iovlen = (size_t)count};
	ssize_t n;

	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* The library asks for nothing more while too many messages are waiting to be noticed. */
static bool stream_is_flooded(const struct stream_tls *t)
{
	return t->messages > STREAM_MESSAGES + t->bytes / STREAM_MESSAGE_BYTES;
}

static int stream_bio_read(BIO *bio, char *buf, int len)
{
	const struct stream_tls *t = BIO_get_data(bio);
	struct iovec iov = {buf, (size_t)len};
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (stream_is_flooded(t)) {
		errno = EPROTO;
		return -1;
	}
	n = stream_recv(t->fd, &iov, 1);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)n;
}

/* Behind what waits already.  False: out of memory. */
static bool stream_keep(struct stream_tls *t, const void *buf, size_t len)
{
	size_t left = t->rest_len - t->rest_at;
	uint8_t *rest = malloc(left + len);

	if (!rest)
		return false;
	if (left > 0)
		memcpy(rest, t->rest + t->rest_at, left);
	memcpy(rest + left, buf, len);
	free(t->rest);
	t->rest = rest;
	t->rest_at = 0;
	t->rest_len = left + len;
	return true;
}

static void stream_forget_rest(struct stream_tls *t)
{
	free(t->rest);
	t->rest = NULL;
	t->rest_at = t->rest_len = 0;
}

/* Sends what waits; 0, EAGAIN, or another errno, behind which nothing waits any more. */
static int stream_flush(struct stream_tls *t)
{
	while (t->rest) {
		struct iovec iov = {t->rest + t->rest_at, t->rest_len - t->rest_at};
		ssize_t n = stream_send(t->fd, &iov, 1);
		int errnum = errno;

		if (n < 0 && errnum == EAGAIN)
			return EAGAIN;
		if (n > 0)
			t->rest_at += (size_t)n;
		if (n < 0 || t->rest_at == t->rest_len)
			stream_forget_rest(t);
		if (n < 0)
			return errnum;
	}
	return 0;
}

/*
 * Takes all of it, whatever the socket does: where keys change in the midst of a record that is sent in part,
 * the library answers at once, and takes what is left of that record for an error.
 */
static int stream_bio_write(BIO *bio, const char *buf, int len)
{
	struct stream_tls *t = BIO_get_data(bio);
	struct iovec iov = {(void *)(uintptr_t)buf, (size_t)len};
	ssize_t n = 0;

	BIO_clear_retry_flags(bio);
	if (!t->rest) {
		n = stream_send(t->fd, &iov, 1);
		if (n < 0 && errno == EAGAIN)
			n = 0;
	}
	if (n < 0 || n == len)
		return (int)n;
	if (!stream_keep(t, buf + n, (size_t)(len - n))) {
		errno = ENOMEM;
		return -1;
	}
	return len;
}

static long stream_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)num;
	(void)ptr;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default:
		return 0;
	}
}

/* NULL: out of memory. */
static BIO *stream_bio_new(BIO_METHOD *method, struct stream_tls *t)
{
	BIO *bio = BIO_new(method);

	if (!bio)
		return NULL;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	return bio;
}

/* ---- what calls of the library come to ------------------------------------------------------- */

static int stream_errno(int err)
{
	switch (err) {
	case -ERR_PERM:
		return EACCES;
	case -ERR_PROTO:
		return EPROTO;
	default:
		return ECONNRESET;
	}
}

/* It is over, for all that is called from here on. */
static void stream_fail(struct stream_tls *t, int err, int errnum, const char *text)
{
	t->err = err;
	t->errnum = errnum;
	if (text)
		(void)snprintf(t->text, sizeof(t->text), "%s", text);
}

/* An error of the socket, or the end of it. */
static void stream_fail_socket(struct stream_tls *t, int errnum)
{
	if (stream_is_flooded(t))
		stream_fail(t, -ERR_PROTO, EPROTO, "the keys are changed too often");
	else if (errnum == 0)
		stream_fail(t, -ERR_CONN, ECONNRESET, "the connection was cut");
	else
		stream_fail(t, -ERR_CONN, errnum, strerror(errnum));
}

static void stream_fail_tls(struct stream_tls *t)
{
	unsigned long code = ERR_peek_error();
	int err;

	if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
	    ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		stream_fail_socket(t, 0);
		return;
	}
	err = tls_failure(t->ssl, t->text);
	stream_fail(t, err, stream_errno(err), NULL);
}

/*
 * What a call has returned that did not succeed: the poll() events to wait for before it is tried
 * again, or 0: the other end has ended, or t->err says why not.  errnum is errno behind the call.
 */
static short stream_wants(struct stream_tls *t, int ret, int errnum)
{
	switch (SSL_get_error(t->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		return POLLIN;
	case SSL_ERROR_WANT_WRITE:
		return POLLOUT;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		stream_fail_socket(t, errnum);
		break;
	default:
		stream_fail_tls(t);
		break;
	}
	ERR_clear_error();
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

void stream_open(struct stream *s, int fd)
{
	*s = (struct stream){.fd = fd};
}

/* Counts what has come after the handshake. */
static void stream_message(int written, int version, int type, const void *buf, size_t len,
			   SSL *ssl, void *ctx)
{
	struct stream_tls *t = ctx;

	(void)version;
	(void)buf;
	(void)len;
	(void)ssl;
	if (!written && type == SSL3_RT_HANDSHAKE && !t->shaking)
		t->messages++;
}

static void stream_tls_free(struct stream_tls *t)
{
	SSL_free(t->ssl);
	stream_forget_rest(t);
	BIO_meth_free(t->method);
	tls_put(t->tls);
	ERR_clear_error();
	free(t);
}

static bool stream_tls_prepare(struct stream_tls *t)
{
	BIO *bio;

	t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
	if (!t->method)
		return false;
	(void)BIO_meth_set_read(t->method, stream_bio_read);
	(void)BIO_meth_set_write(t->method, stream_bio_write);
	(void)BIO_meth_set_ctrl(t->method, stream_bio_ctrl);
	t->ssl = tls_session(t->tls, &t->peer);
	bio = t->ssl ? stream_bio_new(t->method, t) : NULL;
	if (!bio)
		return false;
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_msg_callback(t->ssl, stream_message);
	SSL_set_msg_callback_arg(t->ssl, t);
	return true;
}

int stream_start_tls(struct stream *s, struct tls *tls)
{
	struct stream_tls *t = calloc(1, sizeof(*t));

	assert(!s->tls);
	if (!t)
		return -ERR_NOMEM;
	t->tls = tls_get(tls);
	t->fd = s->fd;
	t->shaking = true;
	t->shake_wants = POLLIN | POLLOUT;
	t->read_wants = POLLIN;
	if (!stream_tls_prepare(t)) {
		stream_tls_free(t);
		return -ERR_NOMEM;
	}
	s->tls = t;
	return 0;
}

void stream_close(struct stream *s)
{
	if (s->tls)
		stream_tls_free(s->tls);
	s->tls = NULL;
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
}

/* ---- the handshake --------------------------------------------------------------------------- */

bool stream_is_shaking(const struct stream *s)
{
	return s->tls && s->tls->shaking;
}

int stream_handshake(struct stream *s)
{
	struct stream_tls *t = s->tls;
	int errnum;
	int ret;

	if (!t || t->err != 0 || !t->shaking)
		return t ? t->err : 0;
	ERR_clear_error();
	errno = 0;
	ret = SSL_do_handshake(t->ssl);
	t->shake_wants = ret == 1 ? 0 : stream_wants(t, ret, errno);
	if (t->err == 0 && ret != 1 && t->shake_wants == 0)
		stream_fail_socket(t, 0);
	errnum = stream_flush(t);
	if (errnum == EAGAIN)
		t->shake_wants |= POLLOUT;
	else if (errnum != 0 && t->err == 0)
		stream_fail_socket(t, errnum);
	if (t->err != 0 || t->shake_wants != 0)
		return t->err != 0 ? t->err : STREAM_AGAIN;
	t->shaking = false;
	t->more = SSL_has_pending(t->ssl) == 1;
	t->peer.refused[0] = '\0';
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * The socket takes no more.  Where the other end has ended before, the library says that instead of the
 * error.
 */
static void stream_fail_writing(struct stream_tls *t, int errnum)
{
	stream_fail_socket(t, errnum);
	t->write_errnum = t->errnum;
	t->err = t->errnum = 0;
}

/* Whoever only reads sends what the library has had to say. */
static void stream_flush_reading(struct stream_tls *t)
{
	int errnum = t->err == 0 ? stream_flush(t) : 0;

	if (errnum != 0 && errnum != EAGAIN)
		stream_fail_writing(t, errnum);
}

/* Reads into all of a buffer; less: "more" says whether it has to wait, or stands at an end. */
static size_t stream_tls_fill(struct stream_tls *t, uint8_t *buf, size_t len, bool *waits)
{
	size_t total = 0;
	size_t n;

	*waits = false;
	for (unsigned int i = 0; total < len && i < STREAM_READS; i++) {
		int ret;

		ERR_clear_error();
		errno = 0;
		ret = SSL_read_ex(t->ssl, buf + total, len - total, &n);
		if (ret != 1) {
			short wants = stream_wants(t, ret, errno);

			*waits = wants != 0;
			if (wants != 0) /* an answer to changed keys may wait, too */
				t->read_wants = (short)(wants | (t->rest ? POLLOUT : 0));
			break;
		}
		total += n;
		t->bytes += n;
		t->read_wants = POLLIN;
	}
	return total;
}

static ssize_t stream_tls_readv(struct stream_tls *t, const struct iovec *iov, int count)
{
	size_t total = 0;
	bool waits = false;
	bool full = true;

	stream_flush_reading(t);
	for (int i = 0; i < count && full && t->err == 0; i++) {
		size_t n = stream_tls_fill(t, iov[i].iov_base, iov[i].iov_len, &waits);

		total += n;
		full = n == iov[i].iov_len;
	}
	/* an end behind what was read is found again by the next call, and not by poll() */
	t->more = full ? SSL_has_pending(t->ssl) == 1 : !waits && total > 0;
	if (total > 0)
		return (ssize_t)total;
	if (t->err == 0 && !waits)
		return 0;
	errno = t->err != 0 ? t->errnum : EAGAIN;
	return -1;
}

ssize_t stream_readv(struct stream *s, const struct iovec *iov, int count)
{
	assert(!stream_is_shaking(s) || s->tls->err != 0);
	if (s->tls)
		return stream_tls_readv(s->tls, iov, count);
	return stream_recv(s->fd, iov, count);
}

bool stream_is_pending(const struct stream *s)
{
	return s->tls && s->tls->more;
}

bool stream_may_read(const struct stream *s, short revents)
{
	int wanted = (s->tls ? s->tls->read_wants : POLLIN) | POLLERR | POLLHUP;

	return stream_is_pending(s) || (revents & wanted) != 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/*
 * Up to a record of what the buffers have from their byte "from" on: where it lies, or, if it is in
 * pieces, copied.
 */
static const uint8_t *stream_gather(const struct iovec *iov, int count, size_t from,
				    uint8_t copy[STREAM_RECORD], size_t *len)
{
	size_t got = 0;

	for (int i = 0; i < count && got < STREAM_RECORD; i++) {
		size_t skip = from < iov[i].iov_len ? from : iov[i].iov_len;
		const uint8_t *piece = (const uint8_t *)iov[i].iov_base + skip;
		size_t n = iov[i].iov_len - skip;

		from -= skip;
		if (n > STREAM_RECORD - got)
			n = STREAM_RECORD - got;
		*len = n;
		if (got == 0 && n > 0 && (n == STREAM_RECORD || i + 1 == count))
			return piece;
		if (n > 0)
			memcpy(copy + got, piece, n);
		got += n;
	}
	*len = got;
	return copy;
}

/* Makes a record; 0, or it is over. */
static size_t stream_tls_record(struct stream_tls *t, const uint8_t *data, size_t len)
{
	size_t n = 0;
	int errnum;
	int ret;

	ERR_clear_error();
	errno = 0;
	ret = SSL_write_ex(t->ssl, data, len, &n);
	errnum = errno;
	if (ret == 1)
		return n;
	(void)stream_wants(t, ret, errnum);
	if (t->err == 0 || t->err == -ERR_CONN)
		stream_fail_writing(t, errnum);
	return 0;
}

/* Bytes taken; 0: it has to wait, or it is over.  A record is taken when all of it is sent. */
static size_t stream_tls_put(struct stream_tls *t, const uint8_t *data, size_t len)
{
	int errnum = stream_flush(t);
	size_t n = t->begun;

	if (errnum == 0 && n == 0) {
		n = stream_tls_record(t, data, len);
		errnum = n > 0 ? stream_flush(t) : 0;
	}
	t->begun = errnum == EAGAIN ? n : 0;
	if (errnum == 0)
		return n;
	if (errnum != EAGAIN)
		stream_fail_writing(t, errnum);
	return 0;
}

static ssize_t stream_tls_writev(struct stream_tls *t, const struct iovec *iov, int count)
{
	uint8_t copy[STREAM_RECORD];
	size_t total = 0;
	size_t len = 0;
	size_t n = 0;

	while (t->err == 0 && t->write_errnum == 0) {
		const uint8_t *data = stream_gather(iov, count, total, copy, &len);

		assert(len >= t->begun);
		n = len > 0 ? stream_tls_put(t, data, len) : 0;
		if (n == 0)
			break;
		total += n;
	}
	if (total > 0 || (t->err == 0 && t->write_errnum == 0 && len == 0))
		return (ssize_t)total;
	errno = EAGAIN;
	if (t->err != 0 || t->write_errnum != 0)
		errno = t->err != 0 ? t->errnum : t->write_errnum;
	return -1;
}

ssize_t stream_writev(struct stream *s, const struct iovec *iov, int count)
{
	assert(!stream_is_shaking(s) || s->tls->err != 0);
	if (s->tls)
		return stream_tls_writev(s->tls, iov, count);
	return stream_send(s->fd, iov, count);
}

bool stream_is_begun(const struct stream *s)
{
	return s->tls && s->tls->begun > 0;
}

short stream_events(const struct stream *s, bool read, bool write)
{
	const struct stream_tls *t = s->tls;
	int events;

	if (!t)
		return (short)((read ? POLLIN : 0) | (write ? POLLOUT : 0));
	if (t->shaking)
		return t->shake_wants;
	events = (read ? t->read_wants : 0) | (write ? POLLOUT : 0);
	return (short)events;
}

int stream_end(struct stream *s)
{
	struct stream_tls *t = s->tls;
	int ret = 0;
	int errnum = 0;

	if (t && t->err == 0 && t->write_errnum == 0 && !t->shaking) {
		ERR_clear_error();
		errno = 0;
		if (!t->ended) {
			ret = SSL_shutdown(t->ssl);
			if (ret < 0)
				(void)stream_wants(t, ret, errno);
			t->ended = ret >= 0;
		}
		errnum = stream_flush(t);
		if (errnum == EAGAIN)
			return STREAM_AGAIN;
	}
	if (shutdown(s->fd, SHUT_WR) < 0 || ret < 0 || errnum != 0)
		return -ERR_CONN;
	return 0;
}

/* ---- what is known --------------------------------------------------------------------------- */

const char *stream_text(const struct stream *s)
{
	return s->tls ? s->tls->text : "";
}

const char *stream_peer_name(const struct stream *s)
{
	return s->tls && !s->tls->shaking ? s->tls->peer.name : "";
}
