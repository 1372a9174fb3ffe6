/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_priv.h: what the files of the NBD front end share.  nbd.c has the connection and what comes in
 * first; nbd_opts.c the options of the handshake, nbd_export.c those that choose an export, nbd_list.c and
 * nbd_meta.c those that list exports and contexts; nbd_cmds.c the commands, nbd_status.c BLOCK_STATUS,
 * nbd_reply.c what is sent.  Nobody else includes it; loop thread only.
 *
 * Life of a connection, in the steps of CONN_HEADER (conn_priv.h):
 *
 *	FLAGS -> OPTION -> DATA -> WORK -> OPTION ...	a refused option: SKIP, where its data is too long
 *			    |
 *			    v
 *			TRANSMIT -> LEAVING	after DISC, until all commands are answered
 *
 * In WORK an option has asked the engine for something (nbd_ask()), and goes on with "work" when that is
 * answered; nothing is read meanwhile.  What is asked in the handshake has the id 0; a command has the number
 * of its place in "cmds" and one more, and one request under way at a time.
 */
#ifndef SERVER_NBD_PRIV_H
#define SERVER_NBD_PRIV_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/name.h"
#include "proto/msg.h"
#include "proto/nbd.h"
#include "server/conn_priv.h"
#include "server/nbd.h"

#define NBD_OPTIONS_MAX	      128u   /* of one handshake */
#define NBD_OPTION_DATA_MAX   8192u  /* of one option: what "in" of a connection has room for */
#define NBD_OPTION_SKIP_MAX   65536u /* more is not even thrown away */
#define NBD_CLONE_PREFIX      "+clone:"
#define NBD_CLONE_PREFIX_LEN  (sizeof(NBD_CLONE_PREFIX) - 1)
#define NBD_CLONES	      "nbd-clone/" /* what these are called; not listed */
#define NBD_NAME_BYTES	      (NAME_MAX_BYTES + sizeof(NBD_CLONE_PREFIX))
#define NBD_BITMAP_PREFIX     "qemu:dirty-bitmap:"
#define NBD_BITMAP_PREFIX_LEN (sizeof(NBD_BITMAP_PREFIX) - 1)
#define NBD_CONTEXT_BYTES     (sizeof(NBD_BITMAP_PREFIX) + NAME_VERSION_MAX)

struct nbd;

enum nbd_phase { NBD_FLAGS, NBD_OPTION, NBD_DATA, NBD_SKIP, NBD_WORK, NBD_TRANSMIT, NBD_LEAVING };

/* What is known of a block, for BLOCK_STATUS. */
enum nbd_kind { NBD_ALLOCATION, NBD_SHARED, NBD_BITMAP };

struct nbd_context {
	enum nbd_kind kind;
	uint64_t older; /* of a bitmap: the id of the version */
};

/* The export that an option is about. */
struct nbd_export {
	char name[NBD_NAME_BYTES]; /* as the client has it; "" where it can be none */
	const char *spec;	   /* what of it the engine knows: in name */
	bool clone;		   /* "+clone:": of that a clone */
	uint32_t asked;		   /* information, as of nbd_info_request */
};

/* A command, from its header to its reply. */
struct nbd_cmd {
	TAILQ_ENTRY(nbd_cmd) link; /* of the free ones, or of those that are to go on */
	struct nbd_request in;
	uint64_t done;	   /* bytes of those that come in pieces */
	uint32_t contexts; /* bit n: context n is still to be told */
	uint32_t error;	   /* it is refused: the answer, once its payload is thrown away, */
	const char *why;   /* and its text */
	bool syncing;	   /* its FUA */
};

TAILQ_HEAD(nbd_cmds, nbd_cmd);

struct nbd {
	struct conn *conn;
	enum nbd_phase phase;
	bool fixed; /* newstyle */
	bool no_zeroes;
	bool structured;
	bool extended;
	uint32_t noptions;
	struct nbd_option opt;
	uint32_t skip;			/* bytes of its data */
	struct nbd_export export;	/* of the option under way; in transmission, what is open */
	uint8_t *data;			/* of an option with queries, or NULL */
	struct nbd_list *list;		/* nbd_list.c's, or NULL */
	struct nbd_meta *meta;		/* nbd_meta.c's, or NULL */
	struct msg_info info;		/* of the export */
	char meta_name[NBD_NAME_BYTES]; /* the export of these: */
	struct nbd_context contexts[NBD_CONTEXTS_MAX];
	uint32_t ncontexts;
	/* What is done when the engine has answered, and with the answer. */
	enum conn_step (*work)(struct nbd *nbd);
	void (*answered)(struct nbd *nbd, const struct session_reply *reply);
	uint32_t failed; /* the answer was this error: 0 or NBD_REP_ERR_... */
	uint32_t status; /* as the engine has it */
	uint32_t
	    unopened; /* of a clone that could not be opened, while it is removed: as "failed" */
	char why[WIRE_TEXT_MAX];
	/* Transmission. */
	uint32_t handle;
	uint64_t size_bytes; /* as advertised */
	uint64_t old_bytes;  /* that before the last RESIZE; 0: there was none */
	uint16_t flags;
	char clone[NAME_OBJECT_MAX + 1]; /* to be removed at the end; "" */
	int ending;			 /* the step of that */
	uint32_t ncmds;
	struct nbd_cmds free;
	struct nbd_cmds again;
	bool went_on; /* one of them had its turn last */
	struct nbd_cmd cmds[WIRE_INFLIGHT_MAX];
};

static inline struct nbd *nbd_of(const struct conn *conn)
{
	return conn->own;
}

const struct nbd_config *nbd_config(const struct nbd *nbd);

/* ---- nbd.c ----------------------------------------------------------------------------------- */

