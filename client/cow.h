/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cow.h: libcow, the client library of cowd.
 *
 * A cow_t is one connection.  It is locked inside: any thread may call, and calls of several
 * threads are in flight together.  A cow_object_t is an open object on a connection; it dies with
 * cow_close(), which must come before cow_free() of its connection.
 *
 * An object is called by its name, a version of it (read-only, made by cow_snap()) "name@version".
 * Where a parameter is called spec, either will do; name is that of an object only.
 *
 * Functions that can fail return 0 (or a count) or a negative COW_E* code; cow_error() has a
 * sentence about the last failure on that connection in the calling thread.  Offsets, lengths and
 * sizes are bytes.  Nothing hangs: every call ends with -COW_ETIMEDOUT when the server has not
 * answered within the timeout (default 60 s; cow_set_timeout()).
 *
 * A connection that is lost is made again, and what can be is sent again on it, while calls wait for
 * it: see cow_set_reconnect().
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

#define COW_HAVE_EXTENTS  1
#define COW_HAVE_LABELS	  1 /* labels, times to live */
#define COW_HAVE_VERSIONS 1 /* versions, children, rename, reset */
#define COW_HAVE_USAGE	  1 /* usage, reaping */
#define COW_HAVE_SERVICE  1 /* what the server is and where it listens */
#define COW_HAVE_CHECK	  1
#define COW_HAVE_SET	  1 /* changing labels, times to live, read-only */
#define COW_HAVE_MAP	  1
#define COW_HAVE_RANGES	  1 /* several ranges, generations */
#define COW_HAVE_AIO	  1 /* cow_aio_*, cow_set_reconnect() */
#define COW_HAVE_DIFF	  1
#define COW_HAVE_GROUPS	  1 /* several objects at one point in time */
#define COW_HAVE_WRITES	  1 /* one write to several objects */
#define COW_HAVE_SHARE	  1 /* cow_clone_range(), cow_unshare() */
#define COW_HAVE_VERIFY	  1 /* cow_verify() */
#define COW_HAVE_RESERVED 1 /* space reserved for an object */

/* Error codes: stable; calls return them negated. */
enum cow_errcode {
	COW_EINVAL = 1,	     /* invalid argument, name, handle or range */
	COW_ENOENT = 2,	     /* no such object */
	COW_EEXIST = 3,	     /* the name exists already */
	COW_EBUSY = 4,	     /* in use; the message names the holder */
	COW_EPERM = 5,	     /* not allowed */
	COW_ENOSPC = 6,	     /* no space left in the store */
	COW_EIO = 7,	     /* the server's device failed; after fsync: data may be lost */
	COW_EINTEGRITY = 8,  /* a checksum does not fit */
	COW_ENOMEM = 9,	     /* out of memory, here or there */
	COW_EPROTO = 10,     /* the peer does not speak the protocol */
	COW_ENOTSUP = 11,    /* the server does not know this operation or version */
	COW_ELIMIT = 12,     /* a limit of the server was reached */
	COW_ETIMEDOUT = 13,  /* no answer in time */
	COW_ECONN = 14,	     /* not connected, or the connection was lost */
	COW_ESHUTDOWN = 15,  /* the server is shutting down */
	COW_EFORMAT = 16,    /* not a store of this format */
	COW_ECHANGED = 17,   /* the object is not of that generation any more */
	COW_ECANCELED = 18,  /* given up by cow_aio_cancel() or cow_free() */
	COW_ERESTARTED = 19, /* of fsync and close: the server has restarted, and what was written
				through this handle and not fsynced may be gone */
};

typedef struct cow cow_t;
typedef struct cow_object cow_object_t;

struct cow_label {
	const char *key;   /* 1 to 63 of A-Z a-z 0-9 . _ / - */
	const char *value; /* up to 255 bytes of UTF-8 without control characters */
};

/* What an object may be given when it is made; all zeros: nothing. */
struct cow_attrs {
	/* milliseconds until the server removes it, or later, when nobody has it or a version of it
	 * open; at most 100 years; 0: never */
	uint64_t ttl_ms;
	const struct cow_label *labels; /* in any order; no key twice; at most 1024 bytes with two
					   more for each */
	size_t nlabels;
	/* bytes that nobody else can have any more, in whole blocks: see cow_set_reserved(); of
	 * cow_create_with() only */
	uint64_t reserved;
};

