/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/specs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The names of one question, with two bytes more for each: see cow_get_usage(). */
#define SPECS_ASK_BYTES 65534u

static int specs_out_of_memory(const struct ctl *ctl)
{
	return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
}

static int specs_add(const struct ctl *ctl, struct specs *specs, const char *name)
{
	char **names;
	char *copy;

	names = realloc(specs->names, (specs->n + 1) * sizeof(*names));
	if (!names)
		return specs_out_of_memory(ctl);
	specs->names = names;
	copy = strdup(name);
	if (!copy)
		return specs_out_of_memory(ctl);
	names[specs->n++] = copy;
	return CTL_OK;
}

static int specs_add_versions(const struct ctl *ctl, struct specs *specs, const char *name)
{
	struct cow_info *infos;
	size_t n;
	int err = cow_list_versions(ctl->cow, name, &infos, &n);

	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	for (size_t i = 0; err == 0 && i < n; i++)
		err = specs_add(ctl, specs, infos[i].name);
	cow_list_free(infos, n);
	return err;
}

static bool specs_has(const struct specs *specs, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(specs->names[i], name) == 0)
			return true;
	return false;
}

/* How many versions of the object are in the list. */
static uint64_t specs_count_versions(const struct specs *specs, const char *object)
{
	size_t len = strlen(object);
	uint64_t count = 0;

	for (size_t i = 0; i < specs->n; i++) {
		const char *name = specs->names[i];

		if (strncmp(name, object, len) == 0 && name[len] == '@' &&
		    !specs_has(specs, i, name))
			count++;
	}
	return count;
}

/* An object with versions stays, without -r.  0 or an exit status, printed. */
static int specs_check_removable(const struct ctl *ctl, const struct specs *specs, const char *name,
				 uint64_t nversions)
{
	uint64_t named = nversions > 0 ? specs_count_versions(specs, name) : 0;

	if (named >= nversions)
		return CTL_OK;
	nversions -= named;
	return ctl_fail(ctl, CTL_BUSY, name, "it has %" PRIu64 " version%s (-r removes them too)",
			nversions, nversions == 1 ? "" : "s");
}

static int specs_add_operand(const struct ctl *ctl, struct specs *specs, const char *name,
			     enum specs_how how)
{
	struct cow_info info;
	uint64_t nversions;
	bool is_object;
	int err = cow_get_info(ctl->cow, name, &info);

	if (err < 0)
		return ctl_fail_cow(ctl, err, name);
	nversions = info.nversions;
	is_object = info.parent == 0;
	cow_info_clear(&info);
	if (how == SPECS_REMOVABLE)
		err = specs_check_removable(ctl, specs, name, nversions);
	if (err == 0)
		err = specs_add(ctl, specs, name);
	if (err == 0 && how == SPECS_WITH_VERSIONS && is_object)
		err = specs_add_versions(ctl, specs, name);
	return err;
}

/* Where a name is in the list. */
struct place {
	const char *name;
	size_t i;
};

static int specs_by_name(const void *a, const void *b)
{
	const struct place *x = a;
	const struct place *y = b;
	int cmp = strcmp(x->name, y->name);

	return cmp != 0 ? cmp : (x->i > y->i) - (x->i < y->i);
}

/* Of names that are there again the first stays. */
static int specs_unique(const struct ctl *ctl, struct specs *specs)
{
	struct place *places = calloc(specs->n + 1, sizeof(*places));
	size_t n = 0;

	if (!places)
		return specs_out_of_memory(ctl);
	for (size_t i = 0; i < specs->n; i++)
		places[i] = (struct place){specs->names[i], i};
	qsort(places, specs->n, sizeof(*places), specs_by_name);
	for (size_t i = specs->n; i-- > 1;) {
		if (strcmp(places[i].name, places[i - 1].name) != 0)
			continue;
		free(specs->names[places[i].i]);
		specs->names[places[i].i] = NULL;
	}
	for (size_t i = 0; i < specs->n; i++)
		if (specs->names[i])
			specs->names[n++] = specs->names[i];
	specs->n = n;
	free(places);
	return CTL_OK;
}

int specs_collect(const struct ctl *ctl, enum specs_how how, struct specs *specs)
{
	int status = CTL_OK;

	*specs = (struct specs){.n = 0};
	for (size_t i = 0; i < ctl->args.noperands; i++) {
		int failed = specs_add_operand(ctl, specs, ctl->args.operands[i], how);

		status = status == CTL_OK ? failed : status;
	}
	if (specs_unique(ctl, specs) != CTL_OK)
		return CTL_ERROR;
	return status;
}

void specs_clear(struct specs *specs)
{
	for (size_t i = 0; i < specs->n; i++)
		free(specs->names[i]);
	free(specs->names);
	*specs = (struct specs){.n = 0};
}

/* So many, from the i-th on, fit into one question: at least one. */
static size_t specs_fitting(const struct specs *specs, size_t i)
{
	size_t bytes = 0;
	size_t n = 0;

	for (; i + n < specs->n && n < COW_USAGE_MAX; n++) {
		bytes += strlen(specs->names[i + n]) + 2;
		if (bytes > SPECS_ASK_BYTES)
			break;
	}
	return n > 0 ? n : 1;
}

int specs_get_usage(const struct ctl *ctl, const struct specs *specs, struct specs_usage *usage)
{
	struct specs_usage sum = {.exact = specs_fitting(specs, 0) >= specs->n};
	size_t n;

	for (size_t i = 0; i < specs->n; i += n) {
		struct cow_usage part;
		int err;

		n = specs_fitting(specs, i);
		err = cow_get_usage(ctl->cow, (const char *const *)specs->names + i, n, &part);
		if (err < 0)
			return ctl_fail_cow(ctl, err, specs->n == 1 ? specs->names[0] : NULL);
		sum.usage.mapped += part.mapped;
		sum.usage.exclusive += part.exclusive;
	}
	*usage = sum;
	return CTL_OK;
}
