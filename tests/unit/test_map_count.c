/* SPDX-License-Identifier: BSD-2-Clause */
/* Reference counts in chunks, against an array of counts. */
#include "tests/lib/rnd.h"
#include "tests/unit/map_fixture.h"

#define COUNTS 300 /* of five chunks, the last in part */

struct model {
	struct fix fix;
	uint64_t counts[COUNTS];
};

static int setup(void **state)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	fix_open(&m->fix, 1000, FIX_META_BYTES);
	for (unsigned int i = 0; i < COUNTS; i++)
		m->counts[i] = 1;
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct model *m = *state;

	fix_close(&m->fix);
	free(m);
	return 0;
}

static void model_inc(struct model *m, struct kv_txn *kv, uint64_t at, uint64_t n)
{
	struct map_run run = {at, n};

	assert_int_equal(map_refs_inc(kv, KV_NREF, &run, 1), 0);
	for (uint64_t i = at; i < at + n; i++)
		m->counts[i]++;
}

static void model_dec(struct model *m, struct kv_txn *kv, uint64_t at)
{
	bool last;

	assert_int_equal(map_nref_dec(kv, at, &last), 0);
	assert_int_equal(last, m->counts[at] == 1);
	if (!last)
		m->counts[at]--;
}

static void model_set(struct model *m, struct kv_txn *kv, uint64_t at, uint64_t count)
{
	struct map_counts counts = map_counts_of(kv, KV_NREF);
	uint64_t same;
	uint64_t old;

	assert_int_equal(map_counts_get(&counts, at, 1, &same, &old), 0);
	assert_int_equal(old, m->counts[at]);
	map_counts_set(&counts, at, 1, count);
	assert_int_equal(map_counts_store(&counts), 0);
	m->counts[at] = count;
}

/* The runs that are told of are those of the array, cut at the ends of chunks. */
static void model_compare(const struct model *m, struct kv_txn *kv)
{
	struct map_counts counts = map_counts_of(kv, KV_NREF);
	uint64_t same;

	for (uint64_t at = 0; at < COUNTS; at += same) {
		uint64_t n = 1;
		uint64_t count;

		while (at + n < COUNTS && (at + n) % MAP_COUNTS != 0 &&
		       m->counts[at + n] == m->counts[at])
			n++;
		assert_int_equal(map_counts_get(&counts, at, COUNTS - at, &same, &count), 0);
		assert_int_equal(count, m->counts[at]);
		assert_int_equal(same, n);
	}
}

/* There is a value where a count is not 1, and no other. */
static void model_compare_values(const struct model *m, struct kv_txn *kv)
{
	for (uint64_t chunk = 0; chunk * MAP_COUNTS < COUNTS; chunk++) {
		struct map_key key = map_key(chunk);
		struct kv_buf val;
		uint64_t most = 1;
		int err = map_value_get(kv, KV_NREF, map_key_buf(&key), 1, &val);

		for (uint64_t i = chunk * MAP_COUNTS; i < (chunk + 1) * MAP_COUNTS; i++)
			if (i < COUNTS && m->counts[i] > most)
				most = m->counts[i];
		assert_int_equal(err, most == 1 ? -ERR_NOENT : 0);
		if (!err)
			assert_int_equal(val.len, MAP_COUNTS_LEN(most < 256	      ? 1u
								 : most < 65536	      ? 2u
								 : most <= UINT32_MAX ? 4u
										      : 8u));
	}
}

static struct kv_txn *stage(struct model *m)
{
	struct kv_txn *kv;

	assert_int_equal(kv_stage_begin(m->fix.map->kv, &kv), 0);
	return kv;
}

static void test_random(void **state)
{
	struct model *m = *state;
	struct rnd rnd = rnd_stream(1);

	for (int round = 0; round < 300; round++) {
		struct kv_txn *kv = stage(m);

		for (int i = 0; i < 40; i++) {
			uint64_t at = rnd_below(&rnd, COUNTS);

			if (rnd_below(&rnd, 3) == 0)
				model_inc(m, kv, at, 1 + rnd_below(&rnd, COUNTS - at));
			else
				model_dec(m, kv, at);
			model_compare(m, kv);
		}
		model_compare_values(m, kv);
		assert_int_equal(kv_stage_commit(kv), 0);
		if (rnd_below(&rnd, 5) == 0)
			fix_fold(&m->fix);
	}
}

static void test_widths(void **state)
{
	static const uint64_t edges[] = {
	    2, 255, 256, 65535, 65536, UINT32_MAX, UINT32_MAX + 1ull, UINT64_MAX - 1};
	struct model *m = *state;

	for (size_t e = 0; e < sizeof(edges) / sizeof(edges[0]); e++) {
		struct kv_txn *kv = stage(m);

		model_set(m, kv, 70, edges[e]);
		model_compare_values(m, kv);
		model_inc(m, kv, 60, 20); /* chunks 0 and 1 */
		model_compare(m, kv);
		model_compare_values(m, kv);
		assert_int_equal(kv_stage_commit(kv), 0);
		fix_fold(&m->fix);
	}
	for (uint64_t at = 60; at < 80; at++) {
		struct kv_txn *kv = stage(m);

		model_set(m, kv, at, 1);
		model_compare(m, kv);
		model_compare_values(m, kv);
		assert_int_equal(kv_stage_commit(kv), 0);
		fix_fold(&m->fix);
	}
}

