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
#undef SAME

#define ERRORS_TEXT_MAX 640

_Static_assert(ERRORS_TEXT_MAX >= WIRE_TEXT_MAX && ERRORS_TEXT_MAX >= DIAL_TEXT_MAX,
	       "every text fits");

/*
 * A thread's messages of the handles that it used last.  A slot belongs to a serial number and not
 * to a pointer, so that a new handle at an old address does not inherit a message.
 */
#define ERRORS_SLOTS 4u

static _Thread_local struct {
	uint64_t serial;
	char text[ERRORS_TEXT_MAX];
} slots[ERRORS_SLOTS];
static _Thread_local unsigned int next_slot;

int errors_code(int err)
{
	return -(int)err_class(err);
}

static char *errors_slot(uint64_t serial)
{
	for (unsigned int i = 0; i < ERRORS_SLOTS; i++)
		if (slots[i].serial == serial)
			return slots[i].text;
	next_slot = (next_slot + 1) % ERRORS_SLOTS;
	slots[next_slot].serial = serial;
	return slots[next_slot].text;
}

int errors_set(cow_t *cow, int err, const char *text)
{
	char *slot = errors_slot(cow->serial);

	(void)snprintf(slot, ERRORS_TEXT_MAX, "%s", text[0] ? text : err_text(err));
	for (char *p = slot; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return errors_code(err);
}

const char *cow_error(cow_t *cow)
{
	for (unsigned int i = 0; i < ERRORS_SLOTS; i++)
		if (slots[i].serial == cow->serial)
			return slots[i].text;
	return "";
}

const char *cow_strerror(int code)
{
	int num = code < 0 ? -code : code;

	return num <= COW_EFORMAT ? err_text(num) : "unknown error";
}
