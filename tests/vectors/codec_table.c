/* SPDX-License-Identifier: BSD-2-Clause */
/* codec_table.c: the table of all types, with their fields. */
#include "tests/vectors/codec.h"

#include <stdlib.h>
#include <string.h>

#include "common/annot.h"
#include "common/err.h"

#define F(type, member, kind)                                         \
	{                                                             \
#member, CODEC_##kind, offsetof(struct type, member), \
		    sizeof(((struct type *)NULL)->member)             \
	}

static const struct codec_field fields_wire_header[] = {
    F(wire_header, magic, NUM),	      F(wire_header, op, NUM),
    F(wire_header, flags, NUM),	      F(wire_header, id, NUM),
    F(wire_header, status, NUM),      F(wire_header, body_len, NUM),
    F(wire_header, payload_len, NUM), F(wire_header, body_crc, NUM),
    F(wire_header, payload_crc, NUM),
};

static const struct codec_field fields_msg_hello[] = {
    F(msg_hello, version_min, NUM),
    F(msg_hello, version_max, NUM),
    F(msg_hello, features, NUM),
    F(msg_hello, agent, STR),
};

static const struct codec_field fields_msg_hello_reply[] = {
    F(msg_hello_reply, version, NUM),	  F(msg_hello_reply, block_bytes, NUM),
    F(msg_hello_reply, features, NUM),	  F(msg_hello_reply, body_max, NUM),
    F(msg_hello_reply, payload_max, NUM), F(msg_hello_reply, inflight_max, NUM),
    F(msg_hello_reply, incarnation, NUM), F(msg_hello_reply, store_uuid, RAW),
    F(msg_hello_reply, agent, STR),
};

static const struct codec_field fields_msg_error[] = {F(msg_error, text, STR)};

static const struct codec_field fields_msg_info[] = {
    F(msg_info, name, STR),	      F(msg_info, id, NUM),
    F(msg_info, size_bytes, NUM),     F(msg_info, mapped_bytes, NUM),
    F(msg_info, generation, NUM),     F(msg_info, ctime_ns, NUM),
    F(msg_info, mtime_ns, NUM),	      F(msg_info, origin, NUM),
    F(msg_info, parent, NUM),	      F(msg_info, expires_ns, NUM),
    F(msg_info, reserved_bytes, NUM), F(msg_info, withheld_bytes, NUM),
    F(msg_info, nversions, NUM),      F(msg_info, flags, NUM),
    F(msg_info, labels, LABELS),
};

static const struct codec_field fields_msg_name[] = {F(msg_name, name, STR)};

static const struct codec_field fields_msg_create[] = {
    F(msg_create, name, STR),		F(msg_create, size_bytes, NUM), F(msg_create, ttl_ms, NUM),
    F(msg_create, reserved_bytes, NUM), F(msg_create, labels, LABELS),
};

static const struct codec_field fields_msg_open[] = {
    F(msg_open, name, STR),
    F(msg_open, flags, NUM),
};

static const struct codec_field fields_msg_open_reply[] = {
    F(msg_open_reply, handle, NUM),
    F(msg_open_reply, info.name, STR),
    F(msg_open_reply, info.id, NUM),
    F(msg_open_reply, info.size_bytes, NUM),
    F(msg_open_reply, info.mapped_bytes, NUM),
    F(msg_open_reply, info.generation, NUM),
    F(msg_open_reply, info.ctime_ns, NUM),
    F(msg_open_reply, info.mtime_ns, NUM),
    F(msg_open_reply, info.origin, NUM),
    F(msg_open_reply, info.parent, NUM),
    F(msg_open_reply, info.expires_ns, NUM),
    F(msg_open_reply, info.reserved_bytes, NUM),
    F(msg_open_reply, info.withheld_bytes, NUM),
    F(msg_open_reply, info.nversions, NUM),
    F(msg_open_reply, info.flags, NUM),
    F(msg_open_reply, info.labels, LABELS),
};

