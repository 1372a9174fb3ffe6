/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sched.h"

#include <bsd/sys/queue.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/annot.h"
#include "common/thread.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"
#include "tests/sim/oom.h"

#define STACK_BYTES (UINT64_C(256) << 10)
#define THREADS_MAX 16u
#define BEGIN_NS    UINT64_C(1700000000000000000)
#define TURN_NS	    20000u /* the most that a turn takes */
#define NS_PER_S    1000000000u
#define LEAP_NS	    20000000u /* where nobody can go on */

struct sim_thread {
	ucontext_t context; /* where it begins */
	jmp_buf here;	    /* where it goes on */
	bool begun;
	void *(*fn)(void *arg);
	void *arg;
	enum thread_role role;
	const void *waits_for; /* NULL: it can go on */
	bool ended;
	const void *stack; /* for the sanitizer, with its own note; of the loop's as it was found */
	size_t stack_bytes;
	void *fake_stack;
};

/* In place of what the C library keeps in these. */
struct sim_mutex {
	struct sim_thread *owner;
};

struct sim_cond {
	uint64_t none;
};

struct sim_rwlock {
	struct sim_thread *writer;
	uint64_t readers;
};

_Static_assert(sizeof(struct sim_mutex) <= sizeof(pthread_mutex_t), "a mutex");
_Static_assert(sizeof(struct sim_cond) <= sizeof(pthread_cond_t), "a condition");
_Static_assert(sizeof(struct sim_rwlock) <= sizeof(pthread_rwlock_t), "a read-write lock");

static struct {
	bool on;
	bool paused;
	struct rnd rnd;
	uint64_t now_ns;
	struct sim_thread *current;
	bool dead; /* somebody has called abort() */
	jmp_buf abort_mark;
	struct sim_thread *threads[THREADS_MAX]; /* the first is the loop's */
	unsigned int n;
} sched;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __wrap_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_destroy(pthread_cond_t *cond);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
				  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_pthread_rwlock_init(pthread_rwlock_t *lock, const pthread_rwlockattr_t *attr);
int __wrap_pthread_rwlock_destroy(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned int flags);
NORETURN void __wrap_abort(void);

/* ---- who goes on ----------------------------------------------------------------------------- */

/* One of those that can, at random; NULL: none can. */
static struct sim_thread *sched_pick(void)
{
	struct sim_thread *ready[THREADS_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; i < sched.n; i++)
		if (!sched.threads[i]->ended && !sched.threads[i]->waits_for)
			ready[n++] = sched.threads[i];
	return n > 0 ? ready[rnd_below(&sched.rnd, n)] : NULL;
}

/* The sanitizer is told of each change of stacks: before, and on the new one. */
static void stack_leaves(struct sim_thread *self, const struct sim_thread *next)
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_start_switch_fiber(&self->fake_stack, next->stack, next->stack_bytes);
#else
	(void)self;
	(void)next;
#endif
}

static void stack_comes(struct sim_thread *self)
{
#ifdef __SANITIZE_ADDRESS__
	struct sim_thread *loop = sched.threads[0];
	const void *bottom;
	size_t bytes;

	__sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &bytes);
	if (!loop->stack) { /* the first that leaves is the loop's */
		loop->stack = bottom;
		loop->stack_bytes = bytes;
	}
#else
	(void)self;
#endif
}

/*
 * Not by swapcontext(): that has the kernel save the signals which are
 * blocked, twice for each change.  The sanitizer does not know of stacks that longjmp() reaches.
 */
static void sched_jump(struct sim_thread *self, struct sim_thread *next)
{
#ifdef __SANITIZE_ADDRESS__
	MUST(swapcontext(&self->context, &next->context) == 0, "a context");
#else
	if (_setjmp(self->here) != 0)
		return;
	if (next->begun)
		_longjmp(next->here, 1);
	next->begun = true;
	MUST(setcontext(&next->context) == 0, "a context");
#endif
}

static void sched_switch(struct sim_thread *next)
{
	struct sim_thread *self = sched.current;

	if (next == self)
		return;
	self->role = thread_role();
	sched.current = next;
	thread_set_role(next->role);
	stack_leaves(self, next);
	sched_jump(self, next);
	stack_comes(self);
	if (sched.dead)
		longjmp(sched.abort_mark, 1);
}

/* Waits until somebody wakes those who wait for this. */
static void sched_wait(const void *what)
{
	struct sim_thread *next;

	MUST(!sched.paused, "who checks in the middle of a run waits for nobody");
	sched.current->waits_for = what;
	next = sched_pick();
	MUST(next, "everybody waits");
	sched_switch(next);
}

static void sched_wake(const void *what)
{
	for (unsigned int i = 0; i < sched.n; i++)
		if (sched.threads[i]->waits_for == what)
			sched.threads[i]->waits_for = NULL;
}

/* One of those who wait for this, at random. */
static void sched_wake_one(const void *what)
{
	struct sim_thread *found[THREADS_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; i < sched.n; i++)
		if (sched.threads[i]->waits_for == what)
			found[n++] = sched.threads[i];
	if (n > 0)
		found[rnd_below(&sched.rnd, n)]->waits_for = NULL;
}

void sched_yield_here(void)
{
	if (!sched.paused)
		sched_switch(sched_pick());
}

void sched_pause(bool off)
{
	sched.paused = off;
}

static bool sched_others_can(void)
{
	for (unsigned int i = 1; i < sched.n; i++)
		if (!sched.threads[i]->ended && !sched.threads[i]->waits_for)
			return true;
	return false;
}

