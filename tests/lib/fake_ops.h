/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_ops.h: every operation of docs/protocol.md on a store in memory (fake_store.h), served by
 * tests/lib/fake_server.h in its thread.
 */
#ifndef TESTS_LIB_FAKE_OPS_H
#define TESTS_LIB_FAKE_OPS_H

#include "tests/lib/fake_server.h"

/* For fake_server_start(), with the store as its ctx. */
void fake_ops_serve(struct fake_conn *conn);

#endif
