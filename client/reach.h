/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reach.h: how another program reaches an object of the server that cowctl has connected to: URIs for
 * libcow and cowctl, and for clients of NBD.  Reads the environment where no URI is given; any thread.
 */
#ifndef CLIENT_REACH_H
#define CLIENT_REACH_H

#include "client/cow.h"

/*
 * The URI "uri" (NULL: that of the local socket), which libcow has taken, with this object in place of what
 * it names.  The local socket is written out.  In memory for free(); NULL: out of memory.
 */
char *reach_uri(const char *uri, const char *object);

/*
 * The NBD URI of the object, of one of the addresses at which the server says that it serves NBD, as seen
 * from where "uri" leads to the server: on a unix socket another one is preferred, an address of all
 * interfaces is the host of "uri", and an address of the server's own machine only is of use on that.  With
 * TLS where the server requires it, and over a network also where it offers it to who has come by TLS; then
 * with the credentials of "uri".  *nbd is in memory for free(), or NULL if there is no such address.
 * -ERR_NOMEM.
 */
int reach_nbd(const char *uri, const struct cow_service *service, const char *object, char **nbd);

#endif
