/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow's calls on several objects at once. */
#include "client/cow.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/call.h"
#include "client/errors.h"
#include "client/handle.h"
#include "client/names.h"
#include "common/err.h"

_Static_assert(MSG_GROUP_MAX == COW_GROUP_MAX, "the server takes as many");
_Static_assert(CHAN_BODY_MAX >= 2 + MSG_GROUP_MAX * 4, "handles fit a request");

static int group_check_count(cow_t *cow, size_t count)
{
	if (count > 0 && count <= MSG_GROUP_MAX)
		return 0;
	return errors_set(cow, -ERR_INVAL, "a group is 1 to 128 of them");
}

/* ---- open objects ---------------------------------------------------------------------------- */

/* Where the body has the number of a handle: they go in when it goes out. */
#define GROUP_HANDLE_AT(i) (2 + 4 * (uint32_t)(i))

static int group_run(cow_object_t *const *objs, size_t count, enum wire_op op)
{
	struct msg_handles m = {.count = (uint32_t)count};
	struct call_object bound[MSG_GROUP_MAX];
	cow_t *cow = objs[0]->cow;
	struct call call;

	for (size_t i = 0; i < count; i++) {
		if (objs[i]->cow != cow)
			return errors_set(cow, -ERR_INVAL, "they are not of one connection");
		bound[i] = (struct call_object){.obj = objs[i], .handle_at = GROUP_HANDLE_AT(i)};
	}
	call_init(&call, op);
	call_bind_all(&call, bound, (uint32_t)count);
	return call_run(cow, &call, msg_handles_encode(call_body(&call), CHAN_BODY_MAX, &m));
}

int cow_group_tie(cow_object_t *const *objs, size_t count)
{
	int err;

	if (count == 0)
		return 0;
	err = group_check_count(objs[0]->cow, count);
	return err < 0 ? err : group_run(objs, count, WIRE_OP_TIE);
}

int cow_group_fsync(cow_object_t *const *objs, size_t count)
{
	int err;

	if (count == 0)
		return 0;
	err = group_check_count(objs[0]->cow, count);
	return err < 0 ? err : group_run(objs, count, WIRE_OP_FSYNC_ALL);
}

/* ---- names ----------------------------------------------------------------------------------- */

static int group_check_pairs(cow_t *cow, const struct cow_pair *pairs, size_t count,
			     struct msg_pair *out)
{
	char copy[MSG_NAME_BYTES];
	char which[64];
	int err = 0;

	for (size_t i = 0; i < count && err == 0; i++) {
		(void)snprintf(which, sizeof(which), "source %zu of %zu", i + 1, count);
		err = names_copy_spec_as(cow, which, pairs[i].spec, copy);
		if (err < 0)
			break;
		(void)snprintf(which, sizeof(which), "name %zu of %zu", i + 1, count);
		err = names_copy_spec_as(cow, which, pairs[i].name, copy);
		out[i] = (struct msg_pair){pairs[i].spec, pairs[i].name};
	}
	return err;
}

int cow_group_clone(cow_t *cow, const struct cow_pair *pairs, size_t count,
		    const struct cow_attrs *attrs)
{
	struct msg_clone_all m = {.count = (uint16_t)count};
	struct msg_pair msg_pairs[MSG_GROUP_MAX];
	struct call call;
	uint8_t *body;
	int err = group_check_count(cow, count);

	if (err == 0)
		err = group_check_pairs(cow, pairs, count, msg_pairs);
	if (err == 0)
		err = names_copy_attrs(cow, attrs, &m.ttl_ms, &m.labels);
	if (err < 0)
		return err;
	body = malloc(WIRE_BODY_MAX);
	if (!body)
		return errors_set(cow, -ERR_NOMEM, "");
	call_init(&call, WIRE_OP_CLONE_ALL);
	call.req.body = body;
	err = call_run(cow, &call, msg_clone_all_encode(body, call_body_max(cow), &m, msg_pairs));
	free(body);
	return err;
}