static const struct codec_field fields_msg_handle[] = {F(msg_handle, handle, NUM)};

static const struct codec_field fields_msg_list[] = {
    F(msg_list, prefix, STR),
    F(msg_list, after, STR),
    F(msg_list, label, STR),
    F(msg_list, max, NUM),
};

static const struct codec_field fields_codec_list_reply[] = {
    F(codec_list_reply, count, NUM),
    F(codec_list_reply, more, NUM),
};

static const struct codec_field fields_msg_clone[] = {
    F(msg_clone, src, STR),
    F(msg_clone, dst, STR),
    F(msg_clone, ttl_ms, NUM),
    F(msg_clone, labels, LABELS),
};

static const struct codec_field fields_msg_snap[] = {
    F(msg_snap, name, STR),
    F(msg_snap, ttl_ms, NUM),
    F(msg_snap, labels, LABELS),
};

static const struct codec_field fields_msg_remove[] = {
    F(msg_remove, name, STR),
    F(msg_remove, flags, NUM),
};

static const struct codec_field fields_msg_versions[] = {
    F(msg_versions, name, STR),
    F(msg_versions, after, STR),
    F(msg_versions, max, NUM),
};

static const struct codec_field fields_msg_children[] = {
    F(msg_children, name, STR),
    F(msg_children, after, NUM),
    F(msg_children, max, NUM),
};

static const struct codec_field fields_msg_rename[] = {
    F(msg_rename, from, STR),
    F(msg_rename, to, STR),
    F(msg_rename, flags, NUM),
};

static const struct codec_field fields_msg_set[] = {
    F(msg_set, name, STR),	     F(msg_set, flags, NUM),	F(msg_set, ttl_ms, NUM),
    F(msg_set, reserved_bytes, NUM), F(msg_set, edits, LABELS), F(msg_set, expect, LABELS),
};

static const struct codec_field fields_msg_handles[] = {F(msg_handles, count, NUM)};

static const struct codec_field fields_msg_clone_all[] = {
    F(msg_clone_all, ttl_ms, NUM),
    F(msg_clone_all, labels, LABELS),
    F(msg_clone_all, count, NUM),
};

static const struct codec_field fields_codec_pair[] = {
    F(codec_pair, src, STR),
    F(codec_pair, dst, STR),
};

static const struct codec_field fields_codec_usage[] = {F(codec_usage, count, NUM)};

static const struct codec_field fields_msg_usage_reply[] = {
    F(msg_usage_reply, mapped_bytes, NUM),
    F(msg_usage_reply, exclusive_bytes, NUM),
};

static const struct codec_field fields_msg_reaping_reply[] = {
    F(msg_reaping_reply, reaping_bytes, NUM),
};

static const struct codec_field fields_msg_check_reply[] = {
    F(msg_check_reply, differences, NUM),  F(msg_check_reply, objects, NUM),
    F(msg_check_reply, nodes, NUM),	   F(msg_check_reply, mapped_bytes, NUM),
    F(msg_check_reply, shared_bytes, NUM), F(msg_check_reply, free_bytes, NUM),
    F(msg_check_reply, ntexts, NUM),
};

static const struct codec_field fields_msg_server_reply[] = {
    F(msg_server_reply, incarnation, NUM), F(msg_server_reply, uptime_ms, NUM),
    F(msg_server_reply, nbd_tls, NUM),	   F(msg_server_reply, agent, STR),
    F(msg_server_reply, count, NUM),
};

static const struct codec_field fields_msg_addr[] = {F(msg_addr, text, STR)};

static const struct codec_field fields_msg_read[] = {
    F(msg_read, handle, NUM),
    F(msg_read, flags, NUM),
    F(msg_read, offset, NUM),
    F(msg_read, len, NUM),
};

static const struct codec_field fields_msg_write[] = {
    F(msg_write, handle, NUM),
    F(msg_write, flags, NUM),
    F(msg_write, offset, NUM),
};

