/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd_input.h: the inputs of fuzz_nbd_conn: a byte of flags, then what clients do, one after the other: a
 * byte with what it is and who does it, and its arguments, in little-endian.  Any bytes are an input.
 */
#ifndef TESTS_FUZZ_NBD_INPUT_H
#define TESTS_FUZZ_NBD_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* The first byte. */
#define IN_CLONES 1u
#define IN_TLS	  2u /* is required, and there is none */
#define IN_SMALL  4u /* budgets */
#define IN_HOLES  8u
#define IN_LEAVE  16u /* clients close at the end, and read no answers before */
#define IN_NARROW 32u /* sockets have little room */

#define IN_CLIENTS 3u

/* What there is to do: the low four bits of a byte; the next two, modulo the clients, are who. */
enum in_op {
	IN_SEND,   /* 16 bits: so many bytes, which follow */
	IN_FILL,   /* 24 bits, a byte: sends it so many times */
	IN_READ,   /* 16 bits: reads so many bytes, as far as they are there; 0: all */
	IN_TURN,   /* a byte: turns of the loop */
	IN_HOLD,   /* the engine answers nothing */
	IN_LET,	   /* it does again */
	IN_STEP,   /* what it holds back is answered, what comes of that is not */
	IN_FAIL,   /* a byte: the next thing it is asked for fails */
	IN_END,	   /* the client sends no more */
	IN_CLOSE,  /* the client goes; when it does something again it is another one */
	IN_RESIZE, /* a byte: so many blocks has the object from here on */
	IN_CROWD,  /* a byte: 1, the engine has no room; 0, it has */
	IN_REMOVE, /* a version goes, if it is not open */
	IN_STOP,   /* the server stops; a byte: 3, at once */
	IN_OPS,
};

#define IN_OBJECT   "a"
#define IN_VERSION  "a@v"
#define IN_OTHER    "a@w"
#define IN_READONLY "r"
#define IN_BYSTAND  "another/object" /* no input names it */
#define IN_BLKS	    16u		     /* of each */

#endif