static void model_inc_runs(struct model *m, struct kv_txn *kv, struct map_run *runs, size_t n)
{
	for (size_t r = 0; r < n; r++)
		for (uint64_t i = runs[r].at; i < runs[r].at + runs[r].n; i++)
			m->counts[i]++;
	assert_int_equal(map_refs_inc(kv, KV_NREF, runs, n), 0);
	model_compare(m, kv);
	model_compare_values(m, kv);
}

static void test_runs_of_one_call(void **state)
{
	struct model *m = *state;
	struct map_run runs[] = {{130, 2}, {5, 1}, {63, 2}, {5, 1}, {200, 100}};
	struct kv_txn *kv = stage(m);

	model_inc_runs(m, kv, runs, 5);
	kv_stage_abort(kv);
}

/* One count of a chunk outgrows its byte in the middle of a call. */
static void test_run_that_widens_its_chunk(void **state)
{
	struct model *m = *state;
	struct map_run runs[] = {{68, 1}, {70, 1}, {70, 1}, {71, 3}, {69, 2}};
	struct kv_txn *kv = stage(m);

	model_set(m, kv, 70, 255);
	assert_int_equal(kv_stage_commit(kv), 0);
	kv = stage(m);
	model_inc_runs(m, kv, runs, 5);
	kv_stage_abort(kv);
}

/* One struct for raising, asking and setting in any order. */
static void test_mixed(void **state)
{
	struct model *m = *state;
	struct rnd rnd = rnd_stream(2);

	for (int round = 0; round < 300; round++) {
		struct kv_txn *kv = stage(m);
		struct map_counts counts = map_counts_of(kv, KV_NREF);

		for (int i = 0; i < 30; i++) {
			uint64_t at = rnd_below(&rnd, COUNTS);
			uint64_t count;
			uint64_t same;

			if (rnd_one_in(&rnd, 2)) {
				assert_int_equal(map_counts_inc(&counts, at, 1), 0);
				m->counts[at]++;
				continue;
			}
			assert_int_equal(map_counts_get(&counts, at, 1, &same, &count), 0);
			assert_int_equal(count, m->counts[at]);
			if (rnd_one_in(&rnd, 2))
				continue;
			m->counts[at] = rnd_one_in(&rnd, 3) ? 256 : 1 + rnd_below(&rnd, 255);
			map_counts_set(&counts, at, 1, m->counts[at]);
		}
		assert_int_equal(map_counts_store(&counts), 0);
		model_compare(m, kv);
		model_compare_values(m, kv);
		assert_int_equal(kv_stage_commit(kv), 0);
		if (rnd_one_in(&rnd, 5))
			fix_fold(&m->fix);
	}
}

/* A value whose checksum fits, and whose counts are none. */
static void plant(struct model *m, unsigned int width, uint8_t count, uint8_t first)
{
	struct map_key key = map_key(1);
	struct kv_txn *kv;
	struct {
		struct disk_counts head;
		uint8_t counts[2 * MAP_COUNTS];
	} val = {.head.width = (uint8_t)width};

	for (unsigned int s = 0; s < MAP_COUNTS; s++)
		val.counts[width * s] = count;
	val.counts[0] = first;
	assert_int_equal(kv_write_begin(m->fix.map->kv, &kv), 0);
	map_value_put(kv, KV_NREF, map_key_buf(&key), &val, MAP_COUNTS_LEN(width));
	assert_int_equal(kv_write_commit(kv), 0);
}

static void inc_refused(struct model *m)
{
	struct map_run run = {70, 1};
	struct kv_txn *kv = stage(m);

	assert_int_equal(map_refs_inc(kv, KV_NREF, &run, 1), -ERR_NODE);
	/* else what is bad would be sealed as if it were good */
	assert_int_equal(kv_stage_commit(kv), -ERR_NODE);
}

static void test_bad_counts_are_not_raised(void **state)
{
	struct model *m = *state;
	struct kv_txn *kv;

	plant(m, 1, 1, 1);
	inc_refused(m);
	plant(m, 1, 2, 0);
	inc_refused(m);
	plant(m, 2, 1, 2);
	inc_refused(m);
	plant(m, 1, 1, 2);
	m->counts[64] = 2;
	kv = stage(m);
	model_inc(m, kv, 70, 1);
	model_compare(m, kv);
	kv_stage_abort(kv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_widths, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_runs_of_one_call, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_run_that_widens_its_chunk, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_mixed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bad_counts_are_not_raised, setup, teardown),
	};

	return cmocka_run_group_tests_name("map_count", tests, NULL, NULL);
}
