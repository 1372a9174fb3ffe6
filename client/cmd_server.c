/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that are about the server: ping, version. */
#include "client/cmd.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/out.h"
#include "common/clock.h"

int cmd_ping(struct ctl *ctl)
{
	json_object *obj;
	uint64_t begin;
	double us;
	int err = ctl_connect(ctl);

	if (err != 0)
		return err;
	begin = clock_now_ns();
	err = cow_ping(ctl->cow);
	us = (double)(clock_now_ns() - begin) / 1000.0;
	if (err < 0)
		return ctl_fail_cow(ctl, err, NULL);
	if (ctl->json) {
		obj = out_json_new();
		out_json_add(obj, "round_trip_us", json_object_new_double(us));
		return out_json_print(ctl, obj);
	}
	if (!ctl->quiet)
		(void)printf("answer in %.0f us\n", us);
	return CTL_OK;
}

static void version_uuid(char text[37], const uint8_t uuid[16])
{
	size_t pos = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[pos++] = '-';
		(void)snprintf(text + pos, 37 - pos, "%02x", uuid[i]);
		pos += 2;
	}
}

static json_object *version_server_json(const struct cow_server *server)
{
	json_object *obj = json_object_new_object();
	char uuid[37];

	version_uuid(uuid, server->store_uuid);
	out_json_add(obj, "agent", json_object_new_string(server->agent));
	out_json_add(obj, "protocol", json_object_new_uint64(server->version));
	out_json_add(obj, "block_size", json_object_new_uint64(server->block_size));
	out_json_add(obj, "incarnation", json_object_new_uint64(server->incarnation));
	out_json_add(obj, "store_uuid", json_object_new_string(uuid));
	return obj;
}

static int version_json(const struct ctl *ctl, const struct cow_server *server)
{
	json_object *obj = out_json_new();

	out_json_add(obj, "client", json_object_new_string(cow_version()));
	out_json_add(obj, "server", server ? version_server_json(server) : NULL);
	return out_json_print(ctl, obj);
}

/* A server that cannot be reached is said to be so, and is no error: half the answer is here. */
int cmd_version(struct ctl *ctl)
{
	struct cow_server server;
	bool known;
	int err = ctl_try_connect(ctl);

	if (err == CTL_USAGE || !ctl->cow)
		return err;
	known = err == 0 && cow_get_server(ctl->cow, &server) == 0;
	if (ctl->json)
		return version_json(ctl, known ? &server : NULL);
	(void)printf("cowctl %s\n", cow_version());
	if (known)
		(void)printf("server %s, protocol %" PRIu32 "\n", server.agent, server.version);
	else
		(void)printf("server not reachable: %s\n", cow_error(ctl->cow));
	return CTL_OK;
}
