/* SPDX-License-Identifier: BSD-2-Clause */
#include "client/lineage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/out.h"

const char *lineage_label(const struct cow_info *info, const char *key)
{
	for (size_t i = 0; i < info->nlabels; i++)
		if (strcmp(info->labels[i].key, key) == 0)
			return info->labels[i].value;
	return NULL;
}

void lineage_of(const struct cow_server *server, const struct cow_info *version,
		char id[DIFFSTREAM_ID_BYTES])
{
	const char *label = lineage_label(version, LINEAGE_LABEL);
	char uuid[OUT_UUID_MAX];

	/* one of another length is not of our making */
	if (label && label[0] && strlen(label) < DIFFSTREAM_ID_BYTES)
		(void)snprintf(id, DIFFSTREAM_ID_BYTES, "%s", label);
	else
		(void)snprintf(id, DIFFSTREAM_ID_BYTES, "%s/%" PRIu64,
			       out_uuid(uuid, server->store_uuid), version->id);
}
