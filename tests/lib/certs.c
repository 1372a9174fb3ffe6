/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/certs.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/must.h"

#define CERTS_PATH_MAX 512

struct cert {
	X509 *x509;
	EVP_PKEY *key;
};

/* ---- making ---------------------------------------------------------------------------------- */

static void cert_extend(X509 *x509, const X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, (X509 *)(uintptr_t)issuer, x509, NULL, NULL, 0);
	ext = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
	MUST(ext && X509_add_ext(x509, ext, -1) == 1, "extension %s", value);
	X509_EXTENSION_free(ext);
}

static void cert_set_serial(X509 *x509)
{
	uint64_t serial = 0;

	MUST(RAND_bytes((unsigned char *)&serial, sizeof(serial) - 1) == 1, "no random bytes");
	MUST(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial | 1) == 1, "serial");
}

static void cert_set_subject(X509 *x509, const char *subject)
{
	X509_NAME *name = X509_NAME_new();

	MUST(name && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
						(const unsigned char *)subject, -1, -1, 0) == 1,
	     "subject %s", subject);
	MUST(X509_set_subject_name(x509, name) == 1, "subject");
	X509_NAME_free(name);
}

static void cert_fill(X509 *x509, const struct cert_spec *spec, const X509 *issuer)
{
	MUST(X509_set_version(x509, X509_VERSION_3) == 1, "version");
	cert_set_serial(x509);
	MUST(X509_gmtime_adj(X509_getm_notBefore(x509), spec->from ? spec->from : -3600), "time");
	MUST(X509_gmtime_adj(X509_getm_notAfter(x509), spec->to ? spec->to : CERTS_DAY), "time");
	cert_set_subject(x509, spec->subject);
	MUST(X509_set_issuer_name(x509, X509_get_subject_name(issuer)) == 1, "issuer");
	cert_extend(x509, issuer, NID_basic_constraints,
		    spec->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	cert_extend(x509, issuer, NID_key_usage,
		    spec->is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	cert_extend(x509, issuer, NID_subject_key_identifier, "hash");
	if (issuer != x509)
		cert_extend(x509, issuer, NID_authority_key_identifier, "keyid");
	if (spec->names)
		cert_extend(x509, issuer, NID_subject_alt_name, spec->names);
}

struct cert *cert_new(const struct cert_spec *spec, const struct cert *issuer)
{
	struct cert *cert = calloc(1, sizeof(*cert));

	MUST(cert, "out of memory");
	cert->key = EVP_EC_gen("P-256");
	cert->x509 = X509_new();
	MUST(cert->key && cert->x509, "no key");
	MUST(X509_set_pubkey(cert->x509, cert->key) == 1, "public key");
	cert_fill(cert->x509, spec, issuer ? issuer->x509 : cert->x509);
	MUST(X509_sign(cert->x509, issuer ? issuer->key : cert->key, EVP_sha256()) > 0, "sign");
	return cert;
}

void cert_free(struct cert *cert)
{
	X509_free(cert->x509);
	EVP_PKEY_free(cert->key);
	free(cert);
}

/* ---- writing --------------------------------------------------------------------------------- */

static FILE *certs_create(const char *dir, const char *name, mode_t mode)
{
	char path[CERTS_PATH_MAX];
	FILE *f;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	MUST(fd >= 0 && fchmod(fd, mode) == 0, "%s", path);
	f = fdopen(fd, "w");
	MUST(f, "%s", path);
	return f;
}

void cert_write(const struct cert *cert, const char *dir, const char *name)
{
	FILE *f = certs_create(dir, name, 0644);

	MUST(PEM_write_X509(f, cert->x509) == 1, "%s", name);
	MUST(fclose(f) == 0, "%s", name);
}

void cert_write_chain(const struct cert *cert, const struct cert *issuer, const char *dir,
		      const char *name)
{
	FILE *f = certs_create(dir, name, 0644);

	MUST(PEM_write_X509(f, cert->x509) == 1, "%s", name);
	MUST(PEM_write_X509(f, issuer->x509) == 1, "%s", name);
	MUST(fclose(f) == 0, "%s", name);
}

void cert_write_key(const struct cert *cert, const char *dir, const char *name, mode_t mode)
{
	FILE *f = certs_create(dir, name, mode);

	MUST(PEM_write_PrivateKey(f, cert->key, NULL, NULL, 0, NULL, NULL) == 1, "%s", name);
	MUST(fclose(f) == 0, "%s", name);
}

static void crl_revoke(X509_CRL *crl, X509 *x509)
{
	X509_REVOKED *revoked = X509_REVOKED_new();

	MUST(revoked, "out of memory");
	MUST(X509_REVOKED_set_serialNumber(revoked, X509_get_serialNumber(x509)) == 1, "serial");
	MUST(X509_REVOKED_set_revocationDate(revoked, X509_getm_notBefore(x509)) == 1, "date");
	MUST(X509_CRL_add0_revoked(crl, revoked) == 1, "revoked");
}

void cert_write_crl(const struct cert *ca, const struct cert *revoked, const char *dir,
		    const char *name)
{
	X509_CRL *crl = X509_CRL_new();
	FILE *f = certs_create(dir, name, 0644);

	MUST(crl && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1, "version");
	MUST(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x509)) == 1, "issuer");
	MUST(X509_CRL_set1_lastUpdate(crl, X509_get0_notBefore(ca->x509)) == 1, "time");
	MUST(X509_CRL_set1_nextUpdate(crl, X509_get0_notAfter(ca->x509)) == 1, "time");
	if (revoked)
		crl_revoke(crl, revoked->x509);
	MUST(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0, "sign");
	MUST(PEM_write_X509_CRL(f, crl) == 1, "%s", name);
	MUST(fclose(f) == 0, "%s", name);
	X509_CRL_free(crl);
}

