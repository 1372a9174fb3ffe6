#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# A disk in a file, and a file system on it, whose power can be cut.  All that is known of it is in the
# files of one directory, so that whoever has this directory can use it, and take it down.
#
#   stack.sh make DIR FS KIND        FS: xfs, ext4, or none for the disk alone; makes and mounts it
#   stack.sh again DIR [WHERE RATE]  all of it down and up, as after a power cut
#   stack.sh down DIR                whatever state it is in
#
# KIND loop: the file under a loop device.  KIND disk: under nbdkit, whose cache is the volatile one of a
# disk: it loses what was not flushed when it is killed (pid in nbdkit.pid).  WHERE says if writes and
# reads fail "above" that cache, each at once, or "below", when it is flushed; they do as long as
# DIR/write-errors and DIR/read-errors exist, RATE percent of the writes.
#
# DIR/at is where a store goes: the mounted file system; with FS none a directory in which "data" is a
# link to the block device.
set -u

image_bytes=$((400 << 20))

die() {
	echo "stack.sh: $*" >&2
	exit 1
}

# start_disk WHERE RATE: nbdkit returns when it listens; nbdfuse says its pid when it serves.
start_disk() {
	local filters=(--filter=error --filter=delay --filter=cache) delay=("wdelay=$(($2 > 0))ms") pid
	[ "$1" = above ] || filters=(--filter=cache --filter=error) delay=()
	exec 9>"$dir/alive"
	flock --shared 9
	TMPDIR=$dir nbdkit --unix "$dir/socket" --pidfile "$dir/nbdkit.pid" \
		"${filters[@]}" file "$dir/image" cache=writeback \
		cache-min-block-size=4K "${delay[@]}" error=EIO \
		"error-pwrite-rate=$2%" "error-pwrite-file=$dir/write-errors" \
		error-pread-rate=100% "error-pread-file=$dir/read-errors" \
		2>>"$dir/nbdkit.log" || die "nbdkit: $(tail -n 1 "$dir/nbdkit.log")"
	: >"$dir/fused"
	nbdfuse --pidfile "$dir/fifo" "$dir/fuse/disk" --unix "$dir/socket" \
		</dev/null >/dev/null 2>>"$dir/nbdfuse.log" &
	pid=$(timeout 60 cat "$dir/fifo")
	exec 9>&-
	[ -n "$pid" ] || die "nbdfuse: $(tail -n 1 "$dir/nbdfuse.log")"
	echo "$pid" >"$dir/nbdfuse.pid"
}

# up WHERE RATE: all but making the file system.
up() {
	local file=$dir/image direct=off
	if [ "$kind" = disk ]; then
		start_disk "$@"
		file=$dir/fuse/disk direct=on
	fi
	losetup --find --show --direct-io=$direct "$file" >"$dir/loop" || die "no loop device"
	loop=$(<"$dir/loop")
	# what nobody has asked for is not in memory when reads fail
	[ "$kind" = loop ] || blockdev --setra 0 "$loop"
	[ "$fs" != none ] || ln -sfn "$loop" "$dir/at/data"
}

mount_fs() {
	[ "$fs" != none ] || return 0
	mount -t "$fs" -o noatime "$loop" "$dir/at" || die "$fs cannot be mounted"
	: >"$dir/mounted"
}

# kill_disk: both processes have "alive" locked as long as one of their threads may still write.
kill_disk() {
	local pid
	for pid in nbdfuse nbdkit; do
		[ ! -s "$dir/$pid.pid" ] || kill -KILL "$(<"$dir/$pid.pid")" 2>/dev/null
	done
	[ ! -e "$dir/alive" ] || flock --timeout 60 "$dir/alive" true
}

down() {
	local status=0
	if [ -e "$dir/mounted" ]; then
		umount "$dir/at" || status=1
		rm -f "$dir/mounted"
	fi
	if [ -s "$dir/loop" ]; then
		losetup --detach "$(<"$dir/loop")" || status=1
	fi
	rm -f "$dir/loop"
	kill_disk || status=1
	if [ -e "$dir/fused" ]; then
		# whoever looks at all loop devices just now has this one open, and that its file
		umount --lazy "$dir/fuse" || status=1
	fi
	rm -f "$dir/fused" "$dir/nbdfuse.pid" "$dir/nbdkit.pid" "$dir/socket"
	return $status
}

make_fs() {
	case $fs in
	xfs) mkfs.xfs -q -f "$loop" ;;
	ext4) mkfs.ext4 -q -F "$loop" ;;
	none) true ;;
	*) die "file system $fs?" ;;
	esac || die "no $fs could be made"
}

[ $# -ge 2 ] || die "VERB DIR"
[ -d "$2" ] || die "no directory $2"
verb=$1 dir=$2
shift 2
case $verb in
make)
	fs=$1 kind=$2
	printf '%s\n' "$fs" >"$dir/fs"
	printf '%s\n' "$kind" >"$dir/kind"
	mkdir -p "$dir/at" "$dir/fuse" && mkfifo "$dir/fifo" || exit 1
	truncate -s "$image_bytes" "$dir/image" || exit 1
	up above 0
	make_fs
	mount_fs
	;;
again)
	fs=$(<"$dir/fs") kind=$(<"$dir/kind")
	down || die "it cannot be taken down"
	rm -f "$dir/write-errors" "$dir/read-errors"
	up "${1:-above}" "${2:-0}"
	mount_fs
	;;
down) down ;;
*) die "$verb?" ;;
esac
