/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command compare: whether two objects, versions or files have the same bytes.  Of two objects only
 * those parts are read that the server does not know to be the same; of an object and a file all data.
 */
#include "client/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/end.h"
#include "client/out.h"
#include "client/place.h"
#include "common/clock.h"

/* The first side is read by the copy, the other where the pieces of the first say. */
struct compare {
	struct copy_sink sink;
	struct ctl *ctl;
	const char *args[2]; /* as they were given */
	struct place places[2];
	int progress_fd; /* -1: none given */
	struct end_source first;
	struct end_source other;
	bool first_open;
	bool other_open;
	uint8_t *buf; /* of COPY_CHUNK_BYTES; pieces come one at a time */
	bool differs;
	bool sizes_differ;
	uint64_t at; /* the first byte that differs */
};

/* ---- the bytes ------------------------------------------------------------------------------- */

static int compare_read(struct compare *cmp, uint64_t offset, size_t len, struct copy_error *error)
{
	struct copy_piece piece = {.offset = offset, .len = len, .buf = cmp->buf, .buf_len = len};

	return cmp->other.source.fetch(&cmp->other.source, &piece, error);
}

/* want NULL: zeros. */
static int compare_bytes(struct compare *cmp, uint64_t offset, const uint8_t *want, size_t len,
			 struct copy_error *error)
{
	size_t i = 0;

	if (compare_read(cmp, offset, len, error) < 0)
		return -1;
	if (want ? memcmp(want, cmp->buf, len) == 0 : copy_is_zero(cmp->buf, len))
		return 0;
	while (cmp->buf[i] == (want ? want[i] : 0))
		i++;
	cmp->differs = true;
	cmp->at = offset + i;
	return copy_fail(error, CTL_FALSE, NULL, "they differ");
}

