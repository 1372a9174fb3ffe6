# SPDX-License-Identifier: BSD-2-Clause

libcommon_la_SOURCES += \
	proto/msg.c \
	proto/msg.h \
	proto/wire.c \
	proto/wire.h \
	$(NULL)
