/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * errors.h: error codes of libcow, and the message of a thread's last failed call on a handle.
 * Thread-local, no lock; any thread.
 */
#ifndef CLIENT_ERRORS_H
#define CLIENT_ERRORS_H

#include "client/cow.h"
#include "common/annot.h"

/* The COW_E* code, negated, for an error of common/err.h. */
int errors_code(int err);

/*
 * Remembers text as the calling thread's message for the handle; an empty one becomes that of the
 * error.  Control characters are replaced: the text may be the server's.  Returns the code, as
 * errors_code() has it.
 */
int errors_set(cow_t *cow, int err, const char *text);

/* The calling thread has used the handle, without a failure: its message stays before others'. */
void errors_touch(cow_t *cow);

#endif
