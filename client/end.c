/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/end.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl.h"
#include "common/err.h"

static bool end_has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

enum end_kind end_classify(const char *arg, const char **name)
{
	*name = arg;
	if (strcmp(arg, "-") == 0)
		return END_STREAM;
	if (arg[0] == '/' || end_has_prefix(arg, "./") || end_has_prefix(arg, "../"))
		return END_FILE;
	if (end_has_prefix(arg, "file:")) {
		*name = arg + 5;
		return END_FILE;
	}
	if (end_has_prefix(arg, "cow:"))
		*name = arg + 4;
	return END_OBJECT;
}

int end_fail_cow(struct copy_error *error, cow_t *cow, int code, const char *name)
{
	char text[CTL_MESSAGE_MAX];

	return copy_fail(error, ctl_exit_code(code), name, "%s",
			 ctl_cow_message(text, cow, code, name));
}

/* A file's trouble that an object can have too, and that has an exit status of its own. */
static bool end_has_status(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case EACCES:
	case EPERM:
	case EROFS:
	case ENOSPC:
	case EDQUOT:
		return true;
	default:
		return false;
	}
}

int end_fail_errno(struct copy_error *error, enum end_kind kind, int errnum, const char *name)
{
	int status = CTL_ERROR;

	if (kind == END_FILE && end_has_status(errnum))
		status = ctl_exit_code(err_from_errno(errnum));
	return copy_fail(error, status, name, "%s", strerror(errnum));
}

/* ---- the end of a copy ----------------------------------------------------------------------- */

void end_close_source(struct end_source *end)
{
	if (end->kind == END_OBJECT)
		(void)cow_close(end->obj); /* nothing was written through it */
	else if (end->fd > STDERR_FILENO)
		(void)close(end->fd);
}

static int object_finish(struct end_sink *end, uint64_t size, bool sync, struct copy_error *error)
{
	int err = 0;

	if (end->fresh && size > cow_object_size(end->obj))
		err = cow_resize(end->obj, size, 0);
	if (err == 0 && sync)
		err = cow_fsync(end->obj);
	return err < 0 ? end_fail_cow(error, end->cow, err, end->name) : 0;
}

int end_finish_sink(struct end_sink *end, uint64_t size, bool sync, struct copy_error *error)
{
	if (end->kind == END_OBJECT)
		return object_finish(end, size, sync, error);
	if (end->regular && ftruncate(end->fd, (off_t)size) < 0)
		return end_fail_errno(error, end->kind, errno, end->name);
	if (sync && end->kind == END_FILE && fsync(end->fd) < 0)
		return end_fail_errno(error, end->kind, errno, end->name);
	return 0;
}

int end_close_sink(struct end_sink *end, struct copy_error *error)
{
	int err;

	if (end->kind == END_OBJECT) {
		err = cow_close(end->obj);
		end->obj = NULL;
		return err < 0 ? end_fail_cow(error, end->cow, err, end->name) : 0;
	}
	if (end->fd > STDERR_FILENO && close(end->fd) < 0)
		return end_fail_errno(error, end->kind, errno, end->name);
	return 0;
}