/* Of an object or a version.  The pointers are owned by the struct: see cow_info_clear(). */
struct cow_info {
	const char *name; /* of a version "name@version" */
	uint64_t id;	  /* never used again in the store */
	uint64_t size;
	uint64_t mapped;     /* durable bytes that the object maps, shared or not */
	uint64_t generation; /* of the content: grows with every change, never comes again */
	uint64_t ctime_ns;   /* nanoseconds since 1970: when it was made */
	uint64_t mtime_ns;   /* of the last change of its content or size */
	uint64_t origin;     /* id of the object or version it was cloned from; 0: none */
	uint64_t parent;     /* of a version: id of its object; of an object: 0 */
	uint64_t expires_ns; /* when the server removes it; 0: never */
	uint64_t reserved;   /* bytes: cow_set_reserved() */
	uint64_t withheld;   /* of these, what it does not have yet and nobody else can have */
	uint64_t nversions;  /* of an object */
	int readonly;	     /* 1: its content does not change; so it is for every version */
	const struct cow_label *labels; /* sorted by key */
	size_t nlabels;
};

struct cow_statfs {
	uint64_t block_size;
	uint64_t total;	   /* data bytes of the store */
	uint64_t free;	   /* not used, not reserved, not withheld */
	uint64_t reserved; /* promised to data in the server's memory */
	uint64_t mapped;   /* sum over all objects and versions: what they share counts for each */
	uint64_t meta_total;
	uint64_t meta_used;
	uint64_t objects; /* versions not counted */
	uint64_t versions;
	uint64_t reaping; /* of removed data that is not yet reusable */
	uint64_t staged;  /* memory that holds metadata until the next checkpoint */
	uint64_t journal;
	uint64_t journal_used; /* of the journal, what a recovery would read */
	uint64_t withheld;     /* for objects that have reserved space */
};

struct cow_usage {
	uint64_t mapped;    /* the sum of what they map, shared or not */
	uint64_t exclusive; /* what would become free if all of them were removed */
};

/* What cow_check() found. */
struct cow_report {
	uint64_t differences; /* 0: all is well */
	uint64_t objects;     /* that were checked, versions included */
	uint64_t nodes;
	uint64_t mapped; /* bytes of the data area */
	uint64_t shared; /* of these, what several objects or versions have, each block once */
	uint64_t free;
	const char **texts; /* sentences about the first differences; see cow_report_clear() */
	size_t ntexts;
};

struct cow_server {
	uint32_t version; /* of the protocol */
	uint32_t block_size;
	uint64_t incarnation; /* grows at every start of the server on its store */
	uint8_t store_uuid[16];
	char agent[64]; /* the server's name and version */
};

#define COW_EXTENT_HOLE 0 /* reads as zeros, and takes no space */
#define COW_EXTENT_DATA 1
#define COW_EXTENT_ZERO 2 /* of cow_map() only: was made a hole, and that is not committed yet */
#define COW_EXTENT_SAME 3 /* of cow_diff() only: mapped as in the older one */

#define COW_EXTENT_SHARED 1u /* data that others map, too */
#define COW_EXTENT_DIRTY  2u /* data or zero that is not committed yet */

struct cow_extent {
	uint64_t offset;
	uint64_t len;
	uint64_t physical;  /* of committed data: its offset on the server's device; else 0 */
	int kind;	    /* COW_EXTENT_HOLE, COW_EXTENT_DATA, COW_EXTENT_ZERO */
	unsigned int flags; /* COW_EXTENT_SHARED, or COW_EXTENT_DIRTY, or 0 */
};

/* The library's version, "MAJOR.MINOR.PATCH".  Static storage. */
const char *cow_version(void);

/* A short text for an error code, negative or positive.  Static storage. */
const char *cow_strerror(int code);

/* A new handle, not connected.  NULL: out of memory. */
cow_t *cow_new(void);

