/* SPDX-License-Identifier: BSD-2-Clause */
/* codec.c: finding a type, and its fields by their names as text. */
#include "tests/vectors/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"
#include "common/err.h"
#include "tests/vectors/vectors.h"

/* The largest field that is no string: a UUID. */
#define CODEC_VALUE_BYTES 16

const struct codec *codec_find(const char *name)
{
	for (size_t i = 0; i < ncodecs; i++)
		if (strcmp(codecs[i].name, name) == 0)
			return &codecs[i];
	return NULL;
}

/* The field and, in *base, what its offset counts from; NULL: none. */
static const struct codec_field *codec_field(const struct codec *codec, const char *key,
					     size_t *base)
{
	const struct codec_fields *fields = &codec->fields;
	char *end;
	unsigned long n = strtoul(key, &end, 10);

	*base = 0;
	if (end != key && *end == '.') {
		fields = &codec->entries;
		*base = codec->entry_offset + n * codec->entry_bytes;
		key = end + 1;
	}
	if (n >= MSG_EXTENTS_MAX || *base >= codec->struct_bytes)
		return NULL;
	for (size_t i = 0; i < fields->n; i++)
		if (strcmp(fields->field[i].name, key) == 0)
			return &fields->field[i];
	return NULL;
}

static bool codec_number(uint8_t *dst, size_t bytes, const char *text)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (end == text || *end || errno || (bytes < 8 && v >> (8 * bytes)))
		return false;
	/* as the machine stores it: these are the structs in memory, not the wire */
	switch (bytes) {
	case 1:
		*dst = (uint8_t)v;
		break;
	case 2:
		memcpy(dst, &(uint16_t){(uint16_t)v}, bytes);
		break;
	case 4:
		memcpy(dst, &(uint32_t){(uint32_t)v}, bytes);
		break;
	default:
		memcpy(dst, &v, bytes);
	}
	return true;
}

/* Labels as the vectors have them, with a bar in place of each zero byte. */
static bool codec_labels(struct msg_labels *labels, const char *text)
{
	size_t len = strlen(text);

	if (len > sizeof(labels->bytes))
		return false;
	labels->len = (uint16_t)len;
	for (size_t i = 0; i < len; i++)
		labels->bytes[i] = (char)(text[i] == '|' ? '\0' : text[i]);
	return true;
}

static bool codec_same_labels(const void *got, const struct msg_labels *want)
{
	const struct msg_labels *labels = got;

	return labels->len == want->len && memcmp(labels->bytes, want->bytes, want->len) == 0;
}

bool codec_set(const struct codec *codec, void *m, const char *key, const char *value)
{
	size_t base;
	const struct codec_field *field = codec_field(codec, key, &base);
	uint8_t *dst;

	if (!field)
		return false;
	dst = (uint8_t *)m + base + field->offset;
	if (field->kind == CODEC_RAW)
		return hex_decode(dst, field->bytes, value);
	if (field->kind == CODEC_LABELS)
		return codec_labels((struct msg_labels *)(void *)dst, value);
	if (field->kind != CODEC_STR)
		return codec_number(dst, field->bytes, value);
	if (strlen(value) >= field->bytes)
		return false;
	memcpy(dst, value, strlen(value) + 1);
	return true;
}

bool codec_has(const struct codec *codec, const void *m, const char *key, const char *value)
{
	size_t base;
	const struct codec_field *field = codec_field(codec, key, &base);
	uint8_t want[CODEC_VALUE_BYTES];
	struct msg_labels want_labels;
	const uint8_t *got;

	if (!field)
		return false;
	got = (const uint8_t *)m + base + field->offset;
	if (field->kind == CODEC_STR)
		return strcmp((const char *)got, value) == 0;
	if (field->kind == CODEC_LABELS)
		return codec_labels(&want_labels, value) && codec_same_labels(got, &want_labels);
	if (field->bytes > sizeof(want))
		return false;
	if (field->kind == CODEC_RAW ? !hex_decode(want, field->bytes, value)
				     : !codec_number(want, field->bytes, value))
		return false;
	return memcmp(got, want, field->bytes) == 0;
}
