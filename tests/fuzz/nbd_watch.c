/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/fuzz/nbd_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/must.h"
#include "tests/lib/nbd_peer.h"

enum {
	OPT_EXPORT_NAME = 1,
	OPT_ABORT,
	OPT_LIST,
	OPT_STARTTLS = 5,
	OPT_INFO,
	OPT_GO,
	OPT_STRUCTURED,
	OPT_LIST_META,
	OPT_SET_META,
	OPT_EXTENDED
};
enum {
	CMD_READ,
	CMD_WRITE,
	CMD_DISC,
	CMD_FLUSH,
	CMD_TRIM,
	CMD_CACHE,
	CMD_ZEROES,
	CMD_STATUS,
	CMD_RESIZE
};

#define FLAG_DF		 4u
#define FLAG_REQ_ONE	 8u
#define FLAG_PAYLOAD_LEN 32u
#define EXPORT_READ_ONLY 2u
#define OPTIONS_MAX	 128u
#define OPTION_DATA_MAX	 65536u
#define PAYLOAD_MAX	 33554432u
#define STRING_MAX	 4096u

struct watch_seen watch_seen;

/* NULL: go on; this: there is not enough to go on with; else what is wrong. */
static const char wait_for_more[] = "";

#define WRONG_UNLESS(cond, what)     \
	do {                         \
		if (!(cond))         \
			return what; \
	} while (0)

/* ---- bytes ----------------------------------------------------------------------------------- */

static void bytes_add(struct watch_bytes *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	if (b->at > 65536) { /* what has been looked at is not needed */
		memmove(b->p, b->p + b->at, b->len - b->at);
		b->len -= b->at;
		b->at = 0;
	}
	if (b->len + len > b->room) {
		b->room = 2 * (b->len + len);
		b->p = realloc(b->p, b->room);
		MUST(b->p, "realloc");
	}
	memcpy(b->p + b->len, data, len);
	b->len += len;
}

static size_t left(const struct watch_bytes *b)
{
	return b->len - b->at;
}

static const uint8_t *at(const struct watch_bytes *b)
{
	return b->p + b->at;
}

void watch_init(struct watch *w)
{
	*w = (struct watch){0};
	w->last = &w->cmds;
}

void watch_fini(struct watch *w)
{
	while (w->cmds) {
		struct watch_cmd *cmd = w->cmds;

		w->cmds = cmd->next;
		free(cmd);
	}
	free(w->sent.p);
	free(w->got.p);
}

/* ---- the handshake --------------------------------------------------------------------------- */

static const char *step_greeting(struct watch *w)
{
	if (left(&w->got) < 18)
		return wait_for_more;
	WRONG_UNLESS(memcmp(at(&w->got), "NBDMAGICIHAVEOPT\0\3", 18) == 0, "another greeting");
	w->got.at += 18;
	w->state = WATCH_FLAGS;
	return NULL;
}

static const char *step_flags(struct watch *w)
{
	uint64_t flags;

	if (left(&w->sent) < 4)
		return left(&w->got) > 0 ? "more than the greeting" : wait_for_more;
	flags = nbd_get(at(&w->sent), 4);
	w->fixed = flags & 1;
	w->no_zeroes = flags & 2;
	w->sent.at += 4;
	w->state = flags < 4 ? WATCH_OPTION : WATCH_OVER;
	return NULL;
}

/* A name as an option has it, kept. */
static void keep_name(char out[WATCH_NAME], const uint8_t *p, size_t len)
{
	if (len >= WATCH_NAME)
		len = WATCH_NAME - 1;
	memcpy(out, p, len);
	out[len] = '\0';
}

