/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/era.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"

#define ERA_MAGIC UINT64_C(0x6172652d64776f63) /* "cowd-era" */

/* At the begin of its block; the rest is zeros. */
struct disk_era {
	uint8_t magic[8];
	uint8_t incarnation[8];
	uint8_t tail_seq[8];
	uint8_t state[4];
	uint8_t crc[4];
};

static_assert(sizeof(struct disk_era) == 32, "layout");

/* In the place of a state: no start, but a mark. */
#define ERA_MARK (ERA_CLOSED + 1u)

/* What a place says. */
struct era {
	bool empty; /* nobody has written it yet */
	bool bad;
	bool unread; /* bad, because the device has failed */
	uint64_t incarnation;
	uint64_t tail_seq;
	uint32_t state;
};

/* What all of them say. */
struct era_places {
	struct era own;	  /* of the map's start */
	struct era other; /* of the start before it, or of one after it that was cut off */
	struct era mark;
};

static uint32_t era_crc(const struct disk_era *disk)
{
	return crc32c(0, disk, offsetof(struct disk_era, crc));
}

static struct era era_parse(const uint8_t *place, bool mark)
{
	static const uint8_t zeros[sizeof(struct disk_era)];
	const struct disk_era *disk = (const struct disk_era *)place;
	struct era era = {.incarnation = le64_get(disk->incarnation),
			  .tail_seq = le64_get(disk->tail_seq),
			  .state = le32_get(disk->state)};

