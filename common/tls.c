/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/tls_priv.h"

#define TLS_SECURITY_LEVEL 2 /* keys of 112 bits and more, no SHA-1 */
#define TLS_PATH_MAX	   4096u

/*
 * A pre-shared key goes with one hash, and this is the one that others take for theirs: so its suite
 * comes first, whatever the client prefers.
 */
#define TLS_SUITES "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

/* ---- texts ----------------------------------------------------------------------------------- */

int tls_say(char text[TLS_TEXT_MAX], int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, TLS_TEXT_MAX, fmt, args);
	va_end(args);
	return err;
}

const char *tls_reason(void)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_reason_error_string(code);

	ERR_clear_error();
	return reason ? reason : "unknown error";
}

/* ---- files ----------------------------------------------------------------------------------- */

static int tls_open_error(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
		return -ERR_NOENT;
	case EACCES:
	case EPERM:
		return -ERR_PERM;
	case ENOMEM:
		return -ERR_NOMEM;
	default:
		return -ERR_IO;
	}
}

int tls_open(const char *path, bool secret, FILE **file, char text[TLS_TEXT_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a pipe */
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	struct stat st;

	if (!f) {
		int err = tls_say(text, tls_open_error(errno), "%s: %s", path, strerror(errno));

		if (fd >= 0)
			(void)close(fd);
		return err;
	}
	if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)fclose(f);
		return tls_say(text, -ERR_INVAL, "%s: not a regular file", path);
	}
	if (secret && (st.st_mode & S_IRWXO) != 0) {
		(void)fclose(f);
		return tls_say(text, -ERR_PERM, "%s: others can use it: chmod o= it", path);
	}
	*file = f;
	return 0;
}

/* DIR/NAME, in storage of the caller. */
static int tls_path(char path[TLS_PATH_MAX], const char *dir, const char *name,
		    char text[TLS_TEXT_MAX])
{
	int len = snprintf(path, TLS_PATH_MAX, "%s/%s", dir, name);

	if (len >= (int)TLS_PATH_MAX)
		return tls_say(text, -ERR_INVAL, "the path of the certificates is too long");
	return 0;
}

/* Instead of a question on the terminal. */
static int tls_no_password(char *buf, int size, int rwflag, void *ctx)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)ctx;
	return -1;
}

/* Nothing more in the file: not an error, if something was there. */
static bool tls_is_end(void)
{
	unsigned long code = ERR_peek_last_error();

	if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		return false;
	ERR_clear_error();
	return true;
}

/* ---- the CA ---------------------------------------------------------------------------------- */

static int tls_add_ca(SSL_CTX *ctx, X509 *cert, bool is_server)
{
	if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) != 1)
		return -ERR_NOMEM;
	if (is_server && SSL_CTX_add_client_CA(ctx, cert) != 1)
		return -ERR_NOMEM;
	return 0;
}

static int tls_read_cas(struct tls *tls, FILE *f, const char *path, char text[TLS_TEXT_MAX])
{
	size_t count = 0;
	X509 *cert;

	while ((cert = PEM_read_X509(f, NULL, tls_no_password, NULL)) != NULL) {
		int err = tls_add_ca(tls->ctx, cert, tls->is_server);

		X509_free(cert);
		if (err < 0)
			return tls_say(text, err, "%s: %s", path, tls_reason());
		count++;
	}
	if (!tls_is_end())
		return tls_say(text, -ERR_INVAL, "%s: %s", path, tls_reason());
	if (count == 0)
		return tls_say(text, -ERR_INVAL, "%s: has no certificate", path);
	return 0;
}

static int tls_load_cas(struct tls *tls, const char *dir, char text[TLS_TEXT_MAX])
{
	char path[TLS_PATH_MAX];
	FILE *f;
	int err = tls_path(path, dir, TLS_CA_FILE, text);

	if (err == 0)
		err = tls_open(path, false, &f, text);
	if (err < 0)
		return err;
	err = tls_read_cas(tls, f, path, text);
	(void)fclose(f);
	return err;
}

