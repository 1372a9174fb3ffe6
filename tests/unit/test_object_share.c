/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Range clones in the engine: what is where afterwards, at once and after a crash; beside writes to
 * both objects; what is refused; what fails on the way.
 */
#include "tests/unit/object_fixture.h"

#define NBLKS 40u
#define K     BLK_BYTES

struct shared {
	struct result res;
	uint64_t len;
	uint64_t left;
};

static void shared_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	struct shared *shared = ctx;

	shared->len = len_bytes;
	shared->left = left_bytes;
	engine_done_cb(&shared->res, err);
}

static void begin(struct engine *e, struct shared *shared, struct handle *dst, uint64_t dst_off,
		  struct handle *src, uint64_t src_off, uint64_t len)
{
	(void)e;
	*shared = (struct shared){0};
	object_share(dst, dst_off, src, src_off, len, shared_cb, shared);
}

/* The bytes that were cloned, or an error. */
static int64_t share(struct engine *e, struct handle *dst, uint64_t dst_off, struct handle *src,
		     uint64_t src_off, uint64_t len)
{
	struct shared shared;
	int err;

	begin(e, &shared, dst, dst_off, src, src_off, len);
	err = engine_wait(e, &shared.res);
	return err < 0 ? err : (int64_t)shared.len;
}

/* Bytes of its own at each place of each object. */
static uint8_t byte_at(uint8_t seed, uint64_t off)
{
	return (uint8_t)(seed + off / 7 + off / K * 13);
}

/* An object of so many bytes; "synced": in the map, none in memory. */
static struct handle *filled(struct engine *e, const char *name, uint8_t seed, uint64_t size)
{
	struct handle *h = engine_create_open(e, name, 0);
	uint8_t *data = malloc(size);

	assert_non_null(data);
	for (uint64_t i = 0; i < size; i++)
		data[i] = byte_at(seed, i);
	assert_int_equal(engine_write(e, h, 0, data, size), 0);
	free(data);
	return h;
}

/* The two objects of most tests, and what they are. */
struct pair {
	struct engine *e;
	struct handle *dst;
	struct handle *src;
	uint8_t *want_dst;
	uint8_t *want_src;
	uint64_t dst_size;
	uint64_t src_size;
};

#define WANT_MAX (4 * NBLKS * K)

static void pair_open(struct pair *p)
{
	p->dst = engine_open(p->e, "dst");
	p->src = engine_open(p->e, "src");
}

static void pair_crash(struct pair *p)
{
	(void)object_close(p->dst);
	(void)object_close(p->src);
	crash(p->e);
	pair_open(p);
}

static void pair_restart(struct pair *p)
{
	assert_int_equal(object_close(p->dst), 0);
	assert_int_equal(object_close(p->src), 0);
	engine_restart(p->e);
	pair_open(p);
}

static void pair_init(struct pair *p, struct engine *e, uint64_t dst_size, uint64_t src_size,
		      bool synced)
{
	*p = (struct pair){.e = e, .dst_size = dst_size, .src_size = src_size};
	p->want_dst = calloc(1, WANT_MAX);
	p->want_src = calloc(1, WANT_MAX);
	assert_true(p->want_dst && p->want_src);
	for (uint64_t i = 0; i < dst_size; i++)
		p->want_dst[i] = byte_at(1, i);
	for (uint64_t i = 0; i < src_size; i++)
		p->want_src[i] = byte_at(100, i);
	p->dst = filled(e, "dst", 1, dst_size);
	p->src = filled(e, "src", 100, src_size);
	if (synced)
		pair_restart(p);
}

static void assert_content(struct engine *e, struct handle *h, const uint8_t *want, uint64_t size)
{
	uint8_t *got = malloc(WANT_MAX);

	assert_non_null(got);
	assert_int_equal(object_size(h), size);
	assert_int_equal(engine_read(e, h, 0, got, WANT_MAX), size);
	for (uint64_t i = 0; i < size; i++)
		if (got[i] != want[i])
			fail_msg("byte %u of %u is %02x, not %02x", (unsigned int)i,
				 (unsigned int)size, got[i], want[i]);
	free(got);
}

