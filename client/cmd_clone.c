/* SPDX-License-Identifier: BSD-2-Clause */
/* The command clone: one, or many of a pattern. */
#include "client/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/attrs.h"
#include "client/out.h"
#include "client/pattern.h"
#include "client/progress.h"
#include "common/clock.h"
#include "common/name.h"

#define CLONE_COUNT_MAX 1000000u

/* The one name that the error is about; NULL if it is about none. */
static const char *clone_culprit(int err, const char *src, const char *dst)
{
	if (err == -COW_EINVAL && name_spec_problem(src))
		return src;
	if (err == -COW_EINVAL)
		return name_spec_problem(dst) ? dst : NULL;
	if (err != -COW_ENOENT)
		return dst;
	return strchr(dst, '@') ? NULL : src; /* else the message says which of the two */
}

static int clone_one(struct ctl *ctl, const struct cow_attrs *attrs)
{
	const char *src = ctl->args.operands[0];
	const char *dst = ctl->args.operands[1];
	json_object *obj;
	int err = cow_clone_with(ctl->cow, src, dst, attrs);

	if (err == -COW_EINVAL && strchr(dst, '%'))
		return ctl_fail(ctl, CTL_USAGE, dst, "a pattern needs -N COUNT");
	if (err < 0)
		return ctl_fail_cow(ctl, err, clone_culprit(err, src, dst));
	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(dst));
	out_json_add(obj, "origin", out_json_text(src));
	return out_json_print(ctl, obj);
}

/* ---- many ------------------------------------------------------------------------------------ */

/* So many are begun before it looks for an interrupt and shows how far it is. */
#define CLONES_PIECE 1024u

struct clones {
	const char *src;
	char **names;
	int *results; /* of cow_clone_many() */
	size_t n;
	int progress_fd; /* -1: none given */
	bool interrupted;
};

static void clones_free(struct clones *clones)
{
	for (size_t i = 0; clones->names && i < clones->n; i++)
		free(clones->names[i]);
	free(clones->names);
	free(clones->results);
}

static int clones_make(struct clones *clones, const char *src, const struct pattern *pattern,
		       size_t n)
{
	clones->src = src;
	clones->n = n;
	clones->names = calloc(n, sizeof(*clones->names));
	clones->results = calloc(n, sizeof(*clones->results));
	if (!clones->names || !clones->results)
		return -1;
	for (size_t i = 0; i < n; i++) {
		clones->results[i] = COW_CLONE_NOT_TRIED;
		clones->names[i] = pattern_name(pattern, i);
		if (!clones->names[i])
			return -1;
	}
	return 0;
}

static bool clones_was_made(int result)
{
	return result == 0;
}

static bool clones_has_failed(int result)
{
	return result < 0;
}

/* "vm0 to vm6, vm8": those with such a result; "none". */
static void clones_print_ranges(FILE *out, const struct clones *clones, bool (*is)(int result))
{
	bool first = true;

	for (size_t i = 0; i < clones->n; i++) {
		size_t begin = i;

		if (!is(clones->results[i]))
			continue;
		while (i + 1 < clones->n && is(clones->results[i + 1]))
			i++;
		(void)fprintf(out, "%s%s", first ? "" : ", ", clones->names[begin]);
		if (i > begin)
			(void)fprintf(out, " to %s", clones->names[i]);
		first = false;
	}
	if (first)
		(void)fprintf(out, "none");
}

static bool clones_have(const struct clones *clones, bool (*is)(int result))
{
	size_t i = 0;

	while (i < clones->n && !is(clones->results[i]))
		i++;
	return i < clones->n;
}

/* What was made stays, so it is told which that is. */
static void clones_tell(const struct ctl *ctl, const struct clones *clones, int status)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	(void)fprintf(out, clones->interrupted ? "interrupted" : "failed: ");
	if (!clones->interrupted)
		clones_print_ranges(out, clones, clones_has_failed);
	(void)fprintf(out, "; made: ");
	clones_print_ranges(out, clones, clones_was_made);
	if (fclose(out) == 0)
		(void)ctl_fail(ctl, status, NULL, "%s", text);
	free(text);
}

static int clones_fail(const struct ctl *ctl, const struct clones *clones, int err)
{
	size_t i = 0;
	int status;

	while (i < clones->n && !clones_has_failed(clones->results[i]))
		i++;
	status = ctl_fail_cow(ctl, err,
			      i < clones->n ? clone_culprit(err, clones->src, clones->names[i])
					    : clones->src);
	/* of what was refused as a whole there is no more to say */
	if (err != -COW_EINVAL || clones_have(clones, clones_was_made))
		clones_tell(ctl, clones, status);
	return status;
}

