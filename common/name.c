/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/err.h"
#include "common/utf8.h"

enum part { PART_OBJECT, PART_VERSION };

enum flaw { NONE, EMPTY, TOO_LONG, BEGIN, END, BAD_UTF8, CONTROL, RESERVED, SLASHES };

static const char *const texts[][2] = {
    [NONE] = {NULL, NULL},
    [EMPTY] = {"is empty", "has an empty version"},
    [TOO_LONG] = {"is longer than 191 bytes", "has a version longer than 63 bytes"},
    [BEGIN] = {"begins with '-', '+', '.' or '/'",
	       "has a version that begins with '-', '+' or '.'"},
    [END] = {"ends in '/'", NULL},
    [BAD_UTF8] = {"is not valid UTF-8", "has a version that is not valid UTF-8"},
    [CONTROL] = {"has a control character in it", "has a version with a control character in it"},
    [RESERVED] = {"has '@', '%' or '?' in it", "has a version with '@', '%' or '?' in it"},
    [SLASHES] = {"has \"//\" in it", "has a version with '/' in it"},
};

/* What follows the part in a spec, '@' or the end, completes no sequence of UTF-8. */
static enum flaw char_flaw(enum part part, const char *s, size_t *len)
{
	uint32_t cp;

	*len = utf8_next(s, &cp);
	if (*len == 0)
		return BAD_UTF8;
	if (utf8_is_control(cp))
		return CONTROL;
	if (cp == '@' || cp == '%' || cp == '?')
		return RESERVED;
	if (cp == '/' && (part == PART_VERSION || s[1] == '/'))
		return SLASHES;
	return NONE;
}

static enum flaw part_flaw(enum part part, const char *s, size_t len)
{
	enum flaw flaw;
	size_t n;

	if (len == 0)
		return EMPTY;
	if (len > (part == PART_OBJECT ? NAME_OBJECT_MAX : NAME_VERSION_MAX))
		return TOO_LONG;
	if (strchr(part == PART_OBJECT ? "-+./" : "-+.", s[0]))
		return BEGIN;
	if (part == PART_OBJECT && s[len - 1] == '/')
		return END;
	for (size_t i = 0; i < len; i += n) {
		flaw = char_flaw(part, s + i, &n);
		if (flaw != NONE)
			return flaw;
	}
	return NONE;
}

static size_t object_len(const char *spec)
{
	return strcspn(spec, "@");
}

const char *name_problem(const char *name)
{
	return texts[part_flaw(PART_OBJECT, name, strlen(name))][PART_OBJECT];
}

const char *name_spec_problem(const char *spec)
{
	size_t len = object_len(spec);
	const char *problem = texts[part_flaw(PART_OBJECT, spec, len)][PART_OBJECT];

	if (problem || spec[len] == '\0')
		return problem;
	return texts[part_flaw(PART_VERSION, spec + len + 1, strlen(spec + len + 1))][PART_VERSION];
}

int name_check(const char *name)
{
	return name_problem(name) ? -ERR_BAD_NAME : 0;
}

int name_check_version(const char *version)
{
	return part_flaw(PART_VERSION, version, strlen(version)) == NONE ? 0 : -ERR_BAD_NAME;
}

int name_split(const char *spec, char object[NAME_OBJECT_MAX + 1],
	       char version[NAME_VERSION_MAX + 1])
{
	size_t len = object_len(spec);
	const char *behind = spec[len] == '@' ? spec + len + 1 : "";

	if (name_spec_problem(spec))
		return -ERR_BAD_NAME;
	memcpy(object, spec, len);
	object[len] = '\0';
	memcpy(version, behind, strlen(behind) + 1);
	return 0;
}