static void pair_assert(struct pair *p)
{
	assert_content(p->e, p->dst, p->want_dst, p->dst_size);
	assert_content(p->e, p->src, p->want_src, p->src_size);
}

/* Clones, and looks at once and after a crash. */
static void pair_share(struct pair *p, uint64_t dst_off, uint64_t src_off, uint64_t len)
{
	uint64_t n = len > 0 ? len : p->src_size - src_off;

	assert_int_equal(share(p->e, p->dst, dst_off, p->src, src_off, len), n);
	memcpy(p->want_dst + dst_off, p->want_src + src_off, n);
	if (n > 0 && dst_off + n > p->dst_size)
		p->dst_size = dst_off + n;
	pair_assert(p);
	if (src_off % 2 == 0) /* all is brought to its place, or recovered */
		pair_restart(p);
	else
		pair_crash(p);
	pair_assert(p);
}

static void pair_fini(struct pair *p)
{
	assert_int_equal(object_close(p->dst), 0);
	assert_int_equal(object_close(p->src), 0);
	free(p->want_dst);
	free(p->want_src);
}

/* ---- what is there afterwards ---------------------------------------------------------------- */

struct range {
	uint64_t dst_off;
	uint64_t src_off;
	uint64_t len;
};

static const struct range ranges[] = {
    {0, 0, 5 * K},			/* alike */
    {10 * K, 3 * K, 7 * K},		/* elsewhere */
    {3 * K, 20 * K, 1 * K},		/* one block */
    {7 * K + 5, 9 * K + 5, 100},	/* within one */
    {7 * K, 9 * K, 100},		/* the beginning of one */
    {8 * K - 9, 9 * K - 9, 9},		/* the end of one */
    {8 * K - 9, 9 * K - 9, 18},		/* over a border */
    {8 * K - 9, 9 * K - 9, 2 * K + 20}, /* edges and a whole one */
    {8 * K - 10, 9 * K - 10, 2 * K + 20},
    {11 * K + 1, 2 * K + 1, 8 * K},
    {NBLKS * K - 10, 5 * K - 10, 3 * K}, /* past the end */
    {60 * K + 17, 17, 6 * K},		 /* with a gap */
    {0, 30 * K, 0},			 /* up to the source's end */
    {70 * K, 38 * K, 0},
};

static void check_ranges(struct engine *e, uint64_t dst_size, uint64_t src_size, bool synced)
{
	struct pair p;

	pair_init(&p, e, dst_size, src_size, synced);
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		pair_share(&p, ranges[i].dst_off, ranges[i].src_off, ranges[i].len);
	pair_fini(&p);
}

static void any_range_of_dirty_objects(void **state)
{
	check_ranges(*state, NBLKS * K, NBLKS * K, false);
}

static void any_range_of_committed_objects(void **state)
{
	check_ranges(*state, NBLKS * K, NBLKS * K, true);
}

static void any_range_of_objects_that_end_within_a_block(void **state)
{
	check_ranges(*state, NBLKS * K - 77, NBLKS * K - 1234, false);
}

/* The end of the source in the middle of the destination: what is behind it there stays. */
static void the_end_within_the_destination_keeps_what_follows(void **state)
{
	struct pair p;

	pair_init(&p, *state, NBLKS * K, 5 * K + 100, false);
	pair_share(&p, 10 * K, 0, 0);
	pair_share(&p, NBLKS * K - K, 5 * K, 0); /* both ends in one block, not at one place */
	pair_fini(&p);
}

