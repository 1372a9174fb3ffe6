/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What breaks servers of this kind, done to a real one: crowds that never read or never finish, peers
 * that reset, a map whose file goes away under it, a long export while everything changes.  The table in
 * docs/durability.md names these and the tests of the other hazards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/cow.h"
#include "common/cursor.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/raw.h"
#include "tests/lib/rnd.h"

#define MIB	  (UINT64_C(1) << 20)
#define BIG_BYTES WIRE_PAYLOAD_MAX
#define BIG_PARTS 5u /* together far more than the cache */
#define BLOCK	  4096u

#define OK(cow, call) MUST((call) >= 0, "%s", cow_error(cow))

/* A client as they should be, with an object of its own and one that is large. */
struct good {
	cow_t *cow;
	cow_object_t *obj;
	uint64_t rounds;
};

static void good_begin(struct good *good, const struct daemon *d)
{
	uint8_t *data = malloc(BIG_BYTES);
	cow_object_t *big;

	MUST(data, "memory");
	*good = (struct good){.cow = daemon_connect(d, DAEMON_UNIX)};
	OK(good->cow, cow_create(good->cow, "big", 0));
	OK(good->cow, cow_open(good->cow, "big", 0, &big));
	for (uint64_t i = 0; i < BIG_PARTS; i++) {
		rnd_fill(data, BIG_BYTES, i);
		OK(good->cow, cow_pwrite(big, data, BIG_BYTES, i * BIG_BYTES));
	}
	OK(good->cow, cow_close(big));
	OK(good->cow, cow_create(good->cow, "good", 0));
	OK(good->cow, cow_open(good->cow, "good", 0, &good->obj));
	free(data);
}

/* Writes, makes it durable, reads it. */
static void good_round(struct good *good)
{
	uint8_t want[BLOCK];
	uint8_t got[BLOCK];

	rnd_fill(want, sizeof(want), good->rounds++);
	OK(good->cow, cow_pwrite(good->obj, want, sizeof(want), 100));
	OK(good->cow, cow_fsync(good->obj));
	OK(good->cow, cow_pread(good->obj, got, sizeof(got), 100));
	MUST(memcmp(got, want, sizeof(want)) == 0, "other bytes");
}

static void good_end(struct good *good)
{
	OK(good->cow, cow_close(good->obj));
	cow_free(good->cow);
}

/* ---- crowds ---------------------------------------------------------------------------------- */

#define CROWD 1000u

/* What cowd(8) says of memory: the cache, the budgets of both directions, a buffer and a body for each
 * connection; and the program itself with the map's pages that are resident. */
#define CACHE	      "32M"
#define CROWD_RSS_MAX ((32 + 2 * 32 + 128 + 96) * MIB)

static struct raw *crowd_new(const struct daemon *d, int kind)
{
	struct raw *crowd = calloc(CROWD, sizeof(*crowd));
	struct rlimit lim;

	MUST(crowd && getrlimit(RLIMIT_NOFILE, &lim) == 0, "memory");
	lim.rlim_cur = lim.rlim_max;
	MUST(setrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur > CROWD + 64, "descriptors");
	for (unsigned int i = 0; i < CROWD; i++)
		raw_connect(&crowd[i], d, kind, false);
	return crowd;
}

static void crowd_free(struct raw *crowd)
{
	for (unsigned int i = 0; i < CROWD; i++)
		raw_close(&crowd[i]);
	free(crowd);
}

static void a_thousand_clients_that_never_read(void **state)
{
	struct daemon_config config = {.cache = CACHE};
	struct raw_bytes b = {0};
	struct daemon d;
	struct good good;
	struct raw *crowd;
	uint64_t rss = 0;

	(void)state;
	must_end_within(600);
	daemon_init(&d, &config);
	daemon_start(&d);
	good_begin(&good, &d);
	crowd = crowd_new(&d, DAEMON_UNIX);
	for (unsigned int i = 0; i < CROWD; i++) {
		uint32_t handle = raw_open_object(&crowd[i], "big");

		b.len = 0;
		for (unsigned int n = 0; n < WIRE_INFLIGHT_MAX; n++)
			(void)raw_add_read(&crowd[i], &b, handle,
					   (uint64_t)((i + n) % BIG_PARTS) * BIG_BYTES, BIG_BYTES);
		raw_send(&crowd[i], b.p, b.len);
		if (i % 20 == 0)
			good_round(&good);
		if (daemon_rss_bytes(&d) > rss)
			rss = daemon_rss_bytes(&d);
	}
	print_message("%" PRIu64 " MiB resident at most\n", rss >> 20);
	MUST(rss < CROWD_RSS_MAX || daemon_is_instrumented(), "%" PRIu64 " MiB", rss >> 20);
	good_round(&good);
	raw_bytes_free(&b);
	crowd_free(crowd);
	good_round(&good);
	good_end(&good);
	daemon_stop(&d);
	daemon_check(&d);
	daemon_fini(&d);
}