/* Closes the connection and frees the handle; asynchronous calls get their callbacks first, with
 * -COW_ECANCELED.  NULL is allowed. */
void cow_free(cow_t *cow);

/* The message of the calling thread's last failed call on this handle; "" if none.  Valid until
 * that thread's next call on it, or until its calls on four other handles have failed: the messages
 * of the four handles that it used last are kept. */
const char *cow_error(cow_t *cow);

/* How long a call waits for its answer, in milliseconds; at least 1.  For calls begun afterwards.
 */
int cow_set_timeout(cow_t *cow, unsigned int ms);

/*
 * How long at most the thread that polls for all who wait for answers looks for them before it sleeps, in microseconds:
 * 200 unless told otherwise, at most 1,000; 0: it sleeps at once.  A thread that sleeps takes 5 to 20 us to be woken.  It
 * looks only as long as has been worth it of late, and not where others need the processor.  For waits begun afterwards.
 */
int cow_set_poll(cow_t *cow, unsigned int us);

/*
 * What becomes of calls when the connection is lost; on (not 0) is the default.
 *
 * On: while there are calls, a new connection is made, to the address that cow_connect() found, and
 * objects are opened again by their names; within the timeout of each call
 *   - what the server has not got whole is sent, and what it may have got is sent again if that does
 *     no harm: reads and questions, cow_open(), cow_fsync(), and writes, zeroing, trimming, resizing;
 *   - other calls that were sent end with -COW_ECONN: they may have been carried out; so do writes
 *     under a condition, as the second would find the generation that the first has made;
 *   - an object that is gone, or another by that name, is -COW_ENOENT from then on.
 * A server that did not restart still has what it acknowledged.  If it did, what an object's handle
 * was told is written and no cow_fsync() has covered may be gone: the next cow_fsync() (or
 * cow_close()) of each handle on that object returns -COW_ERESTARTED, once.
 *
 * A write that is sent twice may be carried out twice, and so over what another client wrote there
 * meanwhile.  Where the connection was given up because nothing had come for the whole timeout and
 * the server has not restarted, changes are not sent again, but end with -COW_ECONN: a server that
 * only was slow might carry out the first one after all, and late.
 *
 * Off: every call ends with -COW_ECONN then, until cow_connect() is called.
 */
int cow_set_reconnect(cow_t *cow, int on);

/* Names the program in the server's log (default "libcow"); at most 63 bytes. */
int cow_set_agent(cow_t *cow, const char *agent);

/*
 * Connects: "cow://host[:port][/object]" (port 7117), "cow+unix:///[object]?socket=PATH",
 * "cows://[identity@]host[:port][/object][?PARAMETERS]" for TLS (port 7118; see libcow(3)), or NULL
 * for $COW_URI and else the local socket: $XDG_RUNTIME_DIR/cowd/cowd.sock for another user than
 * root where that exists, else /run/cowd/cowd.sock.  The object part is ignored here; see
 * cow_uri_object().  A handle whose connection was lost can be connected again; objects that were
 * open on the lost one are opened again if cow_set_reconnect() is on and it is the same store, else
 * they answer -COW_ECONN and are still to be closed.
 */
int cow_connect(cow_t *cow, const char *uri);

/* The object that a URI names, decoded, in memory to be freed with free(); *name is NULL when it
 * names none. */
int cow_uri_object(const char *uri, char **name);

/* What the server said of itself.  -COW_ECONN before cow_connect(). */
int cow_get_server(cow_t *cow, struct cow_server *server);

/* One exchange with no other effect. */
int cow_ping(cow_t *cow);

/*
 * Objects by name.  What these change is durable when they return.  A name that is taken is
 * -COW_EEXIST, and one that is missing -COW_ENOENT.  attrs may be NULL.  A clone holds what was
 * written to its source before the call; it gets none of its attributes.  With the name of a version
 * ("object@version") it becomes a version of that object, whatever the object holds.
 */
int cow_create(cow_t *cow, const char *name, uint64_t size);
int cow_create_with(cow_t *cow, const char *name, uint64_t size, const struct cow_attrs *attrs);
int cow_clone(cow_t *cow, const char *spec, const char *name);
int cow_clone_with(cow_t *cow, const char *spec, const char *name, const struct cow_attrs *attrs);

