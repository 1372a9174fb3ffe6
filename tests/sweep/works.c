/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * works.c: the workloads.  Objects are o0 to o3; versions and copies have places behind them (sweep.h).
 * An epoch of up to 16 blocks travels in the journal's record; a larger one has extents of its own.
 */
#include "tests/sweep/sweep.h"

#define B(n) ((n) * (uint64_t)BLK_BYTES)

#define WORK_STEPS(b, s) \
	.before = (b), .nbefore = ARRAY_LEN(b), .steps = (s), .nsteps = ARRAY_LEN(s)

/* ---- writes and fsyncs, in two objects, with a clone between ------------------------------------ */

static const struct step mix_before[] = {
    {.what = STEP_CREATE, .i = 0, .len = B(24) + 5},
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_WRITE, .i = 0, .len = B(20)},
    {.what = STEP_FSYNC, .i = 0},
};

static const struct step mix[] = {
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_CREATE, .i = 1, .len = B(16)},
    {.what = STEP_OPEN, .i = 1},
    {.what = STEP_WRITE, .i = 0, .off = B(2) + 100, .len = 5000, .beside = true},
    {.what = STEP_WRITE, .i = 1, .len = B(20)},
    {.what = STEP_FSYNC, .i = 0, .beside = true},
    {.what = STEP_FSYNC, .i = 1},
    {.what = STEP_WRITE, .i = 0, .off = B(6), .len = B(1)},
    {.what = STEP_CLONE, .i = 0, .j = 2},
    {.what = STEP_OPEN, .i = 2},
    {.what = STEP_WRITE, .i = 2, .off = B(1) + 17, .len = B(3)},
    {.what = STEP_DIRECT, .i = 1, .off = B(4) + 50, .len = B(6), .beside = true},
    {.what = STEP_READ, .i = 0, .len = HISTORY_BYTES},
    {.what = STEP_FSYNC, .i = 2},
    {.what = STEP_REAP},
    {.what = STEP_WRITEV, .i = 0, .off = B(8) + 9, .len = 3000},
    {.what = STEP_WRITE, .i = 1, .off = B(1), .len = B(18)},
    {.what = STEP_REST, .len = 300},
    {.what = STEP_READ, .i = 2, .len = HISTORY_BYTES},
    {.what = STEP_FSYNC_ALL, .i = 0, .j = 1},
    {.what = STEP_WRITE, .i = 2, .off = B(20), .len = 7},
    {.what = STEP_FSYNC, .i = 2},
};

/* ---- on a mapped device ------------------------------------------------------------------------- */

static const struct step mapped_before[] = {
    {.what = STEP_CREATE, .i = 0, .len = B(24)},
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_WRITE, .i = 0, .len = B(24)},
    {.what = STEP_FSYNC, .i = 0},
};

static const struct step mapped[] = {
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_WRITE, .i = 0, .off = 10, .len = B(1), .beside = true},
    {.what = STEP_READ, .i = 0, .off = B(20), .len = B(4)},
    {.what = STEP_WRITE, .i = 0, .off = B(4), .len = B(4)},
    {.what = STEP_WRITE, .i = 0, .off = B(5) + 1, .len = B(1) + 1},
    {.what = STEP_FSYNC, .i = 0},
    {.what = STEP_CREATE, .i = 1, .len = B(8)},
    {.what = STEP_OPEN, .i = 1},
    {.what = STEP_WRITE_ALL, .i = 0, .j = 1, .off = B(1) + 300, .len = 5000},
    {.what = STEP_RESIZE, .i = 0, .len = B(9) + 77},
    {.what = STEP_FSYNC, .i = 1},
    {.what = STEP_CLONE, .i = 0, .j = 2},
    {.what = STEP_WRITE, .i = 0, .off = B(9), .len = B(9)},
    {.what = STEP_REAP},
    {.what = STEP_WRITE, .i = 0, .off = B(9) + 100, .len = 200},
    {.what = STEP_READ, .i = 0, .len = HISTORY_BYTES},
    {.what = STEP_FSYNC, .i = 0},
};

/* ---- ranges that are shared, zeroed and cut off ------------------------------------------------- */

static const struct step ranges_before[] = {
    {.what = STEP_CREATE, .i = 0, .len = B(40)},
    {.what = STEP_CREATE, .i = 1, .len = B(40)},
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_OPEN, .i = 1},
    {.what = STEP_WRITE, .i = 0, .len = B(30)},
    {.what = STEP_WRITE, .i = 1, .off = B(4), .len = B(10)},
    {.what = STEP_FSYNC_ALL, .i = 0, .j = 1},
};

static const struct step ranges[] = {
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_OPEN, .i = 1},
    {.what = STEP_WRITE, .i = 0, .off = B(3) + 1, .len = B(1)},
    {.what = STEP_SHARE, .i = 1, .j = 0, .off = B(2) + 20, .src_off = B(3) + 20, .len = B(12)},
    {.what = STEP_READ, .i = 1, .len = HISTORY_BYTES},
    {.what = STEP_WRITE, .i = 1, .off = B(5), .len = B(1)},
    {.what = STEP_ZERO, .i = 0, .off = B(6) + 7, .len = B(3), .beside = true},
    {.what = STEP_FSYNC, .i = 1},
    {.what = STEP_TRIM, .i = 1, .off = B(8) + 1, .len = B(4)},
    {.what = STEP_UNSHARE, .i = 1},
    {.what = STEP_RESIZE, .i = 0, .len = B(20) + 9},
    {.what = STEP_FSYNC_ALL, .i = 0, .j = 1},
    {.what = STEP_REAP},
    {.what = STEP_SHARE, .i = 0, .j = 0, .off = B(30), .src_off = B(10), .len = B(6)},
    {.what = STEP_RESIZE, .i = 0, .len = B(33)},
    {.what = STEP_READ, .i = 0, .len = HISTORY_BYTES},
    {.what = STEP_FSYNC, .i = 0},
};

