/* SPDX-License-Identifier: BSD-2-Clause */
/* The command that gives an object copies of its own of what it shares with others: unshare. */
#include "client/cmd.h"

#include "client/out.h"
#include "client/progress.h"
#include "common/clock.h"
#include "common/size.h"

/* Between two looks at the progress. */
#define UNSHARE_STEP_BYTES (UINT64_C(16) << 20)

struct unshare {
	struct ctl *ctl;
	const char *name;
	int progress_fd; /* -1: none given */
	bool sync;
	uint64_t offset;
	uint64_t len; /* of the range within the object, once that is open */
	uint64_t copied;
};

static int unshare_steps(struct unshare *u, cow_object_t *obj, struct progress *progress)
{
	uint64_t done = 0;
	int err = 0;

	while (err == 0 && done < u->len) {
		uint64_t left = u->len - done;
		uint64_t step = left < UNSHARE_STEP_BYTES ? left : UNSHARE_STEP_BYTES;
		uint64_t copied;

		err = cow_unshare(obj, u->offset + done, step, &copied);
		u->copied += copied;
		done += step;
		if (err == 0)
			progress_update(progress, done, clock_now_ns());
	}
	return err == 0 && u->sync ? cow_fsync(obj) : err;
}

/* What was copied before a failure stays. */
static int unshare_run(struct unshare *u, cow_object_t *obj)
{
	uint64_t size = cow_object_size(obj);
	uint64_t most = u->offset < size ? size - u->offset : 0;
	struct progress progress;
	char text[SIZE_TEXT_MAX];
	int status = CTL_OK;
	int err;

	if (u->len > most)
		u->len = most;
	progress_start(&progress, progress_choose(u->progress_fd, u->ctl->quiet), u->progress_fd,
		       NULL, u->len, clock_now_ns());
	err = unshare_steps(u, obj, &progress);
	progress_end(&progress, err == 0);
	if (err < 0)
		status = ctl_fail_cow(u->ctl, err, u->name);
	ctl_remark(u->ctl, "copied %s of %s", size_format(text, u->copied), u->name);
	return status;
}

static int unshare_report(const struct unshare *u)
{
	json_object *obj;

	if (!u->ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(u->name));
	out_json_add(obj, "offset", json_object_new_uint64(u->offset));
	out_json_add(obj, "bytes", json_object_new_uint64(u->len));
	out_json_add(obj, "copied", json_object_new_uint64(u->copied));
	out_json_add(obj, "fsync", json_object_new_boolean(u->sync));
	return out_json_print(u->ctl, obj);
}

static int unshare_open(struct unshare *u)
{
	cow_object_t *obj;
	int status;
	int err = cow_open(u->ctl->cow, u->name, 0, &obj);

	if (err < 0)
		return ctl_fail_cow(u->ctl, err, u->name);
	status = unshare_run(u, obj);
	err = cow_close(obj);
	if (status == CTL_OK && err < 0)
		status = ctl_fail_cow(u->ctl, err, u->name);
	return status == CTL_OK ? unshare_report(u) : status;
}

int cmd_unshare(struct ctl *ctl)
{
	struct unshare u = {.ctl = ctl,
			    .name = ctl->args.operands[0],
			    .progress_fd = -1,
			    .sync = args_has(&ctl->args, ARGS_FSYNC)};
	const char *fd = ctl->args.values[ARGS_PROGRESS];
	int status = ctl_get_size(ctl, ARGS_OFFSET, 0, &u.offset);

	if (status == 0)
		status = ctl_get_size(ctl, ARGS_LENGTH, UINT64_MAX, &u.len);
	if (status == 0 && fd && progress_parse_fd(fd, &u.progress_fd) < 0)
		status = ctl_fail(ctl, CTL_USAGE, fd, "not an open descriptor");
	if (status == 0)
		status = ctl_connect(ctl);
	return status == 0 ? unshare_open(&u) : status;
}
