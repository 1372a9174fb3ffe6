/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device that fails: what is answered, what is told to whom, and what is there after a restart
 * with a device that works again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/cow.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/oracle.h"
#include "tests/lib/rnd.h"

#define BLOCK	   4096u
#define BLOCKS	   8u
#define BYTES	   (BLOCKS * BLOCK)
#define FAULTS_MAX 5u /* the first to the fifth call fail, one after the other */

static const char *device_kind; /* daemon_config.device, of the trials to come */

struct trial {
	struct daemon d;
	char calls[96]; /* the file in which the device notes each call */
	char calls_env[128];
	char fault_env[64];
	cow_t *cow;
	cow_object_t *obj; /* "a" */
};

/* ---- with and without fault ------------------------------------------------------------------ */

static void trial_open(struct trial *t)
{
	t->cow = daemon_connect(&t->d, DAEMON_UNIX);
	MUST(cow_open(t->cow, "a", 0, &t->obj) == 0, "%s", cow_error(t->cow));
}

static void trial_close(struct trial *t)
{
	(void)cow_close(t->obj);
	cow_free(t->cow);
}

/* A store with object "a", whose content is that of number 1, all of it durable. */
static void trial_init(struct trial *t, const char *program)
{
	struct daemon_config config = {
	    .program = program, .size = "64M", .writeback_ms = "50", .device = device_kind};
	uint8_t data[BYTES];

	memset(t, 0, sizeof(*t));
	must_end_within(300);
	daemon_init(&t->d, &config);
	daemon_start(&t->d);
	t->cow = daemon_connect(&t->d, DAEMON_UNIX);
	MUST(cow_create(t->cow, "a", BYTES) == 0, "%s", cow_error(t->cow));
	cow_free(t->cow);
	trial_open(t);
	rnd_fill(data, BYTES, 1);
	MUST(cow_pwrite(t->obj, data, BYTES, 0) == BYTES, "%s", cow_error(t->cow));
	MUST(cow_fsync(t->obj) == 0, "%s", cow_error(t->cow));
	trial_close(t);
	daemon_stop(&t->d);
}

static void trial_fini(struct trial *t)
{
	t->d.config.env[0] = NULL; /* the checker reads by a device that works */
	daemon_check(&t->d);
	daemon_fini(&t->d);
}

/* Starts with a device that fails as "variable=value" says. */
static void trial_start_faulty(struct trial *t, const char *variable, const char *value)
{
	(void)snprintf(t->calls, sizeof(t->calls), "%s/calls", t->d.dir);
	(void)snprintf(t->calls_env, sizeof(t->calls_env), "COWD_FAULT_COUNT_FILE=%s", t->calls);
	(void)snprintf(t->fault_env, sizeof(t->fault_env), "%s=%s", variable, value);
	t->d.config.env[0] = t->calls_env;
	t->d.config.env[1] = t->fault_env;
	daemon_start(&t->d);
	trial_open(t);
}

/* Kills it, and starts with a device that works. */
static void trial_restart_sound(struct trial *t)
{
	trial_close(t);
	daemon_kill(&t->d);
	t->d.config.env[0] = NULL;
	daemon_check(&t->d);
	daemon_start(&t->d);
	trial_open(t);
}

/* Whether the device was called that often: else the test has shown nothing. */
static bool was_called(const struct trial *t, const char *call, unsigned int number)
{
	char line[64], want[32];
	bool found = false;
	FILE *f = fopen(t->calls, "re");

	MUST(f, "%s", t->calls);
	(void)snprintf(want, sizeof(want), "%s %u\n", call, number);
	while (!found && fgets(line, sizeof(line), f))
		found = strcmp(line, want) == 0;
	(void)fclose(f);
	return found;
}

static void expect_content(struct trial *t, const uint8_t *want)
{
	uint8_t got[BYTES];

	MUST(cow_pread(t->obj, got, BYTES, 0) == BYTES, "%s", cow_error(t->cow));
	MUST(memcmp(got, want, BYTES) == 0, "other bytes");
}

/* ---- writes ---------------------------------------------------------------------------------- */

