# SPDX-License-Identifier: BSD-2-Clause
# All of the server but main.c is a library, so that unit tests link it.

noinst_LTLIBRARIES += libserver.la
libserver_la_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS) $(LMDB_CFLAGS) $(BSD_CFLAGS)
libserver_la_LIBADD = $(EVENT_LIBS) $(LMDB_LIBS) $(BSD_LIBS)
libserver_la_SOURCES = \
	server/alloc.c \
	server/alloc.h \
	server/blk.h \
	server/cache.c \
	server/cache.h \
	server/check.c \
	server/check.h \
	server/check_data.c \
	server/check_priv.h \
	server/check_space.c \
	server/check_tree.c \
	server/commit.c \
	server/commit.h \
	server/conn.c \
	server/conn.h \
	server/conn_in.c \
	server/conn_priv.h \
	server/daemon.c \
	server/daemon.h \
	server/dev.h \
	server/dev_file.c \
	server/dispatch.c \
	server/dispatch.h \
	server/fetch.c \
	server/fetch.h \
	server/gate.c \
	server/gate.h \
	server/kv.c \
	server/kv.h \
	server/listen.c \
	server/listen.h \
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
	server/object.h \
	server/object_epoch.c \
	server/object_epoch.h \
	server/object_extents.c \
	server/object_handle.c \
	server/object_io.h \
	server/object_name.c \
	server/object_read.c \
	server/object_state.h \
	server/object_table.c \
	server/object_table.h \
	server/object_write.c \
	server/objects.c \
	server/options.c \
	server/options.h \
	server/page.c \
	server/page.h \
	server/session.c \
	server/session.h \
	server/store.c \
	server/store.h \
	server/worker.c \
	server/worker.h \
	server/writeback.c \
	server/writeback.h \
	$(NULL)

sbin_PROGRAMS += cowd
cowd_SOURCES = server/main.c
cowd_LDADD = libserver.la libcommon.la
