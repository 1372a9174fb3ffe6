/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_watch.h: what an NBD client has sent, whatever that is, and what it has got for it: whether each
 * message of the server is well-formed, and an answer to something that was asked and has not been
 * answered.  Its numbers are written out, apart from those of proto/nbd.h.  A watch owns its buffers.
 *
 * All of the answers that were read have been given to it, none of what was sent has been left out.
 */
#ifndef TESTS_FUZZ_NBD_WATCH_H
#define TESTS_FUZZ_NBD_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WATCH_OPTS     12u /* numbers below this */
#define WATCH_CMDS     9u
#define WATCH_NAME     256u
#define WATCH_CONTEXTS 16u

/* How replies to commands come. */
enum watch_how { WATCH_SIMPLE, WATCH_STRUCTURED, WATCH_EXTENDED, WATCH_HOWS };

struct watch_bytes {
	uint8_t *p;
	size_t room;
	size_t len;
	size_t at; /* looked at up to here */
};

/* A command that is complete, and not answered. */
struct watch_cmd {
	struct watch_cmd *next;
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset; /* of its header */
	uint64_t len;
	uint64_t told;	   /* bytes of content so far; of a READ */
	uint32_t contexts; /* bit n: context n has been told */
	bool failed;	   /* a chunk said so */
};

enum watch_state {
	WATCH_GREETING,
	WATCH_FLAGS,
	WATCH_OPTION,
	WATCH_COMMANDS,
	WATCH_OVER,  /* nothing more may come */
	WATCH_BLIND, /* two commands have one cookie: where a reply ends is not known */
};

struct watch {
	struct watch_bytes sent;
	struct watch_bytes got;
	enum watch_state state;
	bool clones; /* there are exports that are clones */
	bool needs_tls;
	bool no_zeroes;
	bool fixed;
	bool structured;
	bool extended;
	bool left;   /* DISC was sent */
	bool broken; /* what was sent is no protocol from sent.at on */
	uint32_t noptions;
	uint32_t nreplies; /* of the option under way */
	bool told;	   /* what its export is */
	uint64_t size;
	uint16_t flags;
	char name[WATCH_NAME];	    /* of the export in use */
	char meta_name[WATCH_NAME]; /* of that of the contexts */
	uint32_t ncontexts;
	struct watch_cmd *cmds;
	struct watch_cmd **last;
	uint32_t ncmds;
};

/* How often what was seen, in all of the run. */
struct watch_seen {
	uint64_t opts_acked[WATCH_OPTS];
	uint64_t opts_failed[WATCH_OPTS];
	uint64_t opts_unknown;
	uint64_t cmds_ok[WATCH_HOWS][WATCH_CMDS];
	uint64_t cmds_failed[WATCH_HOWS][WATCH_CMDS];
	uint64_t cmds_unknown;
	uint64_t chunks_data;
	uint64_t chunks_hole;
	uint64_t chunks_status;
	uint64_t read_only; /* writes that were refused for that */
	uint64_t shutdown;  /* answers that the server stops */
	uint64_t blind;
	uint64_t left;
};

extern struct watch_seen watch_seen;

void watch_init(struct watch *w);
void watch_fini(struct watch *w);

void watch_sent(struct watch *w, const void *data, size_t len);

/* What is wrong with it, or NULL. */
const char *watch_got(struct watch *w, const void *data, size_t len);

/* The server has ended the stream, though nobody has cut it: what is wrong with that, or NULL.  "all": each
 * command that was sent as a whole must have been answered. */
const char *watch_ended(const struct watch *w, bool all);

/* The content of exports that never changes: whether this is it; true of all others. */
bool watch_is_content(const char *name, uint64_t offset, const uint8_t *data, size_t len);

#endif
