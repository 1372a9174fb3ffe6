/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * codec.h: every wire struct behind one interface, with its fields by name, for tests that treat
 * them all alike: the vectors of protocol.txt and the fuzzer.  Test code only.
 */
#ifndef TESTS_VECTORS_CODEC_H
#define TESTS_VECTORS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

enum codec_kind { CODEC_NUM, CODEC_STR, CODEC_LABELS, CODEC_RAW };

struct codec_field {
	const char *name;
	enum codec_kind kind;
	size_t offset;
	size_t bytes;
};

struct codec_fields {
	const struct codec_field *field;
	size_t n;
};

/* A type of body; "wire_header" is one too. */
struct codec {
	const char *name;
	size_t struct_bytes;
	int (*encode)(uint8_t *buf, size_t len, const void *m);
	int (*decode)(const uint8_t *buf, size_t len, void *m);
	struct codec_fields fields;
	struct codec_fields entries; /* of the array at the struct's offset entry_offset */
	size_t entry_offset;
	size_t entry_bytes;
};

/* What is decoded into where the public functions take several outputs. */
struct codec_list_reply {
	uint32_t count;
	uint8_t more;
	struct msg_info infos[MSG_LIST_MAX];
};

struct codec_extents_reply {
	uint32_t count;
	struct msg_extent extents[MSG_EXTENTS_MAX];
};

struct codec_diff_reply {
	struct msg_diff_reply head;
	struct msg_diff_run runs[MSG_DIFF_MAX];
};

struct codec_pair {
	char src[MSG_NAME_BYTES];
	char dst[MSG_NAME_BYTES];
};

struct codec_clone_all {
	struct msg_clone_all head;
	struct codec_pair pairs[MSG_GROUP_MAX];
};

struct codec_usage {
	uint32_t count;
	struct msg_name specs[MSG_USAGE_MAX];
};

extern const struct codec codecs[];
extern const size_t ncodecs;

/* NULL: none of this name. */
const struct codec *codec_find(const char *name);

/* Sets the field of m that "key" names ("size_bytes", "2.len"); false: no such field or value. */
bool codec_set(const struct codec *codec, void *m, const char *key, const char *value);

/* Whether that field of m has that value. */
bool codec_has(const struct codec *codec, const void *m, const char *key, const char *value);

#endif
