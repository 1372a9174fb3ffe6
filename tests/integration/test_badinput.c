/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that are not as docs/protocol.md wants them: every fault of its section 3, frames changed
 * at random, and a stream that is cut at every byte.  The daemon answers as the page says, lives on
 * and loses nothing.  $TEST_SEED and $TEST_FRAMES.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cow.h"
#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/raw.h"
#include "tests/lib/rnd.h"

#define FRAMES_DEFAULT	 20000u
#define FRAMES_OF_A_CONN 25u
#define SIZE		 (UINT64_C(1) << 20)

static struct daemon d;
static uint8_t kept[65536]; /* what "kept" holds; nobody else knows of it */

static int group_setup(void **state)
{
	cow_t *cow;
	cow_object_t *obj;

	(void)state;
	must_end_within(600);
	daemon_init(&d, NULL);
	daemon_start(&d);
	rnd_fill(kept, sizeof(kept), rnd_seed());
	cow = daemon_connect(&d, DAEMON_UNIX);
	MUST(cow_create(cow, "kept", sizeof(kept)) == 0, "%s", cow_error(cow));
	MUST(cow_create(cow, "target", SIZE) == 0, "%s", cow_error(cow));
	MUST(cow_open(cow, "kept", 0, &obj) == 0, "%s", cow_error(cow));
	MUST(cow_pwrite(obj, kept, sizeof(kept), 0) == sizeof(kept), "%s", cow_error(cow));
	MUST(cow_fsync(obj) == 0 && cow_close(obj) == 0, "%s", cow_error(cow));
	cow_free(cow);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	daemon_stop(&d);
	daemon_check(&d);
	daemon_fini(&d);
	return 0;
}

/* It serves, and has what it had. */
static void still_serves(void)
{
	uint8_t got[sizeof(kept)];
	cow_t *cow;
	cow_object_t *obj;

	MUST(daemon_alive(&d), "the daemon has died, seed %" PRIu64, rnd_seed());
	cow = daemon_connect(&d, DAEMON_TCP);
	MUST(cow_open(cow, "kept", 0, &obj) == 0, "%s", cow_error(cow));
	MUST(cow_pread(obj, got, sizeof(got), 0) == sizeof(got), "%s", cow_error(cow));
	MUST(memcmp(got, kept, sizeof(got)) == 0, "other bytes");
	MUST(cow_close(obj) == 0, "%s", cow_error(cow));
	cow_free(cow);
}

/* ---- faults of a frame ----------------------------------------------------------------------- */

struct fault {
	const char *what;
	bool handshake; /* before it is sent */
	bool stays;	/* the connection goes on */
	int status;	/* of the answer; 0: no answer */
	void (*build)(struct raw *r, struct raw_bytes *b);
};

/* The fields of the frame that begins the bytes. */
static struct wire_header header_of(const struct raw_bytes *b)
{
	struct wire_header h;

	MUST(wire_header_decode(b->p, WIRE_MAGIC_REQUEST, UINT32_MAX, UINT32_MAX, &h) == 0,
	     "header");
	return h;
}

static void build_magic(struct raw *r, struct raw_bytes *b)
{
	struct wire_header h;

	(void)raw_add_ping(r, b);
	h = header_of(b);
	h.magic = WIRE_MAGIC_REPLY;
	raw_reseal(b->p, &h);
}

static void build_header_crc(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_ping(r, b);
	b->p[37] ^= 1;
}

static void build_body_too_long(struct raw *r, struct raw_bytes *b)
{
	struct wire_header h;

	(void)raw_add_ping(r, b);
	h = header_of(b);
	h.body_len = WIRE_BODY_MAX + 1;
	raw_reseal(b->p, &h);
}

static void build_payload_too_long(struct raw *r, struct raw_bytes *b)
{
	struct wire_header h;

	(void)raw_add_write(r, b, 1, 0, "", 0);
	h = header_of(b);
	h.payload_len = WIRE_PAYLOAD_MAX + 1;
	raw_reseal(b->p, &h);
}

static void build_payload_where_none(struct raw *r, struct raw_bytes *b)
{
	(void)raw_frame(r, b, WIRE_OP_PING, "", 0, "x", 1);
}

static void build_flags(struct raw *r, struct raw_bytes *b)
{
	struct wire_header h;

	(void)raw_add_ping(r, b);
	h = header_of(b);
	h.flags = 1;
	raw_reseal(b->p, &h);
}

