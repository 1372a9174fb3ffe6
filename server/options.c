/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/size.h"

#define WRITEBACK_MS_DEF 1000u
#define WRITEBACK_MS_MAX 600000u
#define OPTION_NAME_MAX	 32u
#define DEVICE_MAPPED	 "dax:"

enum {
	OPT_STORE = 256,
	OPT_SIZE,
	OPT_INIT,
	OPT_CHECK,
	OPT_REPAIR,
	OPT_DEVICE,
	OPT_LOG,
	OPT_VERSION,
	OPT_HELP,
	OPT_SERVING, /* those below are for a server that serves */
	OPT_LISTEN = OPT_SERVING,
	OPT_CACHE,
	OPT_CACHE_PREALLOC,
	OPT_WORKERS,
	OPT_WRITEBACK_MS,
	OPT_VERIFY_RATE,
	OPT_INSECURE,
	OPT_ALLOW_USER,
	OPT_TLS_CERTIFICATES,
	OPT_TLS_PSK,
	OPT_TLS_ALLOW,
	OPT_NBD,
	OPT_NBD_TLS,
	OPT_NBD_CLONES,
	OPT_READY_FD,
};

static const struct option table[] = {
    {"store", required_argument, NULL, OPT_STORE},
    {"size", required_argument, NULL, OPT_SIZE},
    {"init", no_argument, NULL, OPT_INIT},
    {"check", no_argument, NULL, OPT_CHECK},
    {"repair", no_argument, NULL, OPT_REPAIR},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"cache", required_argument, NULL, OPT_CACHE},
    {"cache-prealloc", no_argument, NULL, OPT_CACHE_PREALLOC},
    {"log", required_argument, NULL, OPT_LOG},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"writeback-ms", required_argument, NULL, OPT_WRITEBACK_MS},
    {"verify-rate", required_argument, NULL, OPT_VERIFY_RATE},
    {"insecure-plaintext", no_argument, NULL, OPT_INSECURE},
    {"allow-user", required_argument, NULL, OPT_ALLOW_USER},
    {"tls-certificates", required_argument, NULL, OPT_TLS_CERTIFICATES},
    {"tls-psk", required_argument, NULL, OPT_TLS_PSK},
    {"tls-allow", required_argument, NULL, OPT_TLS_ALLOW},
    {"nbd", required_argument, NULL, OPT_NBD},
    {"nbd-tls", required_argument, NULL, OPT_NBD_TLS},
    {"nbd-clones", no_argument, NULL, OPT_NBD_CLONES},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

const char *options_help(void)
{
	return "usage: cowd --store DIR [--size SIZE] [--init] [OPTION]...\n"
	       "       cowd --store DIR --check [--repair]\n"
	       "       cowd --version | --help\n"
	       "\n"
	       "Serves the store in DIR; makes it first where DIR is empty or absent.\n"
	       "\n"
	       "  --store DIR           the directory of the store\n"
	       "  --size SIZE           bytes for data, when the store is made\n"
	       "  --init                make the store and exit\n"
	       "  --check               compare all metadata and checksums and exit\n"
	       "  --repair              with --check: mend what can be computed\n"
	       "  --device PATH|dax:PATH\n"
	       "                        keep the data in this file or block device; dax: in a "
	       "file\n"
	       "                        that is mapped, on persistent memory\n"
	       "  --listen unix:PATH|tcp:HOST:PORT|tls:HOST:PORT\n"
	       "                        serve there; may be given up to 16 times\n"
	       "  --nbd unix:PATH|tcp:HOST[:PORT]\n"
	       "                        serve NBD clients there; may be given up to 16 times\n"
	       "  --nbd-tls off|on|require\n"
	       "                        TLS for NBD clients (default: on with credentials)\n"
	       "  --nbd-clones          let NBD clients make clones that go with the connection\n"
	       "  --insecure-plaintext  allow TCP addresses other than loopback without TLS\n"
	       "  --allow-user USER|UID\n"
	       "                        a user who may use the unix sockets, beside root and the\n"
	       "                        user of the server; may be given several times\n"
	       "  --tls-certificates DIR\n"
	       "                        the server's certificate and key, and its clients' CA\n"
	       "  --tls-psk FILE        the keys that the server shares with clients\n"
	       "  --tls-allow NAME      a client who may use TLS; default: all who can show a\n"
	       "                        certificate or have a key; may be given several times\n"
	       "  --cache SIZE          memory for blocks (default 256M)\n"
	       "  --cache-prealloc      take that memory from the system at the start\n"
	       "  --workers N           threads for device I/O (default 8)\n"
	       "  --writeback-ms N      the longest time a write stays only in memory\n"
	       "                        (default 1000)\n"
	       "  --verify-rate SIZE    bytes a second that all verifies read (default: no\n"
	       "                        limit)\n"
	       "  --log LEVEL           error, warn, info (default) or debug\n"
	       "  --ready-fd N          write the addresses and READY to this descriptor\n"
	       "\n"
	       "SIZE is bytes, or has a suffix: k M G T (powers of 1024), kB MB GB TB (of 1000).\n"
	       "See cowd(8).\n";
}

