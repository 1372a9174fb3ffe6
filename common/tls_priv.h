/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_priv.h: what the files of tls share: the context, its pre-shared keys, and the checks that the
 * library calls during a handshake.
 */
#ifndef COMMON_TLS_PRIV_H
#define COMMON_TLS_PRIV_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "common/tls.h"

#define TLS_PSK_MIN 16u /* bytes of a key */
#define TLS_PSK_MAX 64u

struct tls_psk {
	char identity[TLS_NAME_MAX];
	uint8_t key[TLS_PSK_MAX];
	size_t key_len;
};

struct tls {
	atomic_uint refs;
	SSL_CTX *ctx;
	bool is_server;
	char *host;	      /* of a client */
	char **allow;	      /* of a server */
	size_t allow_count;   /* 0: all */
	struct tls_psk *psks; /* of a client: none, or the one that it uses */
	size_t psk_count;
};

/* Writes a text and returns err. */
int tls_say(char text[TLS_TEXT_MAX], int err, const char *fmt, ...) PRINTF_LIKE(3, 4) MUST_CHECK;

/* What the library says of its last error, and forgets. */
const char *tls_reason(void);

/* Opens a file to read; one with secrets is refused if others can read it. */
int tls_open(const char *path, bool secret, FILE **file, char text[TLS_TEXT_MAX]) MUST_CHECK;

/* Reads a file of keys: all of them, or the one of the identity (of a client). */
int tls_psk_load(struct tls *tls, const char *path, char text[TLS_TEXT_MAX]) MUST_CHECK;
int tls_psk_choose(struct tls *tls, const char *path, const char *identity,
		   char text[TLS_TEXT_MAX]) MUST_CHECK;
void tls_psk_free(struct tls *tls);

/* The session and the context that a handshake is of. */
struct tls *tls_of(const SSL *ssl);
struct tls_peer *tls_peer_of(SSL *ssl);

/* Callbacks of the library. */
int tls_psk_find(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **sess);
int tls_psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *len,
		SSL_SESSION **sess);
int tls_verify(int ok, X509_STORE_CTX *store);

#endif
