/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/errors.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "client/dial.h"
#include "client/handle.h"
#include "common/err.h"

/* The classes are the wire's status and libcow's codes at once. */
#define SAME(class, code) _Static_assert((int)ERR_##class == (int)COW_##code, "stable number")
SAME(INVAL, EINVAL);
SAME(NOENT, ENOENT);
SAME(EXIST, EEXIST);
SAME(BUSY, EBUSY);
SAME(PERM, EPERM);
SAME(NOSPC, ENOSPC);
SAME(IO, EIO);
SAME(CORRUPT, EINTEGRITY);
SAME(NOMEM, ENOMEM);
SAME(PROTO, EPROTO);
SAME(NOTSUP, ENOTSUP);
SAME(LIMIT, ELIMIT);
SAME(TIMEOUT, ETIMEDOUT);
SAME(CONN, ECONN);
SAME(SHUTDOWN, ESHUTDOWN);
SAME(FORMAT, EFORMAT);
SAME(CHANGED, ECHANGED);
SAME(CANCELED, ECANCELED);
SAME(RESTARTED, ERESTARTED);
#undef SAME

#define ERRORS_TEXT_MAX 640

_Static_assert(ERRORS_TEXT_MAX >= WIRE_TEXT_MAX && ERRORS_TEXT_MAX >= DIAL_TEXT_MAX,
	       "every text fits");

/*
 * A thread's messages of the handles that it used last; the one used longest ago makes room.  A slot
 * belongs to a serial number and not to a pointer, so that a new handle at an old address does not
 * inherit a message.
 */
#define ERRORS_SLOTS 4u

struct errors_slot {
	uint64_t serial;
	uint64_t used; /* by the thread's count of uses; 0: never */
	char text[ERRORS_TEXT_MAX];
};

static _Thread_local struct errors_slot slots[ERRORS_SLOTS];
static _Thread_local uint64_t uses;

int errors_code(int err)
{
	return -(int)err_class(err);
}

/* The handle's slot, used just now; NULL: it has none. */
static struct errors_slot *errors_find(uint64_t serial)
{
	for (unsigned int i = 0; i < ERRORS_SLOTS; i++) {
		if (slots[i].serial != serial)
			continue;
		slots[i].used = ++uses;
		return &slots[i];
	}
	return NULL;
}

static struct errors_slot *errors_take(uint64_t serial)
{
	struct errors_slot *slot = errors_find(serial);

	if (slot)
		return slot;
	slot = &slots[0];
	for (unsigned int i = 1; i < ERRORS_SLOTS; i++)
		if (slots[i].used < slot->used)
			slot = &slots[i];
	slot->serial = serial;
	slot->used = ++uses;
	return slot;
}

int errors_set(cow_t *cow, int err, const char *text)
{
	char *message = errors_take(cow->serial)->text;

	(void)snprintf(message, ERRORS_TEXT_MAX, "%s", text[0] ? text : err_text(err));
	for (char *p = message; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return errors_code(err);
}

void errors_touch(cow_t *cow)
{
	(void)errors_find(cow->serial);
}

const char *cow_error(cow_t *cow)
{
	const struct errors_slot *slot = errors_find(cow->serial);

	return slot ? slot->text : "";
}

const char *cow_strerror(int code)
{
	int num = code < 0 ? -code : code;

	return num <= COW_ERESTARTED ? err_text(num) : "unknown error";
}
