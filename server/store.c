/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/size.h"
#include "common/thread.h"

#define STORE_NEW_INFIX	 ".new-"
#define STORE_NEW_RANDOM "XXXXXX" /* mkdtemp()'s */

/* All that an unfinished store can hold; map_create() builds its file under another name. */
static const char *const store_files[] = {"data", "map", "map.tmp", "map.tmp-lock", "lock"};

static int store_path(char *buf, const char *dir, const char *file)
{
	return snprintf(buf, PATH_MAX, "%s/%s", dir, file) < PATH_MAX ? 0 : -ERR_INVAL;
}

/* Says "WHAT PATH: REASON" with the reason of errno, and translates it. */
static int why_errno(char *why, size_t why_len, const char *what, const char *path)
{
	int err = err_from_errno(errno);

	snprintf(why, why_len, "%s %s: %s", what, path, strerror(errno));
	return err;
}

static int why_err(char *why, size_t why_len, const char *what, const char *path, int err)
{
	snprintf(why, why_len, "%s %s: %s", what, path, err_text(err));
	return err;
}

static bool path_exists(const char *dir, const char *file)
{
	char path[PATH_MAX];
	struct stat st;

	return store_path(path, dir, file) == 0 && stat(path, &st) == 0;
}

int store_probe(const struct store_config *config, char *why, size_t why_len)
{
	const struct dirent *entry;
	bool empty = true;
	DIR *dir;

	if (path_exists(config->dir, "map"))
		return 0;
	dir = opendir(config->dir);
	if (!dir && errno == ENOTDIR) {
		snprintf(why, why_len, "%s is not a store: it is not a directory", config->dir);
		return -ERR_FORMAT;
	}
	if (!dir && errno == ENOENT) {
		snprintf(why, why_len, "there is no store in %s: give --size to make one",
			 config->dir);
		return -ERR_NOENT;
	}
	if (!dir)
		return why_errno(why, why_len, "cannot read", config->dir);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			empty = false;
	closedir(dir);
	if (empty)
		snprintf(why, why_len, "there is no store in %s: give --size to make one",
			 config->dir);
	else
		snprintf(why, why_len, "%s is not a store: it has files in it, but no map",
			 config->dir);
	return empty ? -ERR_NOENT : -ERR_FORMAT;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int dir_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	if (rc == 0)
		rc = dev_file_confirm(fd);
	close(fd);
	return rc;
}

/* Syncs the entry of a file in its directory. */
static int parent_sync(const char *path)
{
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return dir_sync(dirname(copy));
}

/*
 * Names the holder of the lock.  An unfinished store's lock is empty and that of a store never,
 * whenever a crash comes: hence no truncation first.
 */
static int lock_sign(int fd)
{
	char pid[16];
	int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());

	return pwrite(fd, pid, (size_t)n, 0) == n ? ftruncate(fd, n) : -1;
}

/* Removes what this program put into a directory, and the directory if that was all. */
static void store_remove_files(const char *dir)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(store_files); i++)
		if (store_path(path, dir, store_files[i]) == 0)
			(void)unlink(path);
	(void)rmdir(dir);
}

/*
 * An unfinished store of a process that is gone: nobody holds its lock, and nobody has signed it.
 * Before its lock was made it is an empty directory.
 */
static void store_remove_leftover(const char *dir)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (store_path(path, dir, "lock") < 0)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		(void)rmdir(dir);
		return;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_size == 0) {
		log_event(LOG_WARN, "store-leftover-removed", "path=\"%s\"", dir);
		store_remove_files(dir);
	}
	close(fd);
}

/* Looks for unfinished stores of this name in the parent directory. */
static void store_remove_leftovers(const char *parent, const char *base)
{
	const struct dirent *entry;
	size_t n = strlen(base);
	char path[PATH_MAX];
	DIR *dir = opendir(parent);

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (strlen(entry->d_name) == n + strlen(STORE_NEW_INFIX STORE_NEW_RANDOM) &&
		    strncmp(entry->d_name, base, n) == 0 &&
		    strncmp(entry->d_name + n, STORE_NEW_INFIX, strlen(STORE_NEW_INFIX)) == 0 &&
		    store_path(path, parent, entry->d_name) == 0)
			store_remove_leftover(path);
	closedir(dir);
}

