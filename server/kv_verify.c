/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kv_verify.c: LMDB's file, page by page.  The layout is that of LMDB 0.9 on a machine with 64 bits,
 * little-endian; what is read here is never trusted as a length or a place before it was compared.
 *
 *	header page	page head, magic, version, address, size of the map, table of free pages, table
 *			of tables, last page, commit
 *	page head	page number, (unused), kind, end of the offsets, begin of the entries
 *	branch, leaf	page head, an offset for each entry, a gap, the entries
 *	overflow	page head with the number of pages, bytes of one value
 *	entry		length or (in a branch) page, flags or the page's upper bits, length of the key,
 *			key, value or (flag "big") the page where that is
 *	table		(unused), flags, depth, branches, leaves, overflow pages, entries, root
 */
#include "server/kv_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/cursor.h"
#include "common/err.h"
#include "common/log.h"
#include "server/kv_layer.h"

#define PAGE_BYTES 4096u

#define PAGE_HEAD     16u
#define PAGE_BRANCH   0x01u
#define PAGE_LEAF     0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_HEADER   0x08u
#define PAGE_NONE     UINT64_MAX

#define HEADERS		2u
#define HEADER_MAGIC	0xbeefc0deu
#define HEADER_VERSION	1u
#define HEADER_ADDRESS	24u /* offsets in the page */
#define HEADER_MAP_SIZE 32u
#define HEADER_FREE	40u
#define HEADER_TABLES	88u
#define HEADER_LAST	136u
#define HEADER_COMMIT	144u

#define TABLE_BYTES	 48u
#define TABLE_FLAGS_FREE 0x4008u /* numbers as keys; the file is none of a directory */
#define DEPTH_MAX	 16u

#define ENTRY_HEAD	8u
#define ENTRY_BIG	0x01u
#define ENTRY_TABLE	0x02u
#define ENTRY_BIG_BYTES 8u

/* Whose tree it is. */
enum verify_kind { VERIFY_TABLE, VERIFY_TABLES, VERIFY_FREE };

/* What is written of a table, and what its pages have shown. */
struct verify_tree {
	enum verify_kind kind;
	enum kv_table table; /* of VERIFY_TABLE */
	const char *name;
	uint64_t root;
	unsigned int depth;
	uint64_t branches;
	uint64_t leaves;
	uint64_t overflow;
	uint64_t entries;
	uint64_t found_branches;
	uint64_t found_leaves;
	uint64_t found_overflow;
	uint64_t found_entries;
	struct kv_buf last_key; /* the highest so far */
};

struct verify {
	const uint8_t *bytes;
	uint64_t file_bytes;
	uint64_t npages; /* as of the commit: up to the last that was ever used */
	uint64_t commit;
	bool leaves;   /* of all tables are looked into */
	bool freeing;  /* pages that are free are noted */
	uint8_t *seen; /* a bit for each page; NULL: not noted */
	uint64_t nseen;
	unsigned int tables; /* a bit for each that was found */
};

/* An entry of a page. */
struct verify_entry {
	unsigned int flags;
	struct kv_buf key;
	uint64_t page; /* of a branch */
	uint32_t len;  /* of a leaf's value */
	const uint8_t *val;
};

/* A branch or leaf, found to be one. */
struct verify_page {
	uint64_t n;
	const uint8_t *bytes;
	unsigned int nentries;
	unsigned int begin; /* of its entries */
};

/* The keys that a page may have: from the first on, up to the second; len 0: any. */
struct verify_range {
	struct kv_buf from;
	struct kv_buf to;
};

