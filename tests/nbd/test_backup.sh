#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Incremental backups with QEMU's tools: a full one of a version, and then, each day, only the blocks that are
# dirty since the version of the day before, pulled into a qcow2 overlay.
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/nbd/lib.sh
. "${srcdir:-.}/tests/nbd/lib.sh"

begin_nbd
start_nbd
size=$((32 << 20))

# dirty EXPORT VERSION: the dirty ranges as lines "OFFSET LENGTH".
dirty() {
	nbdinfo --json --map="qemu:dirty-bitmap:$2" "$(uri "$1")" | "$debian_python" -c '
import json, sys
for extent in json.load(sys.stdin):
    if extent["type"] & 1:
        print(extent["offset"], extent["length"])'
}

# changed A B: the bytes of all blocks of 4 KiB that differ between two files.
changed() {
	"$debian_python" - "$@" <<'EOF'
import sys
a, b = (open(path, "rb").read() for path in sys.argv[1:])
print(sum(4096 for at in range(0, len(b), 4096) if a[at:at + 4096] != b[at:at + 4096]))
EOF
}

# pull EXPORT VERSION OVERLAY BACKING: the blocks that are dirty since the version, over the backup before.  QEMU
# copies what is read into the overlay, whose backing file is the export meanwhile.
pull() {
	local offset length commands=()
	qemu-img create -q -f qcow2 -o cluster_size=4096 -F raw -b "$(uri "$1")" "$3" || return 1
	while read -r offset length; do
		commands+=(-c "read $offset $length")
	done < <(dirty "$1" "$2")
	[ ${#commands[@]} -gt 0 ] || return 1
	qemu-io -C -f qcow2 "${commands[@]}" "$3" >"$dir/out" 2>"$dir/err" &&
		! grep -q -i failed "$dir/out" "$dir/err" &&
		qemu-img rebase -u -F "$(backup_format "$4")" -b "$4" "$3"
}

backup_format() {
	case $1 in
	*.raw) echo raw ;;
	*) echo qcow2 ;;
	esac
}

# allocated OVERLAY: the bytes that it has itself, without those of what is behind it.
allocated() {
	qemu-img map --output=json "$1" | "$debian_python" -c '
import json, sys
print(sum(e["length"] for e in json.load(sys.stdin) if e["depth"] == 0))'
}

# same_as VERSION BACKUP: the restored image is the version, bit for bit.
same_as() {
	qemu-img convert -O raw "$2" "$dir/restored" && cowctl cat "$1" | cmp -s - "$dir/restored"
}

# ---- a full backup -------------------------------------------------------------------------------

patches "$dir/file" $size 40 200000 11
cowctl create disk $size && cowctl write disk <"$dir/file"
cowctl snap add disk@day0
works 'a version is backed up' qemu-img convert -f raw -O raw "$(uri disk@day0)" "$dir/day0.raw"
check 'all of it' same_as disk@day0 "$dir/day0.raw"
check 'nothing is dirty since' [ -z "$(dirty disk day0)" ]

# ---- days ----------------------------------------------------------------------------------------

before=$dir/day0.raw
for day in 1 2 3; do
	for ((n = 0; n < 6; n++)); do
		at=$((RANDOM * 1000 % (size - 40000)))
		head -c $((RANDOM % 30000 + 1)) /dev/urandom | cowctl write --offset $at disk
	done
	if [ $day -eq 2 ]; then
		works 'a client writes, too' qemu-io -f raw -c 'write -P 7 9000001 5' -c 'discard 1M 256k' \
			-c 'write -z 20000000 10000' -c flush "$(uri disk)"
		cowctl zero --offset 4M --length 1M disk
	fi
	cowctl snap add disk@day$day
	cowctl cat disk@day$((day - 1)) >"$dir/old" && cowctl cat disk@day$day >"$dir/new"
	check "day $day: the dirty blocks are pulled" pull disk@day$day day$((day - 1)) "$dir/day$day.qcow2" "$before"
	bytes=$(dirty disk@day$day day$((day - 1)) | awk '{n += $2} END {print n + 0}')
	check "day $day: those, and no others" [ "$(allocated "$dir/day$day.qcow2")" -eq "$bytes" ]
	check "day $day: each that differs is one of them" [ "$(changed "$dir/old" "$dir/new")" -le "$bytes" ]
	check "day $day: few that do not" [ "$bytes" -le $(($(changed "$dir/old" "$dir/new") + (2 << 20))) ]
	before=$dir/day$day.qcow2
done
for day in 0 1 2; do
	check "day $day is restored" same_as disk@day$day "$(find "$dir" -name "day$day.*")"
done
check 'so is the last one' same_as disk@day3 "$dir/day3.qcow2"

# ---- several days at once, as QEMU reads it -------------------------------------------------------

# With x-dirty-bitmap the ranges that are dirty are those that "have no data".
node="driver=nbd,server.type=unix,server.path=$nbd,export=disk@day3,x-dirty-bitmap=qemu:dirty-bitmap:day0"
works 'QEMU reads the bitmap' qemu-img map --output=json --image-opts "$node"
check 'as the same ranges' [ "$("$debian_python" -c '
import json, sys
for extent in json.load(open(sys.argv[1])):
    if not extent["data"]:
        print(extent["start"], extent["length"])' "$dir/out")" = "$(dirty disk@day3 day0)" ]
check 'what three days changed is pulled' pull disk@day3 day0 "$dir/days.qcow2" "$dir/day0.raw"
check 'and restored' same_as disk@day3 "$dir/days.qcow2"

# ---- ranges by hand ------------------------------------------------------------------------------

cp "$dir/day0.raw" "$dir/by-hand"
while read -r offset length; do
	qemu-img dd -f raw -O raw bs=4096 skip=$((offset / 4096)) count=$(((offset + length) / 4096)) \
		if="$(uri disk@day3)" of="$dir/piece" >/dev/null &&
		dd if="$dir/piece" of="$dir/by-hand" bs=4096 seek=$((offset / 4096)) conv=notrunc status=none
done < <(dirty disk@day3 day0)
check 'ranges that are copied one by one are the same' same_as disk@day3 "$dir/by-hand"

cowctl snap rm -y disk@day0 >/dev/null
fails 'a version that is gone has no bitmap' nbdinfo --map=qemu:dirty-bitmap:day0 "$(uri disk@day3)"
finish
