# SPDX-License-Identifier: BSD-2-Clause
# common and proto in one library; it is part of the server, of libcow and of cowctl.

noinst_LTLIBRARIES += libcommon.la
libcommon_la_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS)
libcommon_la_LIBADD = $(ISAL_LIBS) $(OPENSSL_LIBS)
libcommon_la_SOURCES = \
	common/annot.h \
	common/bits.h \
	common/clock.c \
	common/clock.h \
	common/crc32c.c \
	common/crc32c.h \
	common/cursor.h \
	common/err.c \
	common/err.h \
	common/label.c \
	common/label.h \
	common/log.c \
	common/log.h \
	common/look.c \
	common/look.h \
	common/name.c \
	common/name.h \
	common/size.c \
	common/size.h \
	common/stream.c \
	common/stream.h \
	common/thread.c \
	common/thread.h \
	common/tls.c \
	common/tls.h \
	common/tls_peer.c \
	common/tls_priv.h \
	common/tls_psk.c \
	common/utf8.h \
	$(NULL)
