/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_store.h: a store in memory, for tests of libcow and cowctl: its objects and versions, what a
 * test wants of it and what it saw.  It owns its entries and blocks.  The server's thread works on
 * it (fake_ops.h) while a connection is served; a test looks at it and changes it between its calls.
 */
#ifndef TESTS_LIB_FAKE_STORE_H
#define TESTS_LIB_FAKE_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

#define FAKE_BLOCK_BYTES 4096u
#define FAKE_BLOCKS	 4096u /* of an object: 16 MiB at most */
#define FAKE_HELD_MAX	 128u

/* Written once, then shared by whoever maps it. */
struct fake_block {
	uint8_t data[FAKE_BLOCK_BYTES];
	struct fake_block *next; /* of all */
	bool counted;		 /* scratch of a count */
};

struct fake_entry {
	struct msg_info info;
	struct fake_block *blocks[FAKE_BLOCKS];
};

struct fake_store {
	pthread_mutex_t lock;
	struct fake_entry **entries;
	size_t count;
	uint64_t last_id;
	uint64_t now_ns; /* of the store's own clock, which goes on by a second with every use */
	struct fake_block *all_blocks;

	/* What the test wants. */
	struct msg_hello_reply hello;	/* version 0: the usual one */
	char fail_name[MSG_NAME_BYTES]; /* who makes, opens or removes it is answered so */
	uint32_t fail_status;
	unsigned int remove_fails; /* so many REMOVEs are answered with remove_status */
	uint32_t remove_status;
	unsigned int mute_writes; /* so many WRITEs are not answered */
	uint32_t short_by; /* a READV says that its first range has so many bytes less; a WRITE_ALL
				     answers for so many objects less */
	_Atomic uint32_t
	    shuts_down; /* its next request is answered with SHUTDOWN, and that was it */
	_Atomic uint32_t
	    overtaken;		  /* its next request is answered behind the one that follows it */
	unsigned int clone_batch; /* answer so many CLONEs together, the last one first */
	uint64_t clone_range_max; /* bytes that one CLONE_RANGE makes; 0: all */
	uint64_t unshare_max;  /* bytes that one UNSHARE does, all of which it has copied; 0: all */
	uint64_t unshare_room; /* from this offset on there is no space; 0: there is */
	uint64_t verify_max;   /* bytes that one VERIFY does; 0: all */
	struct msg_damage damages[4]; /* what it finds, where it comes by */
	uint32_t ndamages;
	bool damages_anywhere;		/* or where it does not */
	uint32_t list_max;		/* entries of a page; 0: as many as fit */
	uint64_t reaping;		/* what REAPING answers */
	uint64_t reap_step;		/* and by how much it is less the next time */
	struct msg_check_reply report;	/* what CHECK answers */
	struct msg_server_reply server; /* what SERVER answers */

	/* What it saw. */
	bool over_batch; /* more CLONEs were in flight than clone_batch */
	unsigned int requests[WIRE_OP_END];
	struct msg_verify verified;
	uint32_t open_flags; /* of the last OPEN */
	uint32_t io_flags;   /* of the last READ or WRITE */
};

struct fake_store *fake_store_new(void);
void fake_store_free(struct fake_store *st);

/* Makes an object, and gives it data in its first n blocks. */
void fake_store_add(struct fake_store *st, const char *name, uint64_t size_bytes);
void fake_store_fill(struct fake_store *st, const char *spec, size_t n);

/* An object or version; NULL if there is none. */
struct fake_entry *fake_store_find(const struct fake_store *st, const char *spec);

/*
 * For fake_ops.c, under the lock: the time, a second later than before; a new entry, with the content
 * of src or NULL; its end; after names have changed, their order; what an entry maps, in bytes; what
 * the server says of it; and a part of a block that is written.
 */
uint64_t fake_store_tick(struct fake_store *st);
struct fake_entry *fake_store_make(struct fake_store *st, const char *name,
				   const struct fake_entry *src);
void fake_store_drop(struct fake_store *st, const struct fake_entry *e);
void fake_store_sort(struct fake_store *st);
uint64_t fake_store_mapped(const struct fake_entry *e);
struct msg_info fake_store_info(const struct fake_store *st, const struct fake_entry *e);
void fake_store_write_block(struct fake_store *st, struct fake_entry *e, size_t i, size_t at,
			    const uint8_t *data, size_t len);
/* A range, which the object may grow by.  Blocks stay until the end: each write makes as few as can be. */
void fake_store_write(struct fake_store *st, struct fake_entry *e, uint64_t at, const uint8_t *data,
		      size_t len);
void fake_store_lock(struct fake_store *st);
void fake_store_unlock(struct fake_store *st);

#endif
