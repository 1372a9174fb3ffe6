/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/place.h"

#include <stdlib.h>
#include <string.h>

static bool place_is_uri(const char *arg)
{
	return strncmp(arg, "cow://", 6) == 0 || strncmp(arg, "cow+unix://", 11) == 0 ||
	       strncmp(arg, "cows://", 7) == 0;
}

int place_parse(const struct ctl *ctl, const char *arg, struct place *place)
{
	*place = (struct place){.name = arg};
	if (!place_is_uri(arg)) {
		place->kind = end_classify(arg, &place->name);
		return 0;
	}
	place->kind = END_OBJECT;
	place->uri = arg;
	if (cow_uri_object(arg, &place->object) < 0)
		return ctl_fail(ctl, CTL_USAGE, arg, "not a URI of cowd");
	if (!place->object)
		return ctl_fail(ctl, CTL_USAGE, arg, "it names no object (cow://HOST/OBJ)");
	place->name = place->object;
	return 0;
}

int place_connect(struct ctl *ctl, struct place *place)
{
	struct ctl other = *ctl;
	int status = 0;

	if (place->kind != END_OBJECT)
		return 0;
	if (!place->uri) {
		if (!ctl->cow)
			status = ctl_connect(ctl);
		place->cow = ctl->cow;
		return status;
	}
	other.cow = NULL;
	other.args.values[ARGS_URI] = place->uri;
	status = ctl_connect(&other);
	place->cow = other.cow; /* also where it could not connect: to be freed */
	return status;
}

bool place_is_same_name(const struct place *a, const struct place *b)
{
	return a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

bool place_is_same(const struct place *a, const struct place *b)
{
	struct cow_server x;
	struct cow_server y;

	if (!place_is_same_name(a, b) || a->kind != END_OBJECT)
		return false;
	return cow_get_server(a->cow, &x) == 0 && cow_get_server(b->cow, &y) == 0 &&
	       memcmp(x.store_uuid, y.store_uuid, sizeof(x.store_uuid)) == 0;
}

void place_close(const struct ctl *ctl, struct place *place)
{
	if (place->cow != ctl->cow)
		cow_free(place->cow);
	free(place->object);
	place->cow = NULL;
	place->object = NULL;
}