#define COW_CLONE_NOT_TRIED 1

/*
 * Makes many clones of one source, with up to 64 requests in flight.  Each is made as a whole or
 * not at all, in any order.  After a failure no more are begun: results[i] is then 0 for a clone
 * that was made, a negative COW_E* code for one that failed, and COW_CLONE_NOT_TRIED.  Returns 0
 * when all were made, else the code of the first that failed, which the message is about.  A name
 * that is not valid is found before any clone is made.
 */
int cow_clone_many(cow_t *cow, const char *spec, const char *const *names, size_t count,
		   const struct cow_attrs *attrs, int *results);

/*
 * Makes a version, "name@version", that holds what was written to the object before the call; it
 * stays as it is.  labels may be NULL if nlabels is 0, and attrs may be NULL; a time to live is that of
 * the version, not of the object.
 */
int cow_snap(cow_t *cow, const char *spec, const struct cow_label *labels, size_t nlabels);
int cow_snap_with(cow_t *cow, const char *spec, const struct cow_attrs *attrs);

/* What is to be made of what: a clone, "name"; or a version of the object spec, "spec@version". */
struct cow_pair {
	const char *spec;
	const char *name;
};

#define COW_GROUP_MAX 128

/*
 * Makes clones and versions of several objects, 1 to COW_GROUP_MAX, as one operation: they hold what
 * was written to all of the sources up to one point in time, not before the call; and all of them are
 * made or none, whatever happens.  attrs are those of each.  The names, with two bytes more for each, have
 * at most some 64,000 bytes; else -COW_EINVAL.
 */
int cow_group_clone(cow_t *cow, const struct cow_pair *pairs, size_t count,
		    const struct cow_attrs *attrs);

/*
 * Gives an object the content and size of its version; what it had before is gone.  Handles that
 * are open on it stay open.  *info, if not NULL, is filled in with what the object is then, and to
 * be cleared with cow_info_clear().
 */
int cow_reset(cow_t *cow, const char *spec, struct cow_info *info);

#define COW_RENAME_EXCHANGE 1u

/*
 * Renames an object (its versions go with it), or a version of an object, at once.  With
 * COW_RENAME_EXCHANGE two objects, which both exist, swap their names.
 */
int cow_rename(cow_t *cow, const char *from, const char *to, unsigned int flags);

#define COW_REMOVE_VERSIONS 1u

/*
 * Removes an object or a version; its clones stay as they are.  -COW_EBUSY: a handle is open on it,
 * or it is an object with versions and COW_REMOVE_VERSIONS is not given.  With that flag a handle on
 * a version counts too, and the versions go first, one by one: after another failure some of them
 * may be gone.  The space comes back in the background: cow_get_reaping().
 */
int cow_remove(cow_t *cow, const char *spec);
int cow_remove_with(cow_t *cow, const char *spec, unsigned int flags);

#define COW_SET_TTL	 1u /* as ttl_ms says */
#define COW_SET_READONLY 2u
#define COW_SET_WRITABLE 4u
#define COW_SET_REPLACE	 8u  /* labels that are not named go */
#define COW_SET_RESERVED 16u /* as "reserved" says */

/* A change of attributes; all zeros: none. */
struct cow_edit {
	unsigned int flags;		/* COW_SET_* */
	uint64_t ttl_ms;		/* milliseconds from now; at most 100 years; 0: never */
	uint64_t reserved;		/* bytes; 0: none */
	const struct cow_label *labels; /* to be set; one whose value is NULL is taken away */
	size_t nlabels;
	/* what must be there, else nothing changes: -COW_EBUSY; one whose value is NULL must not be */
	const struct cow_label *expect;
	size_t nexpect;
};

