/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * msg.h: the bodies of requests and replies, as structs.
 *
 * Encoders write into a caller's buffer and return the length, or -ERR_LIMIT where it is too small.
 * Decoders take exactly the body (anything left over is an error) and return 0 or -ERR_FRAME_BODY;
 * every string and count is bounded before it is used.  Pure; any thread.
 *
 * A reply whose status is not 0 has a msg_error body, whatever the operation.
 */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "common/label.h"
#include "common/name.h"
#include "proto/wire.h"

#define MSG_NAME_BYTES	(NAME_MAX_BYTES + 1)
#define MSG_AGENT_BYTES 64
#define MSG_LABEL_BYTES (LABEL_MAX_BYTES + 1)

/* The longest time to live, in milliseconds: 100 years. */
#define MSG_TTL_MAX_MS UINT64_C(3155760000000)

/*
 * Labels as common/label.h has them.  A decoder sees to it that every string ends within len and
 * that none is empty; what is in them is the caller's to judge.
 */
struct msg_labels {
	uint16_t len;
	char bytes[LABELS_MAX_BYTES];
};

struct msg_hello {
	uint32_t version_min;
	uint32_t version_max;
	uint64_t features;
	char agent[MSG_AGENT_BYTES]; /* the program, for the log */
};

struct msg_hello_reply {
	uint32_t version;
	uint32_t block_bytes;
	uint64_t features;
	uint32_t body_max;
	uint32_t payload_max;
	uint32_t inflight_max;
	uint64_t incarnation; /* grows at every start of the server on this store */
	uint8_t store_uuid[16];
	char agent[MSG_AGENT_BYTES];
};

struct msg_error {
	char text[WIRE_TEXT_MAX];
};

#define MSG_INFO_READONLY 1u /* its content does not change; set for every version */

/* What the server says of an object or a version.  Times are nanoseconds since the epoch. */
struct msg_info {
	char name[MSG_NAME_BYTES]; /* of a version "name@version" */
	uint64_t id;
	uint64_t size_bytes;
	uint64_t mapped_bytes; /* durable bytes the object maps, shared or not */
	uint64_t generation;   /* grows with every change of the content */
	uint64_t ctime_ns;
	uint64_t mtime_ns;
	uint64_t origin;     /* id of what it was cloned from, 0 if none */
	uint64_t parent;     /* of a version: id of its object; else 0 */
	uint64_t expires_ns; /* 0: never */
	uint64_t reserved_bytes;
	uint64_t withheld_bytes; /* of these, what it does not have yet */
	uint32_t nversions;
	uint32_t flags; /* MSG_INFO_* */
	struct msg_labels labels;
};

struct msg_name { /* INFO, RESET */
	char name[MSG_NAME_BYTES];
};

struct msg_create {
	char name[MSG_NAME_BYTES];
	uint64_t size_bytes;
	uint64_t ttl_ms; /* at most MSG_TTL_MAX_MS; 0: none */
	uint64_t reserved_bytes;
	struct msg_labels labels;
};

#define MSG_OPEN_READONLY 1u
#define MSG_OPEN_DIRECT	  2u /* each READ and WRITE of the handle is MSG_IO_DIRECT */
#define MSG_OPEN_FIXED	  4u /* writes by the handle do not make the object longer */

struct msg_open {
	char name[MSG_NAME_BYTES];
	uint32_t flags;
};

struct msg_open_reply {
	uint32_t handle;
	struct msg_info info;
};

struct msg_handle { /* CLOSE, FSYNC */
	uint32_t handle;
};

/* The most handles, or pairs of names, of one request. */
#define MSG_GROUP_MAX 128u

struct msg_handles {	/* TIE, FSYNC_ALL */
	uint32_t count; /* on the wire a u16; at least 1 */
	struct msg_handle handles[MSG_GROUP_MAX];
};

struct msg_list {
	char prefix[MSG_NAME_BYTES]; /* "" for all */
	char after[MSG_NAME_BYTES];  /* names greater than this only; "" to start */
	char label[MSG_LABEL_BYTES]; /* objects with this "key" or "key=value" only; "" for all */
	uint32_t max;		     /* at most so many; 0: as many as fit */
};

/* A list reply (LIST, VERSIONS, CHILDREN) is: u32 count, u8 more, then count infos. */
#define MSG_LIST_HEAD_BYTES 5u