static int tls_read_crls(struct tls *tls, FILE *f, const char *path, char text[TLS_TEXT_MAX])
{
	X509_STORE *store = SSL_CTX_get_cert_store(tls->ctx);
	size_t count = 0;
	X509_CRL *crl;

	while ((crl = PEM_read_X509_CRL(f, NULL, tls_no_password, NULL)) != NULL) {
		int ok = X509_STORE_add_crl(store, crl);

		X509_CRL_free(crl);
		if (ok != 1)
			return tls_say(text, -ERR_NOMEM, "%s: %s", path, tls_reason());
		count++;
	}
	if (!tls_is_end())
		return tls_say(text, -ERR_INVAL, "%s: %s", path, tls_reason());
	if (count == 0)
		return tls_say(text, -ERR_INVAL, "%s: has no revocation list", path);
	(void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

/* The list of what was revoked, which need not be there. */
static int tls_load_crls(struct tls *tls, const char *dir, char text[TLS_TEXT_MAX])
{
	char path[TLS_PATH_MAX];
	FILE *f;
	int err = tls_path(path, dir, TLS_CRL_FILE, text);

	if (err == 0)
		err = tls_open(path, false, &f, text);
	if (err == -ERR_NOENT)
		return 0;
	if (err < 0)
		return err;
	err = tls_read_crls(tls, f, path, text);
	(void)fclose(f);
	return err;
}

/* ---- the own certificate --------------------------------------------------------------------- */

/* What the library says of a certificate that it does not take. */
static int tls_cert_refused(const char *path, char text[TLS_TEXT_MAX])
{
	bool empty = tls_is_end();

	return tls_say(text, -ERR_INVAL, "%s: %s", path,
		       empty ? "has no certificate" : tls_reason());
}

/* The certificate, and those behind it that lead to the CA. */
static int tls_read_chain(SSL_CTX *ctx, FILE *f, const char *path, char text[TLS_TEXT_MAX])
{
	X509 *cert = PEM_read_X509(f, NULL, tls_no_password, NULL);
	int ok = cert ? SSL_CTX_use_certificate(ctx, cert) : 0;

	X509_free(cert);
	if (ok != 1)
		return tls_cert_refused(path, text);
	while ((cert = PEM_read_X509(f, NULL, tls_no_password, NULL)) != NULL) {
		ok = (int)SSL_CTX_add1_chain_cert(ctx, cert);
		X509_free(cert);
		if (ok != 1)
			return tls_say(text, -ERR_INVAL, "%s: %s", path, tls_reason());
	}
	return tls_is_end() ? 0 : tls_cert_refused(path, text);
}

static int tls_check_dates(const X509 *cert, const char *path, char text[TLS_TEXT_MAX])
{
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return tls_say(text, -ERR_INVAL, "%s: the certificate has expired", path);
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) >= 0)
		return tls_say(text, -ERR_INVAL, "%s: the certificate is not yet valid", path);
	return 0;
}

static int tls_load_cert(SSL_CTX *ctx, const char *dir, const char *name, char text[TLS_TEXT_MAX])
{
	char path[TLS_PATH_MAX];
	FILE *f;
	int err = tls_path(path, dir, name, text);

	if (err == 0)
		err = tls_open(path, false, &f, text);
	if (err < 0)
		return err;
	err = tls_read_chain(ctx, f, path, text);
	(void)fclose(f);
	return err < 0 ? err : tls_check_dates(SSL_CTX_get0_certificate(ctx), path, text);
}

static int tls_use_key(SSL_CTX *ctx, EVP_PKEY *key, const char *path, const char *cert_name,
		       char text[TLS_TEXT_MAX])
{
	if (!key && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_BAD_PASSWORD_READ) {
		ERR_clear_error();
		return tls_say(text, -ERR_INVAL, "%s: is encrypted with a password", path);
	}
	if (!key) {
		ERR_clear_error();
		return tls_say(text, -ERR_INVAL, "%s: has no private key", path);
	}
	if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1) {
		ERR_clear_error();
		return tls_say(text, -ERR_INVAL, "%s: does not fit the certificate in %s", path,
			       cert_name);
	}
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
		return tls_say(text, -ERR_INVAL, "%s: %s", path, tls_reason());
	return 0;
}

static int tls_load_key(SSL_CTX *ctx, const char *dir, const char *name, const char *cert_name,
			char text[TLS_TEXT_MAX])
{
	char path[TLS_PATH_MAX];
	EVP_PKEY *key;
	FILE *f;
	int err = tls_path(path, dir, name, text);

	if (err == 0)
		err = tls_open(path, true, &f, text);
	if (err < 0)
		return err;
	key = PEM_read_PrivateKey(f, NULL, tls_no_password, NULL);
	(void)fclose(f);
	err = tls_use_key(ctx, key, path, cert_name, text);
	EVP_PKEY_free(key);
	return err;
}

static int tls_load_certificates(struct tls *tls, const char *dir, char text[TLS_TEXT_MAX])
{
	const char *cert = tls->is_server ? TLS_SERVER_CERT_FILE : TLS_CLIENT_CERT_FILE;
	const char *key = tls->is_server ? TLS_SERVER_KEY_FILE : TLS_CLIENT_KEY_FILE;
	int err = tls_load_cas(tls, dir, text);

	if (err == 0)
		err = tls_load_crls(tls, dir, text);
	if (err == 0)
		err = tls_load_cert(tls->ctx, dir, cert, text);
	if (err == 0)
		err = tls_load_key(tls->ctx, dir, key, cert, text);
	return err;
}

/* ---- contexts -------------------------------------------------------------------------------- */

/* Without it a server takes no pre-shared key. */
static bool tls_mark_sessions(SSL_CTX *ctx)
{
	static const unsigned char id[] = "cowd";

	return SSL_CTX_set_session_id_context(ctx, id, sizeof(id)) == 1;
}

