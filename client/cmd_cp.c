/* SPDX-License-Identifier: BSD-2-Clause */
/* The command cp. */
#include "client/cmd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/end.h"
#include "client/out.h"
#include "client/place.h"
#include "common/clock.h"
#include "common/size.h"

/* How long undoing a failed copy waits for a server that has just been lost. */
#define CP_UNDO_TIMEOUT_MS 5000u

/* How often it asks again while the server still has the object open for the connection before. */
#define CP_UNDO_PAUSE_MS 20

struct cp {
	struct ctl *ctl;
	struct place from;
	struct place to;
	bool force;
	unsigned int flags; /* of cow_open() */
	int progress_fd;    /* -1: none given */
	uint64_t begin_ns;

	bool src_open;
	struct end_source src;
	struct end_sink dst;
	struct progress progress;
	struct copy_result result;
	struct copy_error error;
};

/* ---- arguments ------------------------------------------------------------------------------- */

static int cp_fail_same(const struct cp *cp)
{
	return ctl_fail(cp->ctl, CTL_USAGE, cp->from.name,
			"source and destination are the same object");
}

static int cp_check(const struct cp *cp)
{
	const struct ctl *ctl = cp->ctl;

	if (cp->from.kind != END_OBJECT && cp->to.kind != END_OBJECT)
		return ctl_fail(ctl, CTL_USAGE, NULL, "neither %s nor %s is an object",
				ctl->args.operands[0], ctl->args.operands[1]);
	if (!cp->from.uri && !cp->to.uri && place_is_same_name(&cp->from, &cp->to))
		return cp_fail_same(cp);
	if (cp->to.kind == END_STREAM && ctl->json)
		return ctl_fail(ctl, CTL_USAGE, NULL, "--json and data cannot share the output");
	return 0;
}

static int cp_parse(struct cp *cp, struct ctl *ctl)
{
	const char *fd = ctl->args.values[ARGS_PROGRESS];
	int err;

	memset(cp, 0, sizeof(*cp));
	cp->ctl = ctl;
	cp->force = args_has(&ctl->args, ARGS_FORCE);
	cp->flags = args_has(&ctl->args, ARGS_DIRECT) ? COW_OPEN_DIRECT : 0;
	cp->progress_fd = -1;
	if (fd && progress_parse_fd(fd, &cp->progress_fd) < 0)
		return ctl_fail(ctl, CTL_USAGE, fd, "not an open descriptor");
	err = place_parse(ctl, ctl->args.operands[0], &cp->from);
	if (err == 0)
		err = place_parse(ctl, ctl->args.operands[1], &cp->to);
	return err == 0 ? cp_check(cp) : err;
}

/* ---- the copy -------------------------------------------------------------------------------- */

static int cp_open_source(struct cp *cp)
{
	int err = 0;

	if (cp->from.kind == END_STREAM)
		end_open_stdin_source(&cp->src);
	else if (cp->from.kind == END_FILE)
		err = end_open_file_source(&cp->src, cp->from.name, &cp->error);
	else
		err = end_open_object_source(&cp->src, cp->from.cow, cp->from.name, cp->flags, 0,
					     UINT64_MAX, &cp->error);
	cp->src_open = err == 0;
	if (err < 0 && cp->from.kind == END_OBJECT && cp->error.status == CTL_NOT_FOUND &&
	    access(cp->from.name, F_OK) == 0)
		return copy_fail(&cp->error, CTL_NOT_FOUND, cp->from.name,
				 "no such object; to copy the file write ./%s", cp->from.name);
	return err;
}

static int cp_open_sink(struct cp *cp)
{
	uint64_t size = cp->src.size_known ? cp->src.size : 0;

	if (cp->to.kind == END_STREAM) {
		end_open_stdout_sink(&cp->dst);
		return 0;
	}
	if (ctl_catch_interrupts() < 0)
		return copy_fail(&cp->error, CTL_ERROR, NULL, "signals cannot be caught");
	if (cp->to.kind == END_FILE)
		return end_create_file_sink(&cp->dst, cp->to.name, size, cp->force, &cp->error);
	return end_create_object_sink(&cp->dst, cp->to.cow, cp->to.name, cp->flags, size, cp->force,
				      &cp->error);
}

static void cp_start_progress(struct cp *cp)
{
	bool data_on_terminal = cp->to.kind == END_STREAM && isatty(STDOUT_FILENO);
	bool quiet = cp->ctl->quiet || data_on_terminal;

	progress_start(&cp->progress, progress_choose(cp->progress_fd, quiet), cp->progress_fd,
		       NULL, cp->src.size_known ? cp->src.size : PROGRESS_UNKNOWN, clock_now_ns());
}

