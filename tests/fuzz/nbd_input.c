/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_input.c: makes inputs of fuzz_nbd_conn out of a number: clients that mostly do what is right, come into
 * transmission, and now and then have one field of a message wrong.
 */
#include "tests/fuzz/nbd_input.h"

#include <string.h>

#include "common/annot.h"
#include "common/cursor.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/nbd_peer.h"
#include "tests/lib/rnd.h"

#define BYTES_MAX   512u /* of one message */
#define ROOM	    700u /* that what is begun may take */
#define OBJECT_SIZE (IN_BLKS * 4096u)

struct maker {
	struct rnd rnd;
	uint8_t *out;
	size_t len;
	size_t max;
	unsigned int who;
};

/* What a client has agreed on, if the server does what it asks for. */
struct made_client {
	bool entered;
	bool extended;
	uint32_t ncontexts;
	uint64_t cookie;
};

/* A message that is being put together. */
struct message {
	uint8_t p[BYTES_MAX];
	size_t len;
};

static uint64_t below(struct maker *m, uint64_t n)
{
	return rnd_below(&m->rnd, n);
}

static bool one_in(struct maker *m, uint64_t n)
{
	return rnd_one_in(&m->rnd, n);
}

/* ---- what is done ---------------------------------------------------------------------------- */

static void put_op(struct maker *m, enum in_op op)
{
	m->out[m->len++] = (uint8_t)((unsigned int)op | m->who << 4);
}

static void put_op8(struct maker *m, enum in_op op, uint64_t arg)
{
	put_op(m, op);
	m->out[m->len++] = (uint8_t)arg;
}

/* Something beside the bytes. */
static void put_aside(struct maker *m)
{
	static const enum in_op plain[] = {IN_HOLD, IN_LET, IN_STEP, IN_REMOVE};

	switch (below(m, 12)) {
	case 0:
	case 1:
	case 2:
		put_op8(m, IN_TURN, 1 + below(m, 3));
		break;
	case 3:
	case 4:
		put_op(m, IN_READ);
		le16_put(m->out + m->len, (uint16_t)(one_in(m, 2) ? 0 : below(m, 100)));
		m->len += 2;
		break;
	case 5:
		if (one_in(m, 6))
			put_op8(m, IN_FAIL, below(m, 256));
		break;
	case 6:
		put_op8(m, IN_RESIZE, below(m, 4 * IN_BLKS + 1));
		break;
	case 7:
		put_op8(m, IN_CROWD, below(m, 2));
		break;
	case 8:
		if (one_in(m, 8))
			put_op8(m, IN_STOP, below(m, 4));
		break;
	default:
		put_op(m, plain[below(m, ARRAY_LEN(plain))]);
	}
}

static void put_send(struct maker *m, const uint8_t *p, size_t len)
{
	put_op(m, IN_SEND);
	le16_put(m->out + m->len, (uint16_t)len);
	memcpy(m->out + m->len + 2, p, len);
	m->len += 2 + len;
}

/* Sends bytes, now and then in two pieces, with something in between or behind. */
static void put_bytes(struct maker *m, const struct message *msg)
{
	size_t first = one_in(m, 8) ? below(m, msg->len + 1) : msg->len;

	if (first > 0)
		put_send(m, msg->p, first);
	if (first < msg->len) {
		put_aside(m);
		put_send(m, msg->p + first, msg->len - first);
	}
	if (one_in(m, 6))
		put_aside(m);
}

