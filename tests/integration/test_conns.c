/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two hundred connections at once, some of them with bad manners; and a device that is slow for one
 * of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/cow.h"
#include "common/cursor.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/raw.h"
#include "tests/lib/rnd.h"

#define CLIENTS	    198 /* with the slow one and the one that never reads: 200 */
#define ROUNDS	    12u
#define RANGE_BYTES 65536u /* each client's own, in its object and in the shared one */
#define BIG_BYTES   WIRE_PAYLOAD_MAX
#define CACHE	    "64M"

/* Above the cache: code, stacks, buffers of 200 sockets, the map's pages that are resident, and the
 * payloads under way. */
#define RSS_MAX ((64u + 96u) << 20)

struct crowd {
	struct daemon d;
	pthread_barrier_t all_there;
	sem_t done; /* posted for each round that a client has done */
};

struct client {
	struct crowd *crowd;
	pthread_t thread;
	unsigned int number;
	struct rnd rnd;
	cow_t *cow;
	cow_object_t *own;
	cow_object_t *shared;
};

#define OK(cl, call) MUST((call) >= 0, "client %u: %s", (cl)->number, cow_error((cl)->cow))

/* Writes part of its range and reads all of it again. */
static void client_round(struct client *cl, cow_object_t *obj, uint64_t base, uint8_t *want)
{
	uint8_t got[RANGE_BYTES];
	size_t len = (size_t)rnd_log(&cl->rnd, RANGE_BYTES);
	size_t off = (size_t)rnd_below(&cl->rnd, RANGE_BYTES - len + 1);

	rnd_fill(want + off, len, rnd_u64(&cl->rnd));
	OK(cl, cow_pwrite(obj, want + off, len, base + off));
	MUST(cow_pread(obj, got, RANGE_BYTES, base) == RANGE_BYTES, "client %u: %s", cl->number,
	     cow_error(cl->cow));
	MUST(memcmp(got, want, RANGE_BYTES) == 0, "client %u: other bytes, seed %" PRIu64,
	     cl->number, rnd_seed());
}

static void *client_main(void *arg)
{
	struct client *cl = arg;
	struct crowd *crowd = cl->crowd;
	static _Thread_local uint8_t want[2][RANGE_BYTES];
	char name[32];

	(void)snprintf(name, sizeof(name), "own-%u", cl->number);
	cl->cow = daemon_connect(&crowd->d, cl->number % 2 ? DAEMON_TCP : DAEMON_UNIX);
	OK(cl, cow_create(cl->cow, name, RANGE_BYTES));
	OK(cl, cow_open(cl->cow, name, 0, &cl->own));
	OK(cl, cow_open(cl->cow, "shared", 0, &cl->shared));
	(void)pthread_barrier_wait(&crowd->all_there);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		client_round(cl, cl->own, 0, want[0]);
		client_round(cl, cl->shared, (uint64_t)cl->number * RANGE_BYTES, want[1]);
		(void)sem_post(&crowd->done);
	}
	OK(cl, cow_fsync(cl->own));
	OK(cl, cow_close(cl->own));
	OK(cl, cow_close(cl->shared));
	cow_free(cl->cow);
	return NULL;
}

/* Objects that all share: one to write, and one large enough that its reads fill the sockets. */
static void crowd_prepare(struct crowd *crowd)
{
	cow_t *cow = daemon_connect(&crowd->d, DAEMON_UNIX);
	cow_object_t *big;
	uint8_t *data = malloc(BIG_BYTES);

	MUST(data, "memory");
	rnd_fill(data, BIG_BYTES, rnd_seed());
	MUST(cow_create(cow, "shared", (uint64_t)CLIENTS * RANGE_BYTES) == 0, "%s", cow_error(cow));
	MUST(cow_create(cow, "big", 0) == 0, "%s", cow_error(cow));
	MUST(cow_open(cow, "big", 0, &big) == 0, "%s", cow_error(cow));
	MUST(cow_pwrite(big, data, BIG_BYTES, 0) == BIG_BYTES, "%s", cow_error(cow));
	MUST(cow_fsync(big) == 0 && cow_close(big) == 0, "%s", cow_error(cow));
	cow_free(cow);
	free(data);
}

/* Asks for as much as a connection may have in flight, and takes none of it. */
static void never_read_begin(struct raw *r, const struct daemon *d)
{
	struct raw_bytes b = {0};
	uint32_t handle;

	raw_connect(r, d, DAEMON_UNIX, true);
	handle = raw_open_object(r, "big");
	for (unsigned int i = 0; i < WIRE_INFLIGHT_MAX; i++)
		(void)raw_add_read(r, &b, handle, 0, BIG_BYTES);
	raw_send(r, b.p, b.len);
	raw_bytes_free(&b);
}

