/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/fake_dev.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define GARBAGE 0xee

static uint8_t *fake_at(uint8_t *mem, uint64_t blk)
{
	return mem + (size_t)blk * BLK_BYTES;
}

/* Counts the call, waits until it may go on, and says how it ends.  Returns with the lock held. */
static int fake_enter(struct fake_dev *fd, enum fake_op op)
{
	struct fake_calls *calls = &fd->calls[op];
	uint64_t number;

	pthread_mutex_lock(&fd->lock);
	number = ++calls->made;
	pthread_cond_broadcast(&fd->changed);
	while (number > calls->pass_upto)
		pthread_cond_wait(&fd->changed, &fd->lock);
	if (fd->power == FAKE_GOING)
		fd->power = FAKE_OFF;
	if (fd->power == FAKE_ON && calls->off_at > 0 && number >= calls->off_at)
		fd->power = FAKE_GOING;
	if (fd->power != FAKE_ON)
		return -ERR_IO;
	if (number >= calls->fail_from && number - calls->fail_from < calls->fail_count)
		return calls->fail_err;
	return 0;
}

static bool fake_in_range(const struct fake_dev *fd, pblk_t blk, const struct iovec *iov, int n)
{
	uint64_t nblks = 0;

	for (int i = 0; i < n; i++)
		nblks += iov[i].iov_len >> BLK_SHIFT;
	return blk.n > 0 && blk.n < fd->dev.nblks && nblks <= fd->dev.nblks - blk.n;
}

static int fake_read(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct fake_dev *fd = CONTAINER_OF(dev, struct fake_dev, dev);
	int err = fake_enter(fd, FAKE_READ);

	if (err == 0 && !fake_in_range(fd, blk, iov, iovcnt))
		err = -ERR_IO;
	for (int i = 0; i < iovcnt && err == 0; i++) {
		memcpy(iov[i].iov_base, fake_at(fd->bytes, blk.n), iov[i].iov_len);
		blk.n += iov[i].iov_len >> BLK_SHIFT;
	}
	pthread_mutex_unlock(&fd->lock);
	return err;
}

static int fake_write(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct fake_dev *fd = CONTAINER_OF(dev, struct fake_dev, dev);
	int err = fake_enter(fd, FAKE_WRITE);

	if (fd->power == FAKE_OFF || !fake_in_range(fd, blk, iov, iovcnt)) {
		pthread_mutex_unlock(&fd->lock);
		return -ERR_IO;
	}
	for (int i = 0; i < iovcnt; i++) {
		uint64_t nblks = iov[i].iov_len >> BLK_SHIFT;

		if (err < 0 && fd->power == FAKE_ON && !fd->failed_writes_land)
			memset(fake_at(fd->bytes, blk.n), GARBAGE, iov[i].iov_len);
		else
			memcpy(fake_at(fd->bytes, blk.n), iov[i].iov_base, iov[i].iov_len);
		for (uint64_t b = 0; b < nblks; b++)
			fd->pending[blk.n + b] = true;
		memset(fd->unwritten + blk.n, 0, nblks * sizeof(bool));
		blk.n += nblks;
	}
	pthread_mutex_unlock(&fd->lock);
	return err;
}

static int fake_sync(struct dev *dev)
{
	struct fake_dev *fd = CONTAINER_OF(dev, struct fake_dev, dev);
	int err = fake_enter(fd, FAKE_SYNC);

	for (uint64_t b = 0; b < dev->nblks && fd->power == FAKE_ON; b++) {
		if (!fd->pending[b])
			continue;
		fd->pending[b] = false;
		if (err == 0)
			memcpy(fake_at(fd->durable, b), fake_at(fd->bytes, b), BLK_BYTES);
	}
	pthread_mutex_unlock(&fd->lock);
	return err;
}

