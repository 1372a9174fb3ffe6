/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_corrupt.c: every byte of a small store is another in turn, in the map and in the data; sectors are
 * lost or another's; files are cut, of another store, or of another time.  Each time a server is started
 * on that, as cowd does it.  It is refused, or what cannot be had is an error whose place is in the log,
 * and which the checker finds too; or all is there.  Never are other bytes read, or another size, and
 * nobody dies of it.
 *
 * Each case is a process's, so that one that dies is seen and does not end the test.  What is not read by
 * any start (gaps in pages, pages that are free, blocks that no object maps, the journal of a run before)
 * is tried by chance, and so is what a record brings along, which one checksum covers (bytes.h).  Blocks of
 * data have every byte tried below an engine that runs.
 *
 * $TEST_CORRUPT: one byte in so many (1; with sanitizers SHARE); 0: every one, read or not, those that
 * are not read MANY at once, far from each other.  $TEST_SEED.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cursor.h"
#include "common/err.h"
#include "server/era.h"
#include "server/journal_format.h"
#include "server/store.h"
#include "tests/corrupt/bytes.h"
#include "tests/corrupt/made.h"
#include "tests/corrupt/seen.h"
#include "tests/lib/caught.h"
#include "tests/lib/daemon.h"
#include "tests/lib/must.h"
#include "tests/lib/rnd.h"

#define SHARE	     24u
#define MANY	     64u
#define PROCESSES    2u
#define SECTOR	     512u
#define CASE_SECONDS 60u
#define EXIT_LATCHED 77

enum how { HOW_AS_IS, HOW_BIT, HOW_MANY, HOW_LOST, HOW_OTHER, HOW_CUT, HOW_NHOWS };

static const char *const how_names[] = {"as it is",    "bit",	       "bits",
					"lost sector", "other sector", "cut"};

/* What is done to a store. */
struct damage {
	enum made_moment of[IMAGE_NFILES]; /* where each file is from */
	bool foreign;			   /* the data is another store's */
	enum how how;
	enum image_file file;
	uint64_t off; /* HOW_CUT: the new size; HOW_MANY: the first of them in t.rest */
	uint64_t arg; /* the bit; the sector that is there instead; HOW_MANY: one in so many, */
	uint64_t end; /* up to this one */
};

struct tally {
	uint64_t next; /* the case that is under way */
	uint64_t failures;
	uint64_t verdicts[SEEN_NVERDICTS];
	uint64_t latched;
	uint64_t cut;	   /* the journal ended before its last record */
	uint64_t cut_said; /* of these, and the log has that */
};

/* What processes share. */
struct shared {
	struct seen was[MADE_NMOMENTS];
	struct seen was_cut; /* MADE_CRASHED without its last record */
	struct tally tallies[PROCESSES];
};

static struct {
	char dir[64];
	struct made made;
	struct shared *shared;
	uint64_t last_record; /* of MADE_CRASHED: where it begins, and ends */
	uint64_t last_record_end;
	struct damage *cases;
	size_t ncases;
	size_t cap;
	uint64_t *rest; /* bits of what is not read, counted from the beginning of the file */
	size_t nrest;
	size_t rest_cap;
} t;

/* ---- one case -------------------------------------------------------------------------------- */

static void damage_apply(const struct damage *d, struct image *image)
{
	struct image_bytes *f = &image->files[d->file];

	switch (d->how) {
	case HOW_BIT:
		f->bytes[d->off] ^= (uint8_t)(1u << d->arg);
		break;
	case HOW_MANY:
		for (uint64_t i = d->off; i < d->end; i += d->arg)
			f->bytes[t.rest[i] / 8] ^= (uint8_t)(1u << t.rest[i] % 8);
		break;
	case HOW_LOST:
		memset(f->bytes + d->off, 0, SECTOR);
		break;
	case HOW_OTHER:
		memcpy(f->bytes + d->off, f->bytes + d->arg, SECTOR);
		break;
	case HOW_CUT:
		f->file_bytes = d->off;
		break;
	default:
		break;
	}
}

