/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/name.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/err.h"
#include "common/utf8.h"

static const char *name_char_problem(const char *s, size_t *len)
{
	uint32_t cp;

	*len = utf8_next(s, &cp);
	if (*len == 0)
		return "is not valid UTF-8";
	if (utf8_is_control(cp))
		return "has a control character in it";
	if (cp == '@' || cp == '%' || cp == '?')
		return "has '@', '%' or '?' in it";
	if (cp == '/' && s[1] == '/')
		return "has \"//\" in it";
	return NULL;
}

const char *name_problem(const char *name)
{
	size_t len = strnlen(name, NAME_MAX_BYTES + 1);
	const char *problem;
	size_t n;

	if (len == 0)
		return "is empty";
	if (len > NAME_MAX_BYTES)
		return "is longer than 255 bytes";
	if (strchr("-+./", name[0]))
		return "begins with '-', '+', '.' or '/'";
	if (name[len - 1] == '/')
		return "ends in '/'";
	for (size_t i = 0; i < len; i += n) {
		problem = name_char_problem(name + i, &n);
		if (problem)
			return problem;
	}
	return NULL;
}

int name_check(const char *name)
{
	return name_problem(name) ? -ERR_BAD_NAME : 0;
}
