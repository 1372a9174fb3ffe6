/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/conformance/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"

#define PERIOD 65521u /* of a pattern; a prime, so that its blocks differ */

static void *must_have(void *p)
{
	MUST(p, "out of memory");
	return p;
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The words before "->" and those behind it. */
static void split(struct script_line *line, const char *words[SCRIPT_WORDS_MAX], size_t *n)
{
	char *save = NULL;
	bool behind = false;

	*n = 0;
	for (char *w = strtok_r(line->copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		MUST(*n < SCRIPT_WORDS_MAX && line->nexpected < SCRIPT_WORDS_MAX, "line %u",
		     line->number);
		if (strcmp(w, "->") == 0)
			behind = true;
		else if (behind)
			line->expected[line->nexpected++] = w;
		else
			words[(*n)++] = w;
	}
}

static void parse_line(struct script_line *line, unsigned int number, const char *text)
{
	const char *words[SCRIPT_WORDS_MAX];
	size_t n, i = 0;

	*line = (struct script_line){.number = number, .times = 1, .conn = 1};
	line->text = must_have(strdup(text));
	line->copy = must_have(strdup(text));
	split(line, words, &n);
	if (i < n && strcmp(words[i], "wire") == 0)
		line->wire = i++ == 0;
	if (i < n && strcmp(words[i], "until") == 0)
		line->until = ++i > 0;
	if (i + 1 < n && strcmp(words[i], "times") == 0) {
		line->times = (unsigned int)strtoul(words[i + 1], NULL, 10);
		i += 2;
	}
	if (i < n && words[i][0] == '@')
		line->conn = (unsigned int)strtoul(words[i++] + 1, NULL, 10);
	MUST(i < n && line->times > 0, "line %u", number);
	line->verb = words[i++];
	while (i < n)
		line->words[line->nwords++] = words[i++];
}

static void add_section(struct script *s, const char *name)
{
	struct script_section *sections =
	    must_have(realloc(s->sections, (s->nsections + 1) * sizeof(*sections)));

	sections[s->nsections] = (struct script_section){.name = must_have(strdup(name))};
	s->sections = sections;
	s->nsections++;
}

static void add_line(struct script *s, unsigned int number, const char *text)
{
	struct script_section *in;

	MUST(s->nsections > 0, "line %u is in no section", number);
	in = &s->sections[s->nsections - 1];
	in->lines = must_have(realloc(in->lines, (in->nlines + 1) * sizeof(*in->lines)));
	parse_line(&in->lines[in->nlines++], number, text);
}

/* "end both=N wire=N" */
static void parse_end(struct script *s, unsigned int number, const char *text)
{
	char *end = NULL;

	MUST(begins(text, "end both="), "line %u", number);
	s->both = (unsigned int)strtoul(text + 9, &end, 10);
	MUST(begins(end, " wire="), "line %u", number);
	s->wire = (unsigned int)strtoul(end + 6, &end, 10);
	MUST(*end == '\0', "line %u", number);
}

void script_load(struct script *s, const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0;
	bool ended = false;

	MUST(f, "%s", path);
	*s = (struct script){.nsections = 0};
	for (unsigned int number = 1; getline(&text, &cap, f) >= 0; number++) {
		text[strcspn(text, "\n")] = '\0';
		if (text[0] == '\0' || text[0] == '#')
			continue;
		MUST(!ended, "line %u comes after the end", number);
		ended = begins(text, "end ");
		if (ended)
			parse_end(s, number, text);
		else if (begins(text, "section "))
			add_section(s, text + 8);
		else
			add_line(s, number, text);
	}
	MUST(ended, "the script has no end");
	free(text);
	(void)fclose(f);
}

void script_free(struct script *s)
{
	for (size_t i = 0; i < s->nsections; i++) {
		for (size_t j = 0; j < s->sections[i].nlines; j++) {
			free(s->sections[i].lines[j].text);
			free(s->sections[i].lines[j].copy);
		}
		free(s->sections[i].lines);
		free(s->sections[i].name);
	}
	free(s->sections);
}

/* ---- numbers --------------------------------------------------------------------------------- */

void script_keep(struct script_vars *vars, const char *name, uint64_t value)
{
	size_t i = 0;

	while (i < vars->n && strcmp(vars->names[i], name) != 0)
		i++;
	MUST(i < SCRIPT_VARS_MAX && strlen(name) < sizeof(vars->names[0]), "%s", name);
	memcpy(vars->names[i], name, strlen(name) + 1);
	vars->values[i] = value;
	if (i == vars->n)
		vars->n++;
}

static uint64_t variable(const struct script_vars *vars, const char *name, size_t len)
{
	for (size_t i = 0; i < vars->n; i++)
		if (strlen(vars->names[i]) == len && strncmp(vars->names[i], name, len) == 0)
			return vars->values[i];
	must_failed(__FILE__, __LINE__, "known", "$%.*s", (int)len, name);
}

static uint64_t term(const struct script_vars *vars, const char *text, size_t len)
{
	static const char suffixes[] = "KMGTP";
	const char *suffix;
	char *end;
	uint64_t n;

	if (text[0] == '$')
		return variable(vars, text + 1, len - 1);
	if (len == 3 && strncmp(text, "max", 3) == 0)
		return UINT64_MAX;
	n = strtoull(text, &end, 10);
	suffix = end < text + len ? strchr(suffixes, *end) : NULL;
	MUST(end > text && end + (suffix != NULL) == text + len, "%s is no number", text);
	return suffix ? n << (10 * (suffix - suffixes + 1)) : n;
}

uint64_t script_number(const struct script_vars *vars, const char *text)
{
	uint64_t total = 0;
	bool minus = false;

	for (;;) {
		size_t len = strcspn(text, "+-");
		uint64_t n = term(vars, text, len);

		total = minus ? total - n : total + n;
		if (text[len] == '\0')
			return total;
		minus = text[len] == '-';
		text += len + 1;
	}
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* One byte, a text N times, or the index; where it goes on. */
static const char *expand_one(FILE *out, const char *at, unsigned int index)
{
	const char *star = at[0] == '{' ? strchr(at, '*') : NULL;
	char hex[3] = {0};
	char *end;

	if (begins(at, "{i}")) {
		(void)fprintf(out, "%04u", index);
		return at + 3;
	}
	if (star) {
		for (unsigned long n = strtoul(star + 1, &end, 10); n > 0; n--)
			(void)fwrite(at + 1, 1, (size_t)(star - at - 1), out);
		MUST(*end == '}', "%s", at);
		return end + 1;
	}
	if (begins(at, "\\x")) {
		memcpy(hex, at + 2, 2);
		(void)fputc((int)strtoul(hex, NULL, 16), out);
		return at + 4;
	}
	(void)fputc((unsigned char)*at, out);
	return at + 1;
}

char *script_expand(const char *word, unsigned int index)
{
	char *text = NULL;
	size_t len;
	FILE *out = must_have(open_memstream(&text, &len));

	while (*word)
		word = expand_one(out, word, index);
	(void)fclose(out);
	return must_have(text);
}

static void pattern_put(FILE *out, uint64_t seed, uint64_t begin, uint64_t len)
{
	uint8_t period[PERIOD + 7];
	uint64_t x = seed * UINT64_C(0xD1B54A32D192ED03);

	for (size_t i = 0; i < PERIOD; i++) {
		uint64_t y;

		if (i % 8 == 0)
			x += UINT64_C(0x9E3779B97F4A7C15);
		y = (x ^ x >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
		y ^= y >> 32;
		period[i] = (uint8_t)(y >> (8 * (i % 8)));
	}
	for (uint64_t at = begin % PERIOD; len > 0; at = 0) {
		uint64_t n = len < PERIOD - at ? len : PERIOD - at;

		(void)fwrite(period + at, 1, n, out);
		len -= n;
	}
}

/* P<seed>[@<from>]:<length> or Z:<length> */
static void piece_put(FILE *out, const struct script_vars *vars, char *piece)
{
	static const char zeros[4096];
	char *length = strchr(piece, ':');
	char *from = strchr(piece, '@');
	uint64_t len;

	MUST(length, "%s has no length", piece);
	*length = '\0';
	len = script_number(vars, length + 1);
	if (piece[0] == 'P') {
		pattern_put(out, strtoull(piece + 1, NULL, 10),
			    from ? script_number(vars, from + 1) : 0, len);
		return;
	}
	MUST(piece[0] == 'Z', "%s", piece);
	for (uint64_t n; len > 0; len -= n) {
		n = len < sizeof(zeros) ? len : sizeof(zeros);
		(void)fwrite(zeros, 1, n, out);
	}
}

typedef void (*piece_fn)(FILE *out, const struct script_vars *vars, char *piece);

/* What fn makes of the pieces between commas; its length. */
static char *pieces(const struct script_vars *vars, const char *text, piece_fn fn, size_t *len)
{
	char *copy = must_have(strdup(text));
	char *save = NULL, *made = NULL;
	FILE *out = must_have(open_memstream(&made, len));

	for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save))
		fn(out, vars, p);
	(void)fclose(out);
	free(copy);
	return must_have(made);
}

uint8_t *script_data(const struct script_vars *vars, const char *text, size_t *len)
{
	return (uint8_t *)pieces(vars, text, piece_put, len);
}

/* <kind>:<length>[:<flag>] */
static void extent_put(FILE *out, const struct script_vars *vars, char *piece)
{
	char *length = strchr(piece, ':');
	char *flag = length ? strchr(length + 1, ':') : NULL;

	MUST(length, "%s has no length", piece);
	*length = '\0';
	if (flag)
		*flag = '\0';
	(void)fprintf(out, "%s:%llu%s%s,", piece,
		      (unsigned long long)script_number(vars, length + 1), flag ? ":" : "",
		      flag ? flag + 1 : "");
}

char *script_extents(const struct script_vars *vars, const char *text)
{
	size_t len;

	return pieces(vars, text, extent_put, &len);
}
