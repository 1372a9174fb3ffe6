/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_checkpoint_stop.c: the stop while the map is being folded.
 */
#include "server/checkpoint.h"

#include <limits.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/commits.h"

/* Folds come here, tell the loop, if there is one, and wait. */
static struct loop *loop;
static struct loop_msg begun;
static unsigned int nbegun;
static sem_t fold_may;

static void note_begun(struct loop_msg *msg)
{
	(void)msg;
	nbegun++;
}

int __real_map_fold(struct map *map);
int __wrap_map_fold(struct map *map);

int __wrap_map_fold(struct map *map)
{
	if (!loop)
		return __real_map_fold(map);
	loop_post(loop, &begun);
	(void)sem_wait(&fold_may);
	return __real_map_fold(map);
}

static void who_waits_for_the_next_is_told_of_the_stop(void **state)
{
	struct commits *fx = commits_new(UINT64_C(4) << 20);
	struct commits_wait first;
	struct commits_wait next;

	(void)state;
	assert_int_equal(sem_init(&fold_may, 0, 0), 0);
	commits_start_checkpoint(fx, UINT_MAX);
	(void)commits_create(fx, "a");
	loop = fx->ts->loop;
	begun.fn = note_begun;
	commits_wait_begin(fx, &first);
	test_store_run_count(fx->ts, &nbegun, 1);
	commits_wait_begin(fx, &next);
	checkpoint_stop(fx->checkpoint, -ERR_SHUTDOWN);
	assert_int_equal(first.n + next.n, 0);
	assert_int_equal(sem_post(&fold_may), 0);
	test_store_run_count(fx->ts, &first.n, 1);
	assert_int_equal(first.err, 0);
	assert_int_equal(next.n, 1);
	assert_int_equal(next.err, -ERR_SHUTDOWN);
	loop = NULL;
	commits_free(fx);
	assert_int_equal(sem_destroy(&fold_may), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_waits_for_the_next_is_told_of_the_stop),
	};

	return cmocka_run_group_tests_name("checkpoint_stop", tests, NULL, NULL);
}
