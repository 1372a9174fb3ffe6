/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_ops_priv.h: what the files of the fake server's operations share: fake_ops.c (names, the store,
 * the table), fake_data.c (open objects), fake_ranges.c (several ranges of
 * one or more), fake_diff.c
 * (differences) and fake_group.c (several at once).  Nobody else includes it.
 */
#ifndef TESTS_LIB_FAKE_OPS_PRIV_H
#define TESTS_LIB_FAKE_OPS_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "proto/msg.h"
#include "tests/lib/fake_server.h"
#include "tests/lib/fake_store.h"

/* An answer under construction: a status or a body. */
struct answer {
	struct fake_store *st;
	const struct fake_frame *f;
	uint32_t status;
	char text[WIRE_TEXT_MAX];
	uint8_t body[WIRE_BODY_MAX];
	int len;
	uint8_t *payload; /* heap */
	size_t payload_len;
};

/* Answers with a status. */
void fake_answer_fail(struct answer *a, uint32_t status, const char *text);

/* The entry of a handle; NULL: there is none, which is the answer. */
struct fake_entry *fake_answer_entry(struct answer *a, uint32_t handle);

/* The entry lives so long from now on; 0: for ever. */
void fake_set_ttl(const struct fake_store *st, struct fake_entry *e, uint64_t ttl_ms);

#define DECODE(type, m)                                                      \
	struct type m;                                                       \
	do {                                                                 \
		if (type##_decode(a->f->body, a->f->h.body_len, &(m)) < 0) { \
			fake_answer_fail(a, ERR_INVAL, "malformed request"); \
			return;                                              \
		}                                                            \
	} while (0)

void fake_op_read(struct answer *a);
void fake_op_write(struct answer *a);
void fake_op_resize(struct answer *a);
void fake_op_zero(struct answer *a);
void fake_op_extents(struct answer *a);
void fake_op_clone_range(struct answer *a);
void fake_op_unshare(struct answer *a);
void fake_op_verify(struct answer *a);
void fake_op_readv(struct answer *a);
void fake_op_writev(struct answer *a);
void fake_op_write_all(struct answer *a);
void fake_op_fsync_if(struct answer *a);
void fake_op_diff(struct answer *a);

/* fake_group.c */
void fake_op_handles(struct answer *a);
void fake_op_clone_all(struct answer *a);

#endif
