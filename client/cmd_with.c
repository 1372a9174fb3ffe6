/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command with-clone: a clone for as long as another command runs.
 *
 *	clone, open --> COMMAND runs --> closed --> removed
 *	                 |    ^
 *	                 '----'  its time to live begins anew
 *
 * Nobody may be left to remove the clone, so it has a time to live, a short one that is begun anew long
 * before its end.  It is open as well: so it is there however late that is, as when cowctl is stopped and
 * goes on after an hour.  When the server has restarted, the time to live keeps the clone until cowctl has
 * opened it again; and when cowctl has died, until the last one who has it open has gone.
 */
#include "client/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/attrs.h"
#include "client/cow_aio.h"
#include "client/reach.h"
#include "client/uri.h"
#include "common/clock.h"
#include "common/name.h"

#define WITH_TTL_MS    60000u
#define WITH_TTL_PARTS 6u /* it begins anew when such a part of it has passed */
#define WITH_RETRY_MS  1000u
#define WITH_END_MS    10000u /* what still has the clone open may take so long to let go of it */
#define WITH_DELAY_MS  500u   /* at most, between two attempts to remove it */

#define WITH_NOT_FOUND	  127 /* as shells have it */
#define WITH_NOT_STARTED  126
#define WITH_SIGNAL_FIRST 128

struct with {
	struct ctl *ctl;
	const char *src;
	const char *name; /* of the clone */
	char made_name[40];
	uint64_t id;
	uint64_t ttl_ms;
	cow_object_t *obj;
	sigset_t mask; /* as it was */
	int signal_fd;
	pid_t pid;
	uint64_t due_ms;     /* when its time is to begin anew */
	unsigned int end_ms; /* how long the server, and who has it open, may take at the end */
	bool asking;	     /* for a new time */
	bool gone;	     /* there is no such clone any more */
};

/* ---- the clone ------------------------------------------------------------------------------- */

/* A name that nobody else has. */
static int with_choose_name(struct with *w)
{
	const char *name = w->ctl->args.values[ARGS_NAME];
	uint64_t number;

	w->name = name ? name : w->made_name;
	if (name && strchr(name, '@'))
		return ctl_fail(w->ctl, CTL_USAGE, name,
				"names a version, which cannot be written");
	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return ctl_fail(w->ctl, CTL_ERROR, NULL, "no random number: %s", strerror(errno));
	(void)snprintf(w->made_name, sizeof(w->made_name), "with-clone-%016" PRIx64, number);
	return 0;
}

static int with_clone_failed(const struct with *w, int err)
{
	const char *subject = w->name;

	if (err == -COW_EINVAL)
		subject = ctl_bad_name(w->src, w->name);
	else if (err == -COW_ENOENT)
		subject = w->src;
	return ctl_fail_cow(w->ctl, err, subject);
}

static int with_make(struct with *w, struct attrs *attrs)
{
	struct cow_info info;
	cow_t *cow = w->ctl->cow;
	int err;

	if (attrs->cow.ttl_ms == 0)
		attrs->cow.ttl_ms = WITH_TTL_MS;
	w->ttl_ms = attrs->cow.ttl_ms;
	err = cow_clone_with(cow, w->src, w->name, &attrs->cow);
	if (err < 0)
		return with_clone_failed(w, err);
	ctl_remark(w->ctl, "%s is a clone of %s", w->name, w->src);
	w->due_ms = clock_now_ms() + w->ttl_ms / WITH_TTL_PARTS;
	/* what follows is repeated on another connection, if this one ends */
	err = cow_set_reconnect(cow, 1);
	if (err == 0)
		err = cow_open(cow, w->name, COW_OPEN_READONLY, &w->obj);
	if (err == 0)
		err = cow_get_info(cow, w->name, &info);
	if (err < 0)
		return ctl_fail_cow(w->ctl, err, w->name);
	w->id = info.id;
	cow_info_clear(&info);
	return 0;
}

/* ---- its time -------------------------------------------------------------------------------- */

static void with_prolonged(void *ctx, int64_t result)
{
	struct with *w = ctx;
	uint64_t part_ms = w->ttl_ms / WITH_TTL_PARTS;

	w->asking = false;
	w->due_ms = clock_now_ms() +
		    (result < 0 && part_ms > WITH_RETRY_MS ? (uint64_t)WITH_RETRY_MS : part_ms);
	if (result != -COW_ENOENT)
		return; /* else the next one may succeed */
	w->gone = true;
	(void)ctl_fail(w->ctl, CTL_ERROR, w->name, "the clone is not there any more");
}

static void with_prolong(struct with *w)
{
	const struct cow_edit edit = {.flags = COW_SET_TTL, .ttl_ms = w->ttl_ms};
	const struct cow_aio how = {.done = with_prolonged, .ctx = w, .timeout_ms = w->end_ms};

	w->asking = cow_aio_set(w->ctl->cow, w->name, &edit, NULL, &how, NULL) == 0;
	if (!w->asking)
		w->due_ms = clock_now_ms() + WITH_RETRY_MS;
}