/*
 * Changes attributes of an object or a version; what is not named stays.  It is done by the server, at
 * once, so that changes by several clients follow each other, and is durable when the call returns.
 * *info, if not NULL, is filled in with what it is then, and to be cleared with cow_info_clear().
 *
 * An object that is read-only refuses what would change its content or size, with -COW_EPERM, on
 * handles that are open too; what was written before is durable.  It can be renamed, cloned and
 * removed.  A version is read-only, and cannot be made anything else: -COW_EPERM.
 *
 * What has expired and is still there because it is open can be given another time to live.
 */
int cow_set(cow_t *cow, const char *spec, const struct cow_edit *edit, struct cow_info *info);

/* One of them alone.  To take away a label that is not there changes nothing. */
int cow_set_label(cow_t *cow, const char *spec, const char *key, const char *value);
int cow_unset_label(cow_t *cow, const char *spec, const char *key);
int cow_set_ttl(cow_t *cow, const char *spec, uint64_t ttl_ms);
int cow_set_readonly(cow_t *cow, const char *spec, int readonly);

/*
 * Reserves space for an object, in whole blocks of 4 KiB: its writes find it until the object has so much
 * of its own, whatever others write; and if it is not larger than that, whenever it is written over.  What
 * is withheld from the others is in cow_info and in cow_statfs.  -COW_ENOSPC: there is not as much, and
 * nothing has changed; so it may be with calls that have others share what the object has, such as
 * cow_clone() of it.  A clone or version reserves nothing itself, and of a version that is -COW_EPERM.
 *
 * What has become the object's own again, since others let go of it, is counted when this is called, also
 * with the same number; until then more may be withheld than it needs.  That may take as long as
 * cow_get_usage().
 */
int cow_set_reserved(cow_t *cow, const char *spec, uint64_t bytes);

int cow_get_info(cow_t *cow, const char *spec, struct cow_info *info);

/* Frees what a filled cow_info owns. */
void cow_info_clear(struct cow_info *info);

/*
 * Lists: *infos is an array of *count, to be freed with cow_list_free(); on failure nothing is
 * allocated.  What comes or goes meanwhile may or may not be in it.
 *
 * cow_list(): the objects whose names begin with prefix ("" or NULL: all), sorted by bytes.
 * cow_list_labelled(): of these, those with the label ("key" or "key=value"; "" or NULL: all).
 * cow_list_versions(): the versions of an object, sorted by bytes.
 * cow_list_children(): the objects that were cloned from exactly this object or version, sorted by
 * id; clones of the versions of an object are not among its own.
 */
int cow_list(cow_t *cow, const char *prefix, struct cow_info **infos, size_t *count);
int cow_list_labelled(cow_t *cow, const char *prefix, const char *label, struct cow_info **infos,
		      size_t *count);
int cow_list_versions(cow_t *cow, const char *name, struct cow_info **infos, size_t *count);
int cow_list_children(cow_t *cow, const char *spec, struct cow_info **infos, size_t *count);
void cow_list_free(struct cow_info *infos, size_t count);

int cow_get_statfs(cow_t *cow, struct cow_statfs *st);

#define COW_USAGE_MAX 4096

/*
 * What objects and versions, 1 to COW_USAGE_MAX of them, use together, as of one moment.  Their names,
 * with two bytes more for each, have at most 65534 bytes; else -COW_EINVAL.  One that is named twice
 * counts once; the versions of an object count only where they are named.  The server reads the
 * metadata of all of them: large ones may need a longer timeout.  -COW_EBUSY: too much was written
 * meanwhile.
 */
int cow_get_usage(cow_t *cow, const char *const *specs, size_t count, struct cow_usage *usage);

/*
 * The bytes of removed data that are not yet reusable (what others share of it counts too), and
 * asks the server to hurry.  When it is 0, the space of all that had been removed before is free.
 */
int cow_get_reaping(cow_t *cow, uint64_t *bytes);

/*
 * Has the server compute from scratch what its metadata should be, and compare; other requests go
 * on.  *report is to be cleared with cow_report_clear().  Differences are no failure of the call.
 * It may take long: set a timeout for it.  -COW_EBUSY: another one is under way, or too much was
 * written meanwhile.
 */
int cow_check(cow_t *cow, struct cow_report *report);
void cow_report_clear(struct cow_report *report);