/* The wanted size; that of a block device where none was given. */
static int store_size(const struct store_config *config, uint64_t *bytes, char *why, size_t why_len)
{
	struct stat st;
	int fd;
	int rc;

	*bytes = config->size_bytes;
	if (*bytes == 0 && config->device && stat(config->device, &st) == 0 &&
	    S_ISBLK(st.st_mode)) {
		fd = open(config->device, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return why_errno(why, why_len, "cannot open", config->device);
		rc = ioctl(fd, BLKGETSIZE64, bytes);
		close(fd);
		if (rc < 0)
			return why_errno(why, why_len, "cannot get the size of", config->device);
	}
	if (*bytes == 0) {
		snprintf(why, why_len, "give --size to make a store in %s", config->dir);
		return -ERR_INVAL;
	}
	if (*bytes >> BLK_SHIFT < STORE_BLKS_MIN) {
		snprintf(why, why_len,
			 "a store has at least %u blocks of %u bytes: header, journal and data",
			 STORE_BLKS_MIN, BLK_BYTES);
		return -ERR_INVAL;
	}
	return 0;
}

static uint64_t store_meta_bytes(uint64_t size_bytes)
{
	uint64_t bytes = size_bytes / STORE_META_SHARE;

	if (bytes < STORE_META_MIN)
		bytes = STORE_META_MIN;
	if (bytes > STORE_META_MAX)
		bytes = STORE_META_MAX;
	return bytes & ~(uint64_t)(BLK_BYTES - 1);
}

static uint64_t store_journal_nblks(uint64_t dev_nblks)
{
	uint64_t small = dev_nblks / STORE_JOURNAL_SMALL_SHARE;
	uint64_t nblks = dev_nblks / STORE_JOURNAL_SHARE;

	if (small > STORE_JOURNAL_SMALL)
		small = STORE_JOURNAL_SMALL;
	if (nblks < small)
		nblks = small;
	if (nblks < STORE_JOURNAL_MIN)
		nblks = STORE_JOURNAL_MIN;
	return nblks > STORE_JOURNAL_MAX ? STORE_JOURNAL_MAX : nblks;
}

static int why_make(char *why, size_t why_len, const char *path, uint64_t bytes, const char *what,
		    int err)
{
	char size[SIZE_TEXT_MAX];
	const char *reason = err_class(err) == ERR_NOSPC ? "no space left there" : err_text(err);

	if (err == -ERR_EXIST)
		reason = "it exists already";
	snprintf(why, why_len, "cannot make %s of %s in %s: %s", size_format(size, bytes), what,
		 path, reason);
	return err;
}

/*
 * Fills the new directory, all of it durable; its lock is held by *lock_fd.  *device_made: there is
 * a new file at config->device.
 */
static int store_build(const struct store_config *config, const char *dir, uint64_t size_bytes,
		       int *lock_fd, bool *device_made, char *why, size_t why_len)
{
	struct map_geometry geo = {.dev_nblks = size_bytes >> BLK_SHIFT,
				   .journal_nblks = store_journal_nblks(size_bytes >> BLK_SHIFT),
				   .meta_bytes = store_meta_bytes(size_bytes)};
	char lock[PATH_MAX];
	char map[PATH_MAX];
	char data[PATH_MAX];
	struct stat st;
	int err;

	if (store_path(lock, dir, "lock") < 0 || store_path(map, dir, "map") < 0 ||
	    store_path(data, dir, "data") < 0)
		return why_err(why, why_len, "cannot make", dir, -ERR_INVAL);
	*lock_fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*lock_fd < 0 || flock(*lock_fd, LOCK_EX | LOCK_NB) < 0 || fsync(*lock_fd) < 0)
		return why_errno(why, why_len, "cannot make", lock);
	if (getrandom(geo.uuid, sizeof(geo.uuid), 0) != (ssize_t)sizeof(geo.uuid))
		return why_errno(why, why_len, "no random numbers for", dir);
	err = map_create(map, &geo);
	if (err < 0)
		return why_make(why, why_len, config->dir, geo.meta_bytes, "metadata", err);
	err = dev_file_create(config->device ? config->device : data, size_bytes, geo.journal_nblks,
			      geo.uuid);
	if (err < 0)
		return why_make(why, why_len, config->device ? config->device : config->dir,
				size_bytes, "data", err);
	*device_made = config->device && lstat(config->device, &st) == 0 && S_ISREG(st.st_mode);
	if (config->device && parent_sync(config->device) < 0)
		return why_errno(why, why_len, "cannot sync the directory of", config->device);
	if (dir_sync(dir) < 0)
		return why_errno(why, why_len, "cannot sync", dir);
	return 0;
}

