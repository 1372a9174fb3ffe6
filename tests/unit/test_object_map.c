/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_map.c: the report of what an object is made of: holes and zeros over data in every
 * state, what is dirty, what is shared, where it is; against what a model says, too.
 */
#include <fcntl.h>

#include "tests/unit/object_map_fixture.h"

static void zero_blks(struct engine *e, struct handle *h, uint64_t blk, uint64_t n)
{
	assert_int_equal(engine_zero(e, h, blk * BLK_BYTES, n * BLK_BYTES, false), 0);
}

/* ---- dirty, zero, hole ----------------------------------------------------------------------- */

static void holes_and_zeros_over_dirty_data(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 8 * BLK_BYTES);

	EXPECT(e, h, "........");
	assert_int_equal(engine_write_blks(e, h, 1, 5, 1), 0);
	EXPECT(e, h, ".DDDDD..");
	zero_blks(e, h, 2, 2);
	EXPECT(e, h, ".DooDD..");
	assert_int_equal(engine_write_blk(e, h, 3, 1), 0);
	EXPECT(e, h, ".DoDDD..");
	applied(e, h);
	EXPECT(e, h, ".E.EEE..");
	assert_int_equal(object_close(h), 0);
}

static void holes_and_zeros_over_committed_data(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 8 * BLK_BYTES);

	assert_int_equal(engine_write_blks(e, h, 0, 6, 1), 0);
	applied(e, h);
	zero_blks(e, h, 1, 3);
	zero_blks(e, h, 7, 1); /* the map has a hole there: that it will stay one is known later */
	assert_int_equal(engine_write_blk(e, h, 0, 2), 0);
	assert_int_equal(engine_write_blk(e, h, 2, 2), 0);
	EXPECT(e, h, "DoDoEE.o");
	assert_int_equal(engine_resize(e, h, 5 * BLK_BYTES, true), 0);
	EXPECT(e, h, "DoDoE");
	assert_int_equal(engine_resize(e, h, 6 * BLK_BYTES, false), 0);
	EXPECT(e, h, "DoDoEo");
	applied(e, h);
	EXPECT(e, h, "E.E.E.");
	assert_int_equal(object_close(h), 0);
}

/* While it is being committed it is dirty still: in the cache staged, and not in the map. */
static void what_is_on_its_way_is_dirty(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 4 * BLK_BYTES);
	uint64_t syncs = gate_dev_calls(e->gate, GATE_SYNC);
	struct result synced = {0};

	assert_int_equal(engine_write_blks(e, h, 0, 2, 1), 0);
	zero_blks(e, h, 1, 1);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_fsync(h, engine_done_cb, &synced);
	engine_wait_calls(e, GATE_SYNC, syncs + 1);
	EXPECT(e, h, "Do..");
	assert_int_equal(engine_write_blk(e, h, 1, 3), 0); /* in the next epoch */
	zero_blks(e, h, 0, 1);
	EXPECT(e, h, "oD..");
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &synced), 0);
	applied(e, h);
	EXPECT(e, h, ".E..");
	assert_int_equal(object_close(h), 0);
}

/* ---- shared ---------------------------------------------------------------------------------- */

static void what_clones_share(void **state)
{
	struct engine *e = *state;
	struct handle *a = engine_create_open(e, "a", 6 * BLK_BYTES);
	struct handle *b;

	assert_int_equal(engine_write_blks(e, a, 0, 4, 1), 0);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	b = engine_open(e, "b");
	EXPECT(e, a, "SSSS..");
	EXPECT(e, b, "SSSS..");
	assert_int_equal(engine_write_blk(e, b, 1, 2), 0);
	zero_blks(e, b, 3, 1);
	EXPECT(e, a, "SSSS.."); /* as long as nothing is committed */
	EXPECT(e, b, "SDSo..");
	applied(e, b);
	EXPECT(e, a, "SESE..");
	EXPECT(e, b, "SES...");
	assert_int_equal(object_close(a), 0);
	assert_int_equal(object_close(b), 0);
	engine_restart(e);
	a = engine_open(e, "a");
	EXPECT(e, a, "SESE..");
	assert_int_equal(engine_remove(e, "b"), 0);
	engine_reap(e);
	EXPECT(e, a, "EEEE..");
	assert_int_equal(object_close(a), 0);
}

static void what_versions_share(void **state)
{
	struct engine *e = *state;
	struct handle *a = engine_create_open(e, "a", 3 * BLK_BYTES);
	struct handle *v;

	assert_int_equal(engine_write_blks(e, a, 0, 2, 1), 0);
	assert_int_equal(snapshot(e, "a@v"), 0);
	assert_int_equal(engine_write_blk(e, a, 0, 2), 0);
	assert_int_equal(engine_write_blk(e, a, 2, 2), 0);
	applied(e, a);
	EXPECT(e, a, "ESE");
	assert_int_equal(open_as(e, "a@v", true, &v), 0);
	EXPECT(e, v, "ES.");
	assert_int_equal(object_close(v), 0);
	assert_int_equal(remove_all(e, "a@v"), 0);
	engine_reap(e);
	EXPECT(e, a, "EEE");
	assert_int_equal(object_close(a), 0);
}

