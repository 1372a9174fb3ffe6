/* SPDX-License-Identifier: BSD-2-Clause */
/* The command export-diff: docs/diff-stream.md. */
#include "client/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/diffstream.h"
#include "client/end.h"
#include "client/lineage.h"
#include "client/out.h"
#include "common/clock.h"
#include "common/size.h"

struct export
{
	struct copy_sink sink; /* takes what differs, as records */
	struct ctl *ctl;
	const char *spec;		    /* of the version */
	char from_spec[NAME_MAX_BYTES + 1]; /* "": from nothing */
	uint64_t from_id;
	const char *file; /* NULL: standard output */
	int progress_fd;  /* -1: none given */
	struct diffstream ds;
	struct diffstream_head head;
	struct end_source src;
	bool src_open;
	struct end_sink dst; /* the stream's bytes go there */
	uint64_t written;    /* of them */
	struct copy_error error;
};

/* ---- writing --------------------------------------------------------------------------------- */

static int export_bytes(struct export *ex, const void *bytes, size_t len, struct copy_error *error)
{
	struct copy_piece piece = {.offset = ex->written, .len = len, .buf_len = len};

	memcpy(&piece.buf, &bytes, sizeof(bytes)); /* a sink only reads it */
	if (ex->dst.sink.put(&ex->dst.sink, &piece, error) < 0)
		return -1;
	ex->written += len;
	return 0;
}

static int export_record(struct export *ex, const struct diffstream_record *rec,
			 const void *payload, struct copy_error *error)
{
	uint8_t bytes[DIFFSTREAM_RECORD_BYTES];
	uint8_t crc[DIFFSTREAM_CRC_BYTES];

	diffstream_put(&ex->ds, rec, bytes);
	if (export_bytes(ex, bytes, sizeof(bytes), error) < 0)
		return -1;
	if (rec->payload_len == 0)
		return 0;
	diffstream_put_crc(&ex->ds, payload, rec->payload_len, crc);
	if (export_bytes(ex, payload, rec->payload_len, error) < 0)
		return -1;
	return export_bytes(ex, crc, sizeof(crc), error);
}

static int export_put(struct copy_sink *sink, const struct copy_piece *piece,
		      struct copy_error *error)
{
	struct export *ex = CONTAINER_OF(sink, struct export, sink);
	struct diffstream_record rec = {.type = piece->hole ? DIFFSTREAM_ZERO : DIFFSTREAM_DATA,
					.payload_len = piece->hole ? 0 : (uint32_t)piece->len,
					.offset = piece->offset,
					.len = piece->len};

	return export_record(ex, &rec, piece->buf, error);
}

static int export_begin(struct export *ex)
{
	uint8_t payload[DIFFSTREAM_HEAD_MAX];
	struct diffstream_record rec = {.type = DIFFSTREAM_HEAD};

	diffstream_begin(&ex->ds);
	rec.payload_len = (uint32_t)diffstream_put_head(&ex->head, payload);
	if (export_bytes(ex, DIFFSTREAM_MAGIC, DIFFSTREAM_MAGIC_BYTES, &ex->error) < 0)
		return -1;
	return export_record(ex, &rec, payload, &ex->error);
}

static int export_end(struct export *ex)
{
	struct diffstream_record rec = {.type = DIFFSTREAM_END,
					.payload_len = DIFFSTREAM_END_BYTES};
	uint8_t payload[DIFFSTREAM_END_BYTES];

	diffstream_put_end(&ex->ds, payload);
	if (export_record(ex, &rec, payload, &ex->error) < 0)
		return -1;
	return end_finish_sink(&ex->dst, ex->written, ex->file != NULL, &ex->error);
}

/* ---- what is exported ------------------------------------------------------------------------ */

/* Of a version its identity, and its id in this store. */
static int export_identify(struct export *ex, const char *spec, char id[DIFFSTREAM_ID_BYTES],
			   uint64_t *number)
{
	struct cow_server server;
	struct cow_info info;
	int err = cow_get_server(ex->ctl->cow, &server);

	if (err == 0)
		err = cow_get_info(ex->ctl->cow, spec, &info);
	if (err < 0)
		return end_fail_cow(&ex->error, ex->ctl->cow, err, spec);
	lineage_of(&server, &info, id);
	*number = info.id;
	cow_info_clear(&info);
	return 0;
}

static int export_open_source(struct export *ex)
{
	uint64_t id;

	if (export_identify(ex, ex->spec, ex->head.to_id, &id) < 0)
		return -1;
	if (ex->from_spec[0] &&
	    export_identify(ex, ex->from_spec, ex->head.from_id, &ex->from_id) < 0)
		return -1;
	if (end_open_diff_source(&ex->src, ex->ctl->cow, ex->spec, ex->from_id, ex->head.begin,
				 &ex->error) < 0)
		return -1;
	ex->src_open = true;
	ex->head.size = ex->src.size;
	if (ex->head.begin > ex->head.size)
		return copy_fail(&ex->error, CTL_USAGE, ex->spec,
				 "it has %" PRIu64 " bytes, and nothing to skip to behind them",
				 ex->head.size);
	return 0;
}

