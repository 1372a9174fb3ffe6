/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * caught.h: what is logged, kept in memory in place of stderr, for tests that ask whether something was
 * said.  One thread begins and ends it; of a process.
 */
#ifndef TESTS_LIB_CAUGHT_H
#define TESTS_LIB_CAUGHT_H

#include <stdbool.h>

/* From here on stderr is kept. */
void caught_begin(void);

/* Forgets what there is. */
void caught_clear(void);

/* What was said since; the first 64 KiB.  Valid until the next call. */
const char *caught_text(void);

/* Is there a line that has both of these?  "also" may be NULL. */
bool caught_has(const char *word, const char *also);

/* stderr is what it was, and gets what an assertion that failed has said. */
void caught_end(void);

#endif
