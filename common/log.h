/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.h: one line of logfmt per event on stderr, from any thread.  An event is logged once, where
 * it is found, with its ids.  Call as
 *
 *	log_event(LOG_ERROR, "read-checksum", "object=%" PRIu64 " block=%" PRIu64, oid, lblk);
 *
 * Values that came from outside must be passed through log_quote().
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Sets the least important level that is printed (default LOG_INFO).  Before threads start. */
void log_set_level(enum log_level level);

/* Parses "error", "warn", "info" or "debug"; -ERR_INVAL for anything else. */
int log_parse_level(const char *text, enum log_level *level) MUST_CHECK;

/* How many lines of a kind that others can cause are written: 20 in a second.  Zeroed at first; of one
 * thread. */
struct log_rate {
	uint64_t since_ms;
	unsigned int lines;
	unsigned int dropped;
};

/* Whether one more may be written.  Says first, as an event "lines-dropped", how many could not. */
bool log_rate_pass(struct log_rate *rate, const char *event, uint64_t now_ms) MUST_CHECK;

/* Writes one line; the text after the event name is key=value pairs.  ANY_FN. */
void log_event(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * Copies text into buf as a quoted logfmt value: control bytes, quotes and backslashes escaped, cut
 * to fit.  Returns buf.
 */
const char *log_quote(char *buf, size_t len, const char *text);

#endif