static void build_status(struct raw *r, struct raw_bytes *b)
{
	struct wire_header h;

	(void)raw_add_ping(r, b);
	h = header_of(b);
	h.status = 1;
	raw_reseal(b->p, &h);
}

static void build_body_crc(struct raw *r, struct raw_bytes *b)
{
	size_t at = raw_add_open(r, b, "target", 0);

	b->p[at + WIRE_HEADER_BYTES + 3] ^= 0x20;
}

static void build_payload_crc(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_write(r, b, 1, 0, "12345678", 8);
	b->p[b->len - 1] ^= 1;
}

static void build_before_handshake(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_ping(r, b);
}

static void build_hello_twice(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_hello(r, b, 0);
}

static void build_hello_too_long(struct raw *r, struct raw_bytes *b)
{
	static const uint8_t body[WIRE_BODY_HELLO_MAX + 1];

	(void)raw_frame(r, b, WIRE_OP_HELLO, body, sizeof(body), "", 0);
}

static void build_no_version(struct raw *r, struct raw_bytes *b)
{
	struct msg_hello m = {WIRE_VERSION + 1, WIRE_VERSION + 9, 0, "raw"};
	uint8_t body[64];
	int n = msg_hello_encode(body, sizeof(body), &m);

	MUST(n > 0, "encode");
	(void)raw_frame(r, b, WIRE_OP_HELLO, body, (size_t)n, "", 0);
}

static void build_unknown_op(struct raw *r, struct raw_bytes *b)
{
	(void)raw_frame(r, b, (enum wire_op)77, "body", 4, "payload", 7);
}

static void build_short_body(struct raw *r, struct raw_bytes *b)
{
	(void)raw_frame(r, b, WIRE_OP_FSYNC, "123", 3, "", 0);
}

static void build_long_body(struct raw *r, struct raw_bytes *b)
{
	(void)raw_frame(r, b, WIRE_OP_FSYNC, "12345", 5, "", 0);
}

static void build_zero_in_name(struct raw *r, struct raw_bytes *b)
{
	(void)raw_frame(r, b, WIRE_OP_INFO, "\3\0a\0b", 5, "", 0);
}

static void build_unknown_flag(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_open(r, b, "target", 8);
}

static void build_read_too_long(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_read(r, b, 1, 0, WIRE_PAYLOAD_MAX + 1);
}

static void build_bad_handle(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_fsync(r, b, 4711);
}

static void build_bad_name(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_open(r, b, "../up", 0);
}

static void build_no_object(struct raw *r, struct raw_bytes *b)
{
	(void)raw_add_open(r, b, "missing", 0);
}

static const struct fault faults[] = {
    {"the magic", true, false, 0, build_magic},
    {"the header's CRC", true, false, ERR_PROTO, build_header_crc},
    {"a body beyond its limit", true, false, ERR_PROTO, build_body_too_long},
    {"a payload beyond its limit", true, false, ERR_PROTO, build_payload_too_long},
    {"a payload where there is none", true, false, ERR_PROTO, build_payload_where_none},
    {"flags", true, false, ERR_PROTO, build_flags},
    {"a status in a request", true, false, ERR_PROTO, build_status},
    {"the body's CRC", true, false, ERR_PROTO, build_body_crc},
    {"the payload's CRC", true, false, ERR_PROTO, build_payload_crc},
    {"not HELLO first", false, false, ERR_PROTO, build_before_handshake},
    {"a HELLO that is too long", false, false, ERR_PROTO, build_hello_too_long},
    {"HELLO twice", true, false, ERR_PROTO, build_hello_twice},
    {"no common version", false, true, ERR_NOTSUP, build_no_version},
    {"an unknown operation", true, true, ERR_NOTSUP, build_unknown_op},
    {"a body that is too short", true, true, ERR_INVAL, build_short_body},
    {"a body that is too long", true, true, ERR_INVAL, build_long_body},
    {"a zero byte in a name", true, true, ERR_INVAL, build_zero_in_name},
    {"an unknown flag", true, true, ERR_INVAL, build_unknown_flag},
    {"a read beyond its limit", true, true, ERR_INVAL, build_read_too_long},
    {"a handle that is not open", true, true, ERR_INVAL, build_bad_handle},
    {"a name that is not allowed", true, true, ERR_INVAL, build_bad_name},
    {"no such object", true, true, ERR_NOENT, build_no_object},
};

