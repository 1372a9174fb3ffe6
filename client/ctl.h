/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ctl.h: what the commands of cowctl share: the command line, the connection, the exit status, and
 * error lines.  The main thread only, but for what says ANY_FN.
 */
#ifndef CLIENT_CTL_H
#define CLIENT_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/args.h"
#include "client/cow.h"
#include "common/annot.h"

enum ctl_exit {
	CTL_OK = 0,
	CTL_ERROR = 1,
	CTL_FALSE = 2, /* a predicate is false, or what was compared differs */
	CTL_NOT_FOUND = 3,
	CTL_EXISTS = 4,
	CTL_BUSY = 5,
	CTL_NOT_ALLOWED = 6,
	CTL_UNREACHABLE = 7, /* or timed out */
	CTL_NO_SPACE = 8,
	CTL_INTEGRITY = 9,
	CTL_USAGE = 64,
};

struct ctl;

/* One row per command. */
struct ctl_command {
	const char *name;
	const char *alias; /* or NULL */
	const char *usage; /* the operands and the main options */
	const char *summary;
	size_t least; /* operands */
	size_t most;
	uint64_t options; /* ARGS_BIT()s beside ARGS_COMMON */
	int (*run)(struct ctl *ctl);
};

#define CTL_MANY SIZE_MAX

struct ctl {
	const struct ctl_command *command;
	struct args args; /* the operands are those behind the command */
	cow_t *cow;	  /* NULL until ctl_connect() */
	bool json;
	bool quiet;
	bool verbose;
	unsigned int timeout_ms; /* what --timeout says; 0: nothing */
};

/* The exit status for a COW_E* code, negative or positive.  ANY_FN. */
int ctl_exit_code(int code);

/* Prints "cowctl: COMMAND: SUBJECT: message" (the subject may be NULL) and returns the status. */
int ctl_fail(const struct ctl *ctl, int status, const char *subject, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/*
 * The same for a call of libcow that has just failed with code, in this thread: its message, and
 * what to do next.  Returns the exit status.
 */
int ctl_fail_cow(const struct ctl *ctl, int code, const char *subject);

/*
 * The sentence of ctl_fail_cow() alone: libcow's message in this thread, without the subject's name
 * repeated at its end, and what to do next.  Returns buf.  ANY_FN.
 */
#define CTL_MESSAGE_MAX 768
const char *ctl_cow_message(char buf[CTL_MESSAGE_MAX], cow_t *cow, int code, const char *subject);

/* The sentence about an object, or a version, that is not there.  Returns buf.  ANY_FN. */
const char *ctl_missing_message(char buf[CTL_MESSAGE_MAX], const char *spec);

/*
 * Of two names that a call of libcow has refused with COW_EINVAL the one that its message is about;
 * NULL: both are good, and it is about both.
 */
const char *ctl_bad_name(const char *from, const char *to);

/* A remark on stderr, if -v was given. */
void ctl_remark(const struct ctl *ctl, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Connects, as the options say.  0 or an exit status, the error printed. */
int ctl_connect(struct ctl *ctl) MUST_CHECK;

/* The same, but of a server that cannot be reached nothing is printed: cow_error() has it. */
int ctl_try_connect(struct ctl *ctl) MUST_CHECK;

/* The same as ctl_connect(), for what may take long: without --timeout so many seconds. */
int ctl_connect_patiently(struct ctl *ctl, unsigned int sec) MUST_CHECK;

/* The value of a size option, or that which it has when not given.  0 or CTL_USAGE, printed. */
int ctl_get_size(const struct ctl *ctl, enum args_id id, uint64_t otherwise,
		 uint64_t *bytes) MUST_CHECK;

/* The value of an option that is a plain number and was given.  0 or CTL_USAGE, printed. */
int ctl_get_number(const struct ctl *ctl, enum args_id id, uint64_t *number) MUST_CHECK;

/* The size that an operand gives.  0 or CTL_USAGE, the error printed. */
int ctl_parse_size(const struct ctl *ctl, const char *text, uint64_t *bytes) MUST_CHECK;

/*
 * Whether what the question names is to be done.  It is asked only of who sits at a terminal and did
 * not say -y: a script is never left waiting.
 */
bool ctl_confirm(const struct ctl *ctl, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/*
 * From here on SIGINT and SIGTERM do not end the program, so that what was begun can be undone.
 * ctl_interrupt_fd() then becomes readable.  -1: could not be set up.
 */
int ctl_catch_interrupts(void) MUST_CHECK;
int ctl_interrupt_fd(void); /* ANY_FN */

/* The signal that came, or 0.  ANY_FN. */
int ctl_interrupted(void);

/* Ends the program by the signal that came, if one did. */
void ctl_die_of_interrupt(void);

#endif
