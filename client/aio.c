/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/aio.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/call.h"
#include "client/errors.h"
#include "client/flight.h"
#include "client/link.h"
#include "common/clock.h"
#include "common/err.h"

void aio_init(struct cow *cow)
{
	struct aio_set *set = &cow->aio;

	set->next_id = 1;
	TAILQ_INIT(&set->done);
	for (size_t i = 0; i < AIO_BUCKETS; i++)
		LIST_INIT(&set->table[i]);
	set->epoll_fd = -1;
	set->event_fd = -1;
	set->watched_fd = -1;
	set->told_ns = HANDLE_NEVER;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void aio_free(struct aio *aio)
{
	free(aio->state);
	free(aio);
}

void aio_discard(struct aio *aio)
{
	if (aio->kind->drop)
		aio->kind->drop(aio);
	aio_free(aio);
}

static struct aio *aio_alloc(const struct aio_kind *kind, size_t nparts)
{
	struct aio *aio = malloc(sizeof(*aio) + nparts * sizeof(aio->parts[0]));

	if (!aio)
		return NULL;
	memset(aio, 0, sizeof(*aio));
	if (kind->state_bytes > 0) {
		aio->state = calloc(1, kind->state_bytes);
		if (!aio->state) {
			free(aio);
			return NULL;
		}
	}
	aio->kind = kind;
	aio->nparts = nparts;
	return aio;
}

static void aio_init_part(struct aio *aio, struct call *call)
{
	call_init(call, aio->kind->op);
	call->decode = aio->kind->decode;
	call->ctx = aio->state;
	if (aio->obj)
		call_bind(call, aio->obj, 0);
}

static int aio_make(cow_t *cow, cow_object_t *obj, const struct aio_kind *kind,
		    const struct cow_aio *how, size_t nparts, struct aio **aio)
{
	struct aio *made;

	if (!how || !how->done)
		return errors_set(cow, -ERR_INVAL, "an asynchronous call needs a callback");
	made = aio_alloc(kind, nparts);
	if (!made)
		return errors_set(cow, -ERR_NOMEM, "");
	made->cow = cow;
	made->obj = obj;
	made->how = *how;
	made->text = "";
	for (size_t i = 0; i < nparts; i++)
		aio_init_part(made, &made->parts[i]);
	*aio = made;
	return 0;
}

int aio_new(cow_t *cow, cow_object_t *obj, const struct aio_kind *kind, const struct cow_aio *how,
	    struct aio **aio)
{
	return aio_make(cow, obj, kind, how, 1, aio);
}

int aio_new_parts(cow_object_t *obj, const struct aio_kind *kind, const struct cow_aio *how,
		  size_t nparts, struct aio **aio)
{
	return aio_make(obj->cow, obj, kind, how, nparts, aio);
}

uint8_t *aio_body(struct aio *aio)
{
	return call_body(&aio->parts[0]);
}

/* ---- under way ------------------------------------------------------------------------------- */

/* All parts are about the same objects.  Under the lock. */
static void aio_hold_objects(const struct aio *aio)
{
	const struct call *call = &aio->parts[0];

	for (uint32_t i = 0; i < call->nbound; i++)
		call->bound[i].obj->refs++;
}

static void aio_put_objects(const struct aio *aio)
{
	const struct call *call = &aio->parts[0];

	for (uint32_t i = 0; i < call->nbound; i++)
		flight_object_put(call->bound[i].obj);
}

/* Under the lock, in any thread. */
static void aio_ended(struct call *call)
{
	struct aio *aio = call->owner;
	struct cow *cow = aio->cow;

	if (--aio->left > 0)
		return;
	TAILQ_INSERT_TAIL(&cow->aio.done, aio, done_link);
	if (!cow->aio.driving)
		link_signal(cow);
}

static bool aio_crc_is_wanted(struct cow *cow)
{
	bool wanted;

	(void)pthread_mutex_lock(&cow->lock);
	wanted = cow->chan.features & WIRE_FEATURE_PAYLOAD_CRC;
	(void)pthread_mutex_unlock(&cow->lock);
	return wanted;
}

static void aio_start_parts(struct aio *aio)
{
	aio->left = aio->nparts;
	for (size_t i = 0; i < aio->nparts; i++)
		flight_start(aio->cow, &aio->parts[i]);
}

static unsigned int aio_timeout_ms(const struct aio *aio)
{
	return aio->how.timeout_ms > 0 ? aio->how.timeout_ms : aio->cow->timeout_ms;
}

int aio_submit_parts(struct aio *aio, uint64_t *id)
{
	struct cow *cow = aio->cow;
	bool crc = aio->parts[0].req.payload_len > 0 && aio_crc_is_wanted(cow);

	for (size_t i = 0; i < aio->nparts; i++) {
		struct call *call = &aio->parts[i];

		call->ended = aio_ended;
		call->owner = aio;
		call->has_crc = crc;
		if (crc)
			chan_request_crc(&call->req);
	}
	(void)pthread_mutex_lock(&cow->lock);
	aio->id = cow->aio.next_id++;
	if (id)
		*id = aio->id;
	LIST_INSERT_HEAD(&cow->aio.table[aio->id % AIO_BUCKETS], aio, bucket_link);
	aio_hold_objects(aio);
	for (size_t i = 0; i < aio->nparts; i++)
		aio->parts[i].timeout_ms = aio_timeout_ms(aio);
	aio->deadline_ns = clock_now_ns() + (uint64_t)aio->parts[0].timeout_ms * UINT64_C(1000000);
	aio_start_parts(aio);
	link_settle(cow);
	(void)pthread_mutex_unlock(&cow->lock);
	return 0;
}

int aio_submit(struct aio *aio, int body_len, uint64_t *id)
{
	cow_t *cow = aio->cow;

	if (body_len < 0) {
		aio_discard(aio);
		return errors_set(cow, -ERR_INVAL, "the request is too long");
	}
	aio->parts[0].req.body_len = (uint32_t)body_len;
	return aio_submit_parts(aio, id);
}

/* ---- canceling ------------------------------------------------------------------------------- */

static struct aio *aio_find(struct cow *cow, uint64_t id)
{
	struct aio *aio;

	LIST_FOREACH (aio, &cow->aio.table[id % AIO_BUCKETS], bucket_link)
		if (aio->id == id)
			return aio;
	return NULL;
}

static void aio_give_up(struct aio *aio)
{
	aio->canceled = true;
	for (size_t i = 0; i < aio->nparts; i++)
		if (aio->parts[i].state != CALL_DONE)
			flight_give_up(&aio->parts[i], -ERR_CANCELED, "");
}

int cow_aio_cancel(cow_t *cow, uint64_t id)
{
	struct aio *aio;
	bool late;

	(void)pthread_mutex_lock(&cow->lock);
	aio = aio_find(cow, id);
	late = !aio || (aio->left == 0 && (!aio->kind->more || aio->decided));
	if (!late) {
		aio_give_up(aio);
		link_settle(cow);
	}
	(void)pthread_mutex_unlock(&cow->lock);
	return late ? errors_set(cow, -ERR_NOENT, "no such call is under way") : 0;
}

/* ---- delivering ------------------------------------------------------------------------------ */

static const struct call *aio_failed_part(const struct aio *aio)
{
	for (size_t i = 0; i < aio->nparts; i++)
		if (aio->parts[i].err < 0)
			return &aio->parts[i];
	return NULL;
}

/* The next page has the place of the last, and the time that is left. */
static void aio_next_page(struct aio *aio)
{
	struct call *call = &aio->parts[0];
	uint64_t now = clock_now_ns();
	uint64_t left_ms = now < aio->deadline_ns ? (aio->deadline_ns - now) / 1000000 : 0;

	call->state = CALL_NEW;
	call->req.body_len = (uint32_t)aio->body_len;
	call->timeout_ms = (unsigned int)left_ms + 1;
	aio_start_parts(aio);
	link_settle(aio->cow);
}

/* Without the lock.  1: it goes on; else 0 or the error that ends it. */
static int aio_turn_page(struct aio *aio)
{
	struct cow *cow = aio->cow;
	int more = aio->kind->more(aio);

	(void)pthread_mutex_lock(&cow->lock);
	if (aio->canceled)
		more = -ERR_CANCELED;
	if (more >= 0 || aio->canceled)
		aio->text = "";
	if (more > 0)
		aio_next_page(aio);
	else
		aio->decided = true;
	(void)pthread_mutex_unlock(&cow->lock);
	return more;
}

static void aio_call_back(struct aio *aio, int err, const char *text)
{
	struct cow *cow = aio->cow;
	int64_t result = err;

	if (err == 0 && aio->kind->finish)
		result = aio->kind->finish(aio);
	else if (err < 0 && aio->kind->drop)
		aio->kind->drop(aio);
	if (result < 0)
		result = errors_set(cow, (int)result, text[0] ? text : aio->text);
	(void)pthread_mutex_lock(&cow->lock);
	LIST_REMOVE(aio, bucket_link);
	aio_put_objects(aio);
	(void)pthread_mutex_unlock(&cow->lock);
	aio->how.done(aio->how.ctx, result);
	aio_free(aio);
}

static void aio_deliver(struct aio *aio)
{
	const struct call *failed = aio_failed_part(aio);
	int err = failed ? failed->err : 0;

	if (aio->canceled)
		aio_call_back(aio, -ERR_CANCELED, "");
	else if (err < 0)
		aio_call_back(aio, err, failed->text);
	else if (!aio->kind->more)
		aio_call_back(aio, 0, "");
	else if ((err = aio_turn_page(aio)) <= 0)
		aio_call_back(aio, err, "");
}

/* The next whose callback is due; NULL: none is. */
static struct aio *aio_take_done(struct cow *cow)
{
	struct aio *aio = TAILQ_FIRST(&cow->aio.done);
	eventfd_t drained;

	if (aio) {
		TAILQ_REMOVE(&cow->aio.done, aio, done_link);
	} else if (cow->aio.signaled) {
		cow->aio.signaled = false;
		(void)eventfd_read(cow->aio.event_fd, &drained);
	}
	return aio;
}

/* Under the lock, which is released for each callback; how many there were.  What ends meanwhile in this thread
 * needs no signal: it is looked for here. */
static int aio_drive(struct cow *cow, short revents)
{
	struct aio *aio;
	int n = 0;

	cow->aio.driving = true;
	link_drive(cow, revents);
	cow->aio.driving = false;
	call_hand_over(cow); /* callbacks may take their time */
	while ((aio = aio_take_done(cow)) != NULL) {
		(void)pthread_mutex_unlock(&cow->lock);
		aio_deliver(aio);
		n++;
		(void)pthread_mutex_lock(&cow->lock);
	}
	return n;
}

int cow_process(cow_t *cow)
{
	int n;

	(void)pthread_mutex_lock(&cow->lock);
	n = aio_drive(cow, POLLIN);
	(void)pthread_mutex_unlock(&cow->lock);
	return n;
}

void aio_end(struct cow *cow)
{
	struct aio *aio;

	(void)pthread_mutex_lock(&cow->lock);
	for (size_t i = 0; i < AIO_BUCKETS; i++)
		LIST_FOREACH (aio, &cow->aio.table[i], bucket_link)
			aio_give_up(aio);
	link_close(cow);
	while ((aio = aio_take_done(cow)) != NULL) {
		(void)pthread_mutex_unlock(&cow->lock);
		aio_call_back(aio, -ERR_CANCELED, "");
		(void)pthread_mutex_lock(&cow->lock);
	}
	link_close(cow); /* of objects that were being opened or closed */
	(void)pthread_mutex_unlock(&cow->lock);
	if (cow->aio.epoll_fd >= 0) {
		(void)close(cow->aio.epoll_fd);
		(void)close(cow->aio.event_fd);
	}
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static int aio_open_fds(struct aio_set *set)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (epoll_fd >= 0 && event_fd >= 0 &&
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &ev) == 0) {
		set->epoll_fd = epoll_fd;
		set->event_fd = event_fd;
		return 0;
	}
	if (epoll_fd >= 0)
		(void)close(epoll_fd);
	if (event_fd >= 0)
		(void)close(event_fd);
	return -ERR_NOMEM;
}