/* Of a source that ends within a block, to where the destination ends too, nothing is copied. */
static void the_last_block_is_shared_as_a_whole(void **state)
{
	struct engine *e = *state;
	struct pair p;
	uint64_t before;

	pair_init(&p, e, K, 5 * K + 100, false);
	engine_reap(e);
	before = engine_free_nblks(e);
	pair_share(&p, 0, 0, 0);
	engine_reap(e);
	assert_int_equal(engine_free_nblks(e), before + 1);
	assert_int_equal(engine_resize(e, p.dst, 9 * K, false), 0);
	p.dst_size = 9 * K;
	pair_assert(&p);
	pair_fini(&p);
}

static void holes_are_cloned_as_holes(void **state)
{
	struct engine *e = *state;
	struct pair p;
	struct result res = {0};

	pair_init(&p, e, NBLKS * K, NBLKS * K, true);
	assert_int_equal(engine_zero(e, p.src, 5 * K, 20 * K, false), 0);
	memset(p.want_src + 5 * K, 0, 20 * K);
	pair_share(&p, 0, 0, 30 * K);
	assert_int_equal(engine_extents(e, p.dst, 0, 30 * K, &res), 0);
	assert_int_equal(res.nruns, 3);
	assert_false(res.runs[1].data);
	assert_int_equal(res.runs[1].len_bytes, 20 * K);
	pair_fini(&p);
}

/* Nothing is copied, and each goes its own way afterwards. */
static void what_is_shared_takes_no_space(void **state)
{
	struct engine *e = *state;
	struct pair p;
	uint64_t before;

	pair_init(&p, e, K, NBLKS * K, true);
	before = engine_free_nblks(e);
	pair_share(&p, K, 0, 0);
	assert_int_equal(engine_free_nblks(e), before);
	memset(p.want_dst + 3 * K, 7, K);
	assert_int_equal(engine_write_blk(e, p.dst, 3, 7), 0);
	memset(p.want_src + 9 * K, 8, K);
	assert_int_equal(engine_write_blk(e, p.src, 9, 8), 0);
	assert_int_equal(engine_fsync(e, p.dst), 0);
	assert_int_equal(engine_fsync(e, p.src), 0);
	pair_crash(&p);
	pair_assert(&p);
	pair_fini(&p);
	assert_int_equal(engine_remove(e, "src"), 0);
	engine_reap(e);
	assert_int_equal(byte_of(e, "dst", 3), 7);
	assert_int_equal(byte_of(e, "dst", 4), byte_at(100, 3 * K));
}

/* ---- the same object ------------------------------------------------------------------------- */

static void within_one_object(void **state)
{
	struct engine *e = *state;
	struct handle *h = filled(e, "a", 3, NBLKS * K - 50);
	uint8_t *want = calloc(1, WANT_MAX);
	uint64_t size = NBLKS * K - 50;

	assert_non_null(want);
	for (uint64_t i = 0; i < size; i++)
		want[i] = byte_at(3, i);
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		const struct range *r = &ranges[i];
		uint64_t n = r->len > 0 ? r->len : size - r->src_off;
		uint64_t apart =
		    r->dst_off < r->src_off ? r->src_off - r->dst_off : r->dst_off - r->src_off;
		int64_t got = share(e, h, r->dst_off, h, r->src_off, r->len);

		if (apart < n) {
			assert_int_equal(got, -ERR_OVERLAP);
			continue;
		}
		assert_int_equal(got, n);
		memcpy(want + r->dst_off, want + r->src_off, n);
		size = r->dst_off + n > size ? r->dst_off + n : size;
		assert_content(e, h, want, size);
	}
	/* side by side, with edges in one block */
	assert_int_equal(share(e, h, 2 * K + 100, h, 100, 2 * K), 2 * K);
	memcpy(want + 2 * K + 100, want + 100, 2 * K);
	assert_int_equal(share(e, h, 30 * K - 100, h, 32 * K - 100, 2 * K), 2 * K);
	memcpy(want + 30 * K - 100, want + 32 * K - 100, 2 * K);
	(void)object_close(h);
	crash(e);
	h = engine_open(e, "a");
	assert_content(e, h, want, size);
	assert_int_equal(object_close(h), 0);
	free(want);
}

