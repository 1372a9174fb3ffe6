/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cut.h: sendmsg() and recv() of the calling thread, limited to a number of bytes: beyond it they
 * say that the socket takes or has no more, or end the connection.  For tests that meet every byte
 * of an exchange; and for those in which an answer has come before it is looked at.  The linker puts
 * them, and poll(), in the place of the real ones: see local.mk.  State of the thread; other threads,
 * as that of a fake server, are not limited.
 */
#ifndef TESTS_LIB_CUT_H
#define TESTS_LIB_CUT_H

#include <stdbool.h>
#include <stddef.h>

#define CUT_NEVER ((size_t)-1)

/* From now on so many bytes pass.  ends: at the limit the connection ends, and after that there is
 * no limit any more. */
void cut_limit(size_t send_bytes, size_t recv_bytes, bool ends);

/*
 * Until it is asked for more the peer says so many bytes: as if all of them had come before the first
 * is looked at, recv() gives as many as there is room for.  Once they are received nothing wakes who
 * sleeps, so poll() that would ends the program.
 */
void cut_answer(size_t bytes);

/* No answer is waited for any more.  How often poll() was asked when all of it had been received. */
unsigned int cut_answered(void);

/* What has passed since then. */
size_t cut_sent(void);
size_t cut_received(void);

#endif
