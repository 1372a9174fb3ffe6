/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon.h: cowd as a whole: reads the command line, puts the parts together, runs them, stops them
 * in order.  Owns everything.  Called once, from main(), before there is any other thread.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include "server/dev.h"

/*
 * Runs cowd and returns the process's exit status.  wrap, where not NULL, puts another device in
 * front of the store's, as tests do.
 */
int daemon_run(int argc, char **argv, struct dev *(*wrap)(struct dev *dev));

#endif