enum {
	COW_NBD_TLS_OFF = 0,	 /* NBD is served without TLS only */
	COW_NBD_TLS_ON = 1,	 /* with and without */
	COW_NBD_TLS_REQUIRE = 2, /* with TLS only */
};

/* What the server is, and where it can be reached. */
struct cow_service {
	char agent[64]; /* its name and version */
	uint64_t incarnation;
	uint64_t uptime_ms; /* since it began to serve */
	unsigned int nbd_tls;
	const char **addrs; /* where it listens; see cow_service_clear() */
	size_t naddrs;
};

/*
 * Asks the server what it is and where it listens: "unix:PATH", "tcp:HOST:PORT", "tls:HOST:PORT", and for
 * NBD "nbd+unix:PATH", "nbd+tcp:HOST:PORT".  *service is to be cleared with cow_service_clear().
 */
int cow_get_service(cow_t *cow, struct cow_service *service);
void cow_service_clear(struct cow_service *service);

#define COW_OPEN_READONLY 1u
#define COW_OPEN_DIRECT	  2u /* each read and write of the handle is COW_IO_DIRECT */
#define COW_OPEN_FIXED	  4u /* writes by the handle do not make the object longer: -COW_ENOSPC */

/*
 * Opens an object, or for reading only a version; *obj is to be closed with cow_close().  It stays
 * with its object when that is renamed.
 */
int cow_open(cow_t *cow, const char *spec, unsigned int flags, cow_object_t **obj);

/*
 * Closes it.  -COW_EIO: writeback of data written through some handle failed since this one was
 * opened or last told; -COW_ERESTARTED: see cow_set_reconnect(); -COW_ECONN: the connection was lost,
 * and there may be data that was not fsynced.  The object is closed all the same.
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

#define COW_IO_DIRECT 1u

/*
 * The same with flags.  COW_IO_DIRECT: past the server's cache, for data that it would keep in vain.
 * What is read is not kept, nor read ahead.  What is written in whole blocks of 4 KiB, at multiples of
 * that, is on the server's device when the call returns, not durable before cow_fsync(), and not kept
 * then; blocks that are covered in part are written as without the flag.  The bytes are the same on
 * every handle, whatever its flags.
 */
ssize_t cow_pread_with(cow_object_t *obj, void *buf, size_t len, uint64_t offset,
		       unsigned int flags);
ssize_t cow_pwrite_with(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
			unsigned int flags);

/* Makes everything durable that any client was told was written to this object before the call. */
int cow_fsync(cow_object_t *obj);

/* A piece of an object, and where its bytes are or go. */
struct cow_range {
	uint64_t offset;
	void *buf; /* a write only reads it */
	size_t len;
};

#define COW_RANGES_MAX 1024 /* of one call */

/*
 * Reads or writes several ranges in one request: at most COW_RANGES_MAX, and 32 MiB together, if the
 * server takes as much (else -COW_EINVAL).
 *
 * cow_readv() reads all of them as they are at one moment, in any order, and returns the bytes of
 * all; got, unless NULL, gets those of each: fewer than its len only at the end of the object.
 *
 * cow_writev() writes all of them or none, for every reader and under a crash.  They ascend and do
 * not overlap, and touch at most 8192 blocks of 4 KiB, in at most 768 aligned pieces of 128 KiB
 * (-COW_ELIMIT; of a single range there is no such limit).
 *
 * if_generation, unless NULL: only if that is still the object's (cow_get_info()), else
 * -COW_ECHANGED, and nothing has been done.  generation, unless NULL, gets that which the object has
 * by this write.  cow_write_if() is that for one range.
 */
ssize_t cow_readv(cow_object_t *obj, const struct cow_range *ranges, size_t count, size_t *got);
int cow_writev(cow_object_t *obj, const struct cow_range *ranges, size_t count,
	       const uint64_t *if_generation, uint64_t *generation);
int cow_write_if(cow_object_t *obj, const void *buf, size_t len, uint64_t offset,
		 uint64_t if_generation, uint64_t *generation);

/*
 * cow_fsync() only if if_generation, unless NULL, is the object's when the server begins: else
 * -COW_ECHANGED, and nothing is made durable by it.  generation, unless NULL, gets that up to which
 * all is durable.
 */
