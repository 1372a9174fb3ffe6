/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer.h: who is at the other end of a connected socket, and whether they may use the server.  Owns
 * nothing.  Loop thread, or before there are threads.
 *
 * Of a unix socket the kernel knows who has connected, as they were then (SO_PEERCRED): root, the user
 * that the server runs as and those of a policy may use it.  What comes by TCP is judged elsewhere: by
 * the address that is listened at, and by TLS.
 */
#ifndef SERVER_PEER_H
#define SERVER_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/annot.h"

#define PEER_TEXT_BYTES	   96u
#define PEER_REFUSAL_BYTES 128u
#define PEER_USERS_MAX	   64u

/* Users beside root and the server's own.  Zeroed: none. */
struct peer_policy {
	uid_t users[PEER_USERS_MAX];
	unsigned int nusers;
};

struct peer {
	bool local; /* by a unix socket */
	bool known; /* local: pid and uid are */
	pid_t pid;
	uid_t uid;
	char text[PEER_TEXT_BYTES]; /* "pid 4711 uid 0", "127.0.0.1:5022" */
};

/* Adds a user, by name or number.  -ERR_INVAL: "why" says what is wrong with it. */
int peer_policy_add(struct peer_policy *policy, const char *user, char *why,
		    size_t why_len) MUST_CHECK;

/* Looks at a connected socket. */
void peer_look(int fd, struct peer *peer);

/* Whether the policy (NULL: one without users) keeps the peer out; then "why" is what to tell them. */
bool peer_is_refused(const struct peer_policy *policy, const struct peer *peer, char *why,
		     size_t why_len);

#endif
