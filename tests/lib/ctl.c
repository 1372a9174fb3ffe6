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

#define CTL_ARGS_MAX 16
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
