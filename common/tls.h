/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls.h: credentials of a server or a client, read from files into a context that does not change
 * afterwards; and who the other end of a connection is.  TLS 1.3 only; no tickets, no early data.
 *
 * Whoever holds a reference may make sessions of a context, from any thread: a server that reads its
 * credentials again puts another context in the place of the old one, which its connections keep.
 *
 * A name is a subject alternative name of a certificate, of the types DNS, e-mail, URI and IP, or the
 * identity of a pre-shared key.  Names are compared as a whole: no wildcards, no common names; upper
 * and lower case are the same in DNS names only.
 */
#ifndef COMMON_TLS_H
#define COMMON_TLS_H

#include <stddef.h>

#include "common/annot.h"

#define TLS_TEXT_MAX 256u
#define TLS_NAME_MAX 256u /* of a name, terminator included */

/* The files of a directory of certificates. */
#define TLS_CA_FILE	     "ca-cert.pem"
#define TLS_CRL_FILE	     "ca-crl.pem"
#define TLS_SERVER_CERT_FILE "server-cert.pem"
#define TLS_SERVER_KEY_FILE  "server-key.pem"
#define TLS_CLIENT_CERT_FILE "client-cert.pem"
#define TLS_CLIENT_KEY_FILE  "client-key.pem"

struct ssl_st;
struct tls;

/* At least one of the first two. */
struct tls_server_files {
	const char *certificates; /* a directory; NULL: none */
	const char *psk;	  /* a file of lines "identity:hexkey"; NULL: none */
	const char *const *allow; /* the names that are let in */
	size_t allow_count; /* 0: every certificate of the CA and every identity of the file */
};

/* Exactly one of the first two. */
struct tls_client_files {
	const char *certificates;
	const char *psk;
	const char *identity; /* with psk: which of the file; NULL: the only one */
	const char *host;     /* the name that the server's certificate must have */
};

/* What a handshake has found out about the other end. */
struct tls_peer {
	char name[TLS_NAME_MAX];    /* one of its names; "" before */
	char refused[TLS_TEXT_MAX]; /* why we refuse it, where the library does not know; "" */
	unsigned int identities;    /* that it has come with */
};

/*
 * -ERR_NOENT, -ERR_PERM, -ERR_INVAL, -ERR_NOMEM or -ERR_IO, and a text that names the file and what
 * is wrong with it.  The caller has one reference.
 */
int tls_server_new(const struct tls_server_files *files, struct tls **tls,
		   char text[TLS_TEXT_MAX]) MUST_CHECK;
int tls_client_new(const struct tls_client_files *files, struct tls **tls,
		   char text[TLS_TEXT_MAX]) MUST_CHECK;

/* Another reference; one less. */
struct tls *tls_get(struct tls *tls);
void tls_put(struct tls *tls);

/*
 * For stream.c: a session at the beginning of its handshake; peer stays in its place as long as the
 * session does.  NULL: out of memory.
 */
struct ssl_st *tls_session(struct tls *tls, struct tls_peer *peer) MUST_CHECK;

/*
 * For stream.c, in the thread in which a call of the library on the session has just failed: what it
 * was.  Returns -ERR_PERM when one end refuses the other, and else -ERR_PROTO.
 */
int tls_failure(struct ssl_st *ssl, char text[TLS_TEXT_MAX]);

#endif
