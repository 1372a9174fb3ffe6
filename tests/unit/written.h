/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * written.h: which bytes of a preallocated file have been written since, for the unit tests of what
 * makes such files.  File systems that tell report the others as a hole (ext4, XFS, btrfs, tmpfs).
 */
#ifndef TESTS_UNIT_WRITTEN_H
#define TESTS_UNIT_WRITTEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

/* The file is written from its beginning to this offset, and there is a hole. */
static inline uint64_t written_bytes(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t hole;

	assert_true(fd >= 0);
	hole = lseek(fd, 0, SEEK_HOLE);
	close(fd);
	assert_true(hole >= 0);
	return (uint64_t)hole;
}

#endif
