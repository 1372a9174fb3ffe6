/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "server/loop.h"

#define LISTEN_BACKLOG	  511
#define LISTEN_ADDR_BYTES 160
#define LISTEN_RETRY_USEC 100000 /* after an accept that found no descriptor */

struct listener {
	struct listen_config config;
	struct evconnlistener *ev;
	struct event *retry;
	bool full; /* paused by its owner */
	struct log_rate fulls;
	bool tls;
	char addr[LISTEN_ADDR_BYTES];
	const char *path; /* in addr: of a unix socket, or NULL */
	dev_t dev;	  /* what path was when it was made */
	ino_t ino;
};

/* ---- accepting ------------------------------------------------------------------------------- */

static void listener_on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *sa,
			       int len, void *ctx)
{
	struct listener *l = ctx;

	(void)sa;
	(void)len;
	if ((l->tls ? l->config.accept_tls : l->config.accept)(l->config.ctx, fd))
		return;
	l->full = true;
	evconnlistener_disable(ev);
	if (log_rate_pass(&l->fulls, "listen-full", clock_now_ms()))
		log_event(LOG_WARN, "listen-full", "address=\"%s\"", l->addr);
}

/* Without a pause an accept that finds no descriptor comes again at once, for ever. */
static void listener_on_error(struct evconnlistener *ev, void *ctx)
{
	static const struct timeval retry = {0, LISTEN_RETRY_USEC};
	struct listener *l = ctx;

	log_event(LOG_WARN, "accept", "address=\"%s\" errno=%d", l->addr, errno);
	evconnlistener_disable(ev);
	if (event_add(l->retry, &retry) < 0)
		evconnlistener_enable(ev);
}

static void listener_on_retry(evutil_socket_t fd, short what, void *ctx)
{
	struct listener *l = ctx;

	(void)fd;
	(void)what;
	if (!l->full)
		evconnlistener_enable(l->ev);
}

void listener_resume(struct listener *l)
{
	if (!l->full)
		return;
	l->full = false;
	evconnlistener_enable(l->ev);
}

const char *listener_addr(const struct listener *l)
{
	return l->addr;
}

/* ---- unix sockets ---------------------------------------------------------------------------- */

/* Whether a server answers there. */
static bool unix_is_alive(const struct sockaddr_un *sun)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive;

	if (fd < 0)
		return true; /* not known: leave it alone */
	alive =
	    connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno != ECONNREFUSED;
	close(fd);
	return alive;
}

static int unix_bind(const struct listener *l, int fd, const struct sockaddr_un *sun)
{
	mode_t before = umask(l->config.everybody ? 0111 : 0177);
	int rc = bind(fd, (const struct sockaddr *)sun, sizeof(*sun));
	int saved = errno;

	umask(before);
	errno = saved;
	return rc;
}

/* Binds; a socket file that a server left behind is replaced. */
static int unix_claim(const struct listener *l, int fd, const struct sockaddr_un *sun, char *why,
		      size_t why_len)
{
	struct stat st;

	if (unix_bind(l, fd, sun) == 0)
		return 0;
	if (errno == EADDRINUSE) {
		if (lstat(sun->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
			snprintf(why, why_len, "%s exists and is not a socket", sun->sun_path);
			return -ERR_EXIST;
		}
		if (unix_is_alive(sun)) {
			snprintf(why, why_len, "another server listens on %s", sun->sun_path);
			return -ERR_BUSY;
		}
		if (unlink(sun->sun_path) == 0 && unix_bind(l, fd, sun) == 0)
			return 0;
	}
	snprintf(why, why_len, "cannot listen on %s: %s", sun->sun_path, strerror(errno));
	return err_from_errno(errno);
}

static int listen_unix(struct listener *l, const char *path, int *fd_out, char *why, size_t why_len)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;
	int err;
	int fd;

	if (path[0] == '\0' || strlen(path) >= sizeof(sun.sun_path)) {
		snprintf(why, why_len, "the path of a unix socket has 1 to %zu bytes: '%s'",
			 sizeof(sun.sun_path) - 1, path);
		return -ERR_INVAL;
	}
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		snprintf(why, why_len, "no socket: %s", strerror(errno));
		return err_from_errno(errno);
	}
	err = unix_claim(l, fd, &sun, why, why_len);
	if (err < 0) {
		close(fd);
		return err;
	}
	snprintf(l->addr, sizeof(l->addr), "unix:%s", path);
	l->path = l->addr + strlen("unix:");
	if (lstat(path, &st) == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	}
	*fd_out = fd;
	return 0;
}

