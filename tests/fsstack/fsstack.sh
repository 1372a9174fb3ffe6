#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# A real cowd on XFS and ext4 whose power is cut, on disks that fail, and on a file system that is full;
# and on a disk without one.  Each case makes a stack of these (stack.sh) and has "load" run clients on it.
#
# TEST_ROUNDS of each case (1).  Only root can mount, and not everywhere: where that is so the one case
# says why nothing was run, unless TEST_MOUNTS=required.
set -u

: "${srcdir:?}" "${builddir:?}"
here=$srcdir/tests/fsstack load=$builddir/tests/fsstack/load
rounds=${TEST_ROUNDS:-1}
stack='' cases=0 failed=0
top=$(mktemp -d "${TMPDIR:-/tmp}/cowd-fs-XXXXXX") || exit 1

# take_down: the stack of the case; "$stack" is empty where there is none.
take_down() {
	[ -n "$stack" ] || return 0
	bash "$here/stack.sh" down "$stack" && rm -rf "$stack"
}

# shellcheck disable=SC2317 # the trap calls it
end() {
	take_down || echo "# $stack is still there"
	rmdir "$top" 2>/dev/null
}
trap end EXIT
trap 'exit 1' HUP INT TERM

result() {
	cases=$((cases + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $cases - $2"
	else
		failed=$((failed + 1))
		echo "not ok $cases - $2"
	fi
}

finish() {
	echo "1..$cases"
	[ "$failed" -eq 0 ]
	exit $?
}

# why_not: a line about what is missing to mount; nothing where nothing is.
why_not() {
	local file=$top/probe device
	if [ "$(id -u)" -ne 0 ]; then
		echo "only root can"
		return
	fi
	truncate -s 16M "$file"
	if ! device=$(losetup --find --show "$file" 2>&1); then
		echo "no loop device: $device"
	else
		mkdir "$top/at"
		if ! mkfs.ext4 -q -F "$device" || ! mount -t ext4 "$device" "$top/at"; then
			echo "mount fails"
		elif ! { : </dev/fuse; } 2>/dev/null; then
			echo "no /dev/fuse"
		fi 2>/dev/null
		umount "$top/at" 2>/dev/null
		losetup --detach "$device"
		rmdir "$top/at"
	fi
	rm -f "$file"
}

# run_case FS KIND WHAT PATH TITLE [ROUNDS]: KIND as in stack.sh, WHAT and PATH as in load.c.
run_case() {
	local fs=$1 kind=$2 what=$3 path=$4 title=$5 n=${6:-$rounds} status
	stack=$(mktemp -d "$top/XXXXXX") || exit 1
	bash "$here/stack.sh" make "$stack" "$fs" "$kind" >"$stack/out" 2>&1 &&
		TMPDIR=$stack "$load" "$here/stack.sh" "$stack" "$what" "$n" "$path" >>"$stack/out" 2>&1
	status=$?
	result $status "$fs: $title: $(tail -n 1 "$stack/out")"
	[ $status -eq 0 ] || sed 's/^/# /' "$stack/out"
	take_down
	result_of_down $? "$fs: $title"
	stack=''
}

# result_of_down STATUS TITLE: what cannot be taken down is a case of its own.
result_of_down() {
	[ "$1" -eq 0 ] || result 1 "$2: it was not taken down"
}

# run_fs FS: all cases of a file system.
run_fs() {
	local path
	for path in store device; do
		run_case "$1" loop cuts $path "shut down, data in a $path"
		run_case "$1" disk cuts $path "power cuts, data in a $path"
		run_case "$1" disk errors $path "write errors, data in a $path"
		run_case "$1" loop make $path "power cuts while a store with a $path is made" $((3 * rounds))
	done
	run_case "$1" disk reads store "read errors"
	run_case "$1" loop full store "no space left"
}

reason=$(why_not)
if [ -n "$reason" ]; then
	[ "${TEST_MOUNTS:-}" != required ]
	result $? "nothing was run, file systems cannot be mounted here: $reason"
	finish
fi
run_fs xfs
run_fs ext4
run_case none disk cuts device "power cuts of a block device"
run_case none disk errors device "write errors of a block device"
run_case none disk reads device "read errors of a block device"
finish
