# SPDX-License-Identifier: BSD-2-Clause

dist_man_MANS += \
	man/cow_aio.3 \
	man/cowctl.1 \
	man/cowd.8 \
	man/libcow.3 \
	$(NULL)