static void put_fill(struct maker *m, uint64_t len, uint8_t byte)
{
	put_op(m, IN_FILL);
	le32_put(m->out + m->len, (uint32_t)len);
	m->out[m->len + 3] = byte;
	m->len += 4;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void add(struct message *msg, size_t n, uint64_t v)
{
	nbd_put(msg->p + msg->len, n, v);
	msg->len += n;
}

static void add_text(struct message *msg, const char *text)
{
	size_t len = strlen(text);

	memcpy(msg->p + msg->len, text, len);
	msg->len += len;
}

static void add_string(struct message *msg, const char *text)
{
	add(msg, 4, strlen(text));
	add_text(msg, text);
}

static const char *any_name(struct maker *m)
{
	static const char *const names[] = {
	    IN_OBJECT,	IN_OBJECT,     IN_OBJECT,  IN_VERSION, IN_VERSION,	IN_READONLY,
	    "+clone:a", "+clone:a@v",  "+clone:a", "+clone:r", "+clone:a@none", "none",
	    "",		"nbd-clone/1", "a@",	   "+clone:"};

	return names[one_in(m, 6) ? below(m, ARRAY_LEN(names)) : below(m, 10)];
}

static void put_option(struct maker *m, uint32_t option, const struct message *data)
{
	struct message msg = {.len = 0};

	add_text(&msg, one_in(m, 300) ? "IHAVEOPU" : "IHAVEOPT");
	add(&msg, 4, one_in(m, 100) ? below(m, 20) : option);
	add(&msg, 4, one_in(m, 60) ? rnd_log(&m->rnd, 70000) : data->len);
	memcpy(msg.p + msg.len, data->p, data->len);
	msg.len += data->len;
	put_bytes(m, &msg);
}

static void put_info(struct maker *m, uint32_t option, const char *name)
{
	struct message data = {.len = 0};
	uint64_t n = below(m, 4);

	add_string(&data, name);
	add(&data, 2, n);
	for (uint64_t i = 0; i < n; i++)
		add(&data, 2, one_in(m, 8) ? below(m, 65536) : i + 1);
	put_option(m, option, &data);
}

static void put_meta(struct maker *m, struct made_client *c, uint32_t option, const char *name)
{
	static const char *const queries[] = {
	    "base:allocation", "cowd:shared", "qemu:dirty-bitmap:v", "qemu:dirty-bitmap:w",
	    "base:",	       "qemu:",	      "qemu:dirty-bitmap:",  "what:ever"};
	struct message data = {.len = 0};
	uint64_t n = below(m, 5);

	add_string(&data, name);
	add(&data, 4, one_in(m, 50) ? below(m, 70) : n);
	for (uint64_t i = 0; i < n; i++)
		add_string(&data, queries[below(m, one_in(m, 3) ? ARRAY_LEN(queries) : 4)]);
	put_option(m, option, &data);
	if (option == 10)
		c->ncontexts = (uint32_t)n;
}

/* An option that leaves the handshake where it is. */
static void put_any_option(struct maker *m, struct made_client *c, const char *name)
{
	static const uint32_t options[] = {3, 5, 6, 8, 8, 8, 9, 10, 10, 10, 11, 11, 11, 4, 99};
	struct message data = {.len = 0};
	uint32_t option = options[below(m, ARRAY_LEN(options))];

	if (one_in(m, 4))
		name = any_name(m);
	if (option == 9 || option == 10) {
		put_meta(m, c, option, name);
	} else if (option == 6) {
		put_info(m, option, name);
	} else {
		add(&data, one_in(m, 20) ? below(m, 9) : 0, 7);
		put_option(m, option, &data);
		c->extended |= option == 11 && data.len == 0;
	}
}

/* How answers are to come, and what they are to say of a range. */
static void put_agreement(struct maker *m, struct made_client *c, const char *name)
{
	const struct message none = {.len = 0};

	c->extended = one_in(m, 2);
	put_option(m, c->extended ? 11 : 8, &none);
	if (!one_in(m, 4))
		put_meta(m, c, 10, name);
}

static void put_handshake(struct maker *m, struct made_client *c)
{
	const char *name = any_name(m);
	struct message msg = {.len = 0};
	uint64_t n = below(m, 4);

	add(&msg, 4, one_in(m, 30) ? below(m, 5) : 3);
	put_bytes(m, &msg);
	if (!one_in(m, 3))
		put_agreement(m, c, name);
	for (uint64_t i = 0; i < n; i++)
		put_any_option(m, c, name);
	msg.len = 0;
	if (one_in(m, 12)) {
		put_option(m, 2, &msg);
	} else if (one_in(m, 6) && !c->extended) {
		add_text(&msg, name);
		put_option(m, 1, &msg);
	} else {
		put_info(m, 7, name);
	}
	c->entered = true;
}

/* ---- commands -------------------------------------------------------------------------------- */

static uint64_t odd_number(struct maker *m)
{
	static const uint64_t numbers[] = {0,
					   1,
					   4095,
					   4096,
					   OBJECT_SIZE - 1,
					   OBJECT_SIZE,
					   OBJECT_SIZE + 1,
					   33554432,
					   33554433,
					   UINT32_MAX,
					   UINT64_C(1) << 32,
					   UINT64_C(1) << 62,
					   UINT64_C(1) << 63,
					   UINT64_MAX - 4095,
					   UINT64_MAX};

	return numbers[below(m, ARRAY_LEN(numbers))];
}

static uint64_t any_range(struct maker *m, uint64_t *offset)
{
	uint64_t blk = one_in(m, 2) ? 4096 : 1;
	uint64_t len = rnd_log(&m->rnd, 16384);

	if (one_in(m, 20))
		len = rnd_log(&m->rnd, 4 * OBJECT_SIZE);
	len = len / blk * blk;
	*offset = len < OBJECT_SIZE ? below(m, OBJECT_SIZE - len + 1) / blk * blk : 0;
	return len;
}

static uint16_t any_flags(struct maker *m, uint16_t type)
{
	static const uint16_t known[] = {4, 0, 0, 0, 0, 0, 2 | 16, 8, 0};
	uint16_t flags = one_in(m, 4) ? 1 : 0;

	flags |= known[type % ARRAY_LEN(known)] & (uint16_t)below(m, 32);
	if (one_in(m, 40))
		flags |= (uint16_t)(1u << below(m, 16));
	return flags;
}

/* Only contexts by number; the length of the range stands before them. */
static uint64_t add_filter(struct maker *m, const struct made_client *c, struct message *msg,
			   uint64_t len)
{
	size_t before = msg->len;
	uint64_t n = 1 + below(m, 3);

	add(msg, 8, len);
	for (uint64_t i = 0; i < n; i++)
		add(msg, 4, one_in(m, 10) || c->ncontexts == 0 ? below(m, 20) : i % c->ncontexts);
	return msg->len - before;
}

/* The header of a command; its length stands last. */
static void add_header(struct maker *m, struct made_client *c, struct message *msg, uint16_t flags,
		       uint16_t type, uint64_t offset)
{
	uint32_t magic = c->extended ? 0x21e41c71 : 0x25609513;

	add(msg, 4, one_in(m, 400) ? magic + 1 : magic);
	add(msg, 2, flags);
	add(msg, 2, type);
	add(msg, 8, one_in(m, 200) ? c->cookie : ++c->cookie);
	add(msg, 8, offset);
}

static void put_status(struct maker *m, struct made_client *c, uint64_t offset, uint64_t len)
{
	uint16_t flags = any_flags(m, 7);
	struct message msg = {.len = 0};
	struct message filter = {.len = 0};

	if (c->extended && one_in(m, 2)) {
		flags |= 32;
		len = add_filter(m, c, &filter, len);
	}
	add_header(m, c, &msg, flags, 7, offset);
	add(&msg, c->extended ? 8 : 4, len);
	memcpy(msg.p + msg.len, filter.p, filter.len);
	msg.len += filter.len;
	put_bytes(m, &msg);
}

static void put_write(struct maker *m, struct made_client *c, uint64_t offset, uint64_t len)
{
	uint16_t flags = any_flags(m, 1);
	struct message msg = {.len = 0};

	if (c->extended && !one_in(m, 30))
		flags |= 32;
	add_header(m, c, &msg, flags, 1, offset);
	add(&msg, c->extended ? 8 : 4, len);
	put_bytes(m, &msg);
	if (c->extended && !(flags & 32))
		return;
	if (one_in(m, 50))
		len = odd_number(m); /* the stream is another than it says */
	if (len > 0)
		put_fill(m, len < 1u << 20 ? len : 1u << 20, (uint8_t)below(m, 256));
}

static void put_command(struct maker *m, struct made_client *c)
{
	static const uint16_t types[] = {0, 0, 0, 1, 1, 1, 3, 3, 4, 4, 5, 6, 6, 7, 7, 7, 8};
	uint16_t type = types[below(m, ARRAY_LEN(types))];
	struct message msg = {.len = 0};
	uint64_t offset;
	uint64_t len = any_range(m, &offset);

	if (one_in(m, 60))
		type = (uint16_t)below(m, 20);
	if (type == 3)
		offset = len = 0;
	if (type == 8)
		len = 0;
	if (one_in(m, 25))
		offset = odd_number(m);
	if (one_in(m, 25))
		len = odd_number(m);
	if (type == 7) {
		put_status(m, c, offset, len);
	} else if (type == 1) {
		put_write(m, c, offset, len);
	} else {
		add_header(m, c, &msg, any_flags(m, type), type, offset);
		add(&msg, c->extended ? 8 : 4, len);
		put_bytes(m, &msg);
	}
}

static void put_disc(struct maker *m, struct made_client *c)
{
	struct message msg = {.len = 0};

	add_header(m, c, &msg, 0, 2, 0);
	add(&msg, c->extended ? 8 : 4, 0);
	put_bytes(m, &msg);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void put_end(struct maker *m, struct made_client *c)
{
	if (c->entered && one_in(m, 2))
		put_disc(m, c);
	if (one_in(m, 3))
		put_op(m, IN_END);
	if (one_in(m, 5))
		put_op(m, IN_CLOSE);
}

static uint8_t any_mode(struct maker *m)
{
	unsigned int mode = one_in(m, 4) ? 0 : IN_CLONES;

	mode |= one_in(m, 20) ? IN_TLS : 0;
	mode |= one_in(m, 3) ? IN_SMALL : 0;
	mode |= one_in(m, 2) ? IN_HOLES : 0;
	mode |= one_in(m, 4) ? IN_LEAVE : 0;
	mode |= one_in(m, 4) ? IN_NARROW : 0;
	return (uint8_t)mode;
}

size_t fuzz_input(uint64_t number, uint8_t *bytes, size_t max)
{
	struct made_client clients[IN_CLIENTS] = {0};
	struct maker m = {.rnd = {number}, .out = bytes, .max = max};
	unsigned int n = one_in(&m, 3) ? 1 + (unsigned int)below(&m, IN_CLIENTS) : 1;
	uint64_t ncmds = below(&m, 24);

	m.out[m.len++] = any_mode(&m);
	for (unsigned int i = 0; i < n; i++) {
		m.who = i;
		if (m.len + 2 * ROOM < m.max)
			put_handshake(&m, &clients[i]);
	}
	for (uint64_t i = 0; i < ncmds && m.len + ROOM < m.max; i++) {
		m.who = (unsigned int)below(&m, n);
		if (clients[m.who].entered)
			put_command(&m, &clients[m.who]);
	}
	for (unsigned int i = 0; i < n && m.len + ROOM < m.max; i++) {
		m.who = i;
		put_end(&m, &clients[i]);
	}
	return m.len;
}
