/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sweep/fault.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"

static const char *const points[] = {
#define X(name, text) text,
    FAULT_POINTS(X)
#undef X
};

static const char *const kinds[] = {
#define X(name, text) text,
    FAULT_KINDS(X)
#undef X
};

static const char *const spans[] = {"once", "on", "always"};

static struct {
	struct fault_plan plan;
	bool armed;
	bool lifted;
	bool may_delay;
	bool delayed;
	uint64_t counts[FAULT_NPOINTS];
	uint64_t hits;
	pthread_mutex_t lock; /* the simulation's: zeros are one */
	pthread_cond_t released;
} fault;

const char *fault_point_text(enum fault_point point)
{
	return points[point];
}

const char *fault_kind_text(enum fault_kind kind)
{
	return kinds[kind];
}

const char *fault_span_text(enum fault_span span)
{
	return spans[span];
}

/* The word at *text, up to a colon, among the words; n: it is none of them. */
static size_t parse_word(const char **text, const char *const *words, size_t n)
{
	size_t len = strcspn(*text, ":");
	size_t i = 0;

	while (i < n && !(strlen(words[i]) == len && strncmp(words[i], *text, len) == 0))
		i++;
	*text += len + ((*text)[len] == ':');
	return i;
}

bool fault_parse(const char *text, struct fault_plan *plan)
{
	size_t point = parse_word(&text, points, ARRAY_LEN(points));
	size_t kind = parse_word(&text, kinds, ARRAY_LEN(kinds));
	size_t span = parse_word(&text, spans, ARRAY_LEN(spans));

	if (point == ARRAY_LEN(points) || kind == ARRAY_LEN(kinds) || span == ARRAY_LEN(spans))
		return false;
	*plan = (struct fault_plan){(enum fault_point)point, (enum fault_kind)kind,
				    (enum fault_span)span, strtoull(text, NULL, 10)};
	return true;
}

void fault_print(const struct fault_plan *plan, char *text, size_t len)
{
	(void)snprintf(text, len, "%s:%s:%s:%" PRIu64, points[plan->point], kinds[plan->kind],
		       spans[plan->span], plan->n);
}

/* ---- counting -------------------------------------------------------------------------------- */

void fault_set(const struct fault_plan *plan)
{
	memset(&fault, 0, sizeof(fault));
	fault.plan = *plan;
}

void fault_lift(void)
{
	fault.lifted = true;
}

bool fault_arm(bool on)
{
	bool was = fault.armed;

	fault.armed = on;
	return was;
}

enum fault_kind fault_next(enum fault_point point)
{
	const struct fault_plan *plan = &fault.plan;
	uint64_t n;

	if (!fault.armed)
		return FAULT_NONE;
	n = ++fault.counts[point];
	if (fault.lifted || plan->n == 0 || point != plan->point || n < plan->n ||
	    (n > plan->n && plan->span == FAULT_ONCE))
		return FAULT_NONE;
	fault.hits++;
	return plan->kind;
}

uint64_t fault_count(enum fault_point point)
{
	return fault.counts[point];
}

uint64_t fault_hits(void)
{
	return fault.hits;
}

/* ---- delays ---------------------------------------------------------------------------------- */

void fault_delay(void)
{
	if (!fault.may_delay)
		return;
	(void)pthread_mutex_lock(&fault.lock);
	fault.delayed = true;
	while (fault.delayed)
		(void)pthread_cond_wait(&fault.released, &fault.lock);
	(void)pthread_mutex_unlock(&fault.lock);
}

void fault_allow_delay(bool on)
{
	fault.may_delay = on;
}

bool fault_is_delayed(void)
{
	return fault.delayed;
}

void fault_release(void)
{
	(void)pthread_mutex_lock(&fault.lock);
	fault.delayed = false;
	(void)pthread_cond_broadcast(&fault.released);
	(void)pthread_mutex_unlock(&fault.lock);
}
