/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/lib/figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"

static unsigned int bounds_missed;

void figures_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	(void)fflush(stdout);
	(void)fprintf(stderr, "%s:%d: not so: %s: ", file, line, cond);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, " (errno: %s)\n", strerror(saved));
	_exit(2);
}

/* ---- options --------------------------------------------------------------------------------- */

static NORETURN void options_help(const struct figures_option *options, const char *about)
{
	printf("%s\n", about);
	for (; options->name; options++)
		printf("  %-14s %s (%" PRIu64 ")\n", options->name, options->help, *options->value);
	exit(0);
}

void figures_options(int argc, char **argv, const struct figures_option *options, const char *about)
{
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		const struct figures_option *o = options;
		const char *is = strchr(argv[i], '=');
		size_t len = is ? (size_t)(is - argv[i]) : 0;

		if (!is)
			options_help(options, about);
		while (o->name && (strlen(o->name) != len || memcmp(o->name, argv[i], len) != 0))
			o++;
		MUST(o->name, "there is no option %s", argv[i]);
		MUST(size_parse(is + 1, o->value) == 0, "%s: not a number or size", argv[i]);
	}
	printf("# %s\n#", about);
	for (; options->name; options++)
		printf(" %s=%" PRIu64, options->name, *options->value);
	printf("\n");
}

/* ---- verdict --------------------------------------------------------------------------------- */

void figures_at_most(double value, double bound, const char *fmt, ...)
{
	bool good = value <= bound;
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	printf("%s  %s: %.4g, at most %.4g\n", good ? "pass" : "MISS", what, value, bound);
	bounds_missed += !good;
}

int figures_verdict(void)
{
	if (bounds_missed > 0)
		printf("%u bounds missed\n", bounds_missed);
	else
		printf("all bounds kept\n");
	return bounds_missed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- this process ---------------------------------------------------------------------------- */

/* The number behind a word at the beginning of a line of a file. */
static uint64_t number_in(const char *path, const char *word)
{
	FILE *f = fopen(path, "re");
	uint64_t value = 0;
	bool found = false;
	char line[256];

	MUST(f, "%s", path);
	while (!found && fgets(line, sizeof(line), f)) {
		found = strncmp(line, word, strlen(word)) == 0;
		if (found)
			value = strtoull(line + strlen(word), NULL, 10);
	}
	(void)fclose(f);
	MUST(found, "%s has no %s", path, word);
	return value;
}

uint64_t figures_written_bytes(void)
{
	return number_in("/proc/self/io", "wchar: ");
}

uint64_t figures_rss_bytes(void)
{
	return number_in("/proc/self/status", "VmRSS:") << 10;
}

/* ---- order ----------------------------------------------------------------------------------- */

unsigned int figures_bits(uint64_t n)
{
	unsigned int bits = 0;

	while (n >> (bits + 1))
		bits++;
	return bits;
}

/* Each step can be undone, so that no two numbers become the same. */
uint64_t figures_shuffle(uint64_t i, unsigned int bits)
{
	uint64_t mask = (UINT64_C(1) << bits) - 1;

	for (int round = 0; round < 3; round++) {
		i = (i * UINT64_C(0x9e3779b97f4a7c15) + 0x7f4a7c15) & mask;
		i ^= i >> ((bits + 1) / 2);
	}
	return i & mask;
}
