/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/reach.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/uri.h"
#include "common/err.h"

#define REACH_UNIX     "cow+unix://"
#define REACH_TLS      "cows://"
#define REACH_NBD_UNIX "nbd+unix:"
#define REACH_NBD_TCP  "nbd+tcp:"

/* The pieces of a URI that libcow has taken; they point into it. */
struct reach_parts {
	const char *authority; /* behind "://" */
	size_t authority_len;
	const char *host; /* in that: with the brackets of an IPv6 address */
	size_t host_len;
	const char *query; /* from its "?" on, or "" */
};

static bool reach_begins(const char *text, const char *head)
{
	return strncmp(text, head, strlen(head)) == 0;
}

static bool reach_is_unix(const char *uri)
{
	return !uri || reach_begins(uri, REACH_UNIX);
}

static struct reach_parts reach_split(const char *uri)
{
	const char *colon = strstr(uri, "://");
	struct reach_parts p = {.authority = colon ? colon + 3 : uri};
	const char *query = strchr(p.authority, '?');
	const char *at;

	p.authority_len = strcspn(p.authority, "/?");
	at = memchr(p.authority, '@', p.authority_len);
	p.host = at ? at + 1 : p.authority;
	p.host_len = p.host[0] == '[' ? strcspn(p.host, "]") + 1 : strcspn(p.host, ":/?");
	p.query = query ? query : "";
	return p;
}

/* All but what may stand in a path as well as in a query is escaped. */
static void reach_put(FILE *out, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~/";

	for (; *text; text++) {
		if (strchr(plain, *text))
			(void)fputc(*text, out);
		else
			(void)fprintf(out, "%%%02X", (unsigned char)*text);
	}
}

/* The text, or NULL; "ok": all of it has been written. */
static char *reach_close(FILE *out, char **text, bool ok)
{
	if (fclose(out) == 0 && ok)
		return *text;
	free(*text);
	return NULL;
}

char *reach_uri(const char *uri, const char *object)
{
	bool local = !uri || (reach_is_unix(uri) && !strchr(uri, '?'));
	char *socket = local ? uri_local_socket() : NULL;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	struct reach_parts p;

	if (!out) {
		free(socket);
		return NULL;
	}
	if (local) {
		(void)fputs(REACH_UNIX "/", out);
		reach_put(out, object);
		(void)fputs("?socket=", out);
		reach_put(out, socket ? socket : "");
	} else {
		p = reach_split(uri);
		(void)fprintf(out, "%.*s/", (int)(p.authority + p.authority_len - uri), uri);
		reach_put(out, object);
		(void)fputs(p.query, out);
	}
	text = reach_close(out, &text, !local || socket);
	free(socket);
	return text;
}

/* ---- NBD ------------------------------------------------------------------------------------- */

