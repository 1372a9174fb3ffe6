/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/conformance/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/verbs_priv.h"
#include "tests/lib/must.h"

/* ---- arguments ------------------------------------------------------------------------------- */

void verbs_args_init(struct verbs_args *args, const struct script_line *line, unsigned int index,
		     const struct script_vars *vars)
{
	*args = (struct verbs_args){.vars = vars, .n = line->nwords};
	for (size_t i = 0; i < args->n; i++)
		args->words[i] = script_expand(line->words[i], index);
}

void verbs_args_done(struct verbs_args *args, const struct script_line *line)
{
	for (size_t i = 0; i < args->n; i++) {
		MUST(args->used[i], "line %u: nobody knows %s", line->number, args->words[i]);
		free(args->words[i]);
	}
}

const char *verbs_text(struct verbs_args *args, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < args->n; i++) {
		if (strncmp(args->words[i], key, len) == 0 && args->words[i][len] == '=') {
			args->used[i] = true;
			return args->words[i] + len + 1;
		}
	}
	return "";
}

uint64_t verbs_number(struct verbs_args *args, const char *key)
{
	const char *text = verbs_text(args, key);

	return text[0] ? script_number(args->vars, text) : 0;
}

/* What stands between commas; the pieces point into *copy, which is to be freed. */
size_t verbs_items(struct verbs_args *args, const char *key, char **copy, char *v[VERBS_ITEMS_MAX])
{
	char *save = NULL;
	size_t n = 0;

	*copy = strdup(verbs_text(args, key));
	MUST(*copy, "out of memory");
	for (char *p = strtok_r(*copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		MUST(n < VERBS_ITEMS_MAX, "%s", key);
		v[n++] = p;
	}
	return n;
}

/* The words of flags=; the table ends in a row without a word. */
unsigned int verbs_flags(struct verbs_args *args, const struct verbs_flag *table)
{
	char *copy, *v[VERBS_ITEMS_MAX];
	size_t n = verbs_items(args, "flags", &copy, v);
	unsigned int sum = 0;

	for (size_t i = 0; i < n; i++) {
		const struct verbs_flag *f = table;

		while (f->word && strcmp(f->word, v[i]) != 0)
			f++;
		MUST(f->word, "the flag %s", v[i]);
		sum |= f->value;
	}
	free(copy);
	return sum;
}

/* KEY=VALUE between commas; a KEY that stands alone has no value. */
void verbs_labels_get(struct verbs_args *args, const char *key, struct verbs_labels *labels)
{
	char *v[VERBS_ITEMS_MAX];

	labels->n = verbs_items(args, key, &labels->copy, v);
	for (size_t i = 0; i < labels->n; i++) {
		char *value = strchr(v[i], '=');

		if (value)
			*value++ = '\0';
		labels->v[i] = (struct cow_label){.key = v[i], .value = value};
	}
}

struct verbs_handle *verbs_handle_named(struct verbs_run *run, const char *name)
{
	for (size_t i = 0; i < run->nhandles; i++)
		if (strcmp(run->handles[i].name, name) == 0)
			return &run->handles[i];
	must_failed(__FILE__, __LINE__, "open", "the handle %s", name);
}

struct verbs_handle *verbs_handle_find(struct verbs_run *run, struct verbs_args *args,
				       const char *key)
{
	return verbs_handle_named(run, verbs_text(args, key));
}

cow_object_t *verbs_object(struct verbs_run *run, struct verbs_args *args)
{
	return verbs_handle_find(run, args, "handle")->obj;
}

/* ---- results --------------------------------------------------------------------------------- */

struct verbs_value *verbs_value_add(struct verbs_result *r, const char *key, enum verbs_kind kind)
{
	MUST(r->n < sizeof(r->values) / sizeof(r->values[0]), "too many values");
	r->values[r->n] = (struct verbs_value){.key = key, .kind = kind};
	return &r->values[r->n++];
}

void verbs_has_number(struct verbs_result *r, const char *key, uint64_t number)
{
	verbs_value_add(r, key, VERBS_NUMBER)->number = number;
}

void verbs_has_text(struct verbs_result *r, const char *key, const char *text)
{
	char *copy = strdup(text);

	MUST(copy, "out of memory");
	verbs_value_add(r, key, VERBS_TEXT)->text = copy;
}

void verbs_result_clear(struct verbs_result *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->values[i].text);
	r->n = 0;
}

