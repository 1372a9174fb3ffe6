/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz_wire.c: any bytes as any wire struct.  The first byte of the input chooses the struct; the
 * rest is decoded as one.  What is accepted must encode to the very same bytes (the encoding is
 * canonical) and to no fewer; what is refused must leave the output alone.
 *
 * Built with -fsanitize=fuzzer, or with driver.c where there is no libFuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/cursor.h"
#include "common/err.h"
#include "tests/fuzz/fuzz.h"
#include "tests/vectors/codec.h"
#include "tests/vectors/vectors.h"

#define UNTOUCHED 0xa5

NORETURN static void fuzz_fail(const char *what, const char *name, const uint8_t *data, size_t len)
{
	(void)fprintf(stderr, "fuzz_wire: %s: %s: ", name, what);
	for (size_t i = 0; i < len; i++)
		(void)fprintf(stderr, "%02x", data[i]);
	(void)fputc('\n', stderr);
	abort();
}

static void *fuzz_alloc(size_t len)
{
	void *p = malloc(len > 0 ? len : 1);

	if (!p)
		abort();
	return p;
}

static void check_accepted(const struct codec *codec, const void *m, const uint8_t *data,
			   size_t len)
{
	uint8_t *out = fuzz_alloc(len);

	if (codec->encode(out, len, m) != (int)len || memcmp(out, data, len) != 0)
		fuzz_fail("encodes to something else", codec->name, data, len);
	if (len > 0 && codec->encode(out, len - 1, m) != -ERR_LIMIT)
		fuzz_fail("overruns its buffer", codec->name, data, len);
	free(out);
}

static void check_refused(const struct codec *codec, int err, const uint8_t *m, const uint8_t *data,
			  size_t len)
{
	enum err class = err_class(err);

	if (err > 0 || (class != ERR_PROTO && class != ERR_INVAL))
		fuzz_fail("unexpected error", codec->name, data, len);
	for (size_t i = 0; i < codec->struct_bytes; i++)
		if (m[i] != UNTOUCHED)
			fuzz_fail("output of a refused input", codec->name, data, len);
}

static int check(const struct codec *codec, const uint8_t *data, size_t len)
{
	uint8_t *m = fuzz_alloc(codec->struct_bytes);
	int err;

	memset(m, UNTOUCHED, codec->struct_bytes);
	err = codec->decode(data, len, m);
	if (err)
		check_refused(codec, err, m, data, len);
	else
		check_accepted(codec, m, data, len);
	free(m);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct codec *codec;
	uint8_t *copy;
	int err;

	if (size == 0)
		return 0;
	codec = &codecs[data[0] % ncodecs];
	err = check(codec, data + 1, size - 1);
	if (err != -ERR_FRAME_CRC)
		return 0;
	/* no mutation gets past a checksum: look behind it */
	copy = fuzz_alloc(size - 1);
	memcpy(copy, data + 1, size - 1);
	le32_put(copy + WIRE_HEADER_BYTES - 4, crc32c(0, copy, WIRE_HEADER_BYTES - 4));
	if (check(codec, copy, size - 1) == -ERR_FRAME_CRC)
		fuzz_fail("a right checksum is refused", codec->name, copy, size - 1);
	free(copy);
	return 0;
}

const struct fuzz_target fuzz_target = {.runs = 200000};

/* The number of its codec and the bytes of a vector; of a frame the header. */
size_t fuzz_input(uint64_t number, uint8_t *bytes, size_t max)
{
	static struct vectors *vectors;
	const struct vector *v;
	const struct codec *codec;
	bool frame;
	size_t len;

	if (!vectors)
		vectors = vectors_load();
	do {
		v = &vectors->v[number++ % vectors->n];
		frame = strcmp(v->verb, "frame") == 0 || strcmp(v->verb, "badframe") == 0;
		len = frame && v->len > WIRE_HEADER_BYTES ? WIRE_HEADER_BYTES : v->len;
	} while (len >= max); /* the largest are too long to be mutated often */
	codec = codec_find(frame ? "wire_header" : v->name);
	if (!codec) {
		(void)fprintf(stderr, "no input from vector %s %s\n", v->verb, v->name);
		exit(99);
	}
	bytes[0] = (uint8_t)(codec - codecs);
	memcpy(bytes + 1, v->bytes, len);
	return len + 1;
}
