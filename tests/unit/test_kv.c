/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Staged transactions, cuts, folds and crashes against a model, which is a sorted list of keys and
 * the value that each has, or none.
 */
#include "tests/lib/rnd.h"
#include "tests/unit/kv_fixture.h"

#define NKEYS	  240
#define KEY_MAX	  24
#define NTABLES	  2
#define VAL_MAX	  2022
#define MAP_BYTES (UINT64_C(16) << 20)

static const enum kv_table tables[NTABLES] = {KV_NAME, KV_FREE};

struct model_key {
	uint8_t bytes[KEY_MAX];
	size_t len;
};

/* For each key the number that its value is made of; 0: none. */
struct state {
	uint32_t vals[NTABLES][NKEYS];
};

struct world {
	struct kvfix fix;
	struct rnd rnd;
	struct model_key keys[NKEYS]; /* ascending */
	struct state visible;
	struct state frozen;
	struct state durable;
	bool is_frozen;
	uint32_t next_val;
};

static int key_cmp(const void *a, const void *b)
{
	const struct model_key *x = a;
	const struct model_key *y = b;
	int order = memcmp(x->bytes, y->bytes, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Numbers, and texts that are beginnings of each other, with zero bytes at their ends. */
static struct model_key random_key(struct rnd *rnd)
{
	struct model_key key = {.len = 8};

	if (rnd_one_in(rnd, 2)) {
		be64_put(key.bytes, rnd_below(rnd, 4 * NKEYS));
		return key;
	}
	key.len = 2 + rnd_below(rnd, KEY_MAX - 1); /* the walks begin at a shorter one */
	for (size_t i = 0; i < key.len; i++)
		key.bytes[i] = (uint8_t)(rnd_one_in(rnd, 12) ? 1 + rnd_below(rnd, 255) : 0);
	return key;
}

static void make_keys(struct world *w)
{
	size_t n = 0;

	while (n < NKEYS) {
		w->keys[n++] = random_key(&w->rnd);
		qsort(w->keys, n, sizeof(w->keys[0]), key_cmp);
		for (size_t i = 1; i < n; i++) {
			if (key_cmp(&w->keys[i - 1], &w->keys[i]) == 0) {
				w->keys[i] = w->keys[--n];
				break;
			}
		}
		qsort(w->keys, n, sizeof(w->keys[0]), key_cmp);
	}
}

static struct kv_buf key_buf(const struct model_key *key)
{
	return (struct kv_buf){.data = key->bytes, .len = key->len};
}

static struct kv_buf make_val(uint32_t val, uint8_t bytes[VAL_MAX])
{
	size_t len = val % 50 == 0 ? VAL_MAX - val % 7 : val % 61;

	rnd_fill(bytes, len, val);
	return (struct kv_buf){.data = bytes, .len = len};
}

/* The last byte says that the value has passed here on its way into LMDB. */
static void seal(enum kv_table table, struct kv_buf key, void *val, size_t len)
{
	uint8_t *bytes = val;
	uint8_t sum = (uint8_t)table;

	for (size_t i = 0; i < key.len; i++)
		sum += ((const uint8_t *)key.data)[i];
	for (size_t i = 0; i + 1 < len; i++)
		sum += bytes[i];
	if (len > 0)
		bytes[len - 1] = sum;
}

static void assert_val(enum kv_table table, struct kv_buf key, struct kv_buf val, uint32_t want)
{
	uint8_t bytes[VAL_MAX];
	struct kv_buf made = make_val(want, bytes);

	if (!val.staged)
		seal(table, key, bytes, made.len);
	assert_int_equal(val.len, made.len);
	assert_memory_equal(val.data, made.data, made.len);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The index that a look-up is to find, or -1. */
static int model_find(const struct world *w, const uint32_t *vals, enum kv_rel rel,
		      const struct model_key *key)
{
	bool up = rel == KV_GE || rel == KV_GT;
	int best = -1;

	for (int i = 0; i < NKEYS; i++) {
		int order = key_cmp(&w->keys[i], key);
		bool fits = (order > 0 && up) || (order < 0 && !up) ||
			    (order == 0 && (rel == KV_GE || rel == KV_LE));

		if (!fits || vals[i] == 0)
			continue;
		best = i;
		if (up)
			break;
	}
	return best;
}

/* One of the keys, or one beside it that may be none. */
static struct model_key random_probe(struct world *w)
{
	struct model_key key = w->keys[rnd_below(&w->rnd, NKEYS)];

	switch (rnd_below(&w->rnd, 4)) {
	case 0:
		if (key.len < KEY_MAX)
			key.bytes[key.len++] = 0;
		break;
	case 1:
		if (key.len > 1)
			key.len--;
		break;
	default:
		break;
	}
	return key;
}

static void compare_find(struct world *w, struct kv_txn *txn, const struct state *state)
{
	static const enum kv_rel rels[] = {KV_LT, KV_LE, KV_GE, KV_GT};
	size_t t = rnd_below(&w->rnd, NTABLES);
	enum kv_rel rel = rels[rnd_below(&w->rnd, 4)];
	struct model_key key = random_probe(w);
	int want = model_find(w, state->vals[t], rel, &key);
	struct kv_buf found;
	struct kv_buf val;
	int err = kv_find(txn, tables[t], rel, key_buf(&key), &found, &val);

	assert_int_equal(err, want < 0 ? -ERR_NOENT : 0);
	if (err)
		return;
	assert_int_equal(found.len, w->keys[want].len);
	assert_memory_equal(found.data, w->keys[want].bytes, found.len);
	assert_val(tables[t], found, val, state->vals[t][want]);
}

/* From one end of a table to the other, in steps. */
static void compare_walk(struct world *w, struct kv_txn *txn, const struct state *state, size_t t,
			 bool up)
{
	struct model_key at = {.len = 1};
	struct kv_buf found;
	struct kv_buf val;
	int i = up ? -1 : NKEYS;

	if (!up)
		memset(at.bytes, 0xff, at.len = KEY_MAX);
	while (kv_find(txn, tables[t], up ? KV_GT : KV_LT, key_buf(&at), &found, &val) == 0) {
		do
			i += up ? 1 : -1;
		while (i >= 0 && i < NKEYS && state->vals[t][i] == 0);
		assert_true(i >= 0 && i < NKEYS);
		assert_int_equal(found.len, w->keys[i].len);
		assert_memory_equal(found.data, w->keys[i].bytes, found.len);
		assert_val(tables[t], found, val, state->vals[t][i]);
		at = w->keys[i];
	}
	for (i += up ? 1 : -1; i >= 0 && i < NKEYS; i += up ? 1 : -1)
		assert_int_equal(state->vals[t][i], 0);
}

static void compare(struct world *w, struct kv_txn *txn, const struct state *state)
{
	for (size_t t = 0; t < NTABLES; t++) {
		compare_walk(w, txn, state, t, true);
		compare_walk(w, txn, state, t, false);
		for (size_t i = 0; i < NKEYS; i++) {
			struct kv_buf val;
			int err = kv_get(txn, tables[t], key_buf(&w->keys[i]), &val);

			assert_int_equal(err, state->vals[t][i] ? 0 : -ERR_NOENT);
			if (!err)
				assert_val(tables[t], key_buf(&w->keys[i]), val, state->vals[t][i]);
		}
	}
	assert_int_equal(kv_error(txn), 0);
}

static void compare_views(struct world *w)
{
	struct kv_txn *txn = kvfix_read(&w->fix);

	compare(w, txn, &w->visible);
	kv_read_pause(txn);
	assert_int_equal(kv_read_resume(txn), 0);
	compare(w, txn, &w->visible);
	kv_read_end(txn);
	assert_int_equal(kv_snapshot_begin(w->fix.env, &txn), 0);
	compare(w, txn, &w->durable);
	kv_read_end(txn);
}

/* ---- changing -------------------------------------------------------------------------------- */

/* Changes an entry as one who knows what is there, or as one who does not. */
static void change(struct world *w, struct kv_txn *txn, const struct state *state, size_t t,
		   size_t i, const struct kv_buf *val)
{
	struct kv_buf key = key_buf(&w->keys[i]);
	uint8_t bytes[VAL_MAX];
	size_t old_len = state->vals[t][i] ? make_val(state->vals[t][i], bytes).len : 0;

	if (rnd_one_in(&w->rnd, 2) && (old_len > 0 || state->vals[t][i] == 0))
		kv_replace(txn, tables[t], key, old_len, val);
	else if (val)
		kv_put(txn, tables[t], key, *val);
	else
		kv_del(txn, tables[t], key);
}

static void do_put(struct world *w, struct kv_txn *txn, struct state *state, size_t t, size_t i)
{
	uint8_t bytes[VAL_MAX];
	struct kv_buf val = make_val(++w->next_val, bytes);

	change(w, txn, state, t, i, &val);
	state->vals[t][i] = w->next_val;
}

/* Changes a value where it is: to another one of its length. */
static void do_edit(struct world *w, struct kv_txn *txn, struct state *state, size_t t, size_t i)
{
	uint32_t old = state->vals[t][i];
	struct kv_buf key = key_buf(&w->keys[i]);
	uint8_t new_bytes[VAL_MAX];
	struct kv_buf val;
	uint8_t *bytes;
	int err = kv_edit(txn, tables[t], key, &val, &bytes);

	assert_int_equal(err, old ? 0 : -ERR_NOENT);
	if (err)
		return;
	assert_val(tables[t], key, val, old);
	assert_ptr_equal(bytes, val.data);
	while (make_val(++w->next_val, new_bytes).len != val.len)
		;
	memcpy(bytes, new_bytes, val.len);
	state->vals[t][i] = w->next_val;
}

/* Neighbours, from one side or the other, with look-ups in between. */
static void do_del_range(struct world *w, struct kv_txn *txn, struct state *state, size_t t)
{
	size_t n = rnd_log(&w->rnd, NKEYS);
	size_t first = rnd_below(&w->rnd, NKEYS);
	bool up = rnd_one_in(&w->rnd, 2);

	for (size_t k = 0; k < n; k++) {
		size_t i = (up ? first + k : first + NKEYS - k) % NKEYS;

		if (state->vals[t][i] == 0)
			continue;
		change(w, txn, state, t, i, NULL);
		state->vals[t][i] = 0;
		if (rnd_one_in(&w->rnd, 3))
			compare_find(w, txn, state);
	}
}

static void do_txn(struct world *w)
{
	struct kv_txn *txn = kvfix_stage(&w->fix);
	struct state state = w->visible;
	uint64_t n = rnd_log(&w->rnd, 200);

	while (n-- > 0) {
		size_t t = rnd_below(&w->rnd, NTABLES);

		if (rnd_one_in(&w->rnd, 12))
			do_del_range(w, txn, &state, t);
		else if (rnd_one_in(&w->rnd, 4))
			do_edit(w, txn, &state, t, rnd_below(&w->rnd, NKEYS));
		else
			do_put(w, txn, &state, t, rnd_below(&w->rnd, NKEYS));
		if (rnd_one_in(&w->rnd, 4))
			compare_find(w, txn, &state);
	}
	if (rnd_one_in(&w->rnd, 3))
		compare(w, txn, &state);
	if (rnd_one_in(&w->rnd, 3))
		compare_views(w); /* nothing of it is seen yet */
	if (rnd_one_in(&w->rnd, 4)) {
		kv_stage_abort(txn);
	} else {
		assert_int_equal(kv_stage_commit(txn), 0);
		w->visible = state;
	}
}

static void do_fold(struct world *w)
{
	assert_int_equal(kv_fold(w->fix.env), 0);
	if (w->is_frozen)
		w->durable = w->frozen;
	w->is_frozen = false;
}

static void do_cut(struct world *w)
{
	if (w->is_frozen)
		do_fold(w);
	assert_int_equal(kv_cut(w->fix.env), 0);
	w->frozen = w->visible;
	w->is_frozen = true;
}

static void do_crash(struct world *w)
{
	kvfix_reopen(&w->fix);
	w->visible = w->durable;
	w->is_frozen = false;
}

static void test_random_operations_match_a_model(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t steps = rnd_count("TEST_STEPS", 1200);

	(void)state;
	assert_non_null(w);
	w->rnd = rnd_stream(1);
	make_keys(w);
	w->fix.seal = seal;
	kvfix_open(&w->fix, MAP_BYTES);
	for (uint64_t i = 0; i < steps; i++) {
		uint64_t op = rnd_below(&w->rnd, 20);

		if (op < 12)
			do_txn(w);
		else if (op < 15)
			do_cut(w);
		else if (op < 19)
			do_fold(w);
		else
			do_crash(w);
		if (rnd_one_in(&w->rnd, 5))
			compare_views(w);
	}
	compare_views(w);
	kvfix_close(&w->fix);
	free(w);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void assert_del_fails(struct kvfix *fix, uint64_t n)
{
	struct kv_txn *txn = kvfix_stage(fix);

	kvfix_put(txn, KV_FREE, 1000, 1);
	kvfix_del(txn, KV_FREE, n);
	assert_int_equal(kv_error(txn), -ERR_MAP);
	/* latched: nothing happens any more, and the commit is an abort */
	kvfix_put(txn, KV_FREE, 1001, 1);
	assert_int_equal(kv_stage_commit(txn), -ERR_MAP);
	txn = kvfix_read(fix);
	assert_false(kvfix_has(txn, KV_FREE, 1000));
	assert_false(kvfix_has(txn, KV_FREE, 1001));
	kv_read_end(txn);
}

/* Who deletes knows that it is there: in whatever layer the deletion before is. */
static void test_deleting_what_is_not_there_is_an_error(void **state)
{
	struct kv_txn *txn;
	struct kvfix fix = {0};

	(void)state;
	kvfix_open(&fix, MAP_BYTES);
	assert_del_fails(&fix, 1);
	txn = kvfix_stage(&fix);
	for (uint64_t n = 1; n <= 3; n++)
		kvfix_put(txn, KV_FREE, n, 1);
	kvfix_put(txn, KV_FREE, 4, 1);
	kvfix_del(txn, KV_FREE, 4);
	assert_int_equal(kv_stage_commit(txn), 0);
	assert_del_fails(&fix, 4);
	kvfix_cut_and_fold(&fix);
	txn = kvfix_stage(&fix);
	kvfix_del(txn, KV_FREE, 1);
	kvfix_del(txn, KV_FREE, 2);
	assert_int_equal(kv_stage_commit(txn), 0);
	assert_del_fails(&fix, 1); /* dead in the active layer */
	assert_int_equal(kv_cut(fix.env), 0);
	assert_del_fails(&fix, 2); /* in the frozen one */
	assert_int_equal(kv_fold(fix.env), 0);
	assert_del_fails(&fix, 2);
	txn = kvfix_stage(&fix);
	kvfix_del(txn, KV_FREE, 3);
	kvfix_del(txn, KV_FREE, 3);
	assert_int_equal(kv_stage_commit(txn), -ERR_MAP); /* twice in the same */
	kvfix_close(&fix);
}

static void test_keys_have_a_length(void **state)
{
	char longest[KV_KEY_MAX + 1] = "";
	struct kv_buf key = {.data = longest, .len = KV_KEY_MAX};
	struct kv_txn *txn;
	struct kvfix fix = {0};

	(void)state;
	kvfix_open(&fix, MAP_BYTES);
	txn = kvfix_stage(&fix);
	kv_put(txn, KV_NAME, key, key);
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(&fix);
	for (size_t len = 0; len <= KV_KEY_MAX + 1; len += KV_KEY_MAX + 1) {
		key.len = len;
		txn = kvfix_stage(&fix);
		kv_put(txn, KV_NAME, key, key);
		assert_int_equal(kv_stage_commit(txn), -ERR_MAP);
	}
	kvfix_close(&fix);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static uint64_t staged_entries(struct kvfix *fix)
{
	struct kv_staged staged;

	kv_get_staged(fix->env, &staged);
	assert_true(staged.bytes >= staged.entries * 8);
	assert_int_equal(staged.entries == 0, staged.bytes == 0);
	return staged.entries;
}

/* What was put and deleted between two folds leaves nothing behind. */
static void test_only_what_differs_is_staged(void **state)
{
	struct kv_txn *txn;
	struct kvfix fix = {0};

	(void)state;
	kvfix_open(&fix, MAP_BYTES);
	assert_int_equal(staged_entries(&fix), 0);
	for (int round = 0; round < 3; round++) {
		txn = kvfix_stage(&fix);
		for (uint64_t n = 0; n < 100; n++)
			kvfix_put(txn, KV_REAP, n, 9);
		assert_int_equal(kv_stage_commit(txn), 0);
		assert_int_equal(staged_entries(&fix), 100);
		txn = kvfix_stage(&fix);
		for (uint64_t n = 0; n < 100; n++)
			kvfix_del(txn, KV_REAP, n);
		assert_int_equal(kv_stage_commit(txn), 0);
		assert_int_equal(staged_entries(&fix), 0);
	}
	txn = kvfix_stage(&fix);
	kvfix_put(txn, KV_REAP, 1, 9);
	assert_int_equal(kv_stage_commit(txn), 0);
	assert_int_equal(kv_cut(fix.env), 0);
	txn = kvfix_stage(&fix);
	kvfix_del(txn, KV_REAP, 1);
	assert_int_equal(kv_stage_commit(txn), 0);
	assert_int_equal(staged_entries(&fix), 2); /* one frozen, one that hides it */
	assert_int_equal(kv_fold(fix.env), 0);
	assert_int_equal(staged_entries(&fix), 1);
	kvfix_cut_and_fold(&fix);
	assert_int_equal(staged_entries(&fix), 0);
	txn = kvfix_read(&fix);
	assert_false(kvfix_has(txn, KV_REAP, 1));
	kv_read_end(txn);
	kvfix_close(&fix);
}

/*
 * A queue that is emptied from its end, with a look-up for each: in steps that do not grow with what
 * was deleted before.  (Without runs these are two thousand million steps.)
 */
static void test_dead_entries_are_passed_at_once(void **state)
{
	enum { N = 60000 };
	struct kvfix_key beyond = kvfix_key(UINT64_MAX);
	struct kv_buf found;
	struct kv_buf val;
	struct kv_txn *txn;
	struct kvfix fix = {0};

	(void)state;
	kvfix_open(&fix, MAP_BYTES);
	txn = kvfix_stage(&fix);
	for (uint64_t n = 1; n <= N; n++)
		kvfix_put(txn, KV_REAP, n, 12);
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(&fix);
	for (uint64_t n = N; n > 0;) {
		txn = kvfix_stage(&fix);
		for (uint64_t end = n - N / 20; n > end; n--) {
			assert_int_equal(
			    kv_find(txn, KV_REAP, KV_LE, kvfix_buf(&beyond), &found, &val), 0);
			assert_int_equal(be64_get(found.data), n);
			kvfix_del(txn, KV_REAP, n);
		}
		assert_int_equal(kv_stage_commit(txn), 0);
	}
	txn = kvfix_stage(&fix);
	assert_int_equal(kv_find(txn, KV_REAP, KV_LE, kvfix_buf(&beyond), &found, &val),
			 -ERR_NOENT);
	kv_stage_abort(txn);
	kvfix_close(&fix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random_operations_match_a_model),
	    cmocka_unit_test(test_deleting_what_is_not_there_is_an_error),
	    cmocka_unit_test(test_keys_have_a_length),
	    cmocka_unit_test(test_only_what_differs_is_staged),
	    cmocka_unit_test(test_dead_entries_are_passed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