/* It is not canceled: carried out late it would be the end of a clone that is kept. */
static void with_prolong_no_more(struct with *w)
{
	while (w->asking)
		(void)cow_wait(w->ctl->cow);
}

/* ---- the command ----------------------------------------------------------------------------- */

/*
 * From here on signals wait until with_pass_signals(), so that the clone is removed whatever comes.  What is
 * ignored, as by nohup(1), stays so; but for SIGCHLD, which whoever ignores it has no status of.
 */
static int with_hold_signals(struct with *w)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const struct sigaction by_default = {.sa_handler = SIG_DFL};
	struct sigaction now;
	sigset_t set;

	(void)sigaction(SIGCHLD, &by_default, NULL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (sigaction(ends[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			(void)sigaddset(&set, ends[i]);
	if (sigprocmask(SIG_BLOCK, &set, &w->mask) == 0)
		w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signal_fd < 0)
		return ctl_fail(w->ctl, CTL_ERROR, NULL, "signals: %s", strerror(errno));
	return 0;
}

/* NULL: it must not be there, not even from a with-clone around this one. */
static int with_put_variable(const struct with *w, const char *key, const char *value)
{
	int rc = value ? setenv(key, value, 1) : unsetenv(key);

	return rc == 0 ? 0 : ctl_fail(w->ctl, CTL_ERROR, NULL, "out of memory");
}

/* A server that does not know the question has no NBD either. */
static int with_put_nbd(const struct with *w, const char *uri)
{
	struct cow_service service = {.naddrs = 0};
	int err = cow_get_service(w->ctl->cow, &service);
	char *nbd = NULL;

	if (err < 0 && err != -COW_ENOTSUP)
		return ctl_fail_cow(w->ctl, err, NULL);
	err = reach_nbd(uri, &service, w->name, &nbd);
	cow_service_clear(&service);
	if (err < 0)
		return ctl_fail(w->ctl, CTL_ERROR, NULL, "out of memory");
	if (!nbd)
		ctl_remark(w->ctl, "the server has no NBD that can be reached: no $NBD_URI");
	err = with_put_variable(w, "NBD_URI", nbd);
	free(nbd);
	return err;
}

static int with_put_environment(const struct with *w)
{
	const char *given = w->ctl->args.values[ARGS_URI];
	const char *before = given ? given : uri_from_environment();
	char *old = before ? strdup(before) : NULL; /* it may lie in what is replaced */
	char *uri = before && !old ? NULL : reach_uri(old, w->name);
	int status =
	    uri ? with_put_nbd(w, old) : ctl_fail(w->ctl, CTL_ERROR, NULL, "out of memory");

	if (status == 0)
		status = with_put_variable(w, "COW_URI", uri);
	if (status == 0)
		status = with_put_variable(w, "COW_OBJECT", w->name);
	free(uri);
	free(old);
	return status;
}

/* 0 or an error number. */
static int with_spawn(struct with *w, char *const *argv)
{
	posix_spawnattr_t attr;
	sigset_t defaults;
	int err = posix_spawnattr_init(&attr);

	if (err != 0)
		return err;
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE); /* which cowctl ignores */
	(void)posix_spawnattr_setsigdefault(&attr, &defaults);
	(void)posix_spawnattr_setsigmask(&attr, &w->mask);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	err = posix_spawnp(&w->pid, argv[0], NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	return err;
}

static int with_start(struct with *w)
{
	size_t n = w->ctl->args.noperands - 1;
	char **argv = calloc(n + 1, sizeof(*argv));
	int err;

	if (!argv)
		return ctl_fail(w->ctl, WITH_NOT_STARTED, NULL, "out of memory");
	memcpy(argv, w->ctl->args.operands + 1, n * sizeof(*argv));
	err = with_spawn(w, argv);
	if (err != 0)
		err = ctl_fail(w->ctl, err == ENOENT ? WITH_NOT_FOUND : WITH_NOT_STARTED, argv[0],
			       "%s", strerror(err));
	free(argv);
	return err;
}

/* One from the terminal has reached the command already.  The one that has asked for the end, or 0. */
static int with_pass_signals(const struct with *w)
{
	struct signalfd_siginfo info;
	int end = 0;

	while (read(w->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		end = (int)info.ssi_signo;
		if (w->pid > 0 && info.ssi_code != SI_KERNEL)
			(void)kill(w->pid, end);
	}
	return end;
}

/* Until something happens, or the clone's time is to begin anew. */
static void with_wait(const struct with *w)
{
	struct pollfd fds[] = {
	    {.fd = w->signal_fd, .events = POLLIN},
	    {.fd = cow_get_fd(w->ctl->cow), .events = (short)cow_get_events(w->ctl->cow)}};
	uint64_t now = clock_now_ms();
	int soon = cow_next_timeout_ms(w->ctl->cow);
	uint64_t left = w->due_ms > now ? w->due_ms - now : 0;

	if (w->asking || w->gone || left > WITH_TTL_MS)
		left = WITH_TTL_MS;
	if (soon < 0 || (uint64_t)soon > left)
		soon = (int)left;
	(void)poll(fds, ARRAY_LEN(fds), soon);
}

/* What waitpid(2) says of the command. */
static int with_watch(struct with *w)
{
	int status;

	while (waitpid(w->pid, &status, WNOHANG) != w->pid) {
		if (!w->asking && !w->gone && clock_now_ms() >= w->due_ms)
			with_prolong(w);
		with_wait(w);
		(void)cow_process(w->ctl->cow);
		(void)with_pass_signals(w);
	}
	w->pid = 0;
	return status;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Is it still the clone that has this name?  0, -COW_ENOENT or another error. */
static int with_look(const struct with *w)
{
	struct cow_info info;
	int err = cow_get_info(w->ctl->cow, w->name, &info);

	if (err < 0)
		return err;
	if (w->id != 0 && info.id != w->id)
		err = -COW_ENOENT;
	cow_info_clear(&info);
	return err;
}

static bool with_may_pass(int err)
{
	return err == -COW_EBUSY || err == -COW_ECONN || err == -COW_ETIMEDOUT;
}

/* It goes by itself, and if it is in use as soon as it is not. */
static void with_leave(const struct with *w, int err)
{
	char text[CTL_MESSAGE_MAX];

	(void)ctl_cow_message(text, w->ctl->cow, err, w->name);
	if (err != -COW_ECONN && err != -COW_ETIMEDOUT && cow_set_ttl(w->ctl->cow, w->name, 1) == 0)
		(void)ctl_fail(w->ctl, CTL_ERROR, w->name,
			       "%s; the clone goes when nobody uses it any more", text);
	else
		(void)ctl_fail(w->ctl, CTL_ERROR, w->name, "%s; the clone goes after %" PRIu64 " s",
			       text, w->ttl_ms / 1000);
}

/* Whoever still has it open is given some time: a client that was killed a moment ago has not gone yet. */
static void with_remove(const struct with *w)
{
	struct pollfd fd = {.fd = w->signal_fd, .events = POLLIN};
	uint64_t until_ms = clock_now_ms() + w->end_ms;
	int delay_ms = 10;
	int err;

	for (;;) {
		err = with_look(w);
		if (err == 0)
			err = cow_remove_with(w->ctl->cow, w->name, COW_REMOVE_VERSIONS);
		if (err == 0 || err == -COW_ENOENT)
			return;
		if (!with_may_pass(err) || clock_now_ms() >= until_ms || with_pass_signals(w) != 0)
			break;
		(void)poll(&fd, 1, delay_ms);
		delay_ms = delay_ms * 2 > (int)WITH_DELAY_MS ? (int)WITH_DELAY_MS : delay_ms * 2;
	}
	with_leave(w, err);
}

static void with_keep(const struct with *w)
{
	int err = cow_set_ttl(w->ctl->cow, w->name, 0);

	if (err < 0)
		(void)ctl_fail_cow(w->ctl, err, w->name);
	else
		(void)ctl_fail(w->ctl, CTL_ERROR, w->name, "the clone is kept");
}

/* What becomes of the clone, whatever has failed: "keep" it, or not. */
static void with_end(struct with *w, bool keep)
{
	with_prolong_no_more(w);
	(void)cow_set_timeout(w->ctl->cow, w->end_ms);
	if (w->obj)
		(void)cow_close(w->obj); /* it was not written through this handle */
	w->obj = NULL;
	if (keep && !w->gone)
		with_keep(w);
	else if (!w->gone)
		with_remove(w);
}

static int with_exit_status(int status)
{
	return WIFSIGNALED(status) ? WITH_SIGNAL_FIRST + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Who was told to end while the clone was made has nothing to start any more. */
static int with_asked_to_end(const struct with *w)
{
	int end = with_pass_signals(w);

	return end != 0 ? WITH_SIGNAL_FIRST + end : 0;
}

static int with_run(struct with *w, struct attrs *attrs)
{
	int status = with_make(w, attrs);
	bool failed = false;

	if (status != 0 && !w->obj && w->due_ms == 0)
		return status; /* there is no clone */
	if (status == 0)
		status = with_put_environment(w);
	if (status == 0)
		status = with_asked_to_end(w);
	if (status == 0)
		status = with_start(w);
	if (status == 0) {
		status = with_exit_status(with_watch(w));
		failed = status != 0;
	}
	with_end(w, failed && args_has(&w->ctl->args, ARGS_KEEP));
	return status;
}

int cmd_with_clone(struct ctl *ctl)
{
	struct with w = {
	    .ctl = ctl, .src = ctl->args.operands[0], .signal_fd = -1, .end_ms = WITH_END_MS};
	struct attrs attrs;
	int status = attrs_get(ctl, &attrs);

	if (status == 0)
		status = with_choose_name(&w);
	if (status == 0)
		status = ctl_connect(ctl);
	if (status == 0)
		status = with_hold_signals(&w);
	if (ctl->timeout_ms > 0 && ctl->timeout_ms < WITH_END_MS)
		w.end_ms = ctl->timeout_ms;
	if (status == 0)
		status = with_run(&w, &attrs);
	if (w.signal_fd >= 0)
		(void)close(w.signal_fd);
	return status;
}
