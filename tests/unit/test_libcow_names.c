/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcow's calls on names, versions, lists, usage and the store, against a store in memory that does
 * what docs/protocol.md says.
 */
#include "client/cow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/names_fixture.h"

/* ---- versions -------------------------------------------------------------------------------- */

static void test_names_versions(void **state)
{
	struct cow_info *infos;
	struct cow_info info;
	struct fixture f;
	size_t n;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create(f.cow, "o", 4096), 0);
	assert_int_equal(cow_snap(f.cow, "o@b", NULL, 0), 0);
	assert_int_equal(cow_snap(f.cow, "o@a", NULL, 0), 0);
	expect_error(&f, cow_snap(f.cow, "o@a", NULL, 0), COW_EEXIST, "");
	expect_error(&f, cow_snap(f.cow, "none@a", NULL, 0), COW_ENOENT, "");
	expect_error(&f, cow_snap(f.cow, "o@", NULL, 0), COW_EINVAL, "an empty version");
	assert_int_equal(cow_get_info(f.cow, "o", &info), 0);
	assert_int_equal(info.nversions, 2);
	assert_int_equal(info.parent, 0);
	cow_info_clear(&info);
	assert_int_equal(cow_list_versions(f.cow, "o", &infos, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(infos[0].name, "o@a");
	assert_string_equal(infos[1].name, "o@b");
	assert_int_equal(infos[0].parent, 1);
	cow_list_free(infos, n);
	expect_error(&f, cow_list_versions(f.cow, "none", &infos, &n), COW_ENOENT, "");
	expect_error(&f, cow_list_versions(f.cow, "o@a", &infos, &n), COW_EINVAL, "'@'");
	assert_int_equal(cow_list(f.cow, NULL, &infos, &n), 0);
	assert_int_equal(n, 1);
	cow_list_free(infos, n);
	fixture_stop(&f);
}

static void test_names_version_is_opened_for_reading(void **state)
{
	cow_object_t *obj;
	struct fixture f;
	char buf[4];

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create(f.cow, "o", 4), 0);
	assert_int_equal(cow_open(f.cow, "o", 0, &obj), 0);
	assert_int_equal(cow_pwrite(obj, "old!", 4, 0), 4);
	assert_int_equal(cow_snap(f.cow, "o@v", NULL, 0), 0);
	assert_int_equal(cow_pwrite(obj, "new!", 4, 0), 4);
	assert_int_equal(cow_close(obj), 0);
	expect_error(&f, cow_open(f.cow, "o@v", 0, &obj), COW_EPERM, "read-only");
	assert_int_equal(cow_open(f.cow, "o@v", COW_OPEN_READONLY, &obj), 0);
	assert_int_equal(cow_pread(obj, buf, 4, 0), 4);
	assert_memory_equal(buf, "old!", 4);
	assert_int_equal(cow_close(obj), 0);
	expect_error(&f, cow_open(f.cow, "o@v@w", COW_OPEN_READONLY, &obj), COW_EINVAL, "'@'");
	fixture_stop(&f);
}

static void test_names_reset(void **state)
{
	struct cow_info info;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create(f.cow, "o", 100), 0);
	assert_int_equal(cow_snap(f.cow, "o@v", NULL, 0), 0);
	fake_store_find(f.st, "o")->info.size_bytes = 200;
	assert_int_equal(cow_reset(f.cow, "o@v", &info), 0);
	assert_string_equal(info.name, "o");
	assert_int_equal(info.size, 100);
	cow_info_clear(&info);
	assert_int_equal(cow_reset(f.cow, "o@v", NULL), 0);
	expect_error(&f, cow_reset(f.cow, "o", &info), COW_EINVAL, "not a version");
	expect_error(&f, cow_reset(f.cow, "o@none", &info), COW_ENOENT, "");
	fixture_stop(&f);
}