static uint64_t fake_unwritten(struct dev *dev, pblk_t from, uint64_t within_nblks, pblk_t *first)
{
	struct fake_dev *fd = CONTAINER_OF(dev, struct fake_dev, dev);
	uint64_t end = from.n + within_nblks;
	uint64_t n = 0;

	pthread_mutex_lock(&fd->lock);
	while (from.n < end && !fd->unwritten[from.n])
		from.n++;
	while (from.n + n < end && fd->unwritten[from.n + n])
		n++;
	pthread_mutex_unlock(&fd->lock);
	*first = from;
	return n;
}

static void fake_close(struct dev *dev)
{
	struct fake_dev *fd = CONTAINER_OF(dev, struct fake_dev, dev);

	pthread_cond_destroy(&fd->changed);
	pthread_mutex_destroy(&fd->lock);
	free(fd->bytes);
	free(fd->durable);
	free(fd->pending);
	free(fd->unwritten);
	free(fd);
}

static const struct dev_ops fake_ops = {
    .read = fake_read,
    .write = fake_write,
    .sync = fake_sync,
    .unwritten = fake_unwritten,
    .close = fake_close,
};

struct fake_dev *fake_dev_new(uint64_t nblks)
{
	struct fake_dev *fd = calloc(1, sizeof(*fd));

	if (fd) {
		fd->bytes = calloc(nblks, BLK_BYTES);
		fd->durable = calloc(nblks, BLK_BYTES);
		fd->pending = calloc(nblks, sizeof(bool));
		fd->unwritten = calloc(nblks, sizeof(bool));
	}
	if (!fd || !fd->bytes || !fd->durable || !fd->pending || !fd->unwritten) {
		perror("fake device");
		abort();
	}
	fd->dev = (struct dev){.ops = &fake_ops, .nblks = nblks};
	pthread_mutex_init(&fd->lock, NULL);
	pthread_cond_init(&fd->changed, NULL);
	for (int op = 0; op < FAKE_NOPS; op++)
		fd->calls[op].pass_upto = UINT64_MAX;
	return fd;
}

uint64_t fake_dev_calls(struct fake_dev *fd, enum fake_op op)
{
	uint64_t made;

	pthread_mutex_lock(&fd->lock);
	made = fd->calls[op].made;
	pthread_mutex_unlock(&fd->lock);
	return made;
}

void fake_dev_fail(struct fake_dev *fd, enum fake_op op, uint64_t nth, uint64_t count, int err)
{
	struct fake_calls *calls = &fd->calls[op];

	pthread_mutex_lock(&fd->lock);
	calls->fail_from = calls->made + nth;
	calls->fail_count = count;
	calls->fail_err = err;
	pthread_mutex_unlock(&fd->lock);
}

void fake_dev_off_at(struct fake_dev *fd, enum fake_op op, uint64_t nth)
{
	pthread_mutex_lock(&fd->lock);
	fd->calls[op].off_at = fd->calls[op].made + nth;
	pthread_mutex_unlock(&fd->lock);
}

static void fake_set_power(struct fake_dev *fd, enum fake_power power)
{
	pthread_mutex_lock(&fd->lock);
	fd->power = power;
	for (int op = 0; op < FAKE_NOPS; op++)
		fd->calls[op].off_at = 0;
	pthread_mutex_unlock(&fd->lock);
}

void fake_dev_off(struct fake_dev *fd)
{
	fake_set_power(fd, FAKE_OFF);
}

void fake_dev_on(struct fake_dev *fd)
{
	fake_set_power(fd, FAKE_ON);
}

bool fake_dev_is_off(struct fake_dev *fd)
{
	bool off;

	pthread_mutex_lock(&fd->lock);
	off = fd->power != FAKE_ON;
	pthread_mutex_unlock(&fd->lock);
	return off;
}

static void fake_set_gate(struct fake_dev *fd, enum fake_op op, uint64_t pass_upto)
{
	fd->calls[op].pass_upto = pass_upto;
	pthread_cond_broadcast(&fd->changed);
	pthread_mutex_unlock(&fd->lock);
}

void fake_dev_hold(struct fake_dev *fd, enum fake_op op)
{
	pthread_mutex_lock(&fd->lock);
	fake_set_gate(fd, op, fd->calls[op].made);
}

