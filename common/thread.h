/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * thread.h: what role the running thread has, so that thread rules are asserted at run time.
 * A thread sets its role once, when it starts; unit tests set it as they need.
 */
#ifndef COMMON_THREAD_H
#define COMMON_THREAD_H

enum thread_role {
	THREAD_NONE = 0,
	THREAD_LOOP,
	THREAD_WORKER,
	THREAD_COMMIT,
	THREAD_MAP,
};

/* Sets the calling thread's role. */
void thread_set_role(enum thread_role role);

/* The calling thread's role. */
enum thread_role thread_role(void);

#define ASSERT_LOOP()	assert(thread_role() == THREAD_LOOP)
#define ASSERT_WORKER() assert(thread_role() == THREAD_WORKER)
#define ASSERT_COMMIT() assert(thread_role() == THREAD_COMMIT)
#define ASSERT_MAP()	assert(thread_role() == THREAD_MAP)

#endif
