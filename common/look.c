/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/look.h"

#include <sched.h>

#include "common/clock.h"

#define LOOK_FIRST_NS 10000u
/*
 * Whoever ran for so long when the thread gave way needs the processor: it does not look for a while, and twice
 * as long where it has not given way, in all, for as long as that since.  Some are done soon; another program may not
 * be.
 */
#define LOOK_IN_WAY_NS	 500000u
#define LOOK_REST_MIN_NS 1000000u
#define LOOK_REST_MAX_NS 1600000000u
/* The processor time of the process's own threads is read no more often: that takes 0.4 us. */
#define LOOK_OWN_NS 200000u

static uint64_t look_own_ns(void)
{
	return clock_process_ns() - clock_thread_ns();
}

/* Of so long that others ran from then on, what nobody but other processes can have had; they may have had more, if own
 * threads had other processors meanwhile. */
static uint64_t look_foreign_ns(const struct look *look, uint64_t gave_ns)
{
	uint64_t own = look->ignore_own ? look_own_ns() - look->own_ns : 0;

	return gave_ns > own ? gave_ns - own : 0;
}

/* Lets others have the processor. */
static void look_give_way(struct look *look, uint64_t before_ns)
{
	uint64_t gave;

	if (look->ignore_own && before_ns - look->own_at_ns >= LOOK_OWN_NS) {
		look->own_ns = look_own_ns();
		look->own_at_ns = before_ns;
	}
	(void)sched_yield();
	gave = clock_now_ns() - before_ns;
	if (gave < LOOK_IN_WAY_NS || look_foreign_ns(look, gave) < LOOK_IN_WAY_NS) {
		look->gave_ns += gave;
		return;
	}
	look->rest_ns = look->gave_ns >= look->rest_ns ? LOOK_REST_MIN_NS : 2 * look->rest_ns;
	if (look->rest_ns > LOOK_REST_MAX_NS)
		look->rest_ns = LOOK_REST_MAX_NS;
	look->rests_until_ns = before_ns + gave + look->rest_ns;
	look->gave_ns = 0;
}

bool look_again(struct look *look, uint64_t since_ns, uint64_t now_ns)
{
	uint64_t for_ns = look->for_ns < look->max_ns ? look->for_ns : look->max_ns;

	if (now_ns - since_ns >= for_ns || now_ns < look->rests_until_ns)
		return false;
	look_give_way(look, now_ns);
	return true;
}

void look_slept(struct look *look, uint64_t waited_ns)
{
	if (waited_ns > look->max_ns)
		look->for_ns /= 2;
	else if (waited_ns > look->for_ns)
		look->for_ns = look->for_ns ? 2 * look->for_ns : LOOK_FIRST_NS;
	if (look->for_ns > look->max_ns)
		look->for_ns = look->max_ns;
}