	era.empty = memcmp(place, zeros, sizeof(zeros)) == 0;
	era.bad = !era.empty && (le64_get(disk->magic) != ERA_MAGIC ||
				 le32_get(disk->crc) != era_crc(disk) || era.state < ERA_PREPARED ||
				 era.state > ERA_MARK || (era.state == ERA_MARK) != mark);
	return era;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Where all of them cannot be read at once, each alone may be. */
static int era_read_each(struct dev *dev, pblk_t first, uint8_t *blks, bool *unread)
{
	for (unsigned int i = 0; i < ERA_NBLKS; i++) {
		struct iovec iov = {blks + (size_t)i * BLK_BYTES, BLK_BYTES};
		int err = dev_read(dev, pblk(first.n + i), &iov, 1);

		if (err < 0 && err != -ERR_IO)
			return err;
		unread[i] = err < 0;
	}
	return 0;
}

static int era_read(struct dev *dev, pblk_t first, uint64_t incarnation, struct era_places *places)
{
	uint8_t *blks = aligned_alloc(BLK_BYTES, (size_t)ERA_NBLKS * BLK_BYTES);
	struct iovec iov = {blks, (size_t)ERA_NBLKS * BLK_BYTES};
	bool unread[ERA_NBLKS] = {false};
	struct era eras[ERA_NBLKS];
	int err;

	if (!blks)
		return -ERR_NOMEM;
	err = dev_read(dev, first, &iov, 1);
	if (err == -ERR_IO)
		err = era_read_each(dev, first, blks, unread);
	for (unsigned int i = 0; i < ERA_NBLKS && err == 0; i++)
		eras[i] = unread[i] ? (struct era){.bad = true, .unread = true}
				    : era_parse(blks + (size_t)i * BLK_BYTES, i == ERA_NSTARTS);
	free(blks);
	if (err < 0)
		return err;
	places->own = eras[incarnation % ERA_NSTARTS];
	places->other = eras[(incarnation + 1) % ERA_NSTARTS];
	places->mark = eras[ERA_NSTARTS];
	return 0;
}

/* ---- checking -------------------------------------------------------------------------------- */

static bool era_is_said(const struct era *era)
{
	return !era->empty && !era->bad;
}

/* The tail that a place says for this start; 0: none. */
static uint64_t era_reach(const struct era *era, uint64_t incarnation)
{
	return era_is_said(era) && era->incarnation == incarnation ? era->tail_seq : 0;
}

/* How far a place is from what it should say: 0 fits, below the data is older, above the map. */
static int64_t era_distance(const struct era *era, uint64_t incarnation)
{
	return (int64_t)(era->incarnation - incarnation);
}

static int era_judge_own(const struct era *own, uint64_t incarnation, uint64_t tail_seq)
{
	int64_t distance = era_distance(own, incarnation);

	if (distance == 0 && own->state == ERA_CLOSED && own->tail_seq > tail_seq)
		distance = 1;
	if (distance == 0)
		return 0;
	return distance < 0 ? -ERR_DATA_OLD : -ERR_MAP_OLD;
}

static int era_judge_other(const struct era *other, uint64_t incarnation)
{
	int64_t distance = era_distance(other, incarnation);

	if (distance == -1 || (distance == 1 && other->state == ERA_PREPARED))
		return 0;
	return distance < 0 ? -ERR_DATA_OLD : -ERR_MAP_OLD;
}

/* Is the device as far as the map?  A place that is damaged may be the one that has said so. */
static int era_judge_tail(const struct era_places *p, uint64_t incarnation, uint64_t tail_seq)
{
	if (era_reach(&p->own, incarnation) >= tail_seq ||
	    era_reach(&p->mark, incarnation) >= tail_seq)
		return 0;
	return p->own.bad || p->mark.bad ? 0 : -ERR_DATA_OLD;
}

static int era_judge(const struct era_places *p, uint64_t incarnation, uint64_t tail_seq)
{
	int err = 0;

	if (p->own.empty)
		err = incarnation > 0 ? -ERR_DATA_OLD : 0;
	else if (!p->own.bad)
		err = era_judge_own(&p->own, incarnation, tail_seq);
	if (err == 0 && era_is_said(&p->other))
		err = era_judge_other(&p->other, incarnation);
	if (err == 0 && incarnation > 0)
		err = era_judge_tail(p, incarnation, tail_seq);
	if (err == 0 && p->own.unread && p->other.unread)
		err = -ERR_IO;
	return err;
}

/* Neither a start nor a fold has been cut off since. */
static bool era_is_closed(const struct era_places *p, uint64_t incarnation, uint64_t tail_seq)
{
	return era_is_said(&p->own) && p->own.state == ERA_CLOSED && p->own.tail_seq == tail_seq &&
	       era_reach(&p->other, incarnation + 1) == 0 &&
	       era_reach(&p->mark, incarnation) <= tail_seq;
}

static void era_complain(const char *place)
{
	log_event(LOG_WARN, "device-starts-damaged", "place=%s", place);
}

static void era_complain_all(const struct era_places *p, uint64_t incarnation)
{
	if (p->own.bad)
		era_complain("own");
	if (p->other.bad || (p->other.empty && incarnation > 1))
		era_complain("other");
	if (p->mark.bad)
		era_complain("mark");
}

int era_check(struct dev *dev, pblk_t first, uint64_t incarnation, uint64_t tail_seq, bool *closed)
{
	struct era_places p;
	int err = era_read(dev, first, incarnation, &p);

	if (err < 0)
		return err;
	err = era_judge(&p, incarnation, tail_seq);
	if (err < 0) {
		log_event(LOG_ERROR, "device-starts",
			  "map=%" PRIu64 " tail=%" PRIu64 " device=%" PRIu64 ",%" PRIu64
			  " mark=%" PRIu64 " error=%s",
			  incarnation, tail_seq, p.own.incarnation, p.other.incarnation,
			  era_reach(&p.mark, incarnation), err_name(err));
		return err;
	}
	era_complain_all(&p, incarnation);
	*closed = era_is_closed(&p, incarnation, tail_seq);
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int era_put(struct dev *dev, pblk_t place, uint64_t incarnation, uint32_t state,
		   uint64_t tail_seq)
{
	uint8_t *blk = aligned_alloc(BLK_BYTES, BLK_BYTES);
	struct disk_era *disk = (struct disk_era *)blk;
	struct iovec iov = {blk, BLK_BYTES};
	int err;

	if (!blk)
		return -ERR_NOMEM;
	memset(blk, 0, BLK_BYTES);
	le64_put(disk->magic, ERA_MAGIC);
	le64_put(disk->incarnation, incarnation);
	le64_put(disk->tail_seq, tail_seq);
	le32_put(disk->state, state);
	le32_put(disk->crc, era_crc(disk));
	err = dev_write(dev, place, &iov, 1);
	free(blk);
	return err;
}

int era_write(struct dev *dev, pblk_t first, uint64_t incarnation, enum era_state state,
	      uint64_t tail_seq)
{
	return era_put(dev, pblk(first.n + incarnation % ERA_NSTARTS), incarnation, state,
		       tail_seq);
}

int era_mark(struct dev *dev, pblk_t first, uint64_t incarnation, uint64_t tail_seq)
{
	return era_put(dev, pblk(first.n + ERA_NSTARTS), incarnation, ERA_MARK, tail_seq);
}
