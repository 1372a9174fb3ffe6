/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * driver.c: runs a fuzz target on mutations of its own inputs, for the test run and for compilers
 * without libFuzzer.  The whole run follows from the seed, which it prints.
 *
 *	fuzz_wire [-v] [--runs N] [--seed S]	N is otherwise $TEST_RUNS, or a share of the target's
 *	fuzz_wire --input HEX			that input alone, as a failure has printed it
 *
 * At the end -v tells what was reached; where as much was run as in a test run, the target says whether that
 * is all that it knows of.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/annot.h"
#include "common/cursor.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/rnd.h"

/* Inputs grow no longer than this: small enough for many runs. */
#define INPUT_MAX 2048

struct input {
	uint8_t bytes[INPUT_MAX];
	size_t len;
};

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_next(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* 0 to n - 1. */
static size_t random_below(size_t n)
{
	return (size_t)(random_next() % n);
}

static void mutate_bit(struct input *in)
{
	in->bytes[random_below(in->len)] ^= (uint8_t)(1u << random_below(8));
}

static void mutate_byte(struct input *in)
{
	in->bytes[random_below(in->len)] = (uint8_t)random_next();
}

/* A value that lengths, counts and flags are checked against, over 2 or 4 bytes, in either order. */
static void mutate_number(struct input *in)
{
	static const uint32_t numbers[] = {
	    0,	   1,	  2,	 63,	64,	  65,	    255,	256,	    257,
	    319,   320,	  511,	 512,	513,	  1024,	    1025,	5461,	    5462,
	    32768, 65535, 65536, 65537, 33554432, 33554433, 0x7fffffff, UINT32_MAX,
	};
	uint32_t v = numbers[random_below(ARRAY_LEN(numbers))];
	size_t at = random_below(in->len);

	if (random_below(2))
		v = __builtin_bswap32(v);
	if (at + 4 <= in->len && random_below(2))
		le32_put(in->bytes + at, v);
	else if (at + 2 <= in->len)
		le16_put(in->bytes + at, (uint16_t)v);
}

static void mutate_cut(struct input *in)
{
	in->len = 1 + random_below(in->len);
}

static void mutate_grow(struct input *in)
{
	size_t n = 1 + random_below(16);

	for (; n > 0 && in->len < INPUT_MAX; n--)
		in->bytes[in->len++] = (uint8_t)random_next();
}

static void mutate_delete(struct input *in)
{
	size_t at = random_below(in->len);
	size_t n = random_below(in->len - at);

	memmove(in->bytes + at, in->bytes + at + n, in->len - at - n);
	in->len -= n;
}

/* Doubles a piece in place, as a repeated field or entry would be. */
static void mutate_repeat(struct input *in)
{
	size_t at = random_below(in->len);
	size_t n = random_below(in->len - at);

	if (n > INPUT_MAX - in->len)
		return;
	memmove(in->bytes + at + n, in->bytes + at, in->len - at);
	in->len += n;
}

/* Another kind for the same bytes: the kinds are small numbers. */
static void mutate_kind(struct input *in)
{
	in->bytes[0] = (uint8_t)random_below(64);
}

static void (*const mutations[])(struct input *in) = {
    mutate_bit,	 mutate_byte,	mutate_number, mutate_cut,
    mutate_grow, mutate_delete, mutate_repeat, mutate_kind,
};

/* Some changes, or none. */
static void mutate(struct input *in)
{
	if (fuzz_target.mutate_one_in > 0 && random_below(fuzz_target.mutate_one_in) > 0)
		return;
	for (size_t n = random_below(4); n > 0; n--)
		mutations[random_below(ARRAY_LEN(mutations))](in);
}

static void run_one(void)
{
	static struct input in;
	uint8_t *exact;

	in.len = fuzz_input(random_next(), in.bytes, INPUT_MAX);
	mutate(&in);
	/* memory of exactly that length, so that a sanitizer sees a read past it */
	exact = malloc(in.len);
	if (!exact)
		exit(99);
	memcpy(exact, in.bytes, in.len);
	(void)LLVMFuzzerTestOneInput(exact, in.len);
	free(exact);
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Runs the input that the text has. */
static void run_hex(const char *text)
{
	size_t len = strlen(text) / 2;
	uint8_t *bytes = malloc(len + 1);

	if (!bytes)
		exit(99);
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0) {
			(void)fprintf(stderr, "not bytes in hex: %s\n", text);
			exit(64);
		}
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	(void)LLVMFuzzerTestOneInput(bytes, len);
	free(bytes);
}

static uint64_t parse_number(const char *text)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end) {
		(void)fprintf(stderr, "not a number: %s\n", text);
		exit(64);
	}
	return v;
}

/* What a test run should have reached, and has not. */
static int judge(uint64_t runs)
{
	const char *missed = NULL;

	if (fuzz_target.missed && runs >= rnd_count("TEST_RUNS", fuzz_target.runs))
		missed = fuzz_target.missed();
	if (!missed)
		return 0;
	(void)fprintf(stderr, "no run has reached %s\n", missed);
	return 1;
}

static int run_all(uint64_t runs, uint64_t seed, bool verbose)
{
	random_state = seed;
	for (uint64_t i = 0; i < runs; i++)
		run_one();
	if (verbose && fuzz_target.report)
		fuzz_target.report();
	(void)printf("%" PRIu64 " runs, no failure\n", runs);
	return judge(runs);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"runs", required_argument, NULL, 'r'},
	    {"seed", required_argument, NULL, 's'},
	    {"input", required_argument, NULL, 'i'},
	    {NULL, 0, NULL, 0},
	};
	uint64_t runs = rnd_count("TEST_RUNS", fuzz_target.runs);
	uint64_t seed = (uint64_t)time(NULL);
	bool verbose = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "v", options, NULL)) != -1) {
		if (opt == 'v') {
			verbose = true;
		} else if (opt == 'r') {
			runs = parse_number(optarg);
		} else if (opt == 's') {
			seed = parse_number(optarg);
		} else if (opt == 'i') {
			run_hex(optarg);
			return 0;
		} else {
			return 64;
		}
	}
	(void)printf("%s --runs %" PRIu64 " --seed %" PRIu64 "\n", argv[0], runs, seed);
	(void)fflush(stdout);
	return run_all(runs, seed, verbose);
}
