/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bits.h: counting the bits of a word in line: where the machine may lack an instruction for it the
 * compiler's own way is a call to a library.  Owns nothing; pure; any thread.
 */
#ifndef COMMON_BITS_H
#define COMMON_BITS_H

#include <stdint.h>

/* Sums of pairs, of nibbles, of bytes; the product has the sum of all bytes in its upper one. */
static inline uint32_t bits_count64(uint64_t word)
{
	word -= word >> 1 & UINT64_C(0x5555555555555555);
	word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
	word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (uint32_t)(word * UINT64_C(0x0101010101010101) >> 56);
}

static inline uint32_t bits_count32(uint32_t word)
{
	return bits_count64(word);
}

#endif
