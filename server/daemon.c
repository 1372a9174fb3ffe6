/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/size.h"
#include "common/thread.h"
#include "server/conn.h"
#include "server/cpu.h"
#include "server/credentials.h"
#include "server/offline.h"
#include "server/listen.h"
#include "server/loop.h"
#include "server/nbd.h"
#include "server/notify.h"
#include "server/object.h"
#include "server/options.h"
#include "server/recover.h"
#include "server/store.h"

#define DAEMON_AGENT "cowd/" PACKAGE_VERSION

_Static_assert(OPTIONS_NBD_TLS_ON == MSG_NBD_TLS_ON &&
		   OPTIONS_NBD_TLS_REQUIRE == MSG_NBD_TLS_REQUIRE,
	       "told as it is");
_Static_assert(2 * OPTIONS_LISTEN_MAX <= MSG_ADDRS_MAX, "a reply has room for where it listens");

#define HANDSHAKE_MS  10000u
#define NBD_PORT      "10809"
#define LINGER_MS     2000u
#define SLOW_MS	      5000u
#define DRAIN_SECONDS 10
#define LATCH_USEC    500000 /* for the answers that say so */
#define BUDGET_MIN    (UINT64_C(32) << 20)
#define BUDGET_MAX    (UINT64_C(256) << 20)
#define CONNS_MAX     65536u
#define CONNS_MIN     8u
#define FDS_SPARE     64u
#define WHY_BYTES     8448u /* two paths and some words */

enum daemon_phase {
	DAEMON_SERVING,
	DAEMON_DRAINING, /* connections finish what is in flight */
	DAEMON_FLUSHING,
};

struct daemon {
	struct options options;
	struct store store;
	struct recover_result recovered;
	struct loop *loop;
	struct objects *objs;
	struct session_host host;
	struct peer_policy policy;
	struct conn_set *conns;
	struct credentials *credentials; /* NULL: there is no TLS */
	struct nbd_config nbd;
	struct listener *listeners[2 * OPTIONS_LISTEN_MAX];
	unsigned int nlisteners;
	unsigned int first_nbd; /* of these: the ones from here on are NBD's */
	char default_addr[128];
	struct event *sigterm;
	struct event *sigint;
	struct event *sighup;
	struct event *drain_timer;
	struct event *latch_timer;
	enum daemon_phase phase;
	bool latched;
	int status; /* of the process */
};

/* ---- errors and the world outside ------------------------------------------------------------ */

static int exit_status(int err)
{
	switch (err_class(err)) {
	case ERR_OK:
		return EXIT_SUCCESS;
	case ERR_NOENT:
		return 3;
	case ERR_EXIST:
		return 4;
	case ERR_BUSY:
		return 5;
	case ERR_PERM:
		return 6;
	case ERR_NOSPC:
		return 8;
	case ERR_CORRUPT:
	case ERR_FORMAT:
		return 9;
	default:
		return EXIT_FAILURE;
	}
}

static int complain(int status, const char *why)
{
	fprintf(stderr, "cowd: %s\n", why);
	return status;
}

/* Status 0 if all that was printed has arrived. */
static int finish_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return complain(EXIT_FAILURE, "cannot write to standard output");
}

/* The map is read through a mapping: a file that was cut or cannot be read is this signal.  A mapped
 * data device takes its own out before it comes here. */
static void on_sigbus(int sig)
{
	static const char text[] = "cowd: the map file cannot be read (SIGBUS), giving up\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)n;
	(void)sig;
	_exit(EXIT_FAILURE);
}

static void set_up_signals(void)
{
	struct sigaction sa = {.sa_handler = SIG_IGN};

	sigemptyset(&sa.sa_mask);
	(void)sigaction(SIGPIPE, &sa, NULL);
	sa.sa_handler = on_sigbus;
	(void)sigaction(SIGBUS, &sa, NULL);
}

/* As many descriptors as are allowed; returns how many connections they make. */
static unsigned int set_up_descriptors(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return CONNS_MIN;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0 && getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return CONNS_MIN;
	if (rl.rlim_cur < FDS_SPARE + CONNS_MIN)
		return CONNS_MIN;
	return rl.rlim_cur - FDS_SPARE < CONNS_MAX ? (unsigned int)(rl.rlim_cur - FDS_SPARE)
						   : CONNS_MAX;
}