/* ---- what was meant -------------------------------------------------------------------------- */

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Levenshtein's distance; b is shorter than OPTION_NAME_MAX. */
static unsigned int edit_distance(const char *a, size_t a_len, const char *b)
{
	unsigned int row[OPTION_NAME_MAX + 1];
	size_t b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned int above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[b_len];
}

/* The option nearest to what was typed, or NULL where none is near. */
static const char *nearest_option(const char *typed)
{
	size_t len;
	unsigned int best = 3; /* further away is no slip of the fingers */
	const char *name = NULL;

	while (*typed == '-')
		typed++;
	len = strcspn(typed, "=");
	if (len > OPTION_NAME_MAX)
		return NULL;
	for (const struct option *o = table; o->name; o++) {
		unsigned int distance = edit_distance(typed, len, o->name);

		if (distance < best) {
			best = distance;
			name = o->name;
		}
	}
	return name;
}

static int unknown_option(const char *typed, char *why, size_t why_len)
{
	const char *name = nearest_option(typed);

	if (name)
		snprintf(why, why_len, "unknown option '%s': did you mean --%s?", typed, name);
	else
		snprintf(why, why_len, "unknown option '%s': see cowd --help", typed);
	return -ERR_INVAL;
}

/* ---- values ---------------------------------------------------------------------------------- */

static int take_size(const char *name, const char *text, uint64_t min, uint64_t *out, char *why,
		     size_t why_len)
{
	uint64_t bytes;

	if (size_parse(text, &bytes) < 0) {
		snprintf(why, why_len, "--%s: '%s' is not a size (such as 10G)", name, text);
		return -ERR_INVAL;
	}
	if (bytes < min) {
		snprintf(why, why_len, "--%s: '%s' is too small, the least is %llu", name, text,
			 (unsigned long long)min);
		return -ERR_INVAL;
	}
	*out = bytes;
	return 0;
}

static int take_number(const char *name, const char *text, unsigned long min, unsigned long max,
		       unsigned long *out, char *why, size_t why_len)
{
	char *end = NULL;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n < min || n > max) {
		snprintf(why, why_len, "--%s: '%s' is not a number from %lu to %lu", name, text,
			 min, max);
		return -ERR_INVAL;
	}
	*out = n;
	return 0;
}

static int take_action(struct options *o, enum options_action action, char *why, size_t why_len)
{
	if (o->action != OPTIONS_SERVE && o->action != action) {
		snprintf(why, why_len, "--init and --check exclude each other");
		return -ERR_INVAL;
	}
	o->action = action;
	return 0;
}

/* One more of an option that may be given several times. */
static int take_more(const char *name, const char **list, unsigned int *n, unsigned int max,
		     char *why, size_t why_len)
{
	if (optarg[0] == '\0') {
		snprintf(why, why_len, "--%s needs a value", name);
		return -ERR_INVAL;
	}
	if (*n == max) {
		snprintf(why, why_len, "--%s is given more than %u times", name, max);
		return -ERR_INVAL;
	}
	list[(*n)++] = optarg;
	return 0;
}

static bool optarg_begins(const char *text)
{
	return strncmp(optarg, text, strlen(text)) == 0;
}

static int take_listen(struct options *o, char *why, size_t why_len)
{
	if (!optarg_begins("unix:") && !optarg_begins("tcp:") && !optarg_begins("tls:")) {
		snprintf(why, why_len,
			 "--listen: '%s' is none of unix:PATH, tcp:HOST:PORT and tls:HOST:PORT",
			 optarg);
		return -ERR_INVAL;
	}
	return take_more("listen", o->listen, &o->nlisten, OPTIONS_LISTEN_MAX, why, why_len);
}

static int take_path(const char *name, const char **out, char *why, size_t why_len)
{
	*out = optarg;
	if (optarg[0] != '\0')
		return 0;
	snprintf(why, why_len, "--%s needs a path", name);
	return -ERR_INVAL;
}

static int take_nbd(struct options *o, char *why, size_t why_len)
{
	if (!optarg_begins("unix:") && !optarg_begins("tcp:")) {
		snprintf(why, why_len, "--nbd: '%s' is neither unix:PATH nor tcp:HOST[:PORT]",
			 optarg);
		return -ERR_INVAL;
	}
	return take_more("nbd", o->nbd, &o->nnbd, OPTIONS_LISTEN_MAX, why, why_len);
}

