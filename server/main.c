/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>

#include "server/daemon.h"

int main(int argc, char **argv)
{
	return daemon_run(argc, argv, NULL);
}
