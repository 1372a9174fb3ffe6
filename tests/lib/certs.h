/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * certs.h: certificates, keys and revocation lists for tests, in the files in which servers and
 * clients look for them.  Ends the program where it cannot.
 */
#ifndef TESTS_LIB_CERTS_H
#define TESTS_LIB_CERTS_H

#include <stdbool.h>
#include <sys/stat.h>

#define CERTS_DAY 86400L

/* A certificate and its key; opaque. */
struct cert;

/* What is in one; times are seconds from now. */
struct cert_spec {
	const char *subject;
	const char
	    *names; /* as OpenSSL's configuration has them: "DNS:a,IP:127.0.0.1"; NULL: none */
	bool is_ca;
	long from; /* 0: an hour ago */
	long to;   /* 0: in a day */
};

/* By the issuer; NULL: self-signed. */
struct cert *cert_new(const struct cert_spec *spec, const struct cert *issuer);
void cert_free(struct cert *cert);

/* Into DIR/NAME; the second with that of its issuer behind it. */
void cert_write(const struct cert *cert, const char *dir, const char *name);
void cert_write_chain(const struct cert *cert, const struct cert *issuer, const char *dir,
		      const char *name);
void cert_write_key(const struct cert *cert, const char *dir, const char *name, mode_t mode);

/* A list of the CA with the one certificate (NULL: none) revoked. */
void cert_write_crl(const struct cert *ca, const struct cert *revoked, const char *dir,
		    const char *name);

/* Text into DIR/NAME. */
void certs_write_text(const char *dir, const char *name, const char *text, mode_t mode);

/*
 * A new directory with a CA, a server for localhost, 127.0.0.1 and ::1, a client with the name
 * "client.test", and a file "keys.psk" with the identities "alice" and "bob".  The caller frees it.
 */
char *certs_dir(void);

/* FROM/NAME becomes TO/NAME too. */
void certs_copy(const char *from, const char *to, const char *name);

/* Removes it, and what is in it. */
void certs_remove(char *dir);

#endif
