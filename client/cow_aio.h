/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cow_aio.h: the asynchronous calls of libcow.  cow.h, which includes it, is what programs include.
 */
#ifndef COW_AIO_H
#define COW_AIO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cow cow_t;
typedef struct cow_object cow_object_t;

struct cow_attrs;
struct cow_damage;
struct cow_diff;
struct cow_edit;
struct cow_extent;
struct cow_info;
struct cow_pair;
struct cow_range;
struct cow_report;
struct cow_service;
struct cow_statfs;
struct cow_usage;
struct cow_verified;
struct cow_write;

/*
 * Each call is the twin of the one of its name, with the same arguments and results, and begins it
 * only: how->done(how->ctx, result) is called once when it has ended, by cow_process() or cow_free(),
 * in the thread that calls these, without a lock; never by the call itself.  In the callback anything
 * may be called but cow_free() of its handle, and cow_error() has the message of a negative result.
 * Until then all buffers must stay, and outputs are written right before it, but for data that is read,
 * which may come at any time; names, attributes and arrays of ranges, objects and pairs are copied at
 * once.
 *
 * They return 0, or -COW_EINVAL or -COW_ENOMEM if nothing was begun and no callback will come.  *id
 * (id may be NULL) is then the number of the call, never used again on this handle; it is set before
 * the callback can come.
 *
 * Any number may be under way, beside calls of other threads; as many of them as the server takes are
 * sent at once, the others wait, and they may be carried out in any order.
 */
typedef void (*cow_aio_cb)(void *ctx, int64_t result);

struct cow_aio {
	cow_aio_cb done;
	void *ctx;
	unsigned int timeout_ms; /* from the beginning of the call; 0: that of the handle */
};

/*
 * A descriptor to poll for cow_get_events() (poll(2)'s), the same as long as the handle lives, and not
 * to be read or closed.  When it is ready, and when cow_next_timeout_ms() have passed (-1: never),
 * cow_process() is to be called; the timeout is to be asked for again after that and after calls were
 * begun.  cow_process() does not block; it returns how many callbacks it has called.
 */
int cow_get_fd(cow_t *cow);
int cow_get_events(cow_t *cow);
int cow_next_timeout_ms(cow_t *cow);
int cow_process(cow_t *cow);

/* Waits until there is something to process, and does that; for programs without a loop of their own.
 * Returns at once, as cow_process() does, if nothing is under way.  Of several threads one should: who
 * waits for what another has processed meanwhile waits on, for the next event or deadline. */
int cow_wait(cow_t *cow);

/*
 * Gives up a call: its callback will get -COW_ECANCELED.  What was sent of it may be carried out all
 * the same.  -COW_ENOENT: its result stands already, and the callback has come or is about to.
 */
int cow_aio_cancel(cow_t *cow, uint64_t id);

/* cow_aio_close() gives up obj as cow_close() does, whatever it returns to the callback; but not if it
 * returns an error itself. */
int cow_aio_open(cow_t *cow, const char *spec, unsigned int flags, cow_object_t **obj,
		 const struct cow_aio *how, uint64_t *id);
int cow_aio_close(cow_object_t *obj, const struct cow_aio *how, uint64_t *id);
int cow_aio_pread(cow_object_t *obj, void *buf, size_t len, uint64_t offset,
		  const struct cow_aio *how, uint64_t *id);
int cow_aio_pwrite(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
		   const struct cow_aio *how, uint64_t *id);
int cow_aio_pread_with(cow_object_t *obj, void *buf, size_t len, uint64_t offset,
		       unsigned int flags, const struct cow_aio *how, uint64_t *id);
int cow_aio_pwrite_with(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
			unsigned int flags, const struct cow_aio *how, uint64_t *id);
int cow_aio_readv(cow_object_t *obj, const struct cow_range *ranges, size_t count, size_t *got,
		  const struct cow_aio *how, uint64_t *id);
int cow_aio_writev(cow_object_t *obj, const struct cow_range *ranges, size_t count,
		   const uint64_t *if_generation, uint64_t *generation, const struct cow_aio *how,
		   uint64_t *id);
int cow_aio_write_if(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
		     uint64_t if_generation, uint64_t *generation, const struct cow_aio *how,
		     uint64_t *id);
/* Of writes, which is not empty, only the generations are looked at behind the call, and what the ranges
 * point to. */
int cow_aio_write_all(struct cow_write *writes, size_t count, const struct cow_aio *how,
		      uint64_t *id);
int cow_aio_fsync(cow_object_t *obj, const struct cow_aio *how, uint64_t *id);
int cow_aio_fsync_if(cow_object_t *obj, const uint64_t *if_generation, uint64_t *generation,
		     const struct cow_aio *how, uint64_t *id);