/* The blocks of an object in the order from last to first, each cloned alone, by way of another. */
static void in_reverse(void **state)
{
	struct pair p;

	pair_init(&p, *state, K, NBLKS * K, true);
	for (uint64_t i = 0; i < NBLKS; i++) {
		uint64_t from = NBLKS - 1 - i;

		assert_int_equal(share(p.e, p.dst, i * K, p.src, from * K, K), K);
		memcpy(p.want_dst + i * K, p.want_src + from * K, K);
	}
	p.dst_size = NBLKS * K;
	pair_assert(&p);
	pair_crash(&p);
	pair_assert(&p);
	pair_fini(&p);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void bad_ranges_are_refused(void **state)
{
	struct engine *e = *state;
	struct handle *readonly;
	struct pair p;

	pair_init(&p, e, NBLKS * K, NBLKS * K, false);
	assert_int_equal(share(e, p.dst, 1, p.src, 2, K), -ERR_UNALIGNED);
	assert_int_equal(share(e, p.dst, 0, p.src, NBLKS * K - 1, 2), -ERR_UNALIGNED);
	assert_int_equal(share(e, p.dst, 0, p.src, NBLKS * K - K, K + 1), -ERR_RANGE);
	assert_int_equal(share(e, p.dst, 0, p.src, NBLKS * K + K, 0), -ERR_RANGE);
	assert_int_equal(share(e, p.dst, 0, p.src, NBLKS * K, 0), 0); /* of nothing */
	assert_int_equal(share(e, p.dst, 0, p.src, 0, UINT64_MAX), -ERR_TOO_LARGE);
	assert_int_equal(share(e, p.dst, (BLK_OBJECT_MAX - 1) * K, p.src, 0, 0), -ERR_TOO_LARGE);
	assert_int_equal(share(e, p.dst, 0, p.dst, 0, K), -ERR_OVERLAP);
	assert_int_equal(share(e, p.dst, K, p.dst, 0, K + 1), -ERR_OVERLAP);
	assert_int_equal(snapshot(e, "src@v"), 0);
	assert_int_equal(open_as(e, "src@v", true, &readonly), 0);
	assert_int_equal(share(e, readonly, 0, p.dst, 0, K), -ERR_PERM);
	assert_int_equal(object_close(readonly), 0);
	pair_assert(&p);
	pair_crash(&p);
	assert_content(e, p.src, p.want_src, p.src_size);
	pair_fini(&p);
}

/* A version may be the source. */
static void a_version_is_a_source(void **state)
{
	struct engine *e = *state;
	struct handle *version;
	struct pair p;

	pair_init(&p, e, NBLKS * K, NBLKS * K, false);
	assert_int_equal(snapshot(e, "src@v"), 0);
	assert_int_equal(engine_write_blk(e, p.src, 0, 1), 0);
	assert_int_equal(open_as(e, "src@v", true, &version), 0);
	assert_int_equal(share(e, p.dst, 0, version, 0, 3 * K), 3 * K);
	assert_int_equal(engine_blk_byte(e, p.dst, 0), p.want_src[0]);
	assert_int_equal(object_close(version), 0);
	pair_fini(&p);
}

/* ---- beside writes --------------------------------------------------------------------------- */

static void write_later(struct engine *e, struct handle *h, uint64_t blk, uint8_t byte,
			struct result *res)
{
	uint8_t data[K];
	struct pagevec pv;

	memset(data, byte, sizeof(data));
	pv = engine_payload(e, blk * K, data, sizeof(data));
	object_write(h, blk * K, &pv, engine_done_cb, res);
}

/*
 * While the source is on its way to the device: what was acknowledged before is cloned, what is
 * written meanwhile is not; writes of the destination wait and come after.
 */
static void writes_meanwhile(void **state)
{
	struct engine *e = *state;
	struct result to_src = {0};
	struct result to_dst = {0};
	struct shared shared;
	uint64_t calls;
	struct pair p;

	pair_init(&p, e, NBLKS * K, NBLKS * K, true);
	assert_int_equal(engine_write_blks(e, p.src, 0, ENGINE_WRITTEN_BLKS, 55), 0);
	memset(p.want_src, 55, ENGINE_WRITTEN_BLKS * K);
	calls = gate_dev_calls(e->gate, GATE_WRITE);
	gate_dev_hold(e->gate, GATE_WRITE);
	begin(e, &shared, p.dst, 0, p.src, 0, 30 * K);
	engine_wait_calls(e, GATE_WRITE, calls + 1);
	write_later(e, p.src, 1, 66, &to_src);
	write_later(e, p.dst, 2, 77, &to_dst);
	assert_int_equal(engine_wait(e, &to_src), 0);
	assert_false(to_dst.done || shared.res.done);
	gate_dev_open(e->gate, GATE_WRITE);
	assert_int_equal(engine_wait(e, &shared.res), 0);
	assert_int_equal(engine_wait(e, &to_dst), 0);
	memcpy(p.want_dst, p.want_src, 30 * K);
	memset(p.want_dst + 2 * K, 77, K);
	memset(p.want_src + K, 66, K);
	pair_assert(&p);
	pair_fini(&p);
}

/* Two into one object, a reset, and the other way round at the same time: each waits for its turn. */
static void many_at_once(void **state)
{
	struct engine *e = *state;
	struct shared shared[4];
	struct result back = {0};
	struct pair p;

	pair_init(&p, e, NBLKS * K, NBLKS * K, false);
	assert_int_equal(snapshot(e, "dst@v"), 0);
	assert_int_equal(engine_write_blk(e, p.dst, 0, 1), 0);
	begin(e, &shared[0], p.dst, 0, p.src, 0, 0);
	object_reset(e->objs, "dst@v", engine_info_cb, &back);
	begin(e, &shared[1], p.src, 10 * K + 5, p.dst, 5, 3 * K);
	begin(e, &shared[2], p.dst, 20 * K + 5, p.src, 5, 3 * K);
	begin(e, &shared[3], p.dst, 30 * K, p.dst, 0, 3 * K);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(engine_wait(e, &shared[i].res), 0);
	assert_int_equal(engine_wait(e, &back), 0);
	pair_fini(&p);
}

/* "src" has as many epochs on their way as may be, and something more that is not closed yet. */
static void fill_epochs(struct engine *e, struct pair *p, struct result fsyncs[2])
{
	gate_dev_hold(e->gate, GATE_SYNC);
	for (uint8_t i = 0; i < 2; i++) {
		assert_int_equal(engine_write_blk(e, p->src, 3, i), 0);
		object_fsync(p->src, engine_done_cb, &fsyncs[i]);
	}
	assert_int_equal(engine_write_blk(e, p->src, 3, 9), 0);
	memset(p->want_src + 3 * K, 9, K);
}

/*
 * The source's end is the destination's, so the last block is shared as a whole: what is written
 * behind it meanwhile is not in it, though the source has to wait for its turn to be committed.
 */
static void a_source_that_grows_meanwhile(void **state)
{
	struct engine *e = *state;
	struct result fsyncs[2] = {{0}, {0}};
	uint8_t more[100];
	struct shared shared;
	struct pair p;

	pair_init(&p, e, K, 10 * K + 100, true);
	fill_epochs(e, &p, fsyncs);
	begin(e, &shared, p.dst, 0, p.src, 0, 0);
	memset(more, 77, sizeof(more));
	assert_int_equal(engine_write(e, p.src, p.src_size, more, sizeof(more)), 0);
	assert_int_equal(engine_write_blk(e, p.src, 4, 78), 0);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &shared.res), 0);
	assert_int_equal(shared.len, p.src_size);
	memcpy(p.want_dst, p.want_src, p.src_size);
	p.dst_size = 11 * K;
	assert_int_equal(engine_resize(e, p.dst, p.dst_size, false), 0);
	memcpy(p.want_src + p.src_size, more, sizeof(more));
	memset(p.want_src + 4 * K, 78, K);
	p.src_size += sizeof(more);
	pair_assert(&p);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(engine_wait(e, &fsyncs[i]), 0);
	pair_fini(&p);
}

