/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that are about the server: ping, version, server, check. */
#include "client/cmd.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/out.h"
#include "common/clock.h"
#include "common/size.h"

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

static json_object *version_server_json(const struct cow_server *server)
{
	json_object *obj = json_object_new_object();
	char uuid[OUT_UUID_MAX];

	out_uuid(uuid, server->store_uuid);
	out_json_add(obj, "agent", out_json_text(server->agent));
	out_json_add(obj, "protocol", json_object_new_uint64(server->version));
	out_json_add(obj, "block_size", json_object_new_uint64(server->block_size));
	out_json_add(obj, "incarnation", json_object_new_uint64(server->incarnation));
	out_json_add(obj, "store_uuid", out_json_text(uuid));
	return obj;
}

static int version_json(const struct ctl *ctl, const struct cow_server *server)
{
	json_object *obj = out_json_new();

	out_json_add(obj, "client", out_json_text(cow_version()));
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

/* ---- server ---------------------------------------------------------------------------------- */

/* "off", "on" or "require", as the server's option has it. */
static const char *service_nbd_tls(const struct cow_service *service)
{
	switch (service->nbd_tls) {
	case COW_NBD_TLS_ON:
		return "on";
	case COW_NBD_TLS_REQUIRE:
		return "require";
	default:
		return "off";
	}
}

static json_object *service_json(const struct cow_service *service)
{
	json_object *obj = out_json_new();
	json_object *addrs = json_object_new_array();

	for (size_t i = 0; i < service->naddrs; i++)
		(void)json_object_array_add(addrs, out_json_text(service->addrs[i]));
	out_json_add(obj, "agent", out_json_text(service->agent));
	out_json_add(obj, "incarnation", json_object_new_uint64(service->incarnation));
	out_json_add(obj, "uptime_ms", json_object_new_uint64(service->uptime_ms));
	out_json_add(obj, "addresses", addrs);
	out_json_add(obj, "nbd_tls", out_json_text(service_nbd_tls(service)));
	return obj;
}

static void service_print(const struct cow_service *service)
{
	(void)printf("%s, start %" PRIu64 " on this store, up for %" PRIu64 " s\n", service->agent,
		     service->incarnation, service->uptime_ms / 1000);
	for (size_t i = 0; i < service->naddrs; i++)
		(void)printf("%s\n", service->addrs[i]);
	(void)printf("TLS for NBD: %s\n", service_nbd_tls(service));
}

int cmd_server(struct ctl *ctl)
{
	struct cow_service service;
	int status = CTL_OK;
	int err = ctl_connect(ctl);

	if (err != 0)
		return err;
	err = cow_get_service(ctl->cow, &service);
	if (err < 0)
		return ctl_fail_cow(ctl, err, NULL);
	if (ctl->json)
		status = out_json_print(ctl, service_json(&service));
	else
		service_print(&service);
	cow_service_clear(&service);
	return status;
}

/* ---- check ----------------------------------------------------------------------------------- */

/* It reads all metadata of the store. */
#define CHECK_PATIENCE_SEC 3600u

static json_object *check_json(const struct cow_report *report)
{
	json_object *obj = out_json_new();
	json_object *texts = json_object_new_array();

	for (size_t i = 0; i < report->ntexts; i++)
		(void)json_object_array_add(texts, out_json_text(report->texts[i]));
	out_json_add(obj, "differences", json_object_new_uint64(report->differences));
	out_json_add(obj, "texts", texts);
	out_json_add(obj, "objects", json_object_new_uint64(report->objects));
	out_json_add(obj, "nodes", json_object_new_uint64(report->nodes));
	out_json_add(obj, "mapped", json_object_new_uint64(report->mapped));
	out_json_add(obj, "shared", json_object_new_uint64(report->shared));
	out_json_add(obj, "free", json_object_new_uint64(report->free));
	return obj;
}

static void check_print(const struct ctl *ctl, const struct cow_report *report)
{
	char mapped[SIZE_TEXT_MAX];
	char shared[SIZE_TEXT_MAX];

	for (size_t i = 0; i < report->ntexts; i++)
		(void)puts(report->texts[i]);
	if (report->ntexts < report->differences)
		(void)printf("and %" PRIu64 " more\n", report->differences - report->ntexts);
	if (report->differences == 0 && !ctl->quiet)
		(void)printf("all is well: %" PRIu64 " objects and versions, %" PRIu64
			     " nodes, %s mapped, %s of it shared\n",
			     report->objects, report->nodes, size_format(mapped, report->mapped),
			     size_format(shared, report->shared));
}

int cmd_check(struct ctl *ctl)
{
	struct cow_report report;
	uint64_t differences;
	int printed = CTL_OK;
	int err = ctl_connect_patiently(ctl, CHECK_PATIENCE_SEC);

	if (err != 0)
		return err;
	err = cow_check(ctl->cow, &report);
	if (err < 0)
		return ctl_fail_cow(ctl, err, NULL);
	differences = report.differences;
	if (ctl->json)
		printed = out_json_print(ctl, check_json(&report));
	else
		check_print(ctl, &report);
	cow_report_clear(&report);
	if (differences > 0)
		return ctl_fail(ctl, CTL_INTEGRITY, NULL,
				"the metadata is not what it should be: %" PRIu64
				" difference%s (cowd --check says more, when cowd has stopped)",
				differences, differences == 1 ? "" : "s");
	return printed;
}