static void has_labels(struct verbs_result *r, const struct cow_info *info)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	MUST(out, "out of memory");
	for (size_t i = 0; i < info->nlabels; i++)
		(void)fprintf(out, "%s%s=%s", i ? "," : "", info->labels[i].key,
			      info->labels[i].value);
	(void)fclose(out);
	verbs_value_add(r, "labels", VERBS_TEXT)->text = text;
}

/* Numbers with commas between them. */
void verbs_has_list(struct verbs_result *r, const char *key, const size_t *v, size_t n)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	MUST(out, "out of memory");
	for (size_t i = 0; i < n; i++)
		(void)fprintf(out, "%s%zu", i ? "," : "", v[i]);
	(void)fclose(out);
	verbs_value_add(r, key, VERBS_TEXT)->text = text;
}

void verbs_has_info(struct verbs_result *r, const struct cow_info *info)
{
	verbs_has_text(r, "name", info->name);
	verbs_has_number(r, "id", info->id);
	verbs_has_number(r, "size_bytes", info->size);
	verbs_has_number(r, "mapped_bytes", info->mapped);
	verbs_has_number(r, "generation", info->generation);
	verbs_has_number(r, "ctime_ns", info->ctime_ns);
	verbs_has_number(r, "mtime_ns", info->mtime_ns);
	verbs_has_number(r, "origin", info->origin);
	verbs_has_number(r, "parent", info->parent);
	verbs_has_number(r, "expires_ns", info->expires_ns);
	verbs_has_number(r, "reserved_bytes", info->reserved);
	verbs_has_number(r, "withheld_bytes", info->withheld);
	verbs_has_number(r, "nversions", info->nversions);
	verbs_has_number(r, "readonly", (uint64_t)info->readonly);
	has_labels(r, info);
}

int verbs_get_info(cow_t *cow, const char *name, struct verbs_result *r)
{
	struct cow_info info;
	int code = (int)VERBS_CALL(cow, cow_get_info, cow_aio_get_info, cow, name, &info);

	if (code == 0) {
		verbs_has_info(r, &info);
		cow_info_clear(&info);
	}
	return code;
}

int verbs_then_info(cow_t *cow, int code, const char *name, struct verbs_result *r)
{
	if (code == 0)
		(void)verbs_get_info(cow, name, r);
	return code;
}

/* ---- twins ----------------------------------------------------------------------------------- */

void verbs_twin_done(void *ctx, int64_t result)
{
	struct verbs_twin *twin = ctx;

	MUST(!twin->done, "a second callback");
	*twin = (struct verbs_twin){.done = true, .result = result};
}

int64_t verbs_twin_wait(cow_t *cow, int begun, const struct verbs_twin *twin)
{
	if (begun < 0) {
		MUST(cow_process(cow) == 0, "a callback of what was not begun");
		return begun;
	}
	while (!twin->done)
		MUST(cow_next_timeout_ms(cow) >= 0 && cow_wait(cow) >= 0, "nothing is under way");
	return twin->result;
}

/* ---- connections ----------------------------------------------------------------------------- */

/* Takes the handle out of the table, open or not. */
int verbs_handle_close(struct verbs_run *run, struct verbs_handle *h)
{
	int code = (int)VERBS_CALL(run->cow[h->conn], cow_close, cow_aio_close, h->obj);

	*h = run->handles[--run->nhandles];
	return code;
}

static void drop(struct verbs_run *run, unsigned int number)
{
	for (size_t i = run->nhandles; i > 0; i--)
		if (run->handles[i - 1].conn == number)
			(void)verbs_handle_close(run, &run->handles[i - 1]);
	cow_free(run->cow[number]);
	run->cow[number] = NULL;
}

void verbs_drop_all(struct verbs_run *run)
{
	for (unsigned int i = 1; i < VERBS_CONNS; i++)
		drop(run, i);
	free(run->handles);
	run->handles = NULL;
}

