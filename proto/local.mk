# SPDX-License-Identifier: BSD-2-Clause

libcommon_la_SOURCES += \
	proto/msg.c \
	proto/msg.h \
	proto/msg_data.c \
	proto/msg_group.c \
	proto/msg_priv.h \
	proto/msg_store.c \
	proto/nbd.c \
	proto/nbd.h \
	proto/wire.c \
	proto/wire.h \
	$(NULL)
