/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that stream data from and into an object, that make zeros of it, and that share a range of
 * it: cat, write, zero, trim, clone-range. */
#include "client/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/end.h"
#include "client/out.h"

/* For cow_open(). */
static unsigned int data_flags(const struct ctl *ctl)
{
	return args_has(&ctl->args, ARGS_DIRECT) ? COW_OPEN_DIRECT : 0;
}

static int data_fail(const struct ctl *ctl, const struct copy_error *error)
{
	return ctl_fail(ctl, error->status, error->subject, "%s", error->text);
}

int cmd_cat(struct ctl *ctl)
{
	struct progress progress = {.kind = PROGRESS_NONE};
	struct end_source src;
	struct end_sink dst;
	struct copy_result result;
	struct copy_error error;
	uint64_t offset, len;
	int err = ctl_get_size(ctl, ARGS_OFFSET, 0, &offset);

	if (err == 0)
		err = ctl_get_size(ctl, ARGS_LENGTH, UINT64_MAX, &len);
	if (err == 0 && ctl->json)
		err = ctl_fail(ctl, CTL_USAGE, NULL, "--json and data cannot share the output");
	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	if (end_open_object_source(&src, ctl->cow, ctl->args.operands[0], data_flags(ctl), offset,
				   len, &error) < 0)
		return data_fail(ctl, &error);
	end_open_stdout_sink(&dst);
	err = copy_run(&src.source, &dst.sink, COPY_THREADS, COPY_CHUNK_BYTES, &progress, &result,
		       &error);
	end_close_source(&src);
	return err < 0 ? data_fail(ctl, &error) : CTL_OK;
}

static int range_report(const struct ctl *ctl, uint64_t offset, uint64_t bytes, bool sync)
{
	json_object *obj;

	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(ctl->args.operands[0]));
	out_json_add(obj, "offset", json_object_new_uint64(offset));
	out_json_add(obj, "bytes", json_object_new_uint64(bytes));
	out_json_add(obj, "fsync", json_object_new_boolean(sync));
	return out_json_print(ctl, obj);
}

/* One thread, so that the data arrives in order: what is there after a failure has no gaps. */
static int write_stream(struct end_sink *dst, bool sync, struct copy_result *result,
			struct copy_error *error)
{
	struct progress progress = {.kind = PROGRESS_NONE};
	struct copy_error closing;
	struct end_source src;
	int err;

	end_open_stdin_source(&src);
	err = copy_run(&src.source, &dst->sink, 1, COPY_WRITE_BYTES, &progress, result, error);
	if (err == 0)
		err = end_finish_sink(dst, result->total_bytes, sync, error);
	if (end_close_sink(dst, &closing) < 0 && err == 0) {
		*error = closing;
		err = -1;
	}
	return err;
}

/* What one conditional write may be. */
#define WRITE_IF_MAX ((size_t)32 << 20)

/* All of standard input, in memory to be freed; more than may be is an error.  0 or an exit status. */
static int write_read_all(const struct ctl *ctl, uint8_t **data, size_t *len)
{
	uint8_t *buf = malloc(WRITE_IF_MAX + 1);
	size_t have = 0;
	ssize_t n = 1;

	while (buf && n > 0 && have <= WRITE_IF_MAX) {
		n = read(STDIN_FILENO, buf + have, WRITE_IF_MAX + 1 - have);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			have += (size_t)n;
	}
	if (buf && n >= 0 && have <= WRITE_IF_MAX) {
		*data = buf;
		*len = have;
		return 0;
	}
	free(buf);
	if (!buf || n < 0)
		return ctl_fail(ctl, CTL_ERROR, "standard input", "%s",
				buf ? strerror(errno) : "out of memory");
	return ctl_fail(ctl, CTL_ERROR, "standard input",
			"--if-generation writes at most 32 MiB, all at once");
}

struct write_if {
	uint64_t offset;
	uint64_t expected;
	uint8_t *data;
	size_t len;
	uint64_t generation;
};