/* ---- where, and how much --------------------------------------------------------------------- */

/* Each byte says where it is. */
static uint8_t byte_at(uint64_t off)
{
	return (uint8_t)(off * 7 + off / BLK_BYTES * 13);
}

/* What the device has where the report says, of each byte that is data; how many runs there are. */
static uint32_t compare_with_device(struct engine *e, struct handle *h, int fd, uint64_t off,
				    uint64_t len)
{
	struct result res = {0};
	uint64_t pos = off;

	assert_int_equal(engine_map(e, h, off, len, &res), 0);
	for (uint32_t i = 0; i < res.nruns; i++) {
		const struct object_run *run = &res.runs[i];

		for (uint64_t k = 0; run->data && k < run->len_bytes; k += 1000) {
			uint8_t byte;

			assert_int_equal(pread(fd, &byte, 1, (off_t)(run->dev_bytes + k)), 1);
			assert_int_equal(byte, byte_at(pos + k));
		}
		pos += run->len_bytes;
	}
	assert_int_equal(pos, off + len);
	return res.nruns;
}

/* Also where that begins within a block, and what lies apart is not told as one. */
static void the_device_has_it_there(void **state)
{
	enum { N = 10 };
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", (N + 2) * BLK_BYTES);
	uint8_t bytes[N * BLK_BYTES];
	int fd;

	for (uint64_t off = 0; off < sizeof(bytes); off++)
		bytes[off] = byte_at(off);
	assert_int_equal(engine_write(e, h, 0, bytes, sizeof(bytes)), 0);
	applied(e, h);
	assert_int_equal(engine_write(e, h, 4 * BLK_BYTES, bytes + 4 * BLK_BYTES, BLK_BYTES), 0);
	assert_int_equal(object_close(h), 0);
	engine_restart(e); /* and all is in its place */
	h = engine_open(e, "a");
	fd = open(e->dev_path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(compare_with_device(e, h, fd, 0, (N + 2) * BLK_BYTES), 4);
	for (uint64_t off = 1; off < N * BLK_BYTES; off += 2049)
		(void)compare_with_device(e, h, fd, off, 5000);
	assert_int_equal(close(fd), 0);
	assert_int_equal(object_close(h), 0);
}

/* Without details there are as few runs as before; the two agree on where data is. */
static void details_split_and_nothing_else_does(void **state)
{
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 8 * BLK_BYTES);
	struct result res = {0};

	assert_int_equal(engine_write_blks(e, h, 0, 6, 1), 0);
	assert_int_equal(engine_clone(e, "a", "b"), 0);
	assert_int_equal(engine_write_blk(e, h, 2, 2), 0);
	applied(e, h);
	assert_int_equal(engine_write_blk(e, h, 4, 3), 0);
	zero_blks(e, h, 6, 1);
	EXPECT(e, h, "SSESDSo.");
	assert_int_equal(engine_extents(e, h, 0, UINT64_MAX, &res), 0);
	assert_int_equal(res.nruns, 2);
	assert_int_equal(res.runs[0].len_bytes, 6 * BLK_BYTES);
	assert_int_equal(res.runs[1].len_bytes, 2 * BLK_BYTES);
	for (uint32_t i = 0; i < res.nruns; i++)
		assert_false(res.runs[i].zero || res.runs[i].dirty || res.runs[i].shared ||
			     res.runs[i].dev_bytes);
	assert_int_equal(object_close(h), 0);
}

/* What needs very many look-ups is told in parts: who waits for a commit is not kept waiting. */
static void one_request_has_an_end(void **state)
{
	enum { N = 3000 };
	struct engine *e = *state;
	struct handle *h = engine_create_open(e, "a", 0);
	struct result res = {0};
	uint64_t pos = 0;

	assert_int_equal(engine_write_blks(e, h, 0, N, 1), 0);
	applied(e, h);
	for (uint64_t blk = 0; blk < N; blk += 2) /* so that no two lie side by side */
		assert_int_equal(engine_write_blk(e, h, blk, 2), 0);
	applied(e, h);
	assert_int_equal(engine_extents(e, h, 0, UINT64_MAX, &res), 0);
	assert_int_equal(res.nruns, 1);
	assert_true(res.runs[0].data);
	assert_true(res.runs[0].len_bytes >= 1024 * BLK_BYTES);
	assert_true(res.runs[0].len_bytes < N * BLK_BYTES);
	while (pos < N * BLK_BYTES) {
		assert_int_equal(engine_extents(e, h, pos, UINT64_MAX, &res), 0);
		assert_int_equal(res.nruns, 1);
		pos += res.runs[0].len_bytes;
	}
	assert_int_equal(pos, N * BLK_BYTES);
	assert_int_equal(object_close(h), 0);
}

