/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cowbench: load on a server by libcow and the own protocol, as long as an answer is waited for before
 * the next request takes its place; and what a load generator for NBD says of it, so that rows of both
 * can be compared one to one: the same options, the same order of offsets for a seed, the same fields.
 *
 *	cowbench [options] URI           URI of an object; prints one JSON object
 *	-o read|write|ping|clone|remove  operation (read)  -b SIZE  of a request (4096)
 *	-a SIZE  alignment of offsets (= -b)               -S       in sequence (else at random)
 *	-q N     requests in flight per connection (1)     -c N     connections (1)
 *	-f       fsync after each write, counted in its latency
 *	-n N     ends after N requests in all              -t SECS  or after this long (3)
 *	-s SEED                                            -m aio|sync
 *
 * -m aio: cow_aio_*, one thread for each connection, whatever is in flight.  -m sync: a thread for each
 * request in flight, which waits for each call; those of a connection share its handle.  The default
 * is sync where one is in flight, else aio.
 *
 * clone makes clones of the object, and removes them when all is measured; remove makes N first, and
 * removes them.  Both have a limit of N = 1000 where none is given.  Writes end with an fsync that is timed
 * apart ("flush_s").  Connecting and opening are not timed.  Data is incompressible, and differs in
 * each write.  The offsets of a seed are those of any operation: what was written can be read again.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/figures.h"
#include "bench/lib/samples.h"
#include "client/cow.h"
#include "common/annot.h"
#include "common/clock.h"
#include "common/size.h"

#define CLONES_DEFAULT 1000
#define NAME_BYTES     256

enum op { OP_READ, OP_WRITE, OP_PING, OP_CLONE, OP_REMOVE, OP_COUNT };
static const char *const op_names[OP_COUNT] = {"read", "write", "ping", "clone", "remove"};

/* What is asked for, the same for all threads. */
static struct {
	enum op op;
	bool sequential;
	bool fsync;
	bool sync_calls;
	unsigned int depth;
	unsigned int nconns;
	uint64_t bytes;
	uint64_t align;
	uint64_t count;
	double secs;
	uint64_t seed;
	const char *uri;
	char *object;
} want = {.depth = 1, .nconns = 1, .bytes = 4096, .count = UINT64_MAX, .secs = 3, .seed = 1};

struct conn {
	cow_t *cow;
	cow_object_t *obj;
};

/* A thread: all that is in flight on a connection, or one synchronous caller. */
struct lane {
	struct conn *conn;
	pthread_t thread;
	uint64_t offsets; /* the states of its random numbers */
	uint64_t noise;
	struct slot *slots;
	unsigned int nslots;
	unsigned int busy;
	struct samples latencies;
	uint64_t end_ns;
};

/* A request in flight. */
struct slot {
	struct lane *lane;
	char *buf;
	char name[NAME_BYTES]; /* of the clone */
	uint64_t offset;
	uint64_t since_ns;
	bool syncing; /* the write is done, its fsync is under way */
};

static pthread_barrier_t ready;
static atomic_uint_fast64_t issued;
static atomic_uint_fast64_t start_ns;

#define COW_MUST(err, cow, what) \
	MUST((err) >= 0, "%s: %s (%s)", what, cow_strerror((int)(err)), cow_error(cow))

static uint64_t rnd_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* ---- a request ------------------------------------------------------------------------------- */

static void clone_name(char name[NAME_BYTES], uint64_t i)
{
	(void)snprintf(name, NAME_BYTES, "%.200s.cowbench-%" PRIu64, want.object, i);
}

/* Takes the next request of all; false: there is none, or the time is over. */
static bool slot_take(struct slot *slot)
{
	struct lane *lane = slot->lane;
	uint64_t i = atomic_fetch_add(&issued, 1);
	uint64_t now = clock_now_ns();

	if (i >= want.count || (double)(now - atomic_load(&start_ns)) > want.secs * 1e9)
		return false;
	if (want.op == OP_CLONE || want.op == OP_REMOVE)
		clone_name(slot->name, i);
	if (want.op == OP_READ || want.op == OP_WRITE) {
		uint64_t at = want.sequential ? i : rnd_next(&lane->offsets);
		uint64_t places = (cow_object_size(lane->conn->obj) - want.bytes) / want.align + 1;

		slot->offset = at % places * want.align;
	}
	if (want.op == OP_WRITE) {
		uint64_t noise = rnd_next(&lane->noise);

		memcpy(slot->buf, &noise, want.bytes < sizeof(noise) ? want.bytes : sizeof(noise));
	}
	slot->syncing = false;
	slot->since_ns = clock_now_ns();
	return true;
}

