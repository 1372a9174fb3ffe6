/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/gate_dev.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"

/* Counts the call, waits until it may go on, and says whether it fails. */
static int gate_enter(struct gate_dev *gate, enum gate_op op)
{
	struct gate_calls *calls = &gate->calls[op];
	uint64_t number;
	int err;

	pthread_mutex_lock(&gate->lock);
	number = ++calls->made;
	while (number > calls->pass_upto)
		pthread_cond_wait(&gate->changed, &gate->lock);
	err = number <= calls->fail_upto ? -ERR_IO : 0;
	calls->gone++;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
	return err;
}

static int gate_read(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct gate_dev *gate = CONTAINER_OF(dev, struct gate_dev, dev);
	int err = gate_enter(gate, GATE_READ);

	return err < 0 ? err : dev_read(gate->inner, blk, iov, iovcnt);
}

static int gate_write(struct dev *dev, pblk_t blk, const struct iovec *iov, int iovcnt)
{
	struct gate_dev *gate = CONTAINER_OF(dev, struct gate_dev, dev);
	int err = gate_enter(gate, GATE_WRITE);

	return err < 0 ? err : dev_write(gate->inner, blk, iov, iovcnt);
}

static int gate_sync(struct dev *dev)
{
	struct gate_dev *gate = CONTAINER_OF(dev, struct gate_dev, dev);
	int err = gate_enter(gate, GATE_SYNC);

	return err < 0 ? err : dev_sync(gate->inner);
}

static uint64_t gate_unwritten(struct dev *dev, pblk_t from, uint64_t within_nblks, pblk_t *first)
{
	struct gate_dev *gate = CONTAINER_OF(dev, struct gate_dev, dev);

	return gate->tells_unwritten ? dev_unwritten(gate->inner, from, within_nblks, first) : 0;
}

static void gate_close(struct dev *dev)
{
	struct gate_dev *gate = CONTAINER_OF(dev, struct gate_dev, dev);

	dev_close(gate->inner);
	pthread_cond_destroy(&gate->changed);
	pthread_mutex_destroy(&gate->lock);
	free(gate);
}

static const struct dev_ops gate_ops = {
    .read = gate_read,
    .write = gate_write,
    .sync = gate_sync,
    .unwritten = gate_unwritten,
    .close = gate_close,
};

struct gate_dev *gate_dev_new(struct dev *inner)
{
	struct gate_dev *gate = calloc(1, sizeof(*gate));

	if (!gate) {
		perror("gate");
		abort();
	}
	gate->dev = (struct dev){.ops = &gate_ops, .nblks = inner->nblks, .mapped = inner->mapped};
	gate->inner = inner;
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->changed, NULL);
	for (int op = 0; op < GATE_NOPS; op++)
		gate->calls[op].pass_upto = UINT64_MAX;
	return gate;
}

uint64_t gate_dev_calls(struct gate_dev *gate, enum gate_op op)
{
	uint64_t made;

	pthread_mutex_lock(&gate->lock);
	made = gate->calls[op].made;
	pthread_mutex_unlock(&gate->lock);
	return made;
}

void gate_dev_fail_upto(struct gate_dev *gate, enum gate_op op, uint64_t number)
{
	pthread_mutex_lock(&gate->lock);
	gate->calls[op].fail_upto = number;
	pthread_mutex_unlock(&gate->lock);
}

static void gate_set(struct gate_dev *gate, enum gate_op op, uint64_t pass_upto)
{
	struct gate_calls *calls = &gate->calls[op];

	calls->pass_upto = pass_upto;
	pthread_cond_broadcast(&gate->changed);
	while (calls->gone < calls->made && calls->gone < calls->pass_upto)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

void gate_dev_hold(struct gate_dev *gate, enum gate_op op)
{
	pthread_mutex_lock(&gate->lock);
	gate_set(gate, op, gate->calls[op].made);
}

void gate_dev_release(struct gate_dev *gate, enum gate_op op, uint64_t n)
{
	pthread_mutex_lock(&gate->lock);
	gate_set(gate, op, gate->calls[op].pass_upto + n);
}

void gate_dev_open(struct gate_dev *gate, enum gate_op op)
{
	pthread_mutex_lock(&gate->lock);
	gate_set(gate, op, UINT64_MAX);
}
