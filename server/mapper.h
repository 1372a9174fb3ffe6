/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mapper.h: the map thread: applies groups of durable changes to the staged map, in the order of the
 * journal, each in one map transaction, or several small ones together that nobody waits for; cuts the
 * map between records for a checkpoint; and takes trees that were given up apart, a bounded number of
 * nodes at a time, when there is nothing else to do or after so many records.
 *
 * It applies nothing while as much is staged as one fold can be sure to write
 * (map_must_fold()), and takes nothing apart from half of that on, so that changes do not wait for
 * the fold of what trees left behind: then it asks for a checkpoint, where none is under way, and waits for its
 * cut, or until what was cut before is folded.
 *
 * Used by commit.c only.
 */
#ifndef SERVER_MAPPER_H
#define SERVER_MAPPER_H

#include "common/annot.h"
#include "server/commit_priv.h"

/* NULL: no memory, no thread. */
struct mapper *mapper_new(struct commit *commit);

/* Applies what is queued and joins the thread. */
void mapper_free(struct mapper *mapper);

/* Queues a durable group. */
void mapper_submit(struct mapper *mapper, struct commit_group *group) COMMIT_FN;

void mapper_cut(struct mapper *mapper, struct commit_cut *cut) LOOP_FN;

/* What was cut is folded: who waits for that looks again. */
void mapper_folded(struct mapper *mapper) LOOP_FN;

/* The commit is latched: who waits for a fold waits no more. */
void mapper_wake(struct mapper *mapper) LOOP_FN;

/* Where it had no memory to take something apart it tries again. */
void mapper_tick(struct mapper *mapper) LOOP_FN;

#endif