static const struct codec_field fields_msg_clone_range[] = {
    F(msg_clone_range, src, NUM),	 F(msg_clone_range, dst, NUM),
    F(msg_clone_range, src_offset, NUM), F(msg_clone_range, dst_offset, NUM),
    F(msg_clone_range, len, NUM),
};

static const struct codec_field fields_msg_clone_range_reply[] = {
    F(msg_clone_range_reply, len, NUM),
    F(msg_clone_range_reply, left, NUM),
};

static const struct codec_field fields_msg_unshare[] = {
    F(msg_unshare, handle, NUM),
    F(msg_unshare, offset, NUM),
    F(msg_unshare, len, NUM),
};

static const struct codec_field fields_msg_unshare_reply[] = {
    F(msg_unshare_reply, len, NUM),
    F(msg_unshare_reply, left, NUM),
    F(msg_unshare_reply, copied, NUM),
};

static const struct codec_field fields_msg_zero[] = {
    F(msg_zero, handle, NUM),
    F(msg_zero, flags, NUM),
    F(msg_zero, offset, NUM),
    F(msg_zero, len, NUM),
};

static const struct codec_field fields_msg_resize[] = {
    F(msg_resize, handle, NUM),
    F(msg_resize, flags, NUM),
    F(msg_resize, size_bytes, NUM),
};

static const struct codec_field fields_msg_range[] = {
    F(msg_range, offset, NUM),
    F(msg_range, len, NUM),
};

static const struct codec_field fields_msg_readv[] = {
    F(msg_readv, handle, NUM),
    F(msg_readv, count, NUM),
};

/* A reply has a number for each range, and no struct. */
struct codec_len {
	uint32_t len;
};

static const struct codec_field fields_codec_len[] = {F(codec_len, len, NUM)};

static const struct codec_field fields_msg_readv_reply[] = {F(msg_readv_reply, count, NUM)};

static const struct codec_field fields_msg_writev[] = {
    F(msg_writev, handle, NUM),
    F(msg_writev, flags, NUM),
    F(msg_writev, generation, NUM),
    F(msg_writev, count, NUM),
};

static const struct codec_field fields_msg_write_all[] = {F(msg_write_all, count, NUM)};

static const struct codec_field fields_msg_object_range[] = {
    F(msg_object_range, handle, NUM),	  F(msg_object_range, flags, NUM),
    F(msg_object_range, generation, NUM), F(msg_object_range, offset, NUM),
    F(msg_object_range, len, NUM),
};

static const struct codec_field fields_msg_generations[] = {F(msg_generations, count, NUM)};

static const struct codec_field fields_msg_fsync_if[] = {
    F(msg_fsync_if, handle, NUM),
    F(msg_fsync_if, flags, NUM),
    F(msg_fsync_if, generation, NUM),
};

static const struct codec_field fields_msg_generation[] = {F(msg_generation, generation, NUM)};

static const struct codec_field fields_msg_extents[] = {
    F(msg_extents, handle, NUM), F(msg_extents, flags, NUM), F(msg_extents, offset, NUM),
    F(msg_extents, len, NUM),	 F(msg_extents, max, NUM),
};

static const struct codec_field fields_codec_extents_reply[] = {
    F(codec_extents_reply, count, NUM),
};

static const struct codec_field fields_msg_verify[] = {
    F(msg_verify, handle, NUM), F(msg_verify, max, NUM),   F(msg_verify, offset, NUM),
    F(msg_verify, len, NUM),	F(msg_verify, older, NUM), F(msg_verify, rate, NUM),
};

static const struct codec_field fields_msg_damage[] = {
    F(msg_damage, offset, NUM),
    F(msg_damage, len, NUM),
    F(msg_damage, physical, NUM),
    F(msg_damage, kind, NUM),
};

