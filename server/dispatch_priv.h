/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dispatch_priv.h: what the dispatch files share.  dispatch.c has the table; dispatch_reply.c ends
 * requests; dispatch_name.c, dispatch_handle.c, dispatch_look.c, dispatch_group.c and dispatch_store.c
 * have the operations on names, on open objects, those that ask where the data of one is and whether it
 * is whole, on several objects at once and on the store as a whole.  Nobody else
 * includes it; loop thread only.
 *
 * A function of the table is called with the request's "m" filled in, and sees to it that the
 * request is ended with exactly one reply.
 */
#ifndef SERVER_DISPATCH_PRIV_H
#define SERVER_DISPATCH_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "common/annot.h"
#include "server/object.h"
#include "server/page.h"
#include "server/session.h"

/* Room for "text: about", where about is two escaped names and some words. */
#define DISPATCH_ABOUT_BYTES 480u
/* Room for one escaped name in that. */
#define DISPATCH_NAME_BYTES 200u

/* The request that was given to the engine as its context. */
struct request *dispatch_request_of(void *ctx);

/* ---- dispatch_reply.c ------------------------------------------------------------------------ */

/* Ends the request with this reply, its payload in so many vectors, and with it a CLOSE that waited
 * for it. */
void dispatch_finish(struct request *req, int err, const void *body, size_t body_len,
		     struct pagevec *payload, uint32_t npayload);

/* The body of an error reply; returns its length. */
size_t dispatch_error_body(uint8_t *buf, size_t len, int err, const char *about);

/* Ends it with an error; about ends the text, or is NULL. */
void dispatch_error(struct request *req, int err, const char *about);

/* As dispatch_error(), about what this spec names. */
void dispatch_error_name(struct request *req, int err, const char *spec);

/* Refuses labels that are none; then the request has ended. */
bool dispatch_labels_refused(struct request *req, const struct msg_labels *labels);

struct object_attrs dispatch_attrs_of(uint64_t ttl_ms, const struct msg_labels *labels);

/* Ends a request that answers nothing but success or an error about what spec names. */
void dispatch_answer(struct request *req, int err, const char *spec);

/* Ends it with an info, or with an error about what spec names. */
void dispatch_answer_info(struct request *req, int err, const char *spec,
			  const struct map_obj *info);

/* Likewise with as many of these infos as fit a reply; spec may be a prefix. */
void dispatch_answer_list(struct request *req, int err, const char *spec,
			  const struct map_obj *objs, uint32_t n, bool more);

void dispatch_info_to_msg(struct msg_info *msg, const struct map_obj *obj);

/* For the table: announces a reply with a large body. */
int dispatch_prepare_large(struct request *req);

/* ---- dispatch_name.c ------------------------------------------------------------------------- */

void dispatch_create(struct request *req);
void dispatch_clone(struct request *req);
void dispatch_snap(struct request *req);
void dispatch_rename(struct request *req);
void dispatch_reset(struct request *req);
void dispatch_set(struct request *req);
void dispatch_remove(struct request *req);
void dispatch_info(struct request *req);
void dispatch_list(struct request *req);
void dispatch_versions(struct request *req);
void dispatch_children(struct request *req);

/* ---- dispatch_handle.c ----------------------------------------------------------------------- */

void dispatch_open(struct request *req);
void dispatch_close(struct request *req);
int dispatch_prepare_read(struct request *req);
void dispatch_read(struct request *req);
int dispatch_prepare_write(struct request *req);
void dispatch_write(struct request *req);
int dispatch_prepare_fsync(struct request *req);
void dispatch_fsync(struct request *req);
int dispatch_decode_readv(struct request *req, const uint8_t *body, size_t len);
int dispatch_prepare_readv(struct request *req);
void dispatch_readv(struct request *req);
int dispatch_decode_writev(struct request *req, const uint8_t *body, size_t len);
int dispatch_prepare_writev(struct request *req);
void dispatch_writev(struct request *req);
int dispatch_prepare_fsync_if(struct request *req);
void dispatch_fsync_if(struct request *req);
int dispatch_prepare_resize(struct request *req);
void dispatch_resize(struct request *req);
int dispatch_prepare_zero(struct request *req);
void dispatch_zero(struct request *req);
int dispatch_prepare_clone_range(struct request *req);
void dispatch_clone_range(struct request *req);
int dispatch_prepare_unshare(struct request *req);
void dispatch_unshare(struct request *req);

/* For the table: pins the slot of the handle of that number.  -ERR_BAD_HANDLE. */
int dispatch_pin(struct request *req, uint32_t number);

/* Answers a CLOSE: the last request on the slot has ended. */
void dispatch_close_now(struct request *req, struct session_slot *slot);

/* ---- dispatch_look.c ------------------------------------------------------------------------- */

int dispatch_prepare_extents(struct request *req);
void dispatch_extents(struct request *req);
int dispatch_prepare_diff(struct request *req);
void dispatch_diff(struct request *req);
int dispatch_prepare_verify(struct request *req);
void dispatch_verify(struct request *req);

/* ---- dispatch_group.c ------------------------------------------------------------------------ */

int dispatch_prepare_handles(struct request *req);
void dispatch_tie(struct request *req);
void dispatch_fsync_all(struct request *req);
int dispatch_decode_write_all(struct request *req, const uint8_t *body, size_t len);
int dispatch_prepare_write_all(struct request *req);
void dispatch_write_all(struct request *req);
int dispatch_decode_clone_all(struct request *req, const uint8_t *body, size_t len);
void dispatch_clone_all(struct request *req);

/* ---- dispatch_store.c ------------------------------------------------------------------------ */

void dispatch_statfs(struct request *req);
int dispatch_decode_usage(struct request *req, const uint8_t *body, size_t len);
void dispatch_usage(struct request *req);
void dispatch_reaping(struct request *req);
void dispatch_check_store(struct request *req);
void dispatch_server(struct request *req);

#endif
