/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/pattern.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"

#define PATTERN_WIDTH_MAX 18

/* What stands between '%' and 'd': nothing, or 0 and a number.  Negative: something else. */
static int pattern_width(const char **text)
{
	int width = 0;

	if (**text == 'd')
		return 1;
	if (**text != '0')
		return -ERR_INVAL;
	for ((*text)++; **text >= '0' && **text <= '9' && width <= PATTERN_WIDTH_MAX; (*text)++)
		width = 10 * width + (**text - '0');
	return **text == 'd' && width > 0 && width <= PATTERN_WIDTH_MAX ? width : -ERR_INVAL;
}

int pattern_parse(const char *text, struct pattern *pattern)
{
	const char *percent = strchr(text, '%');
	const char *at;
	int width;

	if (!percent)
		return -ERR_INVAL;
	at = percent + 1;
	width = pattern_width(&at);
	if (width < 0 || strchr(at, '%'))
		return -ERR_INVAL;
	*pattern = (struct pattern){
	    .head = text,
	    .head_len = (size_t)(percent - text),
	    .tail = at + 1,
	    .width = width,
	};
	return 0;
}

char *pattern_name(const struct pattern *pattern, uint64_t number)
{
	char *name;

	if (asprintf(&name, "%.*s%0*" PRIu64 "%s", (int)pattern->head_len, pattern->head,
		     pattern->width, number, pattern->tail) < 0)
		return NULL;
	return name;
}
