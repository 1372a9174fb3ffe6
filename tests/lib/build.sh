# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by quickstart and check, which run it from the root: makes build trees under build/.

# Without it configure looks for bash, which takes twice as long for libtool's script at each link.
export CONFIG_SHELL=/bin/sh

# build_jobs: how many jobs at once; $JOBS, else as many as there are processors.
build_jobs() {
	echo "${JOBS:-$(nproc)}"
}

# build_autogen: makes configure where it is missing or older than what it is made of.
build_autogen() {
	if [ -e config.status ]; then
		echo "There is a build in the source tree: run make distclean first." >&2
		return 1
	fi
	if [ -e configure ] && [ -e Makefile.in ] &&
		[ -z "$(find configure.ac Makefile.am m4/cowd.m4 ./*/local.mk ./*/*/local.mk -newer Makefile.in)" ]; then
		return 0
	fi
	mkdir -p build
	build_logged build/autogen.log ./autogen.sh
}

# build_logged LOG COMMAND...: runs it with its output in LOG, whose end is shown on failure.
build_logged() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 </dev/null || {
		echo "Failed: $* (all of it in $log)" >&2
		grep -a -n -m 20 -E 'error:|^not ok|^FAIL: |\*\*\*' "$log" >&2
		tail -n 20 "$log" >&2
		return 1
	}
}

# build_tree NAME ARGS...: configures build/NAME with ARGS, where not done yet, and makes it.
build_tree() {
	local dir=build/$1
	shift
	mkdir -p "$dir" || return 1
	if [ ! -e "$dir/config.status" ] || [ configure -nt "$dir/config.status" ]; then
		(cd "$dir" && build_logged configure.out ../../configure "$@") || return 1
	fi
	build_logged "$dir/build.log" make -C "$dir" -j "$(build_jobs)" all
}