/* Gives the new directory its name, durably, and signs its lock: it is no unfinished store. */
static int store_publish(const char *new_dir, const char *dir, const char *parent, int lock_fd,
			 char *why, size_t why_len)
{
	if (rename(new_dir, dir) < 0) {
		if (errno == ENOTEMPTY || errno == EEXIST) {
			snprintf(why, why_len, "%s is not empty", dir);
			return -ERR_EXIST;
		}
		if (errno == EBUSY || errno == EXDEV) {
			snprintf(why, why_len, "%s is a mount point: name a directory inside it",
				 dir);
			return -ERR_INVAL;
		}
		return why_errno(why, why_len, "cannot make", dir);
	}
	if (lock_sign(lock_fd) < 0 || fsync(lock_fd) < 0 || dir_sync(parent) < 0) {
		int err = why_errno(why, why_len, "cannot make", dir);

		store_remove_files(dir);
		return err;
	}
	return 0;
}

/* Builds and publishes; "dir" has no trailing slash and lies in "parent". */
static int store_create_in(const struct store_config *config, const char *dir, const char *parent,
			   uint64_t size_bytes, char *why, size_t why_len)
{
	char new_dir[PATH_MAX];
	bool device_made = false;
	int lock_fd = -1;
	int err;

	if (snprintf(new_dir, sizeof(new_dir), "%s" STORE_NEW_INFIX STORE_NEW_RANDOM, dir) >=
	    PATH_MAX)
		return why_err(why, why_len, "cannot make", dir, -ERR_INVAL);
	if (!mkdtemp(new_dir))
		return why_errno(why, why_len, "cannot make", dir);
	err = store_build(config, new_dir, size_bytes, &lock_fd, &device_made, why, why_len);
	if (err == 0)
		err = store_publish(new_dir, dir, parent, lock_fd, why, why_len);
	if (err < 0) {
		store_remove_files(new_dir);
		if (device_made)
			(void)unlink(config->device);
	}
	if (lock_fd >= 0)
		close(lock_fd);
	return err;
}

/* What is to be mapped can be: a block device cannot. */
static int store_check_mapped(const struct store_config *config, char *why, size_t why_len)
{
	struct stat st;

	if (!config->mapped || stat(config->device, &st) < 0 || S_ISREG(st.st_mode))
		return 0;
	return why_err(why, why_len, "cannot map", config->device, -ERR_NOT_FILE);
}

int store_create(const struct store_config *config, char *why, size_t why_len)
{
	char dir[PATH_MAX];
	char for_parent[PATH_MAX];
	char for_base[PATH_MAX];
	const char *parent;
	uint64_t size_bytes = 0;
	size_t len;
	int err = store_probe(config, why, why_len);

	if (err == 0) {
		snprintf(why, why_len, "there is a store in %s already", config->dir);
		return -ERR_EXIST;
	}
	if (err != -ERR_NOENT)
		return err;
	err = store_check_mapped(config, why, why_len);
	if (err == 0)
		err = store_size(config, &size_bytes, why, why_len);
	if (err < 0)
		return err;
	len = strlen(config->dir);
	while (len > 1 && config->dir[len - 1] == '/')
		len--;
	if (snprintf(dir, sizeof(dir), "%.*s", (int)len, config->dir) >= PATH_MAX)
		return why_err(why, why_len, "cannot make", config->dir, -ERR_INVAL);
	memcpy(for_parent, dir, sizeof(dir));
	memcpy(for_base, dir, sizeof(dir));
	parent = dirname(for_parent);
	store_remove_leftovers(parent, basename(for_base));
	return store_create_in(config, dir, parent, size_bytes, why, why_len);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Who wrote itself into a lock file, as text; "another process" if that cannot be read. */
static void lock_holder(int fd, char *buf, size_t len)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	if (n < 0)
		n = 0;
	pid[strspn(pid, "0123456789")] = '\0';
	if (pid[0] != '\0')
		snprintf(buf, len, "pid %s", pid);
	else
		snprintf(buf, len, "another process");
}