static const struct codec_field fields_msg_verify_reply[] = {
    F(msg_verify_reply, len, NUM),   F(msg_verify_reply, left, NUM),
    F(msg_verify_reply, read, NUM),  F(msg_verify_reply, pending, NUM),
    F(msg_verify_reply, count, NUM),
};

static const struct codec_field fields_msg_diff[] = {
    F(msg_diff, handle, NUM), F(msg_diff, older, NUM), F(msg_diff, offset, NUM),
    F(msg_diff, len, NUM),    F(msg_diff, max, NUM),
};

static const struct codec_field fields_msg_diff_run[] = {
    F(msg_diff_run, len, NUM),
    F(msg_diff_run, kind, NUM),
};

/* The head comes first. */
static const struct codec_field fields_codec_diff_reply[] = {
    F(msg_diff_reply, count, NUM),
    F(msg_diff_reply, nodes, NUM),
    F(msg_diff_reply, size_bytes, NUM),
    F(msg_diff_reply, older_bytes, NUM),
};

static const struct codec_field fields_msg_extent[] = {
    F(msg_extent, len, NUM),
    F(msg_extent, physical, NUM),
    F(msg_extent, kind, NUM),
    F(msg_extent, flags, NUM),
};

static const struct codec_field fields_msg_statfs_reply[] = {
    F(msg_statfs_reply, block_bytes, NUM),	  F(msg_statfs_reply, total_bytes, NUM),
    F(msg_statfs_reply, free_bytes, NUM),	  F(msg_statfs_reply, reserved_bytes, NUM),
    F(msg_statfs_reply, mapped_bytes, NUM),	  F(msg_statfs_reply, meta_total_bytes, NUM),
    F(msg_statfs_reply, meta_used_bytes, NUM),	  F(msg_statfs_reply, objects, NUM),
    F(msg_statfs_reply, versions, NUM),		  F(msg_statfs_reply, reaping_bytes, NUM),
    F(msg_statfs_reply, staged_bytes, NUM),	  F(msg_statfs_reply, journal_bytes, NUM),
    F(msg_statfs_reply, journal_used_bytes, NUM), F(msg_statfs_reply, withheld_bytes, NUM),
};

/* Functions over void * for a message with the usual pair. */
#define ANY_TYPE(type)                                                          \
	static int any_##type##_encode(uint8_t *buf, size_t len, const void *m) \
	{                                                                       \
		return type##_encode(buf, len, m);                              \
	}                                                                       \
                                                                                \
	static int any_##type##_decode(const uint8_t *buf, size_t len, void *m) \
	{                                                                       \
		return type##_decode(buf, len, m);                              \
	}

#define PLAIN_MESSAGES(X)        \
	X(msg_hello)             \
	X(msg_hello_reply)       \
	X(msg_error)             \
	X(msg_info)              \
	X(msg_name)              \
	X(msg_create)            \
	X(msg_open)              \
	X(msg_open_reply)        \
	X(msg_handle)            \
	X(msg_list)              \
	X(msg_clone)             \
	X(msg_read)              \
	X(msg_write)             \
	X(msg_resize)            \
	X(msg_zero)              \
	X(msg_generation)        \
	X(msg_fsync_if)          \
	X(msg_clone_range)       \
	X(msg_clone_range_reply) \
	X(msg_unshare)           \
	X(msg_unshare_reply)     \
	X(msg_extents)           \
	X(msg_diff)              \
	X(msg_verify)            \
	X(msg_statfs_reply)      \
	X(msg_snap)              \
	X(msg_remove)            \
	X(msg_versions)          \
	X(msg_children)          \
	X(msg_rename)            \
	X(msg_set)               \
	X(msg_usage_reply)       \
	X(msg_reaping_reply)

PLAIN_MESSAGES(ANY_TYPE)
ANY_TYPE(msg_check_reply)
ANY_TYPE(msg_server_reply)
ANY_TYPE(msg_readv)
ANY_TYPE(msg_readv_reply)
ANY_TYPE(msg_verify_reply)
ANY_TYPE(msg_writev)
ANY_TYPE(msg_handles)
ANY_TYPE(msg_write_all)
ANY_TYPE(msg_generations)

