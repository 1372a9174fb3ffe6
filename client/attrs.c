/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/attrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

static uint64_t attrs_unit_ms(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(unit, units[i].name) == 0)
			return units[i].ms;
	return 0;
}

int attrs_parse_ttl(const char *text, uint64_t *ms)
{
	unsigned long long n;
	uint64_t unit;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -ERR_INVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	unit = attrs_unit_ms(end);
	if (errno != 0 || n == 0 || unit == 0 || n > UINT64_MAX / unit)
		return -ERR_INVAL;
	*ms = n * unit;
	return 0;
}

int attrs_get(const struct ctl *ctl, struct attrs *attrs)
{
	const char *ttl = ctl->args.values[ARGS_TTL];

	attrs->cow = (struct cow_attrs){.labels = attrs->labels, .nlabels = ctl->args.nlabels};
	if (ttl && attrs_parse_ttl(ttl, &attrs->cow.ttl_ms) < 0)
		return ctl_fail(ctl, CTL_USAGE, ttl, "not a time (such as 30s, 15m, 2h, 7d)");
	for (size_t i = 0; i < ctl->args.nlabels; i++) {
		char *text = ctl->args.labels[i];
		char *equals = strchr(text, '=');

		if (!equals)
			return ctl_fail(ctl, CTL_USAGE, text, "not a label (KEY=VALUE)");
		*equals = '\0';
		if (strcmp(text, ATTRS_TTL) == 0 || strcmp(text, ATTRS_READONLY) == 0 ||
		    strcmp(text, ATTRS_RESERVATION) == 0)
			return ctl_fail(ctl, CTL_USAGE, text, "an attribute, and no label");
		attrs->labels[i] = (struct cow_label){text, equals + 1};
	}
	return 0;
}
