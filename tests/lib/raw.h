/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * raw.h: a connection to cowd with nothing in between: frames as bytes, right ones and wrong ones.
 * Owns the socket.  One thread at a time.
 */
#ifndef TESTS_LIB_RAW_H
#define TESTS_LIB_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "proto/msg.h"
#include "proto/wire.h"
#include "tests/lib/daemon.h"
#include "tests/lib/rnd.h"

struct raw {
	int fd;
	uint64_t id;	  /* of the next request */
	bool crc;	  /* payload CRCs were negotiated */
	uint8_t *body;	  /* of the last reply; WIRE_BODY_MAX */
	uint8_t *payload; /* of the last reply; WIRE_PAYLOAD_MAX */
};

/* A request as bytes; it grows as frames are added. */
struct raw_bytes {
	uint8_t *p;
	size_t len;
	size_t max;
};

void raw_open(struct raw *r, const struct daemon *d, int kind);
void raw_close(struct raw *r);

/* Opens and shakes hands. */
void raw_connect(struct raw *r, const struct daemon *d, int kind, bool crc);

void raw_bytes_add(struct raw_bytes *b, const void *p, size_t len);
void raw_bytes_free(struct raw_bytes *b);

/* Adds a whole, right frame, with the next id; where it begins in b. */
size_t raw_frame(struct raw *r, struct raw_bytes *b, enum wire_op op, const void *body,
		 size_t body_len, const void *payload, size_t payload_len);

/* The same for the operations that are used most; where the frame begins. */
size_t raw_add_hello(struct raw *r, struct raw_bytes *b, uint64_t features);
size_t raw_add_ping(struct raw *r, struct raw_bytes *b);
size_t raw_add_open(struct raw *r, struct raw_bytes *b, const char *name, uint32_t flags);
size_t raw_add_read(struct raw *r, struct raw_bytes *b, uint32_t handle, uint64_t off,
		    uint32_t len);
size_t raw_add_write(struct raw *r, struct raw_bytes *b, uint32_t handle, uint64_t off,
		     const void *data, size_t len);
/* A READV or WRITEV of two ranges of data, an FSYNC_IF, UNSHARE or VERIFY, more or less as it should be.  False: op is
 * none of them. */
bool raw_add_ranges(struct raw *r, struct raw_bytes *b, struct rnd *rnd, enum wire_op op,
		    uint32_t handle, const void *data);
size_t raw_add_fsync(struct raw *r, struct raw_bytes *b, uint32_t handle);

/* Writes the fields and the CRC of a frame's header anew. */
void raw_reseal(uint8_t *frame, const struct wire_header *h);

/* Sends it all. */
void raw_send(struct raw *r, const void *bytes, size_t len);

/*
 * Sends, reading and dropping what comes meanwhile, so that neither side waits for the other.
 * False: the server has closed the connection.
 */
bool raw_send_drain(struct raw *r, const void *bytes, size_t len);

/* Says that nothing more will be sent, reads to the end.  The number of whole replies; each of
 * them is a frame with its right CRCs. */
size_t raw_finish(struct raw *r);

/* The same, whatever it is that comes. */
void raw_drain(struct raw *r);

/* The next reply; false at the end of the stream.  A frame that is not well formed ends the test.
 */
bool raw_recv(struct raw *r, struct wire_header *h) MUST_CHECK;

/* Sends the bytes, takes one reply, which must have this status. */
void raw_expect(struct raw *r, const struct raw_bytes *b, uint32_t status);

/* True if there is something to read right now, the end of the stream included. */
bool raw_readable(const struct raw *r);

/* Opens an object; its handle. */
uint32_t raw_open_object(struct raw *r, const char *name);

#endif
