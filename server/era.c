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

/* What a place says. */
struct era {
	bool empty; /* nobody has written it yet */
	bool bad;
	bool unread; /* bad, because the device has failed */
	uint64_t incarnation;
	uint64_t tail_seq;
	uint32_t state;
};

static pblk_t era_place(pblk_t first, uint64_t incarnation)
{
	return pblk(first.n + incarnation % ERA_NBLKS);
}

static uint32_t era_crc(const struct disk_era *disk)
{
	return crc32c(0, disk, offsetof(struct disk_era, crc));
}

static struct era era_parse(const uint8_t *place)
{
	static const uint8_t zeros[sizeof(struct disk_era)];
	const struct disk_era *disk = (const struct disk_era *)place;
	struct era era = {.incarnation = le64_get(disk->incarnation),
			  .tail_seq = le64_get(disk->tail_seq),
			  .state = le32_get(disk->state)};

	era.empty = memcmp(place, zeros, sizeof(zeros)) == 0;
	era.bad = !era.empty &&
		  (le64_get(disk->magic) != ERA_MAGIC || le32_get(disk->crc) != era_crc(disk) ||
		   era.state < ERA_PREPARED || era.state > ERA_CLOSED);
	return era;
}

/* The place for an incarnation, which may say another one. */
static int era_read(struct dev *dev, pblk_t first, uint64_t incarnation, struct era *era)
{
	uint8_t *blk = aligned_alloc(BLK_BYTES, BLK_BYTES);
	struct iovec iov = {blk, BLK_BYTES};
	int err = -ERR_NOMEM;

	if (blk)
		err = dev_read(dev, era_place(first, incarnation), &iov, 1);
	if (err == 0)
		*era = era_parse(blk);
	else if (err == -ERR_IO)
		*era = (struct era){.bad = true, .unread = true};
	free(blk);
	return err == -ERR_IO ? 0 : err;
}

/* ---- checking -------------------------------------------------------------------------------- */

/* How far a place is from what it should say: 0 fits, below the data is older, above the map. */
static int64_t era_distance(const struct era *era, uint64_t incarnation)
{
	return (int64_t)(era->incarnation - incarnation);
}

/* The place of the map's own start. */
static int era_judge_own(const struct era *own, uint64_t incarnation, uint64_t tail_seq)
{
	int64_t distance = era_distance(own, incarnation);

	if (distance == 0 && own->state == ERA_CLOSED && own->tail_seq != tail_seq)
		distance = own->tail_seq < tail_seq ? -1 : 1;
	if (distance == 0)
		return 0;
	return distance < 0 ? -ERR_DATA_OLD : -ERR_MAP_OLD;
}

/* That of the start before it, or of one after it that was cut off. */
static int era_judge_other(const struct era *other, uint64_t incarnation)
{
	int64_t distance = era_distance(other, incarnation);

	if (distance == -1 || (distance == 1 && other->state == ERA_PREPARED))
		return 0;
	return distance < 0 ? -ERR_DATA_OLD : -ERR_MAP_OLD;
}

static bool era_is_said(const struct era *era)
{
	return !era->empty && !era->bad;
}

static int era_judge(const struct era *own, const struct era *other, uint64_t incarnation,
		     uint64_t tail_seq)
{
	int err = 0;

	if (own->empty)
		err = incarnation > 0 ? -ERR_DATA_OLD : 0;
	else if (!own->bad)
		err = era_judge_own(own, incarnation, tail_seq);
	if (err == 0 && era_is_said(other))
		err = era_judge_other(other, incarnation);
	return err;
}

static void era_complain(const char *place)
{
	log_event(LOG_WARN, "device-starts-damaged", "place=%s", place);
}

int era_check(struct dev *dev, pblk_t first, uint64_t incarnation, uint64_t tail_seq, bool *closed)
{
	struct era own;
	struct era other;
	int err = era_read(dev, first, incarnation, &own);

	if (err == 0)
		err = era_read(dev, first, incarnation + 1, &other);
	if (err < 0)
		return err;
	err = era_judge(&own, &other, incarnation, tail_seq);
	if (err == 0 && own.unread && other.unread)
		err = -ERR_IO;
	if (err < 0) {
		log_event(LOG_ERROR, "device-starts",
			  "map=%" PRIu64 " tail=%" PRIu64 " device=%" PRIu64 ",%" PRIu64
			  " error=%s",
			  incarnation, tail_seq, own.incarnation, other.incarnation, err_name(err));
		return err;
	}
	if (own.bad)
		era_complain("own");
	if (other.bad || (other.empty && incarnation > 1))
		era_complain("other");
	*closed = era_is_said(&own) && own.state == ERA_CLOSED;
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

int era_write(struct dev *dev, pblk_t first, uint64_t incarnation, enum era_state state,
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
	le32_put(disk->state, (uint32_t)state);
	le32_put(disk->crc, era_crc(disk));
	err = dev_write(dev, era_place(first, incarnation), &iov, 1);
	free(blk);
	return err;
}
