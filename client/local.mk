# SPDX-License-Identifier: BSD-2-Clause
# libclient is libcow without its symbol map: for cowctl, which so needs no shared library of ours,
# and for unit tests of what libcow does not export.

noinst_LTLIBRARIES += libclient.la
libclient_la_LIBADD = libcommon.la
libclient_la_SOURCES = \
	client/aio.c \
	client/aio.h \
	client/call.c \
	client/call.h \
	client/chan.c \
	client/chan.h \
	client/chan_in.c \
	client/cow.c \
	client/cow.h \
	client/cow_aio.h \
	client/dial.c \
	client/dial.h \
	client/diff.c \
	client/edits.c \
	client/errors.c \
	client/errors.h \
	client/extents.c \
	client/flight.c \
	client/flight.h \
	client/group.c \
	client/handle.h \
	client/infos.c \
	client/infos.h \
	client/link.c \
	client/link.h \
	client/lists.c \
	client/many.c \
	client/names.c \
	client/names.h \
	client/object.c \
	client/ranges.c \
	client/store.c \
	client/transfer.c \
	client/verify.c \
	client/share.c \
	client/uri.c \
	client/uri.h \
	client/write_all.c \
	$(NULL)

lib_LTLIBRARIES += libcow.la
include_HEADERS += client/cow.h client/cow_aio.h
libcow_la_SOURCES =
libcow_la_LIBADD = libclient.la
libcow_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-Wl,--version-script=$(top_srcdir)/client/libcow.map
EXTRA_libcow_la_DEPENDENCIES = client/libcow.map
EXTRA_DIST += client/libcow.map

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = libcow.pc

# All of cowctl but its main(), so that unit tests link it.
noinst_LTLIBRARIES += libctl.la
libctl_la_CPPFLAGS = $(AM_CPPFLAGS) $(JSONC_CFLAGS) $(SMARTCOLS_CFLAGS)
libctl_la_LIBADD = $(JSONC_LIBS) $(SMARTCOLS_LIBS)
libctl_la_SOURCES = \
	client/args.c \
	client/args.h \
	client/attrs.c \
	client/attrs.h \
	client/cmd.h \
	client/cmd_attrs.c \
	client/cmd_clone.c \
	client/cmd_compare.c \
	client/cmd_cp.c \
	client/cmd_data.c \
	client/cmd_diff.c \
	client/cmd_export.c \
	client/cmd_group.c \
	client/cmd_help.c \
	client/cmd_import.c \
	client/cmd_map.c \
	client/cmd_names.c \
	client/cmd_rm.c \
	client/cmd_server.c \
	client/cmd_show.c \
	client/cmd_snap.c \
	client/cmd_space.c \
	client/cmd_tree.c \
	client/cmd_unshare.c \
	client/cmd_verify.c \
	client/cmd_with.c \
	client/cmd_write_all.c \
	client/commands.c \
	client/commands.h \
	client/copy.c \
	client/copy.h \
	client/ctl.c \
	client/ctl.h \
	client/diffread.c \
	client/diffread.h \
	client/diffstream.c \
	client/diffstream.h \
	client/end.c \
	client/end.h \
	client/end_diff.c \
	client/end_file.c \
	client/end_object.c \
	client/lineage.c \
	client/lineage.h \
	client/near.c \
	client/near.h \
	client/out.c \
	client/out.h \
	client/pattern.c \
	client/pattern.h \
	client/place.c \
	client/place.h \
	client/progress.c \
	client/progress.h \
	client/reach.c \
	client/reach.h \
	client/show.c \
	client/show.h \
	client/specs.c \
	client/specs.h \
	$(NULL)

bin_PROGRAMS += cowctl
cowctl_SOURCES = client/cowctl.c
cowctl_LDADD = libctl.la libclient.la libcommon.la

# Examples: compiled by make check, run by tests/integration/test_examples.sh, installed as text.
examplesdir = $(docdir)/examples
dist_examples_DATA = \
	client/examples/aio_copy.c \
	client/examples/cow_event.h \
	client/examples/event_ping.c \
	$(NULL)
check_PROGRAMS += client/examples/aio_copy client/examples/event_ping
client_examples_aio_copy_SOURCES = client/examples/aio_copy.c
client_examples_aio_copy_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/client
client_examples_aio_copy_LDADD = libcow.la
client_examples_event_ping_SOURCES = client/examples/cow_event.h client/examples/event_ping.c
client_examples_event_ping_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/client -I$(srcdir)/client/examples \
	$(EVENT_CFLAGS)
client_examples_event_ping_LDADD = libcow.la $(EVENT_LIBS)
