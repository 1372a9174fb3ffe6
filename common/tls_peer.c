/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_peer.c: whether the other end of a handshake is one that is let in, and what is told of it when
 * it is not.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"
#include "common/tls_priv.h"

/* ---- names ----------------------------------------------------------------------------------- */

/* The name as it is in the certificate; NULL: of a type that is not looked at. */
static const ASN1_STRING *tls_name_value(const GENERAL_NAME *name)
{
	switch (name->type) {
	case GEN_DNS:
		return name->d.dNSName;
	case GEN_EMAIL:
		return name->d.rfc822Name;
	case GEN_URI:
		return name->d.uniformResourceIdentifier;
	case GEN_IPADD:
		return name->d.iPAddress;
	default:
		return NULL;
	}
}

static bool tls_address_is(const ASN1_STRING *value, const char *wanted)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(wanted);
	bool same = ip && ASN1_STRING_cmp(ip, value) == 0;

	ERR_clear_error();
	ASN1_OCTET_STRING_free(ip);
	return same;
}

/* Whether a name of a certificate is the wanted one; of a server only DNS and IP can be. */
static bool tls_name_is(const GENERAL_NAME *name, const char *wanted, bool of_server)
{
	const ASN1_STRING *value = tls_name_value(name);
	const char *bytes;
	size_t len;

	if (!value || (of_server && name->type != GEN_DNS && name->type != GEN_IPADD))
		return false;
	if (name->type == GEN_IPADD)
		return tls_address_is(value, wanted);
	bytes = (const char *)ASN1_STRING_get0_data(value);
	len = (size_t)ASN1_STRING_length(value);
	if (len != strlen(wanted) || memchr(bytes, '\0', len))
		return false;
	return name->type == GEN_DNS ? strncasecmp(bytes, wanted, len) == 0
				     : memcmp(bytes, wanted, len) == 0;
}

/* Whether the name can be shown; if so it is. */
static bool tls_name_show(const GENERAL_NAME *name, char out[TLS_NAME_MAX])
{
	const ASN1_STRING *value = tls_name_value(name);
	const unsigned char *bytes;
	size_t len;

	if (!value)
		return false;
	bytes = ASN1_STRING_get0_data(value);
	len = (size_t)ASN1_STRING_length(value);
	if (name->type == GEN_IPADD && (len == 4 || len == 16))
		return inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, out, TLS_NAME_MAX) != NULL;
	if (name->type == GEN_IPADD || len >= TLS_NAME_MAX || memchr(bytes, '\0', len))
		return false;
	memcpy(out, bytes, len);
	out[len] = '\0';
	return true;
}

/* The first name of a certificate that has one, or else its subject, to be shown only. */
static void tls_show_cert(const X509 *cert, const GENERAL_NAMES *names, char out[TLS_NAME_MAX])
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		if (tls_name_show(sk_GENERAL_NAME_value(names, i), out))
			return;
	if (!X509_NAME_oneline(X509_get_subject_name(cert), out, (int)TLS_NAME_MAX))
		out[0] = '\0';
	ERR_clear_error();
}

/* Whether the certificate has the wanted name; then that is its name to be shown. */
static bool tls_cert_has(const GENERAL_NAMES *names, const char *wanted, bool of_server,
			 char out[TLS_NAME_MAX])
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (tls_name_is(name, wanted, of_server))
			return tls_name_show(name, out);
	}
	return false;
}

/* ---- in a handshake -------------------------------------------------------------------------- */

static bool tls_client_is_allowed(const struct tls *tls, const GENERAL_NAMES *names,
				  struct tls_peer *peer)
{
	for (size_t i = 0; i < tls->allow_count; i++)
		if (tls_cert_has(names, tls->allow[i], false, peer->name))
			return true;
	if (tls->allow_count > 0)
		(void)snprintf(peer->refused, sizeof(peer->refused),
			       "the identity '%.200s' is not allowed", peer->name);
	return tls->allow_count == 0;
}

