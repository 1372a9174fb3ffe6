/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/must.h"

#define DAEMON_ARGS_MAX 40
#define DAEMON_READY_FD 9
#define DAEMON_LOG_TAIL 4000

/* Whose log is shown when a test fails. */
static const struct daemon *daemon_shown;

static void daemon_show_log(void)
{
	char buf[DAEMON_LOG_TAIL];
	ssize_t n;
	int fd;

	if (!daemon_shown)
		return;
	fd = open(daemon_shown->log, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fprintf(stderr, "--- end of %s\n", daemon_shown->log);
	if (lseek(fd, -(off_t)sizeof(buf), SEEK_END) < 0)
		(void)lseek(fd, 0, SEEK_SET);
	n = read(fd, buf, sizeof(buf));
	if (n > 0)
		(void)fwrite(buf, 1, (size_t)n, stderr);
	(void)close(fd);
}

void daemon_init(struct daemon *d, const struct daemon_config *config)
{
	const char *tmp = getenv("TMPDIR");
	const char *at;

	memset(d, 0, sizeof(*d));
	if (config)
		d->config = *config;
	/* a long path would not fit in the address of a unix socket */
	if (!tmp || strlen(tmp) > sizeof(d->dir) / 2)
		tmp = "/tmp";
	(void)snprintf(d->dir, sizeof(d->dir), "%s/cowd-test-XXXXXX", tmp);
	MUST(mkdtemp(d->dir) != NULL, "%s", d->dir);
	at = d->config.at ? d->config.at : d->dir;
	MUST(snprintf(d->store, sizeof(d->store), "%s/store", at) < (int)sizeof(d->store), "%s",
	     at);
	(void)snprintf(d->device, sizeof(d->device), "%s/data", d->config.device ? at : d->store);
	(void)snprintf(d->socket, sizeof(d->socket), "%s/socket", d->dir);
	(void)snprintf(d->log, sizeof(d->log), "%s/log", d->dir);
	(void)snprintf(d->uri[DAEMON_UNIX], DAEMON_URI_MAX, "cow+unix:///?socket=%s", d->socket);
	daemon_shown = d;
	must_on_failure(daemon_show_log);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* ---- the process ----------------------------------------------------------------------------- */

struct daemon_args {
	const char *v[DAEMON_ARGS_MAX + 1];
	int n;
};

static void daemon_arg(struct daemon_args *a, const char *name, const char *value)
{
	if (!value)
		return;
	MUST(a->n + 2 <= DAEMON_ARGS_MAX, "too many arguments");
	a->v[a->n++] = name;
	a->v[a->n++] = value;
}

static const char *daemon_program(const struct daemon *d)
{
	const char *variable = d->config.program ? d->config.program : "COWD";
	const char *program = getenv(variable);

	MUST(program && program[0], "%s is not set", variable);
	return program;
}

/* In the child: becomes the program.  Its standard output and error go to fd. */
static NORETURN void daemon_exec(const struct daemon *d, struct daemon_args *a, int fd)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	for (int i = 0; d->config.env[i]; i++)
		(void)putenv((char *)(uintptr_t)d->config.env[i]);
	(void)execv(a->v[0], (char *const *)(uintptr_t)a->v);
	_exit(127);
}

static void daemon_more_args(struct daemon_args *a, const struct daemon *d)
{
	for (int i = 0; i < DAEMON_MORE_MAX && d->config.args[i]; i++) {
		MUST(a->n < DAEMON_ARGS_MAX, "too many arguments");
		a->v[a->n++] = d->config.args[i];
	}
}

/* Where it is not in the store's directory. */
static void daemon_device_arg(struct daemon_args *a, const struct daemon *d, char *buf, size_t len)
{
	if (!d->config.device)
		return;
	(void)snprintf(buf, len, "%s%s", d->config.device, d->device);
	daemon_arg(a, "--device", buf);
}

static void daemon_listen_arg(struct daemon_args *a, const struct daemon *d, char *buf, size_t len)
{
	(void)snprintf(buf, len, "unix:%s", d->socket);
	daemon_arg(a, "--listen", buf);
	daemon_arg(a, "--listen", "tcp:127.0.0.1:0");
}

/* The new process: 0 in the child. */
static pid_t daemon_fork(struct daemon *d, int *log)
{
	MUST(d->pid == 0, "runs already");
	*log = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	MUST(*log >= 0, "%s", d->log);
	(void)fflush(stdout);
	d->pid = fork();
	MUST(d->pid >= 0, "fork");
	return d->pid;
}

/* The descriptor that the daemon says READY on. */
static int daemon_launch(struct daemon *d)
{
	struct daemon_args a = {.v = {daemon_program(d)}, .n = 1};
	char listen[128], device[128], number[8];
	int ready[2], log;

	daemon_arg(&a, "--store", d->store);
	if (!d->made)
		daemon_arg(&a, "--size", d->config.size ? d->config.size : "512M");
	daemon_device_arg(&a, d, device, sizeof(device));
	daemon_listen_arg(&a, d, listen, sizeof(listen));
	daemon_arg(&a, "--cache", d->config.cache);
	daemon_arg(&a, "--workers", d->config.workers);
	daemon_arg(&a, "--writeback-ms", d->config.writeback_ms);
	daemon_more_args(&a, d);
	(void)snprintf(number, sizeof(number), "%d", DAEMON_READY_FD);
	daemon_arg(&a, "--ready-fd", number);
	MUST(pipe2(ready, O_CLOEXEC) == 0, "pipe");
	if (daemon_fork(d, &log) == 0) {
		(void)dup2(ready[1], DAEMON_READY_FD);
		daemon_exec(d, &a, log);
	}
	(void)close(log);
	(void)close(ready[1]);
	return ready[0];
}

void daemon_make(struct daemon *d)
{
	struct daemon_args a = {.v = {daemon_program(d)}, .n = 1};
	char device[128];
	int log;

	daemon_arg(&a, "--store", d->store);
	daemon_arg(&a, "--size", d->config.size);
	daemon_device_arg(&a, d, device, sizeof(device));
	a.v[a.n++] = "--init";
	if (daemon_fork(d, &log) == 0)
		daemon_exec(d, &a, log);
	(void)close(log);
}

/* One line of what the daemon says of itself; true at the last. */
static bool daemon_heard(struct daemon *d, const char *line)
{
	const char tcp[] = "LISTEN tcp:127.0.0.1:";

	if (strncmp(line, tcp, sizeof(tcp) - 1) == 0) {
		d->port = (uint16_t)strtoul(line + sizeof(tcp) - 1, NULL, 10);
		(void)snprintf(d->uri[DAEMON_TCP], DAEMON_URI_MAX, "cow://127.0.0.1:%u", d->port);
	}
	return strcmp(line, "READY\n") == 0;
}

void daemon_start(struct daemon *d)
{
	FILE *ready = fdopen(daemon_launch(d), "r");
	char line[256];
	bool is_ready = false;

	MUST(ready, "fdopen");
	while (!is_ready && fgets(line, sizeof(line), ready))
		is_ready = daemon_heard(d, line);
	(void)fclose(ready);
	MUST(is_ready, "the daemon did not become ready: %s", d->log);
	MUST(d->port != 0, "no TCP port was told");
	d->made = true;
}

void daemon_spawn(struct daemon *d)
{
	(void)close(daemon_launch(d));
}

int daemon_wait(struct daemon *d)
{
	int status = 0;
	pid_t pid;

	do
		pid = waitpid(d->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	MUST(pid == d->pid, "waitpid");
	d->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void daemon_stop(struct daemon *d)
{
	int status;

	MUST(kill(d->pid, SIGTERM) == 0, "kill");
	status = daemon_wait(d);
	MUST(status == 0, "after SIGTERM the daemon ended with %d", status);
}

void daemon_kill(struct daemon *d)
{
	int status;

	(void)kill(d->pid, SIGKILL);
	status = daemon_wait(d);
	MUST(status == 128 + SIGKILL, "the daemon ended by itself, with %d", status);
}

bool daemon_alive(const struct daemon *d)
{
	siginfo_t info = {.si_pid = 0};

	return d->pid != 0 &&
	       waitid(P_PID, (id_t)d->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

/* ---- the checker ----------------------------------------------------------------------------- */

/* Reads to the end of the stream, and keeps the beginning. */
static void daemon_slurp(int fd, char *buf, size_t len)
{
	char more[4096];
	size_t have = 0;
	ssize_t n;

	while ((n = read(fd, more, sizeof(more))) > 0) {
		size_t keep = (size_t)n < len - 1 - have ? (size_t)n : len - 1 - have;

		memcpy(buf + have, more, keep);
		have += keep;
	}
	buf[have] = '\0';
}

int daemon_check_status(struct daemon *d, char *said, size_t len)
{
	struct daemon_args a = {.v = {daemon_program(d)}, .n = 1};
	char device[128];
	int out[2], status;

	daemon_arg(&a, "--store", d->store);
	daemon_device_arg(&a, d, device, sizeof(device));
	a.v[a.n++] = "--check";
	MUST(d->pid == 0, "the daemon runs");
	MUST(pipe2(out, O_CLOEXEC) == 0, "pipe");
	(void)fflush(stdout);
	d->pid = fork();
	MUST(d->pid >= 0, "fork");
	if (d->pid == 0)
		daemon_exec(d, &a, out[1]);
	(void)close(out[1]);
	daemon_slurp(out[0], said, len);
	status = daemon_wait(d);
	(void)close(out[0]);
	return status;
}

void daemon_check(struct daemon *d)
{
	char said[4096];
	int status = daemon_check_status(d, said, sizeof(said));

	MUST(status == 0, "the checker ended with %d: %s", status, said);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int daemon_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void daemon_fini(struct daemon *d)
{
	if (d->pid != 0) {
		daemon_show_log();
		(void)kill(d->pid, SIGKILL);
		(void)daemon_wait(d);
	}
	MUST(nftw(d->dir, daemon_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "%s", d->dir);
	daemon_shown = NULL;
}

cow_t *daemon_connect(const struct daemon *d, int kind)
{
	cow_t *cow = cow_new();

	MUST(cow, "cow_new");
	MUST(cow_set_reconnect(cow, 0) == 0, "cow_set_reconnect");
	MUST(cow_connect(cow, d->uri[kind]) == 0, "%s: %s", d->uri[kind], cow_error(cow));
	return cow;
}

uint64_t daemon_rss_bytes(const struct daemon *d)
{
	uint64_t pages = 0, resident = 0;
	char path[64], line[256], *end;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)d->pid);
	f = fopen(path, "re");
	MUST(f && fgets(line, sizeof(line), f), "%s", path);
	(void)fclose(f);
	pages = strtoull(line, &end, 10);
	resident = strtoull(end, NULL, 10);
	MUST(pages >= resident && resident > 0, "%s: %s", path, line);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool daemon_is_instrumented(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#else
	return false;
#endif
}