static void damage_make(const struct damage *d, struct image *image)
{
	struct image from = {.files[IMAGE_MAP] = t.made.images[d->of[IMAGE_MAP]].files[IMAGE_MAP],
			     .files[IMAGE_DATA] =
				 t.made.images[d->of[IMAGE_DATA]].files[IMAGE_DATA]};

	if (d->foreign)
		from.files[IMAGE_DATA] = t.made.other.files[IMAGE_DATA];
	image_copy(image, &from);
	damage_apply(d, image);
}

static bool in_last_record(enum made_moment moment, enum image_file file, uint64_t off)
{
	return moment == MADE_CRASHED && file == IMAGE_DATA && off >= t.last_record &&
	       off < t.last_record_end;
}

static void damage_tell(const struct damage *d, const struct seen *seen, const char *what)
{
	(void)printf("%s: map of %d, data of %s%d, %s at %" PRIu64 ", %s (%" PRIu64
		     "): error %s %s\n%s",
		     what, (int)d->of[IMAGE_MAP], d->foreign ? "another store's " : "",
		     (int)d->of[IMAGE_DATA], image_name(d->file), d->off, how_names[d->how], d->arg,
		     err_name(seen->err), seen->why, caught_text());
	(void)fflush(stdout);
}

/* A record that was not known durable may be lost with what is damaged of it: the state before it. */
static bool judge_cut(struct tally *tally, const struct damage *d, const struct seen *seen)
{
	const char *what;

	if (d->how == HOW_MANY || !in_last_record(d->of[IMAGE_DATA], d->file, d->off) ||
	    seen_compare(seen, &t.shared->was_cut, &what) != SEEN_EXACT)
		return false;
	tally->cut++;
	tally->cut_said += seen->cut;
	return seen->cut || d->how != HOW_BIT;
}

static void judge(struct tally *tally, const struct damage *d, const struct seen *seen)
{
	const char *what;
	enum seen_verdict verdict = seen_compare(seen, &t.shared->was[d->of[IMAGE_MAP]], &what);

	if (verdict == SEEN_WRONG && d->of[IMAGE_MAP] != d->of[IMAGE_DATA])
		verdict = seen_compare(seen, &t.shared->was[d->of[IMAGE_DATA]], &what);
	if (verdict == SEEN_WRONG && judge_cut(tally, d, seen))
		return;
	tally->verdicts[verdict]++;
	tally->latched += seen->latched;
	if (verdict != SEEN_WRONG)
		return;
	tally->failures++;
	damage_tell(d, seen, what);
}

/* From the case under way on; ends the process. */
static NORETURN void run_child(unsigned int process)
{
	static struct seen seen;
	struct tally *tally = &t.shared->tallies[process];
	char dir[96];

	(void)snprintf(dir, sizeof(dir), "%s/%u", t.dir, process);
	caught_begin();
	for (; tally->next < t.ncases; tally->next += PROCESSES) {
		const struct damage *d = &t.cases[tally->next];
		struct image image;

		must_end_within(CASE_SECONDS);
		damage_make(d, &image);
		image_put(&image, dir);
		image_fini(&image);
		caught_clear();
		seen_look(dir, &seen);
		judge(tally, d, &seen);
		if (seen.latched)
			_exit(EXIT_LATCHED);
	}
	_exit(0);
}

/* ---- all cases ------------------------------------------------------------------------------- */

static pid_t run_fork(unsigned int process)
{
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	MUST(pid >= 0, "fork");
	if (pid == 0)
		run_child(process);
	return pid;
}

/* A process has ended: with all its cases, or in the middle of one, which others go on behind. */
static bool run_goes_on(unsigned int process, int status)
{
	struct tally *tally = &t.shared->tallies[process];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_LATCHED) {
		static const struct seen none;

		tally->failures++;
		caught_begin();
		caught_end();
		(void)printf("died with status %d, signal %d\n", WEXITSTATUS(status),
			     WTERMSIG(status));
		damage_tell(&t.cases[tally->next], &none, "a server that dies");
	}
	tally->next += PROCESSES;
	return true;
}