/* Says where it serves, then READY, to whoever gave --ready-fd. */
static int announce(const struct daemon *d, char *why, size_t why_len)
{
	FILE *out;
	bool ok;

	if (d->options.ready_fd < 0)
		return 0;
	(void)fcntl(d->options.ready_fd, F_SETFD, FD_CLOEXEC);
	out = fdopen(d->options.ready_fd, "w");
	if (!out) {
		snprintf(why, why_len, "--ready-fd %d: %s", d->options.ready_fd, strerror(errno));
		return -ERR_INVAL;
	}
	for (unsigned int i = 0; i < d->nlisteners; i++)
		fprintf(out, "LISTEN %s%s\n", i < d->first_nbd ? "" : "nbd+",
			listener_addr(d->listeners[i]));
	fprintf(out, "READY\n");
	ok = !ferror(out);
	if (fclose(out) != 0)
		ok = false;
	if (!ok)
		log_event(LOG_WARN, "ready-fd", "reason=not-read");
	return 0;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void close_listeners(struct daemon *d)
{
	for (unsigned int i = 0; i < d->nlisteners; i++)
		listener_close(d->listeners[i]);
	d->nlisteners = 0;
	d->host.naddrs = 0; /* they were the listeners' */
}

static void on_flushed(void *ctx, int err)
{
	struct daemon *d = ctx;

	if (err < 0) {
		log_event(LOG_ERROR, "stop-flush", "error=%s", err_name(err));
		d->status = EXIT_FAILURE;
	}
	loop_stop(d->loop);
}

static void begin_flush(struct daemon *d)
{
	d->phase = DAEMON_FLUSHING;
	event_del(d->drain_timer);
	objects_flush(d->objs, on_flushed, d);
}

static void on_signal(evutil_socket_t sig, short what, void *ctx)
{
	static const struct timeval patience = {DRAIN_SECONDS, 0};
	struct daemon *d = ctx;

	(void)what;
	if (d->phase != DAEMON_SERVING)
		return;
	log_event(LOG_INFO, "stop", "signal=%d connections=%u", (int)sig, conn_set_count(d->conns));
	notify_manager(NOTIFY_STOPPING);
	object_verify_stop(d->objs); /* nothing that waits for its rate holds up the end */
	d->phase = DAEMON_DRAINING;
	close_listeners(d);
	conn_set_stop(d->conns);
	if (conn_set_count(d->conns) == 0 || event_add(d->drain_timer, &patience) < 0)
		begin_flush(d);
}

static void on_drain_timeout(evutil_socket_t fd, short what, void *ctx)
{
	struct daemon *d = ctx;

	(void)fd;
	(void)what;
	log_event(LOG_WARN, "stop-timeout", "connections=%u", conn_set_count(d->conns));
	conn_set_abort(d->conns);
	begin_flush(d);
}

static void on_conn_closed(void *ctx)
{
	struct daemon *d = ctx;

	if (d->phase == DAEMON_DRAINING && conn_set_count(d->conns) == 0)
		begin_flush(d);
	for (unsigned int i = 0; i < d->nlisteners; i++)
		listener_resume(d->listeners[i]);
}

static void on_latch(void *ctx)
{
	static const struct timeval moment = {0, LATCH_USEC};
	struct daemon *d = ctx;

	d->latched = true;
	d->status = EXIT_FAILURE;
	log_event(LOG_ERROR, "latched", "action=exit");
	if (event_add(d->latch_timer, &moment) < 0)
		loop_stop(d->loop);
}

static void on_latch_timeout(evutil_socket_t fd, short what, void *ctx)
{
	struct daemon *d = ctx;

	(void)fd;
	(void)what;
	loop_stop(d->loop);
}

/* ---- starting -------------------------------------------------------------------------------- */

static struct store_config store_config(const struct options *o)
{
	return (struct store_config){
	    .dir = o->store, .device = o->device, .mapped = o->mapped, .size_bytes = o->size_bytes};
}

/* Opens the store, which is made first where there is none and a size is known. */
static int open_store(struct daemon *d, char *why, size_t why_len)
{
	struct store_config config = store_config(&d->options);
	struct stat st;
	int err = store_probe(&config, why, why_len);
	bool sized = config.size_bytes != 0 ||
		     (config.device && stat(config.device, &st) == 0 && S_ISBLK(st.st_mode));

	if (err == -ERR_NOENT && sized) {
		err = store_create(&config, why, why_len);
		if (err == 0)
			log_event(LOG_INFO, "store-made", "path=\"%s\"", config.dir);
	}
	if (err < 0)
		return err;
	return store_open(&config, &d->store, why, why_len);
}

/* Brings the map up to what the journal holds. */
static int recover(struct daemon *d, char *why, size_t why_len)
{
	uint64_t since = clock_now_ms();
	struct recover_result *r = &d->recovered;
	int err;

	map_limit_folds(d->store.map, objects_map_bytes(d->options.cache_bytes));
	err = recover_run(d->store.map, d->store.dev, r);
	if (err < 0) {
		snprintf(why, why_len,
			 "cannot recover the store %s: %s; \"cowd --store DIR --check\" tells more",
			 d->options.store, err_text(err));
		return err;
	}
	d->host.incarnation = r->incarnation;
	if (r->records > 0)
		log_event(LOG_INFO, "recovered",
			  "records=%" PRIu64 " changes=%" PRIu64 " blocks=%" PRIu64 " ms=%" PRIu64,
			  r->records, r->changes, r->nblks, clock_now_ms() - since);
	return 0;
}

static uint64_t budget_bytes(uint64_t cache_bytes)
{
	return size_within(cache_bytes / 4, BUDGET_MIN, BUDGET_MAX);
}

static int start_engine(struct daemon *d)
{
	const struct options *o = &d->options;
	struct objects_config config = {.loop = d->loop,
					.map = d->store.map,
					.dev = d->store.dev,
					.journal_key = d->recovered.journal_key,
					.journal_head = d->recovered.head,
					.cache_bytes = o->cache_bytes,
					.cache_prealloc = o->cache_prealloc,
					.nworkers = o->workers,
					.writeback_ms = o->writeback_ms,
					.verify_rate = o->verify_rate};
	int err = objects_new(&config, &d->objs);

	if (err < 0)
		return err;
	objects_on_latch(d->objs, on_latch, d);
	d->host.objs = d->objs;
	d->host.agent = DAEMON_AGENT;
	memcpy(d->host.store_uuid, map_geometry(d->store.map)->uuid, sizeof(d->host.store_uuid));
	return 0;
}

static int start_conns(struct daemon *d, unsigned int conns_max)
{
	struct conn_config config = {
	    .loop = d->loop,
	    .host = &d->host,
	    .policy = &d->policy,
	    .conns_max = conns_max,
	    .send_budget_bytes = budget_bytes(d->options.cache_bytes),
	    .recv_budget_bytes = budget_bytes(d->options.cache_bytes),
	    .nbd = &d->nbd,
	    .handshake_ms = HANDSHAKE_MS,
	    .linger_ms = LINGER_MS,
	    .slow_ms = SLOW_MS,
	    .on_closed = on_conn_closed,
	    .ctx = d,
	};

	d->nbd.clones = d->options.nbd_clones;
	d->nbd.tls = (enum nbd_tls)d->options.nbd_tls;
	d->host.nbd_tls = d->options.nbd_tls;
	d->conns = conn_set_new(&config);
	return d->conns ? 0 : -ERR_NOMEM;
}

static void on_credentials(void *ctx, struct tls *tls)
{
	struct daemon *d = ctx;

	conn_set_use_tls(d->conns, tls);
}

static int start_credentials(struct daemon *d, char *why, size_t why_len)
{
	const struct options *o = &d->options;
	struct credentials_config config = {.loop = d->loop,
					    .files = {.certificates = o->tls_certificates,
						      .psk = o->tls_psk,
						      .allow = o->tls_allow,
						      .allow_count = o->ntls_allow},
					    .use = on_credentials,
					    .ctx = d};
	int err;

	if (!o->tls_certificates && !o->tls_psk)
		return 0;
	err = credentials_open(&config, &d->credentials, why, why_len);
	/* what is missing or damaged there is not the store */
	return err == 0 || err == -ERR_PERM ? err : -ERR_IO;
}

/* Reads again what may be read again: the files of TLS. */
static void on_sighup(evutil_socket_t sig, short what, void *ctx)
{
	struct daemon *d = ctx;

	(void)sig;
	(void)what;
	if (d->credentials && d->phase == DAEMON_SERVING)
		credentials_reload(d->credentials);
	else
		log_event(LOG_INFO, "reload", "reason=nothing-to-read");
}

static int start_events(struct daemon *d)
{
	struct event_base *base = loop_base(d->loop);

	d->sigterm = evsignal_new(base, SIGTERM, on_signal, d);
	d->sigint = evsignal_new(base, SIGINT, on_signal, d);
	d->sighup = evsignal_new(base, SIGHUP, on_sighup, d);
	d->drain_timer = evtimer_new(base, on_drain_timeout, d);
	d->latch_timer = evtimer_new(base, on_latch_timeout, d);
	if (!d->sigterm || !d->sigint || !d->sighup || !d->drain_timer || !d->latch_timer)
		return -ERR_NOMEM;
	if (event_add(d->sigterm, NULL) < 0 || event_add(d->sigint, NULL) < 0 ||
	    event_add(d->sighup, NULL) < 0)
		return -ERR_NOMEM;
	return 0;
}

static void free_events(struct daemon *d)
{
	struct event *const events[] = {d->sigterm, d->sigint, d->sighup, d->drain_timer,
					d->latch_timer};

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i])
			event_free(events[i]);
}

