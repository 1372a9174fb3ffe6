/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_nbd_conn.c: any bytes from NBD clients, in any pieces, to connections of a server: handshake and
 * transmission, with answers read or not, ends in the midst of anything, an engine that is slow or fails
 * (fake_object.h), small budgets, several clients, and a server that stops.  nbd_input.h says how the bytes of
 * an input are read, nbd_watch.h what is expected of the answers.
 *
 * Behind each input: nothing hangs once the clients have gone; no connection, handle, page, part of a budget
 * or clone is left, in builds with a sanitizer no byte of memory; and no object has changed but the one that
 * somebody had opened to write to.
 */
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/annot.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/conn_priv.h"
#include "server/loop.h"
#include "server/nbd_priv.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/nbd_input.h"
#include "tests/fuzz/nbd_watch.h"
#include "tests/lib/fake_object.h"
#include "tests/lib/must.h"

#define OBJECT_BYTES (IN_BLKS * BLK_BYTES)
#define TURNS_MAX    50000u /* until everything has come to rest */
#define SEND_TRIES   8u
#define NARROW_BYTES 4096
#define PHASES	     (NBD_LEAVING + 1)
#define STATES	     (CONN_DEAD + 1)

struct client {
	int fd;	  /* -1: nobody */
	bool eof; /* of the server's side */
	bool cut; /* the end is none: the server has closed at once */
	struct watch watch;
};

struct world {
	unsigned int mode;
	struct loop *loop;
	struct event_base *base;
	struct objects *objs;
	struct session_host host;
	struct nbd_config nbd;
	struct conn_set *set;
	struct client clients[IN_CLIENTS];
	unsigned int fails; /* that were planned */
	bool resized;
	bool removed;
	bool stopped;
	bool aborted;
};

/* In all of the run. */
static struct {
	uint64_t phases[PHASES];
	uint64_t states[STATES];
	uint64_t ops[IN_OPS];
	uint64_t clones;
} seen;

static struct {
	const uint8_t *data;
	size_t len;
} input;

NORETURN static void violated(const char *what)
{
	(void)fprintf(stderr, "fuzz_nbd_conn: %s: --input ", what);
	for (size_t i = 0; i < input.len; i++)
		(void)fprintf(stderr, "%02x", input.data[i]);
	(void)fputc('\n', stderr);
	abort();
}

static void must(bool ok, const char *what)
{
	if (!ok)
		violated(what);
}

static void must_be_right(const char *wrong)
{
	if (wrong)
		violated(wrong);
}

/* ---- objects --------------------------------------------------------------------------------- */

/* What each object has at first: holes and data in turn. */
static const uint8_t *content(void)
{
	static uint8_t bytes[OBJECT_BYTES];

	static bool made;

	for (size_t i = 0; !made && i < sizeof(bytes); i++)
		if (i / BLK_BYTES % 8 < 4)
			bytes[i] = (uint8_t)(i * 7 + i / 251);
	made = true;
	return bytes;
}

bool watch_is_content(const char *name, uint64_t offset, const uint8_t *data, size_t len)
{
	if (len == 0 || (strcmp(name, IN_VERSION) != 0 && strcmp(name, IN_OTHER) != 0 &&
			 strcmp(name, IN_READONLY) != 0))
		return true;
	return offset <= OBJECT_BYTES && len <= OBJECT_BYTES - offset &&
	       memcmp(content() + offset, data, len) == 0;
}

static void made_cb(void *ctx, int err, const struct map_obj *info)
{
	(void)ctx;
	(void)info;
	MUST(err == 0, "an object: %s", err_name(err));
}

static void make_object(struct objects *objs, const char *name)
{
	uint64_t size;

	object_create(objs, name, OBJECT_BYTES, NULL, made_cb, NULL);
	memcpy((void *)(uintptr_t)fake_content(objs, name, &size), content(), OBJECT_BYTES);
}

static void make_objects(struct objects *objs)
{
	const struct object_edit edit = {.set_readonly = true, .readonly = true};

	fake_set_size_max(objs, 4 * OBJECT_BYTES);
	make_object(objs, IN_OBJECT);
	make_object(objs, IN_READONLY);
	make_object(objs, IN_BYSTAND);
	object_snapshot(objs, IN_VERSION, NULL, made_cb, NULL);
	object_snapshot(objs, IN_OTHER, NULL, made_cb, NULL);
	object_set(objs, IN_READONLY, &edit, made_cb, NULL);
}

