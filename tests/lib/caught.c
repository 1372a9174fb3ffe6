/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/lib/caught.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/must.h"

#define TEXT_MAX 65536u

static struct {
	int stderr_fd; /* what it was */
	int fd;
	char text[TEXT_MAX + 1];
} caught = {.stderr_fd = -1};

void caught_begin(void)
{
	(void)fflush(stderr);
	caught.stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	caught.fd = memfd_create("caught", MFD_CLOEXEC);
	/* whoever writes appends: what was there is forgotten by a truncation */
	MUST(caught.stderr_fd >= 0 && caught.fd >= 0 && fcntl(caught.fd, F_SETFL, O_APPEND) == 0 &&
		 dup2(caught.fd, STDERR_FILENO) == STDERR_FILENO,
	     "stderr");
}

void caught_clear(void)
{
	MUST(ftruncate(caught.fd, 0) == 0, "stderr");
}

const char *caught_text(void)
{
	ssize_t n = pread(caught.fd, caught.text, TEXT_MAX, 0);

	caught.text[n > 0 ? n : 0] = '\0';
	return caught.text;
}

bool caught_has(const char *word, const char *also)
{
	const char *line = caught_text();

	while (*line) {
		const char *end = strchrnul(line, '\n');
		const char *at = memmem(line, (size_t)(end - line), word, strlen(word));

		if (at && (!also || memmem(line, (size_t)(end - line), also, strlen(also))))
			return true;
		line = *end ? end + 1 : end;
	}
	return false;
}

void caught_end(void)
{
	bool failed = caught_has("[  ERROR   ]", NULL);

	MUST(dup2(caught.stderr_fd, STDERR_FILENO) == STDERR_FILENO, "stderr");
	(void)close(caught.stderr_fd);
	(void)close(caught.fd);
	caught.stderr_fd = -1;
	if (failed)
		(void)fputs(caught.text, stderr);
}