static int write_if_report(const struct ctl *ctl, const struct write_if *w, bool sync)
{
	json_object *obj;

	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "name", out_json_text(ctl->args.operands[0]));
	out_json_add(obj, "offset", json_object_new_uint64(w->offset));
	out_json_add(obj, "bytes", json_object_new_uint64(w->len));
	out_json_add(obj, "fsync", json_object_new_boolean(sync));
	out_json_add(obj, "generation", json_object_new_uint64(w->generation));
	return out_json_print(ctl, obj);
}

/* 0 or a negative code.  Nothing on standard input is a write of nothing. */
static int write_if_open(cow_object_t *obj, struct write_if *w, bool sync)
{
	int err = w->len == 0
		      ? cow_fsync_if(obj, &w->expected, &w->generation)
		      : cow_write_if(obj, w->data, w->len, w->offset, w->expected, &w->generation);

	return err == 0 && sync ? cow_fsync(obj) : err;
}

static int write_if_run(const struct ctl *ctl, struct write_if *w)
{
	const char *name = ctl->args.operands[0];
	bool sync = args_has(&ctl->args, ARGS_FSYNC);
	cow_object_t *obj;
	int closing;
	int err = cow_open(ctl->cow, name, data_flags(ctl), &obj);

	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	err = write_if_open(obj, w, sync);
	if (err < 0) {
		int status = ctl_fail_cow(ctl, err, name);

		(void)cow_close(obj); /* one failure is told */
		return status;
	}
	closing = cow_close(obj);
	if (closing < 0)
		return ctl_fail_cow(ctl, closing, name);
	return write_if_report(ctl, w, sync);
}

static int cmd_write_if(struct ctl *ctl, uint64_t offset)
{
	struct write_if w = {.offset = offset};
	int status = ctl_get_number(ctl, ARGS_IF_GENERATION, &w.expected);

	if (status == 0)
		status = write_read_all(ctl, &w.data, &w.len);
	if (status == 0)
		status = ctl_connect(ctl);
	if (status == 0)
		status = write_if_run(ctl, &w);
	free(w.data);
	return status;
}

int cmd_write(struct ctl *ctl)
{
	bool sync = args_has(&ctl->args, ARGS_FSYNC);
	struct copy_result result;
	struct copy_error error;
	struct end_sink dst;
	uint64_t offset;
	int err = ctl_get_size(ctl, ARGS_OFFSET, 0, &offset);

	if (err == 0 && args_has(&ctl->args, ARGS_IF_GENERATION))
		return cmd_write_if(ctl, offset);
	if (err == 0)
		err = ctl_connect(ctl);
	if (err != 0)
		return err;
	if (end_open_object_sink(&dst, ctl->cow, ctl->args.operands[0], data_flags(ctl), offset,
				 &error) < 0 ||
	    write_stream(&dst, sync, &result, &error) < 0)
		return data_fail(ctl, &error);
	return range_report(ctl, offset, result.total_bytes, sync);
}

/* ---- zeros ----------------------------------------------------------------------------------- */

typedef int (*zero_fn)(cow_object_t *obj, uint64_t offset, uint64_t len);

/* The part of the range that the object has; *len is 0 where it begins behind the end. */
static void zero_clip(const cow_object_t *obj, uint64_t offset, uint64_t *len)
{
	uint64_t size = cow_object_size(obj);

	if (offset >= size)
		*len = 0;
	else if (*len > size - offset)
		*len = size - offset;
}

static int zero_open(const struct ctl *ctl, cow_object_t *obj, zero_fn fn, uint64_t offset,
		     uint64_t *len)
{
	const char *name = ctl->args.operands[0];
	int err;

	zero_clip(obj, offset, len);
	if (!ctl_confirm(ctl, "lose %" PRIu64 " bytes of %s, from %" PRIu64 " on", *len, name,
			 offset))
		return ctl_fail(ctl, CTL_ERROR, name, "left as it is");
	err = fn(obj, offset, *len);
	if (err == 0 && args_has(&ctl->args, ARGS_FSYNC))
		err = cow_fsync(obj);
	return err < 0 ? ctl_fail_cow(ctl, err, name) : 0;
}