static int take_nbd_tls(struct options *o, char *why, size_t why_len)
{
	static const char *const names[] = {
	    [OPTIONS_NBD_TLS_OFF] = "off",
	    [OPTIONS_NBD_TLS_ON] = "on",
	    [OPTIONS_NBD_TLS_REQUIRE] = "require",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(optarg, names[i]) == 0) {
			o->nbd_tls = (enum options_nbd_tls)i;
			o->nbd_tls_given = true;
			return 0;
		}
	}
	snprintf(why, why_len, "--nbd-tls: '%s' is none of off, on and require", optarg);
	return -ERR_INVAL;
}

/* Who may use the server, and how. */
static int take_access(struct options *o, int opt, char *why, size_t why_len)
{
	switch (opt) {
	case OPT_INSECURE:
		o->insecure_plaintext = true;
		return 0;
	case OPT_ALLOW_USER:
		return take_more("allow-user", o->allow_user, &o->nallow_user, OPTIONS_ALLOW_MAX,
				 why, why_len);
	case OPT_TLS_CERTIFICATES:
		return take_path("tls-certificates", &o->tls_certificates, why, why_len);
	case OPT_TLS_PSK:
		return take_path("tls-psk", &o->tls_psk, why, why_len);
	case OPT_TLS_ALLOW:
		return take_more("tls-allow", o->tls_allow, &o->ntls_allow, OPTIONS_ALLOW_MAX, why,
				 why_len);
	case OPT_NBD:
		return take_nbd(o, why, why_len);
	case OPT_NBD_TLS:
		return take_nbd_tls(o, why, why_len);
	case OPT_NBD_CLONES:
		o->nbd_clones = true;
		return 0;
	default: /* OPT_LISTEN */
		return take_listen(o, why, why_len);
	}
}

static int take_device(struct options *o, char *why, size_t why_len)
{
	o->mapped = strncmp(optarg, DEVICE_MAPPED, strlen(DEVICE_MAPPED)) == 0;
	o->device = optarg + (o->mapped ? strlen(DEVICE_MAPPED) : 0);
	if (o->device[0] != '\0')
		return 0;
	snprintf(why, why_len, "--device: '%s' has no path", optarg);
	return -ERR_INVAL;
}

static int take_value(struct options *o, int opt, char *why, size_t why_len)
{
	unsigned long n = 0;
	int err = 0;

	switch (opt) {
	case OPT_SIZE:
		return take_size("size", optarg, 2 * 4096, &o->size_bytes, why, why_len);
	case OPT_CACHE:
		return take_size("cache", optarg, OPTIONS_CACHE_MIN, &o->cache_bytes, why, why_len);
	case OPT_CACHE_PREALLOC:
		o->cache_prealloc = true;
		return 0;
	case OPT_VERIFY_RATE:
		return take_size("verify-rate", optarg, OPTIONS_VERIFY_RATE_MIN, &o->verify_rate,
				 why, why_len);
	case OPT_WORKERS:
		err = take_number("workers", optarg, 1, OPTIONS_WORKERS_MAX, &n, why, why_len);
		o->workers = (unsigned int)n;
		return err;
	case OPT_WRITEBACK_MS:
		err = take_number("writeback-ms", optarg, 1, WRITEBACK_MS_MAX, &n, why, why_len);
		o->writeback_ms = (unsigned int)n;
		return err;
	case OPT_READY_FD:
		err = take_number("ready-fd", optarg, 0, 1u << 20, &n, why, why_len);
		o->ready_fd = (int)n;
		return err;
	case OPT_LOG:
		err = log_parse_level(optarg, &o->log_level);
		if (err < 0)
			snprintf(why, why_len,
				 "--log: '%s' is not a level: error, warn, info or debug", optarg);
		return err;
	default:
		return take_access(o, opt, why, why_len);
	}
}

/* The name of an option that only a server needs that serves; NULL: it is another. */
static const char *option_serving(int opt)
{
	for (const struct option *o = table; opt >= OPT_SERVING && o->name; o++)
		if (o->val == opt)
			return o->name;
	return NULL;
}

static int take_option(struct options *o, int opt, char *why, size_t why_len)
{
	if (!o->serving)
		o->serving = option_serving(opt);
	switch (opt) {
	case OPT_STORE:
		o->store = optarg;
		return 0;
	case OPT_DEVICE:
		return take_device(o, why, why_len);
	case OPT_INIT:
		return take_action(o, OPTIONS_INIT, why, why_len);
	case OPT_CHECK:
		return take_action(o, OPTIONS_CHECK, why, why_len);
	case OPT_REPAIR:
		o->repair = true;
		return 0;
	default:
		return take_value(o, opt, why, why_len);
	}
}