static void run_all(const char *what)
{
	pid_t pids[PROCESSES];
	struct tally sum = {0};
	unsigned int running = PROCESSES;

	for (unsigned int p = 0; p < PROCESSES; p++) {
		t.shared->tallies[p] = (struct tally){.next = p};
		pids[p] = run_fork(p);
	}
	while (running > 0) {
		int status;
		pid_t pid = wait(&status);

		for (unsigned int p = 0; p < PROCESSES; p++) {
			if (pids[p] != pid)
				continue;
			if (run_goes_on(p, status))
				pids[p] = run_fork(p);
			else
				running--;
		}
	}
	for (unsigned int p = 0; p < PROCESSES; p++) {
		const struct tally *tally = &t.shared->tallies[p];

		sum.failures += tally->failures;
		sum.latched += tally->latched;
		sum.cut += tally->cut;
		sum.cut_said += tally->cut_said;
		for (int v = 0; v < SEEN_NVERDICTS; v++)
			sum.verdicts[v] += tally->verdicts[v];
	}
	(void)printf("%s: %zu cases, %" PRIu64 " refused, %" PRIu64 " reported, %" PRIu64
		     " harmless, %" PRIu64 " with the journal cut (%" PRIu64
		     " in the log), %" PRIu64 " gave up later\n",
		     what, t.ncases, sum.verdicts[SEEN_REFUSED], sum.verdicts[SEEN_REPORTED],
		     sum.verdicts[SEEN_EXACT], sum.cut, sum.cut_said, sum.latched);
	t.ncases = 0;
	t.nrest = 0;
	assert_int_equal(sum.failures, 0);
}

static void add_case(struct damage d)
{
	if (t.ncases == t.cap) {
		t.cap = 2 * t.cap + 1024;
		t.cases = realloc(t.cases, t.cap * sizeof(*t.cases));
		MUST(t.cases, "memory");
	}
	t.cases[t.ncases++] = d;
}

/* ---- which bytes ----------------------------------------------------------------------------- */

static uint64_t share(void)
{
	return rnd_env("TEST_CORRUPT", daemon_is_instrumented() ? SHARE : 1);
}

/* Of how many bytes of the kind of this one only one is tried alone. */
static uint64_t one_in_of(enum made_moment moment, enum image_file file, uint64_t off)
{
	const uint8_t *bytes = t.made.images[moment].files[file].bytes;
	uint64_t n = off / IMAGE_PAGE;
	uint64_t one_in = bytes_one_in(file, bytes + n * IMAGE_PAGE, n, off % IMAGE_PAGE);

	return one_in > BYTES_ALIKE && in_last_record(moment, file, off) ? BYTES_ALIKE : one_in;
}

static void add_rest(uint64_t bit)
{
	if (t.nrest == t.rest_cap) {
		t.rest_cap = 2 * t.rest_cap + 1024;
		t.rest = realloc(t.rest, t.rest_cap * sizeof(*t.rest));
		MUST(t.rest, "memory");
	}
	t.rest[t.nrest++] = bit;
}

/* Every byte of a file that a start reads, with one bit turned; and many at once of the others. */
static void add_bits(enum made_moment moment, enum image_file file, struct rnd *rnd)
{
	const struct image_bytes *f = &t.made.images[moment].files[file];
	struct damage d = {.of = {moment, moment}, .file = file};
	uint64_t one_in = share();
	uint64_t first = t.nrest;

	for (d.off = 0; d.off < f->len; d.off++) {
		uint64_t rarer = one_in_of(moment, file, d.off);

		d.how = HOW_BIT;
		d.arg = rnd_below(rnd, 8);
		if (one_in == 0 && rarer == BYTES_RARELY)
			add_rest(8 * d.off + d.arg);
		else if (one_in == 0 || rnd_one_in(rnd, one_in * rarer))
			add_case(d);
	}
	d.how = HOW_MANY;
	d.arg = (t.nrest - first) / MANY + 1;
	d.end = t.nrest;
	for (d.off = first; d.off < d.end && d.off < first + d.arg; d.off++)
		add_case(d);
}

