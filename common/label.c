/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/label.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/err.h"
#include "common/utf8.h"

#define KEY_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-"

static const char *value_problem(const char *value)
{
	uint32_t cp;
	size_t n;

	if (strlen(value) > LABEL_VALUE_MAX)
		return "have a value longer than 255 bytes";
	for (; *value != '\0'; value += n) {
		n = utf8_next(value, &cp);
		if (n == 0)
			return "have a value that is not valid UTF-8";
		if (utf8_is_control(cp))
			return "have a value with a control character in it";
	}
	return NULL;
}

/* Does key a, of n bytes, sort before key b? */
static bool key_before(const char *a, size_t n, const char *b, size_t b_len)
{
	int cmp = memcmp(a, b, n < b_len ? n : b_len);

	return cmp < 0 || (cmp == 0 && n < b_len);
}

const char *label_problem(const char *labels, size_t len)
{
	const char *before = NULL;
	size_t before_len = 0;

	if (len > LABELS_MAX_BYTES)
		return "are longer than 1024 bytes in all";
	if (len > 0 && labels[len - 1] != '\0')
		return "have no end";
	for (size_t i = 0; i < len; i += strlen(labels + i) + 1) {
		const char *at = labels + i;
		size_t n = strspn(at, KEY_CHARS);
		const char *problem;

		if (n == 0 || n > LABEL_KEY_MAX || at[n] != '=')
			return "have a key that is not 1 to 63 of A-Z a-z 0-9 . _ / -";
		if (before && !key_before(before, before_len, at, n))
			return "are not in the order of their keys, or have one twice";
		problem = value_problem(at + n + 1);
		if (problem)
			return problem;
		before = at;
		before_len = n;
	}
	return NULL;
}

int label_check(const char *labels, size_t len)
{
	return label_problem(labels, len) ? -ERR_INVAL : 0;
}

bool label_match(const char *labels, size_t len, const char *wanted)
{
	size_t n = strlen(wanted);

	for (size_t i = 0; i < len; i += strlen(labels + i) + 1) {
		const char *label = labels + i;

		if (strcmp(label, wanted) == 0)
			return true;
		if (strncmp(label, wanted, n) == 0 && label[n] == '=' && !strchr(wanted, '='))
			return true;
	}
	return false;
}