int cow_fsync_if(cow_object_t *obj, const uint64_t *if_generation, uint64_t *generation);

/* What cow_write_all() writes to one object. */
struct cow_write {
	cow_object_t *obj;
	const struct cow_range *ranges; /* ascending, not overlapping */
	size_t count;			/* of these: 1 or more */
	const uint64_t *if_generation;	/* NULL, or as of cow_writev() */
	uint64_t generation;		/* gets that of the object with this write */
};

#define COW_WRITES_MAX 512 /* objects of one call */

/*
 * Writes to several objects, open on one connection and each named once, in one request: all of it or
 * nothing, for every reader and under a crash; with COW_RANGES_MAX ranges at most in all, and with the
 * limits of cow_writev() for all of them together.  -COW_ECHANGED: the generation of one of them is not
 * as expected, and nothing has been done to any.  Where cow_fsync() of one of them has returned 0, all
 * of it is durable.
 */
int cow_write_all(struct cow_write *writes, size_t count);

/*
 * cow_group_fsync() is cow_fsync() of several objects, open on one connection, at most COW_GROUP_MAX,
 * as one commit: what was written to them since is durable on all of them or on none, at any moment.
 *
 * cow_group_tie() keeps them so as long as they are open here: whatever is acknowledged on any of them
 * is committed in that order, so that after a crash, fsync or not, nothing is there without all that
 * was acknowledged on any of them before.  Objects that were tied before bring those that they are tied
 * to; one that is closed leaves the others.  Tied objects fail together.  The group ends with its
 * connection: the objects are not opened again, but answer -COW_ECONN and are to be closed.
 */
int cow_group_fsync(cow_object_t *const *objs, size_t count);
int cow_group_tie(cow_object_t *const *objs, size_t count);

#define COW_RESIZE_SHRINK 1u

/* Sets the size; -COW_EINVAL when it would shrink and COW_RESIZE_SHRINK is not given. */
int cow_resize(cow_object_t *obj, uint64_t size, unsigned int flags);

/*
 * cow_zero() makes the bytes from offset on zeros, and cow_trim() the blocks of 4 KiB that lie in the
 * range as a whole; both as far as the object goes, whose size stays (so its last block may be cut
 * short).  Blocks that are covered as a whole become holes and give their space back.  Like a write
 * it is one operation, atomic under a crash, and not durable before cow_fsync().
 */
int cow_zero(cow_object_t *obj, uint64_t offset, uint64_t len);
int cow_trim(cow_object_t *obj, uint64_t offset, uint64_t len);

/*
 * A range clone, as Linux FICLONERANGE: len bytes of dst from dst_offset on become those of src from
 * src_offset on; 0: to the end of src.  Whole blocks are shared and take no space.  Both objects are
 * open on one connection, and may be one: then the ranges do not overlap.  The offsets differ by a
 * multiple of 4096.  A range within src, else -COW_EINVAL.  It is durable when it returns.  Up to
 * 16 MiB, or where the offsets differ by a multiple of 512 KiB 2 GiB, and so on, it is one request,
 * atomic under a crash; more is split, and then a part of it may be done after an error.
 */
int cow_clone_range(cow_object_t *src, uint64_t src_offset, uint64_t len, cow_object_t *dst,
		    uint64_t dst_offset);

/*
 * As Linux FALLOC_FL_UNSHARE_RANGE: data of the range, as far as the object goes, that others share gets
 * a place of its own, in whole blocks, so that later writes there free what they replace and no other
 * object keeps it.  What the object contains stays, and so do its generation and times.  It takes space:
 * -COW_ENOSPC.  Long ranges take many requests, and after an error a part is done: *copied, unless
 * copied is NULL, are the bytes that were copied, also after an error.  Durable after cow_fsync().
 */
int cow_unshare(cow_object_t *obj, uint64_t offset, uint64_t len, uint64_t *copied);

/*
 * Where data and holes are, from offset on, consecutive; data not yet durable counts as data.
 * Fills up to max entries (at least 1) and returns how many; 0 at or past the end.  What is not
 * covered by the entries is asked for with another call.
 */
