/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cowd_fault.c: cowd with a device in front of its own that fails as a test wants (fault_dev.h).
 */
#include "server/daemon.h"
#include "tests/lib/fault_dev.h"

int main(int argc, char **argv)
{
	return daemon_run(argc, argv, fault_dev_wrap);
}
