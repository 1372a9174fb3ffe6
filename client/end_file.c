/* SPDX-License-Identifier: BSD-2-Clause */
/* Files and streams as ends of a copy. */
#include "client/end.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ctl.h"
#include "common/err.h"

static struct end_source *file_source(struct copy_source *src)
{
	return CONTAINER_OF(src, struct end_source, source);
}

static struct end_sink *file_sink(struct copy_sink *sink)
{
	return CONTAINER_OF(sink, struct end_sink, sink);
}

/* ---- reading streams ------------------------------------------------------------------------- */

/* Until there is something to read, or an interrupt came: that must not wait for the input. */
static void stream_await(int fd)
{
	struct pollfd fds[2] = {{fd, POLLIN, 0}, {ctl_interrupt_fd(), POLLIN, 0}};

	(void)poll(fds, 2, -1);
}

/* Fills the buffer, but for the last piece. */
static int stream_next(struct copy_source *src, struct copy_piece *piece, struct copy_error *error)
{
	struct end_source *end = file_source(src);
	size_t got = 0;

	while (got < piece->buf_len) {
		ssize_t n;

		stream_await(end->fd);
		if (ctl_interrupted() != 0)
			return copy_fail(error, CTL_ERROR, NULL, "interrupted");
		n = read(end->fd, piece->buf + got, piece->buf_len - got);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return end_fail_errno(error, end->kind, errno, end->name);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	piece->offset = end->pos;
	piece->len = got;
	end->pos += got;
	return 0;
}

static void stream_init(struct end_source *end, int fd, const char *name)
{
	*end = (struct end_source){
	    .source = {.next = stream_next},
	    .kind = END_STREAM,
	    .name = name,
	    .fd = fd,
	};
}

void end_open_stdin_source(struct end_source *end)
{
	stream_init(end, STDIN_FILENO, "standard input");
}

/* ---- reading files --------------------------------------------------------------------------- */

/*
 * Sets the piece's hole and data_end for pos.  Where the file system knows no holes all is data.
 */
static int file_seek(struct end_source *end, struct copy_piece *piece, struct copy_error *error)
{
	off_t data = lseek(end->fd, (off_t)end->pos, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno == EINVAL) {
		end->sparse = false;
		end->data_end = end->size;
		return 0;
	}
	if (data < 0 && errno != ENXIO)
		return end_fail_errno(error, end->kind, errno, end->name);
	/* ENXIO: no data up to the end */
	piece->hole = data < 0 || (uint64_t)data > end->pos;
	if (piece->hole) {
		end->data_end = data < 0 || (uint64_t)data > end->size ? end->size : (uint64_t)data;
		return 0;
	}
	hole = lseek(end->fd, data, SEEK_HOLE);
	end->data_end = hole < 0 || (uint64_t)hole > end->size ? end->size : (uint64_t)hole;
	return 0;
}

static int file_next(struct copy_source *src, struct copy_piece *piece, struct copy_error *error)
{
	struct end_source *end = file_source(src);

	if (end->pos == end->size)
		return 0;
	if (end->sparse && end->pos == end->data_end && file_seek(end, piece, error) < 0)
		return -1;
	piece->offset = end->pos;
	piece->len = end->data_end - end->pos;
	if (!piece->hole && piece->len > piece->buf_len)
		piece->len = piece->buf_len;
	end->pos += piece->len;
	return 0;
}

static int file_fetch(struct copy_source *src, const struct copy_piece *piece,
		      struct copy_error *error)
{
	struct end_source *end = file_source(src);
	size_t got = 0;

	while (got < piece->len) {
		ssize_t n = pread(end->fd, piece->buf + got, (size_t)piece->len - got,
				  (off_t)(piece->offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return end_fail_errno(error, end->kind, errno, end->name);
		if (n == 0)
			return copy_fail(error, CTL_ERROR, end->name,
					 "it became shorter while it was read");
		got += (size_t)n;
	}
	return 0;
}

/* By what it is: a file with holes, a device, or a stream. */
static int file_init(struct end_source *end, int fd, const char *path, struct copy_error *error)
{
	struct stat st;
	off_t size;

	if (fstat(fd, &st) < 0)
		return end_fail_errno(error, END_FILE, errno, path);
	if (S_ISDIR(st.st_mode))
		return end_fail_errno(error, END_FILE, EISDIR, path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		stream_init(end, fd, path);
		return 0;
	}
	size = S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
	if (size < 0)
		return end_fail_errno(error, END_FILE, errno, path);
	*end = (struct end_source){
	    .source = {.next = file_next, .fetch = file_fetch},
	    .kind = END_FILE,
	    .name = path,
	    .size_known = true,
	    .size = (uint64_t)size,
	    .fd = fd,
	    .sparse = S_ISREG(st.st_mode),
	    .data_end = S_ISREG(st.st_mode) ? 0 : (uint64_t)size,
	};
	return 0;
}

int end_open_file_source(struct end_source *end, const char *path, struct copy_error *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return end_fail_errno(error, END_FILE, errno, path);
	if (file_init(end, fd, path, error) < 0) {
		(void)close(fd);
		return -1;
	}
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* At an offset, or to a stream. */
static ssize_t file_write_some(const struct end_sink *end, const uint8_t *buf, size_t len,
			       uint64_t offset)
{
	return end->kind == END_STREAM ? write(end->fd, buf, len)
				       : pwrite(end->fd, buf, len, (off_t)offset);
}

static int file_write(const struct end_sink *end, const uint8_t *buf, size_t len, uint64_t offset,
		      struct copy_error *error)
{
	while (len > 0) {
		ssize_t n = file_write_some(end, buf, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd pfd = {end->fd, POLLOUT, 0};

			(void)poll(&pfd, 1, -1);
			continue;
		}
		if (n < 0)
			return end_fail_errno(error, end->kind, errno, end->name);
		buf += n;
		len -= (size_t)n;
		offset += (size_t)n;
	}
	return 0;
}

static int file_write_zeros(const struct end_sink *end, uint64_t len, uint64_t offset,
			    struct copy_error *error)
{
	static const uint8_t zeros[COPY_RUN_BYTES];

	while (len > 0) {
		size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

		if (file_write(end, zeros, n, offset, error) < 0)
			return -1;
		len -= n;
		offset += n;
	}
	return 0;
}

static int file_put_sparse(const struct end_sink *end, const struct copy_piece *piece,
			   struct copy_error *error)
{
	size_t from = 0;
	size_t len;

	while ((len = copy_next_data(piece, &from)) > 0) {
		if (file_write(end, piece->buf + from, len, piece->offset + from, error) < 0)
			return -1;
		from += len;
	}
	return 0;
}

static int file_put(struct copy_sink *sink, const struct copy_piece *piece,
		    struct copy_error *error)
{
	const struct end_sink *end = file_sink(sink);

	if (piece->hole)
		return end->fresh ? 0 : file_write_zeros(end, piece->len, piece->offset, error);
	if (end->fresh)
		return file_put_sparse(end, piece, error);
	return file_write(end, piece->buf, (size_t)piece->len, piece->offset, error);
}

void end_open_stdout_sink(struct end_sink *end)
{
	*end = (struct end_sink){
	    .sink = {.put = file_put, .ordered = true},
	    .kind = END_STREAM,
	    .name = "standard output",
	    .fd = STDOUT_FILENO,
	};
}

/* Opens what is there, or makes a file; an existing file needs "force". */
static int file_open_for_writing(struct end_sink *end, bool force, struct copy_error *error)
{
	struct stat st;

	end->fd = open(end->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	end->created = end->fd >= 0;
	if (end->fd < 0 && errno == EEXIST) {
		if (stat(end->name, &st) == 0 && S_ISREG(st.st_mode) && !force)
			return copy_fail(error, CTL_EXISTS, end->name,
					 "the file exists already (-f overwrites it)");
		end->fd = open(end->name, O_WRONLY | O_CLOEXEC);
	}
	if (end->fd < 0 || fstat(end->fd, &st) < 0)
		return end_fail_errno(error, end->kind, errno, end->name);
	end->regular = S_ISREG(st.st_mode);
	if (!end->regular && !S_ISBLK(st.st_mode)) {
		end->kind = END_STREAM;
		end->sink.ordered = true;
	}
	end->fresh = end->regular;
	return 0;
}

int end_create_file_sink(struct end_sink *end, const char *path, uint64_t size, bool force,
			 struct copy_error *error)
{
	*end = (struct end_sink){
	    .sink = {.put = file_put},
	    .kind = END_FILE,
	    .name = path,
	    .fd = -1,
	};
	if (file_open_for_writing(end, force, error) < 0)
		return -1;
	if (end->regular && (ftruncate(end->fd, 0) < 0 || ftruncate(end->fd, (off_t)size) < 0))
		return end_fail_errno(error, END_FILE, errno, path);
	return 0;
}
