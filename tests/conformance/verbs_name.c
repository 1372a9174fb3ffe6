/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verbs_name.c: operations on names, lists of them, and on the store as a whole.
 */
#include "tests/conformance/verbs_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"

/* ---- names ----------------------------------------------------------------------------------- */

int verbs_call_create(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r)
{
	const char *name = verbs_text(a, "name");
	struct verbs_labels labels;
	int code;

	(void)run;
	verbs_labels_get(a, "labels", &labels);
	code = (int)VERBS_CALL(cow, cow_create_with, cow_aio_create, cow, name,
			       verbs_number(a, "size_bytes"),
			       &(struct cow_attrs){.ttl_ms = verbs_number(a, "ttl_ms"),
						   .labels = labels.v,
						   .nlabels = labels.n,
						   .reserved = verbs_number(a, "reserved_bytes")});
	free(labels.copy);
	return verbs_then_info(cow, code, name, r);
}

int verbs_call_clone(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	const char *dst = verbs_text(a, "dst");
	struct verbs_labels labels;
	int code;

	(void)run;
	verbs_labels_get(a, "labels", &labels);
	code = (int)VERBS_CALL(cow, cow_clone_with, cow_aio_clone, cow, verbs_text(a, "src"), dst,
			       &(struct cow_attrs){.ttl_ms = verbs_number(a, "ttl_ms"),
						   .labels = labels.v,
						   .nlabels = labels.n});
	free(labels.copy);
	return verbs_then_info(cow, code, dst, r);
}

int verbs_call_snap(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	const char *name = verbs_text(a, "name");
	struct verbs_labels labels;
	int code;

	(void)run;
	verbs_labels_get(a, "labels", &labels);
	code = (int)VERBS_CALL(cow, cow_snap_with, cow_aio_snap, cow, name,
			       &(struct cow_attrs){.ttl_ms = verbs_number(a, "ttl_ms"),
						   .labels = labels.v,
						   .nlabels = labels.n});
	free(labels.copy);
	return verbs_then_info(cow, code, name, r);
}

int verbs_call_info(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	(void)run;
	return verbs_get_info(cow, verbs_text(a, "name"), r);
}

/* The info that a call has filled in. */
static int has_own_info(struct verbs_result *r, int code, struct cow_info *info)
{
	if (code == 0) {
		verbs_has_info(r, info);
		cow_info_clear(info);
	}
	return code;
}

int verbs_call_reset(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	struct cow_info info;

	(void)run;
	return has_own_info(
	    r, (int)VERBS_CALL(cow, cow_reset, cow_aio_reset, cow, verbs_text(a, "name"), &info),
	    &info);
}

int verbs_call_set(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	static const struct verbs_flag known[] = {
	    {"ttl", COW_SET_TTL},	    {"readonly", COW_SET_READONLY},
	    {"writable", COW_SET_WRITABLE}, {"replace", COW_SET_REPLACE},
	    {"reserved", COW_SET_RESERVED}, {NULL, 0}};
	struct verbs_labels edits, expect;
	struct cow_info info;
	int code;

	(void)run;
	verbs_labels_get(a, "edits", &edits);
	verbs_labels_get(a, "expect", &expect);
	code = (int)VERBS_CALL(cow, cow_set, cow_aio_set, cow, verbs_text(a, "name"),
			       &(struct cow_edit){.flags = verbs_flags(a, known),
						  .ttl_ms = verbs_number(a, "ttl_ms"),
						  .reserved = verbs_number(a, "reserved_bytes"),
						  .labels = edits.v,
						  .nlabels = edits.n,
						  .expect = expect.v,
						  .nexpect = expect.n},
			       &info);
	free(edits.copy);
	free(expect.copy);
	return has_own_info(r, code, &info);
}

int verbs_call_rename(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r)
{
	static const struct verbs_flag known[] = {{"exchange", COW_RENAME_EXCHANGE}, {NULL, 0}};

	(void)run;
	(void)r;
	return (int)VERBS_CALL(cow, cow_rename, cow_aio_rename, cow, verbs_text(a, "from"),
			       verbs_text(a, "to"), verbs_flags(a, known));
}

int verbs_call_remove(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r)
{
	static const struct verbs_flag known[] = {{"versions", COW_REMOVE_VERSIONS}, {NULL, 0}};

	(void)run;
	(void)r;
	return (int)VERBS_CALL(cow, cow_remove_with, cow_aio_remove, cow, verbs_text(a, "name"),
			       verbs_flags(a, known));
}