/* The source's content is replaced meanwhile: what is cloned is all of the old or all of the new. */
static void a_source_that_is_reset_meanwhile(void **state)
{
	struct engine *e = *state;
	struct result back = {0};
	struct shared shared;
	uint8_t byte;
	struct pair p;

	pair_init(&p, e, K, 10 * K + 100, true);
	memset(p.want_src, 5, p.src_size);
	assert_int_equal(engine_write(e, p.src, 0, p.want_src, p.src_size), 0);
	assert_int_equal(snapshot(e, "src@v"), 0);
	memset(p.want_src, 6, p.src_size);
	assert_int_equal(engine_write(e, p.src, 0, p.want_src, p.src_size), 0);
	assert_int_equal(engine_fsync(e, p.src), 0);
	gate_dev_hold(e->gate, GATE_SYNC);
	object_reset(e->objs, "src@v", engine_info_cb, &back);
	engine_settle(e);
	begin(e, &shared, p.dst, 7, p.src, 7, 9 * K);
	engine_settle(e);
	gate_dev_open(e->gate, GATE_SYNC);
	assert_int_equal(engine_wait(e, &shared.res), 0);
	assert_int_equal(engine_wait(e, &back), 0);
	byte = engine_blk_byte(e, p.dst, 1);
	memset(p.want_src, 5, p.src_size);
	memset(p.want_dst + 7, byte, 9 * K);
	p.dst_size = 9 * K + 7;
	assert_true(byte == 5 || byte == 6);
	pair_assert(&p);
	pair_fini(&p);
}