struct msg_clone {
	char src[MSG_NAME_BYTES];
	char dst[MSG_NAME_BYTES];
	uint64_t ttl_ms; /* as of msg_create */
	struct msg_labels labels;
};

/* The head of a CLONE_ALL; the pairs are beside it. */
struct msg_clone_all {
	uint64_t ttl_ms; /* as of msg_create */
	struct msg_labels labels;
	uint16_t count; /* of pairs: 1 to MSG_GROUP_MAX */
};

struct msg_pair {
	const char *src;
	const char *dst;
};

struct msg_snap {
	char name[MSG_NAME_BYTES];
	uint64_t ttl_ms; /* as of msg_create */
	struct msg_labels labels;
};

#define MSG_REMOVE_VERSIONS 1u /* without it an object with versions is -ERR_HAS_VERSIONS */

struct msg_remove {
	char name[MSG_NAME_BYTES];
	uint32_t flags;
};

struct msg_versions {
	char name[MSG_NAME_BYTES];
	char after[MSG_NAME_BYTES]; /* versions called greater than this only; "" to start */
	uint32_t max;		    /* at most so many; 0: as many as fit */
};

struct msg_children {
	char name[MSG_NAME_BYTES];
	uint64_t after; /* ids greater than this only; 0 to start */
	uint32_t max;	/* at most so many; 0: as many as fit */
};

#define MSG_RENAME_EXCHANGE 1u

struct msg_rename {
	char from[MSG_NAME_BYTES];
	char to[MSG_NAME_BYTES];
	uint32_t flags;
};

#define MSG_SET_TTL	 1u /* as ttl_ms says */
#define MSG_SET_READONLY 2u
#define MSG_SET_WRITABLE 4u  /* not with MSG_SET_READONLY */
#define MSG_SET_REPLACE	 8u  /* labels that are not in "edits" go */
#define MSG_SET_RESERVED 16u /* as reserved_bytes says */

struct msg_set {
	char name[MSG_NAME_BYTES];
	uint32_t flags;
	uint64_t ttl_ms;	  /* as of msg_create; 0 without MSG_SET_TTL */
	uint64_t reserved_bytes;  /* 0 without MSG_SET_RESERVED */
	struct msg_labels edits;  /* "key=value" is set, "key" goes */
	struct msg_labels expect; /* "key=value" must be there, "key" must not */
};

#define MSG_IO_DIRECT 1u /* past the server's cache */

struct msg_read {
	uint32_t handle;
	uint32_t flags;
	uint64_t offset;
	uint32_t len; /* at most WIRE_PAYLOAD_MAX */
};

struct msg_write { /* the payload is the data */
	uint32_t handle;
	uint32_t flags;
	uint64_t offset;
};

struct msg_range {
	uint64_t offset;
	uint32_t len;
};

#define MSG_RANGE_BYTES 12u

struct msg_readv { /* of all ranges together at most WIRE_PAYLOAD_MAX */
	uint32_t handle;
	uint32_t count; /* 1 to WIRE_RANGES_MAX; its encoding is that of an array */
	struct msg_range ranges[WIRE_RANGES_MAX];
};

struct msg_readv_reply { /* the payload is the data of all ranges, one after the other */
	uint32_t count;	 /* as in the request */
	uint32_t lens[WIRE_RANGES_MAX];
};

#define MSG_IF_GENERATION 1u /* only if the object's generation is this one; else it is 0 */

struct msg_writev { /* likewise; the payload is the data */
	uint32_t handle;
	uint32_t flags;
	uint64_t generation;
	uint32_t count;
	struct msg_range ranges[WIRE_RANGES_MAX];
};

/* The longest encoding of these three. */
#define MSG_RANGES_BYTES_MAX (20u + WIRE_RANGES_MAX * MSG_RANGE_BYTES)

struct msg_fsync_if {
	uint32_t handle;
	uint32_t flags; /* MSG_IF_GENERATION */
	uint64_t generation;
};

struct msg_generation { /* answers WRITEV and FSYNC_IF */
	uint64_t generation;
};

/* A range of one of the objects of a WRITE_ALL. */
struct msg_object_range {
	uint32_t handle;
	uint32_t flags; /* MSG_IF_GENERATION: only the first range of an object has it */
	uint64_t generation;
	uint64_t offset;
	uint32_t len;
};

#define MSG_OBJECT_RANGE_BYTES 28u