ssize_t cow_get_extents(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
			size_t max);

/*
 * The same with all that is known: entries have their flags and where they are, and end where any of
 * that changes.  Data that is neither shared nor dirty is the object's own: it would give its space back.
 * What was removed counts as mapped until its space is free.  Each call tells of one moment.
 */
ssize_t cow_map(cow_object_t *obj, uint64_t offset, uint64_t len, struct cow_extent *ext,
		size_t max);

/*
 * The first byte at offset or behind it that is in data, or in a hole, as by lseek(2) with SEEK_DATA
 * and SEEK_HOLE: the end of the object counts as a hole.  -COW_ENOENT: offset is not within the
 * object, or only a hole follows.
 */
int64_t cow_seek_data(cow_object_t *obj, uint64_t offset);
int64_t cow_seek_hole(cow_object_t *obj, uint64_t offset);

/* The two that cow_diff() has compared, as it found them. */
struct cow_diff {
	uint64_t size;
	uint64_t older_size; /* 0 where there is no older one */
	uint64_t nodes;	     /* of the server's metadata that were read */
};

/*
 * Where an object or version differs from that with the id "older" (struct cow_info), which may be any
 * other of the store, or 0: from nothing.  Entries are consecutive from offset on: COW_EXTENT_SAME, or
 * what the object has there, COW_EXTENT_DATA or COW_EXTENT_HOLE, that the older one has not.  Up to max
 * (at least 1) are filled in; returns how many; 0 at or past the object's end.  It may end early; what
 * is not covered is asked for with another call.  *diff may be NULL.
 *
 * It takes time in proportion to the difference, and compares where data is, not the data: what is not
 * SAME may still be alike.  What was written to either before the call counts in.  Versions stay as they
 * are; of objects that are written between calls each call sees another moment.  -COW_ENOENT: there is
 * no such older one.
 */
ssize_t cow_diff(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len,
		 struct cow_extent *ext, size_t max, struct cow_diff *diff);

/* Of cow_verify(): why data is lost. */
enum {
	COW_DAMAGE_CHECKSUM = 1, /* what the device has does not fit its checksum */
	COW_DAMAGE_READ = 2,	 /* the device cannot read it */
	COW_DAMAGE_METADATA = 3, /* the metadata that tells where it is is damaged */
};

/* A damage: whole blocks of an object. */
struct cow_damage {
	uint64_t offset;
	uint64_t len;
	uint64_t physical; /* its offset on the device; 0: COW_DAMAGE_METADATA */
	int kind;
};

/* How far cow_verify() came. */
struct cow_verified {
	uint64_t len;	  /* bytes of the range that are done */
	uint64_t left;	  /* bytes of it, within the object, that are not */
	uint64_t read;	  /* bytes that were read from the device, in whole blocks */
	uint64_t pending; /* bytes in the journal only, which the device is still to get */
};

/*
 * Has the server read from its device what the object has in a range, past its cache, and compare it with
 * the checksums: a damage is found before anybody needs the data.  Fills up to max (at least 1) damages, in
 * ascending order, and returns how many; 0: all is well as far as it came.  A call does one piece, of at
 * most 1 MiB of data: while verified->left is more than 0 the next one begins at offset + verified->len.
 * Nothing is held between calls, and a program that ends has ended it.
 *
 * What is not yet durable is not looked at.  Of an object that is written meanwhile each call sees another
 * moment, and what is replaced while it is read is no damage.  What the object or version with the id
 * "older" has in the same place is left out (0: nothing is): for copies of what was verified before, if that
 * is not reset nor cloned into meanwhile.  rate: bytes a second at most, by all calls on this obj together,
 * at least 4096 (else -COW_EINVAL), or 0; the server may have a limit of its own.
 */
ssize_t cow_verify(cow_object_t *obj, uint64_t older, uint64_t offset, uint64_t len, uint64_t rate,
		   struct cow_damage *damages, size_t max, struct cow_verified *verified);

#ifdef __cplusplus
}
#endif

#include "cow_aio.h"

#endif