static void test_names_remove_with_versions(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create(f.cow, "o", 1), 0);
	assert_int_equal(cow_snap(f.cow, "o@a", NULL, 0), 0);
	assert_int_equal(cow_snap(f.cow, "o@b", NULL, 0), 0);
	expect_error(&f, cow_remove(f.cow, "o"), COW_EBUSY, "has versions");
	assert_int_equal(cow_remove(f.cow, "o@a"), 0);
	expect_error(&f, cow_remove_with(f.cow, "o", 2), COW_EINVAL, "flags");
	assert_int_equal(cow_remove_with(f.cow, "o", COW_REMOVE_VERSIONS), 0);
	assert_int_equal(f.st->count, 0);
	fixture_stop(&f);
}

static void test_names_rename(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(cow_create(f.cow, "a", 1), 0);
	assert_int_equal(cow_create(f.cow, "b", 2), 0);
	assert_int_equal(cow_snap(f.cow, "a@v", NULL, 0), 0);
	expect_error(&f, cow_rename(f.cow, "a", "b", 0), COW_EEXIST, "");
	expect_error(&f, cow_rename(f.cow, "a", "c", 2), COW_EINVAL, "flags");
	expect_error(&f, cow_rename(f.cow, "a", "c", COW_RENAME_EXCHANGE), COW_ENOENT, "");
	expect_error(&f, cow_rename(f.cow, "a", "", 0), COW_EINVAL, "the new name is empty");
	expect_error(&f, cow_rename(f.cow, "", "a", 0), COW_EINVAL, "the old name is empty");
	expect_error(&f, cow_rename(f.cow, "a", "-", COW_RENAME_EXCHANGE), COW_EINVAL,
		     "the second name begins");
	assert_int_equal(cow_rename(f.cow, "a@v", "a@w", 0), 0);
	assert_int_equal(cow_rename(f.cow, "a", "b", COW_RENAME_EXCHANGE), 0);
	assert_int_equal(fake_store_find(f.st, "b")->info.id, 1);
	assert_int_equal(fake_store_find(f.st, "a")->info.id, 2);
	assert_int_equal(cow_rename(f.cow, "b", "c", 0), 0);
	assert_non_null(fake_store_find(f.st, "c@w"));
	fixture_stop(&f);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void test_names_lists_come_in_pages(void **state)
{
	struct cow_info *infos;
	struct fixture f;
	char name[32];
	size_t n;

	(void)state;
	fixture_start(&f);
	f.st->list_max = 3;
	assert_int_equal(cow_create(f.cow, "o", 1), 0);
	for (unsigned int i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "o@v%u", i);
		assert_int_equal(cow_snap(f.cow, name, NULL, 0), 0);
		/* names that go down, so that the order is that of the ids */
		(void)snprintf(name, sizeof(name), "c%u", 9 - i);
		assert_int_equal(cow_clone(f.cow, "o", name), 0);
	}
	assert_int_equal(cow_clone(f.cow, "o@v3", "d"), 0);
	assert_int_equal(cow_list_versions(f.cow, "o", &infos, &n), 0);
	assert_int_equal(n, 10);
	assert_string_equal(infos[9].name, "o@v9");
	cow_list_free(infos, n);
	assert_int_equal(cow_list_children(f.cow, "o", &infos, &n), 0);
	assert_int_equal(n, 10);
	assert_string_equal(infos[0].name, "c9");
	assert_string_equal(infos[9].name, "c0");
	cow_list_free(infos, n);
	assert_int_equal(cow_list_children(f.cow, "o@v3", &infos, &n), 0);
	assert_int_equal(n, 1);
	assert_string_equal(infos[0].name, "d");
	cow_list_free(infos, n);
	expect_error(&f, cow_list_children(f.cow, "none", &infos, &n), COW_ENOENT, "");
	fixture_stop(&f);
}

static void expect_list(const struct fixture *f, const char *prefix, const char *label, size_t want)
{
	struct cow_info *infos;
	size_t n;

	assert_int_equal(cow_list_labelled(f->cow, prefix, label, &infos, &n), 0);
	assert_int_equal(n, want);
	cow_list_free(infos, n);
}

