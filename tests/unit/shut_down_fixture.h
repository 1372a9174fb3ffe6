/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shut_down_fixture.h: a file system that has shut itself down beside a sync, as XFS does after an error of
 * its log: the sync returns 0, and attributes are refused.  A test includes it once, and is linked with
 * --wrap=statx.
 */
#ifndef TESTS_UNIT_SHUT_DOWN_FIXTURE_H
#define TESTS_UNIT_SHUT_DOWN_FIXTURE_H

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

static bool is_shut_down;

int __real_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st);
int __wrap_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st);

int __wrap_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st)
{
	if (!is_shut_down)
		return __real_statx(fd, path, flags, mask, st);
	errno = EIO;
	return -1;
}

#endif