static bool begin_conn(struct daemon *d, const struct conn_proto *proto, int fd)
{
	if (conn_new(d->conns, proto, fd) < 0)
		log_event(LOG_WARN, "accept", "error=NOMEM");
	return !conn_set_is_full(d->conns);
}

static bool on_accept(void *ctx, int fd)
{
	return begin_conn(ctx, &conn_frames, fd);
}

static bool on_accept_nbd(void *ctx, int fd)
{
	return begin_conn(ctx, &conn_nbd, fd);
}

static bool on_accept_tls(void *ctx, int fd)
{
	struct daemon *d = ctx;

	if (conn_new_tls(d->conns, &conn_frames, fd) < 0)
		log_event(LOG_WARN, "accept", "error=NOMEM");
	return !conn_set_is_full(d->conns);
}

static int start_listener(struct daemon *d, const struct listen_config *config, const char *addr,
			  char *why, size_t why_len)
{
	struct listener **listener = &d->listeners[d->nlisteners];
	int err = listener_open(config, addr, listener, why, why_len);

	if (err < 0)
		return err;
	d->nlisteners++;
	d->host.addrs[d->host.naddrs++] = (struct session_addr){
	    .text = listener_addr(*listener), .nbd = config->accept == on_accept_nbd};
	log_event(LOG_INFO, "listening", "address=\"%s\" protocol=%s", listener_addr(*listener),
		  config->accept == on_accept ? "cow" : "nbd");
	return 0;
}