static int clones_report(const struct ctl *ctl, const struct clones *clones)
{
	json_object *obj = out_json_new();
	json_object *made = json_object_new_array();
	json_object *failed = json_object_new_array();

	for (size_t i = 0; i < clones->n; i++) {
		if (clones_was_made(clones->results[i]))
			(void)json_object_array_add(made, out_json_text(clones->names[i]));
		else if (clones_has_failed(clones->results[i]))
			(void)json_object_array_add(failed, out_json_text(clones->names[i]));
	}
	out_json_add(obj, "names", made);
	out_json_add(obj, "failed", failed);
	out_json_add(obj, "origin", out_json_text(clones->src));
	return out_json_print(ctl, obj);
}

/* 0, also when it was interrupted, or the code of the first that failed. */
static int clones_run(const struct ctl *ctl, struct clones *clones, const struct cow_attrs *attrs)
{
	struct progress progress;
	size_t begun = 0;
	int err = 0;

	progress_start(&progress, progress_choose(clones->progress_fd, ctl->quiet),
		       clones->progress_fd, "clones", clones->n, clock_now_ns());
	while (err == 0 && begun < clones->n && ctl_interrupted() == 0) {
		size_t left = clones->n - begun;
		size_t n = left < CLONES_PIECE ? left : CLONES_PIECE;

		err = cow_clone_many(ctl->cow, clones->src,
				     (const char *const *)clones->names + begun, n, attrs,
				     clones->results + begun);
		begun += n;
		if (err == 0)
			progress_update(&progress, begun, clock_now_ns());
	}
	clones->interrupted = err == 0 && ctl_interrupted() != 0;
	progress_end(&progress, err == 0 && !clones->interrupted);
	return err;
}

static int clones_do(const struct ctl *ctl, struct clones *clones, const struct cow_attrs *attrs)
{
	int status = CTL_OK;
	int printed = CTL_OK;
	int err;

	if (ctl_catch_interrupts() < 0)
		return ctl_fail(ctl, CTL_ERROR, NULL, "signals cannot be caught");
	err = clones_run(ctl, clones, attrs);
	if (err < 0)
		status = clones_fail(ctl, clones, err);
	else if (clones->interrupted)
		clones_tell(ctl, clones, CTL_ERROR);
	if (ctl->json)
		printed = clones_report(ctl, clones);
	if (clones->interrupted) {
		printed = out_finish(ctl);
		ctl_die_of_interrupt();
	}
	return status != CTL_OK ? status : printed;
}

/*
 * The names differ in their numbers, so that they are all good if the last one is, which is the
 * longest.  To be found before the first clone is made.
 */
static int clones_check(const struct ctl *ctl, const struct clones *clones)
{
	const char *last = clones->names[clones->n - 1];
	const char *problem = name_spec_problem(last);

	return problem ? ctl_fail(ctl, CTL_ERROR, last, "the object's name %s", problem) : 0;
}

static int clone_count(const struct ctl *ctl, size_t *count)
{
	const char *text = ctl->args.values[ARGS_COPIES];
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || text[0] < '0' || text[0] > '9' || *end || n < 1 || n > CLONE_COUNT_MAX)
		return ctl_fail(ctl, CTL_USAGE, text, "not a number from 1 to %u", CLONE_COUNT_MAX);
	*count = n;
	return 0;
}

static int clone_progress(const struct ctl *ctl, int *fd)
{
	const char *text = ctl->args.values[ARGS_PROGRESS];

	*fd = -1;
	if (text && progress_parse_fd(text, fd) < 0)
		return ctl_fail(ctl, CTL_USAGE, text, "not an open descriptor");
	return 0;
}

static int clone_many(struct ctl *ctl, const struct cow_attrs *attrs)
{
	const char *text = ctl->args.operands[1];
	struct clones clones = {.n = 0};
	struct pattern pattern;
	size_t count = 0;
	int err = clone_count(ctl, &count);

	if (err == 0 && pattern_parse(text, &pattern) < 0)
		err = ctl_fail(ctl, CTL_USAGE, text,
			       "a pattern has one %%d, or %%03d, where the number goes");
	if (err == 0)
		err = clone_progress(ctl, &clones.progress_fd);
	if (err != 0)
		return err;
	if (clones_make(&clones, ctl->args.operands[0], &pattern, count) < 0)
		err = ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	else
		err = clones_check(ctl, &clones);
	if (err == 0)
		err = ctl_connect(ctl);
	if (err == 0)
		err = clones_do(ctl, &clones, attrs);
	clones_free(&clones);
	return err;
}

int cmd_clone(struct ctl *ctl)
{
	struct attrs attrs;
	int err = attrs_get(ctl, &attrs);

	if (err != 0)
		return err;
	if (args_has(&ctl->args, ARGS_COPIES))
		return clone_many(ctl, &attrs.cow);
	if (args_has(&ctl->args, ARGS_PROGRESS))
		return ctl_fail(ctl, CTL_USAGE, NULL, "--progress is of many clones: -N COUNT");
	err = ctl_connect(ctl);
	return err != 0 ? err : clone_one(ctl, &attrs.cow);
}
