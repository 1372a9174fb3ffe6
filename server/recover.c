/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/recover.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/crc32c.h"
#include "common/err.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/apply.h"
#include "server/era.h"
#include "server/home.h"
#include "server/record.h"

#define READ_MAX_BLKS  256u
#define WRITE_MAX_BLKS 256

struct recover {
	struct map *map;
	struct dev *dev;
	struct recover_result *result;
	bool fold;	       /* else everything stays in memory */
	recover_scan_fn *scan; /* instead of applying anything */
	void *scan_ctx;
	uint8_t *buf; /* READ_MAX_BLKS blocks */
	struct home home;
	struct journal_pos done; /* behind the last record that was applied */
	bool closed;		 /* the last run was */
};

struct recover_preview {
	struct recover r;
	struct recover_result result;
};

static void recover_drop(void *ctx, const struct home_blk *hb)
{
	(void)ctx;
	free(hb->owner);
}

/* ---- does the data fit? ---------------------------------------------------------------------- */

static bool recover_data_fits(const uint8_t *data, const uint32_t *csums, uint32_t nblks)
{
	for (uint32_t i = 0; i < nblks; i++)
		if (crc32c(0, data + (size_t)i * BLK_BYTES, BLK_BYTES) != csums[i])
			return false;
	return true;
}

/* Reads the extents of a change from the device; *fits: every block has its checksum. */
static int recover_check_extents(struct recover *r, const struct change *change, bool *fits)
{
	const uint32_t *csums = change->csums;

	*fits = true;
	for (uint32_t e = 0; e < change->nextents && *fits; e++) {
		const struct change_extent *ext = &change->extents[e];
		uint32_t n;

		for (uint32_t at = 0; at < ext->nblks && *fits; at += n) {
			struct iovec iov = {.iov_base = r->buf};
			int err;

			n = ext->nblks - at < READ_MAX_BLKS ? ext->nblks - at : READ_MAX_BLKS;
			iov.iov_len = (size_t)n * BLK_BYTES;
			err = dev_read(r->dev, pblk(ext->dst.n + at), &iov, 1);
			if (err < 0)
				return err;
			*fits = recover_data_fits(r->buf, csums, n);
			csums += n;
		}
	}
	return 0;
}