static void write_error_once(unsigned int number)
{
	struct trial t;
	uint8_t want[BYTES];
	char text[8];
	unsigned int i;

	trial_init(&t, "COWD_FAULT");
	rnd_fill(want, BYTES, 1);
	(void)snprintf(text, sizeof(text), "%u", number);
	trial_start_faulty(&t, "COWD_FAULT_WRITE_EIO", text);
	for (i = 0; i == 0 || !was_called(&t, "write", number); i++) {
		uint32_t off = i * 977 % (BYTES - 5000);

		rnd_fill(want + off, 5000, 2 + i);
		MUST(cow_pwrite(t.obj, want + off, 5000, off) == 5000, "%s", cow_error(t.cow));
		MUST(cow_fsync(t.obj) == 0, "%s", cow_error(t.cow));
	}
	expect_content(&t, want);
	trial_restart_sound(&t);
	expect_content(&t, want);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

/* What could not be written is written elsewhere, and nobody needs to know. */
static void test_write_error_is_healed(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= FAULTS_MAX; n++)
		write_error_once(n);
}

/* Every handle is told by its next fsync or close; the server goes on with what it can do. */
static void test_write_errors_are_told(void **state)
{
	struct trial t;
	uint8_t was[BYTES], is[BYTES];
	cow_object_t *closes, *later;

	(void)state;
	trial_init(&t, "COWD_FAULT");
	trial_start_faulty(&t, "COWD_FAULT_WRITE_EIO", "1+");
	MUST(cow_open(t.cow, "a", COW_OPEN_READONLY, &closes) == 0, "%s", cow_error(t.cow));
	MUST(cow_open(t.cow, "a", 0, &later) == 0, "%s", cow_error(t.cow));
	rnd_fill(was, BYTES, 1);
	rnd_fill(is, BYTES, 2);
	MUST(cow_pwrite(t.obj, is, BYTES, 0) == BYTES, "%s", cow_error(t.cow));
	MUST(cow_fsync(t.obj) == -COW_EIO, "fsync of what cannot be written");
	MUST(cow_close(closes) == -COW_EIO, "close, untold");
	MUST(cow_fsync(later) == -COW_EIO, "fsync of another handle, untold");
	expect_content(&t, is);
	MUST(cow_ping(t.cow) == 0, "%s", cow_error(t.cow));
	(void)cow_close(later);
	trial_restart_sound(&t);
	expect_content(&t, was);
	MUST(cow_pwrite(t.obj, is, BYTES, 0) == BYTES, "%s", cow_error(t.cow));
	MUST(cow_fsync(t.obj) == 0, "%s", cow_error(t.cow));
	expect_content(&t, is);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

/* A write that goes to the device at once fails itself, and nobody else is told. */
static void direct_write_error_is_told(unsigned int flags)
{
	struct trial t;
	uint8_t was[BYTES], is[BYTES];

	trial_init(&t, "COWD_FAULT");
	trial_start_faulty(&t, "COWD_FAULT_WRITE_EIO", "1+");
	rnd_fill(was, BYTES, 1);
	rnd_fill(is, BYTES, 2);
	MUST(cow_pwrite_with(t.obj, is, BYTES, 0, flags) == -COW_EIO, "a write to nowhere");
	expect_content(&t, was);
	MUST(cow_fsync(t.obj) == 0, "%s", cow_error(t.cow)); /* there is nothing to be synced */
	trial_restart_sound(&t);
	expect_content(&t, was);
	MUST(cow_pwrite_with(t.obj, is, BYTES, 0, flags) == BYTES, "%s", cow_error(t.cow));
	expect_content(&t, is);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

static void test_direct_write_error_is_told(void **state)
{
	(void)state;
	direct_write_error_is_told(COW_IO_DIRECT);
}

static void test_mapped_write_error_is_told(void **state)
{
	(void)state;
	direct_write_error_is_told(0);
}

/* Writes of which nothing reached the device must not keep a stop from its end. */
static void test_stop_with_write_errors(void **state)
{
	struct trial t;
	uint8_t was[BYTES];

	(void)state;
	trial_init(&t, "COWD_FAULT");
	trial_start_faulty(&t, "COWD_FAULT_WRITE_EIO", "1+");
	MUST(cow_pwrite(t.obj, "lost", 4, 0) == 4, "%s", cow_error(t.cow));
	(void)cow_close(t.obj); /* told of the failure or not: that depends on the timer */
	cow_free(t.cow);
	MUST(kill(t.d.pid, SIGTERM) == 0, "kill");
	MUST(daemon_wait(&t.d) == 1, "data was lost and the exit status does not say so");
	t.d.config.env[0] = NULL;
	daemon_start(&t.d);
	trial_open(&t);
	rnd_fill(was, BYTES, 1);
	expect_content(&t, was);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

/* ---- syncs ----------------------------------------------------------------------------------- */

/* After a sync that failed: whatever a fsync said 0 to is there, and a prefix of the writes. */
static void sync_error_once(unsigned int number)
{
	struct trial t;
	struct oracle o;
	struct oracle_state found = {.bytes = calloc(1, ORACLE_BYTES)};
	struct rnd rnd = rnd_stream(number);
	char text[8];
	size_t n;

	MUST(found.bytes, "memory");
	trial_init(&t, "COWD_FAULT");
	oracle_init(&o, 0);
	(void)oracle_write(&o, 0, BYTES, 1);
	oracle_acked(&o);
	oracle_synced(&o);
	(void)snprintf(text, sizeof(text), "%u", number);
	trial_start_faulty(&t, "COWD_FAULT_SYNC_EIO", text);
	for (unsigned int i = 0; i == 0 || !was_called(&t, "sync", number + 1); i++) {
		uint32_t off = (uint32_t)rnd_below(&rnd, BYTES);
		const uint8_t *data = oracle_write(&o, off, 6000, 2 + i);
		int err;

		MUST(cow_pwrite(t.obj, data, 6000, off) == 6000, "%s", cow_error(t.cow));
		oracle_acked(&o);
		err = cow_fsync(t.obj);
		MUST(err == 0 || err == -COW_EIO, "%s", cow_error(t.cow));
		if (err == 0)
			oracle_synced(&o);
	}
	trial_restart_sound(&t);
	found.size = (uint32_t)cow_object_size(t.obj);
	MUST(cow_pread(t.obj, found.bytes, ORACLE_BYTES, 0) == found.size, "%s", cow_error(t.cow));
	MUST(oracle_match(&o, &found, &n), "no prefix: %zu writes, %zu fsynced, sync %u failed",
	     o.nops, o.nsynced, number);
	oracle_fini(&o);
	free(found.bytes);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

static void test_sync_error(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= FAULTS_MAX; n++)
		sync_error_once(n);
}

/* ---- reads ----------------------------------------------------------------------------------- */

/* A read that failed is an error and no data; the next one asks the device again. */
static void test_read_error_once(void **state)
{
	struct trial t;
	uint8_t want[BYTES], got[BYTES] = {0};
	static const uint8_t zeros[BYTES];

	(void)state;
	trial_init(&t, "COWD_FAULT");
	trial_start_faulty(&t, "COWD_FAULT_READ_EIO", "1");
	MUST(cow_pread(t.obj, got, BYTES, 0) == -COW_EIO, "a read that failed");
	MUST(memcmp(got, zeros, BYTES) == 0, "data came with an error");
	MUST(was_called(&t, "read", 1), "no read");
	rnd_fill(want, BYTES, 1);
	expect_content(&t, want);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

/* A write of part of a block that cannot be read is refused as a whole. */
static void test_partial_write_needs_read(void **state)
{
	struct trial t;
	uint8_t want[BYTES], data[2 * BLOCK];

	(void)state;
	trial_init(&t, "COWD_FAULT");
	trial_start_faulty(&t, "COWD_FAULT_READ_EIO", "1+");
	rnd_fill(data, sizeof(data), 9);
	rnd_fill(want, BYTES, 1);
	MUST(cow_pwrite(t.obj, data, sizeof(data), BLOCK + 1) == -COW_EIO, "a fill that failed");
	MUST(cow_pwrite(t.obj, data, BLOCK, 0) == BLOCK, "%s", cow_error(t.cow));
	memcpy(want, data, BLOCK);
	MUST(cow_fsync(t.obj) == 0, "%s", cow_error(t.cow));
	trial_restart_sound(&t);
	expect_content(&t, want);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

/* ---- corruption ------------------------------------------------------------------------------ */

/* Finds a block on the device by its content, and changes one bit of it: in its place, which is behind
 * the journal, where it may be too. */
static void corrupt_block(const struct daemon *d, const uint8_t *content)
{
	int fd = open(d->device, O_RDWR | O_CLOEXEC);
	struct stat st;
	uint8_t *map;
	size_t found = 0;

	MUST(fd >= 0 && fstat(fd, &st) == 0, "%s", d->device);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED, "%s", d->device);
	for (size_t off = 0; off + BLOCK <= (size_t)st.st_size; off += BLOCK)
		if (memcmp(map + off, content, BLOCK) == 0)
			found = off;
	MUST(found > 0, "the block is not on the device");
	map[found + 1234] ^= 0x10;
	MUST(msync(map, (size_t)st.st_size, MS_SYNC) == 0, "msync");
	(void)munmap(map, (size_t)st.st_size);
	(void)close(fd);
}

static void expect_corrupt(struct trial *t, const char *name, uint64_t bad, const uint8_t *want)
{
	uint8_t got[BLOCK];
	cow_object_t *obj;

	MUST(cow_open(t->cow, name, 0, &obj) == 0, "%s", cow_error(t->cow));
	for (uint64_t i = 0; i < BLOCKS; i++) {
		ssize_t n = cow_pread(obj, got, BLOCK, i * BLOCK);

		if (i == bad) {
			MUST(n == -COW_EINTEGRITY, "%s: %zd for a corrupt block", name, n);
			continue;
		}
		MUST(n == BLOCK, "%s, block %" PRIu64 ": %s", name, i, cow_error(t->cow));
		MUST(memcmp(got, want + i * BLOCK, BLOCK) == 0, "other bytes");
	}
	MUST(cow_pwrite(obj, "x", 1, bad * BLOCK + 5) == -COW_EINTEGRITY, "%s: a fill", name);
	MUST(cow_close(obj) == 0, "%s", cow_error(t->cow));
}

/* The checker says which object has lost what part of its data. */
static void expect_checker_names(struct trial *t, uint64_t id, uint64_t offset)
{
	char said[4096], object[32], number[32];
	int status = daemon_check_status(&t->d, said, sizeof(said));

	(void)snprintf(object, sizeof(object), "object %" PRIu64, id);
	(void)snprintf(number, sizeof(number), "%" PRIu64, offset);
	MUST(status == 9, "exit status %d: %s", status, said);
	MUST(strstr(said, object), "the checker does not name %s: %s", object, said);
	MUST(strstr(said, number), "the checker does not name offset %s: %s", number, said);
}

/* Of a block that is not as it was written nothing is ever shown; all the rest is. */
static void test_corrupt_block(void **state)
{
	enum { BAD = 3 };
	uint8_t want[BYTES];
	struct cow_info info;
	struct trial t;

	(void)state;
	trial_init(&t, "COWD");
	rnd_fill(want, BYTES, 1);
	daemon_start(&t.d);
	trial_open(&t);
	MUST(cow_clone(t.cow, "a", "twin") == 0, "%s", cow_error(t.cow));
	MUST(cow_get_info(t.cow, "a", &info) == 0, "%s", cow_error(t.cow));
	trial_close(&t);
	daemon_stop(&t.d);
	corrupt_block(&t.d, want + BAD * BLOCK);
	expect_checker_names(&t, info.id, BAD * BLOCK);
	cow_info_clear(&info);
	daemon_start(&t.d);
	trial_open(&t);
	expect_corrupt(&t, "a", BAD, want);
	expect_corrupt(&t, "twin", BAD, want);
	MUST(cow_pwrite(t.obj, want + BAD * BLOCK, BLOCK, BAD * BLOCK) == BLOCK, "%s",
	     cow_error(t.cow));
	MUST(cow_fsync(t.obj) == 0, "%s", cow_error(t.cow));
	expect_content(&t, want);
	MUST(cow_remove(t.cow, "twin") == 0, "%s", cow_error(t.cow));
	MUST(cow_get_info(t.cow, "a", &info) == 0, "%s", cow_error(t.cow));
	cow_info_clear(&info);
	trial_close(&t);
	daemon_stop(&t.d);
	trial_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_write_error_is_healed),
	    cmocka_unit_test(test_write_errors_are_told),
	    cmocka_unit_test(test_direct_write_error_is_told),
	    cmocka_unit_test(test_stop_with_write_errors),
	    cmocka_unit_test(test_sync_error),
	    cmocka_unit_test(test_read_error_once),
	    cmocka_unit_test(test_partial_write_needs_read),
	    cmocka_unit_test(test_corrupt_block),
	};
	const struct CMUnitTest mapped[] = {
	    cmocka_unit_test(test_write_error_is_healed),
	    cmocka_unit_test(test_mapped_write_error_is_told),
	    cmocka_unit_test(test_sync_error),
	    cmocka_unit_test(test_read_error_once),
	    cmocka_unit_test(test_partial_write_needs_read),
	    cmocka_unit_test(test_corrupt_block),
	};

	(void)rnd_seed();
	if (cmocka_run_group_tests(tests, NULL, NULL) != 0)
		return EXIT_FAILURE;
	device_kind = "dax:";
	return cmocka_run_group_tests(mapped, NULL, NULL);
}
