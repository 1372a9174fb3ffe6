/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon.h: a real cowd on a store of its own in a temporary directory.
 *
 * Owns the directory, the process and its log.  The programs are those that the environment names:
 * COWD, COWCTL, COWD_FAULT.  The process dies with the test.  One thread starts and ends it; any
 * thread may kill it.  What does not work out ends the test (must.h).
 */
#ifndef TESTS_LIB_DAEMON_H
#define TESTS_LIB_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/cow.h"
#include "common/annot.h"

#define DAEMON_ENV_MAX	6
#define DAEMON_MORE_MAX 16
#define DAEMON_URI_MAX	160

/* May be changed between a stop and a start. */
struct daemon_config {
	const char *program; /* the variable that names it; NULL: COWD */
	const char *size;    /* of the store, when it is made; NULL: 512M */
	const char *cache;   /* NULL: the default of cowd; so with the others */
	const char *workers;
	const char *writeback_ms;
	const char
	    *device; /* NULL: in the store; else before the path of a file beside it: "", "dax:" */
	const char *at; /* where store and device file are, and stay; NULL: a place of its own */
	const char *args[DAEMON_MORE_MAX]; /* more of them; ends in NULL */
	const char *env[DAEMON_ENV_MAX];   /* NAME=VALUE, for the daemon only; ends in NULL */
};

struct daemon {
	struct daemon_config config;
	char dir[64];
	char store[96];
	char device[104]; /* the data device, a file */
	char socket[96];
	char log[96];
	char uri[2][DAEMON_URI_MAX]; /* by unix socket, by TCP */
	uint16_t port;
	pid_t pid; /* 0: not running */
	bool made; /* the store is there */
};

#define DAEMON_UNIX 0
#define DAEMON_TCP  1

/* Makes the directory; config may be NULL. */
void daemon_init(struct daemon *d, const struct daemon_config *config);

/* Starts it and waits until it is ready. */
void daemon_start(struct daemon *d);

/* Starts it and does not wait: for those who end it at once. */
void daemon_spawn(struct daemon *d);

/* Begins to make the store, without serving it: daemon_wait() is 0 where it is made. */
void daemon_make(struct daemon *d);

/* Ends it as an operator does; the exit status must be 0. */
void daemon_stop(struct daemon *d);

/* SIGKILL, and waits for the end.  It may be dead of that already. */
void daemon_kill(struct daemon *d);

/* Waits for the end of a daemon that ends by itself; its exit status, or 128 and the signal. */
int daemon_wait(struct daemon *d);

/* True as long as it has not ended. */
bool daemon_alive(const struct daemon *d);

/* Runs the offline checker; its exit status must be 0. */
void daemon_check(struct daemon *d);

/* The exit status of the checker, and the first len - 1 bytes of all that it said. */
int daemon_check_status(struct daemon *d, char *said, size_t len);

/* Kills it if it runs, and removes the directory. */
void daemon_fini(struct daemon *d);

/* A connection; kind is DAEMON_UNIX or DAEMON_TCP.  When it is lost, calls say so: it is not made
 * again. */
cow_t *daemon_connect(const struct daemon *d, int kind) MUST_CHECK;

/* The memory that the daemon has resident, in bytes. */
uint64_t daemon_rss_bytes(const struct daemon *d);

/* Whether the sanitizers are in this build: they take memory and time of their own. */
bool daemon_is_instrumented(void);

#endif