static int cp_run(struct cp *cp)
{
	int err = cp_open_source(cp);

	if (err == 0)
		err = cp_open_sink(cp);
	if (err < 0)
		return err;
	cp_start_progress(cp);
	err = copy_run(&cp->src.source, &cp->dst.sink, COPY_THREADS, COPY_CHUNK_BYTES,
		       &cp->progress, &cp->result, &cp->error);
	if (err == 0)
		err = end_finish_sink(&cp->dst, cp->result.total_bytes, true, &cp->error);
	progress_end(&cp->progress, err == 0);
	return err;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

/* The server ends the lost connection, and with it the handle, when it has come to see the end. */
static int cp_remove_again(struct cp *cp)
{
	cow_t *cow = cp->to.cow;
	uint64_t begin_ms = clock_now_ms();
	int err = cow_set_timeout(cow, CP_UNDO_TIMEOUT_MS);

	if (err == 0)
		err = cow_connect(cow, cp->to.uri ? cp->to.uri : cp->ctl->args.values[ARGS_URI]);
	if (err == 0)
		err = cow_remove(cow, cp->to.name);
	while (err == -COW_EBUSY && clock_now_ms() - begin_ms < CP_UNDO_TIMEOUT_MS) {
		(void)poll(NULL, 0, CP_UNDO_PAUSE_MS);
		err = cow_remove(cow, cp->to.name);
	}
	return err;
}

static void cp_undo_object(struct cp *cp)
{
	cow_t *cow = cp->to.cow;
	char text[CTL_MESSAGE_MAX];
	int err = cow_remove(cow, cp->to.name);

	if (err == -COW_ECONN)
		err = cp_remove_again(cp);
	if (err < 0 && err != -COW_ENOENT)
		(void)ctl_fail(cp->ctl, CTL_ERROR, cp->to.name,
			       "it is incomplete and could not be removed: %s",
			       ctl_cow_message(text, cow, err, cp->to.name));
}

/* What the copy made is not what was asked for: it goes away again. */
static void cp_undo(struct cp *cp)
{
	if (!cp->dst.created)
		return;
	if (cp->to.kind != END_FILE)
		cp_undo_object(cp);
	else if (unlink(cp->to.name) < 0 && errno != ENOENT)
		(void)ctl_fail(cp->ctl, CTL_ERROR, cp->to.name,
			       "it is incomplete and could not be removed: %s", strerror(errno));
}

static int cp_report(const struct cp *cp)
{
	double seconds = (double)(clock_now_ns() - cp->begin_ns) / 1e9;
	char total[SIZE_TEXT_MAX];
	char data[SIZE_TEXT_MAX];
	json_object *obj;

	ctl_remark(cp->ctl, "copied %s, %s of it data, in %.2f s",
		   size_format(total, cp->result.total_bytes),
		   size_format(data, cp->result.data_bytes), seconds);
	if (!cp->ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "source", out_json_text(cp->ctl->args.operands[0]));
	out_json_add(obj, "destination", out_json_text(cp->ctl->args.operands[1]));
	out_json_add(obj, "bytes", json_object_new_uint64(cp->result.total_bytes));
	out_json_add(obj, "data_bytes", json_object_new_uint64(cp->result.data_bytes));
	out_json_add(obj, "seconds", json_object_new_double(seconds));
	return out_json_print(cp->ctl, obj);
}

static int cp_close(struct cp *cp, int err)
{
	struct copy_error closing;

	if (cp->src_open)
		end_close_source(&cp->src);
	if (cp->dst.name && end_close_sink(&cp->dst, &closing) < 0 && err == 0) {
		cp->error = closing;
		return -1;
	}
	return err;
}

/* Between two objects both connections are there before anything is made. */
static int cp_connect(struct cp *cp)
{
	int err = place_connect(cp->ctl, &cp->from);

	if (err == 0)
		err = place_connect(cp->ctl, &cp->to);
	if (err == 0 && place_is_same(&cp->from, &cp->to))
		err = cp_fail_same(cp);
	return err;
}

static int cp_do(struct cp *cp)
{
	cp->begin_ns = clock_now_ns();
	if (cp_close(cp, cp_run(cp)) == 0)
		return cp_report(cp);
	(void)ctl_fail(cp->ctl, cp->error.status, cp->error.subject, "%s", cp->error.text);
	cp_undo(cp);
	ctl_die_of_interrupt();
	return cp->error.status;
}

int cmd_cp(struct ctl *ctl)
{
	struct cp cp;
	int err = cp_parse(&cp, ctl);

	if (err == 0)
		err = cp_connect(&cp);
	if (err == 0)
		err = cp_do(&cp);
	place_close(ctl, &cp.from);
	place_close(ctl, &cp.to);
	return err;
}
