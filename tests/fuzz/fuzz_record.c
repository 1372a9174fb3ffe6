/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_record.c: any bytes as the body of a journal record.  What is accepted is written again
 * change by change, and gives the very same bytes; nothing is read past their end.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "server/record.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/rnd.h"

NORETURN static void fuzz_fail(const char *what, const uint8_t *data, size_t len)
{
	(void)fprintf(stderr, "fuzz_record: %s: ", what);
	for (size_t i = 0; i < len; i++)
		(void)fprintf(stderr, "%02x", data[i]);
	(void)fputc('\n', stderr);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_reader reader = {.bytes = data, .len = size};
	struct record record = {0};
	int rc;

	while ((rc = record_next(&reader)) > 0) {
		if (reader.ndata != record.ndata)
			fuzz_fail("miscounts what is inlined", data, size);
		if (record_add(&record, &reader.change) < 0)
			abort();
		if (record.len != reader.pos || memcmp(record.bytes, data, record.len) != 0)
			fuzz_fail("is written as something else", data, size);
	}
	if (rc < 0 && rc != -ERR_JOURNAL)
		fuzz_fail("unexpected error", data, size);
	if (rc == 0 && record.len != size)
		fuzz_fail("bytes are left over", data, size);
	record_reader_fini(&reader);
	record_fini(&record);
	return 0;
}

const struct fuzz_target fuzz_target = {.runs = 200000};

#define EXTENTS_MAX 6u
#define HOLES_MAX   3u
#define SHARES_MAX  2u
#define BLKS_MAX    4u /* of one extent */

/* What a change made of random numbers points to. */
struct parts {
	struct change_hole holes[HOLES_MAX];
	struct change_share shares[SHARES_MAX];
	struct change_extent extents[EXTENTS_MAX];
	uint32_t csums[EXTENTS_MAX * BLKS_MAX];
	char name[256];
	char labels[64];
};

static void random_extents(struct rnd *rnd, struct parts *parts, struct change *change)
{
	uint64_t blk = rnd_log(rnd, BLK_OBJECT_MAX / 2);

	change->nextents = (uint32_t)rnd_below(rnd, EXTENTS_MAX + 1);
	for (uint32_t i = 0; i < change->nextents; i++) {
		uint32_t n = 1 + (uint32_t)rnd_below(rnd, BLKS_MAX);

		blk += rnd_below(rnd, 3);
		parts->extents[i] =
		    (struct change_extent){lblk(blk), pblk(rnd_log(rnd, UINT64_C(1) << 40)), n};
		for (uint32_t b = 0; b < n; b++)
			parts->csums[change->nblks++] = (uint32_t)rnd_u64(rnd);
		blk += n;
	}
	change->extents = parts->extents;
	change->csums = parts->csums;
	change->inlined = rnd_one_in(rnd, 2);
}

static void random_holes(struct rnd *rnd, struct parts *parts, struct change *change)
{
	uint64_t blk = rnd_log(rnd, BLK_OBJECT_MAX / 2);

	change->nholes = (uint32_t)rnd_below(rnd, HOLES_MAX + 1);
	for (uint32_t i = 0; i < change->nholes; i++) {
		parts->holes[i] =
		    (struct change_hole){lblk(blk), 1 + rnd_log(rnd, BLK_OBJECT_MAX / 16)};
		blk += parts->holes[i].nblks + rnd_below(rnd, 3);
	}
	change->holes = parts->holes;
}

static void random_shares(struct rnd *rnd, struct parts *parts, struct change *change)
{
	change->nshares = (uint32_t)rnd_below(rnd, SHARES_MAX + 1);
	for (uint32_t i = 0; i < change->nshares; i++)
		parts->shares[i] = (struct change_share){
		    .blk = lblk(rnd_log(rnd, BLK_OBJECT_MAX / 2)),
		    .src = change->oid + 1 + rnd_below(rnd, 9),
		    .src_blk = lblk(rnd_log(rnd, BLK_OBJECT_MAX / 2)),
		    .nblks = 1 + rnd_log(rnd, BLK_OBJECT_MAX / 4),
		};
	change->shares = parts->shares;
}

static void random_texts(struct rnd *rnd, struct parts *parts, struct change *change)
{
	static const char labels[] = "a=b\0c=\0d=e";

	memset(parts->name, 'n', rnd_log(rnd, 255));
	memcpy(parts->labels, labels, sizeof(labels));
	change->name = parts->name;
	change->labels = parts->labels;
	change->labels_len = rnd_one_in(rnd, 2) ? sizeof(labels) : 0;
}

static void fuzz_must_accept(const uint8_t *bytes, size_t len)
{
	struct record_reader reader = {.bytes = bytes, .len = len};
	int rc;

	do
		rc = record_next(&reader);
	while (rc > 0);
	if (rc < 0)
		fuzz_fail("is refused", bytes, len);
	record_reader_fini(&reader);
}

size_t fuzz_input(uint64_t number, uint8_t *bytes, size_t max)
{
	struct rnd rnd = {number};
	struct record record = {0};
	size_t len;

	do {
		struct parts parts = {0};
		struct change change = {
		    .kind = CHANGE_EPOCH + (unsigned int)rnd_below(&rnd, CHANGE_KIND_LAST),
		    .oid = rnd_u64(&rnd),
		    .other = rnd_u64(&rnd),
		    .parent = rnd_u64(&rnd),
		    .size_bytes = rnd_log(&rnd, BLK_OBJECT_MAX << BLK_SHIFT),
		    .time_ns = rnd_u64(&rnd),
		    .expires_ns = rnd_u64(&rnd),
		    .readonly = rnd_one_in(&rnd, 2),
		    .reserved_nblks = rnd_u64(&rnd) % (BLK_OBJECT_MAX + 1),
		    .regained_nblks = rnd_u64(&rnd),
		    .owned_seq = rnd_u64(&rnd),
		    .generation = rnd_u64(&rnd),
		};

		random_extents(&rnd, &parts, &change);
		random_holes(&rnd, &parts, &change);
		random_shares(&rnd, &parts, &change);
		random_texts(&rnd, &parts, &change);
		if (record_add(&record, &change) < 0)
			abort();
	} while (!rnd_one_in(&rnd, 3) && record.len < max / 2);
	len = record.len;
	if (len > max)
		abort();
	memcpy(bytes, record.bytes, len);
	record_fini(&record);
	fuzz_must_accept(bytes, len);
	return len;
}