static void add_sectors(enum made_moment moment, enum image_file file, struct rnd *rnd)
{
	const struct image_bytes *f = &t.made.images[moment].files[file];
	uint64_t one_in = daemon_is_instrumented() ? 8 : 1;

	for (uint64_t off = 0; off < f->len; off += SECTOR) {
		struct damage d = {
		    .of = {moment, moment}, .how = HOW_LOST, .file = file, .off = off};

		if (!rnd_one_in(rnd, one_in))
			continue;
		add_case(d);
		d.how = HOW_OTHER;
		d.arg = rnd_below(rnd, f->len / SECTOR) * SECTOR;
		add_case(d);
	}
}

/* ---- data below an engine that runs ---------------------------------------------------------- */

/* Each byte of the blocks of an object: its block cannot be read then, and can be before and behind that. */
static uint64_t turn_bytes(struct seen_engine *engine, int fd, unsigned int obj, struct rnd *rnd)
{
	const struct seen_obj *o = &t.shared->was[MADE_CLOSED].objs[obj];
	uint64_t one_in = share();
	uint64_t n = 0;

	for (uint64_t b = 0; o->err == 0 && b < blk_count(o->info.size_bytes); b++) {
		uint64_t at = seen_where(engine, obj, b) * BLK_BYTES;

		for (unsigned int i = 0; i < BLK_BYTES && at > 0; i++) {
			uint8_t byte;
			uint8_t other;

			if (one_in > 1 && !rnd_one_in(rnd, one_in))
				continue;
			MUST(pread(fd, &byte, 1, (off_t)(at + i)) == 1, "data");
			other = (uint8_t)(byte ^ 1u << rnd_below(rnd, 8));
			MUST(pwrite(fd, &other, 1, (off_t)(at + i)) == 1, "data");
			MUST(seen_read_fails(engine, obj, b), "%s, block %" PRIu64 ", byte %u",
			     seen_specs[obj], b, i);
			MUST(pwrite(fd, &byte, 1, (off_t)(at + i)) == 1, "data");
			n++;
		}
		MUST(at == 0 || !seen_read_fails(engine, obj, b), "a block that is sound again");
	}
	return n;
}

