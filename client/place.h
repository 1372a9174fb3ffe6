/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * place.h: an argument that names an object, on the server of the command or by a URI on another one, or
 * else a file or a stream.  It owns its connection, if that is another one.  Main thread only.
 */
#ifndef CLIENT_PLACE_H
#define CLIENT_PLACE_H

#include <stdbool.h>

#include "client/ctl.h"
#include "client/end.h"
#include "common/annot.h"

struct place {
	enum end_kind kind;
	const char *name; /* of the object or file */
	const char *uri;  /* of the server; NULL: that of the command */
	cow_t *cow;	  /* after place_connect(), of an object */
	char *object;	  /* private: owned */
};

/* What the argument means.  0 or CTL_USAGE, the error printed. */
int place_parse(const struct ctl *ctl, const char *arg, struct place *place) MUST_CHECK;

/* Connects to the server of an object.  0 or an exit status, the error printed. */
int place_connect(struct ctl *ctl, struct place *place) MUST_CHECK;

/* Whether both are called so; and whether they are one object.  These are connected. */
bool place_is_same_name(const struct place *a, const struct place *b);
bool place_is_same(const struct place *a, const struct place *b);

void place_close(const struct ctl *ctl, struct place *place);

#endif
