/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands rm and snap rm. */
#include "client/cmd.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/out.h"
#include "client/progress.h"
#include "client/specs.h"
#include "common/clock.h"
#include "common/size.h"

struct rm {
	struct ctl *ctl;
	bool recursive;
	int progress_fd; /* -1: none given */
};

/* ---- -n -------------------------------------------------------------------------------------- */

static int rm_print_plan(const struct ctl *ctl, const struct specs *specs,
			 const struct specs_usage *usage)
{
	char size[SIZE_TEXT_MAX];
	json_object *names;
	json_object *obj;

	if (!ctl->json) {
		for (size_t i = 0; i < specs->n; i++)
			(void)printf("%s\n", specs->names[i]);
		(void)printf("would free %s%s\n", usage->exact ? "" : "at least ",
			     size_format(size, usage->usage.exclusive));
		return CTL_OK;
	}
	obj = out_json_new();
	names = json_object_new_array();
	for (size_t i = 0; i < specs->n; i++)
		(void)json_object_array_add(names, out_json_text(specs->names[i]));
	out_json_add(obj, "would_remove", names);
	out_json_add(obj, "would_free", json_object_new_uint64(usage->usage.exclusive));
	out_json_add(obj, "exact", json_object_new_boolean(usage->exact));
	return out_json_print(ctl, obj);
}

/* It fails for the operands for which the removal would, and goes on as that does. */
static int rm_plan(const struct rm *rm)
{
	struct ctl *ctl = rm->ctl;
	struct specs_usage usage = {.exact = true};
	struct specs specs;
	int found =
	    specs_collect(ctl, rm->recursive ? SPECS_WITH_VERSIONS : SPECS_REMOVABLE, &specs);
	int status = CTL_OK;

	if (specs.n > 0)
		status = specs_get_usage(ctl, &specs, &usage);
	if (status == CTL_OK && specs.n > 0)
		status = rm_print_plan(ctl, &specs, &usage);
	specs_clear(&specs);
	return found != CTL_OK ? found : status;
}

/* ---- removing -------------------------------------------------------------------------------- */

static uint64_t rm_count_versions(const struct rm *rm, const char *name)
{
	struct cow_info info;
	uint64_t n;

	if (!rm->recursive || cow_get_info(rm->ctl->cow, name, &info) < 0)
		return 0;
	n = info.nversions;
	cow_info_clear(&info);
	return n;
}

/* The question names them all: text to be freed, NULL when out of memory. */
static char *rm_question(const struct rm *rm)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	(void)fprintf(out, "remove");
	for (size_t i = 0; i < rm->ctl->args.noperands; i++) {
		const char *name = rm->ctl->args.operands[i];
		uint64_t nversions = rm_count_versions(rm, name);

		(void)fprintf(out, "%s %s", i > 0 ? "," : "", name);
		if (nversions > 0)
			(void)fprintf(out, " and its %" PRIu64 " version%s", nversions,
				      nversions == 1 ? "" : "s");
	}
	return fclose(out) == 0 ? text : NULL;
}

static int rm_fail(const struct rm *rm, int err, const char *name)
{
	struct rm with_versions = {.ctl = rm->ctl, .recursive = true};
	char text[CTL_MESSAGE_MAX];

	(void)ctl_cow_message(text, rm->ctl->cow, err, name);
	if (err == -COW_EBUSY && !rm->recursive && rm_count_versions(&with_versions, name) > 0)
		return ctl_fail(rm->ctl, CTL_BUSY, name, "%s (-r removes its versions too)", text);
	return ctl_fail(rm->ctl, ctl_exit_code(err), name, "%s", text);
}

/* What became of the operands: arrays of names, both NULL without --json. */
struct rm_names {
	json_object *removed;
	json_object *failed;
};

/* Each of them; the first failure gives the exit status. */
static int rm_all(const struct rm *rm, const struct rm_names *names)
{
	const struct ctl *ctl = rm->ctl;
	int status = CTL_OK;

	for (size_t i = 0; i < ctl->args.noperands; i++) {
		const char *name = ctl->args.operands[i];
		bool versions = rm->recursive && !strchr(name, '@');
		int err = cow_remove_with(ctl->cow, name, versions ? COW_REMOVE_VERSIONS : 0);
		json_object *array = err < 0 ? names->failed : names->removed;

		if (array)
			(void)json_object_array_add(array, out_json_text(name));
		if (err < 0) {
			int failed = rm_fail(rm, err, name);

			status = status == CTL_OK ? failed : status;
		}
	}
	return status;
}

/* ---- --wait ---------------------------------------------------------------------------------- */

/* How often it asks: soon at first, then less often. */
#define WAIT_FIRST_MS 5
#define WAIT_MOST_MS  250

/* So long it waits for a store that gives nothing back. */
#define WAIT_PATIENCE_MS 60000u