/* *fits: all data that the record names is there.  What is known durable is not read again. */
static int recover_check(struct recover *r, const struct journal_found *found, bool *fits)
{
	struct record_reader reader = {.bytes = found->body, .len = found->body_len};
	int rc;

	*fits = true;
	while (*fits && (rc = record_next(&reader)) > 0) {
		const struct change *change = &reader.change;
		uint64_t end = (uint64_t)reader.ndata + change->nblks;

		rc = 0;
		if (change->inlined)
			*fits = end <= found->ndata &&
				recover_data_fits(found->data + (size_t)reader.ndata * BLK_BYTES,
						  change->csums, change->nblks);
		else if (!found->durable)
			rc = recover_check_extents(r, change, fits);
		if (rc < 0)
			break;
	}
	record_reader_fini(&reader);
	return rc < 0 ? rc : 0;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* Keeps copies of a change's inlined blocks. */
static int recover_take_data(struct recover *r, const struct change *change, const uint8_t *data)
{
	for (uint32_t e = 0; e < change->nextents; e++) {
		const struct change_extent *ext = &change->extents[e];

		for (uint32_t i = 0; i < ext->nblks; i++) {
			uint8_t *copy = aligned_alloc(BLK_BYTES, BLK_BYTES);

			if (!copy || home_add(&r->home, pblk(ext->dst.n + i), copy, copy) < 0) {
				free(copy);
				return -ERR_NOMEM;
			}
			memcpy(copy, data, BLK_BYTES);
			data += BLK_BYTES;
		}
	}
	return 0;
}

static int recover_apply_changes(struct recover *r, const struct journal_found *found,
				 struct map_txn *txn)
{
	struct record_reader reader = {.bytes = found->body, .len = found->body_len};
	struct map_obj obj;
	int rc;

	while ((rc = record_next(&reader)) > 0) {
		const struct change *change = &reader.change;

		rc = apply_change(txn, change, &obj);
		if (rc < 0) {
			log_event(LOG_ERROR, "recover-apply",
				  "record=%" PRIu64 " kind=%d object=%" PRIu64 " error=%s",
				  found->pos.seq, (int)change->kind, change->oid, err_name(rc));
			break;
		}
		if (change->inlined)
			rc = recover_take_data(r, change,
					       found->data + (size_t)reader.ndata * BLK_BYTES);
		if (rc < 0)
			break;
		r->result->changes++;
		r->result->nblks += change->nblks;
	}
	record_reader_fini(&reader);
	return rc;
}

static int recover_apply(struct recover *r, const struct journal_found *found)
{
	struct map_freed freed = {0};
	struct map_txn *txn;
	int err = map_txn_begin(r->map, &txn);

	if (err < 0)
		return err;
	err = recover_apply_changes(r, found, txn);
	if (err < 0) {
		map_txn_abort(txn);
		return err;
	}
	err = map_txn_commit(txn, &freed);
	for (size_t i = 0; i < freed.n && err == 0; i++)
		home_drop(&r->home, freed.ranges[i].blk, freed.ranges[i].nblks, recover_drop, NULL);
	free(freed.ranges);
	return err;
}

static int recover_write_home(struct recover *r)
{
	struct iovec iov[WRITE_MAX_BLKS];
	struct home_blk *next;

	home_sort(&r->home);
	for (struct home_blk *blk = r->home.blks; blk; blk = next) {
		int n = home_run(blk, iov, WRITE_MAX_BLKS, &next);
		int err = dev_write(r->dev, pblk(blk->blk), iov, n);

		if (err < 0)
			return err;
	}
	home_clear(&r->home, recover_drop, NULL);
	return 0;
}

/* Makes the map durable as of what has been applied. */
static int recover_fold(struct recover *r)
{
	struct map_tail tail = {r->done.seq, r->done.blk};
	int err = recover_write_home(r);

	/* a process that was killed has left what it wrote in caches: none of it may be lost now */
	if (err == 0)
		err = dev_sync(r->dev);
	if (err == 0)
		err = map_cut(r->map, tail);
	if (err == 0)
		err = map_fold(r->map);
	return err;
}

/* As much as one fold takes: the map is still that of the run before. */
static int recover_fold_part(struct recover *r)
{
	int err = recover_mark(r->map, r->dev, r->done.seq);

	return err == 0 ? recover_fold(r) : err;
}

static int recover_scan_extents(struct recover *r, const struct journal_found *found)
{
	struct record_reader reader = {.bytes = found->body, .len = found->body_len};
	int rc;

	while ((rc = record_next(&reader)) > 0)
		for (uint32_t e = 0; e < reader.change.nextents; e++)
			r->scan(r->scan_ctx, reader.change.extents[e].dst,
				reader.change.extents[e].nblks);
	record_reader_fini(&reader);
	return rc;
}

static int recover_record(void *ctx, const struct journal_found *found)
{
	struct recover *r = ctx;
	bool fits;
	int err = recover_check(r, found, &fits);

	if (err < 0 || !fits)
		return err < 0 ? err : 1;
	if (r->scan)
		return recover_scan_extents(r, found);
	err = recover_apply(r, found);
	if (err < 0)
		return err;
	r->result->records++;
	r->done = found->next;
	return r->fold && map_must_fold(r->map) ? recover_fold_part(r) : 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

struct journal_region recover_region(const struct map *map)
{
	return (struct journal_region){.first = pblk(1),
				       .nblks = map_geometry(map)->journal_nblks - ERA_NBLKS};
}

/* Behind the journal. */
static pblk_t recover_places(const struct map *map)
{
	return pblk(1 + recover_region(map).nblks);
}

static int recover_begin(struct recover *r)
{
	struct map_view *view;
	struct map_tail tail;
	int err;

	r->buf = aligned_alloc(BLK_BYTES, READ_MAX_BLKS * BLK_BYTES);
	if (!r->buf)
		return -ERR_NOMEM;
	err = map_view_begin(r->map, &view);
	if (err < 0)
		return err;
	err = map_get_tail(view, &tail);
	if (err == 0)
		err = map_get_incarnation(view, &r->result->incarnation, &r->result->journal_key);
	map_view_end(view);
	if (err < 0)
		return err;
	r->done = (struct journal_pos){tail.seq, tail.blk};
	return era_check(r->dev, recover_places(r->map), r->result->incarnation, tail.seq,
			 &r->closed);
}

static int recover_replay(struct recover *r)
{
	struct journal_region region = recover_region(r->map);
	int err = recover_begin(r);

	/* after a clean stop a start is not to depend on the size of the map */
	if (err == 0 && (!r->closed || !r->fold))
		err = map_verify_pages(r->map);
	if (err == 0 && r->fold)
		err = map_verify_counts(r->map);
	if (err < 0)
		return err;
	return journal_replay(r->dev, &region, r->result->journal_key, r->done, recover_record, r,
			      &r->result->head);
}

/* A number for this run, and a key, so that nothing else is taken for a record of its own. */
static int recover_next_incarnation(struct recover *r)
{
	struct map_freed freed = {0};
	uint64_t *key = &r->result->journal_key;
	struct map_txn *txn;
	int err;

	if (getrandom(key, sizeof(*key), 0) != (ssize_t)sizeof(*key))
		return -ERR_IO;
	err = map_txn_begin(r->map, &txn);
	if (err < 0)
		return err;
	err = map_txn_next_incarnation(txn, *key, &r->result->incarnation);
	if (err < 0)
		map_txn_abort(txn);
	else
		err = map_txn_commit(txn, &freed);
	free(freed.ranges);
	return err;
}

/* Of the run that is about to begin. */
static int recover_say(const struct recover *r, enum era_state state)
{
	return era_write(r->dev, recover_places(r->map), r->result->incarnation, state,
			 r->done.seq);
}

static void recover_fini(struct recover *r)
{
	home_clear(&r->home, recover_drop, NULL);
	free(r->buf);
}

int recover_run(struct map *map, struct dev *dev, struct recover_result *result)
{
	struct recover_result res = {0};
	struct recover r = {.map = map, .dev = dev, .result = &res, .fold = true};
	enum thread_role role = thread_role();
	int err;

	thread_set_role(THREAD_MAP);
	err = recover_replay(&r);
	if (err == 0)
		err = recover_next_incarnation(&r);
	if (err == 0)
		err = recover_say(&r, ERA_PREPARED);
	if (err == 0)
		err = recover_fold(&r); /* which syncs the device before the map has the number */
	if (err == 0)
		err = recover_say(&r, ERA_BEGUN);
	/* not with the first record's sync: where that fails, this would not be written again */
	if (err == 0)
		err = dev_sync(dev);
	thread_set_role(role);
	recover_fini(&r);
	if (err == 0)
		*result = res;
	return err;
}

int recover_scan(struct map *map, struct dev *dev, recover_scan_fn *scan, void *ctx)
{
	struct recover_result res = {0};
	struct recover r = {.map = map, .dev = dev, .result = &res, .scan = scan, .scan_ctx = ctx};
	int err = recover_replay(&r);

	recover_fini(&r);
	return err;
}

int recover_mark(struct map *map, struct dev *dev, uint64_t tail_seq)
{
	uint64_t incarnation;
	struct map_view *view;
	uint64_t key;
	int err = map_view_begin(map, &view);

	if (err < 0)
		return err;
	err = map_get_incarnation(view, &incarnation, &key);
	map_view_end(view);
	return err == 0 ? era_mark(dev, recover_places(map), incarnation, tail_seq) : err;
}

int recover_close(struct map *map, struct dev *dev)
{
	uint64_t incarnation = 0;
	struct map_view *view;
	struct map_tail tail;
	uint64_t key;
	int err = map_snapshot_begin(map, &view); /* what is durable */

	if (err < 0)
		return err;
	err = map_get_tail(view, &tail);
	if (err == 0)
		err = map_get_incarnation(view, &incarnation, &key);
	map_view_end(view);
	if (err == 0)
		err = era_write(dev, recover_places(map), incarnation, ERA_CLOSED, tail.seq);
	return err == 0 ? dev_sync(dev) : err;
}

int recover_preview(struct map *map, struct dev *dev, struct recover_result *result,
		    struct recover_preview **preview)
{
	struct recover_preview *p = calloc(1, sizeof(*p));
	enum thread_role role = thread_role();
	int err;

	if (!p)
		return -ERR_NOMEM;
	p->r = (struct recover){.map = map, .dev = dev, .result = &p->result};
	thread_set_role(THREAD_MAP);
	err = recover_replay(&p->r);
	thread_set_role(role);
	if (err < 0) {
		recover_preview_free(p);
		return err;
	}
	*result = p->result;
	*preview = p;
	return 0;
}

int recover_read(struct recover_preview *preview, pblk_t blk, uint64_t nblks, uint8_t *buf)
{
	struct iovec iov = {buf, nblks * BLK_BYTES};
	int err = dev_read(preview->r.dev, blk, &iov, 1);

	for (uint64_t i = 0; i < nblks && err == 0; i++) {
		const struct home_blk *hb = home_find(&preview->r.home, pblk(blk.n + i));

		if (hb)
			memcpy(buf + i * BLK_BYTES, hb->data, BLK_BYTES);
	}
	return err;
}

void recover_preview_free(struct recover_preview *preview)
{
	if (!preview)
		return;
	recover_fini(&preview->r);
	free(preview);
}
