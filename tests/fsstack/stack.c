/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/fsstack/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/must.h"

/* XFS_IOC_GOINGDOWN, which ext4 has too, and its flags; no header of the system's says them. */
#define STACK_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define STACK_HOWS	   3u

static void stack_path(const struct stack *s, char *buf, const char *name)
{
	MUST(snprintf(buf, STACK_PATH_MAX, "%s/%s", s->dir, name) < STACK_PATH_MAX, "%s", name);
}

/* The first word of a file. */
static void stack_read_word(const struct stack *s, const char *name, char *buf, size_t len)
{
	char path[STACK_PATH_MAX];
	FILE *f;

	stack_path(s, path, name);
	f = fopen(path, "re");
	MUST(f && fgets(buf, (int)len, f), "%s", path);
	buf[strcspn(buf, " \n")] = '\0';
	(void)fclose(f);
}

void stack_init(struct stack *s, const char *script, const char *dir)
{
	char word[16];

	*s = (struct stack){.script = script, .dir = dir};
	stack_path(s, s->at, "at");
	stack_read_word(s, "kind", word, sizeof(word));
	s->disk = strcmp(word, "disk") == 0;
	stack_read_word(s, "fs", word, sizeof(word));
	s->bare = strcmp(word, "none") == 0;
}

bool stack_is_dead(const struct stack *s)
{
	char path[STACK_PATH_MAX];
	int fd;
	bool alive;

	if (s->bare)
		return false;
	stack_path(s, path, "at/probe");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return true;
	alive = write(fd, path, 1) == 1 && fsync(fd) == 0;
	(void)close(fd);
	return !alive;
}

static void stack_shut_down(const struct stack *s, uint32_t flag)
{
	int fd = open(s->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool down = fd >= 0 && ioctl(fd, STACK_IOC_SHUTDOWN, &flag) == 0;

	if (fd >= 0)
		(void)close(fd);
	/* it may have given up before, after errors */
	MUST(down || stack_is_dead(s), "%s cannot be shut down", s->at);
}

static void stack_kill_disk(const struct stack *s)
{
	char pid[16];

	stack_read_word(s, "nbdkit.pid", pid, sizeof(pid));
	MUST(kill((pid_t)strtol(pid, NULL, 10), SIGKILL) == 0, "nbdkit, %s", pid);
}

void stack_cut(const struct stack *s, uint64_t how)
{
	how %= STACK_HOWS + s->disk;
	if (s->bare || how == STACK_HOWS)
		stack_kill_disk(s);
	else
		stack_shut_down(s, (uint32_t)how);
}

void stack_again(const struct stack *s, bool below, unsigned int rate)
{
	const char *where = below ? "below" : "above";
	char number[16];
	int status = 0;
	pid_t pid;

	(void)snprintf(number, sizeof(number), "%u", rate);
	(void)fflush(stdout);
	pid = fork();
	MUST(pid >= 0, "fork");
	if (pid == 0) {
		(void)execlp("bash", "bash", s->script, "again", s->dir, where, number,
			     (char *)NULL);
		_exit(127);
	}
	MUST(waitpid(pid, &status, 0) == pid && status == 0, "%s again: %d", s->script, status);
}

static void stack_trigger(const struct stack *s, const char *name, bool on)
{
	char path[STACK_PATH_MAX];
	int fd;

	stack_path(s, path, name);
	if (!on) {
		(void)unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	MUST(fd >= 0, "%s", path);
	(void)close(fd);
}

void stack_fail_writes(const struct stack *s, bool on)
{
	stack_trigger(s, "write-errors", on);
}

void stack_fail_reads(const struct stack *s, bool on)
{
	stack_trigger(s, "read-errors", on);
}

/* ---- a file system that is full -------------------------------------------------------------- */

/* Writes pieces of this size until there is no room for one. */
static void stack_fill_with(int fd, const uint8_t *buf, size_t piece)
{
	ssize_t n;

	do
		n = write(fd, buf, piece);
	while (n > 0);
	MUST(n < 0 && errno == ENOSPC, "filling");
}

void stack_fill(const struct stack *s)
{
	uint8_t *buf = calloc(1, 1u << 20);
	char path[STACK_PATH_MAX];
	int fd;

	stack_path(s, path, "at/filler");
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	MUST(buf && fd >= 0, "%s", path);
	/* what a sync gives back of what was reserved for it goes, too */
	for (int i = 0; i < 3; i++) {
		stack_fill_with(fd, buf, 1u << 20);
		stack_fill_with(fd, buf, 4096);
		stack_fill_with(fd, buf, 1);
		MUST(fsync(fd) == 0, "%s", path);
	}
	(void)close(fd);
	free(buf);
}

void stack_unfill(const struct stack *s)
{
	char path[STACK_PATH_MAX];

	stack_path(s, path, "at/filler");
	(void)unlink(path);
}
