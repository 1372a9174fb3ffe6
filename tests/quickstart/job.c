/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What quickstart cannot do in shell: unaligned writes to an object and, the same, to a model of it
 * in a file; writes until the server dies; and the comparison of what is there then.  The server is
 * that of $COW_URI.
 *
 *	job write OBJECT MODEL COUNT SEED
 *		writes to both, then fsync; prints the bytes written
 *	job storm OBJECT LIST COUNT SEED
 *		writes, without fsync, until the connection is lost; notes each in LIST before it is
 *		sent, prints a line when COUNT are answered
 *	job verify EXPORT MODEL LIST
 *		EXPORT must be MODEL after the first K writes of LIST; prints K and how many were sent
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cow.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

#define JOB_WRITE_MAX (300u << 10)
#define JOB_STORM_MAX 20000u /* a server that has not died by then never will */
#define JOB_SECONDS   110u

struct job_write {
	uint64_t off;
	uint64_t len;
	uint64_t number; /* the content: rnd_fill() of this */
};

struct job_file {
	uint8_t *bytes;
	size_t len;
};

static uint8_t job_buf[JOB_WRITE_MAX];

static cow_object_t *job_open(cow_t *cow, const char *name)
{
	cow_object_t *obj;

	MUST(cow, "memory");
	MUST(cow_set_agent(cow, "quickstart") == 0, "%s", cow_error(cow));
	MUST(cow_connect(cow, NULL) == 0, "%s", cow_error(cow));
	MUST(cow_open(cow, name, 0, &obj) == 0, "%s: %s", name, cow_error(cow));
	MUST(cow_object_size(obj) > JOB_WRITE_MAX + 1, "%s is too small", name);
	return obj;
}

/* The next write, its bytes in job_buf; offset and length are odd, and within the size. */
static struct job_write job_next(struct rnd *rnd, uint64_t size)
{
	struct job_write w;

	w.len = (1 + rnd_below(rnd, JOB_WRITE_MAX - 1)) | 1;
	if (rnd_one_in(rnd, 4))
		w.len = (rnd_below(rnd, 64)) | 1;
	w.off = rnd_below(rnd, size - w.len - 1) | 1;
	w.number = rnd_u64(rnd);
	rnd_fill(job_buf, (size_t)w.len, w.number);
	return w;
}

static void job_run_write(const char *name, const char *model, uint64_t count, struct rnd *rnd)
{
	cow_t *cow = cow_new();
	cow_object_t *obj = job_open(cow, name);
	uint64_t total = 0;
	int fd = open(model, O_WRONLY | O_CLOEXEC);

	MUST(fd >= 0, "%s", model);
	for (uint64_t i = 0; i < count; i++) {
		struct job_write w = job_next(rnd, cow_object_size(obj));
		size_t len = (size_t)w.len;

		MUST(cow_pwrite(obj, job_buf, len, w.off) == (ssize_t)len, "%s", cow_error(cow));
		MUST(pwrite(fd, job_buf, len, (off_t)w.off) == (ssize_t)len, "%s", model);
		total += w.len;
	}
	MUST(cow_fsync(obj) == 0, "%s", cow_error(cow));
	MUST(cow_close(obj) == 0, "%s", cow_error(cow));
	MUST(close(fd) == 0, "%s", model);
	cow_free(cow);
	(void)printf("%" PRIu64 "\n", total);
}

static void job_run_storm(const char *name, const char *path, uint64_t count, struct rnd *rnd)
{
	cow_t *cow = cow_new();
	cow_object_t *obj = job_open(cow, name);
	FILE *list = fopen(path, "we");
	ssize_t n = 0;

	MUST(cow_set_reconnect(cow, 0) == 0, "cow_set_reconnect"); /* it ends with the server */
	MUST(list, "%s", path);
	for (uint64_t answered = 0; n >= 0; answered++) {
		struct job_write w = job_next(rnd, cow_object_size(obj));

		if (answered == count) {
			(void)puts("answered");
			(void)fflush(stdout);
		}
		MUST(answered < JOB_STORM_MAX, "the server was to be killed");
		MUST(fwrite(&w, sizeof(w), 1, list) == 1, "%s", path);
		n = cow_pwrite(obj, job_buf, (size_t)w.len, w.off);
		MUST(n == (ssize_t)w.len || n == -COW_ECONN, "%s", cow_error(cow));
	}
	MUST(fclose(list) == 0, "%s", path);
	(void)cow_close(obj);
	cow_free(cow);
}

/* Private: what is written to it does not reach the file. */
static struct job_file job_map(const char *path)
{
	struct job_file f;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	MUST(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0, "%s", path);
	f.len = (size_t)st.st_size;
	f.bytes = mmap(NULL, f.len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	MUST(f.bytes != MAP_FAILED, "%s", path);
	(void)close(fd);
	return f;
}

/* How many bytes of a range are not the same. */
static uint64_t job_differing(const struct job_file *a, const struct job_file *b, size_t off,
			      size_t len)
{
	uint64_t differing = 0;

	for (size_t end = off + len; off < end;) {
		size_t n = end - off < 4096 ? end - off : 4096;

		if (memcmp(a->bytes + off, b->bytes + off, n) != 0) {
			for (size_t i = off; i < off + n; i++)
				differing += a->bytes[i] != b->bytes[i];
		}
		off += n;
	}
	return differing;
}

static void job_run_verify(const char *export, const char *model, const char *path)
{
	struct job_file found = job_map(export);
	struct job_file expected = job_map(model);
	struct job_file list = job_map(path);
	const struct job_write *writes = (const void *)list.bytes;
	size_t sent = list.len / sizeof(*writes);
	uint64_t differing;
	size_t k = 0;

	MUST(found.len == expected.len, "%s has the size %zu, not %zu", export, found.len,
	     expected.len);
	differing = job_differing(&found, &expected, 0, found.len);
	for (; differing > 0 && k < sent; k++) {
		size_t off = (size_t)writes[k].off, len = (size_t)writes[k].len;

		differing -= job_differing(&found, &expected, off, len);
		rnd_fill(expected.bytes + off, len, writes[k].number);
		differing += job_differing(&found, &expected, off, len);
	}
	MUST(differing == 0,
	     "%s is not what was fsynced and then the first of the %zu later writes: "
	     "with all of these %" PRIu64 " bytes differ",
	     export, sent, differing);
	(void)printf("%zu %zu\n", k, sent);
}

static uint64_t job_number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	MUST(end != text && *end == '\0', "%s is not a number", text);
	return n;
}

int main(int argc, char **argv)
{
	bool writes = argc == 6 && strcmp(argv[1], "write") == 0;
	struct rnd rnd;

	must_end_within(JOB_SECONDS);
	if (argc == 5 && strcmp(argv[1], "verify") == 0) {
		job_run_verify(argv[2], argv[3], argv[4]);
		return 0;
	}
	MUST(writes || (argc == 6 && strcmp(argv[1], "storm") == 0), "see the head of the source");
	rnd = (struct rnd){job_number(argv[5])};
	(writes ? job_run_write : job_run_storm)(argv[2], argv[3], job_number(argv[4]), &rnd);
	return 0;
}