static bool names_equal(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static const char *enter(struct watch *w, uint64_t size, uint64_t flags)
{
	const char *spec = w->name;

	WRONG_UNLESS(!w->needs_tls, "an export without TLS");
	WRONG_UNLESS(w->clones || strncmp(spec, "+clone:", 7) != 0, "a clone that there is not");
	WRONG_UNLESS(strncmp(spec, "nbd-clone/", 10) != 0, "the clone of another");
	WRONG_UNLESS(flags & 1, "no flags");
	WRONG_UNLESS(!strchr(spec, '@') || spec[0] == '+' || (flags & EXPORT_READ_ONLY),
		     "a version that is not read-only");
	w->size = size;
	w->flags = (uint16_t)flags;
	if (!names_equal(w->name, w->meta_name))
		w->ncontexts = 0;
	w->state = WATCH_COMMANDS;
	return NULL;
}

/* EXPORT_NAME has a reply of its own kind, or the end. */
static const char *export_reply(struct watch *w, const uint8_t *data, uint32_t len)
{
	size_t want = w->no_zeroes ? 10 : 134;
	const uint8_t *p = at(&w->got);
	const char *wrong;

	WRONG_UNLESS(!w->extended, "EXPORT_NAME is answered with extended headers");
	if (left(&w->got) < want)
		return wait_for_more;
	keep_name(w->name, data, len);
	wrong = enter(w, nbd_get(p, 8), nbd_get(p + 8, 2));
	for (size_t i = 10; i < want && !wrong; i++)
		wrong = p[i] != 0 ? "zeroes that are none" : NULL;
	watch_seen.opts_acked[OPT_EXPORT_NAME]++;
	w->sent.at += 16 + len;
	w->got.at += want;
	return wrong;
}

static const char *info_reply(struct watch *w, const uint8_t *p, size_t len)
{
	WRONG_UNLESS(len >= 2 && nbd_get(p, 2) <= 3, "an information that is none");
	if (nbd_get(p, 2) == 3) {
		WRONG_UNLESS(len == 14, "block sizes of another length");
		WRONG_UNLESS(nbd_get(p + 2, 4) == 1 && nbd_get(p + 10, 4) == PAYLOAD_MAX,
			     "block sizes");
	}
	if (nbd_get(p, 2) == 0) {
		WRONG_UNLESS(len == 12 && !w->told, "an export of another length, or twice");
		w->told = true;
		w->size = nbd_get(p + 2, 8);
		w->flags = (uint16_t)nbd_get(p + 10, 2);
	}
	return NULL;
}

/* What comes before the last reply to an option. */
static const char *more_reply(struct watch *w, uint32_t option, uint32_t type, const uint8_t *p,
			      size_t len)
{
	w->nreplies++;
	switch (type) {
	case SERVER:
		WRONG_UNLESS(option == OPT_LIST, "an export that nobody asked for");
		WRONG_UNLESS(len >= 4 && nbd_get(p, 4) <= len - 4, "an export's name");
		WRONG_UNLESS(nbd_get(p, 4) < 10 || memcmp(p + 4, "nbd-clone/", 10) != 0,
			     "the list has a clone");
		return NULL;
	case INFO:
		WRONG_UNLESS(option == OPT_INFO || option == OPT_GO,
			     "an information that nobody asked for");
		return info_reply(w, p, len);
	case CONTEXT:
		WRONG_UNLESS(option == OPT_LIST_META || option == OPT_SET_META,
			     "a context that nobody asked for");
		WRONG_UNLESS(len > 4 && len - 4 <= STRING_MAX, "a context without a name");
		WRONG_UNLESS(option == OPT_LIST_META || (nbd_get(p, 4) == w->nreplies - 1 &&
							 w->nreplies <= WATCH_CONTEXTS),
			     "the number of a context");
		return NULL;
	default:
		return "a kind of reply that there is not";
	}
}

/* The option has succeeded. */
static const char *acked(struct watch *w, uint32_t option, const uint8_t *data)
{
	WRONG_UNLESS(option < WATCH_OPTS && option != OPT_STARTTLS, "success of such an option");
	WRONG_UNLESS(!w->needs_tls || option == OPT_ABORT, "an option without TLS");
	watch_seen.opts_acked[option]++;
	switch (option) {
	case OPT_ABORT:
		w->state = WATCH_OVER;
		break;
	case OPT_STRUCTURED:
		WRONG_UNLESS(!w->extended, "structured replies beside extended headers");
		w->structured = true;
		break;
	case OPT_EXTENDED:
		w->extended = true;
		break;
	case OPT_SET_META:
		w->ncontexts = w->nreplies;
		keep_name(w->meta_name, data + 4, nbd_get(data, 4));
		break;
	case OPT_INFO:
		WRONG_UNLESS(w->told, "no information");
		break;
	case OPT_GO:
		WRONG_UNLESS(w->told, "no information");
		keep_name(w->name, data + 4, nbd_get(data, 4));
		return enter(w, w->size, w->flags);
	default:
		break;
	}
	return NULL;
}

static const char *last_reply(struct watch *w, uint32_t option, uint32_t type, const uint8_t *data,
			      size_t len)
{
	if (option == OPT_SET_META)
		w->ncontexts = 0;
	if (type == ACK) {
		WRONG_UNLESS(len == 0, "a success that says something");
		return acked(w, option, data);
	}
	WRONG_UNLESS(type > REP_ERR(0) && type <= REP_ERR(10) && len <= STRING_MAX,
		     "such an error");
	if (option < WATCH_OPTS)
		watch_seen.opts_failed[option]++;
	else
		watch_seen.opts_unknown++;
	return NULL;
}

/* A reply to the option that begins at sent.at, which has len bytes of data. */
static const char *option_reply(struct watch *w, uint32_t option, uint32_t len)
{
	const uint8_t *p = at(&w->got);
	const uint8_t *data = at(&w->sent) + 16;
	uint32_t type;
	size_t n;
	const char *wrong;

	if (left(&w->got) < 20)
		return wait_for_more;
	type = (uint32_t)nbd_get(p + 12, 4);
	n = nbd_get(p + 16, 4);
	WRONG_UNLESS(memcmp(p, "\x00\x03\xe8\x89\x04\x55\x65\xa9", 8) == 0, "the magic of a reply");
	WRONG_UNLESS(nbd_get(p + 8, 4) == option, "a reply to another option");
	WRONG_UNLESS(n <= 2 * STRING_MAX + 4, "a reply that is too long");
	if (left(&w->got) < 20 + n)
		return wait_for_more;
	w->got.at += 20 + n;
	if (type != ACK && type < REP_ERR(0))
		return more_reply(w, option, type, p + 20, n);
	wrong = last_reply(w, option, type, data, n);
	w->sent.at += 16 + len;
	w->nreplies = 0;
	w->told = false;
	return wrong;
}

/* What was sent next is no option that has an answer. */
static bool is_end_of_options(const struct watch *w, uint32_t option, uint64_t len)
{
	return w->noptions == OPTIONS_MAX || memcmp(at(&w->sent), "IHAVEOPT", 8) != 0 ||
	       len > OPTION_DATA_MAX ||
	       (!w->fixed && option != OPT_EXPORT_NAME && option != OPT_ABORT);
}

static const char *step_option(struct watch *w)
{
	bool first = w->nreplies == 0 && !w->told;
	uint32_t option;
	uint32_t len;
	size_t before = w->sent.at;
	const char *wrong;

	if (left(&w->got) == 0)
		return wait_for_more;
	WRONG_UNLESS(left(&w->sent) >= 16, "a reply to no option");
	option = (uint32_t)nbd_get(at(&w->sent) + 8, 4);
	len = (uint32_t)nbd_get(at(&w->sent) + 12, 4);
	WRONG_UNLESS(!first || !is_end_of_options(w, option, len), "a reply to what is no option");
	WRONG_UNLESS(left(&w->sent) - 16 >= len, "a reply before the option is there");
	if (option == OPT_EXPORT_NAME)
		return export_reply(w, at(&w->sent) + 16, len);
	wrong = option_reply(w, option, len);
	w->noptions += w->sent.at > before;
	return wrong;
}

/* ---- commands that were sent ----------------------------------------------------------------- */

static uint64_t payload_of(const struct watch *w, const struct watch_cmd *cmd)
{
	if (w->extended)
		return cmd->flags & FLAG_PAYLOAD_LEN ? cmd->len : 0;
	return cmd->type == CMD_WRITE ? cmd->len : 0;
}

static struct watch_cmd header_of(const struct watch *w)
{
	const uint8_t *p = at(&w->sent);

	return (struct watch_cmd){.flags = (uint16_t)nbd_get(p + 4, 2),
				  .type = (uint16_t)nbd_get(p + 6, 2),
				  .cookie = nbd_get(p + 8, 8),
				  .offset = nbd_get(p + 16, 8),
				  .len = nbd_get(p + 24, w->extended ? 8 : 4)};
}

static struct watch_cmd *find(const struct watch *w, uint64_t cookie)
{
	struct watch_cmd *cmd = w->cmds;

	while (cmd && cmd->cookie != cookie)
		cmd = cmd->next;
	return cmd;
}

static void note_cmd(struct watch *w, const struct watch_cmd *header, const uint8_t *payload)
{
	struct watch_cmd *cmd = malloc(sizeof(*cmd));

	MUST(cmd, "malloc");
	if (find(w, header->cookie))
		w->state = WATCH_BLIND;
	*cmd = *header;
	if (w->extended && cmd->type == CMD_STATUS && (cmd->flags & FLAG_PAYLOAD_LEN) &&
	    cmd->len >= 8)
		cmd->len = nbd_get(payload, 8);
	*w->last = cmd;
	w->last = &cmd->next;
	w->ncmds++;
}

/* Notes all commands that are complete. */
static void take_cmds(struct watch *w)
{
	size_t head = w->extended ? 32 : 28;

	while (!w->left && !w->broken && w->state == WATCH_COMMANDS && left(&w->sent) >= head) {
		struct watch_cmd cmd = header_of(w);
		uint64_t payload = payload_of(w, &cmd);

		w->broken = nbd_get(at(&w->sent), 4) != (w->extended ? 0x21e41c71 : 0x25609513);
		w->left = !w->broken && cmd.type == CMD_DISC;
		watch_seen.left += w->left;
		w->broken |= payload > PAYLOAD_MAX;
		if (w->broken || w->left || left(&w->sent) - head < payload)
			return;
		note_cmd(w, &cmd, at(&w->sent) + head);
		w->sent.at += head + payload;
	}
}

/* ---- replies to commands --------------------------------------------------------------------- */

static enum watch_how how(const struct watch *w)
{
	return w->extended ? WATCH_EXTENDED : w->structured ? WATCH_STRUCTURED : WATCH_SIMPLE;
}

static const char *answered(struct watch *w, struct watch_cmd *cmd, bool failed)
{
	bool writes = cmd->type == CMD_WRITE || cmd->type == CMD_TRIM || cmd->type == CMD_ZEROES ||
		      cmd->type == CMD_RESIZE;
	struct watch_cmd **link = &w->cmds;

	WRONG_UNLESS(failed || !writes || !(w->flags & EXPORT_READ_ONLY),
		     "a write to an export that is read-only");
	WRONG_UNLESS(failed || (cmd->type < WATCH_CMDS && cmd->type != CMD_DISC),
		     "success of no command");
	if (cmd->type < WATCH_CMDS && failed)
		watch_seen.cmds_failed[how(w)][cmd->type]++;
	else if (cmd->type < WATCH_CMDS)
		watch_seen.cmds_ok[how(w)][cmd->type]++;
	else
		watch_seen.cmds_unknown++;
	while (*link != cmd)
		link = &(*link)->next;
	*link = cmd->next;
	if (!cmd->next)
		w->last = link;
	free(cmd);
	w->ncmds--;
	return NULL;
}

static bool is_errno(uint64_t error)
{
	static const uint64_t errors[] = {1, 5, 12, 22, 28, 75, 95, 108};

	watch_seen.read_only += error == 1;
	watch_seen.shutdown += error == 108;
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (errors[i] == error)
			return true;
	return false;
}

static const char *simple_reply(struct watch *w)
{
	const uint8_t *p = at(&w->got);
	struct watch_cmd *cmd;
	uint64_t error;
	size_t len;

	WRONG_UNLESS(!w->extended, "a simple reply with extended headers");
	if (left(&w->got) < 16)
		return wait_for_more;
	error = nbd_get(p + 4, 4);
	cmd = find(w, nbd_get(p + 8, 8));
	WRONG_UNLESS(cmd, "a reply to no command");
	WRONG_UNLESS(how(w) == WATCH_SIMPLE || cmd->type != CMD_READ, "a simple reply to a read");
	WRONG_UNLESS(error || cmd->type != CMD_STATUS, "a status without one");
	len = error == 0 && cmd->type == CMD_READ ? cmd->len : 0;
	WRONG_UNLESS(len <= PAYLOAD_MAX, "a read of more than the largest payload");
	if (left(&w->got) < 16 + len)
		return wait_for_more;
	WRONG_UNLESS(error == 0 || is_errno(error), "no number of an error");
	WRONG_UNLESS(watch_is_content(w->name, cmd->offset, p + 16, len), "other data");
	w->got.at += 16 + len;
	return answered(w, cmd, error != 0);
}

static const char *chunk_error(struct watch_cmd *cmd, const uint8_t *p, size_t len)
{
	WRONG_UNLESS(len >= 6 && nbd_get(p + 4, 2) == len - 6, "the text of an error");
	WRONG_UNLESS(is_errno(nbd_get(p, 4)), "no number of an error");
	cmd->failed = true;
	return NULL;
}

/* Pieces come in order, as this server sends them, so none comes twice. */
static const char *chunk_content(const struct watch *w, struct watch_cmd *cmd, uint32_t type,
				 const uint8_t *p, size_t len)
{
	uint64_t n = type == 1 ? len - 8 : 0;

	WRONG_UNLESS(cmd->type == CMD_READ, "data of what is no read");
	WRONG_UNLESS(type == 1 ? len > 8 : len == 12, "the length of data");
	if (type == 2)
		n = nbd_get(p + 8, 4);
	WRONG_UNLESS(n > 0 && nbd_get(p, 8) == cmd->offset + cmd->told, "data of another place");
	WRONG_UNLESS(n <= cmd->len - cmd->told, "data past the end of its read");
	WRONG_UNLESS(!(cmd->flags & FLAG_DF) || (type == 1 && n == cmd->len), "a read in pieces");
	WRONG_UNLESS(type == 2 || watch_is_content(w->name, nbd_get(p, 8), p + 8, n), "other data");
	watch_seen.chunks_data += type == 1;
	watch_seen.chunks_hole += type == 2;
	cmd->told += n;
	return NULL;
}

static const char *chunk_status(const struct watch *w, struct watch_cmd *cmd, const uint8_t *p,
				size_t len)
{
	size_t n = w->extended ? 8 : 4; /* bytes of a number */
	size_t from = n;
	uint64_t total = 0;
	uint64_t id;

	WRONG_UNLESS(cmd->type == CMD_STATUS, "the status of what has none");
	WRONG_UNLESS(len >= 3 * n && (len - from) % (2 * n) == 0, "the length of a status");
	WRONG_UNLESS(!w->extended || nbd_get(p + 4, 4) == (len - from) / 16,
		     "the number of extents");
	id = nbd_get(p, 4);
	WRONG_UNLESS(id < w->ncontexts, "a context that was not agreed on");
	WRONG_UNLESS(!(cmd->contexts & 1u << id), "a context twice");
	WRONG_UNLESS(!(cmd->flags & FLAG_REQ_ONE) || len == 3 * n, "more than one extent");
	for (; from < len; from += 2 * n) {
		uint64_t bytes = nbd_get(p + from, n);

		WRONG_UNLESS(bytes > 0 && bytes <= cmd->len - total, "an extent beyond the range");
		total += bytes;
	}
	cmd->contexts |= 1u << id;
	watch_seen.chunks_status++;
	return NULL;
}

static const char *chunk_body(const struct watch *w, struct watch_cmd *cmd, uint32_t type,
			      const uint8_t *p, size_t len)
{
	if (type == 0x8001)
		return chunk_error(cmd, p, len);
	WRONG_UNLESS(!cmd->failed, "content behind an error");
	if (type == 1 || type == 2)
		return chunk_content(w, cmd, type, p, len);
	if (type == (w->extended ? 6 : 5))
		return chunk_status(w, cmd, p, len);
	WRONG_UNLESS(type == 0 && len == 0, "such a chunk");
	return NULL;
}

static const char *cmd_done(struct watch *w, struct watch_cmd *cmd)
{
	WRONG_UNLESS(cmd->failed || cmd->type != CMD_READ || cmd->told == cmd->len,
		     "a read with not all of its data");
	WRONG_UNLESS(cmd->failed || cmd->type != CMD_STATUS || cmd->contexts != 0,
		     "a status without a context");
	return answered(w, cmd, cmd->failed);
}

static const char *chunk(struct watch *w)
{
	const uint8_t *p = at(&w->got);
	size_t head = w->extended ? 32 : 20;
	struct watch_cmd *cmd;
	const char *wrong;
	size_t len;
	bool done;

	WRONG_UNLESS(nbd_get(p, 4) == (w->extended ? 0x6e8a278c : 0x668e33ef),
		     "the magic of an answer");
	if (left(&w->got) < head)
		return wait_for_more;
	len = nbd_get(p + head - (w->extended ? 8 : 4), w->extended ? 8 : 4);
	cmd = find(w, nbd_get(p + 8, 8));
	done = p[5] & 1;
	WRONG_UNLESS(cmd, "an answer to no command");
	WRONG_UNLESS(p[4] == 0 && p[5] <= 1, "flags of an answer");
	WRONG_UNLESS(!w->extended || nbd_get(p + 16, 8) == cmd->offset, "the offset of an answer");
	WRONG_UNLESS(len <= PAYLOAD_MAX + 8, "a chunk that is too long");
	WRONG_UNLESS(done || nbd_get(p + 6, 2) != 0, "a chunk with nothing that is not the last");
	if (left(&w->got) < head + len)
		return wait_for_more;
	wrong = chunk_body(w, cmd, (uint32_t)nbd_get(p + 6, 2), p + head, len);
	w->got.at += head + len;
	if (!wrong && done)
		wrong = cmd_done(w, cmd);
	return wrong;
}

static const char *step_commands(struct watch *w)
{
	take_cmds(w);
	if (w->state == WATCH_BLIND) {
		watch_seen.blind++;
		return NULL;
	}
	if (left(&w->got) < 4)
		return wait_for_more;
	if (nbd_get(at(&w->got), 4) == 0x67446698)
		return simple_reply(w);
	WRONG_UNLESS(how(w) != WATCH_SIMPLE, "the magic of a simple reply");
	return chunk(w);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static const char *step_over(struct watch *w)
{
	return left(&w->got) > 0 ? "more than the last answer" : wait_for_more;
}

static const char *step_blind(struct watch *w)
{
	w->got.at = w->got.len;
	return wait_for_more;
}

void watch_sent(struct watch *w, const void *data, size_t len)
{
	bytes_add(&w->sent, data, len);
}

const char *watch_got(struct watch *w, const void *data, size_t len)
{
	static const char *(*const steps[])(struct watch * w) = {
	    [WATCH_GREETING] = step_greeting, [WATCH_FLAGS] = step_flags,
	    [WATCH_OPTION] = step_option,     [WATCH_COMMANDS] = step_commands,
	    [WATCH_OVER] = step_over,	      [WATCH_BLIND] = step_blind,
	};
	const char *wrong;

	bytes_add(&w->got, data, len);
	do
		wrong = steps[w->state](w);
	while (!wrong);
	return wrong == wait_for_more ? NULL : wrong;
}

/* An option that is there, and has an answer in any case. */
static bool has_option(const struct watch *w)
{
	const uint8_t *p = at(&w->sent);
	uint64_t option;
	uint64_t len;

	if (w->state != WATCH_OPTION || left(&w->sent) < 16)
		return false;
	option = nbd_get(p + 8, 4);
	len = nbd_get(p + 12, 4);
	return !is_end_of_options(w, (uint32_t)option, len) && left(&w->sent) - 16 >= len &&
	       option != OPT_EXPORT_NAME;
}

const char *watch_ended(const struct watch *w, bool all)
{
	if (w->state == WATCH_BLIND)
		return NULL;
	WRONG_UNLESS(!all || !has_option(w), "an option that was not answered");
	WRONG_UNLESS(left(&w->got) == 0, "an end in the midst of a message");
	WRONG_UNLESS(!all || w->ncmds == 0, "a command that was not answered");
	return NULL;
}