/* The first goes by the unix socket, the second by TCP, and so on. */
static int connect_as(struct verbs_run *run, unsigned int number, const char *agent)
{
	int kind = number % 2 == 1 ? DAEMON_UNIX : DAEMON_TCP;

	drop(run, number);
	run->cow[number] = cow_new();
	MUST(run->cow[number] && cow_set_agent(run->cow[number], agent) == 0, "cow_new");
	return cow_connect(run->cow[number], run->d.uri[kind]);
}

cow_t *verbs_conn(struct verbs_run *run, unsigned int number)
{
	MUST(number > 0 && number < VERBS_CONNS, "connection %u", number);
	if (!run->cow[number]) {
		MUST(number == 1, "connection %u has not said hello", number);
		MUST(connect_as(run, 1, "conform") == 0, "%s", cow_error(run->cow[1]));
	}
	return run->cow[number];
}

static int call_hello(struct verbs_run *run, unsigned int number, struct verbs_args *a,
		      struct verbs_result *r)
{
	const char *agent = verbs_text(a, "agent");
	struct cow_server server;
	int code = connect_as(run, number, agent[0] ? agent : "conform");

	if (code == 0)
		code = cow_get_server(run->cow[number], &server);
	if (code == 0) {
		verbs_has_number(r, "version", server.version);
		verbs_has_number(r, "block_bytes", server.block_size);
		verbs_has_number(r, "incarnation", server.incarnation);
	}
	return code;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Operations on a connection, and those that make or need one by its number. */
static const struct {
	const char *verb;
	int (*call)(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
	int (*by_number)(struct verbs_run *run, unsigned int number, struct verbs_args *a,
			 struct verbs_result *r);
} verbs[] = {
    {"check", verbs_call_check, NULL},
    {"children", verbs_call_children, NULL},
    {"clone", verbs_call_clone, NULL},
    {"clone_range", verbs_call_clone_range, NULL},
    {"close", verbs_call_close, NULL},
    {"create", verbs_call_create, NULL},
    {"extents", verbs_call_extents, NULL},
    {"fsync", verbs_call_fsync, NULL},
    {"hello", NULL, call_hello},
    {"info", verbs_call_info, NULL},
    {"list", verbs_call_list, NULL},
    {"open", NULL, verbs_call_open},
    {"ping", verbs_call_ping, NULL},
    {"read", verbs_call_read, NULL},
    {"reaping", verbs_call_reaping, NULL},
    {"remove", verbs_call_remove, NULL},
    {"rename", verbs_call_rename, NULL},
    {"reset", verbs_call_reset, NULL},
    {"resize", verbs_call_resize, NULL},
    {"service", verbs_call_service, NULL},
    {"set", verbs_call_set, NULL},
    {"snap", verbs_call_snap, NULL},
    {"statfs", verbs_call_statfs, NULL},
    {"unshare", verbs_call_unshare, NULL},
    {"usage", verbs_call_usage, NULL},
    {"verify", verbs_call_verify, NULL},
    {"versions", verbs_call_versions, NULL},
    {"diff", verbs_call_diff, NULL},
    {"tie", verbs_call_tie, NULL},
    {"fsync_all", verbs_call_fsync_all, NULL},
    {"clone_all", verbs_call_clone_all, NULL},
    {"readv", verbs_call_readv, NULL},
    {"writev", verbs_call_writev, NULL},
    {"fsync_if", verbs_call_fsync_if, NULL},
    {"write", verbs_call_write, NULL},
    {"write_all", verbs_call_write_all, NULL},
    {"zero", verbs_call_zero, NULL},
};

int verbs_call(struct verbs_run *run, const struct script_line *line, struct verbs_args *args,
	       struct verbs_result *result)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		int code;

		if (strcmp(verbs[i].verb, line->verb) != 0)
			continue;
		code = verbs[i].call ? verbs[i].call(run, verbs_conn(run, line->conn), args, result)
				     : verbs[i].by_number(run, line->conn, args, result);
		if (code < 0) {
			verbs_result_clear(result);
			verbs_has_text(result, "text", cow_error(run->cow[line->conn]));
		}
		return code;
	}
	must_failed(__FILE__, __LINE__, "known", "the verb %s", line->verb);
}