static int store_lock(const char *dir, int *lock_fd, char *why, size_t why_len)
{
	char path[PATH_MAX];
	char holder[32];
	int fd;

	if (store_path(path, dir, "lock") < 0)
		return why_err(why, why_len, "cannot open", dir, -ERR_INVAL);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return why_errno(why, why_len, "cannot open", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		lock_holder(fd, holder, sizeof(holder));
		snprintf(why, why_len, "the store %s is in use by %s", dir, holder);
		close(fd);
		return -ERR_LOCKED;
	}
	if (lock_sign(fd) < 0) {
		int err = why_errno(why, why_len, "cannot write", path);

		close(fd);
		return err;
	}
	*lock_fd = fd;
	return 0;
}

/* Where the data is: in the directory, or where --device says; never both. */
static int store_device_path(const struct store_config *config, char *path, char *why,
			     size_t why_len)
{
	bool inside = path_exists(config->dir, "data");

	if (inside && config->device) {
		snprintf(why, why_len, "the store %s has its data in itself, not in %s",
			 config->dir, config->device);
		return -ERR_INVAL;
	}
	if (!inside && !config->device) {
		snprintf(why, why_len,
			 "the store %s has its data elsewhere: give --device PATH as when it "
			 "was made",
			 config->dir);
		return -ERR_INVAL;
	}
	if (inside)
		return store_path(path, config->dir, "data");
	return snprintf(path, PATH_MAX, "%s", config->device) < PATH_MAX ? 0 : -ERR_INVAL;
}

static int store_check_size(const struct store_config *config, const struct map_geometry *geo,
			    const struct dev *dev, char *why, size_t why_len)
{
	char is[SIZE_TEXT_MAX];

	size_format(is, geo->dev_nblks << BLK_SHIFT);
	if (dev->nblks != geo->dev_nblks) {
		snprintf(why, why_len, "the store %s has %llu blocks, its device %llu", config->dir,
			 (unsigned long long)geo->dev_nblks, (unsigned long long)dev->nblks);
		return -ERR_FORMAT;
	}
	if (config->size_bytes != 0 && config->size_bytes >> BLK_SHIFT != geo->dev_nblks) {
		snprintf(why, why_len,
			 "the store %s was made with another size: %llu bytes (%s); leave out "
			 "--size",
			 config->dir, (unsigned long long)(geo->dev_nblks << BLK_SHIFT), is);
		return -ERR_INVAL;
	}
	return 0;
}

int store_open(const struct store_config *config, struct store *store, char *why, size_t why_len)
{
	struct store s = {.lock_fd = -1};
	char map[PATH_MAX];
	char data[PATH_MAX];
	int err = store_probe(config, why, why_len);

	if (err < 0)
		return err;
	err = store_lock(config->dir, &s.lock_fd, why, why_len);
	if (err < 0)
		return err;
	err = store_device_path(config, data, why, why_len);
	if (err < 0)
		goto fail;
	err = store_path(map, config->dir, "map");
	if (err == 0)
		err = map_open(map, &s.map);
	if (err < 0) {
		why_err(why, why_len, "cannot open the map", map, err);
		goto fail;
	}
	err = (config->mapped ? dev_mapped_open : dev_file_open)(data, map_geometry(s.map)->uuid,
								 &s.dev);
	if (err < 0) {
		why_err(why, why_len, "cannot open the data device", data, err);
		goto fail;
	}
	err = store_check_size(config, map_geometry(s.map), s.dev, why, why_len);
	if (err < 0)
		goto fail;
	*store = s;
	return 0;

fail:
	store_close(&s);
	return err;
}

void store_close(struct store *store)
{
	dev_close(store->dev);
	if (store->map)
		map_close(store->map);
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	*store = (struct store){.lock_fd = -1};
}