int verbs_call_clone_all(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			 struct verbs_result *r)
{
	struct cow_pair pairs[VERBS_ITEMS_MAX];
	char *copy, *v[VERBS_ITEMS_MAX];
	size_t n = verbs_items(a, "pairs", &copy, v);
	struct verbs_labels labels;
	int code;

	(void)run;
	(void)r;
	for (size_t i = 0; i < n; i++) {
		char *colon = strchr(v[i], ':');

		MUST(colon, "%s is no pair", v[i]);
		*colon = '\0';
		pairs[i] = (struct cow_pair){.spec = v[i], .name = colon + 1};
	}
	verbs_labels_get(a, "labels", &labels);
	code = (int)VERBS_CALL(cow, cow_group_clone, cow_aio_group_clone, cow, pairs, n,
			       &(struct cow_attrs){.ttl_ms = verbs_number(a, "ttl_ms"),
						   .labels = labels.v,
						   .nlabels = labels.n});
	free(labels.copy);
	free(copy);
	return code;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static int has_list(struct verbs_result *r, int code, struct cow_info *infos, size_t count)
{
	char *text = NULL;
	size_t len;
	FILE *out;

	if (code < 0)
		return code;
	out = open_memstream(&text, &len);
	MUST(out, "out of memory");
	for (size_t i = 0; i < count; i++)
		(void)fprintf(out, "%s%s", i ? "," : "", infos[i].name);
	(void)fclose(out);
	verbs_value_add(r, "names", VERBS_TEXT)->text = text;
	verbs_has_number(r, "count", count);
	verbs_has_number(r, "more", 0);
	if (count > 0)
		verbs_has_info(r, &infos[count - 1]);
	cow_list_free(infos, count);
	return 0;
}

int verbs_call_list(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	struct cow_info *infos = NULL;
	size_t count = 0;
	int code = (int)VERBS_CALL(cow, cow_list_labelled, cow_aio_list, cow,
				   verbs_text(a, "prefix"), verbs_text(a, "label"), &infos, &count);

	(void)run;
	return has_list(r, code, infos, count);
}

int verbs_call_versions(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			struct verbs_result *r)
{
	struct cow_info *infos = NULL;
	size_t count = 0;
	int code = (int)VERBS_CALL(cow, cow_list_versions, cow_aio_list_versions, cow,
				   verbs_text(a, "name"), &infos, &count);

	(void)run;
	return has_list(r, code, infos, count);
}

int verbs_call_children(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			struct verbs_result *r)
{
	struct cow_info *infos = NULL;
	size_t count = 0;
	int code = (int)VERBS_CALL(cow, cow_list_children, cow_aio_list_children, cow,
				   verbs_text(a, "name"), &infos, &count);

	(void)run;
	return has_list(r, code, infos, count);
}

/* ---- the store ------------------------------------------------------------------------------- */

int verbs_call_ping(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r)
{
	(void)run;
	(void)a;
	(void)r;
	return (int)VERBS_CALL(cow, cow_ping, cow_aio_ping, cow);
}

int verbs_call_statfs(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r)
{
	struct cow_statfs st;
	int code = (int)VERBS_CALL(cow, cow_get_statfs, cow_aio_get_statfs, cow, &st);

	(void)run;
	(void)a;
	if (code < 0)
		return code;
	verbs_has_number(r, "block_bytes", st.block_size);
	verbs_has_number(r, "total_bytes", st.total);
	verbs_has_number(r, "free_bytes", st.free);
	verbs_has_number(r, "reserved_bytes", st.reserved);
	verbs_has_number(r, "mapped_bytes", st.mapped);
	verbs_has_number(r, "meta_total_bytes", st.meta_total);
	verbs_has_number(r, "meta_used_bytes", st.meta_used);
	verbs_has_number(r, "objects", st.objects);
	verbs_has_number(r, "versions", st.versions);
	verbs_has_number(r, "reaping_bytes", st.reaping);
	verbs_has_number(r, "staged_bytes", st.staged);
	verbs_has_number(r, "journal_bytes", st.journal);
	verbs_has_number(r, "journal_used_bytes", st.journal_used);
	verbs_has_number(r, "withheld_bytes", st.withheld);
	return 0;
}

int verbs_call_usage(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	char *copy, *v[VERBS_ITEMS_MAX];
	size_t n = verbs_items(a, "names", &copy, v);
	struct cow_usage usage;
	int code = (int)VERBS_CALL(cow, cow_get_usage, cow_aio_get_usage, cow,
				   (const char *const *)v, n, &usage);

	(void)run;
	free(copy);
	if (code < 0)
		return code;
	verbs_has_number(r, "mapped_bytes", usage.mapped);
	verbs_has_number(r, "exclusive_bytes", usage.exclusive);
	return 0;
}

int verbs_call_reaping(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r)
{
	uint64_t bytes = 0;
	int code = (int)VERBS_CALL(cow, cow_get_reaping, cow_aio_get_reaping, cow, &bytes);

	(void)run;
	(void)a;
	verbs_has_number(r, "reaping_bytes", bytes);
	return code;
}

int verbs_call_check(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r)
{
	struct cow_report report;
	int code = (int)VERBS_CALL(cow, cow_check, cow_aio_check, cow, &report);

	(void)run;
	(void)a;
	if (code < 0)
		return code;
	verbs_has_number(r, "differences", report.differences);
	verbs_has_number(r, "objects", report.objects);
	verbs_has_number(r, "nodes", report.nodes);
	verbs_has_number(r, "mapped_bytes", report.mapped);
	verbs_has_number(r, "shared_bytes", report.shared);
	verbs_has_number(r, "free_bytes", report.free);
	verbs_has_number(r, "ntexts", report.ntexts);
	cow_report_clear(&report);
	return 0;
}

int verbs_call_service(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r)
{
	struct cow_service service;
	int code = (int)VERBS_CALL(cow, cow_get_service, cow_aio_get_service, cow, &service);
	char addrs[1024] = "";
	size_t len = 0;

	(void)run;
	(void)a;
	if (code < 0)
		return code;
	verbs_has_number(r, "incarnation", service.incarnation);
	verbs_has_number(r, "uptime_ms", service.uptime_ms);
	verbs_has_number(r, "nbd_tls", service.nbd_tls);
	verbs_has_number(r, "count", service.naddrs);
	verbs_has_text(r, "agent", service.agent);
	for (size_t i = 0; i < service.naddrs && len < sizeof(addrs); i++)
		len += (size_t)snprintf(addrs + len, sizeof(addrs) - len, "%s%s", i > 0 ? "," : "",
					service.addrs[i]);
	verbs_has_text(r, "addrs", addrs);
	cow_service_clear(&service);
	return 0;
}