struct msg_write_all {	/* the payload is the data, as of msg_writev */
	uint32_t count; /* 1 to WIRE_RANGES_MAX */
	struct msg_object_range ranges[WIRE_RANGES_MAX];
};

#define MSG_WRITE_ALL_BYTES_MAX (4u + WIRE_RANGES_MAX * MSG_OBJECT_RANGE_BYTES)

#define MSG_PARTS_MAX 512u /* objects of one WRITE_ALL */

struct msg_generations { /* answers it: of each object, in the order of the ranges */
	uint32_t count;
	uint64_t generations[MSG_PARTS_MAX];
};

#define MSG_RESIZE_SHRINK 1u /* without it a smaller size is -ERR_SHRINK */

struct msg_resize {
	uint32_t handle;
	uint32_t flags;
	uint64_t size_bytes;
};

#define MSG_ZERO_WHOLE 1u /* a block that is covered in part stays as it is */

struct msg_zero {
	uint32_t handle;
	uint32_t flags;
	uint64_t offset;
	uint64_t len;
};

struct msg_clone_range {
	uint32_t src; /* handles */
	uint32_t dst;
	uint64_t src_offset;
	uint64_t dst_offset;
	uint64_t len; /* 0: to the end of src */
};

struct msg_clone_range_reply {
	uint64_t len;  /* bytes that were cloned */
	uint64_t left; /* bytes that are to be asked for again */
};

struct msg_unshare {
	uint32_t handle;
	uint64_t offset;
	uint64_t len;
};

struct msg_unshare_reply {
	uint64_t len;	 /* bytes of the range that are done */
	uint64_t left;	 /* bytes that are to be asked for again */
	uint64_t copied; /* bytes that were shared, and are not any more */
};

#define MSG_VERIFY_RATE_MIN 4096u /* bytes a second */

struct msg_verify {
	uint32_t handle;
	uint32_t max; /* at most so many damages; 0: as many as a reply has */
	uint64_t offset;
	uint64_t len;
	uint64_t older; /* what is in the same place as with this id is left out; 0: nothing is */
	uint64_t rate;	/* bytes a second, at least MSG_VERIFY_RATE_MIN, or 0: no limit */
};

#define MSG_DAMAGE_CHECKSUM 1u /* the data does not fit its checksum */
#define MSG_DAMAGE_READ	    2u /* the device cannot read it */
#define MSG_DAMAGE_METADATA 3u /* what tells where it is is damaged */

/* Whole blocks that are damaged, in one piece. */
struct msg_damage {
	uint64_t offset;
	uint64_t len;
	uint64_t physical; /* its offset on the device; 0: MSG_DAMAGE_METADATA */
	uint32_t kind;
};

#define MSG_VERIFY_MAX	 256u
#define MSG_DAMAGE_BYTES 28u

struct msg_verify_reply {
	uint64_t len;	  /* bytes of the range that are done */
	uint64_t left;	  /* bytes that are to be asked for again */
	uint64_t read;	  /* bytes that were read, in whole blocks */
	uint64_t pending; /* bytes that the device is still to get, in whole blocks */
	uint32_t count;
	struct msg_damage damages[MSG_VERIFY_MAX]; /* in ascending order */
};

#define MSG_EXTENTS_DETAILS 1u /* entries end where anything changes, and have all that is known */

struct msg_extents {
	uint32_t handle;
	uint32_t flags;
	uint64_t offset;
	uint64_t len;
	uint32_t max; /* at most so many entries; 0: as many as fit */
};

#define MSG_EXTENT_HOLE 0u /* reads as zeros and takes no space */
#define MSG_EXTENT_DATA 1u
#define MSG_EXTENT_ZERO 2u /* a hole that is not committed yet; only in details */

#define MSG_EXTENT_SHARED 1u /* data that others map too */
#define MSG_EXTENT_DIRTY  2u /* data or zero that is not committed yet; not with MSG_EXTENT_SHARED */

/* Consecutive ranges from the asked offset on; they may end before the asked length (ask again). */
struct msg_extent {
	uint64_t len;
	uint64_t
	    physical; /* of data that is committed, in details: its offset on the device; else 0 */
	uint16_t kind;
	uint16_t flags; /* 0 without details */
};

#define MSG_EXTENT_BYTES 20u