/* The connection goes on: it can still do what it could. */
static void expect_goes_on(struct raw *r, const struct fault *f)
{
	struct raw_bytes b = {0};

	if (f->handshake)
		(void)raw_add_ping(r, &b);
	else
		(void)raw_add_hello(r, &b, 0);
	raw_expect(r, &b, 0);
	raw_bytes_free(&b);
}

static void run_fault(const struct fault *f, int kind)
{
	struct raw_bytes b = {0};
	struct wire_header h;
	struct raw r;
	uint64_t id;

	if (f->handshake)
		raw_connect(&r, &d, kind, true);
	else
		raw_open(&r, &d, kind);
	id = r.id;
	f->build(&r, &b);
	raw_send(&r, b.p, b.len);
	if (f->status != 0) {
		MUST(raw_recv(&r, &h), "%s: no answer", f->what);
		MUST((int)h.status == f->status, "%s: status %u", f->what, h.status);
		MUST(h.id == id, "%s: id %" PRIu64, f->what, h.id);
	}
	if (f->stays)
		expect_goes_on(&r, f);
	else
		MUST(!raw_recv(&r, &h), "%s: the connection goes on", f->what);
	raw_bytes_free(&b);
	raw_close(&r);
}

static void test_faults_of_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		run_fault(&faults[i], DAEMON_UNIX);
		run_fault(&faults[i], DAEMON_TCP);
		still_serves();
	}
}

/* An id that is in flight: one of the answers is PROTO, and then comes the end. */
static void test_id_in_flight(void **state)
{
	struct raw_bytes b = {0};
	struct wire_header h = {.status = 0};
	bool refused = false;
	uint32_t handle;
	struct raw r;

	(void)state;
	raw_connect(&r, &d, DAEMON_UNIX, true);
	handle = raw_open_object(&r, "target");
	(void)raw_add_write(&r, &b, handle, 0, kept, sizeof(kept));
	for (unsigned int i = 0; i < 3; i++) {
		(void)raw_add_fsync(&r, &b, handle);
		r.id--;
	}
	raw_send(&r, b.p, b.len);
	while (raw_recv(&r, &h))
		refused |= h.status == ERR_PROTO;
	MUST(refused, "an id was used twice and nobody minded");
	raw_bytes_free(&b);
	raw_close(&r);
	still_serves();
}

/* A handle that was opened to read only, and ranges that no object can have. */
static void test_refused_writes(void **state)
{
	cow_t *cow = daemon_connect(&d, DAEMON_UNIX);
	cow_object_t *obj;
	uint64_t max = WIRE_OBJECT_SIZE_MAX;

	(void)state;
	MUST(cow_open(cow, "kept", COW_OPEN_READONLY, &obj) == 0, "%s", cow_error(cow));
	MUST(cow_pwrite(obj, "x", 1, 0) == -COW_EPERM, "a write by a read-only handle");
	MUST(cow_resize(obj, 0, COW_RESIZE_SHRINK) == -COW_EPERM, "a resize by one");
	MUST(cow_close(obj) == 0, "%s", cow_error(cow));
	MUST(cow_open(cow, "kept", 0, &obj) == 0, "%s", cow_error(cow));
	MUST(cow_pwrite(obj, "x", 1, max) == -COW_EINVAL, "a write past the largest size");
	MUST(cow_pwrite(obj, "xy", 2, max - 1) == -COW_EINVAL, "a write across it");
	MUST(cow_pwrite(obj, "xy", 2, UINT64_MAX - 1) < 0, "a write across 2^64");
	MUST(cow_resize(obj, max + 1, 0) == -COW_EINVAL, "a resize past it");
	MUST(cow_resize(obj, 1, 0) == -COW_EINVAL, "a resize that shrinks, unasked");
	MUST(cow_object_size(obj) == sizeof(kept), "the size has changed");
	MUST(cow_close(obj) == 0, "%s", cow_error(cow));
	MUST(cow_create(cow, "huge", max + 1) == -COW_EINVAL, "an object that is too large");
	MUST(cow_create(cow, "huge", max) == 0, "%s", cow_error(cow));
	MUST(cow_open(cow, "huge", 0, &obj) == 0, "%s", cow_error(cow));
	MUST(cow_pwrite(obj, "x", 1, max - 1) == 1, "%s", cow_error(cow));
	MUST(cow_fsync(obj) == 0 && cow_close(obj) == 0, "%s", cow_error(cow));
	MUST(cow_remove(cow, "huge") == 0, "%s", cow_error(cow));
	cow_free(cow);
	still_serves();
}

