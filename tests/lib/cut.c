/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/cut.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tests/lib/must.h"

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
ssize_t __real_recv(int fd, void *buf, size_t len, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t nfds, int timeout_ms);
int __real_poll(struct pollfd *fds, nfds_t nfds, int timeout_ms);

static _Thread_local size_t send_left = CUT_NEVER;
static _Thread_local size_t recv_left = CUT_NEVER;
static _Thread_local bool at_end;
static _Thread_local size_t answer_left = CUT_NEVER;
static _Thread_local unsigned int answer_polls;
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

void cut_answer(size_t bytes)
{
	answer_left = bytes;
	answer_polls = 0;
}

unsigned int cut_answered(void)
{
	answer_left = CUT_NEVER;
	return answer_polls;
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

/* As much of the answer as there is room for, however long it takes. */
static ssize_t recv_answer(int fd, uint8_t *buf, size_t len, int flags)
{
	size_t wanted = len < answer_left ? len : answer_left;
	size_t have = 0;

	while (have < wanted) {
		ssize_t n;

		(void)__real_poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
		n = __real_recv(fd, buf + have, wanted - have, flags);
		MUST(n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)),
		     "%zu bytes of an answer are missing", answer_left - have);
		have += n > 0 ? (size_t)n : 0;
	}
	answer_left -= have;
	return (ssize_t)have;
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
	if (answer_left > 0 && answer_left != CUT_NEVER)
		return recv_answer(fd, buf, len, flags);
	n = __real_recv(fd, buf, len < recv_left ? len : recv_left, flags);
	if (n > 0) {
		received += (size_t)n;
		take(&recv_left, (size_t)n);
	}
	return n;
}

int __wrap_poll(struct pollfd *fds, nfds_t nfds, int timeout_ms)
{
	int n;

	if (answer_left != 0)
		return __real_poll(fds, nfds, timeout_ms);
	answer_polls++;
	n = __real_poll(fds, nfds, 0);
	MUST(n != 0 || timeout_ms == 0, "it sleeps for %d ms on an answer that has come",
	     timeout_ms);
	return n;
}
