/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients that come and go, by TLS and without, at any point of their handshake, from several threads: the
 * daemon, whose connections are one thread's, is as it was behind them.  TEST_CONNECTS: how many.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/cow.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

#define THREADS	  4
#define FIRST_MAX 1024 /* bytes of the first message of a client */
#define PSK	  "alice:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define AT	  "tls:127.0.0.1:"
#define URI_BYTES 256
#define FDS_BEFORE \
	2 /* one connection may not have ended when they are counted, and one thread ends late */

struct crowd {
	struct daemon d;
	char uri[URI_BYTES]; /* by TLS */
	uint16_t port;
	uint8_t first[FIRST_MAX]; /* what a client says first */
	size_t first_len;
	uint64_t rounds; /* of each thread */
};

/* What OpenSSL's client sends before it has got anything. */
static void first_make(struct crowd *crowd)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;
	BIO *in = BIO_new(BIO_s_mem());
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	MUST(ssl && in && out, "memory");
	SSL_set_bio(ssl, in, out);
	MUST(SSL_connect(ssl) < 0, "a handshake without the other end");
	n = BIO_read(out, crowd->first, FIRST_MAX);
	MUST(n > 0 && n < FIRST_MAX, "%d bytes", n);
	crowd->first_len = (size_t)n;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

static void port_find(struct crowd *crowd)
{
	struct cow_service service;
	cow_t *cow = daemon_connect(&crowd->d, DAEMON_UNIX);
	const char *found = NULL;

	MUST(cow_get_service(cow, &service) == 0, "%s", cow_error(cow));
	for (size_t i = 0; i < service.naddrs; i++)
		if (strncmp(service.addrs[i], AT, strlen(AT)) == 0)
			found = service.addrs[i] + strlen(AT);
	MUST(found, "no address of TLS");
	crowd->port = (uint16_t)strtoul(found, NULL, 10);
	cow_service_clear(&service);
	cow_free(cow);
}

static void crowd_begin(struct crowd *crowd)
{
	struct daemon_config config = {.args = {"--listen", AT "0", "--tls-psk"}};
	char path[128];
	int fd;

	daemon_init(&crowd->d, &config);
	(void)snprintf(path, sizeof(path), "%s/keys", crowd->d.dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	MUST(fd >= 0 && write(fd, PSK, strlen(PSK)) == (ssize_t)strlen(PSK), "%s", path);
	(void)close(fd);
	crowd->d.config.args[3] = path;
	daemon_start(&crowd->d);
	crowd->d.config.args[3] = NULL;
	port_find(crowd);
	(void)snprintf(crowd->uri, sizeof(crowd->uri), "cows://alice@127.0.0.1:%u/?tls-psk-file=%s",
		       crowd->port, path);
	first_make(crowd);
}

static size_t descriptors(const struct crowd *crowd)
{
	char path[64];
	size_t n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)crowd->d.pid);
	dir = opendir(path);
	MUST(dir, "%s", path);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

/* Says the first n bytes, and is gone, by a reset or by an end. */
static void come_and_go(const struct crowd *crowd, size_t n, bool reset)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};
	struct sockaddr_in sin = {.sin_family = AF_INET,
				  .sin_port = htons(crowd->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0 && connect(fd, (const struct sockaddr *)&sin, sizeof(sin)) == 0, "connect");
	(void)send(fd, crowd->first, n, MSG_NOSIGNAL);
	if (reset)
		MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0, "reset");
	(void)close(fd);
}

static void come_and_ask(const char *uri)
{
	cow_t *cow = cow_new();

	MUST(cow && cow_connect(cow, uri) == 0, "%s", cow ? cow_error(cow) : "memory");
	MUST(cow_ping(cow) == 0, "%s", cow_error(cow));
	cow_free(cow);
}

static void *crowd_thread(void *ctx)
{
	const struct crowd *crowd = ctx;
	static _Atomic uint64_t number;
	struct rnd rnd = rnd_stream(1 + number++);

	for (uint64_t i = 0; i < crowd->rounds; i++) {
		if (rnd_one_in(&rnd, 4))
			come_and_ask(rnd_one_in(&rnd, 2) ? crowd->uri : crowd->d.uri[DAEMON_TCP]);
		else
			come_and_go(crowd, rnd_below(&rnd, crowd->first_len + 1),
				    rnd_one_in(&rnd, 2));
	}
	return NULL;
}

static void clients_that_come_and_go_leave_nothing(void **state)
{
	struct crowd crowd = {.rounds = rnd_count("TEST_CONNECTS", 4000) / THREADS + 1};
	pthread_t threads[THREADS];
	size_t before;

	(void)state;
	must_end_within(7200);
	crowd_begin(&crowd);
	come_and_ask(crowd.uri);
	before = descriptors(&crowd);
	for (int i = 0; i < THREADS; i++)
		MUST(pthread_create(&threads[i], NULL, crowd_thread, &crowd) == 0, "thread");
	for (int i = 0; i < THREADS; i++)
		MUST(pthread_join(threads[i], NULL) == 0, "thread");
	come_and_ask(crowd.uri);
	come_and_ask(crowd.d.uri[DAEMON_UNIX]);
	while (descriptors(&crowd) > before + FDS_BEFORE)
		MUST(daemon_alive(&crowd.d), "the daemon has died");
	daemon_stop(&crowd.d);
	daemon_check(&crowd.d);
	daemon_fini(&crowd.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clients_that_come_and_go_leave_nothing),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
