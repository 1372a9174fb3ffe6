/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recover.h: what a start does before anything else: applies what the journal holds and the map does
 * not, and leaves the journal empty.  One thread, before the others start; it acts as the map thread.
 *
 * The state that is reached is that of the last record that was whole with all data that it names;
 * everything that was answered as durable is in it.  A crash in the middle changes nothing: the next
 * start finds the same records.
 */
#ifndef SERVER_RECOVER_H
#define SERVER_RECOVER_H

#include <stdint.h>

#include "common/annot.h"
#include "server/dev.h"
#include "server/journal.h"
#include "server/map.h"

/* Where the store's journal lies on the device: behind it, in what the map has set aside for it, are the places
 * of starts and the mark (era.h). */
struct journal_region recover_region(const struct map *map);

struct recover_result {
	uint64_t incarnation;
	uint64_t journal_key;
	struct journal_pos head; /* of the journal, now empty */
	uint64_t records;	 /* that were applied */
	uint64_t changes;
	uint64_t nblks; /* mapped by them */
};

/*
 * Applies the journal and takes a new incarnation and key, durably.  Where the last run was not closed all
 * pages of the map are looked at before, and always its reference counts.  -ERR_JOURNAL: the journal is
 * damaged, nothing was changed by the damaged record or after it.  -ERR_MAP_OLD, -ERR_DATA_OLD: map and
 * device are not of one time (era.h).  -ERR_PAGE, -ERR_NODE: one of the counts too; -ERR_IO, -ERR_NOMEM, -ERR_MAP.
 */
int recover_run(struct map *map, struct dev *dev, struct recover_result *result) MUST_CHECK;

/* Before the device is synced for a fold: the map is about to have this tail.  As map_view_begin(), dev_write(). */
int recover_mark(struct map *map, struct dev *dev, uint64_t tail_seq) MUST_CHECK;

/* After a run that ended with everything in the map (objects_flush()) and was given up: it is closed. */
int recover_close(struct map *map, struct dev *dev) MUST_CHECK;

/*
 * Tells of all blocks that the journal's records map, of those that recover_run() would apply, and
 * changes nothing.
 */
typedef void recover_scan_fn(void *ctx, pblk_t blk, uint64_t nblks);
int recover_scan(struct map *map, struct dev *dev, recover_scan_fn *scan, void *ctx) MUST_CHECK;

/*
 * recover_run() in memory only, for who looks and changes nothing: the map is left with what the journal
 * holds staged.  Blocks whose data is in the journal are not where the map says: recover_read() reads
 * them, and all others from the device.
 */
struct recover_preview;
int recover_preview(struct map *map, struct dev *dev, struct recover_result *result,
		    struct recover_preview **preview) MUST_CHECK;
int recover_read(struct recover_preview *preview, pblk_t blk, uint64_t nblks,
		 uint8_t *buf) MUST_CHECK;
void recover_preview_free(struct recover_preview *preview);

#endif
