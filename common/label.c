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

/* bare: a key may stand alone. */
static const char *labels_problem(const char *labels, size_t len, bool bare)
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

		if (n == 0 || n > LABEL_KEY_MAX || (at[n] != '=' && !(bare && at[n] == '\0')))
			return "have a key that is not 1 to 63 of A-Z a-z 0-9 . _ / -";
		if (before && !key_before(before, before_len, at, n))
			return "are not in the order of their keys, or have one twice";
		problem = at[n] == '=' ? value_problem(at + n + 1) : NULL;
		if (problem)
			return problem;
		before = at;
		before_len = n;
	}
	return NULL;
}

const char *label_problem(const char *labels, size_t len)
{
	return labels_problem(labels, len, false);
}

const char *label_edits_problem(const char *edits, size_t len)
{
	return labels_problem(edits, len, true);
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

/* ---- editing --------------------------------------------------------------------------------- */

static size_t key_len(const char *label)
{
	return strcspn(label, "=");
}

/* The label with this key, which has n bytes; NULL: there is none. */
static const char *label_find(const char *labels, size_t len, const char *key, size_t n)
{
	for (size_t i = 0; i < len; i += strlen(labels + i) + 1)
		if (key_len(labels + i) == n && memcmp(labels + i, key, n) == 0)
			return labels + i;
	return NULL;
}

bool label_hold(const char *labels, size_t len, const char *expected, size_t expected_len)
{
	for (size_t i = 0; i < expected_len; i += strlen(expected + i) + 1) {
		const char *want = expected + i;
		size_t n = key_len(want);
		const char *have = label_find(labels, len, want, n);

		if (want[n] == '=' ? !have || strcmp(have, want) != 0 : have != NULL)
			return false;
	}
	return true;
}

static int label_append(char *out, size_t *len, const char *label)
{
	size_t n = strlen(label) + 1;

	if (n > LABELS_MAX_BYTES - *len)
		return -ERR_LABELS_LONG;
	memcpy(out + *len, label, n);
	*len += n;
	return 0;
}

/* Both lists are in the order of their keys: one pass over the two. */
int label_edit(const char *labels, size_t len, const char *edits, size_t edits_len,
	       char out[LABELS_MAX_BYTES], size_t *out_len)
{
	size_t n = 0;
	int err = 0;

	for (size_t i = 0, e = 0; !err && (i < len || e < edits_len);) {
		const char *label = i < len ? labels + i : NULL;
		const char *edit = e < edits_len ? edits + e : NULL;
		bool keep =
		    label && (!edit || key_before(label, key_len(label), edit, key_len(edit)));
		bool both = label && edit && key_len(label) == key_len(edit) &&
			    memcmp(label, edit, key_len(edit)) == 0;

		if (keep)
			err = label_append(out, &n, label);
		else if (edit[key_len(edit)] == '=')
			err = label_append(out, &n, edit);
		if (keep || both)
			i += strlen(label) + 1;
		if (!keep)
			e += strlen(edit) + 1;
	}
	if (!err)
		*out_len = n;
	return err;
}