/* Others may remove things meanwhile: the least that was left yet is what counts. */
static int wait_run(const struct rm *rm, struct progress *progress, uint64_t total)
{
	unsigned int patience_ms = rm->ctl->timeout_ms > 0 ? rm->ctl->timeout_ms : WAIT_PATIENCE_MS;
	uint64_t since_ms = clock_now_ms();
	uint64_t least = total;
	uint64_t left = total;
	int pause_ms = WAIT_FIRST_MS;

	while (left > 0) {
		int err;

		if (clock_now_ms() - since_ms > patience_ms)
			return ctl_fail(rm->ctl, CTL_UNREACHABLE, NULL,
					"removed, but its space does not come back "
					"(--timeout=SEC waits longer)");
		(void)poll(NULL, 0, pause_ms);
		pause_ms = 2 * pause_ms < WAIT_MOST_MS ? 2 * pause_ms : WAIT_MOST_MS;
		err = cow_get_reaping(rm->ctl->cow, &left);
		if (err < 0)
			return ctl_fail_cow(rm->ctl, err, NULL);
		if (left >= least)
			continue;
		least = left;
		since_ms = clock_now_ms();
		progress_update(progress, total - least, clock_now_ns());
	}
	return CTL_OK;
}

static int rm_wait(const struct rm *rm)
{
	struct progress progress;
	uint64_t total;
	int status;
	int err = cow_get_reaping(rm->ctl->cow, &total);

	if (err < 0)
		return ctl_fail_cow(rm->ctl, err, NULL);
	progress_start(&progress, progress_choose(rm->progress_fd, rm->ctl->quiet), rm->progress_fd,
		       NULL, total, clock_now_ns());
	status = wait_run(rm, &progress, total);
	progress_end(&progress, status == CTL_OK);
	return status;
}

/* ---- the commands ---------------------------------------------------------------------------- */

static int rm_ask(const struct rm *rm)
{
	char *question = rm_question(rm);
	bool wanted;

	if (!question)
		return ctl_fail(rm->ctl, CTL_ERROR, NULL, "out of memory");
	wanted = ctl_confirm(rm->ctl, "%s", question);
	free(question);
	return wanted ? CTL_OK : ctl_fail(rm->ctl, CTL_ERROR, NULL, "nothing was removed");
}

static int rm_report(const struct ctl *ctl, const struct rm_names *names, bool waited)
{
	json_object *obj = out_json_new();

	out_json_add(obj, "removed", names->removed);
	out_json_add(obj, "failed", names->failed);
	out_json_add(obj, "waited", json_object_new_boolean(waited));
	return out_json_print(ctl, obj);
}

static int rm_run(const struct rm *rm)
{
	struct ctl *ctl = rm->ctl;
	bool wait = args_has(&ctl->args, ARGS_WAIT);
	struct rm_names names = {NULL, NULL};
	int printed = CTL_OK;
	int waited = CTL_OK;
	int status;

	if (ctl->json) {
		names.removed = json_object_new_array();
		names.failed = json_object_new_array();
	}
	status = rm_all(rm, &names);
	if (wait)
		waited = rm_wait(rm);
	if (ctl->json)
		printed = rm_report(ctl, &names, wait && waited == CTL_OK);
	if (status == CTL_OK)
		status = waited;
	return status != CTL_OK ? status : printed;
}

/* Options that do nothing together are not taken. */
static int rm_check_options(const struct ctl *ctl)
{
	const struct args *args = &ctl->args;

	if (args_has(args, ARGS_DRY_RUN) && args_has(args, ARGS_WAIT))
		return ctl_fail(ctl, CTL_USAGE, NULL,
				"-n removes nothing that --wait could wait for");
	if (args_has(args, ARGS_DRY_RUN) && args_has(args, ARGS_PROGRESS))
		return ctl_fail(ctl, CTL_USAGE, NULL,
				"-n removes nothing that --progress could be of");
	if (args_has(args, ARGS_PROGRESS) && !args_has(args, ARGS_WAIT))
		return ctl_fail(ctl, CTL_USAGE, NULL, "--progress is that of --wait: give both");
	return CTL_OK;
}

static int rm_begin(struct ctl *ctl, bool recursive)
{
	struct rm rm = {.ctl = ctl, .recursive = recursive, .progress_fd = -1};
	const char *fd = ctl->args.values[ARGS_PROGRESS];
	int status = rm_check_options(ctl);

	if (status != CTL_OK)
		return status;
	if (fd && progress_parse_fd(fd, &rm.progress_fd) < 0)
		return ctl_fail(ctl, CTL_USAGE, fd, "not an open descriptor");
	if (args_has(&ctl->args, ARGS_DRY_RUN)) {
		status = ctl_connect_patiently(ctl, SPECS_PATIENCE_SEC);
		return status != CTL_OK ? status : rm_plan(&rm);
	}
	status = ctl_connect(ctl);
	if (status == CTL_OK)
		status = rm_ask(&rm);
	return status != CTL_OK ? status : rm_run(&rm);
}

int cmd_rm(struct ctl *ctl)
{
	return rm_begin(ctl, args_has(&ctl->args, ARGS_RECURSIVE));
}

int cmd_snap_rm(struct ctl *ctl)
{
	for (size_t i = 0; i < ctl->args.noperands; i++)
		if (!strchr(ctl->args.operands[i], '@'))
			return ctl_fail(ctl, CTL_USAGE, ctl->args.operands[i],
					"not a version (OBJ@VERSION)");
	return rm_begin(ctl, false);
}