/* ---- frames changed at random ---------------------------------------------------------------- */

#define BODY(op, type, m)                                    \
	case op:                                             \
		n = type##_encode(body, sizeof(body), &(m)); \
		break

/* A frame of an operation as it should be, more or less. */
static void add_some_frame(struct raw *r, struct raw_bytes *b, struct rnd *rnd, uint32_t handle)
{
	uint8_t body[512];
	int n = 0;
	struct msg_name name = {"target"};
	struct msg_create create = {.name = "made", .size_bytes = SIZE};
	struct msg_clone clone = {.src = "target", .dst = "made"};
	struct msg_list list = {.max = (uint32_t)rnd_below(rnd, 4)};
	struct msg_remove removal = {.name = "target"};
	struct msg_resize resize = {handle, MSG_RESIZE_SHRINK, rnd_below(rnd, SIZE)};
	struct msg_extents extents = {handle, MSG_EXTENTS_DETAILS, rnd_below(rnd, SIZE), SIZE, 10};
	struct msg_set set = {.name = "target", .edits = {4, "a=b"}};
	struct msg_diff diff = {handle, rnd_below(rnd, 9), rnd_below(rnd, SIZE), SIZE, 10};
	struct msg_handle closed = {handle};
	enum wire_op op = (enum wire_op)(1 + rnd_below(rnd, WIRE_OP_END));

	if (raw_add_ranges(r, b, rnd, op, handle, kept))
		return;
	switch (op) {
	case WIRE_OP_READ:
		(void)raw_add_read(r, b, handle, 5, (uint32_t)rnd_log(rnd, SIZE));
		return;
	case WIRE_OP_WRITE:
		(void)raw_add_write(r, b, handle, 5, kept, (size_t)rnd_log(rnd, 9000));
		return;
	case WIRE_OP_OPEN:
		(void)raw_add_open(r, b, "target", rnd_one_in(rnd, 2) ? MSG_OPEN_DIRECT : 0);
		return;
		BODY(WIRE_OP_CREATE, msg_create, create);
		BODY(WIRE_OP_CLONE, msg_clone, clone);
		BODY(WIRE_OP_LIST, msg_list, list);
		BODY(WIRE_OP_RESIZE, msg_resize, resize);
		BODY(WIRE_OP_EXTENTS, msg_extents, extents);
		BODY(WIRE_OP_DIFF, msg_diff, diff);
	case WIRE_OP_CLOSE:
	case WIRE_OP_FSYNC:
		n = msg_handle_encode(body, sizeof(body), &closed);
		break;
		BODY(WIRE_OP_INFO, msg_name, name);
		BODY(WIRE_OP_REMOVE, msg_remove, removal);
		BODY(WIRE_OP_SET, msg_set, set);
	default:
		break;
	}
	MUST(n >= 0, "encode");
	(void)raw_frame(r, b, op, body, (size_t)n, "", 0);
}

/* Changes a field of the header, and makes its CRC right. */
static void mutate_header(struct rnd *rnd, uint8_t *frame)
{
	struct wire_header h;

	if (wire_header_decode(frame, WIRE_MAGIC_REQUEST, UINT32_MAX, UINT32_MAX, &h) < 0)
		return;
	switch (rnd_below(rnd, 6)) {
	case 0:
		h.op = (uint16_t)rnd_below(rnd, WIRE_OP_END + 4);
		break;
	case 1:
		h.body_len = (uint32_t)rnd_log(rnd, UINT32_MAX);
		break;
	case 2:
		h.payload_len = (uint32_t)rnd_log(rnd, UINT32_MAX);
		break;
	case 3:
		h.id = rnd_below(rnd, 4);
		break;
	case 4:
		h.flags = (uint16_t)rnd_below(rnd, 3);
		break;
	default:
		h.body_crc ^= 1;
		break;
	}
	raw_reseal(frame, &h);
}