static void slot_done(struct slot *slot, int64_t result)
{
	COW_MUST(result, slot->lane->conn->cow, op_names[want.op]);
	if (want.op == OP_READ)
		MUST((uint64_t)result == want.bytes, "%" PRId64 " bytes read", result);
	samples_add(&slot->lane->latencies, clock_now_ns() - slot->since_ns);
}

/* ---- one call at a time ---------------------------------------------------------------------- */

static int64_t slot_call(struct slot *slot)
{
	struct conn *conn = slot->lane->conn;
	int64_t result;

	switch (want.op) {
	case OP_READ:
		return cow_pread(conn->obj, slot->buf, want.bytes, slot->offset);
	case OP_WRITE:
		result = cow_pwrite(conn->obj, slot->buf, want.bytes, slot->offset);
		return result >= 0 && want.fsync ? cow_fsync(conn->obj) : result;
	case OP_PING:
		return cow_ping(conn->cow);
	case OP_CLONE:
		return cow_clone(conn->cow, want.object, slot->name);
	default:
		return cow_remove(conn->cow, slot->name);
	}
}

static void run_sync(struct lane *lane)
{
	struct slot *slot = lane->slots;

	while (slot_take(slot))
		slot_done(slot, slot_call(slot));
}

/* ---- many in flight -------------------------------------------------------------------------- */

static void slot_begin(struct slot *slot);

static void slot_cb(void *ctx, int64_t result)
{
	struct slot *slot = ctx;
	struct cow_aio how = {.done = slot_cb, .ctx = slot};

	if (want.op == OP_WRITE && want.fsync && !slot->syncing && result >= 0) {
		slot->syncing = true;
		result = cow_aio_fsync(slot->lane->conn->obj, &how, NULL);
		COW_MUST(result, slot->lane->conn->cow, "fsync");
		return;
	}
	slot_done(slot, result);
	slot->lane->busy--;
	slot_begin(slot);
}

static int slot_send(struct slot *slot)
{
	struct conn *conn = slot->lane->conn;
	struct cow_aio how = {.done = slot_cb, .ctx = slot};

	switch (want.op) {
	case OP_READ:
		return cow_aio_pread(conn->obj, slot->buf, want.bytes, slot->offset, &how, NULL);
	case OP_WRITE:
		return cow_aio_pwrite(conn->obj, slot->buf, want.bytes, slot->offset, &how, NULL);
	case OP_PING:
		return cow_aio_ping(conn->cow, &how, NULL);
	case OP_CLONE:
		return cow_aio_clone(conn->cow, want.object, slot->name, NULL, &how, NULL);
	default:
		return cow_aio_remove(conn->cow, slot->name, 0, &how, NULL);
	}
}

static void slot_begin(struct slot *slot)
{
	if (!slot_take(slot))
		return;
	slot->lane->busy++;
	COW_MUST(slot_send(slot), slot->lane->conn->cow, op_names[want.op]);
}

static void run_aio(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nslots; i++)
		slot_begin(&lane->slots[i]);
	while (lane->busy > 0)
		COW_MUST(cow_wait(lane->conn->cow), lane->conn->cow, "wait");
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static void *lane_run(void *arg)
{
	struct lane *lane = arg;
	uint64_t unset = 0;

	(void)pthread_barrier_wait(&ready);
	(void)atomic_compare_exchange_strong(&start_ns, &unset, clock_now_ns());
	if (want.sync_calls)
		run_sync(lane);
	else
		run_aio(lane);
	lane->end_ns = clock_now_ns();
	return NULL;
}

static void slot_init(struct slot *slot, struct lane *lane)
{
	uint64_t noise;

	slot->lane = lane;
	slot->buf = malloc(want.bytes + sizeof(noise));
	MUST(slot->buf, "memory");
	for (uint64_t at = 0; at < want.bytes; at += sizeof(noise)) {
		noise = rnd_next(&lane->noise);
		memcpy(slot->buf + at, &noise, sizeof(noise));
	}
}

