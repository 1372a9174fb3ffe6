/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/utf8.h"

/* A line longer than this is cut: it stays one write, so that lines of threads do not mix. */
#define LOG_LINE_BYTES 2048

#define LOG_RATE_MS    1000u
#define LOG_RATE_LINES 20u

static const struct {
	const char *name;
	int priority; /* of syslog(3) */
} levels[] = {
    [LOG_ERROR] = {"error", 3},
    [LOG_WARN] = {"warn", 4},
    [LOG_INFO] = {"info", 6},
    [LOG_DEBUG] = {"debug", 7},
};

static _Atomic int max_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

int log_parse_level(const char *text, enum log_level *level)
{
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		if (strcmp(text, levels[i].name) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -ERR_INVAL;
}

/* Appends at *pos, cut to what fits, with room left for the end of the line. */
PRINTF_LIKE(3, 0)
static void log_append(char *line, size_t *pos, const char *fmt, va_list args)
{
	size_t room = LOG_LINE_BYTES - 1 - *pos;
	int n = vsnprintf(line + *pos, room, fmt, args);

	if (n > 0)
		*pos += (size_t)n < room ? (size_t)n : room - 1;
}

PRINTF_LIKE(3, 4) static void log_appendf(char *line, size_t *pos, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_append(line, pos, fmt, args);
	va_end(args);
}

/* The journal stamps lines itself and takes the priority from a prefix (sd-daemon(3)). */
static void log_begin(char *line, size_t *pos, enum log_level level)
{
	struct timespec now;
	struct tm tm;
	char stamp[32];

	if (getenv("JOURNAL_STREAM")) {
		log_appendf(line, pos, "<%d>", levels[level].priority);
		return;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	log_appendf(line, pos, "time=%s.%03dZ ", stamp, (int)(now.tv_nsec / 1000000));
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char line[LOG_LINE_BYTES];
	int saved_errno = errno;
	size_t pos = 0;
	va_list args;

	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	log_begin(line, &pos, level);
	log_appendf(line, &pos, "level=%s event=%s%s", levels[level].name, event,
		    fmt[0] ? " " : "");
	va_start(args, fmt);
	log_append(line, &pos, fmt, args);
	va_end(args);
	/* one event, one line, whatever a value holds */
	for (size_t i = 0; i < pos; i++)
		if ((unsigned char)line[i] < 0x20)
			line[i] = ' ';
	line[pos++] = '\n';
	while (write(STDERR_FILENO, line, pos) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

bool log_rate_pass(struct log_rate *rate, const char *event, uint64_t now_ms)
{
	if (rate->lines == 0 || now_ms - rate->since_ms >= LOG_RATE_MS) {
		if (rate->dropped > 0)
			log_event(LOG_WARN, "lines-dropped", "of=%s lines=%u", event,
				  rate->dropped);
		*rate = (struct log_rate){.since_ms = now_ms};
	}
	if (rate->lines == LOG_RATE_LINES) {
		rate->dropped++;
		return false;
	}
	rate->lines++;
	return true;
}

/* Writes the character at *text, escaped where it must be, and moves *text behind it. */
static size_t log_escape(char out[8], const char **text)
{
	unsigned char byte = (unsigned char)**text;
	uint32_t cp = 0;
	size_t n = utf8_next(*text, &cp);

	if (n == 0 || utf8_is_control(cp)) {
		/* a C1 control has two bytes: the second then is no valid start, and escaped too */
		*text += 1;
		return (size_t)snprintf(out, 8, "\\x%02x", byte);
	}
	if (byte == '"' || byte == '\\') {
		*text += 1;
		return (size_t)snprintf(out, 8, "\\%c", byte);
	}
	memcpy(out, *text, n);
	*text += n;
	return n;
}

const char *log_quote(char *buf, size_t len, const char *text)
{
	size_t pos = 0;
	char out[8];

	if (len < 3) {
		if (len > 0)
			buf[0] = '\0';
		return buf;
	}
	buf[pos++] = '"';
	while (*text) {
		size_t n = log_escape(out, &text);

		if (pos + n + 2 > len)
			break;
		memcpy(buf + pos, out, n);
		pos += n;
	}
	buf[pos++] = '"';
	buf[pos] = '\0';
	return buf;
}