/* Under the lock. */
static int aio_get_fd(struct cow *cow)
{
	int err = cow->aio.epoll_fd < 0 ? aio_open_fds(&cow->aio) : 0;

	if (err < 0)
		return err;
	if (!TAILQ_EMPTY(&cow->aio.done))
		link_signal(cow);
	link_settle(cow);
	return cow->aio.epoll_fd;
}

int cow_get_fd(cow_t *cow)
{
	int fd;

	(void)pthread_mutex_lock(&cow->lock);
	fd = aio_get_fd(cow);
	(void)pthread_mutex_unlock(&cow->lock);
	return fd < 0 ? errors_set(cow, fd, "no descriptor is left") : fd;
}

int cow_get_events(cow_t *cow)
{
	(void)cow; /* what else is waited for is inside the descriptor */
	return POLLIN;
}

int cow_next_timeout_ms(cow_t *cow)
{
	uint64_t deadline_ns;
	bool due;

	(void)pthread_mutex_lock(&cow->lock);
	due = !TAILQ_EMPTY(&cow->aio.done);
	deadline_ns = link_deadline_ns(cow);
	cow->aio.told_ns = deadline_ns;
	(void)pthread_mutex_unlock(&cow->lock);
	if (due)
		return 0;
	return deadline_ns == HANDLE_NEVER ? -1 : call_poll_ms(deadline_ns);
}

