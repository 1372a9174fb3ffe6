/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv_verify.h: are the pages of the map's file what LMDB takes them for?  It has no checksums of pages
 * and follows what it finds there: a damaged one ends the process, or shows a state of long ago.  So this
 * looks before LMDB does, with nothing but the file, and changes nothing.  For kv*.c only.
 *
 * What is compared:
 *  - the headers have the numbers of successive commits.  LMDB takes the one with the higher number; that it
 *    is that commit's shows in the list of free pages, which ends with what this commit has replaced.
 *  - a table's tree is as high, and has as many pages and entries, as is written of it; keys ascend, and
 *    are those that the pages above say.
 *  - the entries of a page fill it without a gap, so that none is missing.
 *  - no page is in use twice, or in use and free: an older state of one is a free page.
 *
 * The values have checksums of their own (map_value.c), and so the two together leave nothing out.
 */
#ifndef SERVER_KV_VERIFY_H
#define SERVER_KV_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/kv.h"

/* A file with no more pages in use is always looked through as a whole: a matter of milliseconds. */
#define KV_VERIFY_SMALL_PAGES 4096u

/*
 * Looks at the file behind a descriptor while nobody writes to it.  Without "whole" the leaves of a file
 * that is not small are left out, but for those of counts, which takes a hundredth of the reads where little
 * is shared: then what a leaf holds is not compared, only that it is the one it should be.
 *
 * -ERR_PAGE (logged, with the page), -ERR_FORMAT_OTHER: no such file, -ERR_FORMAT_VERSION,
 * -ERR_FORMAT_SIZE: it was cut, -ERR_NOMEM, -ERR_MAP: it cannot be mapped.
 */
int kv_verify(int fd, bool whole) MUST_CHECK;

#endif
