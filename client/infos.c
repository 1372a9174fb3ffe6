/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/infos.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

int infos_decode(void *ctx, const uint8_t *body, size_t len)
{
	struct msg_info unused;

	return msg_info_decode(body, len, ctx ? ctx : &unused);
}

static size_t infos_count_labels(const struct msg_labels *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->len; i++)
		n += m->bytes[i] == '\0';
	return n;
}

/* Cuts "key=value" strings apart where they are.  One without a '=' has an empty value. */
static void infos_split_labels(char *at, size_t n, struct cow_label *labels)
{
	for (size_t i = 0; i < n; i++) {
		char *end = at + strlen(at);
		char *equals = strchr(at, '=');

		if (equals)
			*equals = '\0';
		labels[i] = (struct cow_label){at, equals ? equals + 1 : end};
		at = end + 1;
	}
}

/* One piece of memory, which "labels" points to: the labels, their text, the name. */
int infos_fill(const struct msg_info *m, struct cow_info *info)
{
	size_t n = infos_count_labels(&m->labels);
	size_t name_len = strlen(m->name) + 1;
	struct cow_label *labels = malloc(n * sizeof(*labels) + m->labels.len + name_len);
	char *text;

	if (!labels)
		return -ERR_NOMEM;
	text = (char *)(labels + n);
	memcpy(text, m->labels.bytes, m->labels.len);
	infos_split_labels(text, n, labels);
	text += m->labels.len;
	memcpy(text, m->name, name_len);
	*info = (struct cow_info){
	    .name = text,
	    .id = m->id,
	    .size = m->size_bytes,
	    .mapped = m->mapped_bytes,
	    .generation = m->generation,
	    .ctime_ns = m->ctime_ns,
	    .mtime_ns = m->mtime_ns,
	    .origin = m->origin,
	    .parent = m->parent,
	    .expires_ns = m->expires_ns,
	    .reserved = m->reserved_bytes,
	    .withheld = m->withheld_bytes,
	    .nversions = m->nversions,
	    .readonly = m->flags & MSG_INFO_READONLY ? 1 : 0,
	    .labels = labels,
	    .nlabels = n,
	};
	return 0;
}

void cow_info_clear(struct cow_info *info)
{
	free((struct cow_label *)(uintptr_t)info->labels);
	info->name = NULL;
	info->labels = NULL;
	info->nlabels = 0;
}