static bool reach_is_loopback(const char *host, size_t len)
{
	static const char *const names[] = {"localhost", "[::1]"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (len == strlen(names[i]) && strncmp(host, names[i], len) == 0)
			return true;
	return len > 4 && strncmp(host, "127.", 4) == 0;
}

/* "HOST:PORT" behind the address's head. */
static size_t reach_host_len(const char *addr)
{
	const char *colon = strrchr(addr, ':');

	return colon ? (size_t)(colon - addr) : strlen(addr);
}

static bool reach_is_everywhere(const char *host, size_t len)
{
	return (len == 7 && strncmp(host, "0.0.0.0", len) == 0) ||
	       (len == 4 && strncmp(host, "[::]", len) == 0);
}

/* How good an address is from there; 0: of no use. */
static unsigned int reach_rank(const char *uri, const char *addr)
{
	struct reach_parts p = uri ? reach_split(uri) : (struct reach_parts){0};
	bool here = reach_is_unix(uri) || reach_is_loopback(p.host, p.host_len);
	const char *host;

	if (reach_begins(addr, REACH_NBD_UNIX))
		return reach_is_unix(uri) ? 3 : here ? 1 : 0;
	if (!reach_begins(addr, REACH_NBD_TCP))
		return 0;
	host = addr + strlen(REACH_NBD_TCP);
	return here || !reach_is_loopback(host, reach_host_len(host)) ? 2 : 0;
}

static const char *reach_choose(const char *uri, const struct cow_service *service)
{
	const char *best = NULL;
	unsigned int most = 0;

	for (size_t i = 0; i < service->naddrs; i++) {
		unsigned int rank = reach_rank(uri, service->addrs[i]);

		if (rank <= most)
			continue;
		most = rank;
		best = service->addrs[i];
	}
	return best;
}

/* The parameters that libnbd calls as libcow does: "lead" comes before the first. */
static void reach_put_credentials(FILE *out, const char *uri, char lead)
{
	static const char *const keys[] = {"tls-certificates=", "tls-psk-file="};
	const char *at = reach_split(uri).query;

	while (*at) {
		size_t len = strcspn(++at, "&");

		for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
			if (!reach_begins(at, keys[i]))
				continue;
			(void)fprintf(out, "%c%.*s", lead, (int)len, at);
			lead = '&';
		}
		at += len;
	}
}

static void reach_put_unix(FILE *out, const char *scheme, const char *path, const char *object)
{
	(void)fprintf(out, "%s+unix:///", scheme);
	reach_put(out, object);
	(void)fputs("?socket=", out);
	reach_put(out, path);
}

/* uri_tls: that of the connection if it has credentials, or NULL. */
static void reach_put_tcp(FILE *out, const char *uri, const char *uri_tls, const char *addr,
			  const char *object)
{
	size_t len = reach_host_len(addr);
	struct reach_parts p = uri ? reach_split(uri) : (struct reach_parts){0};

	if (uri_tls && p.host > p.authority)
		(void)fprintf(out, "%.*s", (int)(p.host - p.authority), p.authority);
	if (!reach_is_everywhere(addr, len))
		(void)fprintf(out, "%.*s", (int)len, addr);
	else if (reach_is_unix(uri))
		(void)fputs(addr[0] == '[' ? "[::1]" : "127.0.0.1", out);
	else
		(void)fprintf(out, "%.*s", (int)p.host_len, p.host);
	(void)fprintf(out, "%s/", addr + len);
	reach_put(out, object);
}

int reach_nbd(const char *uri, const struct cow_service *service, const char *object, char **nbd)
{
	const char *addr = reach_choose(uri, service);
	const char *uri_tls = uri && reach_begins(uri, REACH_TLS) ? uri : NULL;
	bool tls = service->nbd_tls == COW_NBD_TLS_REQUIRE;
	const char *scheme;
	char *text = NULL;
	size_t len;
	FILE *out;

	*nbd = NULL;
	if (!addr)
		return 0;
	if (uri_tls && service->nbd_tls == COW_NBD_TLS_ON && !reach_begins(addr, REACH_NBD_UNIX))
		tls = true; /* who has asked for it is not to send in plain text */
	if (!tls)
		uri_tls = NULL;
	scheme = tls ? "nbds" : "nbd";
	out = open_memstream(&text, &len);
	if (!out)
		return -ERR_NOMEM;
	if (reach_begins(addr, REACH_NBD_UNIX)) {
		reach_put_unix(out, scheme, addr + strlen(REACH_NBD_UNIX), object);
	} else {
		(void)fprintf(out, "%s://", scheme);
		reach_put_tcp(out, uri, uri_tls, addr + strlen(REACH_NBD_TCP), object);
	}
	if (uri_tls)
		reach_put_credentials(out, uri_tls, reach_begins(addr, REACH_NBD_UNIX) ? '&' : '?');
	*nbd = reach_close(out, &text, true);
	return *nbd ? 0 : -ERR_NOMEM;
}