/* Until there is something to do; the events of the socket.  Under the lock, which is released meanwhile.  While
 * another thread polls for all it is the descriptor that tells. */
static int aio_sleep(struct cow *cow, short *revents)
{
	struct pollfd pfd = {.events = POLLIN};
	uint64_t deadline_ns = cow->aio.told_ns;

	if (call_sleep_for_aio(cow, revents))
		return 0;
	pfd.fd = aio_get_fd(cow);
	if (pfd.fd < 0)
		return pfd.fd;
	(void)pthread_mutex_unlock(&cow->lock);
	(void)poll(&pfd, 1, call_poll_ms(deadline_ns));
	(void)pthread_mutex_lock(&cow->lock);
	*revents = POLLIN;
	return 0;
}

int cow_wait(cow_t *cow)
{
	uint64_t deadline_ns;
	short revents = POLLIN;
	int result = 0;

	(void)pthread_mutex_lock(&cow->lock);
	deadline_ns = link_deadline_ns(cow);
	if (TAILQ_EMPTY(&cow->aio.done) && deadline_ns != HANDLE_NEVER) {
		cow->aio.told_ns = deadline_ns;
		cow->aio.waiting++;
		result = aio_sleep(cow, &revents);
		cow->aio.waiting--;
	}
	if (result == 0)
		result = aio_drive(cow, revents);
	(void)pthread_mutex_unlock(&cow->lock);
	return result < 0 ? errors_set(cow, result, "no descriptor is left") : result;
}