/* Of at least one object: the callback comes on the connection of these. */
int cow_aio_group_fsync(cow_object_t *const *objs, size_t count, const struct cow_aio *how,
			uint64_t *id);
int cow_aio_group_tie(cow_object_t *const *objs, size_t count, const struct cow_aio *how,
		      uint64_t *id);
int cow_aio_resize(cow_object_t *obj, uint64_t size, unsigned int flags, const struct cow_aio *how,
		   uint64_t *id);
int cow_aio_zero(cow_object_t *obj, uint64_t offset, uint64_t len, const struct cow_aio *how,
		 uint64_t *id);
int cow_aio_trim(cow_object_t *obj, uint64_t offset, uint64_t len, const struct cow_aio *how,
		 uint64_t *id);
int cow_aio_clone_range(cow_object_t *src, uint64_t src_offset, uint64_t len, cow_object_t *dst,
			uint64_t dst_offset, const struct cow_aio *how, uint64_t *id);
/* *copied is written whatever the result is. */
int cow_aio_unshare(cow_object_t *obj, uint64_t offset, uint64_t len, uint64_t *copied,
		    const struct cow_aio *how, uint64_t *id);
int cow_aio_map(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
		size_t max, const struct cow_aio *how, uint64_t *id);
int cow_aio_get_extents(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
			size_t max, const struct cow_aio *how, uint64_t *id);
int cow_aio_seek_data(cow_object_t *obj, uint64_t offset, const struct cow_aio *how, uint64_t *id);
int cow_aio_seek_hole(cow_object_t *obj, uint64_t offset, const struct cow_aio *how, uint64_t *id);
int cow_aio_diff(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len,
		 struct cow_extent *ext, size_t max, struct cow_diff *diff,
		 const struct cow_aio *how, uint64_t *id);
int cow_aio_verify(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len, uint64_t rate,
		   struct cow_damage *damages, size_t max, struct cow_verified *verified,
		   const struct cow_aio *how, uint64_t *id);

int cow_aio_ping(cow_t *cow, const struct cow_aio *how, uint64_t *id);
int cow_aio_create(cow_t *cow, const char *name, uint64_t size, const struct cow_attrs *attrs,
		   const struct cow_aio *how, uint64_t *id);
int cow_aio_clone(cow_t *cow, const char *spec, const char *name, const struct cow_attrs *attrs,
		  const struct cow_aio *how, uint64_t *id);
int cow_aio_group_clone(cow_t *cow, const struct cow_pair *pairs, size_t count,
			const struct cow_attrs *attrs, const struct cow_aio *how, uint64_t *id);
int cow_aio_snap(cow_t *cow, const char *spec, const struct cow_attrs *attrs,
		 const struct cow_aio *how, uint64_t *id);
int cow_aio_reset(cow_t *cow, const char *spec, struct cow_info *info, const struct cow_aio *how,
		  uint64_t *id);
int cow_aio_set(cow_t *cow, const char *spec, const struct cow_edit *edit, struct cow_info *info,
		const struct cow_aio *how, uint64_t *id);
int cow_aio_rename(cow_t *cow, const char *from, const char *to, unsigned int flags,
		   const struct cow_aio *how, uint64_t *id);
int cow_aio_remove(cow_t *cow, const char *spec, unsigned int flags, const struct cow_aio *how,
		   uint64_t *id);
int cow_aio_get_info(cow_t *cow, const char *spec, struct cow_info *info, const struct cow_aio *how,
		     uint64_t *id);
/* prefix and label may be NULL: all. */
int cow_aio_list(cow_t *cow, const char *prefix, const char *label, struct cow_info **infos,
		 size_t *count, const struct cow_aio *how, uint64_t *id);
int cow_aio_list_versions(cow_t *cow, const char *name, struct cow_info **infos, size_t *count,
			  const struct cow_aio *how, uint64_t *id);
int cow_aio_list_children(cow_t *cow, const char *spec, struct cow_info **infos, size_t *count,
			  const struct cow_aio *how, uint64_t *id);
int cow_aio_get_statfs(cow_t *cow, struct cow_statfs *st, const struct cow_aio *how, uint64_t *id);
int cow_aio_get_usage(cow_t *cow, const char *const *specs, size_t count, struct cow_usage *usage,
		      const struct cow_aio *how, uint64_t *id);
int cow_aio_get_reaping(cow_t *cow, uint64_t *bytes, const struct cow_aio *how, uint64_t *id);
int cow_aio_check(cow_t *cow, struct cow_report *report, const struct cow_aio *how, uint64_t *id);
int cow_aio_get_service(cow_t *cow, struct cow_service *service, const struct cow_aio *how,
			uint64_t *id);

#ifdef __cplusplus
}
#endif

#endif