/* Whether one of the addresses begins so. */
static bool any_begins(const char *const *list, unsigned int n, const char *text)
{
	for (unsigned int i = 0; i < n; i++)
		if (strncmp(list[i], text, strlen(text)) == 0)
			return true;
	return false;
}

/* Whether who may connect, and how, fits together; NULL, or what does not. */
static const char *options_access_fault(const struct options *o)
{
	bool credentials = o->tls_certificates || o->tls_psk;
	bool tls = any_begins(o->listen, o->nlisten, "tls:");
	bool sockets = o->nlisten == 0 || any_begins(o->listen, o->nlisten, "unix:") ||
		       any_begins(o->nbd, o->nnbd, "unix:");

	if (tls && !credentials)
		return "--listen tls: needs --tls-certificates or --tls-psk";
	if (o->ntls_allow > 0 && !credentials)
		return "--tls-allow needs --tls-certificates or --tls-psk";
	if (o->nbd_tls_given && o->nnbd == 0)
		return "--nbd-tls needs --nbd";
	if (o->nbd_tls != OPTIONS_NBD_TLS_OFF && !credentials)
		return "--nbd-tls on and require need --tls-certificates or --tls-psk";
	if (credentials && !tls && o->nbd_tls == OPTIONS_NBD_TLS_OFF)
		return "nothing uses --tls-certificates and --tls-psk: give --listen tls: or --nbd";
	if (o->nbd_clones && o->nnbd == 0)
		return "--nbd-clones needs --nbd";
	if (o->nallow_user > 0 && !sockets)
		return "--allow-user is about unix sockets, and none is served";
	return NULL;
}

/* Where there are credentials NBD clients may use them. */
static void options_complete(struct options *o)
{
	if (!o->nbd_tls_given && o->nnbd > 0 && (o->tls_certificates || o->tls_psk))
		o->nbd_tls = OPTIONS_NBD_TLS_ON;
}

/* What only all the options together show. */
static int options_judge(const struct options *o, char *why, size_t why_len)
{
	const char *fault;

	if (!o->store || o->store[0] == '\0') {
		snprintf(why, why_len, "--store DIR is missing: see cowd --help");
		return -ERR_INVAL;
	}
	if (o->repair && o->action != OPTIONS_CHECK) {
		snprintf(why, why_len, "--repair goes with --check");
		return -ERR_INVAL;
	}
	if (o->action == OPTIONS_CHECK && o->size_bytes != 0) {
		snprintf(why, why_len, "--check takes no --size");
		return -ERR_INVAL;
	}
	if (o->action != OPTIONS_SERVE && o->serving) {
		snprintf(why, why_len, "--%s takes no --%s: it does not serve the store",
			 o->action == OPTIONS_CHECK ? "check" : "init", o->serving);
		return -ERR_INVAL;
	}
	fault = options_access_fault(o);
	if (fault) {
		snprintf(why, why_len, "%s", fault);
		return -ERR_INVAL;
	}
	return 0;
}

int options_parse(int argc, char *const *argv, struct options *options, char *why, size_t why_len)
{
	struct options o = {
	    .cache_bytes = OPTIONS_CACHE_DEF,
	    .workers = OPTIONS_WORKERS_DEF,
	    .writeback_ms = WRITEBACK_MS_DEF,
	    .log_level = LOG_INFO,
	    .ready_fd = -1,
	};
	int err = 0;
	int opt;

	optind = 0; /* start afresh, whoever used getopt before */
	opterr = 0;
	while (err == 0 && (opt = getopt_long(argc, argv, "+:", table, NULL)) != -1) {
		if (opt == OPT_HELP || opt == OPT_VERSION) {
			o.action = opt == OPT_HELP ? OPTIONS_HELP : OPTIONS_VERSION;
			*options = o;
			return 0;
		}
		if (opt == '?' && optopt > 0 && optopt < OPT_STORE) {
			snprintf(why, why_len, "unknown option '-%c': see cowd --help", optopt);
			err = -ERR_INVAL;
		} else if (opt == '?') {
			err = unknown_option(argv[optind - 1], why, why_len);
		} else if (opt == ':') {
			snprintf(why, why_len, "%s needs a value", argv[optind - 1]);
			err = -ERR_INVAL;
		} else {
			err = take_option(&o, opt, why, why_len);
		}
	}
	if (err == 0 && optind < argc) {
		snprintf(why, why_len, "'%s' is not an option: see cowd --help", argv[optind]);
		err = -ERR_INVAL;
	}
	options_complete(&o);
	if (err == 0)
		err = options_judge(&o, why, why_len);
	if (err == 0)
		*options = o;
	return err;
}
