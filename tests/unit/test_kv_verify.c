/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_kv_verify.c: a file that LMDB has made is found sound whatever was done to it, with no page lost;
 * and one with a byte that is another is refused, or all entries are there as before, but for those whose
 * own bytes it was.
 */
#include "server/kv_verify.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/crc32c.h"
#include "tests/lib/caught.h"
#include "tests/lib/rnd.h"
#include "tests/unit/kv_fixture.h"

#define MAP_BYTES    (UINT64_C(16) << 20)
#define LARGE_BYTES  (UINT64_C(96) << 20)
#define PAGE	     4096u
#define NKEYS	     3000u
#define VAL_BYTES    24u
#define HEADER_TREES 40u  /* up to HEADER_PGNO */
#define HEADER_FREE  80u  /* the root of the tree of free pages */
#define HEADER_PGNO  136u /* of the last page that was ever used */
#define HEADER_TXN   144u

struct file {
	int fd;
	uint8_t *bytes;
	uint64_t len;
};

static struct file file_open(const struct kvfix *fix)
{
	struct file f = {.fd = open(fix->path, O_RDWR | O_CLOEXEC)};
	struct stat st;

	assert_true(f.fd >= 0 && fstat(f.fd, &st) == 0);
	f.len = (uint64_t)st.st_size;
	f.bytes = mmap(NULL, f.len, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	assert_true(f.bytes != MAP_FAILED);
	return f;
}

static void file_close(struct file *f)
{
	munmap(f->bytes, f->len);
	close(f->fd);
}

/* The one in force. */
static const uint8_t *file_header(const struct file *f)
{
	bool second = le64_get(f->bytes + PAGE + HEADER_TXN) > le64_get(f->bytes + HEADER_TXN);

	return f->bytes + (second ? PAGE : 0);
}

static uint64_t file_npages(const struct file *f)
{
	return le64_get(file_header(f) + HEADER_PGNO) + 1;
}

/* ---- tables whose values tell their keys ----------------------------------------------------- */

static void put_sealed(struct kv_txn *txn, enum kv_table table, uint64_t n)
{
	struct kvfix_key key = kvfix_key(n);
	uint8_t val[VAL_BYTES] = {0};

	le32_put(val, crc32c((uint32_t)table, key.bytes, sizeof(key.bytes)));
	kv_put(txn, table, kvfix_buf(&key), (struct kv_buf){.data = val, .len = sizeof(val)});
}

/* How many entries a table has, those with another key or value than they were put with included. */
static unsigned int count_entries(struct kv_env *env, enum kv_table table, unsigned int *bad)
{
	struct kv_buf key = {.data = "", .len = 1};
	uint8_t copy[KV_KEY_MAX];
	struct kv_txn *txn;
	struct kv_buf found;
	struct kv_buf val;
	unsigned int n = 0;

	assert_int_equal(kv_read_begin(env, &txn), 0);
	while (kv_find(txn, table, KV_GT, key, &found, &val) == 0) {
		if (found.len != 8 || val.len != VAL_BYTES ||
		    le32_get(val.data) != crc32c((uint32_t)table, found.data, 8))
			++*bad;
		memcpy(copy, found.data, found.len);
		key = (struct kv_buf){.data = copy, .len = found.len};
		n++;
	}
	kv_read_end(txn);
	return n;
}

static void fill(struct kvfix *fix, enum kv_table table, unsigned int n)
{
	for (unsigned int i = 0; i < n;) {
		struct kv_txn *txn = kvfix_stage(fix);

		for (unsigned int end = i + 1000; i < n && i < end; i++)
			put_sealed(txn, table, 2 * i);
		assert_int_equal(kv_stage_commit(txn), 0);
		kvfix_cut_and_fold(fix);
	}
}

/* ---- sound ----------------------------------------------------------------------------------- */

static void assert_sound(const struct kvfix *fix)
{
	int fd = open(fix->path, O_RDONLY | O_CLOEXEC);

	caught_clear();
	assert_int_equal(kv_verify(fd, true), 0);
	assert_string_equal(caught_text(), "");
	close(fd);
}

static void change_at_random(struct kvfix *fix, struct rnd *rnd, bool *has)
{
	struct kv_txn *txn = kvfix_stage(fix);
	enum kv_table table = (enum kv_table)(1 + rnd_below(rnd, 3));
	unsigned int n = (unsigned int)rnd_log(rnd, 600);

	for (unsigned int i = 0; i < n; i++) {
		uint64_t key = rnd_below(rnd, NKEYS);
		bool *there = &has[table * NKEYS + key];

		if (*there && rnd_one_in(rnd, 2)) {
			kvfix_del(txn, table, key);
			*there = false;
		} else {
			kvfix_put(txn, table, key, 1 + rnd_log(rnd, 2000));
			*there = true;
		}
	}
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(fix);
}

static void what_folds_make_is_sound(void **state)
{
	bool *has = calloc((size_t)KV_NTABLES * NKEYS, sizeof(*has));
	struct rnd rnd = rnd_stream(1);
	struct kvfix fix = {0};

	(void)state;
	assert_non_null(has);
	kvfix_open(&fix, MAP_BYTES);
	caught_begin();
	assert_sound(&fix);
	for (uint64_t n = rnd_count("TEST_FOLDS", 300); n > 0; n--) {
		change_at_random(&fix, &rnd, has);
		assert_sound(&fix);
		if (rnd_one_in(&rnd, 20))
			kvfix_reopen(&fix);
	}
	assert_int_equal(kv_verify_whole(fix.env), 0);
	caught_end();
	kvfix_close(&fix);
	free(has);
}

/* ---- damaged --------------------------------------------------------------------------------- */

/* Two tables, one of them with branches; pages that are free and hold what was there before. */
static void open_damaged(struct kvfix *fix, uint64_t map_bytes, unsigned int n)
{
	kvfix_open(fix, map_bytes);
	fill(fix, KV_NODE, n);
	fill(fix, KV_OBJ, 20);
	fill(fix, KV_OBJ, 21);
	kv_close(fix->env);
}

/* With the byte changed: refused, or every entry is there, and at most one of them is bad. */
static void judge(struct kvfix *fix, struct file *f, uint64_t at, uint8_t xor, unsigned int n)
{
	unsigned int bad = 0;
	int err;

	f->bytes[at] ^= xor;
	caught_clear();
	err = kv_open(fix->path, NULL, &fix->env);
	if (err) {
		assert_true(err == -ERR_PAGE || err_class(err) == ERR_FORMAT);
		assert_true(err != -ERR_PAGE || caught_has("map-page", "problem="));
	} else {
		assert_int_equal(count_entries(fix->env, KV_NODE, &bad), n);
		assert_int_equal(count_entries(fix->env, KV_OBJ, &bad), 21);
		assert_true(bad <= 1);
		kv_close(fix->env);
	}
	f->bytes[at] ^= xor;
}

/* Every byte of the headers; every one, or a share, of the pages' heads; of the others some. */
static bool is_chosen(const struct file *f, uint64_t at, struct rnd *rnd)
{
	uint64_t off = at % PAGE;

	if (at < 2 * PAGE)
		return off < 160 || rnd_one_in(rnd, 40);
	if (off < 16)
		return rnd_one_in(rnd, rnd_share());
	return rnd_one_in(rnd, rnd_share() * (off < le16_get(f->bytes + at - off + 12) ? 8 : 40));
}

static void another_byte_is_refused_or_harmless(void **state)
{
	struct rnd rnd = rnd_stream(2);
	struct kvfix fix = {0};
	unsigned int cases = 0;
	struct file f;

	(void)state;
	open_damaged(&fix, MAP_BYTES, NKEYS);
	f = file_open(&fix);
	caught_begin();
	for (uint64_t at = 0; at < file_npages(&f) * PAGE; at++) {
		if (!is_chosen(&f, at, &rnd))
			continue;
		judge(&fix, &f, at, (uint8_t)(1u << rnd_below(&rnd, 8)), NKEYS);
		cases++;
	}
	caught_end();
	print_message("%u cases\n", cases);
	file_close(&f);
	assert_int_equal(kv_open(fix.path, NULL, &fix.env), 0);
	kvfix_close(&fix);
}

static const uint8_t *entry_at(const struct file *f, uint64_t page, unsigned int i)
{
	const uint8_t *bytes = f->bytes + page * PAGE;

	return bytes + le16_get(bytes + 16 + 2 * i);
}

static bool is_page(const struct file *f, uint64_t page, uint16_t kind)
{
	return le64_get(f->bytes + page * PAGE) == page &&
	       le16_get(f->bytes + page * PAGE + 10) == kind;
}

/* Has every branch that leads to one page lead to another; how many there are. */
static unsigned int lead_elsewhere(struct file *f, uint64_t from, uint64_t to)
{
	unsigned int n = 0;

	for (uint64_t page = 2; page < file_npages(f); page++) {
		if (!is_page(f, page, 1))
			continue;
		for (unsigned int i = 0; i < (le16_get(f->bytes + page * PAGE + 12) - 16u) / 2;
		     i++) {
			uint8_t *at = (uint8_t *)(uintptr_t)entry_at(f, page, i);

			if (le48_get(at) != from)
				continue;
			le48_put(at, to);
			n++;
		}
	}
	return n;
}

/* Two states of a leaf: they begin with the same key. */
static bool are_alike(const struct file *f, uint64_t a, uint64_t b)
{
	return a != b && is_page(f, a, 2) && is_page(f, b, 2) &&
	       memcmp(entry_at(f, a, 0) + 6, entry_at(f, b, 0) + 6, 10) == 0;
}

/* The first entry whose value has pages of its own. */
static uint8_t *large_entry(const struct file *f)
{
	for (uint64_t page = 2; page < file_npages(f); page++) {
		if (!is_page(f, page, 2))
			continue;
		for (unsigned int i = 0; i < (le16_get(f->bytes + page * PAGE + 12) - 16u) / 2;
		     i++) {
			uint8_t *at = (uint8_t *)(uintptr_t)entry_at(f, page, i);

			if (le16_get(at + 4) == 1)
				return at;
		}
	}
	return NULL;
}

/* LMDB leaves a value its pages when it makes it shorter, as its lists of free pages often are. */
static void a_large_value_may_have_more_pages_than_it_needs(void **state)
{
	struct kvfix fix = {0};
	struct kv_txn *txn;
	struct file f;
	uint8_t *entry;

	(void)state;
	kvfix_open(&fix, MAP_BYTES);
	txn = kvfix_stage(&fix);
	kvfix_put(txn, KV_NODE, 1, 5000);
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(&fix);
	f = file_open(&fix);
	entry = large_entry(&f);
	assert_non_null(entry);
	assert_int_equal(le32_get(entry), 5000);
	caught_begin();
	le32_put(entry, 3000);
	assert_sound(&fix);
	le32_put(entry, 9000);
	assert_int_equal(kv_verify(f.fd, true), -ERR_PAGE);
	caught_end();
	file_close(&f);
	kvfix_close(&fix);
}

/* LMDB would take such a list twice, and with it the same pages. */
static void a_list_of_free_pages_of_no_commit_is_refused(void **state)
{
	struct kvfix fix = {0};
	struct file f;
	uint8_t *commit;

	(void)state;
	kvfix_open(&fix, MAP_BYTES);
	fill(&fix, KV_NODE, NKEYS);
	f = file_open(&fix);
	commit = (uint8_t *)(uintptr_t)entry_at(&f, le64_get(file_header(&f) + HEADER_FREE), 0) + 8;
	caught_begin();
	assert_sound(&fix);
	assert_true(le64_get(commit) > 1);
	le64_put(commit, 1);
	assert_sound(&fix);
	le64_put(commit, 0);
	assert_int_equal(kv_verify(f.fd, true), -ERR_PAGE);
	assert_true(caught_has("map-page", "table=free-pages"));
	caught_end();
	file_close(&f);
	kvfix_close(&fix);
}

/* It is sound by itself, and has the keys that it should have. */
static void an_older_state_of_a_page_is_refused(void **state)
{
	struct kvfix fix = {0};
	unsigned int cases = 0;
	struct kv_txn *txn;
	struct file f;

	(void)state;
	kvfix_open(&fix, MAP_BYTES);
	fill(&fix, KV_NODE, NKEYS);
	txn = kvfix_stage(&fix);
	kvfix_put(txn, KV_NODE, NKEYS, VAL_BYTES); /* there is one */
	assert_int_equal(kv_stage_commit(txn), 0);
	kvfix_cut_and_fold(&fix);
	f = file_open(&fix);
	caught_begin();
	assert_sound(&fix);
	for (uint64_t a = 2; a < file_npages(&f); a++) {
		for (uint64_t b = 2; b < file_npages(&f); b++) {
			if (!are_alike(&f, a, b) || lead_elsewhere(&f, a, b) == 0)
				continue;
			cases += kv_verify(f.fd, true) == -ERR_PAGE &&
				 caught_has("in use and free", NULL);
			(void)lead_elsewhere(&f, b, a);
			caught_clear();
		}
	}
	caught_end();
	assert_true(cases > 0);
	file_close(&f);
	kvfix_close(&fix);
}

/* One commit's header says that it is the one after the other's. */
static void an_older_header_that_says_it_is_newer_is_refused(void **state)
{
	struct kvfix fix = {0};
	struct file f;
	uint64_t newer;

	(void)state;
	open_damaged(&fix, MAP_BYTES, 100);
	f = file_open(&fix);
	newer = le64_get(f.bytes + HEADER_TXN);
	if (newer < le64_get(f.bytes + PAGE + HEADER_TXN)) {
		le64_put(f.bytes + HEADER_TXN, newer + 2);
	} else {
		le64_put(f.bytes + PAGE + HEADER_TXN, newer + 1);
	}
	caught_begin();
	assert_int_equal(kv_open(fix.path, NULL, &fix.env), -ERR_PAGE);
	assert_true(caught_has("map-page", "header of another commit"));
	caught_end();
	file_close(&f);
	fix.env = NULL;
	kvfix_close(&fix);
}

/* ---- a large file: its branches at each start, its leaves when they are asked for ------------ */

static uint64_t find_page(const struct file *f, uint16_t kind, struct rnd *rnd)
{
	for (;;) {
		uint64_t n = 2 + rnd_below(rnd, file_npages(f) - 2);

		if (le64_get(f->bytes + n * PAGE) == n &&
		    le16_get(f->bytes + n * PAGE + 10) == kind)
			return n;
	}
}

static void leaves_of_a_large_file_are_for_who_asks(void **state)
{
	struct rnd rnd = rnd_stream(3);
	struct kvfix fix = {0};
	unsigned int unasked = 0;
	unsigned int refused = 0;
	uint64_t at;
	struct file f;

	(void)state;
	kvfix_open(&fix, LARGE_BYTES);
	for (unsigned int i = 0; i < 9000; i += 500) {
		struct kv_txn *txn = kvfix_stage(&fix);

		for (unsigned int k = i; k < i + 500; k++)
			kvfix_put(txn, KV_NODE, k, 2000);
		assert_int_equal(kv_stage_commit(txn), 0);
		kvfix_cut_and_fold(&fix);
	}
	kvfix_reopen(&fix);
	caught_begin();
	f = file_open(&fix);
	assert_true(file_npages(&f) > KV_VERIFY_SMALL_PAGES);
	assert_sound(&fix);
	for (unsigned int i = 0; i < 20; i++) {
		at = find_page(&f, 2, &rnd) * PAGE + 12;
		f.bytes[at] ^= 2;
		unasked += kv_verify(f.fd, false) == -ERR_PAGE;
		refused += kv_verify_whole(fix.env) == -ERR_PAGE;
		f.bytes[at] ^= 2;
	}
	assert_true(unasked < 5);  /* those of LMDB's own lists: one in hundreds */
	assert_true(refused > 15); /* of a page that is free nobody asks: one in a hundred */
	refused = 0;
	for (unsigned int i = 0; i < 200; i++) {
		at = find_page(&f, 1, &rnd) * PAGE + rnd_below(&rnd, 16);
		f.bytes[at] ^= 4;
		refused += kv_verify(f.fd, false) == -ERR_PAGE;
		f.bytes[at] ^= 4;
	}
	assert_true(refused > 50);
	assert_sound(&fix);
	caught_end();
	file_close(&f);
	kvfix_close(&fix);
}

/* LMDB puts the old number into a header whose trees are those of a commit that failed. */
static void a_header_that_was_put_back_is_no_damage(void **state)
{
	struct kvfix fix = {0};
	struct file f;
	uint8_t *newer;
	uint8_t *older;

	(void)state;
	open_damaged(&fix, MAP_BYTES, 100);
	f = file_open(&fix);
	newer = f.bytes;
	older = f.bytes + PAGE;
	if (le64_get(newer + HEADER_TXN) < le64_get(older + HEADER_TXN)) {
		newer = older;
		older = f.bytes;
	}
	memcpy(older + HEADER_TREES, newer + HEADER_TREES, HEADER_PGNO - HEADER_TREES);
	assert_int_equal(kv_verify(f.fd, true), 0);
	le64_put(older + HEADER_TXN, le64_get(older + HEADER_TXN) - 2);
	caught_begin();
	assert_int_equal(kv_verify(f.fd, true), -ERR_PAGE);
	assert_true(caught_has("map-page", "headers of commits that do not follow"));
	caught_end();
	file_close(&f);
	fix.env = NULL;
	kvfix_close(&fix);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_folds_make_is_sound),
	    cmocka_unit_test(another_byte_is_refused_or_harmless),
	    cmocka_unit_test(a_large_value_may_have_more_pages_than_it_needs),
	    cmocka_unit_test(a_list_of_free_pages_of_no_commit_is_refused),
	    cmocka_unit_test(an_older_state_of_a_page_is_refused),
	    cmocka_unit_test(an_older_header_that_says_it_is_newer_is_refused),
	    cmocka_unit_test(a_header_that_was_put_back_is_no_damage),
	    cmocka_unit_test(leaves_of_a_large_file_are_for_who_asks),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
