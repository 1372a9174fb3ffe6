/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_peer.h: an NBD client, right or wrong, of a connection of the fixture of peer.h, in the same thread.
 * Its numbers are written out here, apart from those of proto/nbd.h.
 */
#ifndef TESTS_LIB_NBD_PEER_H
#define TESTS_LIB_NBD_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "tests/lib/peer.h"

#define NBD_PEER_TEXT 512u

enum { ACK = 1, SERVER, INFO, CONTEXT };

#define REP_ERR(n)    (0x80000000u | (n))
#define ERR_UNSUP_    REP_ERR(1)
#define ERR_POLICY_   REP_ERR(2)
#define ERR_INVALID_  REP_ERR(3)
#define ERR_TLS_      REP_ERR(5)
#define ERR_UNKNOWN_  REP_ERR(6)
#define ERR_SHUTDOWN_ REP_ERR(7)
#define ERR_BIG_      REP_ERR(9)
#define ERR_EXT_      REP_ERR(10)

struct nbd_peer {
	struct frame_client c;
	bool chunks;   /* structured replies, or extended headers, */
	bool extended; /* were negotiated */
	uint64_t cookie;
	/* Of the last option: what came before its final reply, each behind the other with '\n'; the text of
	 * that; what an INFO said of the export. */
	char names[8192];
	uint32_t nreplies;
	char text[NBD_PEER_TEXT];
	uint64_t size;
	uint16_t flags;
};

/* The answer to a command: the data of all its chunks, in place. */
struct nbd_answer {
	uint32_t error; /* 0, or its number */
	uint64_t cookie;
	uint32_t nchunks;
	uint32_t nholes;
	uint64_t have; /* bytes of content */
	uint8_t *data; /* where it goes: the caller's, len bytes from offset on; or NULL */
	uint64_t offset;
	uint32_t status[8192]; /* of BLOCK_STATUS: per context id, then pairs */
	uint32_t nstatus;
	char text[NBD_PEER_TEXT];
};

/* A connection before anything is sent; with the greeting read and flags sent. */
struct nbd_peer nbd_peer_dial(struct peer_fixture *fx);
struct nbd_peer nbd_peer_greet(struct peer_fixture *fx, uint32_t flags);

/* Big-endian numbers at p. */
void nbd_put(uint8_t *p, size_t n, uint64_t v);
uint64_t nbd_get(const uint8_t *p, size_t n);

/* Sends an option; its final reply, 0 at the end of the stream. */
void nbd_peer_send_opt(struct nbd_peer *p, uint32_t option, const void *data, size_t len);
uint32_t nbd_peer_opt_reply(struct nbd_peer *p, uint32_t option);
uint32_t nbd_peer_opt(struct nbd_peer *p, uint32_t option, const void *data, size_t len);

/* INFO (6) and GO (7) of a name, with all information; LIST_META (9), SET_META (10). */
uint32_t nbd_peer_go(struct nbd_peer *p, uint32_t option, const char *name);
uint32_t nbd_peer_meta(struct nbd_peer *p, uint32_t option, const char *name, uint32_t n,
		       const char *const *queries);

/* A client in transmission; "how": 0 simple replies, 1 structured, 2 extended. */
struct nbd_peer nbd_peer_connect(struct peer_fixture *fx, const char *name, int how);

/* Sends a command; receives a reply with all its chunks; false at the end of the stream. */
uint64_t nbd_peer_send(struct nbd_peer *p, uint16_t type, uint16_t flags, uint64_t offset,
		       uint64_t len, const void *payload, size_t payload_len);
bool nbd_peer_recv(struct nbd_peer *p, struct nbd_answer *a, uint64_t read_len) MUST_CHECK;

/* Both; the error. */
uint32_t nbd_peer_call(struct nbd_peer *p, struct nbd_answer *a, uint16_t type, uint16_t flags,
		       uint64_t offset, uint64_t len, const void *payload);

#endif