void fake_dev_release(struct fake_dev *fd, enum fake_op op, uint64_t n)
{
	pthread_mutex_lock(&fd->lock);
	fake_set_gate(fd, op, fd->calls[op].pass_upto + n);
}

void fake_dev_open_gate(struct fake_dev *fd, enum fake_op op)
{
	pthread_mutex_lock(&fd->lock);
	fake_set_gate(fd, op, UINT64_MAX);
}

void fake_dev_wait_calls(struct fake_dev *fd, enum fake_op op, uint64_t n)
{
	pthread_mutex_lock(&fd->lock);
	while (fd->calls[op].made < n)
		pthread_cond_wait(&fd->changed, &fd->lock);
	pthread_mutex_unlock(&fd->lock);
}

static bool fake_equal(struct fake_dev *fd, uint8_t *mem, pblk_t blk, const uint8_t *bytes)
{
	bool equal;

	pthread_mutex_lock(&fd->lock);
	equal = memcmp(fake_at(mem, blk.n), bytes, BLK_BYTES) == 0;
	pthread_mutex_unlock(&fd->lock);
	return equal;
}

bool fake_dev_holds(struct fake_dev *fd, pblk_t blk, const uint8_t *bytes)
{
	return fake_equal(fd, fd->bytes, blk, bytes);
}

bool fake_dev_durable(struct fake_dev *fd, pblk_t blk, const uint8_t *bytes)
{
	return fake_equal(fd, fd->durable, blk, bytes);
}

void fake_dev_put(struct fake_dev *fd, pblk_t blk, const uint8_t *bytes)
{
	pthread_mutex_lock(&fd->lock);
	memcpy(fake_at(fd->bytes, blk.n), bytes, BLK_BYTES);
	memcpy(fake_at(fd->durable, blk.n), bytes, BLK_BYTES);
	pthread_mutex_unlock(&fd->lock);
}

void fake_dev_flip(struct fake_dev *fd, pblk_t blk, uint32_t off)
{
	pthread_mutex_lock(&fd->lock);
	fake_at(fd->bytes, blk.n)[off] ^= 1;
	fake_at(fd->durable, blk.n)[off] ^= 1;
	pthread_mutex_unlock(&fd->lock);
}

void fake_dev_land(struct fake_dev *fd, bool (*survives)(void *ctx, uint64_t sector), void *ctx)
{
	const uint64_t per_blk = BLK_BYTES / FAKE_SECTOR_BYTES;

	pthread_mutex_lock(&fd->lock);
	for (uint64_t s = 0; s < fd->dev.nblks * per_blk; s++) {
		size_t at = (size_t)s * FAKE_SECTOR_BYTES;

		if (fd->pending[s / per_blk] && survives(ctx, s))
			memcpy(fd->durable + at, fd->bytes + at, FAKE_SECTOR_BYTES);
	}
	pthread_mutex_unlock(&fd->lock);
}

void fake_dev_set_unwritten(struct fake_dev *fd, pblk_t blk, uint64_t nblks)
{
	pthread_mutex_lock(&fd->lock);
	memset(fd->unwritten + blk.n, true, nblks * sizeof(bool));
	pthread_mutex_unlock(&fd->lock);
}

uint64_t fake_dev_count_unwritten(struct fake_dev *fd, pblk_t blk, uint64_t nblks)
{
	uint64_t n = 0;

	pthread_mutex_lock(&fd->lock);
	for (uint64_t b = 0; b < nblks; b++)
		n += fd->unwritten[blk.n + b];
	pthread_mutex_unlock(&fd->lock);
	return n;
}

void fake_dev_cut(struct fake_dev *fd)
{
	pthread_mutex_lock(&fd->lock);
	memcpy(fd->bytes, fd->durable, (size_t)fd->dev.nblks * BLK_BYTES);
	memset(fd->pending, 0, fd->dev.nblks * sizeof(bool));
	pthread_mutex_unlock(&fd->lock);
	fake_dev_on(fd);
}
