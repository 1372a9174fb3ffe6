/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * remove: removes an object by libcow, and prints for how many microseconds the call was under way.
 *
 *	remove URI
 *
 * What cowbench removes are clones that it has just made of an object which stays, so that nothing becomes
 * free; here the object goes with all that it alone has.  Connecting is not timed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/lib/figures.h"
#include "client/cow.h"
#include "common/clock.h"

#define COW_MUST(err, cow) MUST((err) >= 0, "%s (%s)", cow_strerror(err), cow_error(cow))

int main(int argc, char **argv)
{
	cow_t *cow = cow_new();
	char *object = NULL;
	uint64_t since;

	MUST(cow, "memory");
	if (argc != 2 || cow_uri_object(argv[1], &object) < 0 || !object) {
		(void)fprintf(stderr, "usage: remove URI, of an object\n");
		exit(2);
	}
	COW_MUST(cow_connect(cow, argv[1]), cow);
	COW_MUST(cow_ping(cow), cow);
	since = clock_now_ns();
	COW_MUST(cow_remove(cow, object), cow);
	printf("%.1f\n", (double)(clock_now_ns() - since) / 1000);
	free(object);
	cow_free(cow);
	return 0;
}