void sched_turn(struct loop *loop)
{
	sched.now_ns +=
	    sched_others_can() ? rnd_below(&sched.rnd, TURN_NS) : rnd_below(&sched.rnd, LEAP_NS);
	MUST(event_base_loop(loop_base(loop), EVLOOP_NONBLOCK) >= 0, "the event loop");
	sched_yield_here();
}

uint64_t sched_now_ns(void)
{
	return sched.on ? sched.now_ns : BEGIN_NS;
}

uint64_t sched_random(void)
{
	return rnd_u64(&sched.rnd);
}

void sched_start(uint64_t seed)
{
	static struct sim_thread loop_thread;

	memset(&loop_thread, 0, sizeof(loop_thread));
	loop_thread.begun = true;
	sched.rnd = (struct rnd){seed};
	sched.now_ns = sched.on ? sched.now_ns : BEGIN_NS;
	sched.on = true;
	sched.paused = false;
	sched.dead = false;
	sched.threads[0] = &loop_thread;
	sched.current = &loop_thread;
	sched.n = 1;
}

jmp_buf *sched_abort_mark(void)
{
	return &sched.abort_mark;
}

void __wrap_abort(void)
{
	MUST(!sched.dead && !sched.paused, "it ends itself where it may not");
	sched.dead = true;
	if (sched.current == sched.threads[0])
		longjmp(sched.abort_mark, 1);
	sched_switch(sched.threads[0]); /* which is on its way back to the mark then */
	MUST(false, "it has ended");
	_exit(1);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void thread_main(void)
{
	struct sim_thread *self = sched.current;

	stack_comes(self);
	(void)self->fn(self->arg);
	self->ended = true;
	sched_wake(self);
	sched_switch(sched_pick());
	MUST(false, "it has ended");
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	struct sim_thread *t = oom_calloc(1, sizeof(*t));
	void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)attr;
	MUST(stack != MAP_FAILED && sched.n < THREADS_MAX, "a thread");
	t->fn = fn;
	t->arg = arg;
	MUST(getcontext(&t->context) == 0, "a context");
	t->stack = stack;
	t->stack_bytes = STACK_BYTES;
	t->context.uc_stack.ss_sp = stack;
	t->context.uc_stack.ss_size = STACK_BYTES;
	makecontext(&t->context, thread_main, 0);
	sched.threads[sched.n++] = t;
	*thread = (pthread_t)t;
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
	const struct sim_thread *t = (const struct sim_thread *)thread;

	MUST(!ret, "a result of a thread");
	while (!t->ended)
		sched_wait(t);
	return 0;
}

/* ---- locks ----------------------------------------------------------------------------------- */

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
	MUST(!attr, "a plain mutex");
	memset(mutex, 0, sizeof(*mutex));
	return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	MUST(!((struct sim_mutex *)mutex)->owner, "a mutex that is held");
	return 0;
}

static void mutex_take(struct sim_mutex *m)
{
	while (m->owner) {
		MUST(m->owner != sched.current, "a mutex taken twice");
		sched_wait(m);
	}
	m->owner = sched.current;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	sched_yield_here();
	mutex_take((struct sim_mutex *)mutex);
	return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	struct sim_mutex *m = (struct sim_mutex *)mutex;

	MUST(m->owner == sched.current, "a mutex of another");
	m->owner = NULL;
	sched_wake(m);
	return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
	MUST(!attr, "a plain condition");
	memset(cond, 0, sizeof(*cond));
	return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *cond)
{
	(void)cond;
	return 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	(void)__wrap_pthread_mutex_unlock(mutex);
	sched_wait(cond);
	mutex_take((struct sim_mutex *)mutex);
	return 0;
}

/* Gives way once, whether somebody signals or not: who waits looks again.  Sometimes the time has come. */
int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
				  const struct timespec *until)
{
	uint64_t until_ns = (uint64_t)until->tv_sec * NS_PER_S + (uint64_t)until->tv_nsec;

	(void)cond;
	MUST(clock == CLOCK_MONOTONIC, "the clock that is simulated");
	(void)__wrap_pthread_mutex_unlock(mutex);
	sched_yield_here();
	mutex_take((struct sim_mutex *)mutex);
	if (!rnd_one_in(&sched.rnd, 4) || sched.now_ns >= until_ns)
		return 0;
	sched.now_ns = until_ns;
	return ETIMEDOUT;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
	sched_wake_one(cond);
	return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
	sched_wake(cond);
	return 0;
}

int __wrap_pthread_rwlock_init(pthread_rwlock_t *lock, const pthread_rwlockattr_t *attr)
{
	(void)attr; /* who is preferred is left to the seed */
	memset(lock, 0, sizeof(*lock));
	return 0;
}

int __wrap_pthread_rwlock_destroy(pthread_rwlock_t *lock)
{
	struct sim_rwlock *l = (struct sim_rwlock *)lock;

	MUST(!l->writer && l->readers == 0, "a lock that is held");
	return 0;
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
	struct sim_rwlock *l = (struct sim_rwlock *)lock;

	sched_yield_here();
	while (l->writer)
		sched_wait(l);
	l->readers++;
	return 0;
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
	struct sim_rwlock *l = (struct sim_rwlock *)lock;

	sched_yield_here();
	while (l->writer || l->readers > 0)
		sched_wait(l);
	l->writer = sched.current;
	return 0;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
	struct sim_rwlock *l = (struct sim_rwlock *)lock;

	if (l->writer) {
		MUST(l->writer == sched.current, "a lock of another");
		l->writer = NULL;
	} else {
		MUST(l->readers > 0, "a lock that nobody holds");
		l->readers--;
	}
	sched_wake(l);
	return 0;
}

/* ---- random numbers -------------------------------------------------------------------------- */

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned int flags)
{
	uint8_t *p = buf;

	(void)flags;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rnd_u64(&sched.rnd);
	return (ssize_t)len;
}
