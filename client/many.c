/* SPDX-License-Identifier: BSD-2-Clause */
/* libcow's way to make many clones: a window of requests in flight. */
#include "client/cow.h"

#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/errors.h"
#include "client/infos.h"
#include "client/names.h"
#include "common/err.h"

#define MANY_WINDOW 64u

/* The calls are a ring, begun and awaited in the order of the names. */
struct many {
	cow_t *cow;
	struct msg_clone m; /* but for the name */
	const char *const *names;
	size_t count;
	size_t begun;
	size_t ended;
	int *results;
	int err; /* of the first that failed */
	struct call calls[MANY_WINDOW];
};

static void many_begin(struct many *many)
{
	struct call *call = &many->calls[many->begun % MANY_WINDOW];
	const char *name = many->names[many->begun];

	memcpy(many->m.dst, name, strlen(name) + 1); /* many_check() has found it to be good */
	call_init(call, WIRE_OP_CLONE);
	call->decode = infos_decode;
	call_start(many->cow, call, msg_clone_encode(call_body(call), CHAN_BODY_MAX, &many->m));
	many->begun++;
}

/* Awaits the oldest.  The message is that of the first that failed. */
static void many_end(struct many *many)
{
	struct call *call = &many->calls[many->ended % MANY_WINDOW];

	if (many->err == 0)
		many->err = call_wait(many->cow, call);
	else
		call_wait_only(many->cow, call);
	many->results[many->ended++] = errors_code(call->err);
}

static void many_run(struct many *many)
{
	while (many->ended < many->begun || (many->err == 0 && many->begun < many->count)) {
		while (many->err == 0 && many->begun < many->count &&
		       many->begun - many->ended < MANY_WINDOW)
			many_begin(many);
		many_end(many);
	}
}

/* Every name is looked at before the first request. */
static int many_check(cow_t *cow, const char *spec, const char *const *names, size_t count,
		      const struct cow_attrs *attrs, int *results, struct msg_clone *m)
{
	int err = 0;

	if (count > 0)
		err = names_fill_clone(cow, spec, names[0], attrs, m);
	if (err < 0)
		results[0] = err;
	for (size_t i = 1; err == 0 && i < count; i++) {
		err = names_copy(cow, names[i], m->dst);
		if (err < 0)
			results[i] = err;
	}
	return err;
}

int cow_clone_many(cow_t *cow, const char *spec, const char *const *names, size_t count,
		   const struct cow_attrs *attrs, int *results)
{
	struct many *many;
	int err;

	for (size_t i = 0; i < count; i++)
		results[i] = COW_CLONE_NOT_TRIED;
	many = calloc(1, sizeof(*many));
	if (!many)
		return errors_set(cow, -ERR_NOMEM, "");
	many->cow = cow;
	many->names = names;
	many->count = count;
	many->results = results;
	err = many_check(cow, spec, names, count, attrs, results, &many->m);
	if (err == 0) {
		many_run(many);
		err = many->err;
	}
	free(many);
	return err;
}
