/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fault_dev.h: a data device in front of another that waits, fails and counts as the environment
 * says.  Owns the other.  Any thread, as every device.
 *
 *	COWD_FAULT_READ_GATE=PATH   reads wait while this file exists
 *	COWD_FAULT_GATE_FROM=BLOCK  but only those of this block or a later one (default 0)
 *	COWD_FAULT_READ_EIO=N[+]    the Nth read (of all, from 1) fails; with "+" all later ones too
 *	COWD_FAULT_WRITE_EIO=N[+]   likewise
 *	COWD_FAULT_SYNC_EIO=N[+]    likewise
 *	COWD_FAULT_COUNT_FILE=PATH  gets a line "read N", "write N" or "sync N" for each call
 */
#ifndef TESTS_LIB_FAULT_DEV_H
#define TESTS_LIB_FAULT_DEV_H

#include "server/dev.h"

/* The device in front of inner.  Ends the process with a message where it cannot be made. */
struct dev *fault_dev_wrap(struct dev *inner);

#endif
