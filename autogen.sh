#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Makes configure and Makefile.in from their sources.
set -eu
cd "$(dirname "$0")"
exec autoreconf --install --force
