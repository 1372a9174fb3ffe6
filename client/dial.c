/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/dial.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"

#define DIAL_SEND_BYTES (1 << 20) /* on their way by a unix socket */

/*
 * A descriptor, or -1 with errno.  The options are best effort: without them only speed suffers.  What a unix
 * socket holds by default is a fifth of a large request, and who sends one sleeps and wakes up for each part.
 */
static int dial_socket(int family, int flags)
{
	const int bytes = DIAL_SEND_BYTES;
	const int one = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd >= 0 && family == AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	else if (fd >= 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* Until something happens to a connecting socket.  0 or an errno value. */
static int dial_wait(int fd, uint64_t deadline_ns)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};

	for (;;) {
		uint64_t now = clock_now_ns();
		uint64_t ms = now < deadline_ns ? (deadline_ns - now) / 1000000 + 1 : 0;
		int n = poll(&pfd, 1, ms > INT_MAX ? INT_MAX : (int)ms);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return errno;
		if (n == 0 && clock_now_ns() >= deadline_ns)
			return ETIMEDOUT;
	}
}

/* 0 or an errno value. */
static int dial_connect(int fd, const struct sockaddr *addr, socklen_t len, uint64_t deadline_ns)
{
	int err = connect(fd, addr, len) < 0 ? errno : 0;
	socklen_t err_len = sizeof(err);

	if (err != EINPROGRESS && err != EINTR)
		return err;
	err = dial_wait(fd, deadline_ns);
	if (err != 0)
		return err;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len) < 0 ? errno : err;
}

/* A connected socket, or an errno value negated. */
static int dial_address(const struct addrinfo *ai, uint64_t deadline_ns)
{
	int fd = dial_socket(ai->ai_family, SOCK_NONBLOCK);
	int err;

	if (fd < 0)
		return -errno;
	err = dial_connect(fd, ai->ai_addr, ai->ai_addrlen, deadline_ns);
	if (err != 0) {
		(void)close(fd);
		return -err;
	}
	return fd;
}

/* What a failure to connect is to the caller; a missing socket file too is a missing server. */
static int dial_error(int errnum)
{
	switch (errnum) {
	case ETIMEDOUT:
		return -ERR_TIMEOUT;
	case EACCES:
	case EPERM:
		return -ERR_PERM;
	case ENOMEM:
	case ENOBUFS:
		return -ERR_NOMEM;
	default:
		return -ERR_CONN;
	}
}

/* Nothing can be polled for while a unix socket's backlog is full: connect() itself has to wait. */
static int dial_unix_connect(int fd, const struct sockaddr_un *addr, uint64_t deadline_ns)
{
	for (;;) {
		uint64_t now = clock_now_ns();
		uint64_t us = now < deadline_ns ? (deadline_ns - now) / 1000 + 1 : 1;
		struct timeval left = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};

		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)) < 0)
			return errno;
		if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
			return 0;
		if (errno != EINTR)
			return errno == EAGAIN ? ETIMEDOUT : errno;
	}
}

static int dial_unix(const char *path, uint64_t deadline_ns, struct dial_addr *found,
		     char text[DIAL_TEXT_MAX])
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int err;
	int fd;

	if (len >= sizeof(addr.sun_path)) {
		(void)snprintf(text, DIAL_TEXT_MAX, "the path %s is too long for a socket", path);
		return -ERR_INVAL;
	}
	memcpy(addr.sun_path, path, len + 1);
	fd = dial_socket(AF_UNIX, 0);
	err = fd < 0 ? errno : dial_unix_connect(fd, &addr, deadline_ns);
	if (err == 0) {
		memcpy(&found->sa, &addr, sizeof(addr));
		found->len = sizeof(addr);
		return fd;
	}
	if (fd >= 0)
		(void)close(fd);
	(void)snprintf(text, DIAL_TEXT_MAX, "no connection to %s: %s", path, strerror(err));
	return dial_error(err);
}

static int dial_local(uint64_t deadline_ns, struct dial_addr *found, char text[DIAL_TEXT_MAX])
{
	char *path = uri_local_socket();
	int fd;

	if (!path) {
		(void)snprintf(text, DIAL_TEXT_MAX, "out of memory");
		return -ERR_NOMEM;
	}
	fd = dial_unix(path, deadline_ns, found, text);
	free(path);
	return fd;
}

static int dial_tcp(const struct uri *uri, uint64_t deadline_ns, struct dial_addr *found,
		    char text[DIAL_TEXT_MAX])
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int gai = getaddrinfo(uri->host, uri->port, &hints, &list);
	int fd = -ECONNREFUSED;

	if (gai != 0) {
		(void)snprintf(text, DIAL_TEXT_MAX, "host %s: %s", uri->host, gai_strerror(gai));
		return gai == EAI_MEMORY ? -ERR_NOMEM : -ERR_CONN;
	}
	for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
		fd = dial_address(ai, deadline_ns);
		memcpy(&found->sa, ai->ai_addr, ai->ai_addrlen);
		found->len = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	if (fd >= 0)
		return fd;
	(void)snprintf(text, DIAL_TEXT_MAX, "no connection to %s port %s: %s", uri->host, uri->port,
		       strerror(-fd));
	return dial_error(-fd);
}

int dial(const struct uri *uri, uint64_t deadline_ns, int *fd, struct dial_addr *addr,
	 char text[DIAL_TEXT_MAX])
{
	struct dial_addr found = {.len = 0};
	int got;

	if (uri->host)
		got = dial_tcp(uri, deadline_ns, &found, text);
	else if (uri->socket)
		got = dial_unix(uri->socket, deadline_ns, &found, text);
	else
		got = dial_local(deadline_ns, &found, text);
	if (got < 0)
		return got;
	*fd = got;
	*addr = found;
	return 0;
}

/* ---- without waiting ------------------------------------------------------------------------- */

static int dial_failed(int errnum, char text[DIAL_TEXT_MAX])
{
	(void)snprintf(text, DIAL_TEXT_MAX, "no connection to the server: %s", strerror(errnum));
	return dial_error(errnum);
}

int dial_begin(const struct dial_addr *addr, int *fd, char text[DIAL_TEXT_MAX])
{
	int got = dial_socket(addr->sa.ss_family, SOCK_NONBLOCK);
	int err;

	if (got < 0)
		return dial_failed(errno, text);
	err = connect(got, (const struct sockaddr *)&addr->sa, addr->len) < 0 ? errno : 0;
	if (err != 0 && err != EINPROGRESS) {
		(void)close(got);
		return dial_failed(err, text);
	}
	*fd = got;
	return err == 0 ? 0 : DIAL_PENDING;
}

int dial_end(int fd, char text[DIAL_TEXT_MAX])
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	int err;
	socklen_t len = sizeof(err);

	if (poll(&pfd, 1, 0) <= 0)
		return DIAL_PENDING;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	return err == 0 ? 0 : dial_failed(err, text);
}