/* Changes bytes of the body, and makes the CRCs right: so that it gets as far as it can. */
static void mutate_body(struct rnd *rnd, uint8_t *frame)
{
	struct wire_header h;
	uint64_t flips = 1 + rnd_below(rnd, 3);

	if (wire_header_decode(frame, WIRE_MAGIC_REQUEST, UINT32_MAX, UINT32_MAX, &h) < 0 ||
	    h.body_len == 0)
		return;
	while (flips-- > 0)
		frame[WIRE_HEADER_BYTES + rnd_below(rnd, h.body_len)] =
		    (uint8_t)(1u << rnd_below(rnd, 9));
	h.body_crc = crc32c(0, frame + WIRE_HEADER_BYTES, h.body_len);
	raw_reseal(frame, &h);
}

/* True: what follows this frame will be looked at too. */
static bool mutate(struct rnd *rnd, uint8_t *frame, size_t *len)
{
	switch (rnd_below(rnd, 12)) {
	case 0:
		frame[rnd_below(rnd, *len)] ^= (uint8_t)(1u << rnd_below(rnd, 8));
		return false;
	case 1:
		*len = (size_t)rnd_below(rnd, *len + 1);
		return false;
	case 2:
	case 3:
		mutate_header(rnd, frame);
		return false;
	default:
		mutate_body(rnd, frame);
		return true;
	}
}

/* Sends a request; its status is 0 or this one. */
static uint32_t ask(struct raw *r, enum wire_op op, const uint8_t *body, int n, uint32_t other)
{
	struct raw_bytes b = {0};
	struct wire_header h;

	MUST(n > 0, "encode");
	(void)raw_frame(r, &b, op, body, (size_t)n, "", 0);
	raw_send(r, b.p, b.len);
	MUST(raw_recv(r, &h) && (h.status == 0 || h.status == other), "status %u", h.status);
	raw_bytes_free(&b);
	return h.status;
}

/* Opens "target", which an earlier frame may have removed or made read-only. */
static uint32_t open_target(struct raw *r)
{
	struct msg_create create = {.name = "target", .size_bytes = SIZE};
	struct msg_set set = {.name = "target", .flags = MSG_SET_WRITABLE};
	struct msg_open open = {.name = "target"};
	uint8_t b[64];

	do {
		(void)ask(r, WIRE_OP_CREATE, b, msg_create_encode(b, 64, &create), ERR_EXIST);
		(void)ask(r, WIRE_OP_SET, b, msg_set_encode(b, 64, &set), ERR_NOENT);
	} while (ask(r, WIRE_OP_OPEN, b, msg_open_encode(b, 64, &open), ERR_NOENT) != 0);
	return le32_get(r->body);
}

/* A connection of its own for a few frames, up to one that it may not outlive; their number. */
static unsigned int mutated_connection(struct rnd *rnd)
{
	struct raw_bytes b = {0};
	struct raw r;
	uint32_t handle;
	unsigned int n;
	bool more = true;

	raw_connect(&r, &d, rnd_one_in(rnd, 2) ? DAEMON_TCP : DAEMON_UNIX, rnd_one_in(rnd, 2));
	handle = open_target(&r);
	for (n = 0; n < FRAMES_OF_A_CONN && more; n++) {
		b.len = 0;
		add_some_frame(&r, &b, rnd, handle);
		more = mutate(rnd, b.p, &b.len);
		more = raw_send_drain(&r, b.p, b.len) && more;
	}
	if (!rnd_one_in(rnd, 4))
		raw_drain(&r);
	raw_bytes_free(&b);
	raw_close(&r);
	return n;
}

/* What a changed name or size made: back to the start, so that nothing grows without bound. */
static void clean_up(void)
{
	cow_t *cow = daemon_connect(&d, DAEMON_UNIX);
	struct cow_info *infos;
	size_t count;
	int err;

	MUST(cow_list(cow, "", &infos, &count) == 0, "%s", cow_error(cow));
	for (size_t i = 0; i < count; i++) {
		if (strcmp(infos[i].name, "kept") == 0)
			continue;
		do /* a connection that was left may still have it open */
			err = cow_remove(cow, infos[i].name);
		while (err == -COW_EBUSY);
		/* or it was made with a time to live */
		MUST(err == 0 || err == -COW_ENOENT, "%s: %s", infos[i].name, cow_error(cow));
	}
	cow_list_free(infos, count);
	MUST(cow_create(cow, "target", SIZE) == 0, "%s", cow_error(cow));
	cow_free(cow);
}

