/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * record_fixture.h: changes of every kind, for the tests of records.
 */
#ifndef TESTS_UNIT_RECORD_FIXTURE_H
#define TESTS_UNIT_RECORD_FIXTURE_H

#include "server/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"

#define OID   UINT64_C(0x1122334455667788)
#define OTHER UINT64_C(0x99aabbccddeeff01)

static const char labels[] = "os=debian\0tier=\0x=a=b"; /* and the terminator */

static const struct change_extent extents[] = {
    {{5}, {1000}, 2},
    {{7}, {500}, 1}, /* next to it, elsewhere on the device */
    {{BLK_OBJECT_MAX - 3}, {(UINT64_C(1) << 48) - 3}, 3},
};
static const uint32_t csums[] = {0, 1, UINT32_MAX, 0x80000000, 5, 6};

static const struct change_hole holes[] = {
    {{4}, 1},
    {{6}, 2},
    {{9}, BLK_OBJECT_MAX - 9},
};

static const struct change_share shares[] = {
    {{5}, OTHER, {0}, 2},
    {{0}, OID, {3}, 3}, /* next to it */
    {{BLK_OBJECT_MAX - 3}, OTHER, {BLK_OBJECT_MAX - 3}, 3},
};

static const struct change epoch = {
    .kind = CHANGE_EPOCH,
    .oid = OID,
    .size_bytes = BLK_OBJECT_MAX << BLK_SHIFT,
    .time_ns = 123456789,
    .generation = UINT64_C(0x0807060504030201),
    .holes = holes,
    .nholes = 3,
    .shares = shares,
    .nshares = 3,
    .extents = extents,
    .nextents = 3,
    .nblks = 6,
    .csums = csums,
    .inlined = true,
};

static const struct change changes[] = {
    {.kind = CHANGE_EPOCH, .oid = OID, .size_bytes = 5},
    {.kind = CHANGE_CREATE,
     .oid = OID,
     .size_bytes = 77,
     .time_ns = 8,
     .expires_ns = 9,
     .reserved_nblks = BLK_OBJECT_MAX,
     .name = "an/object",
     .labels = labels,
     .labels_len = sizeof(labels)},
    {.kind = CHANGE_CREATE, .oid = 1, .name = "b"},
    {.kind = CHANGE_CLONE,
     .oid = OID,
     .other = OTHER,
     .parent = 3,
     .time_ns = UINT64_MAX,
     .expires_ns = 10,
     .name = "v1",
     .labels = labels,
     .labels_len = sizeof(labels)},
    {.kind = CHANGE_REMOVE, .oid = OID},
    {.kind = CHANGE_RENAME, .oid = OID, .name = "new"},
    {.kind = CHANGE_EXCHANGE, .oid = OID, .other = OTHER},
    {.kind = CHANGE_RESET, .oid = OID, .other = OTHER, .time_ns = 4, .generation = 5},
    {.kind = CHANGE_SET,
     .oid = OID,
     .expires_ns = 11,
     .readonly = true,
     .reserved_nblks = 12,
     .regained_nblks = UINT64_MAX,
     .owned_seq = 13,
     .labels = labels,
     .labels_len = sizeof(labels)},
    {.kind = CHANGE_SET, .oid = OID},
};

static inline void add(struct record *record, const struct change *change)
{
	size_t len = record->len;

	assert_int_equal(record_add(record, change), 0);
	assert_int_equal(record->len, len + record_change_len(change));
}

#endif