static int any_header_encode(uint8_t *buf, size_t len, const void *m)
{
	if (len < WIRE_HEADER_BYTES)
		return -ERR_LIMIT;
	wire_header_encode(buf, m);
	return WIRE_HEADER_BYTES;
}

static int any_header_decode(const uint8_t *buf, size_t len, void *m)
{
	struct wire_header h = {0};
	int err;

	if (len != WIRE_HEADER_BYTES)
		return -ERR_FRAME_LEN;
	err = wire_header_decode(buf, WIRE_MAGIC_REQUEST, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, &h);
	if (err == -ERR_FRAME_MAGIC)
		err =
		    wire_header_decode(buf, WIRE_MAGIC_REPLY, WIRE_BODY_MAX, WIRE_PAYLOAD_MAX, &h);
	if (err == 0)
		memcpy(m, &h, sizeof(h));
	return err;
}

static int any_list_encode(uint8_t *buf, size_t len, const void *m)
{
	const struct codec_list_reply *reply = m;
	size_t used = MSG_LIST_HEAD_BYTES;
	int err = len < used ? -ERR_LIMIT : 0;

	for (uint32_t i = 0; i < reply->count && err == 0; i++)
		err = msg_list_add(buf, len, &used, &reply->infos[i]);
	if (err)
		return err;
	msg_list_finish(buf, reply->count, reply->more);
	return (int)used;
}

static int any_list_decode(const uint8_t *buf, size_t len, void *m)
{
	struct codec_list_reply *reply = m;
	uint32_t count;
	bool more;
	int err;

	err = msg_list_reply_decode(buf, len, reply->infos, MSG_LIST_MAX, &count, &more);
	if (err)
		return err;
	reply->count = count;
	reply->more = more;
	return 0;
}

static int any_extents_encode(uint8_t *buf, size_t len, const void *m)
{
	const struct codec_extents_reply *reply = m;

	return msg_extents_reply_encode(buf, len, reply->extents, reply->count);
}

static int any_extents_decode(const uint8_t *buf, size_t len, void *m)
{
	struct codec_extents_reply *reply = m;

	return msg_extents_reply_decode(buf, len, reply->extents, MSG_EXTENTS_MAX, &reply->count);
}

static int any_diff_encode(uint8_t *buf, size_t len, const void *m)
{
	const struct codec_diff_reply *reply = m;

	return msg_diff_reply_encode(buf, len, &reply->head, reply->runs);
}

static int any_diff_decode(const uint8_t *buf, size_t len, void *m)
{
	struct codec_diff_reply *reply = m;

	return msg_diff_reply_decode(buf, len, &reply->head, reply->runs, MSG_DIFF_MAX);
}

static int any_usage_encode(uint8_t *buf, size_t len, const void *m)
{
	const struct codec_usage *usage = m;
	const char *specs[MSG_USAGE_MAX];

	for (uint32_t i = 0; i < usage->count && i < MSG_USAGE_MAX; i++)
		specs[i] = usage->specs[i].name;
	return msg_usage_encode(buf, len, specs, usage->count);
}

static int any_usage_decode(const uint8_t *buf, size_t len, void *m)
{
	struct codec_usage *usage = m;
	const char **specs = calloc(MSG_USAGE_MAX, sizeof(*specs));
	char *names = malloc(len + 1);
	int err = specs && names ? 0 : -ERR_NOMEM;

	if (err == 0)
		err = msg_usage_decode(buf, len, names, specs, MSG_USAGE_MAX, &usage->count);
	for (uint32_t i = 0; err == 0 && i < usage->count; i++)
		memcpy(usage->specs[i].name, specs[i], strlen(specs[i]) + 1);
	free(names);
	free(specs);
	return err;
}

