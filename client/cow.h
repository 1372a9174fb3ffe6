/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cow.h: libcow, the client library of cowd.
 *
 * A cow_t is one connection.  It is locked inside: any thread may call, and calls of several
 * threads are in flight together.  A cow_object_t is an open object on a connection; it dies with
 * cow_close(), which must come before cow_free() of its connection.
 *
 * Functions that can fail return 0 (or a count) or a negative COW_E* code; cow_error() has a
 * sentence about the last failure on that connection in the calling thread.  Offsets, lengths and
 * sizes are bytes.  Nothing hangs: every call ends with -COW_ETIMEDOUT when the server has not
 * answered within the timeout (default 60 s; cow_set_timeout()), and the connection is then dead.
 */
#ifndef COW_H
#define COW_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; cow_version() has that of the library. */
#define COW_VERSION_MAJOR 0
#define COW_VERSION_MINOR 1
#define COW_VERSION_PATCH 0

#define COW_HAVE_EXTENTS 1

/* Error codes: stable; calls return them negated. */
enum cow_errcode {
	COW_EINVAL = 1,	    /* invalid argument, name, handle or range */
	COW_ENOENT = 2,	    /* no such object */
	COW_EEXIST = 3,	    /* the name exists already */
	COW_EBUSY = 4,	    /* in use; the message names the holder */
	COW_EPERM = 5,	    /* not allowed */
	COW_ENOSPC = 6,	    /* no space left in the store */
	COW_EIO = 7,	    /* the server's device failed; after fsync: data may be lost */
	COW_EINTEGRITY = 8, /* a checksum does not fit */
	COW_ENOMEM = 9,	    /* out of memory, here or there */
	COW_EPROTO = 10,    /* the peer does not speak the protocol */
	COW_ENOTSUP = 11,   /* the server does not know this operation or version */
	COW_ELIMIT = 12,    /* a limit of the server was reached */
	COW_ETIMEDOUT = 13, /* no answer in time */
	COW_ECONN = 14,	    /* not connected, or the connection was lost */
	COW_ESHUTDOWN = 15, /* the server is shutting down */
	COW_EFORMAT = 16,   /* not a store of this format */
};

typedef struct cow cow_t;
typedef struct cow_object cow_object_t;

struct cow_info {
	const char *name; /* owned by the struct that the call filled: see cow_info_clear() */
	uint64_t id;
	uint64_t size;
	uint64_t mapped;     /* durable bytes that the object maps, shared or not */
	uint64_t generation; /* grows with every commit to the object */
	uint64_t ctime_ns;   /* nanoseconds since 1970 */
	uint64_t mtime_ns;
	uint64_t origin; /* id of the object it was cloned from; 0: none */
};

struct cow_statfs {
	uint64_t block_size;
	uint64_t total;	   /* data bytes of the store */
	uint64_t free;	   /* not used, not reserved */
	uint64_t reserved; /* promised to data in the server's memory */
	uint64_t mapped;   /* sum over all objects, shared bytes counted once per object */
	uint64_t meta_total;
	uint64_t meta_used;
	uint64_t objects;
};

struct cow_server {
	uint32_t version; /* of the protocol */
	uint32_t block_size;
	uint64_t incarnation; /* grows at every start of the server on its store */
	uint8_t store_uuid[16];
	char agent[64]; /* the server's name and version */
};

#define COW_EXTENT_HOLE 0
#define COW_EXTENT_DATA 1

struct cow_extent {
	uint64_t offset;
	uint64_t len;
	int kind; /* COW_EXTENT_* */
};

/* The library's version, "MAJOR.MINOR.PATCH".  Static storage. */
const char *cow_version(void);

/* A short text for an error code, negative or positive.  Static storage. */
const char *cow_strerror(int code);

/* A new handle, not connected.  NULL: out of memory. */
cow_t *cow_new(void);

/* Closes the connection and frees the handle.  NULL is allowed. */
void cow_free(cow_t *cow);

/* The message of the calling thread's last failed call on this handle; "" if none.  Valid until
 * that thread's next call on it. */