void certs_write_text(const char *dir, const char *name, const char *text, mode_t mode)
{
	FILE *f = certs_create(dir, name, mode);

	MUST(fputs(text, f) >= 0, "%s", name);
	MUST(fclose(f) == 0, "%s", name);
}

/* ---- all that two ends need ------------------------------------------------------------------ */

static void certs_add(const char *dir, const struct cert *ca, const struct cert_spec *spec,
		      const char *cert_name, const char *key_name)
{
	struct cert *cert = cert_new(spec, ca);

	cert_write(cert, dir, cert_name);
	cert_write_key(cert, dir, key_name, 0600);
	cert_free(cert);
}

char *certs_dir(void)
{
	static const struct cert_spec ca_spec = {.subject = "the CA", .is_ca = true};
	static const struct cert_spec server = {.subject = "the server",
						.names = "DNS:localhost,IP:127.0.0.1,IP:::1"};
	static const struct cert_spec client = {.subject = "the client",
						.names = "DNS:client.test"};
	struct cert *ca = cert_new(&ca_spec, NULL);
	char *dir = strdup("/tmp/cowd-certs-XXXXXX");

	MUST(dir && mkdtemp(dir), "no directory");
	cert_write(ca, dir, "ca-cert.pem");
	cert_write_key(ca, dir, "ca-key.pem", 0600);
	certs_add(dir, ca, &server, "server-cert.pem", "server-key.pem");
	certs_add(dir, ca, &client, "client-cert.pem", "client-key.pem");
	certs_write_text(dir, "keys.psk",
			 "alice:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
			 "bob:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n",
			 0600);
	cert_free(ca);
	return dir;
}

void certs_copy(const char *from, const char *to, const char *name)
{
	char old[CERTS_PATH_MAX];
	char new[CERTS_PATH_MAX];

	(void)snprintf(old, sizeof(old), "%s/%s", from, name);
	(void)snprintf(new, sizeof(new), "%s/%s", to, name);
	(void)unlink(new);
	MUST(link(old, new) == 0, "%s", new);
}

void certs_remove(char *dir)
{
	static const char *const names[] = {"ca-cert.pem",     "ca-key.pem",	 "ca-crl.pem",
					    "server-cert.pem", "server-key.pem", "client-cert.pem",
					    "client-key.pem",  "keys.psk",	 "other.psk"};
	char path[CERTS_PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	MUST(rmdir(dir) == 0, "%s is not empty", dir);
	free(dir);
}
