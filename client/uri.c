/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/uri.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"

#define URI_SYSTEM_SOCKET	"/run/cowd/cowd.sock"
#define URI_SYSTEM_CERTIFICATES "/etc/pki/cowd"

void uri_clear(struct uri *uri)
{
	free(uri->host);
	free(uri->port);
	free(uri->socket);
	free(uri->object);
	free(uri->identity);
	free(uri->certificates);
	free(uri->psk);
	free(uri->hostname);
	*uri = (struct uri){0};
}

static int uri_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One character of the text, decoded; 0 for a bad escape, an escaped NUL included. */
static char uri_char(const char *text, const char *end, size_t *used)
{
	int hi, lo;

	*used = 1;
	if (text[0] != '%')
		return text[0];
	if (end - text < 3)
		return 0;
	hi = uri_hex(text[1]);
	lo = uri_hex(text[2]);
	*used = 3;
	if (hi < 0 || lo < 0)
		return 0;
	return (char)(hi << 4 | lo);
}

/* A copy of text up to end with the percent escapes decoded. */
static int uri_decode(const char *text, const char *end, char **out, const char **problem)
{
	char *copy = malloc((size_t)(end - text) + 1);
	size_t len = 0;
	size_t used;

	*problem = "does not fit in memory";
	if (!copy)
		return -ERR_NOMEM;
	for (; text < end; text += used) {
		copy[len] = uri_char(text, end, &used);
		if (copy[len] == '\0') {
			free(copy);
			*problem = "has a bad percent escape in it";
			return -ERR_INVAL;
		}
		len++;
	}
	copy[len] = '\0';
	*out = copy;
	return 0;
}

static bool uri_port_is_good(const char *port)
{
	unsigned int n = 0;

	for (const char *p = port; *p; p++) {
		if (*p < '0' || *p > '9' || p - port >= 5)
			return false;
		n = n * 10 + (unsigned int)(*p - '0');
	}
	return n >= 1 && n <= UINT16_MAX;
}

static int uri_copy(const char *text, size_t len, char **out)
{
	char *copy = strndup(text, len);

	if (!copy)
		return -ERR_NOMEM;
	*out = copy;
	return 0;
}

/* host, [ipv6], either with :port. */
static int uri_parse_authority(const char *text, const char *end, struct uri *uri,
			       const char **problem)
{
	bool bracket = *text == '[';
	const char *close = bracket ? memchr(text, ']', (size_t)(end - text)) : NULL;
	const char *host = bracket ? text + 1 : text;
	const char *colon = NULL;
	const char *host_end;

	*problem = "has no ']' after its address";
	if (bracket && !close)
		return -ERR_INVAL;
	colon = bracket ? close + 1 : memchr(text, ':', (size_t)(end - text));
	if (!colon)
		colon = end;
	host_end = bracket ? close : colon;
	*problem = "has something else than a port after its host";
	if (colon < end && *colon != ':')
		return -ERR_INVAL;
	*problem = "names no host";
	if (host == host_end)
		return -ERR_INVAL;
	*problem = "does not fit in memory";
	if (uri_copy(host, (size_t)(host_end - host), &uri->host) < 0)
		return -ERR_NOMEM;
	if (colon == end)
		return uri_copy(uri->tls ? URI_TLS_PORT : URI_TCP_PORT, strlen(URI_TCP_PORT),
				&uri->port);
	if (uri_copy(colon + 1, (size_t)(end - colon - 1), &uri->port) < 0)
		return -ERR_NOMEM;
	*problem = "has a port that is not a number from 1 to 65535";
	return uri_port_is_good(uri->port) ? 0 : -ERR_INVAL;
}

static int uri_parse_object(const char *text, const char *end, struct uri *uri,
			    const char **problem)
{
	return text == end ? 0 : uri_decode(text, end, &uri->object, problem);
}

static int uri_parse_tcp(const char *text, struct uri *uri, const char **problem)
{
	const char *end = text + strcspn(text, "/?");
	const char *rest = *end == '/' ? end + 1 : end;
	int err = uri_parse_authority(text, end, uri, problem);

	if (err < 0)
		return err;
	if (strchr(end, '?')) {
		*problem = "has parameters, and cow:// takes none";
		return -ERR_INVAL;
	}
	return uri_parse_object(rest, rest + strlen(rest), uri, problem);
}

/* Where the value of a parameter goes; NULL: there is none of that name. */
static char **uri_parameter(struct uri *uri, const char *name, size_t len)
{
	static const char certificates[] = "tls-certificates";
	static const char psk[] = "tls-psk-file";
	static const char hostname[] = "tls-hostname";

	if (len == sizeof(certificates) - 1 && memcmp(name, certificates, len) == 0)
		return &uri->certificates;
	if (len == sizeof(psk) - 1 && memcmp(name, psk, len) == 0)
		return &uri->psk;
	if (len == sizeof(hostname) - 1 && memcmp(name, hostname, len) == 0)
		return &uri->hostname;
	return NULL;
}