/* Each sends one byte of a write for every round of another client, whose writes and fsyncs go on. */
static void slow_clients_do_not_displace_others(void **state)
{
	uint8_t data[64];
	struct raw_bytes *frames = calloc(CROWD, sizeof(*frames));
	struct daemon d;
	struct good good;
	struct raw *crowd;
	struct wire_header h;

	(void)state;
	must_end_within(600);
	MUST(frames, "memory");
	rnd_fill(data, sizeof(data), 1);
	daemon_init(&d, NULL);
	daemon_start(&d);
	good_begin(&good, &d);
	crowd = crowd_new(&d, DAEMON_TCP);
	for (unsigned int i = 0; i < CROWD; i++) {
		uint32_t handle = raw_open_object(&crowd[i], "big");

		(void)raw_add_write(&crowd[i], &frames[i], handle, (uint64_t)i * sizeof(data), data,
				    sizeof(data));
	}
	for (size_t at = 0; at < frames[0].len; at++) {
		for (unsigned int i = 0; i < CROWD; i++)
			raw_send(&crowd[i], frames[i].p + at, 1);
		good_round(&good);
	}
	for (unsigned int i = 0; i < CROWD; i++) {
		MUST(raw_recv(&crowd[i], &h) && h.op == WIRE_OP_WRITE && h.status == 0,
		     "the answer to slow client %u", i);
		raw_bytes_free(&frames[i]);
	}
	crowd_free(crowd);
	free(frames);
	good_end(&good);
	daemon_stop(&d);
	daemon_check(&d);
	daemon_fini(&d);
}

/* ---- resets ---------------------------------------------------------------------------------- */

/* Closes it so that the peer gets a reset, and not the end of the stream. */
static void raw_reset(struct raw *r)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	MUST(setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0, "SO_LINGER");
	raw_close(r);
}

#define RESET_BYTES (1u << 20) /* less than makes the server wait for who does not read */

/* Writes that are cut off have not happened; replies that nobody takes end nothing but their connection. */
static void peers_that_reset_in_the_middle_harm_nobody(void **state)
{
	uint8_t *data = malloc(RESET_BYTES);
	uint8_t got[BLOCK];
	uint8_t before[BLOCK];
	struct daemon d;
	struct good good;
	cow_object_t *big;
	struct rnd rnd = rnd_stream(0);

	(void)state;
	must_end_within(600);
	MUST(data, "memory");
	memset(data, 0xee, RESET_BYTES);
	daemon_init(&d, NULL);
	daemon_start(&d);
	good_begin(&good, &d);
	OK(good.cow, cow_open(good.cow, "big", 0, &big));
	OK(good.cow, cow_pread(big, before, sizeof(before), 0));
	for (uint64_t n = rnd_count("TEST_RESETS", 200); n > 0; n--) {
		struct raw_bytes b = {0};
		struct raw r;
		uint32_t handle;

		raw_connect(&r, &d, DAEMON_TCP, false);
		handle = raw_open_object(&r, "big");
		(void)raw_add_read(&r, &b, handle, 0, RESET_BYTES);
		(void)raw_add_write(&r, &b, handle, 0, data, RESET_BYTES);
		raw_send(&r, b.p, b.len - 1 - rnd_below(&rnd, RESET_BYTES));
		raw_reset(&r);
		raw_bytes_free(&b);
		good_round(&good);
	}
	OK(good.cow, cow_pread(big, got, sizeof(got), 0));
	MUST(memcmp(got, before, sizeof(got)) == 0, "a part of a write was carried out");
	OK(good.cow, cow_close(big));
	free(data);
	good_end(&good);
	daemon_stop(&d);
	daemon_check(&d);
	daemon_fini(&d);
}

/* ---- the map's file -------------------------------------------------------------------------- */

/* A page of the map that cannot be read is a SIGBUS: the daemon says so and ends, and does not begin again. */
static void a_map_cut_short_under_the_daemon_ends_it(void **state)
{
	char map[128];
	struct daemon d;
	cow_t *cow;
	struct cow_info info;
	int status;

	(void)state;
	must_end_within(600);
	daemon_init(&d, NULL);
	daemon_start(&d);
	cow = daemon_connect(&d, DAEMON_UNIX);
	OK(cow, cow_create(cow, "a", 0));
	cow_free(cow);
	daemon_stop(&d);
	daemon_start(&d);
	cow = daemon_connect(&d, DAEMON_UNIX);
	(void)snprintf(map, sizeof(map), "%s/map", d.store);
	MUST(truncate(map, 2 * BLOCK) == 0, "%s", map);
	(void)cow_get_info(cow, "a", &info); /* is in memory, or is not answered any more */
	(void)cow_create(cow, "b", 0);
	cow_free(cow);
	status = daemon_wait(&d);
	MUST(status == 1, "status %d", status);
	daemon_spawn(&d);
	status = daemon_wait(&d);
	MUST(status != 0 && status < 128, "status %d of the next start", status);
	daemon_fini(&d);
}

