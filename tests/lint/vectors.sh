#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The test vectors are what their generator writes today.
set -eu
cd "${srcdir:?}"
diff -u tests/vectors/protocol.txt <("${PYTHON:-python3}" tests/vectors/gen.py)
