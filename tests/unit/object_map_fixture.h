/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object_map_fixture.h: what an object is made of, as text, for tests of the engine.  A test includes it
 * once.
 */
#ifndef TESTS_UNIT_OBJECT_MAP_FIXTURE_H
#define TESTS_UNIT_OBJECT_MAP_FIXTURE_H

#include "tests/unit/object_fixture.h"

/* Waits until what was written before is in the map: a change behind it is. */
static void applied(struct engine *e, struct handle *h)
{
	struct result res = {0};

	assert_int_equal(engine_fsync(e, h), 0);
	object_set(e->objs, object_name(h), &(struct object_edit){.edits_len = 0}, engine_info_cb,
		   &res);
	assert_int_equal(engine_wait(e, &res), 0);
}

/*
 * What each block is, as a letter: '.' a hole, 'o' a zero, 'D' data that is dirty, 'S' shared, 'E'
 * exclusive.  In details no two neighbours are alike, unless they lie apart on the device.
 */
static const char *letters_of(struct engine *e, struct handle *h)
{
	static char text[ENGINE_RUNS_MAX + 1];
	struct result res = {0};
	size_t n = 0;

	assert_int_equal(engine_map(e, h, 0, UINT64_MAX, &res), 0);
	for (uint32_t i = 0; i < res.nruns; i++) {
		const struct object_run *run = &res.runs[i];
		char c = run->zero ? 'o' : '.';

		if (run->data)
			c = run->dirty ? 'D' : run->shared ? 'S' : 'E';
		assert_int_equal(run->dirty, c == 'o' || c == 'D');
		assert_int_equal(run->dev_bytes != 0, c == 'S' || c == 'E');
		assert_false(run->data && run->zero);
		if (i > 0 && n > 0 && text[n - 1] == c)
			assert_int_not_equal(res.runs[i - 1].dev_bytes + res.runs[i - 1].len_bytes,
					     run->dev_bytes);
		for (uint64_t k = 0; k < blk_count(run->len_bytes); k++) {
			assert_true(n < sizeof(text) - 1);
			text[n++] = c;
		}
	}
	text[n] = '\0';
	return text;
}

#define EXPECT(e, h, want) assert_string_equal(letters_of(e, h), want)

#endif
