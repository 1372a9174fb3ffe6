/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * script.h: tests/conformance/script.txt, whose first lines say what its lines mean, read and taken
 * apart; script.py is the same in Python.  What is not as the language wants it ends the test (must.h).
 */
#ifndef TESTS_CONFORMANCE_SCRIPT_H
#define TESTS_CONFORMANCE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRIPT_WORDS_MAX 24
#define SCRIPT_VARS_MAX	 32

struct script_line {
	unsigned int number;
	char *text; /* as it stands */
	char *copy; /* cut into words: what the rest points into */
	bool wire;  /* not for us */
	bool until;
	unsigned int times;
	unsigned int conn;
	const char *verb;
	const char *words[SCRIPT_WORDS_MAX]; /* KEY=VALUE */
	size_t nwords;
	const char *expected[SCRIPT_WORDS_MAX]; /* the outcome and the checks */
	size_t nexpected;
};

struct script_section {
	char *name;
	struct script_line *lines;
	size_t nlines;
};

struct script {
	struct script_section *sections;
	size_t nsections;
	unsigned int both; /* how many lines it says that it has */
	unsigned int wire;
};

struct script_vars {
	char names[SCRIPT_VARS_MAX][32];
	uint64_t values[SCRIPT_VARS_MAX];
	size_t n;
};

/* Reads the file; script_free() frees what it has. */
void script_load(struct script *s, const char *path);
void script_free(struct script *s);

void script_keep(struct script_vars *vars, const char *name, uint64_t value);

/* Terms with + and - between them. */
uint64_t script_number(const struct script_vars *vars, const char *text);

/* What a word stands for in the index'th run of its line; to be freed. */
char *script_expand(const char *word, unsigned int index);

/* The bytes that pieces of patterns and zeros stand for; to be freed. */
uint8_t *script_data(const struct script_vars *vars, const char *text, size_t *len);

/* Extents with their lengths as plain numbers; to be freed. */
char *script_extents(const struct script_vars *vars, const char *text);

#endif