/* A frame, one byte for each round that another client has done. */
static void slow_run(struct crowd *crowd, struct raw *r)
{
	uint8_t data[300];
	struct raw_bytes b = {0};
	struct wire_header h;
	uint32_t handle = raw_open_object(r, "own-0");

	rnd_fill(data, sizeof(data), 1);
	(void)raw_add_write(r, &b, handle, RANGE_BYTES, data, sizeof(data));
	for (size_t i = 0; i < b.len; i++) {
		MUST(!raw_readable(r), "an answer to a part of a frame");
		raw_send(r, b.p + i, 1);
		while (sem_wait(&crowd->done) != 0)
			;
	}
	MUST(raw_recv(r, &h) && h.status == 0 && h.op == WIRE_OP_WRITE, "the slow client's answer");
	raw_bytes_free(&b);
}

static void test_two_hundred_connections(void **state)
{
	static struct client clients[CLIENTS];
	struct daemon_config config = {.cache = CACHE};
	struct crowd crowd;
	struct raw slow, never;
	uint64_t rss;

	(void)state;
	must_end_within(400);
	daemon_init(&crowd.d, &config);
	daemon_start(&crowd.d);
	MUST(pthread_barrier_init(&crowd.all_there, NULL, CLIENTS + 1) == 0, "barrier");
	MUST(sem_init(&crowd.done, 0, 0) == 0, "semaphore");
	crowd_prepare(&crowd);
	raw_connect(&slow, &crowd.d, DAEMON_TCP, false);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){.crowd = &crowd, .number = i};
		clients[i].rnd = rnd_stream(i);
		MUST(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) == 0,
		     "thread %u", i);
	}
	never_read_begin(&never, &crowd.d);
	(void)pthread_barrier_wait(&crowd.all_there);
	slow_run(&crowd, &slow);
	for (unsigned int i = 0; i < CLIENTS; i++)
		MUST(pthread_join(clients[i].thread, NULL) == 0, "join");
	rss = daemon_rss_bytes(&crowd.d);
	MUST(rss < RSS_MAX || daemon_is_instrumented(), "%" PRIu64 " MiB resident", rss >> 20);
	raw_close(&never);
	raw_close(&slow);
	daemon_stop(&crowd.d);
	daemon_check(&crowd.d);
	daemon_fini(&crowd.d);
	(void)sem_destroy(&crowd.done);
	(void)pthread_barrier_destroy(&crowd.all_there);
}

/* One that never reads gets all the same what it asked for, once it does read. */
static void test_late_reader(void **state)
{
	struct crowd crowd = {.d = {.pid = 0}};
	struct daemon_config config = {.cache = CACHE};
	uint8_t *want = malloc(BIG_BYTES);
	struct wire_header h;
	struct raw r;

	(void)state;
	must_end_within(400);
	MUST(want, "memory");
	rnd_fill(want, BIG_BYTES, rnd_seed());
	daemon_init(&crowd.d, &config);
	daemon_start(&crowd.d);
	crowd_prepare(&crowd);
	never_read_begin(&r, &crowd.d);
	for (unsigned int i = 0; i < WIRE_INFLIGHT_MAX; i++) {
		MUST(raw_recv(&r, &h), "the connection was closed");
		MUST(h.status == 0 && h.payload_len == BIG_BYTES, "status %u", h.status);
		MUST(memcmp(r.payload, want, BIG_BYTES) == 0, "other bytes");
	}
	raw_close(&r);
	free(want);
	daemon_stop(&crowd.d);
	daemon_fini(&crowd.d);
}

/* ---- a slow device --------------------------------------------------------------------------- */

#define SLOW_BYTES 65536u

static void gate_prepare(const struct daemon *d, const uint8_t *data)
{
	static const char *const names[] = {"cached", "cold"};
	cow_t *cow = daemon_connect(d, DAEMON_UNIX);
	cow_object_t *obj;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		MUST(cow_create(cow, names[i], 0) == 0, "%s", cow_error(cow));
		MUST(cow_open(cow, names[i], 0, &obj) == 0, "%s", cow_error(cow));
		MUST(cow_pwrite(obj, data, SLOW_BYTES, 0) == SLOW_BYTES, "%s", cow_error(cow));
		MUST(cow_fsync(obj) == 0 && cow_close(obj) == 0, "%s", cow_error(cow));
	}
	cow_free(cow);
}

static void read_same(cow_t *cow, cow_object_t *obj, const uint8_t *data)
{
	uint8_t got[SLOW_BYTES];

	MUST(cow_pread(obj, got, SLOW_BYTES, 0) == SLOW_BYTES, "%s", cow_error(cow));
	MUST(memcmp(got, data, SLOW_BYTES) == 0, "other bytes");
}

/* Sends reads that must wait; an answer to a later PING tells that they have been taken up. */
static void slow_reads_begin(struct raw *r, const struct daemon *d, unsigned int nreads)
{
	struct raw_bytes b = {0};
	struct wire_header h;
	uint32_t handle;

	raw_connect(r, d, DAEMON_TCP, false);
	handle = raw_open_object(r, "cold");
	for (unsigned int i = 0; i < nreads; i++)
		(void)raw_add_read(r, &b, handle, (uint64_t)i * (SLOW_BYTES / nreads),
				   SLOW_BYTES / nreads);
	(void)raw_add_ping(r, &b);
	raw_send(r, b.p, b.len);
	raw_bytes_free(&b);
	MUST(raw_recv(r, &h) && h.op == WIRE_OP_PING, "a read did not wait");
}

