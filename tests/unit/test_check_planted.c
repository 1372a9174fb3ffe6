/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker finds what it is for, and says what and where: each case plants one fault and looks for
 * the sentence about it.
 */
#include "tests/unit/check_planted.h"

static void find_planted(void **state)
{
	const struct planted *p = *state;
	struct fix_report report = {0};
	struct check_totals totals;
	struct world w;
	int n;

	world_open(&w);
	p->plant(&w);
	assert_int_equal(kv_write_commit(w.kv), 0);
	n = check_map(w.fix.map, fix_report, &report, &totals);
	if (n != p->n || !strstr(report.text, p->words))
		fail_msg("%d differences, not %d with \"%s\":\n%s", n, p->n, p->words, report.text);
	fix_close(&w.fix);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_LEN(planted)];

	for (size_t i = 0; i < ARRAY_LEN(planted); i++)
		tests[i] = (struct CMUnitTest){
		    .name = planted[i].name,
		    .test_func = find_planted,
		    .initial_state = &planted[i],
		};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
