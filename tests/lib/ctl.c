/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/model.h"
#include "tests/lib/must.h"

#define CTL_ARGS_MAX 32
#define CTL_PIECE    65536u

pid_t ctl_start(const char *uri, const char *const *args, int *out)
{
	const char *argv[CTL_ARGS_MAX + 4] = {getenv("COWCTL"), "-u", uri};
	int p[2];
	pid_t pid;

	MUST(argv[0] && argv[0][0], "COWCTL is not set");
	for (int i = 0; args[i]; i++) {
		MUST(i < CTL_ARGS_MAX, "too many arguments");
		argv[3 + i] = args[i];
	}
	MUST(pipe2(p, O_CLOEXEC) == 0, "pipe");
	(void)fflush(stdout);
	pid = fork();
	MUST(pid >= 0, "fork");
	if (pid == 0) {
		(void)signal(SIGPIPE, SIG_DFL);
		(void)dup2(p[1], STDOUT_FILENO);
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(p[1]);
	*out = p[0];
	return pid;
}

int ctl_wait(pid_t pid)
{
	int status = 0;
	pid_t done;

	do
		done = waitpid(pid, &status, 0);
	while (done < 0 && errno == EINTR);
	MUST(done == pid, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- a line ---------------------------------------------------------------------------------- */

/* The words of a line, cut apart there, behind the program's name. */
static void ctl_split(char *line, char *argv[CTL_ARGS_MAX + 2])
{
	size_t n = 0;

	argv[n++] = getenv("COWCTL");
	MUST(argv[0] && argv[0][0], "COWCTL is not set");
	for (char *word; (word = strsep(&line, " ")) != NULL;) {
		MUST(n <= CTL_ARGS_MAX, "too many arguments");
		argv[n++] = word;
	}
	argv[n] = NULL;
}

static pid_t ctl_spawn(const char *line, int in, int out, int err)
{
	char *argv[CTL_ARGS_MAX + 2];
	char *copy = strdup(line);
	pid_t pid;

	MUST(copy, "strdup");
	ctl_split(copy, argv);
	(void)fflush(stdout);
	pid = fork();
	MUST(pid >= 0, "fork");
	if (pid == 0) {
		(void)dup2(in, STDIN_FILENO);
		(void)dup2(out, STDOUT_FILENO);
		(void)dup2(err, STDERR_FILENO);
		(void)execv(argv[0], argv);
		_exit(127);
	}
	free(copy);
	return pid;
}

static void ctl_slurp(FILE *file, char text[CTL_OUTPUT_MAX])
{
	size_t n;

	rewind(file);
	n = fread(text, 1, CTL_OUTPUT_MAX, file);
	MUST(n < CTL_OUTPUT_MAX, "too much output");
	text[n] = '\0';
	(void)fclose(file);
}

int ctl_run(const char *line, char out[CTL_OUTPUT_MAX], char err[CTL_OUTPUT_MAX])
{
	FILE *out_file = tmpfile();
	FILE *err_file = tmpfile();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int status;

	MUST(out_file && err_file && null >= 0, "files");
	status = ctl_wait(ctl_spawn(line, null, fileno(out_file), fileno(err_file)));
	(void)close(null);
	ctl_slurp(out_file, out);
	ctl_slurp(err_file, err);
	return status;
}

/* What the terminal shows; it ends where nobody has the terminal open any more. */
static void ctl_read_terminal(int master, char text[CTL_OUTPUT_MAX])
{
	size_t n = 0;
	ssize_t got;

	while ((got = read(master, text + n, CTL_OUTPUT_MAX - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
}

int ctl_run_at_terminal(const char *line, const char *answer, char out[CTL_OUTPUT_MAX],
			char err[CTL_OUTPUT_MAX])
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	FILE *out_file = tmpfile();
	int slave;
	pid_t pid;

	MUST(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 && out_file, "terminal");
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	MUST(slave >= 0, "terminal");
	MUST(write(master, answer, strlen(answer)) == (ssize_t)strlen(answer), "typing");
	pid = ctl_spawn(line, slave, fileno(out_file), slave);
	(void)close(slave);
	ctl_read_terminal(master, err);
	(void)close(master);
	ctl_slurp(out_file, out);
	return ctl_wait(pid);
}

/* ---- cat ------------------------------------------------------------------------------------- */

/* Reads until the piece is full or the stream ends. */
static size_t ctl_read(int fd, uint8_t *buf, size_t len)
{
	size_t have = 0;
	ssize_t n = 1;

	while (have < len && n > 0) {
		n = read(fd, buf + have, len - have);
		if (n > 0)
			have += (size_t)n;
	}
	return have;
}

void ctl_compare(const char *uri, const char *name, const struct model *m, uint64_t off,
		 uint64_t len)
{
	char off_text[24], len_text[24];
	const char *args[] = {"cat", name, "--offset", off_text, "--length", len_text, NULL};
	uint8_t got[CTL_PIECE], want[CTL_PIECE];
	size_t got_len = 0, want_len = 0;
	int fd, status;
	pid_t pid;

	(void)snprintf(off_text, sizeof(off_text), "%" PRIu64, off);
	(void)snprintf(len_text, sizeof(len_text), "%" PRIu64, len);
	pid = ctl_start(uri, args, &fd);
	do {
		size_t piece = len < CTL_PIECE ? (size_t)len : CTL_PIECE;

		want_len = model_read(m, off, want, piece);
		got_len = ctl_read(fd, got, CTL_PIECE);
		MUST(got_len == want_len, "%s at %" PRIu64 ": %zu bytes, not %zu", name, off,
		     got_len, want_len);
		MUST(memcmp(got, want, want_len) == 0, "%s at %" PRIu64 ": other bytes", name, off);
		off += want_len;
		len -= want_len;
	} while (want_len > 0);
	(void)close(fd);
	status = ctl_wait(pid);
	MUST(status == 0, "cowctl cat %s: exit status %d", name, status);
}
