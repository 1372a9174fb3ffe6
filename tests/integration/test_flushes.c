/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many flushes of the device an fsync costs: alone, and of many connections at once.  They are
 * counted by the device in front of the daemon's own, and printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cow.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/raw.h"
#include "tests/lib/rnd.h"

#define CONNS	    100u
#define FLUSHES_MAX 20u /* of all their fsyncs: fewer */
#define ROUNDS	    21u /* what counts is the median: now and then a checkpoint flushes too */
#define SMALL	    700u
#define BLOCK	    4096u

struct flushes {
	struct daemon d;
	char calls[96]; /* the file in which the device notes each call */
	char calls_env[128];
};

struct client {
	struct raw raw;
	uint32_t handle;
};

/* The calls of a kind so far. */
static unsigned long calls_of(const struct flushes *f, const char *kind)
{
	size_t len = strlen(kind);
	unsigned long n = 0;
	char line[64];
	FILE *file = fopen(f->calls, "re");

	MUST(file, "%s", f->calls);
	while (fgets(line, sizeof(line), file))
		n += strncmp(line, kind, len) == 0 && line[len] == ' ';
	(void)fclose(file);
	return n;
}

static int setup(void **state)
{
	/* nothing is written but what an fsync asks for */
	struct daemon_config config = {
	    .program = "COWD_FAULT", .size = "256M", .writeback_ms = "60000"};
	struct flushes *f = calloc(1, sizeof(*f));

	MUST(f, "memory");
	must_end_within(300);
	daemon_init(&f->d, &config);
	(void)snprintf(f->calls, sizeof(f->calls), "%s/calls", f->d.dir);
	(void)snprintf(f->calls_env, sizeof(f->calls_env), "COWD_FAULT_COUNT_FILE=%s", f->calls);
	f->d.config.env[0] = f->calls_env;
	daemon_start(&f->d);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct flushes *f = *state;

	daemon_stop(&f->d);
	f->d.config.env[0] = NULL;
	daemon_check(&f->d);
	daemon_fini(&f->d);
	free(f);
	return 0;
}

static int count_cmp(const void *a, const void *b)
{
	const unsigned long *x = a;
	const unsigned long *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Sorts them. */
static unsigned long median(unsigned long counts[ROUNDS])
{
	qsort(counts, ROUNDS, sizeof(counts[0]), count_cmp);
	return counts[ROUNDS / 2];
}

static void client_open(struct client *cl, const struct daemon *d, unsigned int number)
{
	cow_t *cow = daemon_connect(d, DAEMON_UNIX);
	char name[32];

	(void)snprintf(name, sizeof(name), "object-%u", number);
	MUST(cow_create(cow, name, 1 << 20) == 0, "%s", cow_error(cow));
	cow_free(cow);
	raw_connect(&cl->raw, d, DAEMON_UNIX, false);
	cl->handle = raw_open_object(&cl->raw, name);
}

/* A small write, acknowledged. */
static void client_write(struct client *cl, unsigned int round)
{
	uint8_t data[SMALL];
	struct raw_bytes b = {0};

	rnd_fill(data, sizeof(data), round);
	(void)raw_add_write(&cl->raw, &b, cl->handle, round * BLOCK, data, sizeof(data));
	raw_expect(&cl->raw, &b, 0);
	raw_bytes_free(&b);
}

/* Asks for an fsync, and does not wait for it. */
static void client_ask(struct client *cl)
{
	struct raw_bytes b = {0};

	(void)raw_add_fsync(&cl->raw, &b, cl->handle);
	raw_send(&cl->raw, b.p, b.len);
	raw_bytes_free(&b);
}

static void client_hear(struct client *cl)
{
	struct wire_header h;

	MUST(raw_recv(&cl->raw, &h), "the connection was closed");
	MUST(h.op == WIRE_OP_FSYNC && h.status == 0, "status %u", h.status);
}

/* The flushes that the fsyncs of n connections cost, each after a write of its own. */
static unsigned long fsync_all(const struct flushes *f, struct client *clients, unsigned int n,
			       unsigned int round)
{
	unsigned long before;

	for (unsigned int i = 0; i < n; i++)
		client_write(&clients[i], round);
	before = calls_of(f, "sync");
	for (unsigned int i = 0; i < n; i++)
		client_ask(&clients[i]);
	for (unsigned int i = 0; i < n; i++)
		client_hear(&clients[i]);
	return calls_of(f, "sync") - before;
}

/* Rounds with n connections; the median, the rest is printed. */
static unsigned long flushes_of(const struct flushes *f, unsigned int n)
{
	struct client *clients = calloc(n, sizeof(*clients));
	unsigned long counts[ROUNDS];
	unsigned long sum = 0;
	unsigned long mid;

	MUST(clients, "memory");
	for (unsigned int i = 0; i < n; i++)
		client_open(&clients[i], &f->d, i);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		counts[r] = fsync_all(f, clients, n, r);
		sum += counts[r];
	}
	mid = median(counts);
	print_message("%u fsyncs at once, %u times: flushes %lu least, %lu median, %lu most, "
		      "%.3f for each fsync\n",
		      n, ROUNDS, counts[0], mid, counts[ROUNDS - 1], (double)sum / (ROUNDS * n));
	for (unsigned int i = 0; i < n; i++)
		raw_close(&clients[i].raw);
	free(clients);
	return mid;
}

static void test_one_fsync_costs_one_flush(void **state)
{
	assert_int_equal(flushes_of(*state, 1), 1);
}

static void test_many_fsyncs_share_flushes(void **state)
{
	unsigned long n = flushes_of(*state, CONNS);

	assert_true(n >= 1);
	assert_true(n < FLUSHES_MAX);
}

/* What is durable is not flushed again. */
static void test_fsync_of_nothing_costs_no_flush(void **state)
{
	const struct flushes *f = *state;
	unsigned long counts[ROUNDS];
	struct client cl;

	client_open(&cl, &f->d, 0);
	client_write(&cl, 0);
	client_ask(&cl);
	client_hear(&cl);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		unsigned long before = calls_of(f, "sync");

		client_ask(&cl);
		client_hear(&cl);
		counts[r] = calls_of(f, "sync") - before;
	}
	assert_int_equal(median(counts), 0);
	raw_close(&cl.raw);
}

/* A clone of what was written and not fsynced: that once, and itself once. */
static void test_clone_costs_two_flushes_at_most(void **state)
{
	const struct flushes *f = *state;
	unsigned long counts[ROUNDS];
	cow_t *cow = daemon_connect(&f->d, DAEMON_UNIX);
	unsigned long mid;
	struct client cl;

	client_open(&cl, &f->d, 0);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		unsigned long before;
		char name[32];

		(void)snprintf(name, sizeof(name), "clone-%u", r);
		client_write(&cl, r);
		before = calls_of(f, "sync");
		MUST(cow_clone(cow, "object-0", name) == 0, "%s", cow_error(cow));
		counts[r] = calls_of(f, "sync") - before;
	}
	mid = median(counts);
	print_message("a clone after a write: flushes %lu median\n", mid);
	assert_in_range(mid, 1, 2);
	raw_close(&cl.raw);
	cow_free(cow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_one_fsync_costs_one_flush, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_fsyncs_share_flushes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_fsync_of_nothing_costs_no_flush, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_clone_costs_two_flushes_at_most, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
