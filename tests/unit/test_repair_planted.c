/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each fault that the checker finds is mended, so that it finds nothing and each object is as before and
 * can be used, or it is said that it is not touched, and nothing is.
 */
#include "tests/unit/check_planted.h"
#include "tests/unit/repair_fixture.h"

/* So many sentences say so. */
static int says(const struct fix_report *report, const char *words)
{
	const char *at = report->text;
	int n = 0;

	while ((at = strstr(at, words))) {
		at += strlen(words);
		n++;
	}
	return n;
}

static int differences(struct world *w)
{
	struct fix_report report = {0};
	struct check_totals totals;
	int n = check_map(w->fix.map, fix_report, &report, &totals);

	assert_true(n >= 0);
	return n;
}

/* Every difference of the checker is said to be mended, and is. */
static void assert_mended(struct world *w, const struct planted *p, struct repair_result result)
{
	if (p->n != (int)result.mended || result.left != 0)
		fail_msg("%d mended and %d left of %d", (int)result.mended, (int)result.left, p->n);
	(void)fix_check(&w->fix);
	repair_live_on(&w->fix);
}

static void assert_left(struct world *w, const struct planted *p, struct repair_result result,
			bool same)
{
	if (result.mended != 0 || p->n != (int)result.left || !same)
		fail_msg("%d mended and %d left of %d, %s", (int)result.mended, (int)result.left,
			 p->n, same ? "the same" : "not the same");
	assert_int_equal(differences(w), p->n);
}

static void mend_planted(void **state)
{
	const struct planted *p = *state;
	struct repair_result result;
	struct fix_report report;
	struct readings readings;
	struct dump behind;
	struct dump before;
	struct world w;

	world_open(&w);
	p->plant(&w);
	assert_int_equal(kv_write_commit(w.kv), 0);
	readings = read_objects(w.fix.map);
	before = dump_map(w.fix.map);
	result = repair(w.fix.map, &report);
	behind = dump_map(w.fix.map);
	assert_same_readings(w.fix.map, &readings);
	assert_int_equal(says(&report, ": mended\n"), result.mended);
	assert_int_equal(says(&report, ": not touched: "), result.left);
	assert_repaired(w.fix.map, result.left);
	if (p->outcome == MENDED)
		assert_mended(&w, p, result);
	else if (p->outcome == LEFT)
		assert_left(&w, p, result, dump_same(&before, &behind));
	else
		assert_true(result.mended > 0 && result.left > 0);
	dump_fini(&before);
	dump_fini(&behind);
	fix_close(&w.fix);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_LEN(planted)];

	repair_in_memory();
	for (size_t i = 0; i < ARRAY_LEN(planted); i++)
		tests[i] = (struct CMUnitTest){
		    .name = planted[i].name,
		    .test_func = mend_planted,
		    .initial_state = &planted[i],
		};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
