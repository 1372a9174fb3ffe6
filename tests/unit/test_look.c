/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_look.c: how long a thread looks before it sleeps, and when it does not.  Time passes as the tests say.
 */
#include "common/look.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define US 1000u
#define MS 1000000u

static uint64_t now;
static uint64_t others_ns; /* take so long when they have their turn */
static unsigned int turns;
static uint64_t mine_ns;      /* what the thread has had of the processors, */
static uint64_t own_ns;	      /* what the other threads of its process have had, */
static uint64_t own_share_ns; /* and have while others have their turn */

uint64_t __wrap_clock_now_ns(void);
uint64_t __wrap_clock_process_ns(void);
uint64_t __wrap_clock_thread_ns(void);
int __wrap_sched_yield(void);

uint64_t __wrap_clock_now_ns(void)
{
	return now;
}

uint64_t __wrap_clock_process_ns(void)
{
	return mine_ns + own_ns;
}

uint64_t __wrap_clock_thread_ns(void)
{
	return mine_ns;
}

int __wrap_sched_yield(void)
{
	now += others_ns;
	own_ns += own_share_ns;
	mine_ns += US;
	turns++;
	return 0;
}

static int setup(void **state)
{
	static struct look look;

	look = (struct look){.max_ns = LOOK_MAX_NS};
	now = 1000 * (uint64_t)MS;
	others_ns = US;
	turns = 0;
	mine_ns = own_ns = own_share_ns = 0;
	*state = &look;
	return 0;
}

/* Waits for what does not come; how long it looked. */
static uint64_t looked(struct look *look)
{
	uint64_t since = now;

	while (look_again(look, since, now))
		;
	return now - since;
}

static void what_comes_soon_is_looked_for(void **state)
{
	struct look *look = *state;

	assert_int_equal(looked(look), 0);
	look_slept(look, 5 * US);
	assert_int_equal(looked(look), 10 * US);
	assert_int_equal(turns, 10); /* others have one at each look */
	look_slept(look, 9 * US);    /* that would have done */
	assert_int_equal(looked(look), 10 * US);
	look_slept(look, 11 * US);
	assert_int_equal(looked(look), 20 * US);
	for (int i = 0; i < 10; i++)
		look_slept(look, 199 * US);
	assert_int_equal(looked(look), 200 * US);
}

static void what_comes_late_is_not(void **state)
{
	struct look *look = *state;

	for (int i = 0; i < 6; i++)
		look_slept(look, 190 * US);
	assert_int_equal(looked(look), 200 * US);
	look_slept(look, 201 * US);
	assert_int_equal(looked(look), 100 * US);
	for (int i = 0; i < 20; i++)
		look_slept(look, UINT64_MAX);
	assert_int_equal(looked(look), 0);
}

static void none_looks_longer_than_it_may(void **state)
{
	struct look *look = *state;

	for (int i = 0; i < 5; i++)
		look_slept(look, 90 * US);
	look->max_ns = 30 * US;
	assert_int_equal(looked(look), 30 * US);
	look_slept(look, 10 * US);
	look->max_ns = LOOK_MAX_NS;
	assert_int_equal(looked(look), 30 * US); /* it learns anew */
	look->max_ns = 0;
	look_slept(look, 1);
	assert_int_equal(looked(look), 0);
}

/* How long it did not look, before it did once. */
static uint64_t rested(struct look *look)
{
	uint64_t since = now;
	uint64_t until = now;

	while (!look_again(look, until, until))
		until = now += 100 * (uint64_t)US;
	return until - since;
}

static void who_needs_the_processor_is_left_alone(void **state)
{
	struct look *look = *state;

	for (int i = 0; i < 5; i++)
		look_slept(look, 90 * US);
	others_ns = 500 * US - 1; /* no longer than one that is done soon */
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), 0);
	others_ns = 500 * US;
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), MS); /* which ends with another who takes as long */
	assert_int_equal(rested(look), 2 * MS);
	assert_int_equal(rested(look), 4 * MS);
	for (int i = 0; i < 20; i++)
		(void)rested(look);
	assert_int_equal(rested(look), 1600 * (uint64_t)MS);
	now += 1600 * (uint64_t)MS;
	others_ns =
	    400 *
	    US; /* nobody was in its way for as long as it rested; the time between does not count */
	for (int i = 0; i < 4000; i++)
		assert_true(look_again(look, now, now));
	others_ns = 500 * US;
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), MS);
}

static void own_threads_are_in_the_way_only_of_who_does_not_ignore_them(void **state)
{
	struct look *look = *state;

	for (int i = 0; i < 5; i++)
		look_slept(look, 90 * US);
	others_ns = own_share_ns = 3 * MS;
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), MS);
	now += 2 * (uint64_t)MS;
	look->ignore_own = true;
	for (int i = 0; i < 5; i++) {
		assert_true(look_again(look, now, now));
		assert_int_equal(rested(look), 0);
	}
	own_share_ns = 6 * MS; /* on two processors */
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), 0);
	own_share_ns = 3 * MS - 500 * US + 1;
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), 0);
	own_share_ns = 3 * MS - 500 * US; /* the rest was another's */
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), MS);
}

/* What they had before it gave way is known but for 200 us of it. */
static void what_own_threads_had_before_is_not_counted(void **state)
{
	struct look *look = *state;

	for (int i = 0; i < 5; i++)
		look_slept(look, 90 * US);
	look->ignore_own = true;
	assert_true(look_again(look, now, now));
	now += 200 * (uint64_t)US;
	own_ns += 10 * (uint64_t)MS;
	others_ns = 500 * US;
	assert_true(look_again(look, now, now));
	assert_int_equal(rested(look), MS);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_comes_soon_is_looked_for),
	    TEST(what_comes_late_is_not),
	    TEST(none_looks_longer_than_it_may),
	    TEST(who_needs_the_processor_is_left_alone),
	    TEST(own_threads_are_in_the_way_only_of_who_does_not_ignore_them),
	    TEST(what_own_threads_had_before_is_not_counted),
	};

	return cmocka_run_group_tests_name("look", tests, NULL, NULL);
}
