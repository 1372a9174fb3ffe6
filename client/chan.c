/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/chan.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/err.h"

void chan_init(struct chan *ch)
{
	ch->stream = (struct stream){.fd = -1};
	ch->alive = false;
	ch->end = CHAN_CLOSED;
	ch->reason = "not connected";
	ch->features = 0;
	ch->received = 0;
	TAILQ_INIT(&ch->all);
	TAILQ_INIT(&ch->out);
	for (size_t i = 0; i < CHAN_BUCKETS; i++)
		LIST_INIT(&ch->table[i]);
}

int chan_open(struct chan *ch, int fd, struct tls *tls)
{
	assert(fd >= 0 && ch->stream.fd < 0 && TAILQ_EMPTY(&ch->all));
	stream_open(&ch->stream, fd);
	if (tls && stream_start_tls(&ch->stream, tls) < 0) {
		ch->stream.fd = -1;
		return -ERR_NOMEM;
	}
	ch->alive = true;
	ch->out_broken = false;
	ch->next_id = 1;
	ch->inflight = 0;
	ch->out_bytes = 0;
	ch->state = CHAN_HEADER;
	ch->cur = NULL;
	ch->in_pos = 0;
	ch->in_len = 0;
	chan_set_limits(ch, 0, WIRE_BODY_HELLO_MAX, 0, 1);
	return 0;
}

void chan_set_limits(struct chan *ch, uint64_t features, uint32_t body_max, uint32_t payload_max,
		     uint32_t inflight_max)
{
	ch->features = features;
	ch->body_max = body_max;
	ch->payload_max = payload_max;
	ch->inflight_max = inflight_max;
}

/* What is sent is sent whole, if it can be: the server need not take it for a cut. */
static void chan_say_end(struct chan *ch)
{
	if (ch->alive && ch->stream.tls && !ch->out_broken && ch->out_bytes == 0 &&
	    !stream_is_begun(&ch->stream) && stream_end(&ch->stream) < 0)
		ch->out_broken = true;
}

void chan_close(struct chan *ch)
{
	chan_say_end(ch);
	chan_kill(ch, CHAN_CLOSED, NULL, 0, -ERR_CONN, "not connected", "not connected");
	stream_close(&ch->stream);
}

void chan_request_crc(struct chan_request *req)
{
	req->payload_crc = crc32c(0, req->payload, req->payload_len);
}

/* ---- the table ------------------------------------------------------------------------------- */

struct chan_request *chan_find(struct chan *ch, uint64_t id)
{
	struct chan_request *req;

	LIST_FOREACH (req, &ch->table[id % CHAN_BUCKETS], bucket_link)
		if (req->id == id)
			return req;
	return NULL;
}

static void chan_start(struct chan *ch, struct chan_request *req)
{
	req->started = true;
	LIST_INSERT_HEAD(&ch->table[req->id % CHAN_BUCKETS], req, bucket_link);
	ch->inflight++;
}

static void chan_forget(struct chan *ch, struct chan_request *req)
{
	TAILQ_REMOVE(&ch->all, req, all_link);
	if (!req->sent)
		TAILQ_REMOVE(&ch->out, req, out_link);
	if (req->started) {
		LIST_REMOVE(req, bucket_link);
		ch->inflight--;
	}
	if (ch->cur == req)
		ch->cur = NULL;
}

void chan_finish(struct chan *ch, struct chan_request *req, const struct chan_reply *reply)
{
	chan_forget(ch, req);
	req->done(req, reply);
}

void chan_kill(struct chan *ch, enum chan_end end, struct chan_request *culprit, int err,
	       int others_err, const char *reason, const char *text)
{
	struct chan_reply reply = {.err = err, .text = text};
	struct chan_request *req;

	if (!ch->alive)
		return;
	ch->alive = false;
	ch->end = end;
	ch->reason = reason;
	(void)shutdown(ch->stream.fd, SHUT_RDWR);
	if (culprit)
		chan_finish(ch, culprit, &reply);
	reply.err = others_err;
	reply.lost = true;
	while ((req = TAILQ_FIRST(&ch->all)) != NULL)
		chan_finish(ch, req, &reply);
}

/* ---- orphans --------------------------------------------------------------------------------- */

struct chan_orphan {
	struct chan_request req; /* its body and payload lie behind the struct */
	chan_late_fn late;
	void *ctx;
};

static void chan_orphan_done(struct chan_request *req, const struct chan_reply *reply)
{
	struct chan_orphan *orphan = CONTAINER_OF(req, struct chan_orphan, req);

	if (orphan->late && !reply->lost)
		orphan->late(orphan->ctx, reply);
	free(orphan);
}

/* With a copy of what is to be sent; of one that was sent nothing is needed. */
static struct chan_orphan *chan_orphan_new(const struct chan_request *req)
{
	size_t body_len = req->sent ? 0 : req->body_len;
	size_t payload_len = req->sent ? 0 : req->payload_len;
	struct chan_orphan *orphan = malloc(sizeof(*orphan) + body_len + payload_len);
	uint8_t *copy = (uint8_t *)(orphan + 1);

	if (!orphan)
		return NULL;
	memcpy(&orphan->req, req, offsetof(struct chan_request, inline_body));
	memcpy(copy, req->body, body_len);
	if (payload_len > 0)
		memcpy(copy + body_len, req->payload, payload_len);
	orphan->req.body = copy;
	orphan->req.payload = copy + body_len;
	orphan->req.into = NULL;
	orphan->req.done = chan_orphan_done;
	return orphan;
}

