#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Run by "make installcheck": the installed programs start, and a program that knows no more of us
# than pkg-config tells compiles and runs, with the shared and with the static library.
#
#   installcheck.sh BINDIR SBINDIR, with CC, CFLAGS, PKG_CONFIG_PATH and LD_LIBRARY_PATH set
set -eu

bindir=$1 sbindir=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/use.c" <<'C'
#include <cow.h>
#include <stdio.h>

int main(void)
{
	return puts(cow_version()) < 0;
}
C

# compile NAME FLAGS...: the flags may be several words in one.
compile() {
	local name=$1 cc cflags
	shift
	read -ra cc <<<"${CC:-cc}"
	read -ra cflags <<<"${CFLAGS:-}"
	"${cc[@]}" "${cflags[@]}" -o "$dir/$name" "$dir/use.c" "$@"
}

version=$(pkg-config --modversion libcow)
read -ra flags < <(pkg-config --cflags --libs libcow)
compile shared "${flags[@]}"
[ "$("$dir/shared")" = "$version" ]

libdir=$(pkg-config --variable=libdir libcow)
if [ -e "$libdir/libcow.a" ]; then
	read -ra flags < <(pkg-config --cflags --libs --static libcow)
	compile static "${flags[@]/#-lcow/$libdir/libcow.a}"
	[ "$(env -u LD_LIBRARY_PATH "$dir/static")" = "$version" ]
fi

"$bindir/cowctl" version >/dev/null
"$sbindir/cowd" --version >/dev/null
echo 'installcheck: ok'
