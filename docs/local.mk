# SPDX-License-Identifier: BSD-2-Clause

EXTRA_DIST += \
	docs/diff-stream.md \
	docs/durability.md \
	docs/nbd.md \
	docs/performance.md \
	docs/protocol.md \
	$(NULL)