static int zero_run(struct ctl *ctl, zero_fn fn)
{
	const char *name = ctl->args.operands[0];
	cow_object_t *obj;
	uint64_t offset, len;
	int status = ctl_get_size(ctl, ARGS_OFFSET, 0, &offset);
	int err;

	if (status == 0)
		status = ctl_get_size(ctl, ARGS_LENGTH, UINT64_MAX, &len);
	if (status == 0)
		status = ctl_connect(ctl);
	if (status != 0)
		return status;
	err = cow_open(ctl->cow, name, 0, &obj);
	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	status = zero_open(ctl, obj, fn, offset, &len);
	err = cow_close(obj);
	if (status == 0 && err < 0)
		status = ctl_fail_cow(ctl, err, name);
	if (status != 0)
		return status;
	return range_report(ctl, offset, len, args_has(&ctl->args, ARGS_FSYNC));
}

int cmd_zero(struct ctl *ctl)
{
	return zero_run(ctl, cow_zero);
}

int cmd_trim(struct ctl *ctl)
{
	return zero_run(ctl, cow_trim);
}

/* ---- range clones ---------------------------------------------------------------------------- */

struct range_clone {
	uint64_t offset; /* in the source */
	uint64_t to;	 /* in the destination */
	uint64_t len;
};

static int range_get(const struct ctl *ctl, struct range_clone *range)
{
	int err = ctl_get_size(ctl, ARGS_OFFSET, 0, &range->offset);

	if (err == 0)
		err = ctl_get_size(ctl, ARGS_TO, range->offset, &range->to);
	if (err == 0)
		err = ctl_get_size(ctl, ARGS_LENGTH, 0, &range->len);
	if (err == 0 && args_has(&ctl->args, ARGS_LENGTH) && range->len == 0)
		err = ctl_fail(ctl, CTL_USAGE, "--length", "nothing to clone");
	return err;
}

/* Without a length it is the rest of the source. */
static int range_run(const struct ctl *ctl, cow_object_t *src, cow_object_t *dst,
		     struct range_clone *range)
{
	const char *name = ctl->args.operands[1];
	uint64_t size = cow_object_size(src);
	uint64_t lost;
	int err;

	if (range->len == 0 && range->offset < size)
		range->len = size - range->offset;
	lost = range->len;
	zero_clip(dst, range->to, &lost);
	if (lost > 0 && !ctl_confirm(ctl, "replace %" PRIu64 " bytes of %s, from %" PRIu64 " on",
				     lost, name, range->to))
		return ctl_fail(ctl, CTL_ERROR, name, "left as it is");
	err = cow_clone_range(src, range->offset, range->len, dst, range->to);
	return err < 0 ? ctl_fail_cow(ctl, err, name) : 0;
}

static int range_open(const struct ctl *ctl, struct range_clone *range)
{
	char *const *names = ctl->args.operands;
	cow_object_t *src, *dst;
	int status;
	int err = cow_open(ctl->cow, names[0], COW_OPEN_READONLY, &src);

	if (err < 0)
		return ctl_fail_cow(ctl, err, names[0]);
	err = cow_open(ctl->cow, names[1], 0, &dst);
	if (err < 0) {
		status = ctl_fail_cow(ctl, err, names[1]);
		(void)cow_close(src);
		return status;
	}
	status = range_run(ctl, src, dst, range);
	(void)cow_close(src);
	err = cow_close(dst);
	return status == 0 && err < 0 ? ctl_fail_cow(ctl, err, names[1]) : status;
}

int cmd_clone_range(struct ctl *ctl)
{
	struct range_clone range;
	json_object *obj;
	int status = range_get(ctl, &range);

	if (status == 0)
		status = ctl_connect(ctl);
	if (status == 0)
		status = range_open(ctl, &range);
	if (status != 0 || !ctl->json)
		return status;
	obj = out_json_new();
	out_json_add(obj, "source", out_json_text(ctl->args.operands[0]));
	out_json_add(obj, "name", out_json_text(ctl->args.operands[1]));
	out_json_add(obj, "offset", json_object_new_uint64(range.offset));
	out_json_add(obj, "to", json_object_new_uint64(range.to));
	out_json_add(obj, "bytes", json_object_new_uint64(range.len));
	return out_json_print(ctl, obj);
}
