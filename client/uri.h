/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uri.h: where a server is, as libcow's users write it, taken apart.  A struct uri owns its
 * strings.  Reads the environment in uri_default() only; any thread.
 */
#ifndef CLIENT_URI_H
#define CLIENT_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "common/annot.h"

#define URI_TCP_PORT "7117"
#define URI_TLS_PORT "7118"

struct uri {
	char *host;   /* NULL: a unix socket */
	char *port;   /* digits, 1 to 65535; NULL with a unix socket */
	char *socket; /* path; NULL: the local socket (uri_local_socket()), or TCP */
	char *object; /* decoded; NULL: none named */

	bool tls;
	char *identity;	    /* decoded, as those below are; NULL: not given */
	char *certificates; /* a directory: an absolute path */
	char *psk;	    /* a file: an absolute path; not with "certificates" */
	char *hostname;	    /* of the server's certificate, where it is not "host" */
};

/*
 * Parses "cow://host[:port][/object]", "cow+unix:///[object][?socket=PATH]" or
 * "cows://[identity@]host[:port][/object][?PARAMETER[&PARAMETER...]]", where a parameter is
 * tls-certificates=DIR, tls-psk-file=FILE or tls-hostname=NAME.  -ERR_INVAL or -ERR_NOMEM; *problem is
 * then the end of a sentence, in static storage.
 */
int uri_parse(const char *text, struct uri *uri, const char **problem) MUST_CHECK;

/* Frees the strings. */
void uri_clear(struct uri *uri);

/* $COW_URI if set and not empty, else NULL. */
const char *uri_from_environment(void);

/*
 * The directory of certificates where none is named, in memory for free(): of root, or of a user
 * without a home, /etc/pki/cowd, else ~/.config/pki/cowd.  NULL: out of memory.
 */
char *uri_certificates(void);

/* The path of the local server's socket, in memory for free(); NULL: out of memory. */
char *uri_local_socket(void);

#endif
