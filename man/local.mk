# SPDX-License-Identifier: BSD-2-Clause

dist_man_MANS += \
	man/cowd.8 \
	man/libcow.3 \
	$(NULL)