static int any_clone_all_encode(uint8_t *buf, size_t len, const void *m)
{
	const struct codec_clone_all *all = m;
	struct msg_pair pairs[MSG_GROUP_MAX];

	for (uint32_t i = 0; i < all->head.count && i < MSG_GROUP_MAX; i++)
		pairs[i] = (struct msg_pair){all->pairs[i].src, all->pairs[i].dst};
	return msg_clone_all_encode(buf, len, &all->head, pairs);
}

static int any_clone_all_decode(const uint8_t *buf, size_t len, void *m)
{
	struct codec_clone_all *all = m;
	struct msg_pair pairs[MSG_GROUP_MAX];
	char *names = malloc(len + 1);
	int err = names ? 0 : -ERR_NOMEM;

	if (err == 0)
		err = msg_clone_all_decode(buf, len, &all->head, names, pairs);
	for (uint32_t i = 0; err == 0 && i < all->head.count; i++) {
		memcpy(all->pairs[i].src, pairs[i].src, strlen(pairs[i].src) + 1);
		memcpy(all->pairs[i].dst, pairs[i].dst, strlen(pairs[i].dst) + 1);
	}
	free(names);
	return err;
}

/* clang-format off */
#define FIELDS(type) {fields_##type, ARRAY_LEN(fields_##type)}
#define PLAIN_ROW(type)                                                                            \
	{                                                                                          \
		.name = #type,                                                                     \
		.struct_bytes = sizeof(struct type),                                               \
		.encode = any_##type##_encode,                                                     \
		.decode = any_##type##_decode,                                                     \
		.fields = FIELDS(type),                                                            \
	},
