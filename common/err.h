/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * err.h: every error that the project's own functions return: a specific name, a class, a text.
 *
 * A function returns 0 or a negative error (-ERR_NOENT).  A class is itself an error; the classes
 * are a closed set, and their numbers are stable: they are the status of a reply (docs/protocol.md)
 * and the error codes of libcow.  The other errors are local to one process and may be renumbered.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

/* X(name, stable number, text): the classes.  The numbers are never reused. */
#define ERR_CLASSES(X)                                 \
	X(INVAL, 1, "invalid argument")                \
	X(NOENT, 2, "no such object")                  \
	X(EXIST, 3, "the name exists already")         \
	X(BUSY, 4, "in use")                           \
	X(PERM, 5, "not allowed")                      \
	X(NOSPC, 6, "no space left in the store")      \
	X(IO, 7, "input/output error")                 \
	X(CORRUPT, 8, "integrity error")               \
	X(NOMEM, 9, "out of memory")                   \
	X(PROTO, 10, "protocol error")                 \
	X(NOTSUP, 11, "not supported")                 \
	X(LIMIT, 12, "a limit was reached")            \
	X(TIMEOUT, 13, "timed out")                    \
	X(CONN, 14, "not connected")                   \
	X(SHUTDOWN, 15, "the server is shutting down") \
	X(FORMAT, 16, "not a store of this format")    \
	X(CHANGED, 17, "the object has changed")       \
	X(CANCELED, 18, "canceled")                    \
	X(RESTARTED, 19, "the server restarted: what was not fsynced may be gone")

/* X(name, class, text): the specific errors. */
#define ERR_SPECIFIC(X)                                                                     \
	X(BAD_NAME, INVAL, "invalid object name")                                           \
	X(SAME_NAME, INVAL, "both names are the same")                                      \
	X(TOO_LARGE, INVAL, "beyond the largest object size")                               \
	X(BAD_HANDLE, INVAL, "no such handle")                                              \
	X(SHRINK, INVAL, "would shrink the object")                                         \
	X(RANGE, INVAL, "beyond the end of the source")                                     \
	X(OVERLAP, INVAL, "the two ranges overlap")                                         \
	X(UNALIGNED, INVAL, "the offsets differ by no multiple of the block size")          \
	X(LABELS_LONG, INVAL, "the labels would be longer than 1024 bytes in all")          \
	X(LABELS_OTHER, BUSY, "the labels are not as expected")                             \
	X(READONLY, PERM, "the object is read-only")                                        \
	X(PAYLOAD, INVAL, "the ranges and the payload are not of one length")               \
	X(RANGES, INVAL, "ranges that are empty, overlap or do not ascend")                 \
	X(SCATTERED, LIMIT, "the ranges touch more blocks than one write may")              \
	X(SAME_OBJECT, INVAL, "an object is named in two places or by two handles")         \
	X(NO_PARENT, NOENT, "no such object to be a version of")                            \
	X(NOT_FILE, INVAL, "not a regular file")                                            \
	X(NOSPC_META, NOSPC, "no space left for metadata")                                  \
	X(FIXED_SIZE, NOSPC, "beyond the end, and the size is fixed for this handle")       \
	X(HAS_VERSIONS, BUSY, "the object has versions")                                    \
	X(CHECKING, BUSY, "another check is under way")                                     \
	X(LATE, BUSY,                                                                       \
	  "too much was written meanwhile for an exact answer; try again when less is "     \
	  "written")                                                                        \
	X(USAGES, LIMIT, "too many ask for usage at once; try again later")                 \
	X(PAIRS, LIMIT, "too many clones are asked for at once; try again later")           \
	X(COUNTS, LIMIT, "too many reservations are set at once; try again later")          \
	X(LOCKED, BUSY, "the store is in use")                                              \
	X(SHORT_IO, IO, "device ended early")                                               \
	X(LATCHED, IO, "the store has stopped taking writes")                               \
	X(WRITEBACK, IO, "writeback failed")                                                \
	X(JOURNAL_FULL, IO, "the journal is full and cannot be emptied")                    \
	X(MAP, IO, "map database error")                                                    \
	X(CSUM, CORRUPT, "block checksum mismatch")                                         \
	X(NODE, CORRUPT, "bad metadata value")                                              \
	X(PAGE, CORRUPT, "bad page of metadata")                                            \
	X(JOURNAL, CORRUPT, "bad journal record")                                           \
	X(MAP_OLD, CORRUPT, "the map is an older copy than the data")                       \
	X(DATA_OLD, CORRUPT, "the data is an older copy than the map")                      \
	X(FRAME_MAGIC, PROTO, "bad frame magic")                                            \
	X(FRAME_CRC, PROTO, "frame checksum mismatch")                                      \
	X(FRAME_LEN, PROTO, "frame length out of bounds")                                   \
	X(FRAME_OP, NOTSUP, "unknown operation")                                            \
	X(FRAME_BODY, INVAL, "malformed request")                                           \
	X(FRAME_ID, PROTO, "request id in use")                                             \
	X(FRAME_STATE, PROTO, "not allowed in this state")                                  \
	X(VERSION, NOTSUP, "no common protocol version")                                    \
	X(FORMAT_OTHER, FORMAT, "not made by cowd, or damaged")                             \
	X(FORMAT_VERSION, FORMAT, "made by another version of cowd")                        \
	X(FORMAT_FEATURE, FORMAT, "uses a feature that this version of cowd does not know") \
	X(FORMAT_STORE, FORMAT, "belongs to another store")                                 \
	X(FORMAT_SIZE, FORMAT, "not of the size that it was made with")

#define ERR_CLASS_BASE 100

enum err {
	ERR_OK = 0,
#define X(name, num, text) ERR_##name = num,
	ERR_CLASSES(X)
#undef X
	    ERR_SPECIFIC_BASE = ERR_CLASS_BASE,
#define X(name, class, text) ERR_##name,
	ERR_SPECIFIC(X)
#undef X
	    ERR_END,
};

/* The text of an error; takes it negative or positive.  Static storage; never NULL. */
const char *err_text(int err);

/* The name of an error as written in the table ("NOENT").  Static storage; never NULL. */
const char *err_name(int err);

/* The class of an error, as a positive enum err; 0 for 0.  Unknown numbers are ERR_IO. */
enum err err_class(int err);

/* The nearest error for an errno value, negative. */
int err_from_errno(int errnum);

#endif
