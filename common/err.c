/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/err.h"

#include <errno.h>
#include <stddef.h>

#include "common/annot.h"

struct err_row {
	int num;
	enum err class;
	const char *name;
	const char *text;
};

static const struct err_row rows[] = {{ERR_OK, ERR_OK, "OK", "success"},
#define X(name, num, text) {ERR_##name, ERR_##name, #name, text},
				      ERR_CLASSES(X)
#undef X
#define X(name, class, text) {ERR_##name, ERR_##class, #name, text},
					  ERR_SPECIFIC(X)
#undef X
};

static const struct err_row *err_row(int err)
{
	int num = err < 0 ? -err : err;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].num == num)
			return &rows[i];
	return NULL;
}

const char *err_text(int err)
{
	const struct err_row *row = err_row(err);

	return row ? row->text : "unknown error";
}

const char *err_name(int err)
{
	const struct err_row *row = err_row(err);

	return row ? row->name : "UNKNOWN";
}

enum err err_class(int err)
{
	const struct err_row *row = err_row(err);

	return row ? row->class : ERR_IO;
}

int err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return 0;
	case EINVAL:
		return -ERR_INVAL;
	case ENOENT:
		return -ERR_NOENT;
	case EEXIST:
		return -ERR_EXIST;
	case EBUSY:
		return -ERR_BUSY;
	case EPERM:
	case EACCES:
	case EROFS:
		return -ERR_PERM;
	case ENOSPC:
	case EDQUOT:
		return -ERR_NOSPC;
	case ENOMEM:
		return -ERR_NOMEM;
	case ETIMEDOUT:
		return -ERR_TIMEOUT;
	case ECONNREFUSED:
	case ECONNRESET:
	case EPIPE:
	case ENOTCONN:
		return -ERR_CONN;
	default:
		return -ERR_IO;
	}
}
