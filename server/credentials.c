/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/credentials.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "server/loop.h"
#include "server/notify.h"
#include "server/worker.h"

struct credentials {
	struct credentials_config config;
	struct worker_pool *reader;
	bool again; /* asked for while it was being read: the files may be others */
	bool closing;
	struct reading {
		struct worker_job job;
		const struct tls_server_files *files;
		struct tls *tls;
		int err;
		char text[TLS_TEXT_MAX];
		bool under_way; /* the rest is the reader's */
	} reading;
};

static void reading_run(struct worker_job *job)
{
	struct reading *r = CONTAINER_OF(job, struct reading, job);

	r->tls = NULL;
	r->err = tls_server_new(r->files, &r->tls, r->text);
}

/* Puts what was read in force; or says why not. */
static void reading_take(struct credentials *c, struct reading *r)
{
	char quoted[4 * TLS_TEXT_MAX];

	if (r->err < 0) {
		log_event(LOG_ERROR, "credentials-kept", "error=%s reason=%s", err_name(r->err),
			  log_quote(quoted, sizeof(quoted), r->text));
		return;
	}
	log_event(LOG_INFO, "credentials-read", "%s", "");
	c->config.use(c->config.ctx, r->tls);
	tls_put(r->tls);
}

static void reading_begin(struct credentials *c)
{
	c->again = false;
	c->reading.under_way = true;
	worker_submit(c->reader, &c->reading.job);
}

static void reading_done(struct worker_job *job)
{
	struct reading *r = CONTAINER_OF(job, struct reading, job);
	struct credentials *c = CONTAINER_OF(r, struct credentials, reading);

	r->under_way = false;
	if (c->closing) {
		tls_put(r->tls);
		return;
	}
	reading_take(c, r);
	if (c->again)
		reading_begin(c);
	else
		notify_manager(NOTIFY_READY);
}

int credentials_open(const struct credentials_config *config, struct credentials **credentials,
		     char *why, size_t why_len)
{
	struct credentials *c = calloc(1, sizeof(*c));
	int err;

	snprintf(why, why_len, "%s", err_text(-ERR_NOMEM));
	if (!c)
		return -ERR_NOMEM;
	c->config = *config;
	c->reading = (struct reading){.job = {.run = reading_run, .done = reading_done},
				      .files = &c->config.files};
	err = tls_server_new(&c->config.files, &c->reading.tls, c->reading.text);
	if (err < 0) {
		snprintf(why, why_len, "%s", c->reading.text);
		free(c);
		return err;
	}
	c->reader = worker_pool_new(config->loop, 1);
	if (c->reader)
		config->use(config->ctx, c->reading.tls);
	tls_put(c->reading.tls);
	if (!c->reader) {
		free(c);
		return -ERR_NOMEM;
	}
	*credentials = c;
	return 0;
}

void credentials_reload(struct credentials *c)
{
	notify_reloading();
	c->again = true;
	if (!c->reading.under_way)
		reading_begin(c);
}

void credentials_close(struct credentials *c)
{
	if (!c)
		return;
	c->closing = true;
	worker_pool_free(c->reader);
	loop_finish(c->config.loop);
	free(c);
}
