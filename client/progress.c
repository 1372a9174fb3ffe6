/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/size.h"

#define PROGRESS_EVERY_NS  UINT64_C(100000000)
#define PROGRESS_BAR_WIDTH 24u
#define PROGRESS_NOT_YET   101u

unsigned int progress_percent(uint64_t done, uint64_t total)
{
	if (done >= total)
		return 100;
	/* done < total, so the division by a hundredth cannot be by zero where the product would
	 * overflow */
	if (done > UINT64_MAX / 100)
		return (unsigned int)(done / (total / 100 + 1));
	return (unsigned int)(done * 100 / total);
}

/* Room for a size, and for any number. */
#define PROGRESS_AMOUNT_MAX SIZE_TEXT_MAX

static const char *progress_amount(char buf[PROGRESS_AMOUNT_MAX], const char *noun, uint64_t n)
{
	if (!noun)
		return size_format(buf, n);
	(void)snprintf(buf, PROGRESS_AMOUNT_MAX, "%" PRIu64, n);
	return buf;
}

static uint64_t progress_rate(uint64_t done, uint64_t elapsed_ns)
{
	double rate = elapsed_ns > 0 ? (double)done * 1e9 / (double)elapsed_ns : 0.0;

	return rate < 1e18 ? (uint64_t)rate : 0;
}

static void progress_bar(char bar[PROGRESS_BAR_WIDTH + 1], unsigned int percent)
{
	size_t filled = PROGRESS_BAR_WIDTH * percent / 100;

	memset(bar, ' ', PROGRESS_BAR_WIDTH);
	memset(bar, '=', filled);
	if (filled < PROGRESS_BAR_WIDTH)
		bar[filled] = '>';
	bar[PROGRESS_BAR_WIDTH] = '\0';
}

void progress_line(char buf[PROGRESS_LINE_MAX], const char *noun, uint64_t done, uint64_t total,
		   uint64_t elapsed_ns)
{
	char bar[PROGRESS_BAR_WIDTH + 1];
	char done_text[PROGRESS_AMOUNT_MAX];
	char total_text[PROGRESS_AMOUNT_MAX];
	char rate[PROGRESS_AMOUNT_MAX];
	unsigned int percent = progress_percent(done, total);

	(void)progress_amount(rate, noun, progress_rate(done, elapsed_ns));
	(void)progress_amount(done_text, noun, done);
	if (total == PROGRESS_UNKNOWN) {
		(void)snprintf(buf, PROGRESS_LINE_MAX, "%s%s%s  %s/s", done_text, noun ? " " : "",
			       noun ? noun : "", rate);
		return;
	}
	progress_bar(bar, percent);
	(void)progress_amount(total_text, noun, total);
	(void)snprintf(buf, PROGRESS_LINE_MAX, "[%s] %3u %%  %s of %s%s%s  %s/s", bar, percent,
		       done_text, total_text, noun ? " " : "", noun ? noun : "", rate);
}

int progress_parse_fd(const char *text, int *fd)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end || n < 0 || n > INT_MAX)
		return -ERR_INVAL;
	if (fcntl((int)n, F_GETFD) < 0)
		return -ERR_INVAL;
	*fd = (int)n;
	return 0;
}

/* Who listens may go away; the command goes on. */
static void progress_write(struct progress *p, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(p->fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			p->kind = PROGRESS_NONE;
			return;
		}
		text += n;
		len -= (size_t)n;
	}
}

static void progress_show_number(struct progress *p, unsigned int percent)
{
	char line[16];
	int n;

	if (percent == p->shown)
		return;
	p->shown = percent;
	n = snprintf(line, sizeof(line), "%u/100\n", percent);
	progress_write(p, line, (size_t)n);
}

/* Over the last one, whose tail is blanked out. */
static void progress_show_bar(struct progress *p, const char *line)
{
	size_t width = strlen(line);
	size_t blanks = p->width > width ? p->width - width : 0;
	char out[2 * PROGRESS_LINE_MAX + 2];
	int n = snprintf(out, sizeof(out), "\r%s%*s", line, (int)blanks, "");

	p->width = width;
	progress_write(p, out, (size_t)n);
}

enum progress_kind progress_choose(int fd, bool quiet)
{
	if (fd >= 0)
		return PROGRESS_LINES;
	return !quiet && isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_NONE;
}

void progress_start(struct progress *p, enum progress_kind kind, int fd, const char *noun,
		    uint64_t total, uint64_t now_ns)
{
	*p = (struct progress){
	    .kind = kind,
	    .fd = kind == PROGRESS_BAR ? STDERR_FILENO : fd,
	    .noun = noun,
	    .total = total,
	    .start_ns = now_ns,
	    .shown_ns = now_ns,
	    .shown = PROGRESS_NOT_YET,
	};
	if (kind == PROGRESS_LINES)
		progress_show_number(p, 0);
}

void progress_update(struct progress *p, uint64_t done, uint64_t now_ns)
{
	char line[PROGRESS_LINE_MAX];

	if (p->kind == PROGRESS_LINES && p->total != PROGRESS_UNKNOWN) {
		unsigned int percent = progress_percent(done, p->total);

		/* the end is told when all is durable: progress_end() */
		progress_show_number(p, percent < 100 ? percent : 99);
	} else if (p->kind == PROGRESS_BAR && now_ns - p->shown_ns >= PROGRESS_EVERY_NS) {
		p->shown_ns = now_ns;
		progress_line(line, p->noun, done, p->total, now_ns - p->start_ns);
		progress_show_bar(p, line);
	}
}

void progress_end(struct progress *p, bool success)
{
	if (p->kind == PROGRESS_LINES && success)
		progress_show_number(p, 100);
	if (p->kind == PROGRESS_BAR && p->width > 0) {
		progress_show_bar(p, "");
		progress_write(p, "\r", 1);
	}
	p->kind = PROGRESS_NONE;
}