/* ---- several objects at one point in time ------------------------------------------------------- */

static const struct step group[] = {
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_OPEN, .i = 1},
    {.what = STEP_WRITE_ALL, .i = 0, .j = 1, .off = B(2) + 1, .len = 6000},
    {.what = STEP_GROUP, .i = 0, .j = 1},
    {.what = STEP_WRITE_ALL, .i = 0, .j = 1, .off = B(3), .len = B(2)},
    {.what = STEP_WRITE, .i = 1, .off = B(30), .len = B(17)},
    {.what = STEP_FSYNC_ALL, .i = 0, .j = 1},
    {.what = STEP_SNAP, .i = 1, .j = 6},
    {.what = STEP_RESET, .i = 0, .j = 4},
    {.what = STEP_WRITE, .i = 0, .off = 5, .len = 100},
    {.what = STEP_READ, .i = 0, .len = HISTORY_BYTES},
    {.what = STEP_REMOVE, .i = 6},
    {.what = STEP_REMOVE, .i = 5},
    {.what = STEP_REAP},
    {.what = STEP_WRITE_ALL, .i = 0, .j = 1, .off = B(10), .len = 30},
    {.what = STEP_REST, .len = 200},
    {.what = STEP_FSYNC, .i = 1},
};

/* ---- a store that is nearly full ---------------------------------------------------------------- */

static const struct step full_before[] = {
    {.what = STEP_CREATE, .i = 0},
    {.what = STEP_CREATE, .i = 1},
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_OPEN, .i = 1},
    {.what = STEP_WRITE, .i = 0, .len = B(48)},
    {.what = STEP_WRITE, .i = 1, .len = B(40)},
    {.what = STEP_FSYNC, .i = 0},
    {.what = STEP_FSYNC, .i = 1},
};

static const struct step full[] = {
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_WRITE, .i = 0, .off = B(3), .len = B(9)},
    {.what = STEP_WRITE, .i = 0, .off = B(20), .len = B(9), .beside = true},
    {.what = STEP_FSYNC, .i = 0},
    {.what = STEP_WRITE, .i = 0, .off = B(13), .len = B(12)},
    {.what = STEP_REMOVE, .i = 1, .beside = true},
    {.what = STEP_DIRECT, .i = 0, .off = B(30), .len = B(10)},
    {.what = STEP_REAP},
    {.what = STEP_CREATE, .i = 2},
    {.what = STEP_OPEN, .i = 2},
    {.what = STEP_WRITE, .i = 2, .len = B(30)},
    {.what = STEP_REST, .len = 100},
    {.what = STEP_TRIM, .i = 0, .len = B(24)},
    {.what = STEP_WRITE, .i = 2, .off = B(10), .len = B(30)},
    {.what = STEP_REAP},
    {.what = STEP_FSYNC, .i = 2},
    {.what = STEP_CLOSE, .i = 2},
    {.what = STEP_FSYNC, .i = 0},
};

/* ---- a start with a recovery to do -------------------------------------------------------------- */

static const struct step recover_before[] = {
    {.what = STEP_CREATE, .i = 0, .len = B(40)},
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_WRITE, .i = 0, .len = B(20)},
    {.what = STEP_FSYNC, .i = 0},
    {.what = STEP_REAP},
    {.what = STEP_CLONE, .i = 0, .j = 1},
    {.what = STEP_OPEN, .i = 1},
    {.what = STEP_WRITE, .i = 1, .off = B(3) + 5, .len = B(2)},
    {.what = STEP_FSYNC, .i = 1},
    {.what = STEP_SNAP, .i = 1, .j = 5},
    {.what = STEP_WRITE, .i = 0, .off = B(10), .len = B(20)},
    {.what = STEP_TRIM, .i = 1, .off = B(12), .len = B(4)},
    {.what = STEP_FSYNC_ALL, .i = 0, .j = 1},
    {.what = STEP_RESET, .i = 1, .j = 5},
    {.what = STEP_REMOVE, .i = 5},
};

static const struct step recover[] = {
    {.what = STEP_OPEN, .i = 0},
    {.what = STEP_READ, .i = 0, .len = HISTORY_BYTES},
    {.what = STEP_WRITE, .i = 0, .off = 9, .len = 10},
    {.what = STEP_FSYNC, .i = 0},
};

const struct work works[] = {
    {.name = "mix", .dev_nblks = 512, WORK_STEPS(mix_before, mix)},
    {.name = "mapped", .dev_nblks = 512, .mapped = true, WORK_STEPS(mapped_before, mapped)},
    {.name = "ranges", .dev_nblks = 512, WORK_STEPS(ranges_before, ranges)},
    {.name = "group", .dev_nblks = 512, WORK_STEPS(ranges_before, group)},
    {.name = "full", .dev_nblks = 1 + 64 + 104, .full = true, WORK_STEPS(full_before, full)},
    {.name = "recover",
     .dev_nblks = 512,
     .crash = true,
     .start = true,
     WORK_STEPS(recover_before, recover)},
};

const unsigned int nworks = ARRAY_LEN(works);
