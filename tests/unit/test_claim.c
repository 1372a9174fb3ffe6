/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_claim.c: claims of names: who waits for whom, and in what order they get what they wait for.
 */
#include "server/object_claim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/thread.h"
#include "tests/lib/rnd.h"

/* A claim of a test. */
struct taker {
	struct object_claim claim;
	struct claim_name names[CLAIM_NAMES_MAX];
	struct objects *objs;
	unsigned int turn; /* when it was granted, from 1 */
	bool puts_at_once;
};

static unsigned int nturns;

static int setup(void **state)
{
	struct objects *objs = calloc(1, sizeof(*objs));

	assert_non_null(objs);
	thread_set_role(THREAD_LOOP);
	TAILQ_INIT(&objs->claims);
	nturns = 0;
	*state = objs;
	return 0;
}

/* Nothing is claimed any more, and nobody waits. */
static int teardown(void **state)
{
	struct objects *objs = *state;

	assert_null(objs->claimed);
	assert_true(TAILQ_EMPTY(&objs->claims));
	free(objs);
	return 0;
}

static void granted(struct object_claim *claim, int err)
{
	struct taker *t = CONTAINER_OF(claim, struct taker, claim);

	assert_int_equal(err, 0);
	assert_int_equal(t->turn, 0);
	t->turn = ++nturns;
	if (t->puts_at_once)
		claim_put(t->objs, claim);
}

static void taker_init(struct objects *objs, struct taker *t)
{
	*t = (struct taker){.objs = objs};
	claim_init(&t->claim, t->names, CLAIM_NAMES_MAX);
	t->claim.granted = granted;
}

/* Takes one name; whether it was granted at once. */
static bool take(struct objects *objs, struct taker *t, const char *spec, bool exclusive)
{
	taker_init(objs, t);
	claim_add(&t->claim, spec, exclusive);
	claim_take(objs, &t->claim);
	return t->turn > 0;
}

static bool take_two(struct objects *objs, struct taker *t, const char *a, const char *b)
{
	taker_init(objs, t);
	claim_add(&t->claim, a, true);
	claim_add(&t->claim, b, true);
	claim_take(objs, &t->claim);
	return t->turn > 0;
}

static void put(struct taker *t)
{
	claim_put(t->objs, &t->claim);
}

static void an_exclusive_claim_keeps_all_others_out(void **state)
{
	struct objects *objs = *state;
	struct taker first;
	struct taker shared;
	struct taker exclusive;

	assert_true(take(objs, &first, "a", true));
	assert_false(take(objs, &shared, "a", false));
	assert_false(take(objs, &exclusive, "a", true));
	put(&first);
	assert_int_equal(shared.turn, 2);
	assert_int_equal(exclusive.turn, 0);
	put(&shared);
	assert_int_equal(exclusive.turn, 3);
	put(&exclusive);
}

static void shared_claims_go_together(void **state)
{
	struct objects *objs = *state;
	struct taker shared[3];
	struct taker exclusive;

	for (unsigned int i = 0; i < 3; i++)
		assert_true(take(objs, &shared[i], "a", false));
	assert_false(take(objs, &exclusive, "a", true));
	put(&shared[1]);
	put(&shared[0]);
	assert_int_equal(exclusive.turn, 0);
	put(&shared[2]);
	assert_true(exclusive.turn > 0);
	put(&exclusive);
}

/* Else one that is to be removed could be kept for ever by those who only look. */
static void a_shared_claim_does_not_overtake_an_exclusive_one(void **state)
{
	struct objects *objs = *state;
	struct taker reader;
	struct taker writer;
	struct taker late;

	assert_true(take(objs, &reader, "a", false));
	assert_false(take(objs, &writer, "a", true));
	assert_false(take(objs, &late, "a", false));
	put(&reader);
	assert_true(writer.turn > 0);
	assert_int_equal(late.turn, 0);
	put(&writer);
	assert_true(late.turn > writer.turn);
	put(&late);
}

static void other_names_are_nobodys_business(void **state)
{
	struct objects *objs = *state;
	struct taker a;
	struct taker waits;
	struct taker b;

	assert_true(take(objs, &a, "a", true));
	assert_false(take(objs, &waits, "a", true));
	assert_true(take(objs, &b, "b", true));
	put(&b);
	put(&a);
	put(&waits);
}

static void all_names_are_granted_together(void **state)
{
	struct objects *objs = *state;
	struct taker a;
	struct taker both;
	struct taker b;

	assert_true(take(objs, &a, "a", true));
	assert_false(take_two(objs, &both, "a", "b"));
	/* "b" is free, but whoever came before waits for it too */
	assert_false(take(objs, &b, "b", true));
	put(&a);
	assert_true(both.turn > 0);
	assert_int_equal(b.turn, 0);
	put(&both);
	assert_true(b.turn > 0);
	put(&b);
}

static void crosswise_claims_do_not_wait_for_each_other(void **state)
{
	struct objects *objs = *state;
	struct taker ab;
	struct taker ba;

	assert_true(take_two(objs, &ab, "a", "b"));
	assert_false(take_two(objs, &ba, "b", "a"));
	put(&ab);
	assert_true(ba.turn > 0);
	put(&ba);
}

static void a_version_holds_its_object(void **state)
{
	struct objects *objs = *state;
	struct taker version;
	struct taker other;
	struct taker object;

	assert_true(take(objs, &version, "a@v", true));
	assert_true(take(objs, &other, "a@w", true)); /* side by side */
	assert_false(take(objs, &object, "a", true));
	put(&version);
	assert_int_equal(object.turn, 0);
	put(&other);
	assert_true(object.turn > 0);
	assert_false(take(objs, &version, "a@v", true));
	put(&object);
	put(&version);
}

