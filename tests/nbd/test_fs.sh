#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# File systems on exports: nbdfuse, a loop device, ext4 and XFS.  A tree is copied in, the object cloned
# on the server, and both are sound and alike; and a SQLite database has all that it has confirmed after the
# server has died under its load.
#
# TEST_CRASHES of the server under each database (2).  Only root can mount, and not everywhere: where that
# is so the one case says why nothing was run, unless TEST_MOUNTS=required.
# shellcheck disable=SC2034,SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/nbd/lib.sh
. "${srcdir:-.}/tests/nbd/lib.sh"
# shellcheck source=tests/nbd/disk.sh
. "$srcdir/tests/nbd/disk.sh"

store_size=1G
crashes=${TEST_CRASHES:-2}
begin_nbd
reason=$(why_no_mounts)
if [ -n "$reason" ]; then
	[ "${TEST_MOUNTS:-}" != required ]
	result $? "nothing was run, file systems cannot be mounted here: $reason"
	finish
fi
disk_begin
start_nbd
commits=$srcdir/tests/nbd/commits.py
writer=''

# sound FS EXPORT: its own checker changes nothing and finds nothing; a log is not to be replayed.
sound() {
	disk_file "$2" || return 1
	case $1 in
	ext4) run e2fsck -fn "$disk/fuse/disk" ;;
	xfs) run xfs_repair -n -f "$disk/fuse/disk" ;;
	esac
	disk_down && [ "$status" -eq 0 ]
}

make_fs() {
	case $1 in
	ext4) mkfs.ext4 -q -F -E nodiscard "$(<"$disk/loop")" ;;
	xfs) mkfs.xfs -q -f "$(<"$disk/loop")" ;;
	esac
}

# same_tree EXPORT OPTIONS: it has the sources that were copied in.
same_tree() {
	local part
	disk_up "$1" "$2" || return 1
	for part in common proto server client docs man; do
		diff -r "$srcdir/$part" "$disk/at/$part" >"$dir/out" || break
	done
	status=$?
	disk_down && [ "$status" -eq 0 ]
}

# tree FS: a real tree on it, cloned.
tree() {
	local fs=$1 norecovery=ro
	[ "$fs" = ext4 ] || norecovery=ro,nouuid
	cowctl create "$fs" 400M
	check "$fs: an object is a file" disk_file "$fs"
	check "$fs: and a block device" disk_device
	works "$fs: a file system is made" make_fs "$fs"
	check "$fs: and mounted" disk_mount
	works "$fs: a tree is copied in" cp -a "$srcdir"/{common,proto,server,client,docs,man} "$disk/at"
	works "$fs: it is trimmed" fstrim "$disk/at"
	check "$fs: it is unmounted" disk_down
	good "$fs: it is cloned" cowctl clone "$fs" "$fs.clone"
	check "$fs: the origin is sound" sound "$fs" "$fs"
	check "$fs: so is the clone" sound "$fs" "$fs.clone"
	check "$fs: the clone has the tree" same_tree "$fs.clone" $norecovery
	disk_up "$fs" && rm -r "$disk/at/server" && cp -a "$srcdir/tests" "$disk/at" && sync -f "$disk/at"
	check "$fs: the origin is changed" disk_down
	check "$fs: it is sound" sound "$fs" "$fs"
	check "$fs: the clone has not changed" same_tree "$fs.clone" $norecovery
	check "$fs: and is sound" sound "$fs" "$fs.clone"
}

# until_confirmed COUNT: waits until the log has so many lines more; the writer is to live that long.
until_confirmed() {
	local want=$(($(wc -l <"$dir/confirmed") + $1))
	while [ "$(wc -l <"$dir/confirmed")" -lt "$want" ]; do
		kill -0 "$writer" 2>/dev/null || return 1
		read -r -t 0.05 <>"$disk/fifo"
	done
	return 0
}

# database FS MODE: a database on it, whose server dies under load.
database() {
	local fs=$1 mode=$2 n
	: >"$dir/confirmed"
	cowctl create "$fs.db" 300M && disk_file "$fs.db" && disk_device && make_fs "$fs" && disk_mount
	check "$fs: a file system for a database" [ -e "$disk/mounted" ]
	for ((n = 1; n <= crashes; n++)); do
		"$debian_python" "$commits" write "$disk/at/db" "$dir/confirmed" "$mode" \
			>"$dir/writer.out" 2>&1 </dev/null &
		writer=$!
		check "$fs: transactions are confirmed ($n)" until_confirmed 30
		stop_daemon KILL
		wait "$writer"
		check "$fs: the server dies, and then they fail ($n)" [ $? -eq 0 ]
		disk_down
		start_nbd
		check "$fs: it is mounted again ($n)" disk_up "$fs.db"
		works "$fs: each that was confirmed is there ($n)" \
			"$debian_python" "$commits" check "$disk/at/db" "$dir/confirmed"
		[ -z "$out" ] || echo "# $out"
	done
	check "$fs: it is unmounted" disk_down
	check "$fs: the file system is sound" sound "$fs" "$fs.db"
}

for fs in ext4 xfs; do tree $fs; done
database ext4 delete
database xfs wal
check 'the store has no fault' cowctl check -q
finish