static void must_be_unchanged(const struct world *world, const char *name, bool writable)
{
	uint64_t size = 0;
	const uint8_t *data = fake_content(world->objs, name, &size);

	must(data, "an object has gone");
	must(writable || fake_writers(world->objs, name) == 0, "opened to be written to");
	if (fake_writers(world->objs, name) == 0)
		must(size == OBJECT_BYTES && memcmp(data, content(), size) == 0,
		     "an object has changed");
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Counts where the connections are. */
static void look(const struct world *world)
{
	const struct conn *conn;

	TAILQ_FOREACH (conn, &world->set->conns, link) {
		const struct nbd *nbd = nbd_of(conn);

		seen.phases[nbd->phase]++;
		seen.states[conn->state]++;
		seen.clones += nbd->clone[0] != '\0' && nbd->phase == NBD_TRANSMIT;
	}
}

static void turn(const struct world *world)
{
	MUST(event_base_loop(world->base, EVLOOP_NONBLOCK) >= 0, "event_base_loop");
	look(world);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void narrow(int fd)
{
	const int bytes = NARROW_BYTES;

	MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0, "setsockopt");
}

static void dial(struct world *world, struct client *c)
{
	int fds[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
	if (world->mode & IN_NARROW) {
		narrow(fds[0]);
		narrow(fds[1]);
	}
	MUST(conn_new(world->set, &conn_nbd, fds[0]) == 0, "conn_new");
	*c = (struct client){.fd = fds[1]};
	watch_init(&c->watch);
	c->watch.clones = world->nbd.clones;
	c->watch.needs_tls = world->nbd.tls == NBD_TLS_REQUIRE;
}

static void hang_up(struct client *c)
{
	if (c->fd < 0)
		return;
	(void)close(c->fd);
	watch_fini(&c->watch);
	c->fd = -1;
}

/* Reads so many bytes, as far as they are there; the number. */
static size_t client_read(struct client *c, size_t max)
{
	static uint8_t buf[65536];
	size_t total = 0;

	while (c->fd >= 0 && !c->eof && total < max) {
		size_t want = max - total < sizeof(buf) ? max - total : sizeof(buf);
		ssize_t n = recv(c->fd, buf, want, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		c->cut = n < 0;
		c->eof = n <= 0;
		if (n > 0)
			must_be_right(watch_got(&c->watch, buf, (size_t)n));
		total += n > 0 ? (size_t)n : 0;
	}
	return total;
}

/* As much as the server takes, in some turns. */
static void client_send(struct world *world, struct client *c, const uint8_t *p, size_t len)
{
	unsigned int tries = 0;

	while (len > 0 && tries < SEND_TRIES) {
		ssize_t n = send(c->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return;
		if (n < 0) {
			tries++;
			turn(world);
			if (!(world->mode & IN_LEAVE))
				(void)client_read(c, SIZE_MAX);
			continue;
		}
		watch_sent(&c->watch, p, (size_t)n);
		p += n;
		len -= (size_t)n;
	}
}

static void client_fill(struct world *world, struct client *c, size_t len, uint8_t byte)
{
	uint8_t buf[BLK_BYTES];

	memset(buf, byte, sizeof(buf));
	for (; len > 0; len -= len < sizeof(buf) ? len : sizeof(buf))
		client_send(world, c, buf, len < sizeof(buf) ? len : sizeof(buf));
}

/* ---- what an input does ---------------------------------------------------------------------- */

static void fail_next(struct world *world, uint8_t which)
{
	static const int errors[] = {-ERR_CSUM,	 -ERR_NOSPC, -ERR_IO,	    -ERR_NOMEM,
				     -ERR_NOENT, -ERR_BUSY,  -ERR_SHUTDOWN, -ERR_LIMIT};

	fake_fail_next(world->objs, errors[which % ARRAY_LEN(errors)]);
	world->fails++;
}

static void ignore_cb(void *ctx, int err)
{
	(void)ctx;
	(void)err;
}

static void resize_cb(void *ctx, int err, struct handle *handle, const struct map_obj *info)
{
	const uint64_t *size = ctx;

	(void)info;
	if (err < 0)
		return;
	object_resize(handle, *size, true, ignore_cb, NULL);
	MUST(object_close(handle) == 0, "object_close");
}

/* By another client; only while the engine answers. */
static void resize(struct world *world, uint64_t nblks)
{
	uint64_t size = nblks * BLK_BYTES;

	if (fake_is_held(world->objs))
		return;
	object_open(world->objs, IN_OBJECT, 0, "somebody", resize_cb, &size);
	world->resized = true;
}

static void stop(struct world *world, uint8_t how)
{
	if (how % 4 == 3) {
		conn_set_abort(world->set);
		world->aborted = true;
	} else {
		conn_set_stop(world->set);
	}
	world->stopped = true;
}

/* Takes n bytes of arguments, little-endian. */
static uint32_t take(struct cursor *in, size_t n)
{
	const uint8_t *p = cursor_take(in, n);
	uint32_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v |= (uint32_t)p[i] << 8 * i;
	return v;
}

static void do_send(struct world *world, struct client *c, struct cursor *in)
{
	size_t len = take(in, 2);
	const uint8_t *p;

	if (len > cursor_left(in))
		len = cursor_left(in);
	p = cursor_take(in, len);
	if (p && len > 0)
		client_send(world, c, p, len);
}

static void do_client_op(struct world *world, enum in_op op, struct client *c, struct cursor *in)
{
	size_t n;

	if (c->fd < 0 && !world->stopped)
		dial(world, c);
	switch (op) {
	case IN_SEND:
		do_send(world, c, in);
		break;
	case IN_FILL:
		n = take(in, 3) & 0x1fffff;
		client_fill(world, c, n, (uint8_t)take(in, 1));
		break;
	case IN_READ:
		n = take(in, 2);
		if (!(world->mode & IN_LEAVE))
			(void)client_read(c, n > 0 ? n : SIZE_MAX);
		break;
	case IN_END:
		(void)shutdown(c->fd, SHUT_WR);
		break;
	default:
		hang_up(c);
		break;
	}
}

static void do_engine_op(struct world *world, enum in_op op, struct cursor *in)
{
	switch (op) {
	case IN_HOLD:
		fake_hold(world->objs, true);
		break;
	case IN_LET:
		fake_hold(world->objs, false);
		break;
	case IN_STEP:
		fake_step(world->objs);
		break;
	case IN_FAIL:
		fail_next(world, (uint8_t)take(in, 1));
		break;
	case IN_RESIZE:
		resize(world, take(in, 1) % (4 * IN_BLKS + 1));
		break;
	case IN_CROWD:
		fake_set_crowded(world->objs, take(in, 1) % 2);
		break;
	default:
		object_remove(world->objs, IN_OTHER, false, ignore_cb, NULL);
		world->removed = true;
		break;
	}
}

static void do_op(struct world *world, struct cursor *in)
{
	uint8_t byte = (uint8_t)take(in, 1);
	enum in_op op = (byte & 15) % IN_OPS;
	struct client *c = &world->clients[(byte >> 4 & 3) % IN_CLIENTS];

	seen.ops[op]++;
	switch (op) {
	case IN_SEND:
	case IN_FILL:
	case IN_READ:
	case IN_END:
	case IN_CLOSE:
		do_client_op(world, op, c, in);
		break;
	case IN_TURN:
		for (uint32_t n = 1 + take(in, 1) % 4; n > 0; n--)
			turn(world);
		break;
	case IN_STOP:
		stop(world, (uint8_t)take(in, 1));
		break;
	default:
		do_engine_op(world, op, in);
		break;
	}
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Who stays says that this is all, and reads until the server has said it, too. */
static void read_all(struct world *world)
{
	unsigned int turns = 0;
	bool open = true;

	while (open) {
		open = false;
		turn(world);
		must(++turns < TURNS_MAX, "a client waits for ever");
		for (unsigned int i = 0; i < IN_CLIENTS; i++) {
			(void)client_read(&world->clients[i], SIZE_MAX);
			open |= world->clients[i].fd >= 0 && !world->clients[i].eof;
		}
	}
}

static void finish_clients(struct world *world)
{
	if (world->mode & IN_LEAVE)
		return;
	for (unsigned int i = 0; i < IN_CLIENTS; i++)
		if (world->clients[i].fd >= 0)
			(void)shutdown(world->clients[i].fd, SHUT_WR);
	read_all(world);
	for (unsigned int i = 0; i < IN_CLIENTS; i++) {
		const struct client *c = &world->clients[i];

		if (c->fd >= 0 && !c->cut && !world->aborted)
			must_be_right(watch_ended(&c->watch, !world->stopped));
	}
}

static void must_be_empty(const struct world *world)
{
	const struct conn_set *set = world->set;

	must(set->send.used_bytes == 0 && set->recv.used_bytes == 0, "a budget is not given back");
	must(!gate_has_waiters(&set->send) && !gate_has_waiters(&set->recv), "somebody waits");
	must(fake_open_handles(world->objs) == 0, "an object is open");
	must(fake_held(world->objs) == 0, "an answer is held");
	must(page_pool_used(objects_pages(world->objs)) == 0, "a page is left");
	/* one that the engine would not remove expires */
	must(fake_count(world->objs, NBD_CLONES) <= world->fails, "a clone is left");
	if (!world->resized)
		must_be_unchanged(world, IN_OBJECT, true);
	if (!world->removed)
		must_be_unchanged(world, IN_OTHER, false);
	must_be_unchanged(world, IN_VERSION, false);
	must_be_unchanged(world, IN_READONLY, false);
	must_be_unchanged(world, IN_BYSTAND, false);
}

static void end_all(struct world *world)
{
	unsigned int turns = 0;

	fake_fail_next(world->objs, 0);
	fake_hold(world->objs, false);
	fake_set_crowded(world->objs, false);
	finish_clients(world);
	for (unsigned int i = 0; i < IN_CLIENTS; i++)
		hang_up(&world->clients[i]);
	while (conn_set_count(world->set) > 0) {
		turn(world);
		must(++turns < TURNS_MAX, "a connection stays");
	}
	must_be_empty(world);
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void begin(struct world *world, unsigned int mode)
{
	const struct objects_config none = {0};
	struct conn_config config = {.host = &world->host,
				     .nbd = &world->nbd,
				     .conns_max = 100,
				     .send_budget_bytes = mode & IN_SMALL ? 262144 : 268435456,
				     .recv_budget_bytes = mode & IN_SMALL ? 262144 : 268435456,
				     .handshake_ms = 3600000,
				     .linger_ms = 3600000,
				     .slow_ms = 3600000};

	*world = (struct world){.mode = mode};
	world->loop = loop_new();
	MUST(world->loop, "loop_new");
	world->base = loop_base(world->loop);
	MUST(objects_new(&none, &world->objs) == 0, "objects_new");
	world->host = (struct session_host){
	    .objs = world->objs, .store_uuid = {1}, .incarnation = 42, .agent = "cowd/test"};
	make_objects(world->objs);
	if (mode & IN_HOLES)
		fake_set_holes(world->objs);
	world->nbd = (struct nbd_config){.clones = mode & IN_CLONES,
					 .tls = mode & IN_TLS ? NBD_TLS_REQUIRE : NBD_TLS_OFF};
	config.loop = world->loop;
	world->set = conn_set_new(&config);
	MUST(world->set, "conn_set_new");
	for (unsigned int i = 0; i < IN_CLIENTS; i++)
		world->clients[i].fd = -1;
}

static void run(const uint8_t *data, size_t size)
{
	struct cursor in = cursor_over((uint8_t *)(uintptr_t)data, size);
	struct world world;

	begin(&world, take(&in, 1));
	while (cursor_left(&in) > 0 && !in.bad)
		do_op(&world, &in);
	end_all(&world);
	conn_set_free(world.set);
	objects_free(world.objs);
	loop_free(world.loop);
}

/* Of the sanitizers; without them there is none. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
	return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
						       : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int grown = 0;

	if (size == 0)
		return 0;
	input.data = data;
	input.len = size;
	thread_set_role(THREAD_LOOP);
	log_set_level(LOG_ERROR);
	/* what is made once and kept is not made again */
	for (size_t before = 0, after = 1; after > before; grown++) {
		before = allocated();
		run(data, size);
		after = allocated();
		must(grown < 3, "memory is left");
	}
	return 0;
}

/* ---- what was reached ------------------------------------------------------------------------ */

static void report_commands(void)
{
	static const char *const hows[] = {"simple", "structured", "extended"};

	for (uint32_t i = 0; i < WATCH_CMDS; i++)
		for (int h = 0; h < WATCH_HOWS; h++)
			(void)printf("%s, %s: %" PRIu64 " succeeded, %" PRIu64 " failed\n",
				     nbd_cmd_name(i), hows[h], watch_seen.cmds_ok[h][i],
				     watch_seen.cmds_failed[h][i]);
	(void)printf("unknown commands: %" PRIu64 "\n", watch_seen.cmds_unknown);
}

static void report(void)
{
	static const char *const phases[] = {"flags", "option",	  "data",   "skip",
					     "work",  "transmit", "leaving"};

	for (uint32_t i = 0; i < WATCH_OPTS; i++)
		if (nbd_opt_name(i))
			(void)printf("%s: %" PRIu64 " succeeded, %" PRIu64 " failed\n",
				     nbd_opt_name(i), watch_seen.opts_acked[i],
				     watch_seen.opts_failed[i]);
	(void)printf("unknown options: %" PRIu64 "\n", watch_seen.opts_unknown);
	report_commands();
	for (int i = 0; i < PHASES; i++)
		(void)printf("turns with a connection in %s: %" PRIu64 "\n", phases[i],
			     seen.phases[i]);
	for (int i = 0; i < STATES; i++)
		(void)printf("turns with a connection in state %d: %" PRIu64 "\n", i,
			     seen.states[i]);
	for (int i = 0; i < IN_OPS; i++)
		(void)printf("op %d: %" PRIu64 "\n", i, seen.ops[i]);
	(void)printf("chunks of data, of holes, of status: %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
		     watch_seen.chunks_data, watch_seen.chunks_hole, watch_seen.chunks_status);
	(void)printf("writes refused as read-only: %" PRIu64 ", answers of a server that stops: "
		     "%" PRIu64 ", DISC: %" PRIu64 ", turns with a clone: %" PRIu64
		     ", streams that nobody could read: %" PRIu64 "\n",
		     watch_seen.read_only, watch_seen.shutdown, watch_seen.left, seen.clones,
		     watch_seen.blind);
}

static const char *missed_command(void)
{
	for (uint32_t i = 0; i < WATCH_CMDS; i++) {
		uint64_t failed = 0;

		if (i == NBD_CMD_DISC)
			continue;
		for (int h = 0; h < WATCH_HOWS; h++) {
			failed += watch_seen.cmds_failed[h][i];
			/* contexts are not agreed on with simple replies */
			if (watch_seen.cmds_ok[h][i] == 0 &&
			    (h != WATCH_SIMPLE || i != NBD_CMD_BLOCK_STATUS))
				return nbd_cmd_name(i);
		}
		if (failed == 0)
			return nbd_cmd_name(i);
	}
	return watch_seen.left == 0 ? "DISC" : NULL;
}

static const char *missed(void)
{
	for (uint32_t i = 0; i < WATCH_OPTS; i++)
		if (nbd_opt_name(i) && watch_seen.opts_acked[i] == 0 &&
		    (i != NBD_OPT_STARTTLS || watch_seen.opts_failed[i] == 0))
			return nbd_opt_name(i);
	for (int i = 0; i < PHASES; i++)
		if (seen.phases[i] == 0 && i != NBD_DATA)
			return "a phase";
	if (watch_seen.chunks_data == 0 || watch_seen.chunks_hole == 0 ||
	    watch_seen.chunks_status == 0)
		return "a kind of chunk";
	if (watch_seen.read_only == 0 || seen.clones == 0)
		return "an export that is read-only, or a clone";
	return missed_command();
}

const struct fuzz_target fuzz_target = {
    .runs = 10000, .mutate_one_in = 3, .report = report, .missed = missed};