struct msg_diff {
	uint32_t handle;
	uint64_t older; /* id of what it is compared with; 0: nothing */
	uint64_t offset;
	uint64_t len;
	uint32_t max; /* at most so many entries; 0: as many as fit */
};

#define MSG_DIFF_HOLE 0u /* a hole, where the older one has data */
#define MSG_DIFF_DATA 1u
#define MSG_DIFF_SAME 3u /* mapped as in the older one */

struct msg_diff_run {
	uint64_t len;
	uint32_t kind;
};

#define MSG_DIFF_RUN_BYTES 12u

/* What a difference's entries follow. */
struct msg_diff_reply {
	uint32_t count;
	uint32_t nodes; /* of the map that were read */
	uint64_t size_bytes;
	uint64_t older_bytes; /* size of the older one */
};

struct msg_statfs_reply {
	uint64_t block_bytes;
	uint64_t total_bytes;	 /* data area */
	uint64_t free_bytes;	 /* not used by any object, not reserved, not withheld */
	uint64_t reserved_bytes; /* promised to data in memory */
	uint64_t mapped_bytes;	 /* the sum over all objects and versions */
	uint64_t meta_total_bytes;
	uint64_t meta_used_bytes;
	uint64_t objects; /* versions not counted */
	uint64_t versions;
	uint64_t reaping_bytes; /* of removed data that is not yet reusable */
	uint64_t staged_bytes;	/* memory that holds metadata until the next checkpoint */
	uint64_t journal_bytes;
	uint64_t journal_used_bytes; /* of these, what recovery would read */
	uint64_t withheld_bytes;     /* for objects that have reserved space */
};

struct msg_usage_reply {
	uint64_t mapped_bytes;
	uint64_t exclusive_bytes; /* what would become free if all of them were removed */
};

struct msg_reaping_reply {
	uint64_t reaping_bytes;
};

#define MSG_CHECK_TEXTS_MAX 64u

struct msg_check_reply {
	uint64_t differences;
	uint64_t objects; /* versions included */
	uint64_t nodes;
	uint64_t mapped_bytes;
	uint64_t shared_bytes;
	uint64_t free_bytes;
	uint16_t ntexts;
	struct msg_error texts[MSG_CHECK_TEXTS_MAX]; /* sentences about the first differences */
};

#define MSG_NBD_TLS_OFF	    0u /* NBD is served without TLS only */
#define MSG_NBD_TLS_ON	    1u /* with and without */
#define MSG_NBD_TLS_REQUIRE 2u /* with TLS only */

#define MSG_ADDRS_MAX  32u
#define MSG_ADDR_BYTES 256u

struct msg_addr {
	char text[MSG_ADDR_BYTES]; /* "unix:PATH", "nbd+tcp:HOST:PORT"... */
};

struct msg_server_reply {
	uint64_t incarnation; /* as of msg_hello_reply */
	uint64_t uptime_ms;
	uint32_t nbd_tls; /* MSG_NBD_TLS_* */
	char agent[MSG_AGENT_BYTES];
	uint16_t count;
	struct msg_addr addrs[MSG_ADDRS_MAX]; /* where it listens */
};

#define MSG_DECLARE(type)                                                             \
	int type##_encode(uint8_t *buf, size_t len, const struct type *m) MUST_CHECK; \
	int type##_decode(const uint8_t *buf, size_t len, struct type *m) MUST_CHECK

MSG_DECLARE(msg_hello);
MSG_DECLARE(msg_hello_reply);
MSG_DECLARE(msg_error);
MSG_DECLARE(msg_info);
MSG_DECLARE(msg_name);
MSG_DECLARE(msg_create);
MSG_DECLARE(msg_open);
MSG_DECLARE(msg_open_reply);
MSG_DECLARE(msg_handle);
MSG_DECLARE(msg_handles);
MSG_DECLARE(msg_list);
MSG_DECLARE(msg_clone);
MSG_DECLARE(msg_read);
MSG_DECLARE(msg_write);
MSG_DECLARE(msg_resize);
MSG_DECLARE(msg_zero);
MSG_DECLARE(msg_clone_range);
MSG_DECLARE(msg_clone_range_reply);
MSG_DECLARE(msg_unshare);
MSG_DECLARE(msg_unshare_reply);
MSG_DECLARE(msg_verify);
MSG_DECLARE(msg_verify_reply);
MSG_DECLARE(msg_readv);
MSG_DECLARE(msg_readv_reply);
MSG_DECLARE(msg_writev);
MSG_DECLARE(msg_fsync_if);
MSG_DECLARE(msg_generation);
MSG_DECLARE(msg_write_all);
MSG_DECLARE(msg_generations);
MSG_DECLARE(msg_extents);
MSG_DECLARE(msg_diff);
MSG_DECLARE(msg_statfs_reply);
MSG_DECLARE(msg_snap);
MSG_DECLARE(msg_remove);
MSG_DECLARE(msg_versions);
MSG_DECLARE(msg_children);
MSG_DECLARE(msg_rename);
MSG_DECLARE(msg_set);
MSG_DECLARE(msg_usage_reply);
MSG_DECLARE(msg_reaping_reply);
MSG_DECLARE(msg_check_reply);
MSG_DECLARE(msg_server_reply);

