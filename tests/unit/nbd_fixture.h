/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_fixture.h: objects for NBD clients, and how a connection of theirs ends.
 */
#ifndef TESTS_UNIT_NBD_FIXTURE_H
#define TESTS_UNIT_NBD_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/nbd_peer.h"

#define SIZE 65536u

/* Makes objects and versions by a client of the other protocol. */
static inline void make(struct peer_fixture *fx, const char *name)
{
	struct frame_client c = peer_connect(fx);

	(void)peer_make(fx, &c, name, SIZE);
	close(c.fd);
}

static inline void snap(struct peer_fixture *fx, const char *spec)
{
	struct frame_client c = peer_connect(fx);
	struct msg_snap m = {0};
	uint8_t body[2048];
	int n;

	memcpy(m.name, spec, strlen(spec) + 1);
	n = msg_snap_encode(body, sizeof(body), &m);
	assert_true(n > 0);
	assert_int_equal(frame_call(&c, &fx->frame, WIRE_OP_SNAP, body, (size_t)n, NULL, 0), 0);
	close(c.fd);
}

static inline void assert_closed(struct peer_fixture *fx, struct nbd_peer *p)
{
	uint8_t byte;

	assert_false(frame_recv_raw(&p->c, &byte, 1));
	close(p->c.fd);
	frame_wait(fx->base, peer_none_left, fx);
}

#endif