static void lane_init(struct lane *lane, struct conn *conn, unsigned int number)
{
	lane->conn = conn;
	lane->offsets = want.seed * 1000003 + number;
	lane->noise = ~lane->offsets;
	lane->nslots = want.sync_calls ? 1 : want.depth;
	lane->slots = calloc(lane->nslots, sizeof(*lane->slots));
	MUST(lane->slots, "memory");
	for (unsigned int i = 0; i < lane->nslots; i++)
		slot_init(&lane->slots[i], lane);
}

static void lanes_run(struct lane *lanes, unsigned int nlanes)
{
	MUST(pthread_barrier_init(&ready, NULL, nlanes) == 0, "barrier");
	for (unsigned int i = 1; i < nlanes; i++)
		MUST(pthread_create(&lanes[i].thread, NULL, lane_run, &lanes[i]) == 0, "thread");
	(void)lane_run(&lanes[0]);
	for (unsigned int i = 1; i < nlanes; i++)
		MUST(pthread_join(lanes[i].thread, NULL) == 0, "thread");
}

static void lane_fini(struct lane *lane)
{
	for (unsigned int i = 0; i < lane->nslots; i++)
		free(lane->slots[i].buf);
	free(lane->slots);
	samples_fini(&lane->latencies);
}

/* ---- connections, and the clones ------------------------------------------------------------- */

static void conn_open(struct conn *conn)
{
	conn->cow = cow_new();
	MUST(conn->cow, "memory");
	COW_MUST(cow_set_reconnect(conn->cow, 0), conn->cow, "reconnect");
	COW_MUST(cow_connect(conn->cow, want.uri), conn->cow, want.uri);
	COW_MUST(cow_open(conn->cow, want.object, 0, &conn->obj), conn->cow, want.object);
	MUST(cow_object_size(conn->obj) >= want.bytes || want.op > OP_WRITE,
	     "the object is smaller than a request");
}

static void conn_close(struct conn *conn)
{
	COW_MUST(cow_close(conn->obj), conn->cow, "close");
	cow_free(conn->cow);
}

static void clones_make(struct conn *conn)
{
	char name[NAME_BYTES];

	for (uint64_t i = 0; i < want.count; i++) {
		clone_name(name, i);
		COW_MUST(cow_clone(conn->cow, want.object, name), conn->cow, name);
	}
}

/* Those that there are: some of the numbers were drawn when the time was over. */
static void clones_remove(struct conn *conn)
{
	uint64_t n = atomic_load(&issued);
	char name[NAME_BYTES];

	for (uint64_t i = 0; i < n || (want.op == OP_REMOVE && i < want.count); i++) {
		int err;

		clone_name(name, i);
		err = cow_remove(conn->cow, name);
		MUST(err == 0 || err == -COW_ENOENT, "%s: %s", name, cow_error(conn->cow));
	}
}

/* How long it takes until all that was written is durable. */
static uint64_t flush(struct conn *conns)
{
	uint64_t since = clock_now_ns();

	if (want.op != OP_WRITE)
		return 0;
	for (unsigned int i = 0; i < want.nconns; i++)
		COW_MUST(cow_fsync(conns[i].obj), conns[i].cow, "fsync");
	return clock_now_ns() - since;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static double us_at(struct samples *s, unsigned int permille)
{
	return s->n > 0 ? (double)samples_at(s, permille) / 1000 : 0;
}

static void print_figures(struct lane *lanes, unsigned int nlanes, uint64_t flush_ns)
{
	bool data = want.op == OP_READ || want.op == OP_WRITE;
	struct samples all = {0};
	uint64_t end_ns = 0;
	double secs, bytes;

	for (unsigned int i = 0; i < nlanes; i++) {
		for (size_t k = 0; k < lanes[i].latencies.n; k++)
			samples_add(&all, lanes[i].latencies.values[k]);
		end_ns = lanes[i].end_ns > end_ns ? lanes[i].end_ns : end_ns;
	}
	secs = (double)(end_ns - atomic_load(&start_ns)) / 1e9;
	bytes = data ? (double)all.n * (double)want.bytes : 0;
	printf("{\"ops\":%zu,\"bytes\":%.0f,\"secs\":%.6f,\"flush_s\":%.6f,\"iops\":%.1f,"
	       "\"mibs\":%.2f,",
	       all.n, bytes, secs, (double)flush_ns / 1e9, (double)all.n / secs,
	       bytes / secs / 1048576);
	printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
	       us_at(&all, 500), us_at(&all, 990), us_at(&all, 999), us_at(&all, 1000));
	samples_fini(&all);
}

