/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * progress.h: how far a long command is: a bar on stderr where that is a terminal, or "N/100" lines
 * to a descriptor that a program gave.  One thread at a time.
 */
#ifndef CLIENT_PROGRESS_H
#define CLIENT_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"

#define PROGRESS_UNKNOWN  UINT64_MAX /* as total: the end is not known yet */
#define PROGRESS_LINE_MAX 160

enum progress_kind { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_LINES };

struct progress {
	enum progress_kind kind;
	int fd;
	const char *noun; /* what is counted; NULL: bytes */
	uint64_t total;
	uint64_t start_ns;
	uint64_t shown_ns;
	unsigned int shown; /* the last N written; 101: none */
	size_t width;	    /* of the last bar */
};

/* 0 to 100, rounded down; 100 only at the end. */
unsigned int progress_percent(uint64_t done, uint64_t total);

/*
 * The bar's line, without a line end: "[=====>    ]  50 %  1.5 GiB of 3 GiB  512 MiB/s", or with the
 * noun "clones" "[=====>    ]  50 %  512 of 1024 clones  2048/s".
 */
void progress_line(char buf[PROGRESS_LINE_MAX], const char *noun, uint64_t done, uint64_t total,
		   uint64_t elapsed_ns);

/* A descriptor number that is open, for --progress.  0 or -ERR_INVAL. */
int progress_parse_fd(const char *text, int *fd) MUST_CHECK;

/* How it is to be shown: a descriptor that was given (-1: none) comes first. */
enum progress_kind progress_choose(int fd, bool quiet);

/* fd is used for PROGRESS_LINES only; noun is a plural, NULL for bytes. */
void progress_start(struct progress *p, enum progress_kind kind, int fd, const char *noun,
		    uint64_t total, uint64_t now_ns);
void progress_update(struct progress *p, uint64_t done, uint64_t now_ns);

/* Removes the bar; after a success a program is told "100/100". */
void progress_end(struct progress *p, bool success);

#endif