/*
 * Asks the engine for something in the handshake: n bytes of a body, or an error of its encoder.  "answered"
 * sees the answer, if it is a success; then "work" goes on, and finds "failed" and "why" where it is none.
 */
enum conn_step nbd_ask(struct nbd *nbd, uint16_t op, const uint8_t *body, int n,
		       void (*answered)(struct nbd *nbd, const struct session_reply *reply),
		       enum conn_step (*work)(struct nbd *nbd));

/* The peer broke the protocol: the end. */
enum conn_step nbd_refuse(struct nbd *nbd, int err);

/* ---- nbd_reply.c ----------------------------------------------------------------------------- */

/* Sends bytes; without memory for them the connection ends. */
void nbd_send(struct nbd *nbd, const void *data, size_t len);

/* A reply to the option under way; n: bytes of its data, or an error of its encoder. */
void nbd_opt_reply(struct nbd *nbd, uint32_t type, const void *data, int n);

/* The last one, and the next option may come.  Of an error why says, in words for people, what is wrong. */
enum conn_step nbd_opt_ack(struct nbd *nbd);
enum conn_step nbd_opt_error(struct nbd *nbd, uint32_t type, const char *why);

/* The reply to a command, which is over with it; nothing of a READ is sent but by the third. */
void nbd_cmd_ok(struct nbd *nbd, struct nbd_cmd *cmd);
void nbd_cmd_error(struct nbd *nbd, struct nbd_cmd *cmd, uint32_t error, const char *why);
void nbd_cmd_data(struct nbd *nbd, struct nbd_cmd *cmd, struct pagevec *pv);

/* The head of a chunk of len bytes. */
void nbd_send_chunk(struct nbd *nbd, const struct nbd_cmd *cmd, uint16_t flags, uint16_t type,
		    uint32_t len);

/* Whether replies come in chunks. */
static inline bool nbd_has_chunks(const struct nbd *nbd)
{
	return nbd->structured || nbd->extended;
}

/* ---- nbd_opts.c ------------------------------------------------------------------------------ */

/* An option whose data, as many bytes as its header says, is there; NULL: there was too much of it. */
enum conn_step nbd_opt_run(struct nbd *nbd, const uint8_t *data);

/* Forgets what the last option needed; what was negotiated. */
void nbd_opt_end(struct nbd *nbd);
void nbd_forget(struct nbd *nbd);

/* ---- nbd_export.c ---------------------------------------------------------------------------- */

enum conn_step nbd_opt_export_name(struct nbd *nbd, const uint8_t *data, uint32_t len);
enum conn_step nbd_opt_info(struct nbd *nbd, const uint8_t *data, uint32_t len);

/* Notes the export that an option is about.  0, or the error it is to be answered with, and why. */
uint32_t nbd_export_set(struct nbd *nbd, struct nbd_text name, const char **why);

/* Asks what its spec is: into nbd->info. */
enum conn_step nbd_export_look(struct nbd *nbd, enum conn_step (*work)(struct nbd *nbd));

/* Words about an object, for people. */
void nbd_describe(const struct msg_info *info, char *buf, size_t len);

/* The end of a connection: gives a clone back.  False: there is more to be waited for. */
bool nbd_export_end(struct nbd *nbd);

/* ---- nbd_list.c ------------------------------------------------------------------------------ */

enum conn_step nbd_opt_list(struct nbd *nbd, const uint8_t *data, uint32_t len);
void nbd_list_free(struct nbd *nbd);

/* Lists the versions of an object, as contexts; then goes on with "then". */
enum conn_step nbd_list_bitmaps(struct nbd *nbd, const char *object,
				enum conn_step (*then)(struct nbd *nbd));

/* ---- nbd_meta.c ------------------------------------------------------------------------------ */

enum conn_step nbd_opt_meta(struct nbd *nbd, const uint8_t *data, uint32_t len);
void nbd_meta_free(struct nbd *nbd);

/* ---- nbd_cmds.c ------------------------------------------------------------------------------ */

void nbd_cmds_init(struct nbd *nbd);

/* The step of CONN_HEADER in transmission; that behind DISC. */
enum conn_step nbd_cmd_header(struct nbd *nbd);
enum conn_step nbd_cmd_leaving(struct nbd *nbd);

/* Nothing more is taken: those that would go on are answered. */
void nbd_cmds_finish(struct nbd *nbd);

/* The command's request is complete. */
enum conn_step nbd_cmd_run(struct nbd *nbd);

/* The answer to the request of a command. */
void nbd_cmd_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply);

/* The command is over. */
void nbd_cmd_end(struct nbd *nbd, struct nbd_cmd *cmd);

/* Makes a request of n bytes of a body, for a command.  An error of their encoder, -ERR_NOMEM. */
int nbd_cmd_begin(struct nbd *nbd, const struct nbd_cmd *cmd, uint16_t op, const uint8_t *body,
		  int n, uint32_t payload_len, struct request **req) MUST_CHECK;

/* The next piece of a command, in its turn; when the server stops there is none. */
void nbd_cmd_again(struct nbd *nbd, struct nbd_cmd *cmd);

/* Runs the next request of a command, which "begin" makes. */
void nbd_cmd_follow(struct nbd *nbd, struct nbd_cmd *cmd,
		    int (*begin)(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req));

/* ---- nbd_status.c ---------------------------------------------------------------------------- */

/* BLOCK_STATUS: the request of the next context; its answer. */
int nbd_status_begin(struct nbd *nbd, struct nbd_cmd *cmd, struct request **req);
void nbd_status_answered(struct nbd *nbd, struct nbd_cmd *cmd, const struct session_reply *reply);

/* The contexts that its payload asks for.  0, or an error number. */
uint32_t nbd_status_filter(const struct nbd *nbd, const uint8_t *data, struct nbd_cmd *cmd);

#endif
