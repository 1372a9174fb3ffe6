/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/diffread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl.h"
#include "client/end.h"

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Until there is something to read, or an interrupt came: that must not wait for the input. */
static void read_await(int fd)
{
	struct pollfd fds[2] = {{fd, POLLIN, 0}, {ctl_interrupt_fd(), POLLIN, 0}};

	(void)poll(fds, 2, -1);
}

/* The bytes that were read, fewer than len at the end of the input only; -1: an error. */
static ssize_t read_some(const struct diffread *in, void *buf, size_t len, struct copy_error *error)
{
	uint8_t *bytes = buf;
	size_t got = 0;

	while (got < len) {
		ssize_t n;

		read_await(in->fd);
		if (ctl_interrupted() != 0)
			return copy_fail(error, CTL_ERROR, NULL, "interrupted");
		n = read(in->fd, bytes + got, len - got);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return end_fail_errno(error, END_FILE, errno, in->name);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int read_fail(const struct diffread *in, struct copy_error *error, const char *problem)
{
	return copy_fail(error, CTL_INTEGRITY, in->name, "the stream %s", problem);
}

static int read_all(const struct diffread *in, void *buf, size_t len, struct copy_error *error)
{
	ssize_t n = read_some(in, buf, len, error);

	if (n < 0)
		return -1;
	return (size_t)n == len ? 0 : read_fail(in, error, "ends before its end record");
}

/* ---- records --------------------------------------------------------------------------------- */

static int read_record(struct diffread *in, struct diffstream_record *rec, struct copy_error *error)
{
	uint8_t bytes[DIFFSTREAM_RECORD_BYTES];
	const char *problem;

	if (read_all(in, bytes, sizeof(bytes), error) < 0)
		return -1;
	problem = diffstream_get(&in->ds, bytes, rec);
	return problem ? read_fail(in, error, problem) : 0;
}

/* Its length has been judged: it fits whoever has room for that type. */
static int read_payload(struct diffread *in, void *buf, size_t len, struct copy_error *error)
{
	uint8_t crc[DIFFSTREAM_CRC_BYTES];
	const char *problem;

	if (read_all(in, buf, len, error) < 0 || read_all(in, crc, sizeof(crc), error) < 0)
		return -1;
	problem = diffstream_get_crc(&in->ds, buf, len, crc);
	return problem ? read_fail(in, error, problem) : 0;
}

static int read_end(struct diffread *in, struct copy_error *error)
{
	uint8_t payload[DIFFSTREAM_END_BYTES];
	const char *problem;
	ssize_t n;

	if (read_payload(in, payload, sizeof(payload), error) < 0)
		return -1;
	problem = diffstream_get_end(&in->ds, payload);
	if (problem)
		return read_fail(in, error, problem);
	n = read_some(in, payload, 1, error);
	return n > 0 ? read_fail(in, error, "goes on behind its end record") : (int)n;
}

static int read_next(struct copy_source *src, struct copy_piece *piece, struct copy_error *error)
{
	struct diffread *in = CONTAINER_OF(src, struct diffread, source);
	struct diffstream_record rec;

	if (read_record(in, &rec, error) < 0)
		return -1;
	if (rec.type == DIFFSTREAM_END)
		return read_end(in, error);
	piece->hole = rec.type == DIFFSTREAM_ZERO;
	if (!piece->hole && read_payload(in, piece->buf, rec.payload_len, error) < 0)
		return -1;
	piece->offset = rec.offset;
	piece->len = rec.len;
	return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int read_head(struct diffread *in, struct copy_error *error)
{
	uint8_t payload[DIFFSTREAM_HEAD_MAX];
	struct diffstream_record rec;
	const char *problem;

	if (read_all(in, payload, DIFFSTREAM_MAGIC_BYTES, error) < 0)
		return -1;
	if (memcmp(payload, DIFFSTREAM_MAGIC, DIFFSTREAM_MAGIC_BYTES) != 0)
		return copy_fail(error, CTL_INTEGRITY, in->name,
				 "this is no stream of export-diff");
	diffstream_begin(&in->ds);
	if (read_record(in, &rec, error) < 0 ||
	    read_payload(in, payload, rec.payload_len, error) < 0)
		return -1;
	problem = diffstream_get_head(&in->ds, payload, rec.payload_len, &in->head);
	return problem ? read_fail(in, error, problem) : 0;
}

int diffread_open(struct diffread *in, const char *path, struct copy_error *error)
{
	*in = (struct diffread){.source = {.next = read_next},
				.name = path ? path : "standard input",
				.fd = STDIN_FILENO};
	if (path)
		in->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (in->fd < 0)
		return end_fail_errno(error, END_FILE, errno, path);
	if (read_head(in, error) < 0) {
		diffread_close(in);
		return -1;
	}
	return 0;
}

void diffread_close(struct diffread *in)
{
	if (in->fd > STDERR_FILENO)
		(void)close(in->fd);
}