static bool tls_server_is_right(const struct tls *tls, const GENERAL_NAMES *names,
				struct tls_peer *peer)
{
	if (tls->host && tls_cert_has(names, tls->host, true, peer->name))
		return true;
	(void)snprintf(peer->refused, sizeof(peer->refused),
		       "the server's certificate is not for '%.100s' but for '%.100s'",
		       tls->host ? tls->host : "", peer->name);
	return false;
}

/* Called for each certificate of a chain, the last one for that of the other end itself. */
int tls_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	const X509 *cert = X509_STORE_CTX_get_current_cert(store);
	GENERAL_NAMES *names;
	const struct tls *tls;
	bool good;

	if (!ok || X509_STORE_CTX_get_error_depth(store) > 0)
		return ok;
	tls = tls_of(ssl);
	names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	tls_show_cert(cert, names, tls_peer_of(ssl)->name);
	good = tls->is_server ? tls_client_is_allowed(tls, names, tls_peer_of(ssl))
			      : tls_server_is_right(tls, names, tls_peer_of(ssl));
	GENERAL_NAMES_free(names);
	if (!good) /* the alert of this one is "certificate unknown" */
		X509_STORE_CTX_set_error(store, X509_V_ERR_PERMITTED_VIOLATION);
	return good;
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Alerts by which one end says that it does not accept the other. */
static bool tls_alert_refuses(int alert)
{
	switch (alert) {
	case SSL_AD_HANDSHAKE_FAILURE:
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case SSL_AD_DECRYPT_ERROR:
	case SSL_AD_UNKNOWN_PSK_IDENTITY:
	case SSL_AD_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

static int tls_alerted(const struct tls *tls, int alert, char text[TLS_TEXT_MAX])
{
	/* what OpenSSL answers to a key that is not the one it has */
	if (!tls->is_server && tls->psk_count > 0 && alert == SSL_AD_ILLEGAL_PARAMETER)
		return tls_say(text, -ERR_PERM,
			       "the server has ended it: perhaps the key is wrong");
	return tls_say(text, tls_alert_refuses(alert) ? -ERR_PERM : -ERR_PROTO,
		       "the %s has ended it: %s", tls->is_server ? "client" : "server",
		       SSL_alert_desc_string_long(alert));
}

static int tls_reason_failure(const SSL *ssl, int reason, char text[TLS_TEXT_MAX])
{
	const struct tls *tls = tls_of(ssl);
	const char *who = tls->is_server ? "client" : "server";

	if (reason > SSL_AD_REASON_OFFSET)
		return tls_alerted(tls, reason - SSL_AD_REASON_OFFSET, text);
	switch (reason) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return tls_say(text, -ERR_PERM, "the %s's certificate is refused: %s", who,
			       X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return tls_say(text, -ERR_PERM, "the %s has no certificate", who);
	case SSL_R_BINDER_DOES_NOT_VERIFY:
		return tls_say(text, -ERR_PERM, "the key of the identity is wrong");
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
		if (tls->is_server && tls->psk_count > 0)
			return tls_say(text, -ERR_PERM, "the client has no key that is known");
		break;
	default:
		break;
	}
	return tls_say(text, -ERR_PROTO, "%s", tls_reason());
}

int tls_failure(SSL *ssl, char text[TLS_TEXT_MAX])
{
	const struct tls_peer *peer = tls_peer_of(ssl);
	unsigned long code = ERR_peek_error();
	int err;

	if (peer->refused[0] != '\0')
		err = tls_say(text, -ERR_PERM, "%s", peer->refused);
	else if (ERR_GET_LIB(code) == ERR_LIB_SSL)
		err = tls_reason_failure(ssl, ERR_GET_REASON(code), text);
	else
		err = tls_say(text, -ERR_PROTO, "%s", tls_reason());
	ERR_clear_error();
	return err;
}
