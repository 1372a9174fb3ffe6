/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check_extents.h: where libcow says that data, holes and differences are, against models.  Whatever is
 * not so ends the program.
 */
#ifndef TESTS_LIB_CHECK_EXTENTS_H
#define TESTS_LIB_CHECK_EXTENTS_H

#include <stdint.h>

#include "client/cow.h"
#include "tests/lib/model.h"

/*
 * What is the same in an object and in the one with the id "older" holds the same bytes, and a hole
 * zeros; the rest may be anything.
 */
void check_diff(cow_object_t *obj, const struct model *model, uint64_t older_id,
		const struct model *older);

/* Whatever lies in front of data is zeros, and the end is a hole. */
void check_seek(cow_object_t *obj, const struct model *model, uint64_t off);

#endif
