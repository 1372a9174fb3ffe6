/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_payload.c: what a write of several ranges, of one object or several, may ask for, and the
 * vectors that its payload is received into.  Needs nothing of an engine.
 */
#include <stdlib.h>

#include "common/err.h"
#include "server/object_state.h"

/* Counts the blocks and folios of a range that those before it, which end at *end, do not have. */
static int write_count(const struct object_range *range, uint64_t *end, uint64_t *nblks,
		       uint64_t *nfolios)
{
	uint64_t from = range->off_bytes >> BLK_SHIFT;
	uint64_t had = (*end - 1) >> BLK_SHIFT; /* the last block; of none one that is none */
	uint64_t last;

	if (range->len_bytes == 0 || range->off_bytes < *end)
		return -ERR_RANGES;
	if (range->off_bytes > BLK_OBJECT_MAX << BLK_SHIFT ||
	    range->len_bytes > (BLK_OBJECT_MAX << BLK_SHIFT) - range->off_bytes)
		return -ERR_TOO_LARGE;
	last = (range->off_bytes + range->len_bytes - 1) >> BLK_SHIFT;
	*nblks += last + 1 - from - (*end > 0 && from == had);
	*nfolios += (last >> FOLIO_SHIFT) + 1 - (from >> FOLIO_SHIFT) -
		    (*end > 0 && from >> FOLIO_SHIFT == had >> FOLIO_SHIFT);
	*end = range->off_bytes + range->len_bytes;
	return 0;
}

/* Counts those of one object. */
static int write_count_part(const struct object_part *part, uint64_t *nblks, uint64_t *nfolios)
{
	uint64_t end = 0;
	int err = part->nranges > 0 ? 0 : -ERR_RANGES;

	for (uint32_t i = 0; i < part->nranges && err == 0; i++)
		err = write_count(&part->ranges[i], &end, nblks, nfolios);
	return err;
}

/* -ERR_SCATTERED: it could not be in one record.  A single range of any payload is. */
static int write_check(const struct object_part *parts, uint32_t n, uint32_t *nranges,
		       uint64_t *nblks)
{
	uint64_t nfolios = 0;
	int err = 0;

	*nblks = 0;
	*nranges = 0;
	for (uint32_t i = 0; i < n && err == 0; i++) {
		err = write_count_part(&parts[i], nblks, &nfolios);
		*nranges += parts[i].nranges;
	}
	if (err == 0 && *nranges > 1 && (*nblks > EPOCH_MAX_BLKS || nfolios > EPOCH_MAX_FOLIOS))
		err = -ERR_SCATTERED;
	return err;
}

/* Of one object; made has zeros where it is not reached on an error. */
static int write_make(const struct object_part *part, struct pagevec *made)
{
	const struct object_range *ranges = part->ranges;
	int err = 0;

	for (uint32_t i = 0; i < part->nranges && err == 0; i++) {
		uint64_t off = ranges[i].off_bytes;

		err = pagevec_init(&made[i], off % BLK_BYTES, ranges[i].len_bytes);
		made[i].joined = i > 0 && off >> BLK_SHIFT == (ranges[i - 1].off_bytes +
							       ranges[i - 1].len_bytes - 1) >>
								  BLK_SHIFT;
	}
	return err;
}

int object_payload_all(const struct object_part *parts, uint32_t n, struct pagevec **pvs,
		       uint32_t *npvs, uint64_t *npages)
{
	struct pagevec *made;
	uint32_t nranges;
	uint32_t at = 0;
	int err = write_check(parts, n, &nranges, npages);

	if (err < 0)
		return err;
	made = calloc(nranges, sizeof(*made));
	if (!made)
		return -ERR_NOMEM;
	for (uint32_t i = 0; i < n && err == 0; i++) {
		err = write_make(&parts[i], &made[at]);
		at += parts[i].nranges;
	}
	if (err < 0) {
		pagevecs_free(made, nranges);
		return err;
	}
	*pvs = made;
	*npvs = nranges;
	return 0;
}

int object_payload(const struct object_range *ranges, uint32_t n, struct pagevec **pvs,
		   uint64_t *npages)
{
	const struct object_part part = {.ranges = ranges, .nranges = n};
	uint32_t npvs;

	return object_payload_all(&part, 1, pvs, &npvs, npages);
}
