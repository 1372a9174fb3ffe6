# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests that mount exports: an export as a file (nbdfuse), as a block device (loop), with a
# file system.  What is up is known by the files in $disk, so that it can always be taken down.
# shellcheck disable=SC2154 # the variables of lib.sh

# disk_begin: $disk is a directory for it; it goes with $dir.
disk_begin() {
	disk=$dir/disk
	mkdir -p "$disk/fuse" "$disk/at" && mkfifo "$disk/fifo"
	trap 'disk_down; end' EXIT
}

# why_no_mounts: a line about what is missing to mount; nothing where nothing is.
why_no_mounts() {
	local file=$dir/probe device
	if [ "$(id -u)" -ne 0 ]; then
		echo "only root can"
		return
	fi
	truncate -s 16M "$file"
	if ! device=$(losetup --find --show "$file" 2>&1); then
		echo "no loop device: $device"
	else
		mkdir "$dir/probed"
		if ! mkfs.ext4 -q -F "$device" || ! mount -t ext4 "$device" "$dir/probed"; then
			echo "mount fails"
		elif ! { : </dev/fuse; } 2>/dev/null; then
			echo "no /dev/fuse"
		fi 2>/dev/null
		umount "$dir/probed" 2>/dev/null
		losetup --detach "$device"
	fi
	rm -f "$file"
}

# disk_file EXPORT: the export is the file $disk/fuse/disk.
disk_file() {
	local pid
	: >"$disk/fused"
	nbdfuse --pidfile "$disk/fifo" "$disk/fuse/disk" "$(uri "$1")" \
		</dev/null >/dev/null 2>>"$dir/nbdfuse.log" &
	pid=$(timeout 60 cat "$disk/fifo")
	[ -n "$pid" ] && echo "$pid" >"$disk/pid"
}

# disk_device: and that a block device, $(<$disk/loop).
disk_device() {
	losetup --find --show --direct-io=on "$disk/fuse/disk" >"$disk/loop"
}

# disk_mount [OPTIONS]: and that is mounted at $disk/at.
disk_mount() {
	mount -o "${1:-noatime}" "$(<"$disk/loop")" "$disk/at" && : >"$disk/mounted"
}

# disk_up EXPORT [OPTIONS]: all of it.
disk_up() {
	disk_file "$1" && disk_device && disk_mount "${2:-noatime}"
}

# disk_detached DEVICE: the loop device has let go of the file: behind a detach that is when nobody has it open
# any more, such as who looks at all of them just now.
disk_detached() {
	for _ in {1..600}; do
		grep -qF "$disk/" "/sys/block/${1#/dev/}/loop/backing_file" 2>/dev/null || return 0
		read -r -t 0.1 <>"$disk/fifo"
	done
	return 1
}

# disk_down: whatever of it is up, whether the server is there or not.
disk_down() {
	local status=0
	if [ -e "$disk/mounted" ]; then
		umount "$disk/at" || status=1
		rm -f "$disk/mounted"
	fi
	if [ -s "$disk/loop" ]; then
		{ losetup --detach "$(<"$disk/loop")" && disk_detached "$(<"$disk/loop")"; } || status=1
	fi
	rm -f "$disk/loop"
	if [ -e "$disk/fused" ]; then
		umount "$disk/fuse" 2>/dev/null || {
			[ ! -s "$disk/pid" ] || kill -KILL "$(<"$disk/pid")" 2>/dev/null
			umount "$disk/fuse" || status=1
		}
		# it has written its last, and answered, when it has ended
		[ ! -s "$disk/pid" ] || timeout 60 tail --pid="$(<"$disk/pid")" -f /dev/null || status=1
	fi
	rm -f "$disk/fused" "$disk/pid"
	return $status
}