static int uri_parse_parameter(const char *text, const char *end, struct uri *uri,
			       const char **problem)
{
	const char *equal = memchr(text, '=', (size_t)(end - text));
	char **value = equal ? uri_parameter(uri, text, (size_t)(equal - text)) : NULL;
	int err;

	*problem = "has another parameter than tls-certificates, tls-psk-file and tls-hostname";
	if (!value)
		return -ERR_INVAL;
	*problem = "has a parameter twice";
	if (*value)
		return -ERR_INVAL;
	err = uri_decode(equal + 1, end, value, problem);
	if (err < 0)
		return err;
	*problem = "has a parameter that is no absolute path";
	if (value != &uri->hostname && (*value)[0] != '/')
		return -ERR_INVAL;
	*problem = "has an empty tls-hostname";
	return (*value)[0] != '\0' ? 0 : -ERR_INVAL;
}

static int uri_parse_parameters(const char *text, struct uri *uri, const char **problem)
{
	for (;;) {
		const char *end = text + strcspn(text, "&");
		int err = uri_parse_parameter(text, end, uri, problem);

		if (err < 0)
			return err;
		if (*end == '\0')
			break;
		text = end + 1;
	}
	*problem = "has both certificates and a file of keys";
	return uri->certificates && uri->psk ? -ERR_INVAL : 0;
}

/* identity@; *text is then behind it. */
static int uri_parse_identity(const char **text, const char *end, struct uri *uri,
			      const char **problem)
{
	const char *at = memchr(*text, '@', (size_t)(end - *text));
	int err;

	if (!at)
		return 0;
	*problem = "has an empty identity";
	err = at == *text ? -ERR_INVAL : uri_decode(*text, at, &uri->identity, problem);
	*text = at + 1;
	return err;
}

static int uri_parse_tls(const char *text, struct uri *uri, const char **problem)
{
	const char *end = text + strcspn(text, "/?");
	const char *rest = *end == '/' ? end + 1 : end;
	const char *query = rest + strcspn(rest, "?");
	int err;

	uri->tls = true;
	err = uri_parse_identity(&text, end, uri, problem);
	if (err == 0)
		err = uri_parse_authority(text, end, uri, problem);
	if (err == 0)
		err = uri_parse_object(rest, query, uri, problem);
	if (err == 0 && *query == '?')
		err = uri_parse_parameters(query + 1, uri, problem);
	if (err < 0)
		return err;
	*problem = "names an identity, and no tls-psk-file that has its key";
	return uri->identity && !uri->psk ? -ERR_INVAL : 0;
}

static int uri_parse_unix(const char *text, struct uri *uri, const char **problem)
{
	static const char key[] = "socket=";
	const char *query = strchr(text, '?');
	const char *end = query ? query : text + strlen(text);
	int err;

	*problem = "names a host, and a unix socket has none: write cow+unix:///";
	if (*text != '/')
		return -ERR_INVAL;
	err = uri_parse_object(text + 1, end, uri, problem);
	if (err < 0 || !query)
		return err;
	*problem = "has another parameter than socket=PATH";
	if (strncmp(query + 1, key, sizeof(key) - 1) != 0 || strchr(query, '&'))
		return -ERR_INVAL;
	query += sizeof(key);
	err = uri_decode(query, query + strlen(query), &uri->socket, problem);
	if (err < 0)
		return err;
	*problem = "has a socket that is not an absolute path";
	return uri->socket[0] == '/' ? 0 : -ERR_INVAL;
}

static int uri_parse_into(const char *text, struct uri *uri, const char **problem)
{
	static const char tcp[] = "cow://";
	static const char local[] = "cow+unix://";
	static const char tls[] = "cows://";

	if (strncmp(text, tcp, sizeof(tcp) - 1) == 0)
		return uri_parse_tcp(text + sizeof(tcp) - 1, uri, problem);
	if (strncmp(text, local, sizeof(local) - 1) == 0)
		return uri_parse_unix(text + sizeof(local) - 1, uri, problem);
	if (strncmp(text, tls, sizeof(tls) - 1) == 0)
		return uri_parse_tls(text + sizeof(tls) - 1, uri, problem);
	*problem = "begins neither with cow:// nor with cows:// nor with cow+unix://";
	return -ERR_INVAL;
}

int uri_parse(const char *text, struct uri *uri, const char **problem)
{
	struct uri got = {0};
	int err = uri_parse_into(text, &got, problem);

	if (err < 0) {
		uri_clear(&got);
		return err;
	}
	*uri = got;
	return 0;
}

const char *uri_from_environment(void)
{
	const char *uri = getenv("COW_URI");

	return uri && *uri ? uri : NULL;
}

char *uri_certificates(void)
{
	const char *home = getenv("HOME");
	char *path;

	if (geteuid() == 0 || !home || !*home)
		return strdup(URI_SYSTEM_CERTIFICATES);
	return asprintf(&path, "%s/.config/pki/cowd", home) < 0 ? NULL : path;
}

char *uri_local_socket(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	char *path;

	if (geteuid() != 0 && dir && *dir) {
		if (asprintf(&path, "%s/cowd/cowd.sock", dir) < 0)
			return NULL;
		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return strdup(URI_SYSTEM_SOCKET);
}
