/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store.h: a store as a directory: making it, locking it, opening its map and its device.  Owns the
 * lock, the map and the device of an open store.  One thread, before the others start.
 *
 *	DIR/lock  held (flock) while the store is in use; the holder's pid is in it
 *	DIR/map	  the map (map.h)
 *	DIR/data  the data device, where it is not a file or block device elsewhere (--device); a file
 *		  there may be used by a mapping at one start and by reads and writes at another
 *
 * A store is built in DIR.new-XXXXXX beside DIR, made durable, and renamed: DIR is never half a
 * store.  What a crash leaves of such a directory is removed when a store is made there again.
 */
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/dev.h"
#include "server/map.h"

/* Metadata gets a 32nd of the data's size, but not less and not more than these. */
#define STORE_META_MIN	 (UINT64_C(128) << 20)
#define STORE_META_MAX	 (UINT64_C(1) << 40)
#define STORE_META_SHARE 32u

/*
 * The journal gets a 64th of the device's blocks, but not more than JOURNAL_MAX; of a small device a
 * 16th (at least JOURNAL_MIN, at most JOURNAL_SMALL), so that the largest epoch that fits the device
 * fits a quarter of the journal.
 */
#define STORE_JOURNAL_MIN	  64u
#define STORE_JOURNAL_MAX	  65536u
#define STORE_JOURNAL_SHARE	  64u
#define STORE_JOURNAL_SMALL	  4096u
#define STORE_JOURNAL_SMALL_SHARE 16u

/* Header, journal and a block for data. */
#define STORE_BLKS_MIN (1 + STORE_JOURNAL_MIN + 1)

struct store_config {
	const char *dir;
	const char *device;  /* NULL: DIR/data */
	bool mapped;	     /* device: through a mapping (dev_mapped_open()) */
	uint64_t size_bytes; /* 0: not given */
};

struct store {
	int lock_fd;
	struct map *map;
	struct dev *dev;
};

/*
 * What is in config->dir: 0 for a store; -ERR_NOENT: nothing, or an empty directory; -ERR_FORMAT:
 * something else.  All functions below write one line about their failure to why.
 */
int store_probe(const struct store_config *config, char *why, size_t why_len) MUST_CHECK;

/* Makes a store where there is none.  -ERR_EXIST, -ERR_INVAL (size), -ERR_NOSPC, -ERR_PERM... */
int store_create(const struct store_config *config, char *why, size_t why_len) MUST_CHECK;

/*
 * Opens it.  -ERR_LOCKED (why names the holder), -ERR_FORMAT, -ERR_INVAL (another size, or no
 * device given where one is needed).
 */
int store_open(const struct store_config *config, struct store *store, char *why,
	       size_t why_len) MUST_CHECK;

void store_close(struct store *store);

#endif