static void test_names_list_by_label(void **state)
{
	const struct cow_label web = {"role", "web"};
	const struct cow_label db = {"role", "db"};
	struct cow_info *infos;
	struct fixture f;
	char text[400];
	size_t n;

	(void)state;
	fixture_start(&f);
	assert_int_equal(
	    cow_create_with(f.cow, "a1", 1, &(struct cow_attrs){.labels = &web, .nlabels = 1}), 0);
	assert_int_equal(
	    cow_create_with(f.cow, "a2", 1, &(struct cow_attrs){.labels = &db, .nlabels = 1}), 0);
	assert_int_equal(
	    cow_create_with(f.cow, "b1", 1, &(struct cow_attrs){.labels = &web, .nlabels = 1}), 0);
	assert_int_equal(cow_create(f.cow, "b2", 1), 0);
	expect_list(&f, NULL, NULL, 4);
	expect_list(&f, "", "", 4);
	expect_list(&f, "a", NULL, 2);
	expect_list(&f, NULL, "role", 3);
	expect_list(&f, NULL, "role=web", 2);
	expect_list(&f, "a", "role=web", 1);
	memset(text, 'x', sizeof(text));
	text[320] = '\0';
	expect_error(&f, cow_list_labelled(f.cow, NULL, text, &infos, &n), COW_EINVAL, "label");
	text[256] = '\0';
	expect_error(&f, cow_list_labelled(f.cow, text, NULL, &infos, &n), COW_EINVAL, "prefix");
	fixture_stop(&f);
}

/* ---- many clones ----------------------------------------------------------------------------- */

#define MANY 192u /* three windows */

struct names {
	char text[MANY][16];
	const char *names[MANY];
	int results[MANY];
};

static void names_init(struct names *names)
{
	for (unsigned int i = 0; i < MANY; i++) {
		(void)snprintf(names->text[i], sizeof(names->text[i]), "c%u", i);
		names->names[i] = names->text[i];
		names->results[i] = 77;
	}
}

/* The server answers 64 at a time, the last one first: fewer in flight would meet the timeout. */
static void test_names_many_clones_with_64_in_flight(void **state)
{
	const struct cow_attrs attrs = {.ttl_ms = 1};
	struct fixture f;
	struct names names;

	(void)state;
	names_init(&names);
	fixture_start(&f);
	fake_store_add(f.st, "o", 1);
	f.st->clone_batch = 64;
	assert_int_equal(cow_clone_many(f.cow, "o", names.names, MANY, &attrs, names.results), 0);
	assert_int_equal(f.st->count, MANY + 1);
	for (unsigned int i = 0; i < MANY; i++) {
		assert_int_equal(names.results[i], 0);
		assert_int_not_equal(fake_store_find(f.st, names.names[i])->info.expires_ns, 0);
	}
	fixture_stop(&f);
}

static void test_names_many_clones_stop_at_a_failure(void **state)
{
	struct fixture f;
	struct names names;
	size_t made = 0;

	(void)state;
	names_init(&names);
	fixture_start(&f);
	fake_store_add(f.st, "o", 1);
	fake_store_add(f.st, "c70", 1);
	fake_store_add(f.st, "c71", 1);
	expect_error(&f, cow_clone_many(f.cow, "o", names.names, MANY, NULL, names.results),
		     COW_EEXIST, "exists already");
	assert_int_equal(names.results[70], -COW_EEXIST);
	assert_int_equal(names.results[71], -COW_EEXIST);
	assert_int_equal(names.results[69], 0);
	assert_int_equal(names.results[70 + 64], COW_CLONE_NOT_TRIED);
	assert_int_equal(names.results[MANY - 1], COW_CLONE_NOT_TRIED);
	for (unsigned int i = 0; i < MANY; i++)
		made += names.results[i] == 0;
	assert_int_equal(f.st->count, made + 3);
	assert_int_equal(f.st->requests[WIRE_OP_CLONE], made + 2);
	fixture_stop(&f);
}