int listen_default(char *addr, size_t len, char *why, size_t why_len)
{
	const char *run = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	char dir[96];

	if (!run || run[0] != '/' || strlen(run) > sizeof(dir) - sizeof("/cowd")) {
		snprintf(why, why_len, "$XDG_RUNTIME_DIR is no directory: give --listen");
		return -ERR_INVAL;
	}
	snprintf(dir, sizeof(dir), "%s/cowd", run);
	if (mkdir(dir, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST) {
		snprintf(why, why_len, "cannot make %s: %s", dir, strerror(errno));
		return err_from_errno(errno);
	}
	snprintf(addr, len, "unix:%s/cowd.sock", dir);
	return 0;
}

/* ---- tcp ------------------------------------------------------------------------------------- */

static bool addr_is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

	if (sa->sa_family == AF_INET)
		return ntohl(in4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/* Splits "HOST:PORT" or "[HOST]:PORT"; false where it is not of that form. */
static bool tcp_split(const char *text, char *host, size_t host_len, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t n;

	if (!colon || colon == text || colon[1] == '\0')
		return false;
	*port = colon + 1;
	n = (size_t)(colon - text);
	if (text[0] == '[') {
		if (n < 3 || text[n - 1] != ']')
			return false;
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return false;
	}
	if (n >= host_len)
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	/* getaddrinfo() would take such a number modulo 65536 */
	return strspn(*port, "0123456789") == strlen(*port) &&
	       strtoul(*port, NULL, 10) <= UINT16_MAX;
}

static int tcp_bind(const struct addrinfo *ai)
{
	const int on = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(fd, ai->ai_addr, ai->ai_addrlen) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Writes the address that the socket really has. */
static void tcp_name(struct listener *l, int fd)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	char host[NI_MAXHOST] = "?";
	char port[NI_MAXSERV] = "?";
	const char *kind = l->tls ? "tls" : "tcp";

	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
		(void)getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port,
				  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	if (ss.ss_family == AF_INET6)
		snprintf(l->addr, sizeof(l->addr), "%s:[%.100s]:%.8s", kind, host, port);
	else
		snprintf(l->addr, sizeof(l->addr), "%s:%.100s:%.8s", kind, host, port);
}

static int listen_tcp(struct listener *l, const char *text, int *fd_out, char *why, size_t why_len)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *ai = NULL;
	const char *kind = l->tls ? "tls" : "tcp";
	const char *port = NULL;
	char host[NI_MAXHOST];
	int err = 0;
	int fd = -1;
	int rc;

	if (!tcp_split(text, host, sizeof(host), &port)) {
		snprintf(why, why_len, "'%s:%s' is not %s:HOST:PORT", kind, text, kind);
		return -ERR_INVAL;
	}
	rc = getaddrinfo(host, port, &hints, &ai);
	if (rc != 0) {
		snprintf(why, why_len, "no address for '%s:%s': %s", kind, text, gai_strerror(rc));
		return -ERR_INVAL;
	}
	if (!l->tls && !l->config.insecure_plaintext && !addr_is_loopback(ai->ai_addr)) {
		snprintf(why, why_len,
			 "tcp:%s is not a loopback address and the protocol is not encrypted: "
			 "give tls:, or --insecure-plaintext to allow it",
			 text);
		err = -ERR_PERM;
	} else {
		fd = tcp_bind(ai);
		if (fd < 0) {
			err = errno == EADDRINUSE ? -ERR_BUSY : err_from_errno(errno);
			snprintf(why, why_len, "cannot listen on %s:%s: %s", kind, text,
				 strerror(errno));
		}
	}
	freeaddrinfo(ai);
	if (err < 0)
		return err;
	tcp_name(l, fd);
	*fd_out = fd;
	return 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int listener_socket(struct listener *l, const char *addr, int *fd, char *why, size_t why_len)
{
	if (strncmp(addr, "unix:", 5) == 0)
		return listen_unix(l, addr + 5, fd, why, why_len);
	if (strncmp(addr, "tcp:", 4) == 0)
		return listen_tcp(l, addr + 4, fd, why, why_len);
	l->tls = l->config.accept_tls && strncmp(addr, "tls:", 4) == 0;
	if (l->tls)
		return listen_tcp(l, addr + 4, fd, why, why_len);
	snprintf(why, why_len, "'%s' is neither unix:PATH nor tcp:HOST:PORT", addr);
	return -ERR_INVAL;
}

int listener_open(const struct listen_config *config, const char *addr, struct listener **listener,
		  char *why, size_t why_len)
{
	struct event_base *base = loop_base(config->loop);
	struct listener *l = calloc(1, sizeof(*l));
	int err = -ERR_NOMEM;
	int fd = -1;

	snprintf(why, why_len, "%s", err_text(err));
	if (!l)
		return err;
	l->config = *config;
	err = listener_socket(l, addr, &fd, why, why_len);
	if (err < 0)
		goto fail_free;
	if (listen(fd, LISTEN_BACKLOG) < 0) {
		snprintf(why, why_len, "cannot listen on %s: %s", addr, strerror(errno));
		err = errno == EADDRINUSE ? -ERR_BUSY : err_from_errno(errno);
		goto fail_close_fd;
	}
	err = -ERR_NOMEM;
	l->retry = evtimer_new(base, listener_on_retry, l);
	if (!l->retry)
		goto fail_close_fd;
	l->ev = evconnlistener_new(base, listener_on_accept, l,
				   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!l->ev)
		goto fail_free_retry;
	evconnlistener_set_error_cb(l->ev, listener_on_error);
	*listener = l;
	return 0;

fail_free_retry:
	event_free(l->retry);
fail_close_fd:
	close(fd);
	if (l->path)
		(void)unlink(l->path);
fail_free:
	free(l);
	return err;
}

void listener_close(struct listener *l)
{
	struct stat st;

	if (!l)
		return;
	if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlink(l->path);
	evconnlistener_free(l->ev);
	event_free(l->retry);
	free(l);
}