/* Each from the other at once: they take turns. */
static void two_that_clone_from_each_other(void **state)
{
	struct engine *e = *state;
	struct shared shared[6];
	struct pair p;

	pair_init(&p, e, NBLKS * K, NBLKS * K, false);
	for (size_t i = 0; i < 6; i++)
		begin(e, &shared[i], i % 2 ? p.dst : p.src, 5 + i * K, i % 2 ? p.src : p.dst,
		      5 + i * K, 3 * K);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(engine_wait(e, &shared[i].res), 0);
	pair_fini(&p);
}

static void refused_cb(void *ctx, int err, uint64_t len_bytes, uint64_t left_bytes)
{
	uint32_t *refused = ctx;

	(void)len_bytes;
	(void)left_bytes;
	assert_int_equal(err, -ERR_RANGE);
	(*refused)++;
}

/* Those that wait for their turn and end at once do not go deeper with each. */
static void very_many_that_are_refused(void **state)
{
	enum { N = 100000 };
	struct engine *e = *state;
	struct shared first;
	uint32_t refused = 0;
	struct pair p;

	pair_init(&p, e, K, K, false);
	begin(e, &first, p.dst, 0, p.src, 0, 0);
	for (uint32_t i = 0; i < N; i++)
		object_share(p.dst, 0, p.src, 2 * K, 0, refused_cb, &refused);
	assert_int_equal(engine_wait(e, &first.res), 0);
	assert_int_equal(refused, N);
	memcpy(p.want_dst, p.want_src, K);
	pair_assert(&p);
	pair_fini(&p);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* The commit fails: nothing has changed, and it can be done again. */
static void a_failed_commit_changes_nothing(void **state)
{
	struct engine *e = *state;
	struct pair p;

	pair_init(&p, e, NBLKS * K, NBLKS * K, true);
	for (uint64_t off = 0; off < 2; off++) {
		uint64_t before = engine_free_nblks(e);
		uint64_t generation = object_generation(p.dst);

		gate_dev_fail_upto(e->gate, GATE_SYNC, UINT64_MAX);
		assert_true(share(e, p.dst, off, p.src, off, 3 * K) < 0);
		gate_dev_fail_upto(e->gate, GATE_SYNC, 0);
		pair_assert(&p);
		/* that of the record that may yet be found is nobody's */
		assert_true(object_generation(p.dst) > generation + 1);
		assert_int_equal(engine_free_nblks(e), before);
		assert_int_equal(engine_fsync(e, p.dst), 0);
	}
	pair_share(&p, 5, 5, 3 * K);
	pair_fini(&p);
}

static void an_edge_that_cannot_be_read_fails_it(void **state)
{
	struct engine *e = *state;
	struct pair p;

	pair_init(&p, e, NBLKS * K, NBLKS * K, true);
	gate_dev_fail_upto(e->gate, GATE_READ, UINT64_MAX);
	assert_true(share(e, p.dst, 5, p.src, 5, 3 * K) < 0);
	assert_int_equal(share(e, p.dst, 5 * K, p.src, 5 * K, 3 * K), 3 * K);
	gate_dev_fail_upto(e->gate, GATE_READ, 0);
	memcpy(p.want_dst + 5 * K, p.want_src + 5 * K, 3 * K);
	pair_assert(&p);
	pair_fini(&p);
}

/* ---- large ones ------------------------------------------------------------------------------ */

/* What does not lie alike goes in pieces, each as large as a change may be. */
static void a_large_one_is_cut(void **state)
{
	struct engine *e = *state;
	struct handle *src = engine_create_open(e, "src", 10000 * K);
	struct handle *dst = engine_create_open(e, "dst", 0);
	struct shared shared;

	assert_int_equal(engine_write_blk(e, src, 0, 1), 0);
	assert_int_equal(engine_write_blk(e, src, 4095, 2), 0);
	assert_int_equal(engine_write_blk(e, src, 4096, 3), 0);
	begin(e, &shared, dst, K, src, 0, 0);
	assert_int_equal(engine_wait(e, &shared.res), 0);
	assert_int_equal(shared.len, 4096 * K);
	assert_int_equal(shared.left, (10000 - 4096) * K);
	assert_int_equal(object_size(dst), 4097 * K);
	assert_int_equal(engine_blk_byte(e, dst, 1), 1);
	assert_int_equal(engine_blk_byte(e, dst, 4096), 2);
	assert_int_equal(share(e, dst, K + 5, src, 5, 10000 * K - 10), 4097 * K - 5);
	assert_int_equal(engine_blk_byte(e, dst, 4097), 3);
	assert_int_equal(share(e, dst, 128 * K, src, 0, 0), 10000 * K);
	assert_int_equal(engine_blk_byte(e, dst, 128 + 4096), 3);
	assert_int_equal(object_close(src), 0);
	assert_int_equal(object_close(dst), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_untimed, engine_teardown)
	const struct CMUnitTest tests[] = {
	    T(any_range_of_dirty_objects),
	    T(any_range_of_committed_objects),
	    T(any_range_of_objects_that_end_within_a_block),
	    T(the_end_within_the_destination_keeps_what_follows),
	    T(the_last_block_is_shared_as_a_whole),
	    T(holes_are_cloned_as_holes),
	    T(what_is_shared_takes_no_space),
	    T(within_one_object),
	    T(in_reverse),
	    T(bad_ranges_are_refused),
	    T(a_version_is_a_source),
	    T(writes_meanwhile),
	    T(many_at_once),
	    T(a_source_that_grows_meanwhile),
	    T(a_source_that_is_reset_meanwhile),
	    T(two_that_clone_from_each_other),
	    T(very_many_that_are_refused),
	    T(a_failed_commit_changes_nothing),
	    T(an_edge_that_cannot_be_read_fails_it),
	    T(a_large_one_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