/* ---- options --------------------------------------------------------------------------------- */

static NORETURN void usage(const char *why)
{
	(void)fprintf(
	    stderr,
	    "cowbench: %s\n"
	    "usage: cowbench [-o read|write|ping|clone|remove] [-b SIZE] [-a SIZE] [-S]\n"
	    "                [-q N] [-c N] [-f] [-n N] [-t SECS] [-s SEED] [-m aio|sync] URI\n",
	    why);
	exit(2);
}

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
	uint64_t value;

	if (size_parse(text, &value) < 0 || value < min || value > max)
		usage(text);
	return value;
}

static enum op op_parse(const char *name)
{
	for (enum op op = 0; op < OP_COUNT; op++)
		if (strcmp(name, op_names[op]) == 0)
			return op;
	usage(name);
}

static void option(int opt, const char *mode[1])
{
	switch (opt) {
	case 'o':
		want.op = op_parse(optarg);
		break;
	case 'b':
		want.bytes = number(optarg, 1, 1 << 30);
		break;
	case 'a':
		want.align = number(optarg, 1, UINT64_C(1) << 40);
		break;
	case 'S':
		want.sequential = true;
		break;
	case 'q':
		want.depth = (unsigned int)number(optarg, 1, 4096);
		break;
	case 'c':
		want.nconns = (unsigned int)number(optarg, 1, 4096);
		break;
	case 'f':
		want.fsync = true;
		break;
	case 'n':
		want.count = number(optarg, 1, UINT64_MAX);
		break;
	case 't':
		want.secs = strtod(optarg, NULL);
		break;
	case 's':
		want.seed = number(optarg, 0, UINT64_MAX);
		break;
	case 'm':
		*mode = optarg;
		break;
	default:
		usage("no such option");
	}
}

static void options(int argc, char **argv)
{
	const char *mode = NULL;
	int opt;

	while ((opt = getopt(argc, argv, "o:b:a:Sq:c:fn:t:s:m:")) != -1)
		option(opt, &mode);
	if (optind + 1 != argc)
		usage("one URI");
	want.uri = argv[optind];
	if (cow_uri_object(want.uri, &want.object) < 0 || !want.object)
		usage("the URI names no object");
	if (mode && strcmp(mode, "aio") != 0 && strcmp(mode, "sync") != 0)
		usage(mode);
	want.sync_calls = mode ? mode[0] == 's' : want.depth == 1;
	want.align = want.align ? want.align : want.bytes;
	if (want.op > OP_PING && want.count == UINT64_MAX)
		want.count = CLONES_DEFAULT;
	if (want.secs <= 0)
		usage("no time to run");
}

int main(int argc, char **argv)
{
	unsigned int nlanes;
	struct lane *lanes;
	struct conn *conns;
	uint64_t flush_ns;

	options(argc, argv);
	nlanes = want.nconns * (want.sync_calls ? want.depth : 1);
	conns = calloc(want.nconns, sizeof(*conns));
	lanes = calloc(nlanes, sizeof(*lanes));
	MUST(conns && lanes, "memory");
	for (unsigned int i = 0; i < want.nconns; i++)
		conn_open(&conns[i]);
	for (unsigned int i = 0; i < nlanes; i++)
		lane_init(&lanes[i], &conns[i % want.nconns], i);
	if (want.op == OP_REMOVE)
		clones_make(&conns[0]);
	lanes_run(lanes, nlanes);
	flush_ns = flush(conns);
	if (want.op > OP_PING)
		clones_remove(&conns[0]);
	print_figures(lanes, nlanes, flush_ns);
	for (unsigned int i = 0; i < nlanes; i++)
		lane_fini(&lanes[i]);
	for (unsigned int i = 0; i < want.nconns; i++)
		conn_close(&conns[i]);
	free(lanes);
	free(conns);
	free(want.object);
	return 0;
}