/* An address without a port gets NBD's. */
static int start_nbd_listener(struct daemon *d, const struct listen_config *config,
			      const char *addr, char *why, size_t why_len)
{
	const char *host = strncmp(addr, "tcp:", 4) == 0 ? addr + 4 : NULL;
	const char *end = host && host[0] == '[' ? strchr(host, ']') : host;
	char text[NI_MAXHOST + 16];

	if (!end || strchr(end, ':'))
		return start_listener(d, config, addr, why, why_len);
	snprintf(text, sizeof(text), "%.*s:%s", NI_MAXHOST, addr, NBD_PORT);
	return start_listener(d, config, text, why, why_len);
}

static int start_listeners(struct daemon *d, char *why, size_t why_len)
{
	struct listen_config config = {.loop = d->loop,
				       .insecure_plaintext = d->options.insecure_plaintext,
				       .everybody = d->policy.nusers > 0,
				       .accept = on_accept,
				       .accept_tls = on_accept_tls,
				       .ctx = d};
	int err = 0;

	if (d->options.nlisten == 0) {
		d->options.listen[d->options.nlisten++] = d->default_addr;
		err = listen_default(d->default_addr, sizeof(d->default_addr), why, why_len);
	}
	for (unsigned int i = 0; err == 0 && i < d->options.nlisten; i++)
		err = start_listener(d, &config, d->options.listen[i], why, why_len);
	d->first_nbd = d->nlisteners;
	config.accept = on_accept_nbd;
	if (d->options.nbd_tls == OPTIONS_NBD_TLS_REQUIRE)
		config.insecure_plaintext = true; /* nothing but STARTTLS is answered there */
	for (unsigned int i = 0; err == 0 && i < d->options.nnbd; i++)
		err = start_nbd_listener(d, &config, d->options.nbd[i], why, why_len);
	/* what is missing or there already is not the store */
	return err == 0 || err == -ERR_BUSY || err == -ERR_PERM ? err : -ERR_IO;
}

/* ---- serving --------------------------------------------------------------------------------- */

/* Serves until a signal or a latch; all is up but the listeners. */
static int run(struct daemon *d, char *why, size_t why_len)
{
	int err = start_listeners(d, why, why_len);

	if (err == 0)
		err = announce(d, why, why_len);
	if (err < 0) {
		close_listeners(d);
		return err;
	}
	d->host.started_ms = clock_now_ms();
	notify_manager(NOTIFY_READY);
	log_event(LOG_INFO, "ready", "store=\"%s\" incarnation=%" PRIu64, d->options.store,
		  d->host.incarnation);
	err = loop_run(d->loop);
	if (err < 0)
		snprintf(why, why_len, "the event loop failed");
	close_listeners(d);
	if (d->latched || conn_set_count(d->conns) > 0) {
		/* the engine is not at rest: what is durable is on the device, the rest is void */
		log_event(LOG_INFO, "stopped", "status=%d clean=no", d->status);
		_exit(d->status);
	}
	return err;
}

