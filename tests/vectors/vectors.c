/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/vectors/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"

NORETURN static void vectors_die(const char *what, const char *detail)
{
	(void)fprintf(stderr, "test vectors: %s: %s\n", what, detail);
	exit(99);
}

static void *vectors_alloc(size_t len)
{
	void *p = malloc(len);

	if (!p && len > 0)
		vectors_die("out of memory", "allocation");
	return p;
}

static char *vectors_slurp(void)
{
	const char *dir = getenv("srcdir");
	char path[4096];
	char *text;
	FILE *file;
	long len;

	(void)snprintf(path, sizeof(path), "%s/tests/vectors/protocol.txt", dir ? dir : ".");
	file = fopen(path, "re");
	if (!file || fseek(file, 0, SEEK_END) != 0 || (len = ftell(file)) < 0)
		vectors_die("cannot read", path);
	rewind(file);
	text = vectors_alloc((size_t)len + 1);
	if (fread(text, 1, (size_t)len, file) != (size_t)len)
		vectors_die("cannot read", path);
	text[len] = '\0';
	(void)fclose(file);
	return text;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

bool hex_decode(uint8_t *dst, size_t n, const char *hex)
{
	if (strlen(hex) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(hex[2 * i]);
		int low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		dst[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void vector_set_bytes(struct vector *v, const char *hex)
{
	v->len = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
	v->bytes = vectors_alloc(v->len);
	if (v->len > 0 && !hex_decode(v->bytes, v->len, hex))
		vectors_die("not hexadecimal", hex);
}

/* Cuts a line at its first three blanks. */
static void vector_parse(struct vector *v, char *line)
{
	char *hex;

	v->verb = strsep(&line, " ");
	v->name = strsep(&line, " ");
	hex = strsep(&line, " ");
	if (!hex)
		vectors_die("a line of fewer than three words", v->verb);
	v->words = line ? line : hex + strlen(hex);
	vector_set_bytes(v, hex);
}

struct vectors *vectors_load(void)
{
	struct vectors *vectors = vectors_alloc(sizeof(*vectors));
	char *next = vectors->text = vectors_slurp();
	size_t lines = 1;

	for (const char *p = next; *p; p++)
		lines += *p == '\n';
	vectors->v = vectors_alloc(lines * sizeof(*vectors->v));
	vectors->n = 0;
	for (char *line = strsep(&next, "\n"); line; line = strsep(&next, "\n"))
		if (line[0] != '\0' && line[0] != '#')
			vector_parse(&vectors->v[vectors->n++], line);
	if (vectors->n == 0)
		vectors_die("no vectors", "protocol.txt");
	return vectors;
}

void vectors_free(struct vectors *vectors)
{
	for (size_t i = 0; i < vectors->n; i++)
		free(vectors->v[i].bytes);
	free(vectors->v);
	free(vectors->text);
	free(vectors);
}

void vector_each_word(const struct vector *v,
		      void (*fn)(void *ctx, const char *key, const char *value), void *ctx)
{
	char *copy = strdup(v->words);
	char *next = copy;

	for (char *key = strsep(&next, " "); key && *key; key = strsep(&next, " ")) {
		char *value = strchr(key, '=');

		if (!value)
			vectors_die("a word without '='", key);
		*value++ = '\0';
		fn(ctx, key, value);
	}
	free(copy);
}

struct word_search {
	const char *key;
	char *value;
};

static void word_search(void *ctx, const char *key, const char *value)
{
	struct word_search *search = ctx;

	if (!search->value && strcmp(search->key, key) == 0)
		search->value = strdup(value);
}

char *vector_word(const struct vector *v, const char *key)
{
	struct word_search search = {.key = key};

	vector_each_word(v, word_search, &search);
	return search.value;
}