/* Where the other side is a file with holes, these are zeros too and not read. */
static uint64_t compare_skip_hole(const struct compare *cmp, uint64_t offset, uint64_t end)
{
	off_t data;

	if (cmp->other.kind != END_FILE || !cmp->other.sparse)
		return offset;
	data = lseek(cmp->other.fd, (off_t)offset, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? end : offset;
	return (uint64_t)data < end ? (uint64_t)data : end;
}

static int compare_put(struct copy_sink *sink, const struct copy_piece *piece,
		       struct copy_error *error)
{
	struct compare *cmp = CONTAINER_OF(sink, struct compare, sink);
	uint64_t end = piece->offset + piece->len;
	uint64_t pos = piece->offset;

	if (!piece->hole)
		return compare_bytes(cmp, pos, piece->buf, (size_t)piece->len, error);
	while ((pos = compare_skip_hole(cmp, pos, end)) < end) {
		size_t n = end - pos < COPY_CHUNK_BYTES ? (size_t)(end - pos) : COPY_CHUNK_BYTES;

		if (compare_bytes(cmp, pos, NULL, n, error) < 0)
			return -1;
		pos += n;
	}
	return 0;
}

/* ---- the sides ------------------------------------------------------------------------------- */

static int compare_open(const struct place *place, struct end_source *end, bool *is_open,
			struct copy_error *error)
{
	int err;

	if (place->kind == END_FILE)
		err = end_open_file_source(end, place->name, error);
	else
		err = end_open_object_source(end, place->cow, place->name, 0, 0, UINT64_MAX, error);
	*is_open = err == 0;
	if (err == 0 && !end->size_known)
		return copy_fail(error, CTL_USAGE, place->name,
				 "it can be read but once, from its start");
	return err;
}

/* Of two objects of a store the first is read only where it is not known to be as the other. */
static int compare_use_diff(struct compare *cmp, struct copy_error *error)
{
	const char *name = cmp->first.name;
	struct cow_info info;
	int err = cow_get_info(cmp->other.cow, cmp->other.name, &info);

	if (err < 0)
		return end_fail_cow(error, cmp->other.cow, err, cmp->other.name);
	end_close_source(&cmp->first);
	err = end_open_diff_source(&cmp->first, cmp->other.cow, name, info.id, 0, error);
	cmp->first_open = err == 0;
	cow_info_clear(&info);
	return err;
}

static int compare_open_both(struct compare *cmp, struct copy_error *error)
{
	int err = compare_open(&cmp->places[0], &cmp->first, &cmp->first_open, error);

	if (err == 0)
		err = compare_open(&cmp->places[1], &cmp->other, &cmp->other_open, error);
	if (err < 0)
		return err;
	if (cmp->first.size != cmp->other.size) {
		cmp->differs = cmp->sizes_differ = true;
		return copy_fail(error, CTL_FALSE, NULL, "they differ");
	}
	if (cmp->first.kind == END_OBJECT && cmp->other.kind == END_OBJECT &&
	    cmp->first.cow == cmp->other.cow)
		return compare_use_diff(cmp, error);
	return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int compare_run(struct compare *cmp, struct copy_error *error)
{
	struct copy_result result;
	struct progress progress;
	int err = compare_open_both(cmp, error);

	if (err < 0)
		return err;
	cmp->buf = malloc(COPY_CHUNK_BYTES);
	if (!cmp->buf)
		return copy_fail(error, CTL_ERROR, NULL, "out of memory");
	progress_start(&progress, progress_choose(cmp->progress_fd, cmp->ctl->quiet),
		       cmp->progress_fd, NULL, cmp->first.size, clock_now_ns());
	err = copy_run(&cmp->first.source, &cmp->sink, COPY_THREADS, COPY_CHUNK_BYTES, &progress,
		       &result, error);
	progress_end(&progress, err == 0);
	return err;
}

static int compare_report(const struct compare *cmp)
{
	const struct ctl *ctl = cmp->ctl;
	json_object *obj;

	if (!ctl->json && cmp->sizes_differ)
		(void)printf("%s and %s differ: %" PRIu64 " and %" PRIu64 " bytes\n", cmp->args[0],
			     cmp->args[1], cmp->first.size, cmp->other.size);
	else if (!ctl->json && cmp->differs)
		(void)printf("%s and %s differ at byte %" PRIu64 "\n", cmp->args[0], cmp->args[1],
			     cmp->at);
	if (!ctl->json)
		return out_finish(ctl);
	obj = out_json_new();
	out_json_add(obj, "first", out_json_text(cmp->args[0]));
	out_json_add(obj, "first_size", json_object_new_uint64(cmp->first.size));
	out_json_add(obj, "second", out_json_text(cmp->args[1]));
	out_json_add(obj, "second_size", json_object_new_uint64(cmp->other.size));
	out_json_add(obj, "equal", json_object_new_boolean(!cmp->differs));
	out_json_add(obj, "differs_at",
		     cmp->differs && !cmp->sizes_differ ? json_object_new_uint64(cmp->at) : NULL);
	return out_json_print(ctl, obj);
}

static int compare_parse(struct compare *cmp)
{
	const struct ctl *ctl = cmp->ctl;
	const char *fd = ctl->args.values[ARGS_PROGRESS];
	unsigned int objects = 0;

	for (unsigned int i = 0; i < 2; i++) {
		int status = place_parse(ctl, ctl->args.operands[i], &cmp->places[i]);

		cmp->args[i] = ctl->args.operands[i];
		if (status != 0)
			return status;
		if (cmp->places[i].kind == END_STREAM)
			return ctl_fail(ctl, CTL_USAGE, "-", "a stream cannot be compared");
		objects += cmp->places[i].kind == END_OBJECT;
	}
	if (objects == 0)
		return ctl_fail(ctl, CTL_USAGE, NULL, "neither %s nor %s is an object",
				cmp->args[0], cmp->args[1]);
	if (fd && progress_parse_fd(fd, &cmp->progress_fd) < 0)
		return ctl_fail(ctl, CTL_USAGE, fd, "not an open descriptor");
	return 0;
}

static int compare_do(struct compare *cmp)
{
	struct copy_error error = {.status = CTL_ERROR};
	int err = compare_run(cmp, &error);
	int status;

	if (cmp->first_open)
		end_close_source(&cmp->first);
	if (cmp->other_open)
		end_close_source(&cmp->other);
	free(cmp->buf);
	if (err < 0 && !cmp->differs)
		return ctl_fail(cmp->ctl, error.status, error.subject, "%s", error.text);
	status = compare_report(cmp);
	return status == 0 && cmp->differs ? CTL_FALSE : status;
}

int cmd_compare(struct ctl *ctl)
{
	struct compare cmp = {
	    .sink = {.put = compare_put, .ordered = true}, .ctl = ctl, .progress_fd = -1};
	int status = compare_parse(&cmp);

	for (unsigned int i = 0; i < 2 && status == 0; i++)
		status = place_connect(ctl, &cmp.places[i]);
	if (status == 0)
		status = compare_do(&cmp);
	for (unsigned int i = 0; i < 2; i++)
		place_close(ctl, &cmp.places[i]);
	return status;
}