static void test_mutated_frames(void **state)
{
	uint64_t frames = rnd_count("TEST_FRAMES", FRAMES_DEFAULT);
	struct rnd rnd = rnd_stream(7);

	(void)state;
	for (uint64_t n = 0; n < frames;) {
		n += mutated_connection(&rnd);
		if (rnd_one_in(&rnd, 50)) {
			clean_up();
			still_serves();
		}
	}
	clean_up();
	still_serves();
}

/* ---- a stream that is cut -------------------------------------------------------------------- */

#define CUT_DATA 100u

/* Whether a write of its own for each cut is there. */
static bool cut_is_there(cow_object_t *obj, cow_t *cow, size_t n)
{
	uint8_t got[CUT_DATA];
	static const uint8_t zeros[CUT_DATA];

	MUST(cow_pread(obj, got, CUT_DATA, n * CUT_DATA) == CUT_DATA, "%s", cow_error(cow));
	if (memcmp(got, zeros, CUT_DATA) == 0)
		return false;
	MUST(memcmp(got, kept, CUT_DATA) == 0, "a part of a write was carried out");
	return true;
}

/*
 * The first "cut" bytes of a WRITE and a FSYNC, then the end.  Returns whether the write was whole.
 */
static bool cut_once(size_t cut, size_t *total)
{
	struct raw_bytes b = {0};
	struct raw r;
	uint32_t handle;
	size_t whole, replies;

	raw_connect(&r, &d, cut % 2 ? DAEMON_TCP : DAEMON_UNIX, true);
	handle = raw_open_object(&r, "cut");
	(void)raw_add_write(&r, &b, handle, cut * CUT_DATA, kept, CUT_DATA);
	whole = b.len;
	(void)raw_add_fsync(&r, &b, handle);
	*total = b.len;
	raw_send(&r, b.p, cut);
	replies = raw_finish(&r);
	MUST(replies <= (size_t)(cut >= whole) + (size_t)(cut >= b.len),
	     "an answer to a part of a frame");
	raw_bytes_free(&b);
	raw_close(&r);
	return cut >= whole;
}

static void test_cut_at_every_byte(void **state)
{
	cow_t *cow = daemon_connect(&d, DAEMON_UNIX);
	cow_object_t *obj;
	size_t total = 1;
	int err;

	(void)state;
	MUST(cow_create(cow, "cut", SIZE) == 0, "%s", cow_error(cow));
	MUST(cow_open(cow, "cut", COW_OPEN_READONLY, &obj) == 0, "%s", cow_error(cow));
	for (size_t cut = 0; cut <= total; cut++) {
		bool whole = cut_once(cut, &total);

		/* what arrived whole is carried out, if not at once */
		while (cut_is_there(obj, cow, cut) != whole)
			MUST(whole, "a write that was cut at %zu was carried out", cut);
	}
	MUST(cow_close(obj) == 0, "%s", cow_error(cow));
	do
		err = cow_remove(cow, "cut");
	while (err == -COW_EBUSY);
	MUST(err == 0, "%s", cow_error(cow));
	cow_free(cow);
}

/* The handshake and an OPEN, cut likewise: nothing of it stays. */
static void test_cut_handshake(void **state)
{
	struct raw_bytes b = {0};
	struct raw r;
	size_t total = 1;

	(void)state;
	for (size_t cut = 0; cut <= total; cut++) {
		raw_open(&r, &d, cut % 2 ? DAEMON_TCP : DAEMON_UNIX);
		b.len = 0;
		(void)raw_add_hello(&r, &b, 0);
		(void)raw_add_open(&r, &b, "target", 0);
		total = b.len;
		raw_send(&r, b.p, cut);
		(void)raw_finish(&r);
		raw_close(&r);
	}
	raw_bytes_free(&b);
	clean_up();
	still_serves();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_faults_of_frames),  cmocka_unit_test(test_id_in_flight),
	    cmocka_unit_test(test_cut_at_every_byte), cmocka_unit_test(test_cut_handshake),
	    cmocka_unit_test(test_refused_writes),    cmocka_unit_test(test_mutated_frames),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
