/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One layer that is merged into another, and each look-up there, against an array: with tables of
 * many leaves, which are split and joined, and while a merge runs without any memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/cursor.h"
#include "server/kv_layer.h"
#include "tests/lib/rnd.h"

#define NKEYS 3000u
#define TABLE KV_CHILD

static bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

/* What a layer has of a key: nothing, a dead entry, or the value. */
enum { NONE = 0, DEAD = -1 };

struct world {
	struct rnd rnd;
	struct kv_layer *upper;
	struct kv_layer *lower;
	int32_t in_upper[NKEYS];
	int32_t in_lower[NKEYS];
	int32_t next_val;
};

struct key {
	uint8_t bytes[16];
	size_t len;
};

/*
 * The ascending keys: numbers, and behind each some that begin with it, which only their ends tell
 * apart.
 */
static struct key key_of(unsigned int i)
{
	struct key key = {.len = i % 5 == 0 ? 8 : 16};

	be64_put(key.bytes, 2 * (i / 5));
	be64_put(key.bytes + 8, i % 5);
	return key;
}

static struct kv_buf key_buf(const struct key *key)
{
	return (struct kv_buf){.data = key->bytes, .len = key->len};
}

/* Of every other key there is something at the last cut, which a dead entry hides: more than is put with
 * a short key, less than with a long one. */
static uint32_t base_bytes(unsigned int i)
{
	return i % 2 ? 24 : 0;
}

static void set(struct world *w, unsigned int i, bool dead)
{
	struct key key = key_of(i);
	struct kv_buf val = {.data = &w->next_val, .len = sizeof(w->next_val)};
	struct kv_entry *entry;

	w->next_val++;
	assert_true(kv_layer_reserve(w->upper, 1));
	assert_true(kv_layer_reserve(w->lower, w->upper->nentries + 1));
	entry = kv_entry_new(key_buf(&key), dead ? NULL : &val, base_bytes(i));
	assert_non_null(entry);
	entry->below = kv_layer_get(w->lower, TABLE, key_buf(&key));
	kv_layer_set(w->upper, TABLE, entry);
	w->in_upper[i] = dead ? DEAD : w->next_val;
}

static void remove_if_alive(struct world *w, unsigned int i)
{
	struct key key = key_of(i);

	if (w->in_upper[i] <= 0)
		return;
	kv_layer_remove(w->upper, TABLE, key_buf(&key));
	w->in_upper[i] = NONE;
}

/* Neighbours, or keys from anywhere, of which all are put, all are dead, or some of each. */
static void change_some(struct world *w)
{
	unsigned int n = (unsigned int)rnd_log(&w->rnd, NKEYS);
	unsigned int first = (unsigned int)rnd_below(&w->rnd, NKEYS);
	bool apart = rnd_one_in(&w->rnd, 2);
	unsigned int dead = (unsigned int)rnd_below(&w->rnd, 4);

	for (unsigned int k = 0; k < n; k++) {
		unsigned int i =
		    apart ? (unsigned int)rnd_below(&w->rnd, NKEYS) : (first + k) % NKEYS;

		if (rnd_one_in(&w->rnd, 8))
			remove_if_alive(w, i);
		else
			set(w, i, dead == 3 || (dead == 2 && rnd_one_in(&w->rnd, 2)));
	}
}