/* ---- at random ------------------------------------------------------------------------------- */

#define RANDOM_OBJECTS 3
#define RANDOM_BLKS    40
#define RANDOM_STEPS   300

/* Each block: what was written to it is a number of its own, which clones share; 0: nothing. */
struct random_object {
	struct handle *h;
	uint32_t committed[RANDOM_BLKS];
	char pending[RANDOM_BLKS]; /* 'D' written, 'o' zeroed, since the last commit; else 0 */
};

struct random_model {
	struct random_object objs[RANDOM_OBJECTS];
	uint32_t next;
};

static const char *random_name(unsigned int i)
{
	static const char *const names[RANDOM_OBJECTS] = {"a", "b", "c"};

	return names[i];
}

static unsigned int random_count(const struct random_model *m, uint32_t id)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < RANDOM_OBJECTS; i++)
		for (unsigned int b = 0; b < RANDOM_BLKS; b++)
			n += m->objs[i].committed[b] == id;
	return n;
}

static void random_compare(struct engine *e, const struct random_model *m, unsigned int i)
{
	const struct random_object *obj = &m->objs[i];
	char want[RANDOM_BLKS + 1] = "";

	for (unsigned int b = 0; b < RANDOM_BLKS; b++) {
		uint32_t id = obj->committed[b];

		want[b] = obj->pending[b];
		if (!want[b] && !id)
			want[b] = '.';
		else if (!want[b])
			want[b] = random_count(m, id) > 1 ? 'S' : 'E';
	}
	EXPECT(e, obj->h, want);
}

static void random_commit(struct engine *e, struct random_model *m, unsigned int i)
{
	struct random_object *obj = &m->objs[i];
	struct handle *h =
	    engine_open(e, random_name(i)); /* it writes nothing: no fsync is foreseen */

	applied(e, h);
	assert_int_equal(object_close(h), 0);
	for (unsigned int b = 0; b < RANDOM_BLKS; b++) {
		if (obj->pending[b])
			obj->committed[b] = obj->pending[b] == 'D' ? ++m->next : 0;
		obj->pending[b] = 0;
	}
}

/* Makes j anew, of i. */
static void random_clone(struct engine *e, struct random_model *m, unsigned int i, unsigned int j)
{
	struct random_object *obj = &m->objs[j];

	random_commit(e, m, i);
	assert_int_equal(object_close(obj->h), 0);
	assert_int_equal(engine_remove(e, random_name(j)), 0);
	engine_reap(e);
	assert_int_equal(engine_clone(e, random_name(i), random_name(j)), 0);
	*obj = m->objs[i];
	obj->h = engine_open(e, random_name(j));
}

static void random_step(struct engine *e, struct random_model *m, uint64_t *rng)
{
	unsigned int i =
	    (unsigned int)((*rng = *rng * 6364136223846793005u + 1) >> 40) % RANDOM_OBJECTS;
	unsigned int what = (unsigned int)(*rng >> 50) % 10;
	unsigned int blk = (unsigned int)(*rng >> 33) % (RANDOM_BLKS - 4);
	unsigned int n = 1 + (unsigned int)(*rng >> 45) % 4;
	struct random_object *obj = &m->objs[i];

	if (what == 0)
		random_clone(e, m, i, (i + 1) % RANDOM_OBJECTS);
	else if (what < 3)
		random_commit(e, m, i);
	else if (what < 6)
		zero_blks(e, obj->h, blk, n);
	else
		assert_int_equal(engine_write_blks(e, obj->h, blk, n, (uint8_t)what), 0);
	if (what >= 3)
		memset(obj->pending + blk, what < 6 ? 'o' : 'D', n);
}

static void what_a_model_says(void **state)
{
	struct engine *e = *state;
	struct random_model m = {.next = 0};
	uint64_t rng = 20261126;

	for (unsigned int i = 0; i < RANDOM_OBJECTS; i++)
		m.objs[i].h = engine_create_open(e, random_name(i), RANDOM_BLKS * BLK_BYTES);
	for (unsigned int step = 0; step < RANDOM_STEPS; step++) {
		random_step(e, &m, &rng);
		for (unsigned int i = 0; i < RANDOM_OBJECTS; i++)
			random_compare(e, &m, i);
	}
	for (unsigned int i = 0; i < RANDOM_OBJECTS; i++)
		assert_int_equal(object_close(m.objs[i].h), 0);
}

#define UNTIMED(name) cmocka_unit_test_setup_teardown(name, setup_untimed, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    UNTIMED(holes_and_zeros_over_dirty_data),
	    UNTIMED(holes_and_zeros_over_committed_data),
	    UNTIMED(what_is_on_its_way_is_dirty),
	    UNTIMED(what_clones_share),
	    UNTIMED(what_versions_share),
	    UNTIMED(the_device_has_it_there),
	    UNTIMED(details_split_and_nothing_else_does),
	    UNTIMED(one_request_has_an_end),
	    UNTIMED(what_a_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
