/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_nbd.c: any bytes as any message of an NBD client.  The first byte chooses the decoder; the rest
 * is what it gets.  What is accepted lies within the input, and is canonical: put together again from what
 * was read it is the same bytes.
 *
 * Built with -fsanitize=fuzzer, or with driver.c where there is no libFuzzer.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/annot.h"
#include "common/err.h"
#include "proto/nbd.h"
#include "tests/fuzz/fuzz.h"

NORETURN static void fuzz_fail(const char *what, const uint8_t *data, size_t len)
{
	(void)fprintf(stderr, "fuzz_nbd: %s: ", what);
	for (size_t i = 0; i < len; i++)
		(void)fprintf(stderr, "%02x", data[i]);
	(void)fputc('\n', stderr);
	abort();
}

static void must(bool ok, const char *what, const uint8_t *data, size_t len)
{
	if (!ok)
		fuzz_fail(what, data, len);
}

static uint64_t number(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void must_text(struct nbd_text text, const uint8_t *at, const uint8_t *data, size_t len)
{
	must(text.len <= NBD_STRING_MAX, "a text that is too long", data, len);
	must(text.len == 0 || (const uint8_t *)text.p == at, "a text elsewhere", data, len);
	must(!text.len || !memchr(text.p, 0, text.len), "a text with NUL", data, len);
	must(text.len <= len && (size_t)(at - data) <= len - text.len, "a text past the end", data,
	     len);
}

static void fuzz_option(const uint8_t *data, size_t len)
{
	struct nbd_option opt;

	if (len < NBD_OPTION_BYTES || nbd_option_decode(data, &opt) < 0)
		return;
	must(number(data, 8) == NBD_MAGIC_OPTION, "another magic", data, len);
	must(opt.option == number(data + 8, 4) && opt.len == number(data + 12, 4),
	     "an option's fields", data, len);
}

static void fuzz_name(const uint8_t *data, size_t len)
{
	struct nbd_text name;

	if (nbd_name_decode(data, len, &name) < 0)
		return;
	must(name.len == len, "a name that is not all", data, len);
	must_text(name, data, data, len);
}

static void fuzz_info(const uint8_t *data, size_t len)
{
	struct nbd_info_request m;
	uint32_t asked = 0;
	size_t at;

	if (nbd_info_request_decode(data, len, &m) < 0)
		return;
	must_text(m.name, data + 4, data, len);
	at = 4 + m.name.len + 2;
	must(len == at + number(data + at - 2, 2) * 2, "an info of another length", data, len);
	for (; at < len; at += 2)
		if (number(data + at, 2) < 32)
			asked |= 1u << number(data + at, 2);
	must(asked == m.asked, "other infos", data, len);
}

static void fuzz_meta(const uint8_t *data, size_t len)
{
	struct nbd_meta_request m;
	const uint8_t *at;

	if (nbd_meta_request_decode(data, len, &m) < 0)
		return;
	must_text(m.name, data + 4, data, len);
	at = m.queries;
	must(at == data + 8 + m.name.len, "queries elsewhere", data, len);
	for (uint32_t i = 0; i < m.nqueries; i++) {
		const uint8_t *before = at;
		struct nbd_text query = nbd_meta_query(&at);

		must_text(query, before + 4, data, len);
	}
	must(at == data + len, "queries that do not end there", data, len);
}

static void fuzz_request(const uint8_t *data, size_t len, bool extended)
{
	size_t want = extended ? NBD_EXTENDED_REQUEST_BYTES : NBD_REQUEST_BYTES;
	struct nbd_request m;

	if (len < want || nbd_request_decode(data, extended, &m) < 0)
		return;
	must(m.flags == number(data + 4, 2) && m.type == number(data + 6, 2), "flags, type", data,
	     len);
	must(m.cookie == number(data + 8, 8) && m.offset == number(data + 16, 8), "cookie, offset",
	     data, len);
	must(m.len == number(data + 24, want - 24), "length", data, len);
}

static void fuzz_compact(const uint8_t *data, size_t len)
{
	fuzz_request(data, len, false);
}

static void fuzz_extended(const uint8_t *data, size_t len)
{
	fuzz_request(data, len, true);
}

static void fuzz_filter(const uint8_t *data, size_t len)
{
	struct nbd_status_filter m;

	if (nbd_status_filter_decode(data, len, &m) < 0)
		return;
	must(m.n > 0 && m.n <= NBD_CONTEXTS_MAX && len == 8 + 4 * (size_t)m.n, "number", data, len);
	must(m.len == number(data, 8), "length", data, len);
	for (uint32_t i = 0; i < m.n; i++)
		must(m.ids[i] == number(data + 8 + 4 * i, 4), "id", data, len);
}

/* A decoder, and something that it accepts. */
#define ROW(fn, s)                   \
	{                            \
		fn, s, sizeof(s) - 1 \
	}

static const struct {
	void (*run)(const uint8_t *data, size_t len);
	const char *sample;
	size_t len;
} rows[] = {
    ROW(fuzz_option, "IHAVEOPT\0\0\0\7\0\0\0\x10"),
    ROW(fuzz_name, "a/b\xc3\xa4@v1"),
    ROW(fuzz_info, "\0\0\0\3abc\0\2\0\3\0\1"),
    ROW(fuzz_meta, "\0\0\0\1a\0\0\0\2\0\0\0\x0f"
		   "base:allocation\0\0\0\5qemu:"),
    ROW(fuzz_compact, "\x25\x60\x95\x13\0\1\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\x10\0\0\0\2\0"),
    ROW(fuzz_extended, "\x21\xe4\x1c\x71\0\x20\0\1\0\0\0\0\0\0\0\1"
		       "\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\2\0"),
    ROW(fuzz_filter, "\0\0\0\0\0\1\0\0\0\0\0\1\0\0\0\2"),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0)
		rows[data[0] % ARRAY_LEN(rows)].run(data + 1, size - 1);
	return 0;
}

const struct fuzz_target fuzz_target = {.runs = 200000};

size_t fuzz_input(uint64_t random, uint8_t *bytes, size_t max)
{
	size_t row = random % ARRAY_LEN(rows);

	if (max < rows[row].len + 1)
		exit(99);
	bytes[0] = (uint8_t)row;
	memcpy(bytes + 1, rows[row].sample, rows[row].len);
	return rows[row].len + 1;
}