/* Without it the next start looks at all of the map. */
static void mark_closed(struct daemon *d)
{
	int err = recover_close(d->store.map, d->store.dev);

	if (err < 0)
		log_event(LOG_WARN, "stop-mark", "error=%s", err_name(err));
}

static int serve(struct daemon *d, char *why, size_t why_len, struct dev *(*wrap)(struct dev *dev))
{
	unsigned int conns_max = set_up_descriptors();
	int err;

	cpu_short_slices();
	err = open_store(d, why, why_len);
	if (err < 0)
		return err;
	err = recover(d, why, why_len);
	if (err < 0)
		goto fail_close_store;
	if (wrap)
		d->store.dev = wrap(d->store.dev);
	thread_set_role(THREAD_LOOP);
	err = -ERR_NOMEM;
	snprintf(why, why_len, "cannot start: %s", err_text(err));
	d->loop = loop_new();
	if (!d->loop)
		goto fail_close_store;
	err = start_engine(d);
	if (err < 0) {
		snprintf(why, why_len, "cannot load the store %s: %s", d->options.store,
			 err_text(err));
		goto fail_free_loop;
	}
	err = start_conns(d, conns_max);
	if (err < 0)
		goto fail_free_objects;
	err = start_events(d);
	if (err == 0)
		err = start_credentials(d, why, why_len);
	if (err == 0)
		err = run(d, why, why_len);
	credentials_close(d->credentials);
	free_events(d);
	conn_set_free(d->conns);
fail_free_objects:
	objects_free(d->objs);
fail_free_loop:
	loop_free(d->loop);
	if (err == 0 && d->status == EXIT_SUCCESS)
		mark_closed(d);
fail_close_store:
	store_close(&d->store);
	if (err == 0)
		log_event(LOG_INFO, "stopped", "status=%d clean=yes", d->status);
	return err;
}

/* ---- the other actions ----------------------------------------------------------------------- */

static int init(const struct options *o, char *why, size_t why_len)
{
	struct store_config config = store_config(o);

	return store_create(&config, why, why_len);
}

static int check(const struct options *o, char *why, size_t why_len,
		 struct dev *(*wrap)(struct dev *dev))
{
	struct store_config config = store_config(o);
	struct store store = {.lock_fd = -1};
	int err = store_open(&config, &store, why, why_len);
	int found;

	if (err < 0)
		return complain(exit_status(err), why);
	if (wrap)
		store.dev = wrap(store.dev);
	found = o->repair ? offline_repair(&store) : offline_check(&store);
	store_close(&store);
	if (found < 0) {
		snprintf(why, why_len, "the %s of %s could not be finished: %s",
			 o->repair ? "repair" : "check", o->store, err_text(found));
		return complain(exit_status(found), why);
	}
	return finish_output(found == 0 ? EXIT_SUCCESS : exit_status(-ERR_CORRUPT));
}

static int run_action(struct daemon *d, struct dev *(*wrap)(struct dev *dev))
{
	char why[WHY_BYTES] = "";
	int err;

	switch (d->options.action) {
	case OPTIONS_HELP:
		fputs(options_help(), stdout);
		return finish_output(EXIT_SUCCESS);
	case OPTIONS_VERSION:
		printf("cowd %s\n", PACKAGE_VERSION);
		return finish_output(EXIT_SUCCESS);
	case OPTIONS_CHECK:
		return check(&d->options, why, sizeof(why), wrap);
	case OPTIONS_INIT:
		err = init(&d->options, why, sizeof(why));
		break;
	default: /* OPTIONS_SERVE */
		err = serve(d, why, sizeof(why), wrap);
		break;
	}
	return err < 0 ? complain(exit_status(err), why) : d->status;
}

int daemon_run(int argc, char **argv, struct dev *(*wrap)(struct dev *dev))
{
	struct daemon d = {.store.lock_fd = -1};
	char why[WHY_BYTES];

	set_up_signals();
	if (options_parse(argc, argv, &d.options, why, sizeof(why)) < 0)
		return complain(EX_USAGE, why);
	for (unsigned int i = 0; i < d.options.nallow_user; i++)
		if (peer_policy_add(&d.policy, d.options.allow_user[i], why, sizeof(why)) < 0)
			return complain(EX_USAGE, why);
	log_set_level(d.options.log_level);
	return run_action(&d, wrap);
}