/* Links it where the request was. */
static void chan_orphan_adopt(struct chan *ch, struct chan_request *req,
			      struct chan_request *orphan)
{
	TAILQ_INSERT_BEFORE(req, orphan, all_link);
	TAILQ_REMOVE(&ch->all, req, all_link);
	if (!req->sent) {
		TAILQ_INSERT_BEFORE(req, orphan, out_link);
		TAILQ_REMOVE(&ch->out, req, out_link);
	}
	LIST_REMOVE(req, bucket_link);
	LIST_INSERT_HEAD(&ch->table[req->id % CHAN_BUCKETS], orphan, bucket_link);
	if (ch->cur == req)
		ch->cur = orphan;
}

bool chan_is_begun(const struct chan *ch, const struct chan_request *req)
{
	return req->sent || (req == TAILQ_FIRST(&ch->out) &&
			     (ch->out_bytes > 0 || stream_is_begun(&ch->stream)));
}

int chan_abandon(struct chan *ch, struct chan_request *req, chan_late_fn late, void *ctx)
{
	bool begun = chan_is_begun(ch, req);
	struct chan_orphan *orphan = begun ? chan_orphan_new(req) : NULL;

	if (!orphan) {
		chan_forget(ch, req);
		return begun ? -ERR_NOMEM : 0;
	}
	orphan->late = late;
	orphan->ctx = ctx;
	chan_orphan_adopt(ch, req, &orphan->req);
	return 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Whether the first request of the queue may go out (further) now. */
static bool chan_can_send(const struct chan *ch)
{
	const struct chan_request *req = TAILQ_FIRST(&ch->out);

	return ch->alive && !ch->out_broken && req && !stream_is_shaking(&ch->stream) &&
	       (req->started || ch->inflight < ch->inflight_max);
}

/* Bytes sent of the request, from its byte "from" on; negative: errno, negated. */
static ssize_t chan_send_some(struct stream *s, const struct chan_request *req, size_t from)
{
	const void *parts[3] = {req->head, req->body, req->payload};
	const size_t lens[3] = {sizeof(req->head), req->body_len, req->payload_len};
	struct iovec iov[3];
	int count = 0;
	ssize_t n;

	for (size_t i = 0; i < 3; i++) {
		size_t skip = from < lens[i] ? from : lens[i];

		from -= skip;
		if (lens[i] > skip)
			iov[count++] =
			    (struct iovec){(uint8_t *)(uintptr_t)parts[i] + skip, lens[i] - skip};
	}
	n = stream_writev(s, iov, count);
	return n < 0 ? -errno : n;
}

/* Sends the first request of the queue; false when it was not sent to its end. */
static bool chan_send_first(struct chan *ch)
{
	struct chan_request *req = TAILQ_FIRST(&ch->out);
	size_t len = sizeof(req->head) + req->body_len + (size_t)req->payload_len;

	if (!req->started)
		chan_start(ch, req);
	while (ch->out_bytes < len) {
		ssize_t n = chan_send_some(&ch->stream, req, ch->out_bytes);

		if (n == -EAGAIN)
			return false;
		if (n < 0) {
			ch->out_broken = true;
			return false;
		}
		ch->out_bytes += (size_t)n;
	}
	ch->out_bytes = 0;
	req->sent = true;
	TAILQ_REMOVE(&ch->out, req, out_link);
	return true;
}

static void chan_flush(struct chan *ch)
{
	while (chan_can_send(ch))
		if (!chan_send_first(ch))
			return;
}

void chan_submit(struct chan *ch, struct chan_request *req)
{
	struct wire_header h = {
	    .magic = WIRE_MAGIC_REQUEST,
	    .op = (uint16_t)req->op,
	    .id = ch->next_id++,
	    .body_len = req->body_len,
	    .payload_len = req->payload_len,
	    .body_crc = crc32c(0, req->body, req->body_len),
	    .payload_crc = ch->features & WIRE_FEATURE_PAYLOAD_CRC ? req->payload_crc : 0,
	};

	assert(ch->alive && req->body);
	wire_header_encode(req->head, &h);
	req->id = h.id;
	req->started = false;
	req->sent = false;
	TAILQ_INSERT_TAIL(&ch->all, req, all_link);
	TAILQ_INSERT_TAIL(&ch->out, req, out_link);
	chan_flush(ch);
}

/* ---- driving --------------------------------------------------------------------------------- */

short chan_events(const struct chan *ch)
{
	return stream_events(&ch->stream, true, chan_can_send(ch));
}

bool chan_is_pending(const struct chan *ch)
{
	return ch->alive && stream_is_pending(&ch->stream);
}

/* Whether it is over, so that requests may go out. */
static bool chan_shake(struct chan *ch)
{
	int err = stream_handshake(&ch->stream);

	if (err < 0)
		chan_broken(ch, err == -ERR_PERM    ? EACCES
				: err == -ERR_PROTO ? EPROTO
						    : ECONNRESET);
	return err == 0;
}

void chan_process(struct chan *ch, short revents)
{
	if (ch->alive && stream_is_shaking(&ch->stream) && !chan_shake(ch))
		return;
	if (ch->alive && stream_may_read(&ch->stream, revents))
		chan_receive(ch);
	if (ch->alive)
		chan_flush(ch); /* replies may have made room for queued requests */
}