#undef MSG_DECLARE

/* CREATE, INFO, CLONE, SNAP, RESET and SET answer with a msg_info.  PING, STATFS, REAPING, CHECK and SERVER
 * ask with an empty body; PING, CLOSE, READ (its payload is what was read), WRITE, FSYNC, RESIZE, ZERO, REMOVE,
 * RENAME, TIE, FSYNC_ALL and CLONE_ALL answer with one. */

/* A list reply, built entry by entry.  "used" starts at MSG_LIST_HEAD_BYTES. */
int msg_list_add(uint8_t *buf, size_t len, size_t *used, const struct msg_info *info) MUST_CHECK;
void msg_list_finish(uint8_t *buf, uint32_t count, bool more);

/*
 * Reads a list reply.  Writes up to max infos, their number and whether there are more on the
 * server; -ERR_FRAME_BODY when malformed or when count > max.
 */
int msg_list_reply_decode(const uint8_t *buf, size_t len, struct msg_info *infos, uint32_t max,
			  uint32_t *count, bool *more) MUST_CHECK;

/* The most entries of one list reply; fewer where names are long. */
#define MSG_LIST_MAX 512u

/*
 * A usage request is: u16 count, then count specs.  The decoder writes these into "names", which has
 * as many bytes as the request, where they are into "specs", and their number; -ERR_FRAME_BODY when
 * malformed, when there are none, or more than max.
 */
int msg_usage_encode(uint8_t *buf, size_t len, const char *const *specs, uint32_t count) MUST_CHECK;
int msg_usage_decode(const uint8_t *buf, size_t len, char *names, const char **specs, uint32_t max,
		     uint32_t *count) MUST_CHECK;

/* The most specs of one usage request; fewer where they are long. */
#define MSG_USAGE_MAX 4096u

/*
 * A clone_all request is its head, then count pairs.  The decoder writes their names into "names",
 * which has as many bytes as the request, and where they are into "pairs", which has room for
 * MSG_GROUP_MAX.
 */
int msg_clone_all_encode(uint8_t *buf, size_t len, const struct msg_clone_all *m,
			 const struct msg_pair *pairs) MUST_CHECK;
int msg_clone_all_decode(const uint8_t *buf, size_t len, struct msg_clone_all *m, char *names,
			 struct msg_pair *pairs) MUST_CHECK;

/* An extents reply is: u32 count, then count msg_extents. */
int msg_extents_reply_encode(uint8_t *buf, size_t len, const struct msg_extent *ext,
			     uint32_t count) MUST_CHECK;
int msg_extents_reply_decode(const uint8_t *buf, size_t len, struct msg_extent *ext, uint32_t max,
			     uint32_t *count) MUST_CHECK;

#define MSG_EXTENTS_MAX ((WIRE_BODY_MAX - 4u) / MSG_EXTENT_BYTES)

/* A diff reply is: a msg_diff_reply, then as many msg_diff_runs as its count says. */
int msg_diff_reply_encode(uint8_t *buf, size_t len, const struct msg_diff_reply *m,
			  const struct msg_diff_run *runs) MUST_CHECK;
int msg_diff_reply_decode(const uint8_t *buf, size_t len, struct msg_diff_reply *m,
			  struct msg_diff_run *runs, uint32_t max) MUST_CHECK;

#define MSG_DIFF_HEAD_BYTES 24u
#define MSG_DIFF_MAX	    ((WIRE_BODY_MAX - MSG_DIFF_HEAD_BYTES) / MSG_DIFF_RUN_BYTES)

#endif