const struct codec codecs[] = {
    {
	.name = "wire_header",
	.struct_bytes = sizeof(struct wire_header),
	.encode = any_header_encode,
	.decode = any_header_decode,
	.fields = FIELDS(wire_header),
    },
    {
	.name = "msg_list_reply",
	.struct_bytes = sizeof(struct codec_list_reply),
	.encode = any_list_encode,
	.decode = any_list_decode,
	.fields = FIELDS(codec_list_reply),
	.entries = FIELDS(msg_info),
	.entry_offset = offsetof(struct codec_list_reply, infos),
	.entry_bytes = sizeof(struct msg_info),
    },
    {
	.name = "msg_extents_reply",
	.struct_bytes = sizeof(struct codec_extents_reply),
	.encode = any_extents_encode,
	.decode = any_extents_decode,
	.fields = FIELDS(codec_extents_reply),
	.entries = FIELDS(msg_extent),
	.entry_offset = offsetof(struct codec_extents_reply, extents),
	.entry_bytes = sizeof(struct msg_extent),
    },
    {
	.name = "msg_diff_reply",
	.struct_bytes = sizeof(struct codec_diff_reply),
	.encode = any_diff_encode,
	.decode = any_diff_decode,
	.fields = FIELDS(codec_diff_reply),
	.entries = FIELDS(msg_diff_run),
	.entry_offset = offsetof(struct codec_diff_reply, runs),
	.entry_bytes = sizeof(struct msg_diff_run),
    },
    {
	.name = "msg_usage",
	.struct_bytes = sizeof(struct codec_usage),
	.encode = any_usage_encode,
	.decode = any_usage_decode,
	.fields = FIELDS(codec_usage),
	.entries = FIELDS(msg_name),
	.entry_offset = offsetof(struct codec_usage, specs),
	.entry_bytes = sizeof(struct msg_name),
    },
    {
	.name = "msg_handles",
	.struct_bytes = sizeof(struct msg_handles),
	.encode = any_msg_handles_encode,
	.decode = any_msg_handles_decode,
	.fields = FIELDS(msg_handles),
	.entries = FIELDS(msg_handle),
	.entry_offset = offsetof(struct msg_handles, handles),
	.entry_bytes = sizeof(struct msg_handle),
    },
    {
	.name = "msg_clone_all",
	.struct_bytes = sizeof(struct codec_clone_all),
	.encode = any_clone_all_encode,
	.decode = any_clone_all_decode,
	.fields = FIELDS(msg_clone_all),
	.entries = FIELDS(codec_pair),
	.entry_offset = offsetof(struct codec_clone_all, pairs),
	.entry_bytes = sizeof(struct codec_pair),
    },
    {
	.name = "msg_check_reply",
	.struct_bytes = sizeof(struct msg_check_reply),
	.encode = any_msg_check_reply_encode,
	.decode = any_msg_check_reply_decode,
	.fields = FIELDS(msg_check_reply),
	.entries = FIELDS(msg_error),
	.entry_offset = offsetof(struct msg_check_reply, texts),
	.entry_bytes = sizeof(struct msg_error),
    },
    {
	.name = "msg_server_reply",
	.struct_bytes = sizeof(struct msg_server_reply),
	.encode = any_msg_server_reply_encode,
	.decode = any_msg_server_reply_decode,
	.fields = FIELDS(msg_server_reply),
	.entries = FIELDS(msg_addr),
	.entry_offset = offsetof(struct msg_server_reply, addrs),
	.entry_bytes = sizeof(struct msg_addr),
    },
    {
	.name = "msg_readv",
	.struct_bytes = sizeof(struct msg_readv),
	.encode = any_msg_readv_encode,
	.decode = any_msg_readv_decode,
	.fields = FIELDS(msg_readv),
	.entries = FIELDS(msg_range),
	.entry_offset = offsetof(struct msg_readv, ranges),
	.entry_bytes = sizeof(struct msg_range),
    },
    {
	.name = "msg_verify_reply",
	.struct_bytes = sizeof(struct msg_verify_reply),
	.encode = any_msg_verify_reply_encode,
	.decode = any_msg_verify_reply_decode,
	.fields = FIELDS(msg_verify_reply),
	.entries = FIELDS(msg_damage),
	.entry_offset = offsetof(struct msg_verify_reply, damages),
	.entry_bytes = sizeof(struct msg_damage),
    },
    {
	.name = "msg_readv_reply",
	.struct_bytes = sizeof(struct msg_readv_reply),
	.encode = any_msg_readv_reply_encode,
	.decode = any_msg_readv_reply_decode,
	.fields = FIELDS(msg_readv_reply),
	.entries = FIELDS(codec_len),
	.entry_offset = offsetof(struct msg_readv_reply, lens),
	.entry_bytes = sizeof(struct codec_len),
    },
    {
	.name = "msg_writev",
	.struct_bytes = sizeof(struct msg_writev),
	.encode = any_msg_writev_encode,
	.decode = any_msg_writev_decode,
	.fields = FIELDS(msg_writev),
	.entries = FIELDS(msg_range),
	.entry_offset = offsetof(struct msg_writev, ranges),
	.entry_bytes = sizeof(struct msg_range),
    },
    {
	.name = "msg_write_all",
	.struct_bytes = sizeof(struct msg_write_all),
	.encode = any_msg_write_all_encode,
	.decode = any_msg_write_all_decode,
	.fields = FIELDS(msg_write_all),
	.entries = FIELDS(msg_object_range),
	.entry_offset = offsetof(struct msg_write_all, ranges),
	.entry_bytes = sizeof(struct msg_object_range),
    },
    {
	.name = "msg_generations",
	.struct_bytes = sizeof(struct msg_generations),
	.encode = any_msg_generations_encode,
	.decode = any_msg_generations_decode,
	.fields = FIELDS(msg_generations),
	.entries = FIELDS(msg_generation),
	.entry_offset = offsetof(struct msg_generations, generations),
	.entry_bytes = sizeof(struct msg_generation),
    },
    PLAIN_MESSAGES(PLAIN_ROW)
};
/* clang-format on */

const size_t ncodecs = ARRAY_LEN(codecs);