static void test_names_many_clones_tell_the_first_failure(void **state)
{
	struct fixture f;
	struct names names;

	(void)state;
	names_init(&names);
	fixture_start(&f);
	fake_store_add(f.st, "o", 1);
	fake_store_add(f.st, "c3", 1);
	f.st->fail_status = COW_ENOSPC;
	(void)snprintf(f.st->fail_name, sizeof(f.st->fail_name), "c5");
	expect_error(&f, cow_clone_many(f.cow, "o", names.names, 10, NULL, names.results),
		     COW_EEXIST, "exists already");
	assert_int_equal(names.results[3], -COW_EEXIST);
	assert_int_equal(names.results[5], -COW_ENOSPC);
	assert_int_equal(names.results[4], 0);
	fixture_stop(&f);
}

static void test_names_many_clones_check_names_first(void **state)
{
	struct fixture f;
	struct names names;

	(void)state;
	names_init(&names);
	names.names[9] = "-bad";
	fixture_start(&f);
	fake_store_add(f.st, "o", 1);
	expect_error(&f, cow_clone_many(f.cow, "o", names.names, 10, NULL, names.results),
		     COW_EINVAL, "begins with");
	assert_int_equal(names.results[0], COW_CLONE_NOT_TRIED);
	assert_int_equal(names.results[9], -COW_EINVAL);
	expect_error(&f, cow_clone_many(f.cow, "o@", names.names, 9, NULL, names.results),
		     COW_EINVAL, "empty version");
	assert_int_equal(cow_clone_many(f.cow, "o", names.names, 0, NULL, names.results), 0);
	assert_int_equal(all_requests(&f), 0);
	fixture_stop(&f);
}