static int export_open_sink(struct export *ex)
{
	if (!ex->file) {
		end_open_stdout_sink(&ex->dst);
		return 0;
	}
	if (ctl_catch_interrupts() < 0)
		return copy_fail(&ex->error, CTL_ERROR, NULL, "signals cannot be caught");
	return end_create_file_sink(&ex->dst, ex->file, 0, args_has(&ex->ctl->args, ARGS_FORCE),
				    &ex->error);
}

static int export_run(struct export *ex)
{
	struct copy_result result;
	struct progress progress;
	int err = export_open_source(ex);

	if (err == 0)
		err = export_open_sink(ex);
	if (err < 0)
		return err;
	progress_start(&progress, progress_choose(ex->progress_fd, ex->ctl->quiet), ex->progress_fd,
		       NULL, PROGRESS_UNKNOWN, clock_now_ns());
	err = export_begin(ex);
	if (err == 0)
		err = copy_run(&ex->src.source, &ex->sink, COPY_THREADS, DIFFSTREAM_DATA_MAX,
			       &progress, &result, &ex->error);
	if (err == 0)
		err = export_end(ex);
	progress_end(&progress, err == 0);
	return err;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* "@VERSION", "VERSION", or all of the spec, of the same object. */
static int export_parse_from(struct export *ex, const char *object)
{
	const char *from = ex->ctl->args.values[ARGS_FROM];
	char of[NAME_OBJECT_MAX + 1];
	const char *at;

	if (!from)
		return 0;
	at = strchr(from, '@');
	(void)snprintf(ex->from_spec, sizeof(ex->from_spec), "%s@%s", object, at ? at + 1 : from);
	if ((at && at != from &&
	     ((size_t)(at - from) != strlen(object) ||
	      strncmp(from, object, strlen(object)) != 0)) ||
	    name_split(ex->from_spec, of, ex->head.from) < 0)
		return ctl_fail(ex->ctl, CTL_USAGE, from, "not a version of %s", object);
	return 0;
}

static int export_parse(struct export *ex)
{
	struct ctl *ctl = ex->ctl;
	const char *fd = ctl->args.values[ARGS_PROGRESS];
	const char *to = ctl->args.operands[1];
	int status;

	ex->spec = ctl->args.operands[0];
	if (name_split(ex->spec, ex->head.object, ex->head.to) < 0 || ex->head.to[0] == '\0')
		return ctl_fail(ctl, CTL_USAGE, ex->spec,
				"not a version (OBJ@VERSION; cowctl snap add makes one)");
	status = export_parse_from(ex, ex->head.object);
	if (status == 0)
		status = ctl_get_size(ctl, ARGS_SKIP_TO, 0, &ex->head.begin);
	if (status != 0)
		return status;
	ex->file = strcmp(to, "-") == 0 ? NULL : to;
	if (!ex->file && ctl->json)
		return ctl_fail(ctl, CTL_USAGE, NULL, "--json and data cannot share the output");
	if (!ex->file && isatty(STDOUT_FILENO))
		return ctl_fail(ctl, CTL_USAGE, NULL, "a stream is nothing for a terminal");
	if (fd && progress_parse_fd(fd, &ex->progress_fd) < 0)
		return ctl_fail(ctl, CTL_USAGE, fd, "not an open descriptor");
	return 0;
}

static int export_report(const struct export *ex)
{
	const struct ctl *ctl = ex->ctl;
	char data[SIZE_TEXT_MAX];
	json_object *obj;

	ctl_remark(ctl, "%s of data; %" PRIu64 " nodes were read",
		   size_format(data, ex->ds.data_bytes), ex->src.nodes);
	if (!ctl->json)
		return CTL_OK;
	obj = out_json_new();
	out_json_add(obj, "version", out_json_text(ex->spec));
	out_json_add(obj, "from", ex->from_spec[0] ? out_json_text(ex->from_spec) : NULL);
	out_json_add(obj, "begin", json_object_new_uint64(ex->head.begin));
	out_json_add(obj, "data_bytes", json_object_new_uint64(ex->ds.data_bytes));
	out_json_add(obj, "zero_bytes", json_object_new_uint64(ex->ds.zero_bytes));
	out_json_add(obj, "stream_bytes", json_object_new_uint64(ex->written));
	return out_json_print(ctl, obj);
}

/* What was written is no stream without its end: it goes away again. */
static int export_fail(const struct export *ex)
{
	if (ex->dst.created && unlink(ex->file) < 0 && errno != ENOENT)
		(void)ctl_fail(ex->ctl, CTL_ERROR, ex->file,
			       "it is incomplete and could not be removed: %s", strerror(errno));
	(void)ctl_fail(ex->ctl, ex->error.status, ex->error.subject, "%s", ex->error.text);
	ctl_die_of_interrupt();
	return ex->error.status;
}

int cmd_export_diff(struct ctl *ctl)
{
	struct export ex = {
	    .sink = {.put = export_put, .ordered = true}, .ctl = ctl, .progress_fd = -1};
	struct copy_error closing;
	int status = export_parse(&ex);
	int err;

	if (status == 0)
		status = ctl_connect(ctl);
	if (status != 0)
		return status;
	err = export_run(&ex);
	if (ex.src_open)
		end_close_source(&ex.src);
	if (ex.dst.name && end_close_sink(&ex.dst, &closing) < 0 && err == 0) {
		ex.error = closing;
		err = -1;
	}
	return err < 0 ? export_fail(&ex) : export_report(&ex);
}
