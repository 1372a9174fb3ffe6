/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * event_ping.c: libcow in a loop of libevent: asks the server a number of times how it is, one
 * question after the other, and for its space at the end.
 *
 *	event_ping URI COUNT
 */
#include <cow_event.h>

#include <stdio.h>
#include <stdlib.h>

struct asker {
	cow_t *cow;
	struct event_base *base;
	unsigned long left;
	int err;
	struct cow_statfs st;
};

static void asker_end(struct asker *asker, int64_t result)
{
	if (result < 0)
		fprintf(stderr, "%s\n", cow_error(asker->cow));
	asker->err = result < 0 ? (int)result : 0;
	event_base_loopbreak(asker->base);
}

static void asker_statfs(void *ctx, int64_t result)
{
	struct asker *asker = ctx;

	if (result == 0)
		printf("%llu of %llu bytes are free\n", (unsigned long long)asker->st.free,
		       (unsigned long long)asker->st.total);
	asker_end(asker, result);
}

static void asker_next(void *ctx, int64_t result)
{
	struct asker *asker = ctx;
	struct cow_aio ping = {.done = asker_next, .ctx = asker, .timeout_ms = 5000};
	struct cow_aio last = {.done = asker_statfs, .ctx = asker};

	if (result == 0 && asker->left > 0) {
		asker->left--;
		result = cow_aio_ping(asker->cow, &ping, NULL);
	} else if (result == 0) {
		result = cow_aio_get_statfs(asker->cow, &asker->st, &last, NULL);
	}
	if (result < 0)
		asker_end(asker, result);
}

int main(int argc, char **argv)
{
	struct asker asker = {.cow = cow_new(), .base = event_base_new()};
	struct cow_event ev = {.cow = NULL};

	if (argc != 3 || !asker.cow || !asker.base)
		return 64;
	asker.left = strtoul(argv[2], NULL, 10);
	asker.err = cow_connect(asker.cow, argv[1]);
	if (asker.err == 0)
		asker.err = cow_event_add(&ev, asker.base, asker.cow);
	if (asker.err < 0) {
		fprintf(stderr, "%s\n", cow_error(asker.cow));
	} else {
		asker_next(&asker, 0);
		cow_event_update(&ev);
		event_base_dispatch(asker.base);
	}
	cow_event_del(&ev);
	event_base_free(asker.base);
	cow_free(asker.cow);
	return asker.err < 0;
}
