/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * verbs_priv.h: what the files of the verbs share.
 */
#ifndef TESTS_CONFORMANCE_VERBS_PRIV_H
#define TESTS_CONFORMANCE_VERBS_PRIV_H

#include "tests/conformance/verbs.h"

#define VERBS_ITEMS_MAX 64u

/* Whether every call is made by its asynchronous twin. */
#ifdef VERBS_BY_TWINS
#define VERBS_TWINS true
#else
#define VERBS_TWINS false
#endif

/* What a twin's callback leaves. */
struct verbs_twin {
	bool done;
	int64_t result;
};

void verbs_twin_done(void *ctx, int64_t result);

/* Waits for one that was begun, or not, on that connection.  What its twin returns. */
int64_t verbs_twin_wait(cow_t *cow, int begun, const struct verbs_twin *twin);

/* A call on a connection, or by its twin. */
#define VERBS_CALL(cow, call, twin, ...)                                              \
	(VERBS_TWINS ? ({                                                             \
		struct verbs_twin twin_ = {.done = false};                            \
		const struct cow_aio how_ = {.done = verbs_twin_done, .ctx = &twin_}; \
		verbs_twin_wait(cow, twin(__VA_ARGS__, &how_, NULL), &twin_);         \
	})                                                                            \
		     : (int64_t)call(__VA_ARGS__))

struct verbs_flag {
	const char *word;
	unsigned int value;
};

struct verbs_labels {
	struct cow_label v[VERBS_ITEMS_MAX];
	size_t n;
	char *copy;
};

/* What stands between commas; the pieces point into *copy, which is to be freed. */
size_t verbs_items(struct verbs_args *args, const char *key, char **copy, char *v[VERBS_ITEMS_MAX]);

/* The words of flags=; the table ends in a row without a word. */
unsigned int verbs_flags(struct verbs_args *args, const struct verbs_flag *table);

/* KEY=VALUE between commas, a KEY that stands alone without a value; labels->copy is to be freed. */
void verbs_labels_get(struct verbs_args *args, const char *key, struct verbs_labels *labels);

/* The open handle of that name; of the name that this key has; that of the key "handle". */
struct verbs_handle *verbs_handle_named(struct verbs_run *run, const char *name);
struct verbs_handle *verbs_handle_find(struct verbs_run *run, struct verbs_args *args,
				       const char *key);
cow_object_t *verbs_object(struct verbs_run *run, struct verbs_args *args);

/* Closes it, and takes it out of the table. */
int verbs_handle_close(struct verbs_run *run, struct verbs_handle *h);

/* Values of the result. */
struct verbs_value *verbs_value_add(struct verbs_result *r, const char *key, enum verbs_kind kind);
void verbs_has_number(struct verbs_result *r, const char *key, uint64_t number);
void verbs_has_text(struct verbs_result *r, const char *key, const char *text);
void verbs_has_list(struct verbs_result *r, const char *key, const size_t *v, size_t n);
void verbs_has_info(struct verbs_result *r, const struct cow_info *info);

/* What there is of this name, into the result. */
int verbs_get_info(cow_t *cow, const char *name, struct verbs_result *r);

/* The same where the code is 0, which is returned: calls of libcow that make something say nothing of
 * it, and what they made may have expired by now. */
int verbs_then_info(cow_t *cow, int code, const char *name, struct verbs_result *r);

/* Operations: on a connection, or on the one of a number. */
int verbs_call_check(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_children(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			struct verbs_result *r);
int verbs_call_clone(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_clone_range(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			   struct verbs_result *r);
int verbs_call_close(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_create(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r);
int verbs_call_extents(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r);
int verbs_call_fsync(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_info(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_list(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_open(struct verbs_run *run, unsigned int number, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_ping(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_read(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_reaping(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r);
int verbs_call_remove(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r);
int verbs_call_rename(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r);
int verbs_call_reset(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_resize(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r);
int verbs_call_set(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r);
int verbs_call_snap(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_service(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r);
int verbs_call_statfs(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r);
int verbs_call_unshare(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		       struct verbs_result *r);
int verbs_call_usage(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_versions(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			struct verbs_result *r);
int verbs_call_write(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_zero(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_fsync_if(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			struct verbs_result *r);
int verbs_call_readv(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		     struct verbs_result *r);
int verbs_call_writev(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r);
int verbs_call_write_all(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			 struct verbs_result *r);
int verbs_call_clone_all(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			 struct verbs_result *r);
int verbs_call_diff(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		    struct verbs_result *r);
int verbs_call_fsync_all(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
			 struct verbs_result *r);
int verbs_call_verify(struct verbs_run *run, cow_t *cow, struct verbs_args *a,
		      struct verbs_result *r);
int verbs_call_tie(struct verbs_run *run, cow_t *cow, struct verbs_args *a, struct verbs_result *r);

#endif
