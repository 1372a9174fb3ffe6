/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd.h: the NBD front end: connections that speak NBD instead of cowd's own protocol.  A translator: what a
 * client asks for becomes requests of the dispatch, so handles, limits and holders are the same for both.
 * docs/nbd.md says what is served.  Loop thread only.
 */
#ifndef SERVER_NBD_H
#define SERVER_NBD_H

#include <stdbool.h>

#include "server/conn.h"

enum nbd_tls { NBD_TLS_OFF, NBD_TLS_ON, NBD_TLS_REQUIRE };

/* What all NBD connections of a server share; read only. */
struct nbd_config {
	enum nbd_tls tls;
	bool clones; /* "+clone:NAME" is an export */
};

/* For conn_new(). */
extern const struct conn_proto conn_nbd;

#endif
