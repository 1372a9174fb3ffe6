/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * region_dev.h: a data device that counts by region, in front of another that may be shorter: what
 * lies behind its end drops writes and reads as zeros.  So a store may be of any size on a small
 * disk, with a journal that is really written and synced.  Owns the other.  Any thread.
 */
#ifndef BENCH_LIB_REGION_DEV_H
#define BENCH_LIB_REGION_DEV_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/dev.h"

/* The header block and the journal are one region. */
enum region { REGION_JOURNAL, REGION_DATA, REGION_COUNT };

struct region_dev {
	struct dev dev;
	struct dev *inner;
	uint64_t data_from; /* first block behind the journal */
	struct {
		_Atomic uint64_t read_nblks;
		_Atomic uint64_t written_nblks;
	} regions[REGION_COUNT];
	_Atomic uint64_t passed_nblks; /* written to the other: not dropped */
	_Atomic uint64_t syncs;
};

/* Of nblks blocks, the journal's behind the header. */
struct region_dev *region_dev_new(struct dev *inner, uint64_t nblks, uint64_t journal_nblks);

#endif
