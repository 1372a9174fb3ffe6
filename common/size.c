/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/size.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"

struct size_suffix {
	const char *text;
	uint64_t bytes;
};

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

static const struct size_suffix suffixes[] = {
    {"", 1},
    {"k", KIB},
    {"K", KIB},
    {"KiB", KIB},
    {"M", MIB},
    {"MiB", MIB},
    {"G", GIB},
    {"GiB", GIB},
    {"T", TIB},
    {"TiB", TIB},
    {"kB", UINT64_C(1000)},
    {"MB", UINT64_C(1000000)},
    {"GB", UINT64_C(1000000000)},
    {"TB", UINT64_C(1000000000000)},
};

static const struct size_suffix *size_suffix(const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (strcmp(suffixes[i].text, text) == 0)
			return &suffixes[i];
	return NULL;
}

int size_parse(const char *text, uint64_t *bytes)
{
	const struct size_suffix *suffix;
	const char *p = text;
	uint64_t n = 0;
	bool fits = true;

	/* the digits go on after an overflow: what follows decides which error it is */
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (n > INT64_MAX / 10)
			fits = false;
		else
			n = n * 10 + digit;
	}
	suffix = size_suffix(p);
	if (p == text || !suffix)
		return -ERR_INVAL;
	if (!fits || n > INT64_MAX / suffix->bytes)
		return -ERR_TOO_LARGE;
	*bytes = n * suffix->bytes;
	return 0;
}

/* bytes * mul / 2^shift, rounded to nearest; shift is 10 to 50 and mul at most 100. */
static uint64_t size_scale(uint64_t bytes, unsigned int shift, uint64_t mul)
{
	uint64_t rest = bytes & ((UINT64_C(1) << shift) - 1);

	return (bytes >> shift) * mul + ((rest * mul + (UINT64_C(1) << (shift - 1))) >> shift);
}

/* The number in units of 2^shift bytes, with three significant digits; false: four are needed. */
static bool size_digits(char buf[SIZE_TEXT_MAX], uint64_t bytes, unsigned int shift,
			const char *unit)
{
	uint64_t hundredths = size_scale(bytes, shift, 100);
	uint64_t whole = size_scale(bytes, shift, 1);

	if (hundredths >= 1000)
		hundredths = size_scale(bytes, shift, 10) * 10;
	if (hundredths < 10000) {
		int len = snprintf(buf, SIZE_TEXT_MAX, "%u.%02u", (unsigned int)(hundredths / 100),
				   (unsigned int)(hundredths % 100));

		while (buf[len - 1] == '0')
			len--;
		if (buf[len - 1] == '.')
			len--;
		(void)snprintf(buf + len, SIZE_TEXT_MAX - (size_t)len, " %s", unit);
		return true;
	}
	(void)snprintf(buf, SIZE_TEXT_MAX, "%u %s", (unsigned int)whole, unit);
	return whole < 1000;
}

const char *size_format(char buf[SIZE_TEXT_MAX], uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
	unsigned int shift = 10;

	if (bytes < 1000) {
		(void)snprintf(buf, SIZE_TEXT_MAX, "%u B", (unsigned int)bytes);
		return buf;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++, shift += 10)
		if (size_digits(buf, bytes, shift, units[i]))
			return buf;
	/* a 1024th of it in PiB is the same in EiB; the bits lost are far below the third digit */
	(void)size_digits(buf, bytes >> 10, 50, "EiB");
	return buf;
}
