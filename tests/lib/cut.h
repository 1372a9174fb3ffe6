/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cut.h: sendmsg() and recv() of the calling thread, limited to a number of bytes: beyond it they
 * say that the socket takes or has no more, or end the connection.  For tests that meet every byte
 * of an exchange.  The linker puts them in the place of the real ones: see local.mk.  State of the
 * thread; other threads, as that of a fake server, are not limited.
 */
#ifndef TESTS_LIB_CUT_H
#define TESTS_LIB_CUT_H

#include <stdbool.h>
#include <stddef.h>

#define CUT_NEVER ((size_t)-1)

/* From now on so many bytes pass.  ends: at the limit the connection ends, and after that there is
 * no limit any more. */
void cut_limit(size_t send_bytes, size_t recv_bytes, bool ends);

/* recv() waits so long for something before it says that there is nothing: so a test that is slower
 * than its peer meets all of an answer at once. */
void cut_patience(int ms);

/* What has passed since then. */
size_t cut_sent(void);
size_t cut_received(void);

#endif