static void test_names_many_clones_without_a_connection(void **state)
{
	cow_t *cow = cow_new();
	struct names names;

	(void)state;
	names_init(&names);
	assert_int_equal(cow_clone_many(cow, "o", names.names, MANY, NULL, names.results),
			 -COW_ECONN);
	assert_string_equal(cow_error(cow), "not connected");
	assert_int_equal(names.results[0], -COW_ECONN);
	assert_int_equal(names.results[MANY - 1], COW_CLONE_NOT_TRIED);
	cow_free(cow);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void test_names_usage_of_a_set(void **state)
{
	const char *both[] = {"o", "o@v", "o"};
	struct cow_usage usage;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	fake_store_add(f.st, "o", 16384);
	fake_store_fill(f.st, "o", 4);
	assert_int_equal(cow_snap(f.cow, "o@v", NULL, 0), 0);
	fake_store_fill(f.st, "o", 1);
	assert_int_equal(cow_get_usage(f.cow, both, 1, &usage), 0);
	assert_int_equal(usage.mapped, 4 * 4096);
	assert_int_equal(usage.exclusive, 4096);
	assert_int_equal(cow_get_usage(f.cow, both, 3, &usage), 0);
	assert_int_equal(usage.mapped, 8 * 4096);
	assert_int_equal(usage.exclusive, 5 * 4096);
	expect_error(&f, cow_get_usage(f.cow, both, 0, &usage), COW_EINVAL, "1 to 4096");
	both[1] = "none";
	expect_error(&f, cow_get_usage(f.cow, both, 2, &usage), COW_ENOENT, "");
	both[1] = "a@";
	expect_error(&f, cow_get_usage(f.cow, both, 2, &usage), COW_EINVAL,
		     "name 2 of 2 has an empty version");
	fixture_stop(&f);
}

/* Names as long as they may be: more of them than one request takes are refused here. */
static void test_names_usage_of_long_names(void **state)
{
	static const char *specs[COW_USAGE_MAX + 1];
	struct cow_usage usage;
	char name[192];
	char spec[256];
	struct fixture f;

	(void)state;
	fixture_start(&f);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	(void)snprintf(spec, sizeof(spec), "%s@%063d", name, 1);
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		specs[i] = spec;
	fake_store_add(f.st, name, 1);
	assert_int_equal(cow_snap(f.cow, spec, NULL, 0), 0);
	assert_int_equal(cow_get_usage(f.cow, specs, 254, &usage), 0);
	expect_error(&f, cow_get_usage(f.cow, specs, 256, &usage), COW_EINVAL, "too long");
	expect_error(&f, cow_get_usage(f.cow, specs, COW_USAGE_MAX + 1, &usage), COW_EINVAL,
		     "1 to 4096");
	fixture_stop(&f);
}

static void test_names_usage_without_a_connection(void **state)
{
	const char *spec = "o";
	struct cow_usage usage;
	cow_t *cow = cow_new();

	(void)state;
	assert_int_equal(cow_get_usage(cow, &spec, 1, &usage), -COW_ECONN);
	cow_free(cow);
}

static void test_names_figures_of_the_store(void **state)
{
	struct cow_statfs st;
	struct fixture f;
	uint64_t bytes;

	(void)state;
	fixture_start(&f);
	f.st->reaping = 5000;
	f.st->reap_step = 4000;
	assert_int_equal(cow_get_statfs(f.cow, &st), 0);
	assert_int_equal(st.versions, 7);
	assert_int_equal(st.reaping, 5000);
	assert_int_equal(st.staged, 1 << 18);
	assert_int_equal(st.journal, 1 << 27);
	assert_int_equal(st.journal_used, 1 << 21);
	assert_int_equal(st.withheld, 1 << 24);
	assert_int_equal(cow_get_reaping(f.cow, &bytes), 0);
	assert_int_equal(bytes, 5000);
	assert_int_equal(cow_get_reaping(f.cow, &bytes), 0);
	assert_int_equal(bytes, 1000);
	fixture_stop(&f);
}

static void test_names_check(void **state)
{
	struct cow_report report;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	f.st->report = (struct msg_check_reply){
	    .differences = 3,
	    .objects = 4,
	    .nodes = 5,
	    .mapped_bytes = 6,
	    .shared_bytes = 7,
	    .free_bytes = 8,
	    .ntexts = 2,
	    .texts = {{"the first"}, {"the second"}},
	};
	assert_int_equal(cow_check(f.cow, &report), 0);
	assert_int_equal(report.differences, 3);
	assert_int_equal(report.objects, 4);
	assert_int_equal(report.nodes, 5);
	assert_int_equal(report.mapped, 6);
	assert_int_equal(report.shared, 7);
	assert_int_equal(report.free, 8);
	assert_int_equal(report.ntexts, 2);
	assert_string_equal(report.texts[0], "the first");
	assert_string_equal(report.texts[1], "the second");
	cow_report_clear(&report);
	f.st->report = (struct msg_check_reply){.differences = 0};
	assert_int_equal(cow_check(f.cow, &report), 0);
	assert_int_equal(report.ntexts, 0);
	cow_report_clear(&report);
	fixture_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names_versions),
	    cmocka_unit_test(test_names_version_is_opened_for_reading),
	    cmocka_unit_test(test_names_reset),
	    cmocka_unit_test(test_names_remove_with_versions),
	    cmocka_unit_test(test_names_rename),
	    cmocka_unit_test(test_names_lists_come_in_pages),
	    cmocka_unit_test(test_names_list_by_label),
	    cmocka_unit_test(test_names_many_clones_with_64_in_flight),
	    cmocka_unit_test(test_names_many_clones_stop_at_a_failure),
	    cmocka_unit_test(test_names_many_clones_tell_the_first_failure),
	    cmocka_unit_test(test_names_many_clones_check_names_first),
	    cmocka_unit_test(test_names_many_clones_without_a_connection),
	    cmocka_unit_test(test_names_usage_of_a_set),
	    cmocka_unit_test(test_names_usage_of_long_names),
	    cmocka_unit_test(test_names_usage_without_a_connection),
	    cmocka_unit_test(test_names_figures_of_the_store),
	    cmocka_unit_test(test_names_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
