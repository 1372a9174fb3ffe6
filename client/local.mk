# SPDX-License-Identifier: BSD-2-Clause
# libclient is libcow without its symbol map: for unit tests of what libcow does not export.

noinst_LTLIBRARIES += libclient.la
libclient_la_LIBADD = libcommon.la
libclient_la_SOURCES = \
	client/call.c \
	client/call.h \
	client/chan.c \
	client/chan.h \
	client/chan_in.c \
	client/cow.c \
	client/cow.h \
	client/dial.c \
	client/dial.h \
	client/errors.c \
	client/errors.h \
	client/handle.h \
	client/names.c \
	client/names.h \
	client/object.c \
	client/transfer.c \
	client/uri.c \
	client/uri.h \
	$(NULL)

lib_LTLIBRARIES += libcow.la
include_HEADERS += client/cow.h
libcow_la_SOURCES =
libcow_la_LIBADD = libclient.la
libcow_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-Wl,--version-script=$(top_srcdir)/client/libcow.map
EXTRA_libcow_la_DEPENDENCIES = client/libcow.map
EXTRA_DIST += client/libcow.map

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = libcow.pc
