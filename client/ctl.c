/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/err.h"
#include "common/name.h"
#include "common/size.h"

/* The most seconds that --timeout takes: ten days. */
#define CTL_TIMEOUT_MOST 864000.0

/* ---- errors ---------------------------------------------------------------------------------- */

int ctl_exit_code(int code)
{
	switch (code < 0 ? -code : code) {
	case 0:
		return CTL_OK;
	case COW_ECHANGED:
		return CTL_FALSE;
	case COW_ENOENT:
		return CTL_NOT_FOUND;
	case COW_EEXIST:
		return CTL_EXISTS;
	case COW_EBUSY:
		return CTL_BUSY;
	case COW_EPERM:
		return CTL_NOT_ALLOWED;
	case COW_ETIMEDOUT:
	case COW_ECONN:
	case COW_ESHUTDOWN:
		return CTL_UNREACHABLE;
	case COW_ENOSPC:
		return CTL_NO_SPACE;
	case COW_EINTEGRITY:
		return CTL_INTEGRITY;
	default:
		return CTL_ERROR;
	}
}

static const char *ctl_hint(int code, bool version)
{
	switch (code < 0 ? -code : code) {
	case COW_ECHANGED:
		return " (nothing was done; cowctl info shows the generation)";
	case COW_ENOENT:
		return " (cowctl ls shows what there is)";
	case COW_EEXIST:
		return version ? " (choose another name, or remove it: cowctl snap rm)"
			       : " (choose another name, or remove it: cowctl rm)";
	case COW_ENOSPC:
		return " (cowctl df shows the space, cowctl rm frees some)";
	case COW_ETIMEDOUT:
		return " (--timeout=SEC waits longer)";
	case COW_ECONN:
		return " (is cowd running? -u URI or $COW_URI names another server)";
	case COW_EINTEGRITY:
	case COW_EIO:
		return " (the server's log says more)";
	default:
		return "";
	}
}

static void ctl_print_head(const struct ctl *ctl, const char *subject)
{
	(void)fflush(stdout); /* keep the order where both go to one place */
	(void)fprintf(stderr, "cowctl: ");
	if (ctl->command)
		(void)fprintf(stderr, "%s: ", ctl->command->name);
	if (subject)
		(void)fprintf(stderr, "%s: ", subject);
}

int ctl_fail(const struct ctl *ctl, int status, const char *subject, const char *fmt, ...)
{
	va_list ap;

	ctl_print_head(ctl, subject);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return status;
}

/* The message's length without ": SUBJECT" at its end: the line names the subject already. */
static int ctl_message_len(const char *message, const char *subject)
{
	size_t len = strlen(message);
	size_t tail = subject ? strlen(subject) : 0;

	if (tail == 0 || len < tail + 2 || strcmp(message + len - tail, subject) != 0 ||
	    strncmp(message + len - tail - 2, ": ", 2) != 0)
		return (int)len;
	return (int)(len - tail - 2);
}

const char *ctl_missing_message(char buf[CTL_MESSAGE_MAX], const char *spec)
{
	size_t object_len = strcspn(spec, "@");

	if (spec[object_len] == '@')
		(void)snprintf(buf, CTL_MESSAGE_MAX,
			       "no such version (cowctl snap ls %.*s shows what there is)",
			       (int)object_len, spec);
	else
		(void)snprintf(buf, CTL_MESSAGE_MAX, "%s%s", cow_strerror(COW_ENOENT),
			       ctl_hint(COW_ENOENT, false));
	return buf;
}

const char *ctl_cow_message(char buf[CTL_MESSAGE_MAX], cow_t *cow, int code, const char *subject)
{
	const char *message = cow_error(cow);
	const char *missing = cow_strerror(COW_ENOENT);
	int len = ctl_message_len(message, subject);

	if (subject && (size_t)len == strlen(missing) &&
	    strncmp(message, missing, (size_t)len) == 0)
		return ctl_missing_message(buf, subject);
	(void)snprintf(buf, CTL_MESSAGE_MAX, "%.*s%s", len, message,
		       ctl_hint(code, subject && strchr(subject, '@')));
	return buf;
}

int ctl_fail_cow(const struct ctl *ctl, int code, const char *subject)
{
	char text[CTL_MESSAGE_MAX];

	return ctl_fail(ctl, ctl_exit_code(code), subject, "%s",
			ctl_cow_message(text, ctl->cow, code, subject));
}

const char *ctl_bad_name(const char *from, const char *to)
{
	if (name_spec_problem(from))
		return from;
	return name_spec_problem(to) ? to : NULL;
}