static int verify_bad(const struct verify_tree *tree, uint64_t page, const char *problem)
{
	log_event(LOG_ERROR, "map-page", "table=%s page=%" PRIu64 " problem=\"%s\"",
		  tree ? tree->name : "-", page, problem);
	return -ERR_PAGE;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static const uint8_t *page_at(const struct verify *v, uint64_t page)
{
	return v->bytes + page * PAGE_BYTES;
}

/* Notes that a page has its use. */
static int page_note(struct verify *v, const struct verify_tree *tree, uint64_t page)
{
	uint8_t bit = (uint8_t)(1u << (page % 8));

	if (page < HEADERS || page >= v->npages)
		return verify_bad(tree, page, "beyond the pages in use");
	if (!v->seen)
		return 0;
	if (v->seen[page / 8] & bit)
		return verify_bad(tree, page, "in use twice, or in use and free");
	v->seen[page / 8] |= bit;
	v->nseen++;
	return 0;
}

static int page_parse(const struct verify *v, const struct verify_tree *tree, uint64_t n,
		      unsigned int kind, struct verify_page *page)
{
	const uint8_t *bytes = page_at(v, n);
	unsigned int end = le16_get(bytes + 12);
	unsigned int begin = le16_get(bytes + 14);

	if (le64_get(bytes) != n)
		return verify_bad(tree, n, "another page's number");
	if (le16_get(bytes + 10) != kind)
		return verify_bad(tree, n, "kind");
	if (end < PAGE_HEAD || (end - PAGE_HEAD) % 2 != 0 || end > begin || begin > PAGE_BYTES)
		return verify_bad(tree, n, "bounds");
	*page = (struct verify_page){
	    .n = n, .bytes = bytes, .nentries = (end - PAGE_HEAD) / 2, .begin = begin};
	return page->nentries > 0 ? 0 : verify_bad(tree, n, "empty");
}

/* The i-th entry, which lies within the page; *taken grows by what it takes. */
static bool entry_parse(const struct verify_page *page, unsigned int i, bool leaf,
			struct verify_entry *entry, unsigned int *taken)
{
	unsigned int off = le16_get(page->bytes + PAGE_HEAD + 2 * i);
	const uint8_t *at = page->bytes + off;
	uint64_t bytes = ENTRY_HEAD;
	struct verify_entry e = {.flags = 0};

	if (off < page->begin || off % 2 != 0 || off + ENTRY_HEAD > PAGE_BYTES)
		return false;
	e.key = (struct kv_buf){.data = at + ENTRY_HEAD, .len = le16_get(at + 6)};
	bytes += e.key.len;
	if (leaf) {
		e.flags = le16_get(at + 4);
		e.len = le32_get(at);
		e.val = at + bytes;
		bytes += e.flags & ENTRY_BIG ? ENTRY_BIG_BYTES : e.len;
	} else {
		e.page = le48_get(at);
	}
	bytes += bytes % 2;
	if (bytes > PAGE_BYTES - off)
		return false;
	*taken += (unsigned int)bytes;
	*entry = e;
	return true;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int key_cmp(const struct verify_tree *tree, struct kv_buf a, struct kv_buf b)
{
	uint64_t x;
	uint64_t y;

	if (tree->kind != VERIFY_FREE)
		return kv_key_cmp(a, b);
	x = le64_get(a.data);
	y = le64_get(b.data);
	return x < y ? -1 : x > y;
}

/* A list of free pages is a commit's.  There is none with the number 0: LMDB takes it for none yet, and would
 * take the list again and again. */
static bool key_is_one(const struct verify_tree *tree, struct kv_buf key)
{
	if (tree->kind == VERIFY_FREE)
		return key.len == sizeof(uint64_t) && le64_get(key.data) != 0;
	return key.len > 0 && key.len <= KV_KEY_MAX;
}

static bool key_fits(const struct verify_tree *tree, struct kv_buf key,
		     const struct verify_range *range)
{
	return key_is_one(tree, key) &&
	       (range->from.len == 0 || key_cmp(tree, key, range->from) >= 0) &&
	       (range->to.len == 0 || key_cmp(tree, key, range->to) < 0);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

static int verify_tree_at(struct verify *v, struct verify_tree *tree, const uint8_t *bytes);

/* The pages of a value that does not fit into a leaf; *val: its bytes. */
static int verify_big(struct verify *v, struct verify_tree *tree, uint64_t leaf,
		      const struct verify_entry *entry, const uint8_t **val)
{
	uint64_t page = le64_get(entry->val);
	uint64_t needed = ((uint64_t)entry->len + PAGE_HEAD - 1) / PAGE_BYTES + 1;
	const uint8_t *bytes;
	uint64_t n;

	if (page >= v->npages)
		return verify_bad(tree, leaf, "a large value beyond the pages in use");
	bytes = page_at(v, page);
	n = le32_get(bytes + 12); /* more than it needs, where it was made shorter */
	if (le64_get(bytes) != page || le16_get(bytes + 10) != PAGE_OVERFLOW || n < needed)
		return verify_bad(tree, page, "not the pages of this large value");
	if (n > v->npages - page)
		return verify_bad(tree, leaf, "a large value beyond the pages in use");
	for (uint64_t i = 0; i < n; i++) {
		int err = page_note(v, tree, page + i);

		if (err)
			return err;
	}
	tree->found_overflow += n;
	*val = bytes + PAGE_HEAD;
	return 0;
}

/* A list of free pages: their number first. */
static int verify_free_list(struct verify *v, const struct verify_tree *tree, uint64_t leaf,
			    const uint8_t *val, uint32_t len)
{
	uint64_t n = len >= sizeof(uint64_t) ? le64_get(val) : UINT64_MAX;
	int err = 0;

	if (len % sizeof(uint64_t) != 0 || n > len / sizeof(uint64_t) - 1)
		return verify_bad(tree, leaf, "length of a list of free pages");
	for (uint64_t i = 1; i <= n && v->freeing && !err; i++)
		err = page_note(v, tree, le64_get(val + i * sizeof(uint64_t)));
	return err;
}

static bool tree_has_counts(const struct verify_tree *tree)
{
	return tree->kind == VERIFY_TABLE && (tree->table == KV_NREF || tree->table == KV_XREF);
}

/* Its leaves are looked into. */
static bool tree_is_whole(const struct verify *v, const struct verify_tree *tree)
{
	return v->leaves || tree->kind != VERIFY_TABLE || tree_has_counts(tree);
}

/* A table in the table of tables. */
static int verify_table(struct verify *v, const struct verify_tree *tree, uint64_t leaf,
			const struct verify_entry *entry)
{
	struct verify_tree sub = {.kind = VERIFY_TABLE};

	for (int t = 0; t < KV_NTABLES; t++) {
		sub.name = kv_table_name((enum kv_table)t);
		if (strlen(sub.name) != entry->key.len ||
		    memcmp(sub.name, entry->key.data, entry->key.len) != 0)
			continue;
		sub.table = (enum kv_table)t;
		v->tables |= 1u << t;
		return verify_tree_at(v, &sub, entry->val);
	}
	return verify_bad(tree, leaf, "an unknown table");
}

static int verify_leaf_entry(struct verify *v, struct verify_tree *tree, uint64_t leaf,
			     const struct verify_entry *entry)
{
	const uint8_t *val = entry->val;
	int err = 0;

	tree->found_entries++;
	tree->last_key = entry->key;
	if (tree->kind == VERIFY_TABLES) {
		if (entry->flags != ENTRY_TABLE || entry->len != TABLE_BYTES)
			return verify_bad(tree, leaf, "an entry that is no table");
		return v->freeing ? verify_table(v, tree, leaf, entry) : 0;
	}
	if (entry->flags == ENTRY_BIG)
		err = verify_big(v, tree, leaf, entry, &val);
	else if (entry->flags != 0)
		err = verify_bad(tree, leaf, "flags of an entry");
	if (!err && tree->kind == VERIFY_FREE)
		err = verify_free_list(v, tree, leaf, val, entry->len);
	return err;
}

static int verify_leaf(struct verify *v, struct verify_tree *tree, uint64_t n,
		       const struct verify_range *range)
{
	struct kv_buf last = {.len = 0};
	struct verify_page page = {.nentries = 0};
	unsigned int taken = 0;
	int err;

	tree->found_leaves++;
	if (!tree_is_whole(v, tree))
		return 0;
	err = page_parse(v, tree, n, PAGE_LEAF, &page);
	for (unsigned int i = 0; i < page.nentries && !err; i++) {
		struct verify_entry entry;

		if (!entry_parse(&page, i, true, &entry, &taken))
			return verify_bad(tree, n, "an entry beyond the page");
		if (!key_fits(tree, entry.key, range))
			return verify_bad(tree, n, "a key that does not belong there");
		if (last.len > 0 && key_cmp(tree, entry.key, last) <= 0)
			return verify_bad(tree, n, "keys that do not ascend");
		last = entry.key;
		err = verify_leaf_entry(v, tree, n, &entry);
	}
	if (!err && taken != PAGE_BYTES - page.begin)
		err = verify_bad(tree, n, "entries that do not fill it");
	return err;
}

/* ---- branches -------------------------------------------------------------------------------- */

static int verify_page(struct verify *v, struct verify_tree *tree, uint64_t n, unsigned int depth,
		       const struct verify_range *range);

/* The entry behind the i-th, or the end of the range; what it says is looked at when it is reached. */
static int branch_end(const struct verify_tree *tree, const struct verify_page *page,
		      unsigned int i, const struct verify_range *range, struct kv_buf *to)
{
	struct verify_entry next;
	unsigned int taken = 0;

	*to = range->to;
	if (i + 1 == page->nentries)
		return 0;
	if (!entry_parse(page, i + 1, false, &next, &taken))
		return verify_bad(tree, page->n, "an entry beyond the page");
	if (!key_fits(tree, next.key, range))
		return verify_bad(tree, page->n, "a key that does not belong there");
	*to = next.key;
	return 0;
}

/* The key of the first entry stands for all that are less, whatever it is. */
static int verify_branch(struct verify *v, struct verify_tree *tree, uint64_t n, unsigned int depth,
			 const struct verify_range *range)
{
	struct verify_range sub = {.from = range->from};
	struct verify_page page = {.nentries = 0};
	unsigned int taken = 0;
	int err = page_parse(v, tree, n, PAGE_BRANCH, &page);

	tree->found_branches++;
	for (unsigned int i = 0; i < page.nentries && !err; i++) {
		struct verify_entry entry;

		if (!entry_parse(&page, i, false, &entry, &taken))
			return verify_bad(tree, n, "an entry beyond the page");
		if (i > 0)
			sub.from = entry.key;
		err = branch_end(tree, &page, i, range, &sub.to);
		if (!err && i > 0 && sub.to.len > 0 && key_cmp(tree, sub.from, sub.to) >= 0)
			err = verify_bad(tree, n, "keys that do not ascend");
		if (!err)
			err = verify_page(v, tree, entry.page, depth - 1, &sub);
	}
	if (!err && taken != PAGE_BYTES - page.begin)
		err = verify_bad(tree, n, "entries that do not fill it");
	return err;
}

/* Recursive, as deep as the tree is high. */
static int verify_page(struct verify *v, struct verify_tree *tree, uint64_t n, unsigned int depth,
		       const struct verify_range *range)
{
	int err = page_note(v, tree, n);

	if (err)
		return err;
	return depth == 1 ? verify_leaf(v, tree, n, range)
			  : verify_branch(v, tree, n, depth, range);
}

/* ---- trees ----------------------------------------------------------------------------------- */

static void tree_parse(const uint8_t *bytes, struct verify_tree *tree)
{
	tree->depth = le16_get(bytes + 6);
	tree->branches = le64_get(bytes + 8);
	tree->leaves = le64_get(bytes + 16);
	tree->overflow = le64_get(bytes + 24);
	tree->entries = le64_get(bytes + 32);
	tree->root = le64_get(bytes + 40);
}

static bool tree_counts_fit(const struct verify *v, const struct verify_tree *tree)
{
	bool whole = tree_is_whole(v, tree);

	return tree->branches == tree->found_branches && tree->leaves == tree->found_leaves &&
	       (!whole ||
		(tree->overflow == tree->found_overflow && tree->entries == tree->found_entries));
}

/* tree has its kind and name; "bytes" say the rest. */
static int verify_tree_at(struct verify *v, struct verify_tree *tree, const uint8_t *bytes)
{
	static const struct verify_range all;
	unsigned int flags = le16_get(bytes + 4);
	int err = 0;

	tree_parse(bytes, tree);
	if (flags != (tree->kind == VERIFY_FREE ? TABLE_FLAGS_FREE : 0u))
		return verify_bad(tree, tree->root, "flags of the table");
	if ((tree->root == PAGE_NONE) != (tree->depth == 0) || tree->depth > DEPTH_MAX)
		return verify_bad(tree, tree->root, "depth of the table");
	if (tree->depth > 0)
		err = verify_page(v, tree, tree->root, tree->depth, &all);
	if (!err && !tree_counts_fit(v, tree))
		err = verify_bad(tree, tree->root, "number of pages or entries of the table");
	return err;
}

/* ---- headers --------------------------------------------------------------------------------- */

/* The n-th header, by itself. */
static int verify_header(const struct verify *v, uint64_t n)
{
	const uint8_t *page = page_at(v, n);

	if (le16_get(page + 10) != PAGE_HEADER || le32_get(page + PAGE_HEAD) != HEADER_MAGIC)
		return -ERR_FORMAT_OTHER;
	if (le32_get(page + PAGE_HEAD + 4) != HEADER_VERSION)
		return -ERR_FORMAT_VERSION;
	if (le64_get(page) != n || le64_get(page + HEADER_ADDRESS) != 0 ||
	    le32_get(page + HEADER_FREE) != PAGE_BYTES || le64_get(page + HEADER_COMMIT) % 2 != n)
		return verify_bad(NULL, n, "header");
	if (le64_get(page + HEADER_MAP_SIZE) > v->file_bytes)
		return -ERR_FORMAT_SIZE;
	if (le64_get(page + HEADER_LAST) < HEADERS - 1 ||
	    le64_get(page + HEADER_LAST) >= le64_get(page + HEADER_MAP_SIZE) / PAGE_BYTES)
		return verify_bad(NULL, n, "last page");
	return 0;
}

/* The tree of free pages, which ends with those that this commit has replaced; the first replaces none. */
static int verify_free(struct verify *v, uint64_t header)
{
	struct verify_tree tree = {.kind = VERIFY_FREE, .name = "free-pages"};
	int err = verify_tree_at(v, &tree, page_at(v, header) + HEADER_FREE);
	uint64_t last = tree.last_key.len > 0 ? le64_get(tree.last_key.data) : 1;

	if (!err && last != v->commit)
		err = verify_bad(&tree, header, "header of another commit");
	return err;
}

static void verify_take(struct verify *v, uint64_t header)
{
	const uint8_t *page = page_at(v, header);

	v->npages = le64_get(page + HEADER_LAST) + 1;
	v->commit = le64_get(page + HEADER_COMMIT);
}

/*
 * Both headers, and which is in force.  Of the other only its number is compared: where a commit has failed
 * LMDB puts the old number back into a header whose trees are that commit's, so these prove nothing.  If it
 * is the number of the one in force that was damaged, this shows the commit before, and the journal or the
 * era of the last start (era.h) that it is too old.
 */
static int verify_headers(const struct verify *v, uint64_t *current)
{
	uint64_t commits[HEADERS];
	int err = 0;

	for (uint64_t n = 0; n < HEADERS && !err; n++) {
		err = verify_header(v, n);
		commits[n] = le64_get(page_at(v, n) + HEADER_COMMIT);
	}
	if (err)
		return err;
	*current = commits[1] > commits[0];
	if (commits[*current] - commits[1 - *current] != 1)
		return verify_bad(NULL, *current, "headers of commits that do not follow");
	return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* Every page is in use or free; one that is neither is lost, which is no danger. */
static void verify_sum(const struct verify *v)
{
	if (v->leaves && v->nseen != v->npages - HEADERS)
		log_event(LOG_WARN, "map-pages-lost", "pages=%" PRIu64,
			  v->npages - HEADERS - v->nseen);
}

static int verify_current(struct verify *v, uint64_t header)
{
	struct verify_tree tables = {.kind = VERIFY_TABLES, .name = "tables"};
	int err;

	v->seen = calloc(1, v->npages / 8 + 1);
	if (!v->seen)
		return -ERR_NOMEM;
	v->freeing = true;
	err = verify_free(v, header);
	if (!err)
		err = verify_tree_at(v, &tables, page_at(v, header) + HEADER_TABLES);
	if (!err && v->tables != (1u << KV_NTABLES) - 1)
		err = verify_bad(&tables, header, "a table is missing");
	if (!err)
		verify_sum(v);
	free(v->seen);
	return err;
}

int kv_verify(int fd, bool whole)
{
	struct verify v = {.leaves = true};
	uint64_t current;
	struct stat st;
	void *bytes;
	int err;

	if (fstat(fd, &st) < 0)
		return -ERR_MAP;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)(HEADERS * PAGE_BYTES))
		return -ERR_FORMAT_OTHER;
	v.file_bytes = (uint64_t)st.st_size;
	bytes = mmap(NULL, v.file_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return errno == ENOMEM ? -ERR_NOMEM : -ERR_MAP;
	v.bytes = bytes;
	err = verify_headers(&v, &current);
	if (!err) {
		verify_take(&v, current);
		v.leaves = whole || v.npages <= KV_VERIFY_SMALL_PAGES;
		if (v.leaves)
			(void)madvise(bytes, v.npages * PAGE_BYTES, MADV_WILLNEED);
		err = verify_current(&v, current);
	}
	munmap(bytes, v.file_bytes);
	return err;
}
