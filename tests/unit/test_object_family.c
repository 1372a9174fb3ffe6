/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_object_family.c: an object, two clones of it and a clone of a clone: removed in
 * every order, before, while and after the others are written to.  Whoever is left is as it was, and
 * the space is exact: the checker recomputes it after each step, and in the end all is free.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "tests/lib/engine.h"

#define MEMBERS 4u
#define NBLKS	200u /* more than a leaf has */

/* When the others are written to, seen from the removal. */
enum when { BEFORE, DURING, AFTER };

static const char *const names[MEMBERS] = {"parent", "one", "two", "grandchild"};

struct family {
	struct engine *e;
	bool there[MEMBERS];
	uint8_t bytes[MEMBERS][NBLKS]; /* that fill each block */
	uint8_t next;		       /* byte that nobody has written yet */
};

static void write_some(struct family *f, unsigned int m)
{
	struct handle *h = engine_open(f->e, names[m]);

	f->next++;
	for (unsigned int blk = m; blk < NBLKS; blk += 5 + m) {
		assert_int_equal(engine_write_blk(f->e, h, blk, f->next), 0);
		f->bytes[m][blk] = f->next;
	}
	assert_int_equal(engine_fsync(f->e, h), 0);
	assert_int_equal(object_close(h), 0);
}

static void write_all(struct family *f)
{
	for (unsigned int m = 0; m < MEMBERS; m++)
		if (f->there[m])
			write_some(f, m);
}

static void derive(struct family *f, unsigned int from, unsigned int m)
{
	assert_int_equal(engine_clone(f->e, names[from], names[m]), 0);
	memcpy(f->bytes[m], f->bytes[from], NBLKS);
	f->there[m] = true;
	write_some(f, m);
}

static void family_make(struct family *f, struct engine *e)
{
	*f = (struct family){.e = e, .there = {true}};
	assert_int_equal(engine_create(e, names[0], NBLKS * BLK_BYTES), 0);
	write_some(f, 0);
	derive(f, 0, 1);
	derive(f, 0, 2);
	derive(f, 1, 3);
	write_some(f, 0);
}

static void family_verify(struct family *f)
{
	for (unsigned int m = 0; m < MEMBERS; m++) {
		struct handle *h;

		if (!f->there[m])
			continue;
		h = engine_open(f->e, names[m]);
		for (unsigned int blk = 0; blk < NBLKS; blk += 3)
			assert_int_equal(engine_blk_byte(f->e, h, blk), f->bytes[m][blk]);
		assert_int_equal(object_close(h), 0);
	}
}

static void family_remove(struct family *f, unsigned int m, enum when when)
{
	struct result gone = {0};

	if (when == BEFORE)
		write_all(f);
	f->there[m] = false;
	object_remove(f->e->objs, names[m], false, engine_done_cb, &gone);
	if (when == DURING)
		write_all(f);
	assert_int_equal(engine_wait(f->e, &gone), 0);
	if (when == AFTER)
		write_all(f);
	family_verify(f);
}

/* The order with this number, of the 24. */
static void order_of(unsigned int number, unsigned int order[MEMBERS])
{
	unsigned int left[MEMBERS] = {0, 1, 2, 3};

	for (unsigned int n = MEMBERS; n > 0; n--) {
		unsigned int at = number % n;

		number /= n;
		order[MEMBERS - n] = left[at];
		memmove(left + at, left + at + 1, (n - at - 1) * sizeof(left[0]));
	}
}

static void removed_in_every_order(struct engine *e, enum when when)
{
	uint64_t empty;

	engine_reap(e);
	empty = engine_free_nblks(e);
	for (unsigned int number = 0; number < 24; number++) {
		unsigned int order[MEMBERS];
		struct family f;

		order_of(number, order);
		family_make(&f, e);
		for (unsigned int i = 0; i < MEMBERS; i++)
			family_remove(&f, order[i], when);
		engine_reap(e);
		assert_int_equal(engine_free_nblks(e), empty);
		engine_check_online(e);
	}
}

static void removed_after_the_others_are_written(void **state)
{
	removed_in_every_order(*state, BEFORE);
}

static void removed_while_the_others_are_written(void **state)
{
	removed_in_every_order(*state, DURING);
}

static void removed_before_the_others_are_written(void **state)
{
	removed_in_every_order(*state, AFTER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(removed_after_the_others_are_written),
	    TEST(removed_while_the_others_are_written),
	    TEST(removed_before_the_others_are_written),
	};

	return cmocka_run_group_tests_name("object_family", tests, NULL, NULL);
}