static void merge(struct world *w)
{
	no_memory = true;
	kv_layer_merge(w->upper, w->lower);
	no_memory = false;
	for (unsigned int i = 0; i < NKEYS; i++) {
		if (w->in_upper[i] == DEAD && base_bytes(i) == 0)
			w->in_lower[i] = NONE;
		else if (w->in_upper[i] != NONE)
			w->in_lower[i] = w->in_upper[i];
		w->in_upper[i] = NONE;
	}
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void assert_entry(const struct kv_entry *entry, const int32_t *model, int want)
{
	struct key key;
	int32_t val = DEAD;

	assert_int_equal(!entry, want < 0 || want >= (int)NKEYS);
	if (!entry)
		return;
	key = key_of((unsigned int)want);
	assert_int_equal(kv_key_cmp(kv_entry_key(entry), key_buf(&key)), 0);
	if (!entry->dead)
		memcpy(&val, kv_entry_val(entry).data, sizeof(val));
	assert_int_equal(val, model[want]);
}

/* The nearest index from one on that the layer has something of: -1 or NKEYS if there is none. */
static int model_next(const int32_t *model, int i, bool up)
{
	while (i >= 0 && i < (int)NKEYS && model[i] == NONE)
		i += up ? 1 : -1;
	return i;
}

static void compare_walks(struct kv_layer *layer, const int32_t *model)
{
	struct kv_spot spot;
	struct kv_entry *entry = kv_layer_first(layer, TABLE, &spot);
	uint8_t beyond[9];
	int i = model_next(model, 0, true);

	for (; entry; entry = kv_layer_next(&spot)) {
		assert_entry(entry, model, i);
		i = model_next(model, i + 1, true);
	}
	assert_int_equal(i, NKEYS);
	memset(beyond, 0xff, sizeof(beyond));
	entry = kv_layer_find(layer, TABLE, KV_LT,
			      (struct kv_buf){.data = beyond, .len = sizeof(beyond)}, &spot);
	for (i = model_next(model, i - 1, false); entry; entry = kv_layer_prev(&spot)) {
		assert_entry(entry, model, i);
		i = model_next(model, i - 1, false);
	}
	assert_int_equal(i, -1);
}

static void compare_finds(struct kv_layer *layer, const int32_t *model, unsigned int i)
{
	struct key key = key_of(i);
	struct kv_buf buf = key_buf(&key);
	struct kv_spot spot;
	int at = (int)i;

	assert_entry(kv_layer_get(layer, TABLE, buf), model, model[i] == NONE ? -1 : at);
	assert_entry(kv_layer_find(layer, TABLE, KV_LT, buf, &spot), model,
		     model_next(model, at - 1, false));
	assert_entry(kv_layer_find(layer, TABLE, KV_LE, buf, &spot), model,
		     model_next(model, at, false));
	assert_entry(kv_layer_find(layer, TABLE, KV_GE, buf, &spot), model,
		     model_next(model, at, true));
	assert_entry(kv_layer_find(layer, TABLE, KV_GT, buf, &spot), model,
		     model_next(model, at + 1, true));
}

static void compare_counts(struct kv_layer *layer)
{
	struct kv_count want = {.puts = 0};
	struct kv_spot spot;
	const struct kv_entry *entry = kv_layer_first(layer, TABLE, &spot);

	for (; entry; entry = kv_layer_next(&spot)) {
		uint64_t bytes = kv_page_bytes_of(entry->key_len, entry->val_len);

		want.dels += entry->dead;
		if (entry->dead)
			continue;
		want.puts++;
		want.put_bytes += bytes;
		want.base_bytes += entry->base_bytes;
		want.grows += bytes > entry->base_bytes;
		want.grow_bytes += bytes > entry->base_bytes ? bytes : 0;
	}
	assert_memory_equal(&layer->counts[TABLE], &want, sizeof(want));
	assert_int_equal(want.puts + want.dels, layer->nentries);
}

/* Each leaf has something, no two neighbours are nearly empty, and what is counted is there. */
static void compare_leaves(struct kv_layer *layer, const int32_t *model)
{
	struct kv_spot spot;
	struct kv_entry *entry = kv_layer_first(layer, TABLE, &spot);
	struct kv_leaf *leaf = NULL;
	uint64_t leaves = 0;
	uint64_t n = 0;

	for (; entry; entry = kv_layer_next(&spot), n++) {
		if (spot.leaf == leaf)
			continue;
		assert_true(!leaf || leaf->n + spot.leaf->n > KV_LEAF_MAX / 4);
		leaf = spot.leaf;
		leaves++;
	}
	for (unsigned int i = 0; i < NKEYS; i++)
		n -= model[i] != NONE;
	assert_int_equal(n, 0);
	assert_int_equal(layer->nleaves, leaves);
	compare_counts(layer);
}

static void compare(struct world *w, struct kv_layer *layer, const int32_t *model)
{
	compare_walks(layer, model);
	compare_leaves(layer, model);
	for (int k = 0; k < 100; k++)
		compare_finds(layer, model, (unsigned int)rnd_below(&w->rnd, NKEYS));
}

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->rnd = rnd_stream(1);
	w->upper = kv_layer_new();
	w->lower = kv_layer_new();
	assert_true(w->upper && w->lower);
	return w;
}