static int tls_configure(SSL_CTX *ctx)
{
	SSL_CTX_set_security_level(ctx, TLS_SECURITY_LEVEL);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
					   SSL_OP_NO_RENEGOTIATION |
					   SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void)SSL_CTX_clear_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_default_passwd_cb(ctx, tls_no_password);
	SSL_CTX_set_read_ahead(ctx, 1);
	/* a server that lets certificates and keys in alike asks who has no key for a certificate */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_verify);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_early_data(ctx, 0) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, TLS_SUITES) != 1)
		return -ERR_NOMEM;
	return 0;
}

static int tls_new(bool is_server, struct tls **out, char text[TLS_TEXT_MAX])
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return tls_say(text, -ERR_NOMEM, "out of memory");
	ERR_clear_error();
	atomic_init(&tls->refs, 1);
	tls->is_server = is_server;
	tls->ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
	if (!tls->ctx || SSL_CTX_set_app_data(tls->ctx, tls) != 1 || tls_configure(tls->ctx) < 0 ||
	    (is_server && !tls_mark_sessions(tls->ctx))) {
		tls_put(tls);
		return tls_say(text, -ERR_NOMEM, "TLS cannot be used: %s", tls_reason());
	}
	*out = tls;
	return 0;
}

struct tls *tls_get(struct tls *tls)
{
	atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
	return tls;
}

void tls_put(struct tls *tls)
{
	if (!tls || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(tls->ctx);
	tls_psk_free(tls);
	for (size_t i = 0; i < tls->allow_count; i++)
		free(tls->allow[i]);
	free(tls->allow);
	free(tls->host);
	free(tls);
}

static int tls_copy_allowed(struct tls *tls, const struct tls_server_files *files,
			    char text[TLS_TEXT_MAX])
{
	if (files->allow_count == 0)
		return 0;
	tls->allow = calloc(files->allow_count, sizeof(*tls->allow));
	if (!tls->allow)
		return tls_say(text, -ERR_NOMEM, "out of memory");
	for (; tls->allow_count < files->allow_count; tls->allow_count++) {
		char *copy = strdup(files->allow[tls->allow_count]);

		if (!copy)
			return tls_say(text, -ERR_NOMEM, "out of memory");
		tls->allow[tls->allow_count] = copy;
	}
	return 0;
}

static int tls_server_load(struct tls *tls, const struct tls_server_files *files,
			   char text[TLS_TEXT_MAX])
{
	int err = tls_copy_allowed(tls, files, text);

	if (err == 0 && files->certificates)
		err = tls_load_certificates(tls, files->certificates, text);
	if (err == 0 && files->psk)
		err = tls_psk_load(tls, files->psk, text);
	if (err == 0 && files->psk)
		SSL_CTX_set_psk_find_session_callback(tls->ctx, tls_psk_find);
	return err;
}

int tls_server_new(const struct tls_server_files *files, struct tls **out, char text[TLS_TEXT_MAX])
{
	struct tls *tls;
	int err;

	if (!files->certificates && !files->psk)
		return tls_say(text, -ERR_INVAL, "neither certificates nor keys are given");
	err = tls_new(true, &tls, text);
	if (err < 0)
		return err;
	err = tls_server_load(tls, files, text);
	if (err < 0) {
		tls_put(tls);
		return err;
	}
	*out = tls;
	return 0;
}

static int tls_client_load(struct tls *tls, const struct tls_client_files *files,
			   char text[TLS_TEXT_MAX])
{
	if (strlen(files->host) >= TLS_NAME_MAX)
		return tls_say(text, -ERR_INVAL, "the name of the server is too long");
	tls->host = strdup(files->host);
	if (!tls->host)
		return tls_say(text, -ERR_NOMEM, "out of memory");
	if (files->certificates)
		return tls_load_certificates(tls, files->certificates, text);
	SSL_CTX_set_psk_use_session_callback(tls->ctx, tls_psk_use);
	return tls_psk_choose(tls, files->psk, files->identity, text);
}

int tls_client_new(const struct tls_client_files *files, struct tls **out, char text[TLS_TEXT_MAX])
{
	struct tls *tls;
	int err;

	if (!files->certificates == !files->psk)
		return tls_say(text, -ERR_INVAL, "either certificates or a file of keys is needed");
	err = tls_new(false, &tls, text);
	if (err < 0)
		return err;
	err = tls_client_load(tls, files, text);
	if (err < 0) {
		tls_put(tls);
		return err;
	}
	*out = tls;
	return 0;
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct tls *tls_of(const SSL *ssl)
{
	return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

struct tls_peer *tls_peer_of(SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* The name that the server may need to choose a certificate; addresses are not sent. */
static bool tls_name_server(SSL *ssl, const char *host)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);

	ERR_clear_error();
	if (ip) {
		ASN1_OCTET_STRING_free(ip);
		return true;
	}
	return *host == '\0' || SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *tls_session(struct tls *tls, struct tls_peer *peer)
{
	SSL *ssl = SSL_new(tls->ctx);

	if (!ssl)
		return NULL;
	if (SSL_set_app_data(ssl, peer) != 1 ||
	    (!tls->is_server && !tls_name_server(ssl, tls->host))) {
		SSL_free(ssl);
		return NULL;
	}
	if (tls->is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	*peer = (struct tls_peer){0};
	return ssl;
}
