/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/thread.h"

static _Thread_local enum thread_role current_role = THREAD_NONE;

void thread_set_role(enum thread_role role)
{
	current_role = role;
}

enum thread_role thread_role(void)
{
	return current_role;
}