static void slow_reads_end(struct raw *r, const uint8_t *data, unsigned int nreads, uint64_t first)
{
	struct wire_header h;
	size_t len = SLOW_BYTES / nreads;

	for (unsigned int i = 0; i < nreads; i++) {
		MUST(raw_recv(r, &h) && h.op == WIRE_OP_READ && h.status == 0, "status %u",
		     h.status);
		MUST(h.payload_len == len, "%u bytes", h.payload_len);
		MUST(memcmp(r->payload, data + (h.id - first) * len, len) == 0, "other bytes");
	}
	raw_close(r);
}

struct gated {
	struct daemon d;
	char gate[96];
	char env[128];
	cow_t *cow;
	uint8_t data[SLOW_BYTES];
};

/* A daemon with nothing cached, whose device can be made to wait. */
static void gated_start(struct gated *g)
{
	struct daemon_config config = {.program = "COWD_FAULT"};

	must_end_within(400);
	rnd_fill(g->data, sizeof(g->data), rnd_seed());
	daemon_init(&g->d, &config);
	(void)snprintf(g->gate, sizeof(g->gate), "%s/gate", g->d.dir);
	(void)snprintf(g->env, sizeof(g->env), "COWD_FAULT_READ_GATE=%s", g->gate);
	g->d.config.env[0] = g->env;
	daemon_start(&g->d);
	gate_prepare(&g->d, g->data);
	daemon_stop(&g->d);
	daemon_start(&g->d);
	g->cow = daemon_connect(&g->d, DAEMON_UNIX);
}

static void gated_stop(struct gated *g)
{
	cow_free(g->cow);
	daemon_stop(&g->d);
	daemon_check(&g->d);
	daemon_fini(&g->d);
}

static void gate_close(const struct gated *g)
{
	int fd = open(g->gate, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	MUST(fd >= 0 && close(fd) == 0, "%s", g->gate);
}

static void gate_open(const struct gated *g)
{
	MUST(unlink(g->gate) == 0, "%s", g->gate);
}

/* While reads of the device wait, whatever needs none of them is answered. */
static void test_slow_device(void **state)
{
	struct gated g;
	cow_object_t *cached;
	struct raw slow;

	(void)state;
	gated_start(&g);
	MUST(cow_open(g.cow, "cached", 0, &cached) == 0, "%s", cow_error(g.cow));
	read_same(g.cow, cached, g.data);
	gate_close(&g);
	slow_reads_begin(&slow, &g.d, 2);
	read_same(g.cow, cached, g.data);
	MUST(cow_pwrite(cached, g.data, 100, SLOW_BYTES) == 100, "%s", cow_error(g.cow));
	MUST(cow_ping(g.cow) == 0, "%s", cow_error(g.cow));
	MUST(!raw_readable(&slow), "the read did not wait");
	gate_open(&g);
	slow_reads_end(&slow, g.data, 2, 3);
	MUST(cow_fsync(cached) == 0 && cow_close(cached) == 0, "%s", cow_error(g.cow));
	gated_stop(&g);
}

/* What a slow read brings does not replace what was cut off or written meanwhile. */
static void test_changes_during_slow_read(void **state)
{
	enum { BLOCK = 4096, WRITTEN = 8 * BLOCK };
	struct gated g;
	cow_object_t *cold;
	struct wire_header h;
	struct raw slow;
	uint8_t fresh[BLOCK];

	(void)state;
	gated_start(&g);
	MUST(cow_open(g.cow, "cold", 0, &cold) == 0, "%s", cow_error(g.cow));
	gate_close(&g);
	slow_reads_begin(&slow, &g.d, 1);
	rnd_fill(fresh, sizeof(fresh), 5);
	MUST(cow_resize(cold, BLOCK, COW_RESIZE_SHRINK) == 0, "%s", cow_error(g.cow));
	MUST(cow_resize(cold, SLOW_BYTES, 0) == 0, "%s", cow_error(g.cow));
	MUST(cow_pwrite(cold, fresh, BLOCK, WRITTEN) == BLOCK, "%s", cow_error(g.cow));
	gate_open(&g);
	MUST(raw_recv(&slow, &h) && h.status == 0, "status %u", h.status);
	raw_close(&slow);
	memset(g.data + BLOCK, 0, SLOW_BYTES - BLOCK);
	memcpy(g.data + WRITTEN, fresh, BLOCK);
	read_same(g.cow, cold, g.data);
	MUST(cow_fsync(cold) == 0, "%s", cow_error(g.cow));
	read_same(g.cow, cold, g.data);
	MUST(cow_close(cold) == 0, "%s", cow_error(g.cow));
	gated_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_hundred_connections),
	    cmocka_unit_test(test_late_reader),
	    cmocka_unit_test(test_slow_device),
	    cmocka_unit_test(test_changes_during_slow_read),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
