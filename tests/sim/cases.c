/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/sim/ops.h"

/* "NAME: DRAWS", and lines that are comments or empty. */
static bool case_parse(const char *line, struct sim_case *c)
{
	const char *colon = strchr(line, ':');
	size_t len = colon ? (size_t)(colon - line) : 0;

	if (line[0] == '#' || line[0] == '\n')
		return false;
	MUST(colon && len > 0 && len < sizeof(c->name), "a case without a name: %s", line);
	*c = (struct sim_case){0};
	memcpy(c->name, line, len);
	colon++;
	len = strcspn(colon, "\n");
	MUST(len < sizeof(c->draws), "a case that is too long: %s", line);
	memcpy(c->draws, colon, len);
	return true;
}

unsigned int cases_load(const char *path, struct sim_case cases[CASES_MAX])
{
	FILE *file = fopen(path, "r");
	char line[256];
	unsigned int n = 0;

	MUST(file, "%s", path);
	while (fgets(line, sizeof(line), file)) {
		struct sim_case c;

		if (!case_parse(line, &c))
			continue;
		MUST(n < CASES_MAX, "so many cases");
		cases[n++] = c;
	}
	(void)fclose(file);
	return n;
}

const struct sim_case *cases_find(const struct sim_case *cases, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++)
		if (strcmp(cases[i].name, name) == 0)
			return &cases[i];
	return NULL;
}

static void case_draw(const char *word, struct sim_draws *draws)
{
	const char *is = strchr(word, '=');
	size_t len = is ? (size_t)(is - word) : 0;
	char name[32] = "";
	unsigned int n;

	MUST(is && len < sizeof(name), "what is to be drawn: %s", word);
	memcpy(name, word, len);
	n = (unsigned int)strtoul(is + 1, NULL, 10);
	if (strcmp(name, "faults") == 0)
		draws->faults_one_in = n;
	else if (strcmp(name, "fits") == 0)
		draws->fits_one_in = n;
	else if (strcmp(name, "device") == 0)
		draws->dev_nblks = n;
	else
		MUST(ops_weigh(name, n), "an operation that there is not: %s", name);
}

void case_begin(const struct sim_case *c, struct sim_draws *draws)
{
	char words[sizeof(c->draws)];
	char *at = NULL;

	memcpy(words, c->draws, sizeof(words));
	for (const char *w = strtok_r(words, " ", &at); w; w = strtok_r(NULL, " ", &at))
		case_draw(w, draws);
}
