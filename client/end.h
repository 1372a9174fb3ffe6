/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * end.h: the ends of a copy: an object, a file, a stream.  Each is a source or a sink of copy.h and
 * owns what it has open.  "name" is the caller's text and outlives the end; error lines name it.
 */
#ifndef CLIENT_END_H
#define CLIENT_END_H

#include <stdbool.h>
#include <stdint.h>

#include "client/copy.h"
#include "client/cow.h"
#include "common/annot.h"

enum end_kind { END_OBJECT, END_FILE, END_STREAM };

/*
 * What an argument of "cp" means: "-" is a stream; what begins with "/", "./", "../" or "file:" is
 * a file; all else, with or without "cow:" before it, is an object.  *name is the argument without
 * such a prefix.
 */
enum end_kind end_classify(const char *arg, const char **name);

#define END_EXTENTS 256u

struct end_source {
	struct copy_source source;
	enum end_kind kind;
	const char *name;
	bool size_known;
	uint64_t size; /* of what is copied */
	uint64_t pos;

	cow_t *cow; /* object */
	cow_object_t *obj;
	uint64_t base;	/* where in the object the copy begins */
	uint64_t older; /* of a difference: id of what it is compared with */
	uint64_t nodes; /* of a difference: what the server had to read for it */
	struct cow_extent ext[END_EXTENTS];
	size_t next_ext;
	size_t next;

	int fd;		   /* file, stream */
	uint64_t data_end; /* file: up to here is data */
	bool sparse;	   /* file: SEEK_DATA works */
};

/* Of objects "flags" are those of cow_open().  Bytes "offset" to "offset + len" of one, or as far as it
 * goes. */
int end_open_object_source(struct end_source *end, cow_t *cow, const char *name, unsigned int flags,
			   uint64_t offset, uint64_t len, struct copy_error *error) MUST_CHECK;
/*
 * What an object or version has from "offset" on that the one with the id "older" (0: none) has not: its
 * data, and holes where the older one has data.  The pieces have gaps between them.
 */
int end_open_diff_source(struct end_source *end, cow_t *cow, const char *name, uint64_t older,
			 uint64_t offset, struct copy_error *error) MUST_CHECK;
int end_open_file_source(struct end_source *end, const char *path,
			 struct copy_error *error) MUST_CHECK;
/* Standard input. */
void end_open_stdin_source(struct end_source *end);
void end_close_source(struct end_source *end);

struct end_sink {
	struct copy_sink sink;
	enum end_kind kind;
	const char *name;
	bool created; /* it did not exist before */
	bool fresh;   /* reads as zeros where nothing is put */

	cow_t *cow; /* object */
	cow_object_t *obj;
	uint64_t base; /* where in the object the copy goes */

	int fd; /* file, stream */
	bool regular;
};

/* A new object of that size, or with "force" an old one emptied. */
int end_create_object_sink(struct end_sink *end, cow_t *cow, const char *name, unsigned int flags,
			   uint64_t size, bool force, struct copy_error *error) MUST_CHECK;
/* An existing object, written to from "offset" on. */
int end_open_object_sink(struct end_sink *end, cow_t *cow, const char *name, unsigned int flags,
			 uint64_t offset, struct copy_error *error) MUST_CHECK;
/* A new file, with "force" an old one emptied, or a device or FIFO. */
int end_create_file_sink(struct end_sink *end, const char *path, uint64_t size, bool force,
			 struct copy_error *error) MUST_CHECK;
/* Standard output. */
void end_open_stdout_sink(struct end_sink *end);

/* After a copy: sets a fresh end's size, and makes it durable if asked. */
int end_finish_sink(struct end_sink *end, uint64_t size, bool sync,
		    struct copy_error *error) MUST_CHECK;
/* Closes it.  An error is that of data written before. */
int end_close_sink(struct end_sink *end, struct copy_error *error) MUST_CHECK;

/* For end_*.c: the error of libcow's last call in this thread. */
int end_fail_cow(struct copy_error *error, cow_t *cow, int code, const char *name);
int end_fail_errno(struct copy_error *error, enum end_kind kind, int errnum, const char *name);

#endif
