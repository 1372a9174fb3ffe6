# SPDX-License-Identifier: BSD-2-Clause
# All of the server but main.c is a library, so that unit tests link it.

noinst_LTLIBRARIES += libserver.la
libserver_la_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS) $(LMDB_CFLAGS) $(BSD_CFLAGS)
libserver_la_LIBADD = $(EVENT_LIBS) $(LMDB_LIBS) $(BSD_LIBS)
libserver_la_SOURCES = \
	server/alloc.c \
	server/alloc.h \
	server/blk.h \
	server/check.c \
	server/check.h \
	server/check_data.c \
	server/check_priv.h \
	server/check_space.c \
	server/check_tree.c \
	server/dev.h \
	server/dev_file.c \
	server/kv.c \
	server/kv.h \
	server/loop.c \
	server/loop.h \
	server/map.c \
	server/map.h \
	server/map_format.h \
	server/map_free.c \
	server/map_lookup.c \
	server/map_node.c \
	server/map_obj.c \
	server/map_priv.h \
	server/map_reap.c \
	server/map_ref.c \
	server/map_tree.c \
	server/map_txn.c \
	server/map_value.c \
	server/page.c \
	server/page.h \
	server/worker.c \
	server/worker.h \
	$(NULL)
