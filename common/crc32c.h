/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crc32c.h: CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), by libisal.  Any thread.
 */
#ifndef COMMON_CRC32C_H
#define COMMON_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of len bytes at buf, continuing "crc" (0 to start). */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len);

#endif