const char *cow_error(cow_t *cow);

/* How long a call waits for its answer, in milliseconds; at least 1.  For calls begun afterwards.
 */
int cow_set_timeout(cow_t *cow, unsigned int ms);

/* Names the program in the server's log (default "libcow"); at most 63 bytes. */
int cow_set_agent(cow_t *cow, const char *agent);

/*
 * Connects: "cow://host[:port][/object]" (port 7117), "cow+unix:///[object]?socket=PATH", or NULL
 * for $COW_URI and else the local socket: $XDG_RUNTIME_DIR/cowd/cowd.sock for another user than
 * root where that exists, else /run/cowd/cowd.sock.  The object part is ignored here; see
 * cow_uri_object().  A handle whose connection was lost can be connected again; objects that were
 * open on the lost one answer -COW_ECONN and are still to be closed.
 */
int cow_connect(cow_t *cow, const char *uri);

/* The object that a URI names, decoded, in memory to be freed with free(); *name is NULL when it
 * names none. */
int cow_uri_object(const char *uri, char **name);

/* What the server said of itself.  -COW_ECONN before cow_connect(). */
int cow_get_server(cow_t *cow, struct cow_server *server);

/* One exchange with no other effect. */
int cow_ping(cow_t *cow);

/* Objects by name.  A change of names is durable when the call returns. */
int cow_create(cow_t *cow, const char *name, uint64_t size);
int cow_clone(cow_t *cow, const char *src, const char *dst);
int cow_remove(cow_t *cow, const char *name);
int cow_get_info(cow_t *cow, const char *name, struct cow_info *info);
int cow_get_statfs(cow_t *cow, struct cow_statfs *st);

/* Frees what a filled cow_info owns. */
void cow_info_clear(struct cow_info *info);

/*
 * The objects whose names begin with prefix ("" or NULL: all), sorted by bytes.  *infos is an array
 * of *count to be freed with cow_list_free(); on failure nothing is allocated.
 */
int cow_list(cow_t *cow, const char *prefix, struct cow_info **infos, size_t *count);
void cow_list_free(struct cow_info *infos, size_t count);

#define COW_OPEN_READONLY 1u

/* Opens an object by name; *obj is to be closed with cow_close(). */
int cow_open(cow_t *cow, const char *name, unsigned int flags, cow_object_t **obj);

/*
 * Closes it.  -COW_EIO: writeback of data written through some handle failed since this one was
 * opened or last told; the object is closed all the same.
 */
int cow_close(cow_object_t *obj);

/* The object's size when it was opened or last resized by this handle. */
uint64_t cow_object_size(const cow_object_t *obj);

/*
 * Reads or writes at an offset, any alignment and length; longer transfers than the server takes in
 * one request are split.  cow_pread() returns the bytes read: fewer than len only at the end of the
 * object.  cow_pwrite() returns len, growing the object where needed; after an error any part of
 * the range may have been written.  A transfer of up to 32 MiB, if the server takes as much, is one
 * request and atomic under a crash; the requests of a longer one may be applied in any order.
 */
ssize_t cow_pread(cow_object_t *obj, void *buf, size_t len, uint64_t offset);
ssize_t cow_pwrite(cow_object_t *obj, const void *buf, size_t len, uint64_t offset);

/* Makes everything durable that any client was told was written to this object before the call. */
int cow_fsync(cow_object_t *obj);

#define COW_RESIZE_SHRINK 1u

/* Sets the size; -COW_EINVAL when it would shrink and COW_RESIZE_SHRINK is not given. */
int cow_resize(cow_object_t *obj, uint64_t size, unsigned int flags);

/*
 * Where data and holes are, from offset on, consecutive; data not yet durable counts as data.
 * Fills up to max entries (at least 1) and returns how many; 0 at or past the end.  What is not
 * covered by the entries is asked for with another call.
 */
ssize_t cow_get_extents(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
			size_t max);

#ifdef __cplusplus
}
#endif

#endif