static void world_free(struct world *w)
{
	kv_layer_free(w->upper);
	kv_layer_free(w->lower);
	free(w);
}

static void test_merges_without_memory_match_a_model(void **state)
{
	struct world *w = world_new();
	uint64_t steps = rnd_count("TEST_STEPS", 600);

	(void)state;
	for (uint64_t i = 0; i < steps; i++) {
		change_some(w);
		if (rnd_one_in(&w->rnd, 4))
			compare(w, w->upper, w->in_upper);
		if (!rnd_one_in(&w->rnd, 3))
			merge(w);
		if (rnd_one_in(&w->rnd, 4))
			compare(w, w->lower, w->in_lower);
	}
	merge(w);
	compare(w, w->lower, w->in_lower);
	compare(w, w->upper, w->in_upper);
	world_free(w);
}

/* As much as can be: where all leaves are full, the first entry in each takes a leaf. */
static void test_all_leaves_are_full_and_split_in_one_merge(void **state)
{
	struct world *w = world_new();
	struct kv_leaf *leaf;
	struct kv_spot spot;

	(void)state;
	for (unsigned int i = 0; i < NKEYS; i += 5)
		set(w, i, false);
	merge(w);
	assert_true(w->lower->nleaves > KV_NTABLES + 2);
	kv_layer_first(w->lower, TABLE, &spot);
	for (leaf = spot.leaf; leaf;) {
		unsigned int first = (unsigned int)be64_get(leaf->entries[0]->bytes) / 2 * 5;

		for (unsigned int k = 1; leaf->n < KV_LEAF_MAX; k += k % 5 == 4 ? 2 : 1) {
			set(w, first + k, false);
			merge(w);
		}
		do
			kv_layer_next(&spot);
		while (spot.leaf == leaf);
		leaf = spot.leaf;
	}
	w->lower->nspares =
	    0; /* what was reserved is lost, so that only what is asked for counts */
	while ((leaf = w->lower->spares)) {
		w->lower->spares = leaf->next;
		free(leaf);
	}
	kv_layer_first(w->lower, TABLE, &spot);
	for (unsigned int i = 1; i < NKEYS && spot.leaf; i++) {
		if (w->in_lower[i] != NONE)
			continue;
		set(w, i, false);
		for (leaf = spot.leaf; spot.leaf == leaf;)
			kv_layer_next(&spot);
		i = spot.leaf ? (unsigned int)be64_get(spot.leaf->entries[0]->bytes) / 2 * 5 : i;
	}
	merge(w);
	compare(w, w->lower, w->in_lower);
	world_free(w);
}

/* What is left of many entries does not keep the leaves of all of them. */
static void test_leaves_that_are_nearly_empty_are_joined(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (unsigned int i = 0; i < NKEYS; i++)
		set(w, i, false);
	while (w->upper->nentries > 20) {
		remove_if_alive(w, (unsigned int)rnd_below(&w->rnd, NKEYS));
		if (w->upper->nentries % 50 == 0)
			compare(w, w->upper, w->in_upper);
	}
	compare(w, w->upper, w->in_upper);
	for (unsigned int i = 0; i < NKEYS; i++)
		set(w, i, false);
	for (unsigned int i = 0; i < NKEYS; i++)
		if (i % 40 != 0)
			remove_if_alive(w, i); /* what is before it has few already */
	compare(w, w->upper, w->in_upper);
	for (unsigned int i = 0; i < NKEYS; i++)
		remove_if_alive(w, i);
	assert_int_equal(w->upper->nleaves, 0);
	compare(w, w->upper, w->in_upper);
	world_free(w);
}

static void test_no_memory_is_said_before_a_merge(void **state)
{
	struct world *w = world_new();

	(void)state;
	assert_true(kv_layer_reserve(w->lower, 3));
	no_memory = true;
	assert_true(kv_layer_reserve(w->lower, 3));
	assert_false(kv_layer_reserve(w->lower, 4));
	no_memory = false;
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_merges_without_memory_match_a_model),
	    cmocka_unit_test(test_all_leaves_are_full_and_split_in_one_merge),
	    cmocka_unit_test(test_leaves_that_are_nearly_empty_are_joined),
	    cmocka_unit_test(test_no_memory_is_said_before_a_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
