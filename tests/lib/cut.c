/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/cut.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
ssize_t __real_recv(int fd, void *buf, size_t len, int flags);

static _Thread_local size_t send_left = CUT_NEVER;
static _Thread_local size_t recv_left = CUT_NEVER;
static _Thread_local bool at_end;
static _Thread_local int patience_ms;
static _Thread_local size_t sent;
static _Thread_local size_t received;

void cut_limit(size_t send_bytes, size_t recv_bytes, bool ends)
{
	send_left = send_bytes;
	recv_left = recv_bytes;
	at_end = ends;
	sent = 0;
	received = 0;
}

void cut_patience(int ms)
{
	patience_ms = ms;
}

size_t cut_sent(void)
{
	return sent;
}

size_t cut_received(void)
{
	return received;
}

static ssize_t cut_end(int fd, ssize_t result, int err)
{
	(void)shutdown(fd, SHUT_RDWR);
	send_left = CUT_NEVER;
	recv_left = CUT_NEVER;
	errno = err;
	return result;
}

static void take(size_t *left, size_t n)
{
	if (*left != CUT_NEVER)
		*left -= n;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct iovec iov[8];
	struct msghdr part = *msg;
	size_t left = send_left;
	ssize_t n;

	if (left == 0 && at_end)
		return cut_end(fd, -1, EPIPE);
	part.msg_iov = iov;
	part.msg_iovlen = 0;
	for (size_t i = 0; i < msg->msg_iovlen && i < 8 && left > 0; i++) {
		size_t len = msg->msg_iov[i].iov_len < left ? msg->msg_iov[i].iov_len : left;

		iov[part.msg_iovlen++] = (struct iovec){msg->msg_iov[i].iov_base, len};
		take(&left, len);
	}
	if (part.msg_iovlen == 0) {
		errno = EAGAIN;
		return -1;
	}
	n = __real_sendmsg(fd, &part, flags);
	if (n > 0) {
		sent += (size_t)n;
		take(&send_left, (size_t)n);
	}
	return n;
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
	ssize_t n;

	if (recv_left == 0 && at_end)
		return cut_end(fd, 0, 0);
	if (recv_left == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (patience_ms > 0)
		(void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, patience_ms);
	n = __real_recv(fd, buf, len < recv_left ? len : recv_left, flags);
	if (n > 0) {
		received += (size_t)n;
		take(&recv_left, (size_t)n);
	}
	return n;
}
