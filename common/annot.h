/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * annot.h: compiler annotations used everywhere.  Owns nothing; anyone may include it.
 */
#ifndef COMMON_ANNOT_H
#define COMMON_ANNOT_H

/* The caller must look at the result (every function that returns an error). */
#define MUST_CHECK __attribute__((warn_unused_result))

/* printf-like: FMT is the index of the format, ARGS that of the first argument. */
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Calls fn(&variable) when the variable goes out of scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define NORETURN __attribute__((noreturn))

/*
 * Which thread may call a function.  The annotation is for the reader; the function's first line
 * asserts it (thread.h).
 */
#define LOOP_FN	  /* the loop thread only: never blocks */
#define WORKER_FN /* a pool thread: touches only the buffers handed to it */
#define COMMIT_FN /* the commit thread: the only one that writes the journal */
#define MAP_FN	  /* the map thread: the only one that changes the map */
#define ANY_FN	  /* any thread */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The struct of type "type" whose member "member" ptr points to. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