static void an_object_that_is_looked_at_lets_versions_be_made(void **state)
{
	struct objects *objs = *state;
	struct taker object;
	struct taker version;

	assert_true(take(objs, &object, "a", false));
	assert_true(take(objs, &version, "a@v", true));
	put(&object);
	put(&version);
}

/* Resetting an object claims it, and its version, which needs it too. */
static void of_one_name_twice_the_exclusive_wins(void **state)
{
	struct objects *objs = *state;
	struct taker t;
	struct taker other;

	for (int order = 0; order < 2; order++) {
		taker_init(objs, &t);
		claim_add(&t.claim, order ? "a@v" : "a", !order);
		claim_add(&t.claim, order ? "a" : "a@v", order);
		assert_int_equal(t.claim.n, 2);
		claim_take(objs, &t.claim);
		assert_true(t.turn > 0);
		assert_false(take(objs, &other, "a", false));
		put(&t);
		assert_true(other.turn > 0);
		put(&other);
	}
}

static void a_name_is_not_its_beginning(void **state)
{
	struct objects *objs = *state;
	struct taker a;
	struct taker ab;

	assert_true(take(objs, &ab, "ab", true));
	assert_true(take(objs, &a, "a", true));
	put(&ab);
	put(&a);
}

static void what_was_never_granted_is_not_given_back(void **state)
{
	struct objects *objs = *state;
	struct taker held;
	struct taker never;
	struct taker other;

	assert_true(take(objs, &held, "a", true));
	taker_init(objs, &never);
	claim_add(&never.claim, "a", true);
	put(&never);
	assert_false(take(objs, &other, "a", true));
	put(&held);
	put(&held); /* a second time: nothing is held any more */
	assert_true(other.turn > 0);
	put(&other);
}

/* An operation may end as soon as it is granted its names, within somebody else's claim_put(). */
static void what_is_granted_may_be_put_at_once(void **state)
{
	struct objects *objs = *state;
	struct taker first;
	struct taker chain[8];

	assert_true(take(objs, &first, "a", true));
	for (unsigned int i = 0; i < ARRAY_LEN(chain); i++) {
		assert_false(take(objs, &chain[i], "a", true));
		chain[i].puts_at_once = true;
	}
	put(&first);
	for (unsigned int i = 0; i < ARRAY_LEN(chain); i++)
		assert_int_equal(chain[i].turn, i + 2);
}

/* ---- at random ------------------------------------------------------------------------------- */

#define NTAKERS 24u

static bool conflict(const struct object_claim *a, const struct object_claim *b)
{
	for (unsigned int i = 0; i < a->n; i++)
		for (unsigned int j = 0; j < b->n; j++)
			if (strcmp(a->names[i].name, b->names[j].name) == 0 &&
			    (a->names[i].exclusive || b->names[j].exclusive))
				return true;
	return false;
}

/* Those that hold do not conflict; who waits does so for one that holds or waits before it. */
static void check_takers(struct taker *const *order, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		bool waits = order[i]->turn == 0;
		bool has_reason = false;

		for (unsigned int j = 0; j < n; j++) {
			bool both = conflict(&order[i]->claim, &order[j]->claim);

			if (i == j || !both)
				continue;
			assert_false(!waits && order[j]->turn > 0);
			assert_false(!waits && j < i && order[j]->turn == 0);
			has_reason = has_reason || order[j]->turn > 0 || j < i;
		}
		assert_true(!waits || has_reason);
	}
}

static void any_claims_are_granted_in_a_fair_order(void **state)
{
	static const char *const specs[] = {"a", "b", "c", "a@v", "a@w", "b@v"};
	struct objects *objs = *state;
	struct rnd r = rnd_stream(1);
	struct taker *takers = calloc(NTAKERS, sizeof(*takers));
	struct taker *order[NTAKERS];
	unsigned int n = 0;

	assert_non_null(takers);
	for (unsigned int i = 0; i < NTAKERS; i++)
		order[i] = &takers[i];
	for (unsigned int step = 0; step < 5000 || n > 0; step++) {
		if (step < 5000 && n < NTAKERS && rnd_one_in(&r, 2)) {
			struct taker *t = order[n++];

			taker_init(objs, t);
			for (uint64_t k = 1 + rnd_below(&r, 2); k > 0; k--)
				claim_add(&t->claim, specs[rnd_below(&r, ARRAY_LEN(specs))],
					  rnd_one_in(&r, 2));
			claim_take(objs, &t->claim);
		} else if (n > 0) {
			uint64_t i = rnd_below(&r, n);
			struct taker *t = order[i];

			while (t->turn == 0)
				t = order[i = (i + 1) % n]; /* somebody holds */
			n--;
			memmove(&order[i], &order[i + 1], (n - i) * sizeof(order[0]));
			order[n] = t;
			put(t);
		}
		check_takers(order, n);
	}
	free(takers);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_exclusive_claim_keeps_all_others_out),
	    TEST(shared_claims_go_together),
	    TEST(a_shared_claim_does_not_overtake_an_exclusive_one),
	    TEST(other_names_are_nobodys_business),
	    TEST(all_names_are_granted_together),
	    TEST(crosswise_claims_do_not_wait_for_each_other),
	    TEST(a_version_holds_its_object),
	    TEST(an_object_that_is_looked_at_lets_versions_be_made),
	    TEST(of_one_name_twice_the_exclusive_wins),
	    TEST(a_name_is_not_its_beginning),
	    TEST(what_was_never_granted_is_not_given_back),
	    TEST(what_is_granted_may_be_put_at_once),
	    TEST(any_claims_are_granted_in_a_fair_order),
	};

	return cmocka_run_group_tests_name("claims", tests, NULL, NULL);
}
