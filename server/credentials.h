/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * credentials.h: what the server shows, and asks for, in handshakes of TLS: read from files at the start,
 * and again when somebody asks.  Owns a thread for that, since a file may be slow.  Loop thread.
 *
 * Each reading makes a whole new context, which handshakes that begin then use; where one file cannot
 * be used the old context stays, with all of what it has.
 */
#ifndef SERVER_CREDENTIALS_H
#define SERVER_CREDENTIALS_H

#include <stddef.h>

#include "common/annot.h"
#include "common/tls.h"

struct credentials;
struct loop;

struct credentials_config {
	struct loop *loop;
	struct tls_server_files files; /* what it points to must stay */
	/* Another context is in force; whoever keeps it takes a reference. */
	void (*use)(void *ctx, struct tls *tls);
	void *ctx;
};

/* Reads them, and calls use().  An error, and "why" says which file has what fault. */
int credentials_open(const struct credentials_config *config, struct credentials **credentials,
		     char *why, size_t why_len) LOOP_FN MUST_CHECK;

/* Reads them again, and then calls use(); or logs why not.  The service manager is told. */
void credentials_reload(struct credentials *credentials) LOOP_FN;

/* Waits for a reading that is under way.  NULL is allowed. */
void credentials_close(struct credentials *credentials) LOOP_FN;

#endif
