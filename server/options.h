/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options.h: the command line of cowd.  Pure but for getopt's own state; before threads start.
 */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "common/log.h"

#define OPTIONS_LISTEN_MAX  16u
#define OPTIONS_CACHE_MIN   (UINT64_C(16) << 20)
#define OPTIONS_CACHE_DEF   (UINT64_C(1) << 30)
#define OPTIONS_WORKERS_DEF 8u
#define OPTIONS_WORKERS_MAX 64u

#define OPTIONS_VERIFY_RATE_MIN 65536u
#define OPTIONS_ALLOW_MAX	64u

enum options_action { OPTIONS_SERVE, OPTIONS_INIT, OPTIONS_CHECK, OPTIONS_VERSION, OPTIONS_HELP };

enum options_nbd_tls { OPTIONS_NBD_TLS_OFF, OPTIONS_NBD_TLS_ON, OPTIONS_NBD_TLS_REQUIRE };

/* Strings point into argv. */
struct options {
	enum options_action action;
	bool repair; /* with OPTIONS_CHECK */
	const char *store;
	const char *device;  /* NULL: a file in the store's directory */
	bool mapped;	     /* device: dax:, through a mapping */
	uint64_t size_bytes; /* 0: not given */
	const char *listen[OPTIONS_LISTEN_MAX];
	unsigned int nlisten;
	bool insecure_plaintext;
	const char *allow_user[OPTIONS_ALLOW_MAX]; /* names and numbers */
	unsigned int nallow_user;
	const char *tls_certificates; /* a directory; NULL: not given */
	const char *tls_psk;	      /* a file; NULL: not given */
	const char *tls_allow[OPTIONS_ALLOW_MAX];
	unsigned int ntls_allow; /* 0: everybody whom the credentials let in */
	const char *nbd[OPTIONS_LISTEN_MAX];
	unsigned int nnbd;
	enum options_nbd_tls nbd_tls;
	bool nbd_tls_given;
	bool nbd_clones;
	uint64_t cache_bytes;
	bool cache_prealloc;
	unsigned int workers;
	unsigned int writeback_ms;
	uint64_t verify_rate; /* bytes a second; 0: no limit */
	enum log_level log_level;
	int ready_fd;	     /* -1: none */
	const char *serving; /* an option that was given and is about serving; NULL: none */
};

/* Reads the command line.  -ERR_INVAL: "why" says in one line what is wrong with it. */
int options_parse(int argc, char *const *argv, struct options *options, char *why,
		  size_t why_len) MUST_CHECK;

/* The text of --help.  Static storage. */
const char *options_help(void);

#endif