static NORETURN void run_below_engine(struct tally *tally)
{
	struct rnd rnd = rnd_stream(4);
	struct seen_engine *engine;
	char dir[96];
	char path[128];
	int fd;

	(void)snprintf(dir, sizeof(dir), "%s/0", t.dir);
	(void)snprintf(path, sizeof(path), "%s/data", dir);
	image_put(&t.made.images[MADE_CLOSED], dir);
	must_end_within(10 * CASE_SECONDS);
	caught_begin();
	engine = seen_start(dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (unsigned int i = 0; i < SEEN_OBJS; i++)
		tally->next += turn_bytes(engine, fd, i, &rnd);
	seen_stop(engine);
	_exit(0);
}

/* ---- the cases ------------------------------------------------------------------------------- */

static void another_bit_in_a_store_that_was_stopped(void **state)
{
	struct rnd rnd = rnd_stream(1);

	(void)state;
	add_bits(MADE_CLOSED, IMAGE_MAP, &rnd);
	add_bits(MADE_CLOSED, IMAGE_DATA, &rnd);
	run_all("stopped, a bit");
}

static void another_bit_in_a_store_that_crashed(void **state)
{
	struct rnd rnd = rnd_stream(2);

	(void)state;
	add_bits(MADE_CRASHED, IMAGE_MAP, &rnd);
	add_bits(MADE_CRASHED, IMAGE_DATA, &rnd);
	run_all("crashed, a bit");
}

static void another_bit_of_data_below_a_server_that_runs(void **state)
{
	struct tally *tally = &t.shared->tallies[0];
	int status;
	pid_t pid;

	(void)state;
	*tally = (struct tally){0};
	(void)fflush(stdout);
	pid = fork();
	MUST(pid >= 0, "fork");
	if (pid == 0)
		run_below_engine(tally);
	assert_true(waitpid(pid, &status, 0) == pid && status == 0);
	(void)printf("data, a bit: %" PRIu64 " cases, all reported\n", tally->next);
	assert_true(tally->next * (share() + 1) > BLK_BYTES);
}

static void sectors_that_are_lost_or_others(void **state)
{
	struct rnd rnd = rnd_stream(3);

	(void)state;
	for (int f = 0; f < IMAGE_NFILES; f++) {
		add_sectors(MADE_CLOSED, (enum image_file)f, &rnd);
		add_sectors(MADE_CRASHED, (enum image_file)f, &rnd);
	}
	run_all("sectors");
}

static void files_that_were_cut(void **state)
{
	(void)state;
	for (int m = MADE_CLOSED; m <= MADE_CRASHED; m++) {
		for (int f = 0; f < IMAGE_NFILES; f++) {
			const struct image_bytes *bytes = &t.made.images[m].files[f];
			const uint64_t sizes[] = {0,
						  1,
						  511,
						  4095,
						  4096,
						  8191,
						  8192,
						  12288,
						  bytes->len / 2,
						  bytes->len - 4096,
						  bytes->len - 1,
						  bytes->len,
						  bytes->file_bytes - 4096,
						  bytes->file_bytes - 1};

			for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
				add_case((struct damage){
				    .of = {(enum made_moment)m, (enum made_moment)m},
				    .how = HOW_CUT,
				    .file = (enum image_file)f,
				    .off = sizes[i]});
		}
	}
	run_all("cut");
	for (unsigned int p = 0; p < PROCESSES; p++)
		assert_int_equal(t.shared->tallies[p].verdicts[SEEN_EXACT], 0);
}

static void the_data_of_another_store(void **state)
{
	(void)state;
	for (int m = 0; m < MADE_NMOMENTS; m++)
		add_case(
		    (struct damage){.of = {(enum made_moment)m, MADE_CLOSED}, .foreign = true});
	run_all("another store's");
	assert_int_equal(t.shared->tallies[0].verdicts[SEEN_REFUSED] +
			     t.shared->tallies[1].verdicts[SEEN_REFUSED],
			 MADE_NMOMENTS);
}

/* One run: how often its map was folded until then. */
static const struct {
	unsigned int run;
	unsigned int folds;
	bool closed;
} times[MADE_NMOMENTS] = {
    [MADE_CLOSED] = {1, 1, true},  [MADE_EARLIER] = {2, 0, false},   [MADE_CRASHED] = {2, 0, false},
    [MADE_FOLDED] = {3, 1, false}, [MADE_ONCE_MORE] = {3, 3, false}, [MADE_BEHIND] = {3, 3, false},
    [MADE_LATER] = {3, 4, true},
};

/* Within a run younger data leads an older map on, unless it says that there was a newer one. */
static bool may_be_used(int map, int data)
{
	if (times[map].run != times[data].run || times[data].folds < times[map].folds)
		return false;
	return !times[data].closed || times[data].folds == times[map].folds;
}

/* Of one time they are a copy that was restored; of two runs, or where the data is older, nobody may use them. */
static void files_of_different_times(void **state)
{
	uint64_t exact = 0;
	uint64_t refused = 0;
	uint64_t used = 0;

	(void)state;
	for (int m = 0; m < MADE_NMOMENTS; m++)
		for (int d = 0; d < MADE_NMOMENTS; d++)
			add_case((struct damage){.of = {(enum made_moment)m, (enum made_moment)d}});
	for (int m = 0; m < MADE_NMOMENTS; m++)
		for (int d = 0; d < MADE_NMOMENTS; d++)
			used += may_be_used(m, d);
	run_all("times");
	for (unsigned int p = 0; p < PROCESSES; p++) {
		exact += t.shared->tallies[p].verdicts[SEEN_EXACT];
		refused += t.shared->tallies[p].verdicts[SEEN_REFUSED];
	}
	assert_int_equal(exact, used);
	assert_int_equal(refused, MADE_NMOMENTS * MADE_NMOMENTS - used);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void look_at(const struct image *image, struct seen *seen)
{
	int status;
	pid_t pid = fork();

	MUST(pid >= 0, "fork");
	if (pid == 0) {
		char dir[96];

		(void)snprintf(dir, sizeof(dir), "%s/0", t.dir);
		image_put(image, dir);
		caught_begin();
		seen_look(dir, seen);
		if (seen->refused || seen->differences > 0)
			(void)printf("%s %s", seen->why, caught_text());
		(void)fflush(stdout);
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0) == pid && status == 0, "a sound store: status %d", status);
	MUST(!seen->refused && !seen->latched && seen->differences == 0, "a sound store");
}

/* The newest record, which ends with the blocks that it brings. */
static void find_last_record(void)
{
	const struct image_bytes *f = &t.made.images[MADE_CRASHED].files[IMAGE_DATA];
	uint64_t newest = 0;

	for (uint64_t off = BLK_BYTES; off <= STORE_JOURNAL_MIN * BLK_BYTES && off < f->len;
	     off += BLK_BYTES) {
		const struct disk_record *d = (const struct disk_record *)(f->bytes + off);

		if (le64_get(d->magic) != JOURNAL_MAGIC || le64_get(d->seq) <= newest)
			continue;
		newest = le64_get(d->seq);
		t.last_record = off;
		t.last_record_end = off + le64_get(d->nblks) * BLK_BYTES;
	}
	MUST(newest > 0, "a record");
}

static void check_made(void)
{
	const struct seen_obj *disk = &t.shared->was[MADE_CLOSED].objs[0];

	MUST(disk->err == 0 && disk->info.nversions == 1, "disk");
	for (unsigned int b = 0; b < disk->info.size_bytes / BLK_BYTES; b++)
		for (unsigned int i = 0; i < BLK_BYTES; i++)
			MUST(disk->bytes[b * BLK_BYTES + i] == made_disk_byte(b), "block %u", b);
	MUST(!seen_is_exact(&t.shared->was[MADE_CRASHED], &t.shared->was_cut), "the last record");
	MUST(!seen_is_exact(&t.shared->was[MADE_CRASHED], &t.shared->was[MADE_EARLIER]), "a run");
}

static int setup(void **state)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	struct image cut;

	(void)state;
	(void)snprintf(t.dir, sizeof(t.dir), "%s/cowd-corrupt-XXXXXX", tmp);
	MUST(mkdtemp(t.dir), "%s", t.dir);
	for (unsigned int p = 0; p < PROCESSES; p++) {
		char dir[96];

		(void)snprintf(dir, sizeof(dir), "%s/%u", t.dir, p);
		MUST(mkdir(dir, 0700) == 0, "%s", dir);
	}
	t.shared = mmap(NULL, sizeof(*t.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	MUST(t.shared != MAP_FAILED, "memory");
	made_init(&t.made, t.dir);
	for (int m = 0; m < MADE_NMOMENTS; m++)
		look_at(&t.made.images[m], &t.shared->was[m]);
	find_last_record();
	image_copy(&cut, &t.made.images[MADE_CRASHED]);
	memset(cut.files[IMAGE_DATA].bytes + t.last_record, 0, BLK_BYTES);
	look_at(&cut, &t.shared->was_cut);
	image_fini(&cut);
	check_made();
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = {"map", "map-lock", "data", "lock"};
	char path[160];

	(void)state;
	for (unsigned int p = 0; p < PROCESSES; p++) {
		for (size_t i = 0; i < ARRAY_LEN(files); i++) {
			(void)snprintf(path, sizeof(path), "%s/%u/%s", t.dir, p, files[i]);
			(void)unlink(path);
		}
		(void)snprintf(path, sizeof(path), "%s/%u", t.dir, p);
		(void)rmdir(path);
	}
	(void)rmdir(t.dir);
	made_fini(&t.made);
	munmap(t.shared, sizeof(*t.shared));
	free(t.cases);
	free(t.rest);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(another_bit_in_a_store_that_was_stopped),
	    cmocka_unit_test(another_bit_in_a_store_that_crashed),
	    cmocka_unit_test(another_bit_of_data_below_a_server_that_runs),
	    cmocka_unit_test(sectors_that_are_lost_or_others),
	    cmocka_unit_test(files_that_were_cut),
	    cmocka_unit_test(the_data_of_another_store),
	    cmocka_unit_test(files_of_different_times),
	};

	(void)rnd_seed();
	return cmocka_run_group_tests(tests, setup, teardown);
}
