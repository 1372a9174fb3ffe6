/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/corrupt/bytes.h"

#include <stdbool.h>
#include <string.h>

#include "common/cursor.h"
#include "server/era.h"
#include "server/journal_format.h"
#include "server/store.h"

/* What the pages of the map have: a header, a head with offsets and, behind a gap, entries. */
static bool map_is_read(const uint8_t *page, uint64_t n, uint64_t off)
{
	unsigned int kind = le16_get(page + 10);

	if (n < 2)
		return off < 160;
	if (le64_get(page) != n || (kind != 1 && kind != 2))
		return kind == 4;
	return off < le16_get(page + 12) || off >= le16_get(page + 14);
}

static uint64_t map_one_in(const uint8_t *page, uint64_t n, uint64_t off)
{
	return map_is_read(page, n, off) ? 1 : BYTES_RARELY;
}

/* The length of a journal record's header and body; 0: none begins here. */
static uint64_t record_len(const uint8_t *blk)
{
	const struct disk_record *d = (const struct disk_record *)blk;

	return le64_get(d->magic) == JOURNAL_MAGIC ? sizeof(*d) + le32_get(d->body_len) : 0;
}

/* The header of the device, records and what they bring along, the places of starts, data. */
static uint64_t data_one_in(const uint8_t *blk, uint64_t n, uint64_t off)
{
	uint64_t len = n == 0 ? 40 : record_len(blk);

	if (n > STORE_JOURNAL_MIN)
		return BYTES_RARELY;
	if (n > STORE_JOURNAL_MIN - ERA_NBLKS)
		len = 32;
	else if (n > 0 && len == 0)
		return blk[0] == 0 && memcmp(blk, blk + 1, BLK_BYTES - 1) == 0 ? BYTES_RARELY
									       : BYTES_ALIKE;
	return off < len ? 1 : BYTES_RARELY;
}

uint64_t bytes_one_in(enum image_file file, const uint8_t *page, uint64_t n, uint64_t off)
{
	return file == IMAGE_MAP ? map_one_in(page, n, off) : data_one_in(page, n, off);
}