/* ---- a long export --------------------------------------------------------------------------- */

#define CHURN_BLKS 4096u

struct export
{
	const struct daemon *d;
	atomic_bool end;
	uint64_t passes;
};

/* Reads all of a version, with the list of where it has data, as an export does. */
static void *export_main(void *arg)
{
	struct export *export = arg;
	cow_t *cow = daemon_connect(export->d, DAEMON_TCP);
	static uint8_t buf[MIB];
	cow_object_t *obj;

	OK(cow, cow_open(cow, "churned@then", COW_OPEN_READONLY, &obj));
	do {
		for (uint64_t off = 0; off < CHURN_BLKS * BLOCK; off += sizeof(buf)) {
			struct cow_extent ext[64];

			OK(cow, cow_map(obj, off, sizeof(buf), ext, ARRAY_LEN(ext)));
			OK(cow, cow_pread(obj, buf, sizeof(buf), off));
			for (size_t i = 0; i < sizeof(buf); i += BLOCK)
				MUST(buf[i] == (uint8_t)((off + i) / BLOCK), "other bytes");
		}
		export->passes++;
	} while (!atomic_load(&export->end));
	OK(cow, cow_close(obj));
	cow_free(cow);
	return NULL;
}

static uint64_t churn(cow_t *cow, cow_object_t *obj, struct rnd *rnd, uint64_t rounds)
{
	uint64_t most = 0;
	uint8_t buf[BLOCK];

	for (uint64_t n = 0; n < rounds; n++) {
		struct cow_statfs st;

		for (int i = 0; i < 64; i++) {
			rnd_fill(buf, sizeof(buf), n);
			OK(cow,
			   cow_pwrite(obj, buf, sizeof(buf), rnd_below(rnd, CHURN_BLKS) * BLOCK));
		}
		OK(cow, cow_fsync(obj));
		OK(cow, cow_get_statfs(cow, &st));
		if (st.meta_used > most)
			most = st.meta_used;
	}
	return most;
}

/* Pages of the map come back while a version is read for as long as it takes: nothing holds a snapshot. */
static void an_export_under_churn_keeps_the_map_bounded(void **state)
{
	uint64_t rounds = rnd_count("TEST_CHURN", 400);
	struct export export = {0};
	struct daemon d;
	struct rnd rnd = rnd_stream(1);
	cow_t *cow;
	cow_object_t *obj;
	pthread_t thread;
	uint64_t alone;
	uint64_t beside;

	(void)state;
	must_end_within(3600);
	daemon_init(&d, NULL);
	daemon_start(&d);
	cow = daemon_connect(&d, DAEMON_UNIX);
	OK(cow, cow_create(cow, "churned", CHURN_BLKS * BLOCK));
	OK(cow, cow_open(cow, "churned", 0, &obj));
	for (uint64_t i = 0; i < CHURN_BLKS; i++) {
		uint8_t buf[BLOCK];

		memset(buf, (int)(i & 0xff), sizeof(buf));
		OK(cow, cow_pwrite(obj, buf, sizeof(buf), i * BLOCK));
	}
	OK(cow, cow_snap(cow, "churned@then", NULL, 0));
	alone = churn(cow, obj, &rnd, rounds);
	export = (struct export){.d = &d};
	MUST(pthread_create(&thread, NULL, export_main, &export) == 0, "a thread");
	beside = churn(cow, obj, &rnd, rounds);
	atomic_store(&export.end, true);
	MUST(pthread_join(thread, NULL) == 0, "join");
	print_message("the map had %" PRIu64 " KiB, beside %" PRIu64 " passes %" PRIu64 " KiB\n",
		      alone >> 10, export.passes, beside >> 10);
	MUST(beside < alone + alone / 2, "%" PRIu64 " and %" PRIu64 " KiB", alone >> 10,
	     beside >> 10);
	OK(cow, cow_close(obj));
	cow_free(cow);
	daemon_stop(&d);
	daemon_check(&d);
	daemon_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_thousand_clients_that_never_read),
	    cmocka_unit_test(slow_clients_do_not_displace_others),
	    cmocka_unit_test(peers_that_reset_in_the_middle_harm_nobody),
	    cmocka_unit_test(a_map_cut_short_under_the_daemon_ends_it),
	    cmocka_unit_test(an_export_under_churn_keeps_the_map_bounded),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