void ctl_remark(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	if (!ctl->verbose || ctl->quiet)
		return;
	ctl_print_head(ctl, NULL);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

/* ---- options --------------------------------------------------------------------------------- */

int ctl_parse_size(const struct ctl *ctl, const char *text, uint64_t *bytes)
{
	int err = size_parse(text, bytes);

	if (err == -ERR_TOO_LARGE)
		return ctl_fail(ctl, CTL_USAGE, text, "the size is too large");
	if (err < 0)
		return ctl_fail(ctl, CTL_USAGE, text, "not a size (such as 4096, 64k, 20G, 500MB)");
	return 0;
}

int ctl_get_size(const struct ctl *ctl, enum args_id id, uint64_t otherwise, uint64_t *bytes)
{
	if (args_has(&ctl->args, id))
		return ctl_parse_size(ctl, ctl->args.values[id], bytes);
	*bytes = otherwise;
	return 0;
}

int ctl_get_number(const struct ctl *ctl, enum args_id id, uint64_t *number)
{
	const char *text = ctl->args.values[id];
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || *text < '0' || *text > '9' || *end)
		return ctl_fail(ctl, CTL_USAGE, text, "not a number");
	*number = value;
	return 0;
}

static int ctl_set_timeout(struct ctl *ctl)
{
	const char *text = ctl->args.values[ARGS_TIMEOUT];
	char *end;
	double sec;

	if (!text)
		return 0;
	errno = 0;
	sec = strtod(text, &end);
	if (errno != 0 || end == text || *end || !(sec >= 0.001 && sec <= CTL_TIMEOUT_MOST))
		return ctl_fail(ctl, CTL_USAGE, text,
				"not a time-out in seconds, from 0.001 to 864000");
	ctl->timeout_ms = (unsigned int)(sec * 1000.0);
	return cow_set_timeout(ctl->cow, ctl->timeout_ms) < 0 ? CTL_USAGE : 0;
}

/* ---- the connection -------------------------------------------------------------------------- */

static int ctl_new(struct ctl *ctl)
{
	char agent[64];

	ctl->cow = cow_new();
	if (!ctl->cow)
		return ctl_fail(ctl, CTL_ERROR, NULL, "out of memory");
	(void)snprintf(agent, sizeof(agent), "cowctl/%s %s", cow_version(), ctl->command->name);
	/* who waits for a command is told of a lost server at once */
	if (cow_set_reconnect(ctl->cow, 0) < 0 || cow_set_agent(ctl->cow, agent) < 0)
		return ctl_fail_cow(ctl, -COW_EINVAL, NULL);
	return ctl_set_timeout(ctl);
}

/* 0, an exit status (its error printed), or a COW_E* code of cow_connect(), negative. */
static int ctl_dial(struct ctl *ctl)
{
	const char *uri = ctl->args.values[ARGS_URI];
	struct cow_server server;
	int err = ctl_new(ctl);

	if (err != 0)
		return err;
	err = cow_connect(ctl->cow, uri);
	if (err == -COW_EINVAL)
		return ctl_fail(ctl, CTL_USAGE, NULL, "%s", cow_error(ctl->cow));
	if (err == 0 && cow_get_server(ctl->cow, &server) == 0)
		ctl_remark(ctl, "connected to %s", server.agent);
	return err;
}

int ctl_connect(struct ctl *ctl)
{
	int err = ctl_dial(ctl);

	return err < 0 ? ctl_fail_cow(ctl, err, NULL) : err;
}

int ctl_connect_patiently(struct ctl *ctl, unsigned int sec)
{
	int err = ctl_connect(ctl);

	if (err == 0 && ctl->timeout_ms == 0 && cow_set_timeout(ctl->cow, sec * 1000) < 0)
		return ctl_fail_cow(ctl, -COW_EINVAL, NULL);
	return err;
}

int ctl_try_connect(struct ctl *ctl)
{
	int err = ctl_dial(ctl);

	return err < 0 ? ctl_exit_code(err) : err;
}

/* ---- questions ------------------------------------------------------------------------------- */

bool ctl_confirm(const struct ctl *ctl, const char *fmt, ...)
{
	char *line = NULL;
	size_t len = 0;
	va_list ap;
	bool yes;

	if (args_has(&ctl->args, ARGS_YES) || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return true;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "? [y/N] ");
	yes = getline(&line, &len, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y');
	free(line);
	return yes;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static volatile sig_atomic_t caught;
static int caught_fd = -1;

static void ctl_on_signal(int sig)
{
	int saved = errno;

	caught = sig;
	(void)eventfd_write(caught_fd, 1);
	errno = saved;
}

int ctl_catch_interrupts(void)
{
	struct sigaction sa = {.sa_handler = ctl_on_signal};

	caught_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (caught_fd < 0)
		return -1;
	(void)sigemptyset(&sa.sa_mask);
	if (sigaction(SIGINT, &sa, NULL) < 0 || sigaction(SIGTERM, &sa, NULL) < 0)
		return -1;
	return 0;
}

int ctl_interrupt_fd(void)
{
	return caught_fd;
}

int ctl_interrupted(void)
{
	return caught;
}

void ctl_die_of_interrupt(void)
{
	if (caught == 0)
		return;
	(void)signal(caught, SIG_DFL);
	(void)raise(caught);
}
