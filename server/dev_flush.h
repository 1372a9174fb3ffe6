/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dev_flush.h: stores to persistent memory, out of the caches of the processor.  Pure; any thread.
 */
#ifndef SERVER_DEV_FLUSH_H
#define SERVER_DEV_FLUSH_H

#include <stdbool.h>
#include <stddef.h>

/* Has this processor an instruction that writes a cache line back, and is not ordered with others? */
bool dev_flush_usable(void);

/*
 * What this thread has stored to these bytes is in the memory, and outlives a power cut where that is
 * persistent, when this returns.  Only where usable.
 */
void dev_flush(const void *p, size_t len);

#endif
