/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dev_priv.h: what the devices on a file share (dev_file.c has it).  Nobody else includes it.
 */
#ifndef SERVER_DEV_PRIV_H
#define SERVER_DEV_PRIV_H

#include "server/dev.h"

uint64_t dev_iov_bytes(const struct iovec *iov, int iovcnt);

/* -ERR_IO, and in the log, where the device does not have len bytes from that block on. */
int dev_check_range(const struct dev *dev, pblk_t blk, uint64_t len_bytes) MUST_CHECK;

/* Has the kernel forget what it has in memory of the file and need not write, reads the header and checks it,
 * and that the file has the blocks that it names: -ERR_FORMAT_..., -ERR_NOMEM. */
int dev_file_probe(int fd, const uint8_t uuid[16], uint64_t *nblks) MUST_CHECK;

/* As dev_unwritten(), of the file. */
uint64_t dev_file_find_run(int fd, const struct dev *dev, pblk_t from, uint64_t within_nblks,
			   pblk_t *first);

#endif
