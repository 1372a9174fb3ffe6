/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify.h: what the service manager is told, where there is one: sd_notify(3).  Owns nothing.
 */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

/* Sends lines such as "READY=1" to $NOTIFY_SOCKET; without it nothing. */
void notify_manager(const char *state);

/* The configuration is being read again; NOTIFY_READY ends that. */
void notify_reloading(void);

#define NOTIFY_READY	"READY=1"
#define NOTIFY_STOPPING "STOPPING=1"

#endif
