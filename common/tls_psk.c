/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tls_psk.c: pre-shared keys: their file, and the callbacks that find them.  The library has them as
 * sessions of an earlier connection that there never was.
 */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/tls_priv.h"

#define TLS_IDENTITIES_MAX 16u /* of one client */
#define TLS_PSK_LINE_MAX   (TLS_NAME_MAX + 2 * TLS_PSK_MAX + 4)
#define TLS_PSKS_MAX	   65536u

void tls_psk_free(struct tls *tls)
{
	if (tls->psks)
		OPENSSL_cleanse(tls->psks, tls->psk_count * sizeof(*tls->psks));
	free(tls->psks);
	tls->psks = NULL;
	tls->psk_count = 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* The bytes of a key in hexadecimal digits; 0: it is none. */
static size_t tls_psk_key(const char *hex, uint8_t key[TLS_PSK_MAX])
{
	size_t len = 0;

	if (OPENSSL_hexstr2buf_ex(key, TLS_PSK_MAX, &len, hex, '\0') != 1) {
		ERR_clear_error();
		return 0;
	}
	return len;
}

/* What is wrong with a line; NULL: it is in *psk. */
static const char *tls_psk_parse(char *line, struct tls_psk *psk)
{
	char *colon = strchr(line, ':');
	size_t len;

	if (!colon || colon == line)
		return "not a line \"identity:hexkey\"";
	len = (size_t)(colon - line);
	if (len >= sizeof(psk->identity))
		return "an identity of more than 255 bytes";
	memcpy(psk->identity, line, len);
	psk->identity[len] = '\0';
	psk->key_len = tls_psk_key(colon + 1, psk->key);
	if (psk->key_len < TLS_PSK_MIN)
		return "a key that is not 16 to 64 bytes in hexadecimal digits";
	return NULL;
}

static struct tls_psk *tls_psk_named(const struct tls *tls, const char *identity, size_t len)
{
	for (size_t i = 0; i < tls->psk_count; i++)
		if (strlen(tls->psks[i].identity) == len &&
		    memcmp(tls->psks[i].identity, identity, len) == 0)
			return &tls->psks[i];
	return NULL;
}

/* Keys do not stay behind in memory that was moved. */
static bool tls_psk_add(struct tls *tls, const struct tls_psk *psk)
{
	size_t count = tls->psk_count;

	if ((count & (count - 1)) == 0) {
		size_t room = count ? 2 * count : 1;
		struct tls_psk *more = calloc(room, sizeof(*more));

		if (!more)
			return false;
		if (count > 0)
			memcpy(more, tls->psks, count * sizeof(*more));
		tls_psk_free(tls);
		tls->psks = more;
		tls->psk_count = count;
	}
	tls->psks[tls->psk_count++] = *psk;
	return true;
}

/* One line; NULL, or what is wrong with it. */
static const char *tls_psk_line(struct tls *tls, char *line)
{
	struct tls_psk psk = {0};
	const char *problem;

	line[strcspn(line, "\r\n")] = '\0';
	if (*line == '\0')
		return NULL;
	problem = tls_psk_parse(line, &psk);
	if (!problem && tls_psk_named(tls, psk.identity, strlen(psk.identity)))
		problem = "an identity that is there twice";
	if (!problem && tls->psk_count == TLS_PSKS_MAX)
		problem = "more than 65536 identities";
	if (!problem && !tls_psk_add(tls, &psk))
		problem = "out of memory";
	OPENSSL_cleanse(&psk, sizeof(psk));
	return problem;
}

static int tls_psk_read(struct tls *tls, FILE *f, const char *path, char text[TLS_TEXT_MAX])
{
	char line[TLS_PSK_LINE_MAX];
	const char *problem = NULL;
	unsigned int number = 0;

	while (!problem && fgets(line, sizeof(line), f)) {
		number++;
		problem = !strchr(line, '\n') && !feof(f) ? "a line that is too long"
							  : tls_psk_line(tls, line);
	}
	OPENSSL_cleanse(line, sizeof(line));
	if (problem)
		return tls_say(text, -ERR_INVAL, "%s: line %u: %s", path, number, problem);
	if (ferror(f))
		return tls_say(text, -ERR_IO, "%s: cannot be read", path);
	if (tls->psk_count == 0)
		return tls_say(text, -ERR_INVAL, "%s: has no keys", path);
	return 0;
}

int tls_psk_load(struct tls *tls, const char *path, char text[TLS_TEXT_MAX])
{
	FILE *f;
	int err = tls_open(path, true, &f, text);

	if (err < 0)
		return err;
	err = tls_psk_read(tls, f, path, text);
	(void)fclose(f);
	return err;
}

int tls_psk_choose(struct tls *tls, const char *path, const char *identity, char text[TLS_TEXT_MAX])
{
	int err = tls_psk_load(tls, path, text);
	struct tls_psk *found;

	if (err < 0)
		return err;
	if (!identity && tls->psk_count > 1)
		return tls_say(text, -ERR_INVAL, "%s: has several identities, and none is named",
			       path);
	found = identity ? tls_psk_named(tls, identity, strlen(identity)) : tls->psks;
	if (!found)
		return tls_say(text, -ERR_NOENT, "%s: has no key of '%s'", path, identity);
	if (found != tls->psks)
		tls->psks[0] = *found;
	OPENSSL_cleanse(tls->psks + 1, (tls->psk_count - 1) * sizeof(*tls->psks));
	tls->psk_count = 1;
	return 0;
}

/* ---- in a handshake -------------------------------------------------------------------------- */

/* NULL: out of memory. */
static SSL_SESSION *tls_psk_session(SSL *ssl, const struct tls_psk *psk)
{
	static const unsigned char suite[] = {0x13, 0x01}; /* TLS_AES_128_GCM_SHA256 */
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *sess = SSL_SESSION_new();

	if (sess && cipher && SSL_SESSION_set1_master_key(sess, psk->key, psk->key_len) == 1 &&
	    SSL_SESSION_set_cipher(sess, cipher) == 1 &&
	    SSL_SESSION_set_protocol_version(sess, TLS1_3_VERSION) == 1)
		return sess;
	SSL_SESSION_free(sess);
	return NULL;
}

static bool tls_psk_is_allowed(const struct tls *tls, const char *identity)
{
	for (size_t i = 0; i < tls->allow_count; i++)
		if (strcmp(tls->allow[i], identity) == 0)
			return true;
	return tls->allow_count == 0;
}

/* Of one that is not let in nothing is found, as if its key were not there. */
int tls_psk_find(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **sess)
{
	struct tls *tls = tls_of(ssl);
	struct tls_peer *peer = tls_peer_of(ssl);
	/* a hello has room for thousands, and each is looked for */
	const struct tls_psk *psk = peer->identities++ < TLS_IDENTITIES_MAX
					? tls_psk_named(tls, (const char *)identity, len)
					: NULL;

	*sess = NULL;
	if (!psk) {
		(void)snprintf(peer->refused, sizeof(peer->refused),
			       "the identity '%.*s' is unknown", (int)(len < 200 ? len : 200),
			       (const char *)identity);
		return 1;
	}
	if (!tls_psk_is_allowed(tls, psk->identity)) {
		(void)snprintf(peer->refused, sizeof(peer->refused),
			       "the identity '%.200s' is not allowed", psk->identity);
		return 1;
	}
	*sess = tls_psk_session(ssl, psk);
	if (!*sess)
		return 0;
	(void)snprintf(peer->name, sizeof(peer->name), "%s", psk->identity);
	peer->refused[0] = '\0';
	return 1;
}

int tls_psk_use(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *len,
		SSL_SESSION **sess)
{
	const struct tls_psk *psk = tls_of(ssl)->psks;

	*sess = NULL;
	if (md && EVP_MD_get_type(md) != NID_sha256) /* the server wants another hash: no key */
		return 1;
	*sess = tls_psk_session(ssl, psk);
	if (!*sess)
		return 0;
	*identity = (const unsigned char *)psk->identity;
	*len = strlen(psk->identity);
	return 1;
}
