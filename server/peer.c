/* SPDX-License-Identifier: BSD-2-Clause */
#include "server/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"

/* A user by number; (uid_t)-1 is nobody's. */
static bool uid_parse(const char *text, uid_t *uid)
{
	char *end = NULL;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || n >= (uid_t)-1)
		return false;
	*uid = (uid_t)n;
	return true;
}

int peer_policy_add(struct peer_policy *policy, const char *user, char *why, size_t why_len)
{
	const struct passwd *entry = getpwnam(user);
	uid_t uid = 0;

	if (entry) {
		uid = entry->pw_uid;
	} else if (!uid_parse(user, &uid)) {
		snprintf(why, why_len, "--allow-user: there is no user '%s'", user);
		return -ERR_INVAL;
	}
	if (policy->nusers == PEER_USERS_MAX) {
		snprintf(why, why_len, "--allow-user is given more than %u times", PEER_USERS_MAX);
		return -ERR_INVAL;
	}
	policy->users[policy->nusers++] = uid;
	return 0;
}

static void look_local(int fd, struct peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	peer->local = true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.uid == (uid_t)-1)
		return;
	peer->known = true;
	peer->pid = cred.pid;
	peer->uid = cred.uid;
	snprintf(peer->text, sizeof(peer->text), "pid %d uid %u", cred.pid, cred.uid);
}

static void look_ip(int fd, struct peer *peer)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;
	char addr[INET6_ADDRSTRLEN] = "?";

	if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
		return; /* gone already */
	if (ss.ss_family == AF_INET) {
		inet_ntop(AF_INET, &in4->sin_addr, addr, sizeof(addr));
		snprintf(peer->text, sizeof(peer->text), "%s:%u", addr, ntohs(in4->sin_port));
	} else if (ss.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, addr, sizeof(addr));
		snprintf(peer->text, sizeof(peer->text), "[%s]:%u", addr, ntohs(in6->sin6_port));
	}
}

void peer_look(int fd, struct peer *peer)
{
	int domain = AF_UNIX; /* where nothing is known, nobody is let in */
	socklen_t len = sizeof(domain);

	*peer = (struct peer){.text = "unknown"};
	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	if (domain == AF_INET || domain == AF_INET6)
		look_ip(fd, peer);
	else
		look_local(fd, peer);
}

static bool policy_has(const struct peer_policy *policy, uid_t uid)
{
	for (unsigned int i = 0; policy && i < policy->nusers; i++)
		if (policy->users[i] == uid)
			return true;
	return false;
}

bool peer_is_refused(const struct peer_policy *policy, const struct peer *peer, char *why,
		     size_t why_len)
{
	if (!peer->local)
		return false;
	if (!peer->known) {
		snprintf(why, why_len, "it is not known which user connects");
		return true;
	}
	if (peer->uid == 0 || peer->uid == geteuid() || policy_has(policy, peer->uid))
		return false;
	snprintf(why, why_len,
		 "uid %u may not use this server: the option --allow-user %u of cowd lets it",
		 peer->uid, peer->uid);
	return true;
}
