/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * aio_copy.c: copies an object to another of the store, with many reads and writes under way; with
 * poll(2), and no library but libcow.
 *
 *	aio_copy URI FROM TO
 */
#include <cow.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WINDOW	    16
#define CHUNK_BYTES (256u * 1024)

struct copy;

/* A chunk is read, then written; then the slot takes the next. */
struct slot {
	struct copy *copy;
	uint64_t offset;
	char data[CHUNK_BYTES];
};

struct copy {
	cow_t *cow;
	cow_object_t *from;
	cow_object_t *to;
	uint64_t next; /* the first byte that no slot has taken */
	uint64_t size;
	unsigned int busy;
	int err; /* the first failure */
	struct slot slots[WINDOW];
};

static void slot_begin(struct slot *slot);

/* The slot's call has failed, or could not be begun. */
static void slot_fail(struct slot *slot, int64_t err)
{
	struct copy *copy = slot->copy;

	if (copy->err == 0) {
		copy->err = (int)err;
		fprintf(stderr, "at byte %llu: %s\n", (unsigned long long)slot->offset,
			cow_error(copy->cow));
	}
	copy->busy--;
}

static void slot_written(void *ctx, int64_t result)
{
	struct slot *slot = ctx;

	if (result < 0) {
		slot_fail(slot, result);
		return;
	}
	slot->copy->busy--;
	slot_begin(slot);
}

static void slot_read(void *ctx, int64_t result)
{
	struct slot *slot = ctx;
	struct cow_aio how = {.done = slot_written, .ctx = slot};

	if (result >= 0)
		result = cow_aio_pwrite(slot->copy->to, slot->data, (size_t)result, slot->offset,
					&how, NULL);
	if (result < 0)
		slot_fail(slot, result);
}

static void slot_begin(struct slot *slot)
{
	struct copy *copy = slot->copy;
	struct cow_aio how = {.done = slot_read, .ctx = slot};
	int err;

	if (copy->err < 0 || copy->next >= copy->size)
		return;
	slot->offset = copy->next;
	copy->next += CHUNK_BYTES;
	copy->busy++;
	err = cow_aio_pread(copy->from, slot->data, CHUNK_BYTES, slot->offset, &how, NULL);
	if (err < 0)
		slot_fail(slot, err);
}

/* The loop of a program that has other descriptors to look after, too. */
static void copy_run(struct copy *copy)
{
	struct pollfd pfd = {.fd = cow_get_fd(copy->cow),
			     .events = (short)cow_get_events(copy->cow)};

	for (int i = 0; i < WINDOW; i++) {
		copy->slots[i].copy = copy;
		slot_begin(&copy->slots[i]);
	}
	while (copy->busy > 0) {
		poll(&pfd, 1, cow_next_timeout_ms(copy->cow));
		cow_process(copy->cow);
	}
}

static int copy_open(struct copy *copy, const char *from, const char *to)
{
	int err = cow_open(copy->cow, from, COW_OPEN_READONLY, &copy->from);

	if (err < 0)
		return err;
	copy->size = cow_object_size(copy->from);
	err = cow_create(copy->cow, to, copy->size);
	return err < 0 ? err : cow_open(copy->cow, to, 0, &copy->to);
}

int main(int argc, char **argv)
{
	struct copy *copy = calloc(1, sizeof(*copy));
	int err;

	if (argc != 4 || !copy || !(copy->cow = cow_new()))
		return 64;
	err = cow_connect(copy->cow, argv[1]);
	if (err == 0)
		err = copy_open(copy, argv[2], argv[3]);
	if (err == 0)
		copy_run(copy);
	if (err == 0)
		err = copy->err;
	/* -COW_ERESTARTED: the server did, and what was written may be gone: copy again */
	if (err == 0)
		err = cow_fsync(copy->to);
	if (err < 0)
		fprintf(stderr, "%s: %s\n", cow_strerror(err), cow_error(copy->cow));
	cow_close(copy->from);
	cow_close(copy->to);
	cow_free(copy->cow);
	free(copy);
	return err < 0;
}
