/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes files into several objects as one change: write-all. */
#include "client/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/out.h"

/* What one request takes. */
#define WRITE_ALL_BYTES_MAX ((size_t)32 << 20)

/* One file into an object. */
struct write_piece {
	const char *name;
	const char *file;
	struct cow_range range; /* its buf is to be freed */
	size_t place;		/* where the object is named first */
};

struct write_all {
	struct write_piece pieces[COW_RANGES_MAX];
	struct cow_range ranges[COW_RANGES_MAX]; /* in the order of the pieces */
	size_t npieces;
	struct cow_write writes[COW_WRITES_MAX];
	const char *names[COW_WRITES_MAX];
	size_t nwrites; /* their objects are open */
	size_t left;	/* bytes that the files may still have */
};

/* ---- what is asked for ----------------------------------------------------------------------- */

static int write_all_parse(struct ctl *ctl, struct write_all *w)
{
	char **operands = ctl->args.operands;
	size_t n = ctl->args.noperands / 3;

	if (ctl->args.noperands % 3 != 0)
		return ctl_fail(ctl, CTL_USAGE, NULL, "%s is given no OFFSET and FILE",
				operands[3 * n]);
	if (n > COW_RANGES_MAX)
		return ctl_fail(ctl, CTL_USAGE, NULL, "at most %d pieces at once", COW_RANGES_MAX);
	for (size_t i = 0; i < n; i++) {
		struct write_piece *piece = &w->pieces[i];
		int status = ctl_parse_size(ctl, operands[3 * i + 1], &piece->range.offset);

		if (status != 0)
			return status;
		piece->name = operands[3 * i];
		piece->file = operands[3 * i + 2];
		while (strcmp(operands[3 * piece->place], piece->name) != 0)
			piece->place++;
	}
	w->npieces = n;
	return 0;
}

/* All of a file into memory.  0 or an errno; EFBIG: more than may be. */
static int write_all_read_fd(int fd, struct cow_range *range, size_t max)
{
	uint8_t *buf = malloc(max + 1);
	size_t have = 0;
	ssize_t n = 1;

	if (!buf)
		return ENOMEM;
	range->buf = buf;
	while (n > 0 && have <= max) {
		n = read(fd, buf + have, max + 1 - have);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			have += (size_t)n;
	}
	range->len = have;
	if (n < 0)
		return errno;
	return have > max ? EFBIG : 0;
}

static int write_all_read(const struct ctl *ctl, struct write_all *w, struct write_piece *piece)
{
	bool is_stdin = strcmp(piece->file, "-") == 0;
	const char *subject = is_stdin ? "standard input" : piece->file;
	int fd = is_stdin ? STDIN_FILENO : open(piece->file, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? errno : write_all_read_fd(fd, &piece->range, w->left);
	void *fitting;

	if (fd >= 0 && !is_stdin)
		(void)close(fd);
	if (err == EFBIG)
		return ctl_fail(ctl, CTL_ERROR, subject, "at most 32 MiB are written at once");
	if (err != 0)
		return ctl_fail(ctl, CTL_ERROR, subject, "%s", strerror(err));
	if (piece->range.len == 0)
		return ctl_fail(ctl, CTL_ERROR, subject, "there is nothing to be written in it");
	fitting = realloc(piece->range.buf, piece->range.len);
	if (fitting)
		piece->range.buf = fitting;
	w->left -= piece->range.len;
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* By object, in the order of the command line, and then by offset. */
static int write_all_compare(const void *a, const void *b)
{
	const struct write_piece *x = a;
	const struct write_piece *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return (x->range.offset > y->range.offset) - (x->range.offset < y->range.offset);
}

/* Opens each object once. */
static int write_all_open(struct ctl *ctl, struct write_all *w)
{
	unsigned int flags = args_has(&ctl->args, ARGS_DIRECT) ? COW_OPEN_DIRECT : 0;

	qsort(w->pieces, w->npieces, sizeof(w->pieces[0]), write_all_compare);
	for (size_t i = 0; i < w->npieces; i++) {
		const struct write_piece *piece = &w->pieces[i];
		struct cow_write *write = &w->writes[w->nwrites];
		int err = 0;

		w->ranges[i] = piece->range;
		if (i > 0 && piece->place == w->pieces[i - 1].place) {
			write[-1].count++;
			continue;
		}
		if (w->nwrites == COW_WRITES_MAX)
			return ctl_fail(ctl, CTL_USAGE, NULL, "at most %d objects at once",
					COW_WRITES_MAX);
		err = cow_open(ctl->cow, piece->name, flags, &write->obj);
		if (err < 0)
			return ctl_fail_cow(ctl, err, piece->name);
		write->ranges = &w->ranges[i];
		write->count = 1;
		w->names[w->nwrites++] = piece->name;
	}
	return 0;
}

/* When one of them is durable all of it is. */
static int write_all_run(struct ctl *ctl, struct write_all *w)
{
	int err = cow_write_all(w->writes, w->nwrites);

	if (err < 0)
		return ctl_fail_cow(ctl, err, NULL);
	if (args_has(&ctl->args, ARGS_FSYNC))
		err = cow_fsync(w->writes[0].obj);
	return err < 0 ? ctl_fail_cow(ctl, err, w->names[0]) : 0;
}

/* An error of closing counts when there was none before. */
static int write_all_close(struct ctl *ctl, struct write_all *w, int status)
{
	for (size_t i = 0; i < w->nwrites; i++) {
		int err = cow_close(w->writes[i].obj);

		if (err < 0 && status == 0)
			status = ctl_fail_cow(ctl, err, w->names[i]);
	}
	return status;
}

static uint64_t write_all_bytes(const struct cow_write *write)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < write->count; i++)
		bytes += write->ranges[i].len;
	return bytes;
}

static int write_all_report(const struct ctl *ctl, const struct write_all *w)
{
	json_object *writes;
	json_object *obj;

	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	writes = json_object_new_array();
	for (size_t i = 0; i < w->nwrites; i++) {
		json_object *one = json_object_new_object();

		out_json_add(one, "name", out_json_text(w->names[i]));
		out_json_add(one, "bytes", json_object_new_uint64(write_all_bytes(&w->writes[i])));
		out_json_add(one, "generation", json_object_new_uint64(w->writes[i].generation));
		(void)json_object_array_add(writes, one);
	}
	out_json_add(obj, "writes", writes);
	out_json_add(obj, "fsync", json_object_new_boolean(args_has(&ctl->args, ARGS_FSYNC)));
	return out_json_print(ctl, obj);
}

int cmd_write_all(struct ctl *ctl)
{
	struct write_all *w = calloc(1, sizeof(*w));
	int status;

	if (!w)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	w->left = WRITE_ALL_BYTES_MAX;
	status = write_all_parse(ctl, w);
	for (size_t i = 0; i < w->npieces && status == 0; i++)
		status = write_all_read(ctl, w, &w->pieces[i]);
	if (status == 0)
		status = ctl_connect(ctl);
	if (status == 0)
		status = write_all_open(ctl, w);
	if (status == 0)
		status = write_all_run(ctl, w);
	status = write_all_close(ctl, w, status);
	if (status == 0)
		status = write_all_report(ctl, w);
	for (size_t i = 0; i < w->npieces; i++)
		free(w->pieces[i].range.buf);
	free(w);
	return status;
}
