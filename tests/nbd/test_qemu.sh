#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# QEMU's tools on exports: info, convert, compare, map, bench, and patterns at any offset.
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/nbd/lib.sh
. "${srcdir:-.}/tests/nbd/lib.sh"

begin_nbd
start_nbd --writeback-ms 60000
size=$((24 << 20 | 512))
file=$dir/file
patches "$file" $size 30 150000 3

# io TITLE EXPORT [OPTION...] -- COMMAND...: qemu-io runs them, and no pattern differs.
io() {
	local title=$1 export=$2 options=() commands=()
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	for command in "$@"; do commands+=(-c "$command"); done
	run qemu-io -f raw "${options[@]}" "${commands[@]}" "$(uri "$export")"
	[ "$status" -eq 0 ] && ! grep -q -i -E 'failed|error|verification' "$dir/out" "$dir/err"
	result $? "$title"
}

# io_fails TITLE EXPORT TEXT COMMAND
io_fails() {
	run qemu-io -f raw "${@:5}" -c "$4" "$(uri "$2")"
	grep -q -- "$3" "$dir/out" "$dir/err"
	result $? "$1"
}

# same_map EXPORT: qemu-img's map is cowctl's.
same_map() {
	qemu-img map --output=json -f raw "$(uri "$1")" >"$dir/theirs" && cowctl --json map "$1" >"$dir/ours" &&
		"$debian_python" "$srcdir/tests/nbd/maps.py" qemu "$dir/theirs" "$dir/ours"
}

# ---- images --------------------------------------------------------------------------------------

cowctl create disk $size
works 'a raw image is converted into an object' \
	qemu-img convert -n -f raw -O raw -m 8 "$file" "$(uri disk)"
check 'each byte of it' content disk "$file"
works 'what it is' qemu-img info --output=json "$(uri disk)"
check 'a raw image of that size' grep -q "\"virtual-size\": $size" "$dir/out"
works 'and of a version' qemu-img info "$(uri disk)"
works 'the object into a raw image' qemu-img convert -f raw -O raw -m 8 "$(uri disk)" "$dir/back"
check 'each byte' cmp -s "$file" "$dir/back"
check 'and no more than it has' [ "$(file_bytes "$dir/back")" -le $(($(file_bytes "$file") + 30 * 131072)) ]
works 'out of order' qemu-img convert -W -m 16 -f raw -O raw "$(uri disk)" "$dir/back"
check 'the same' cmp -s "$file" "$dir/back"
works 'into qcow2' qemu-img convert -f raw -O qcow2 "$(uri disk)" "$dir/image"
works 'which is sound' qemu-img check -q "$dir/image"
cowctl create other $size
works 'from qcow2' qemu-img convert -n -f qcow2 -O raw "$dir/image" "$(uri other)"
check 'is the same' content other "$file"
cowctl create inside 32M
works 'qcow2 is made in an object' qemu-img create -q -f qcow2 "$(uri inside)" $size
works 'an image is converted to it' qemu-img convert -n -f raw -O qcow2 "$file" "$(uri inside)"
works 'it is the same' qemu-img compare -f raw -F qcow2 "$file" "$(uri inside)"
works 'it is written to' qemu-io -f qcow2 -c 'write -P 0x3c 1234567 654321' -c 'read -P 0x3c 1234567 654321' \
	"$(uri inside)"
works 'it is sound' qemu-img check -f qcow2 "$(uri inside)"
works 'and converted to another' qemu-img convert -f qcow2 -O raw "$(uri inside)" "$dir/back"
check 'with what it has' [ "$(head -c 1888888 "$dir/back" | tail -c 654321 | tr -d '\074' | wc -c)" -eq 0 ]

# ---- compare -------------------------------------------------------------------------------------

cowctl create disk2 $size && qemu-img convert -n -f raw -O raw "$file" "$(uri disk2)"
works 'what is equal' qemu-img compare -f raw -F raw "$file" "$(uri disk2)"
cowctl snap add disk2@v1
printf x | cowctl write --offset $((size - 1)) disk2
run qemu-img compare -f raw -F raw "$(uri disk2@v1)" "$(uri disk2)"
check 'what differs in its last byte' [ "$status" -eq 1 ]
works 'the version is what it was' qemu-img compare -f raw -F raw "$(uri disk2@v1)" "$file"
printf x | cowctl write --offset 10000000 disk2
run qemu-img compare -s -f raw -F raw "$(uri disk2)" "$file"
check 'what differs in the middle' [ "$status" -eq 1 ]

# ---- map -----------------------------------------------------------------------------------------

cowctl fsync disk2
check 'where there is data' same_map disk2
check 'and in a version' same_map disk2@v1
works 'measured for a copy' qemu-img measure -f raw -O qcow2 "$(uri disk2)"

# ---- bench ---------------------------------------------------------------------------------------

cowctl create bench 16M
works 'many reads' qemu-img bench -c 4000 -d 64 -s 4096 -f raw "$(uri disk2)"
works 'many writes and flushes' \
	qemu-img bench -w -c 2000 -d 32 -s 4096 -S 8192 --pattern=0xa5 --flush-interval=100 -f raw "$(uri bench)"
works 'unaligned ones' qemu-img bench -w -c 2000 -d 16 -s 3000 -o 77 -S 3001 --pattern=17 --no-drain \
	--flush-interval=64 -f raw "$(uri bench)"
io 'what they wrote' bench -- 'read -P 17 77 3000' 'read -P 17 3078 3000' 'read -P 17 5999076 3000'

# ---- patterns ------------------------------------------------------------------------------------

cowctl create io 8M
io 'patterns at any offset' io -- \
	'write -P 1 0 1' 'write -P 2 1 4095' 'write -P 3 4097 8190' 'write -P 4 100001 300003' \
	'read -P 1 0 1' 'read -P 2 1 4095' 'read -P 0 4096 1' 'read -P 3 4097 8190' 'read -P 0 12287 1' \
	'read -P 4 100001 300003' 'read -P 0 400004 4096'
io 'many at once' io -- 'aio_write -P 5 1000000 4095' 'aio_write -P 6 1004095 4097' \
	'aio_write -P 7 1008192 70001' aio_flush 'aio_read -P 5 1000000 4095' 'aio_read -P 6 1004095 4097' \
	'aio_read -P 7 1008192 70001' aio_flush
io 'vectors' io -- 'writev -P 8 2000001 11 222 3333 44444' 'readv -P 8 2000001 44444 3333 222 11'
io 'zeros' io -- 'write -P 9 3000000 200000' 'write -z 3000001 99999' 'read -P 9 3000000 1' \
	'read -P 0 3000001 99999' 'read -P 9 3100000 100000'
io 'zeros that free space' io -- 'write -z -u 3100000 50001' 'read -P 0 3100000 50001' \
	'read -P 9 3150001 49999'
io 'zeros that are to be fast' io -- 'write -P 9 6000000 65536' 'write -z -n -u 6000000 65536' \
	'read -P 0 6000000 65536'
io 'trim' io -- 'write -P 10 4194304 131072' 'discard 4198400 65536' 'read -P 10 4194304 4096' \
	'read -P 0 4198400 65536' 'read -P 10 4263936 61440'
io 'trim at odd places leaves what is around' io -- 'write -P 11 5000000 30000' 'discard 5000001 29998' \
	'read -P 11 5000000 1' 'read -P 11 5029999 1'
io 'the last byte' io -- 'write -P 12 8388607 1' 'read -P 12 8388607 1'
io_fails 'past the end' io 'Input/output error\|No space left\|beyond\|Invalid' 'write -P 1 8388607 2'
io_fails 'a read past the end' io 'Input/output error\|beyond\|Invalid' 'read 8388608 1'
cowctl snap add io@v1
io 'a version is read' io@v1 -r -- 'read -P 4 100001 300003'
run qemu-io -f raw -c 'write 0 512' "$(uri io@v1)"
check 'and not written' grep -q -i -E 'read.only|permission|permitted' "$dir/out" "$dir/err"

# ---- flush and FUA -------------------------------------------------------------------------------

cowctl create keep 4M && cowctl fsync keep
io 'a write with FUA' keep -- 'write -f -P 20 12345 6789'
crash --writeback-ms 60000
io 'is there after a crash' keep -- 'read -P 20 12345 6789'
io 'zeros with FUA' keep -- 'write -f -z 12345 100'
crash --writeback-ms 60000
io 'too' keep -- 'read -P 0 12345 100' 'read -P 20 12445 6689'
io 'writes, then a flush' keep -- 'write -P 21 1000000 100000' 'write -P 22 2000000 100000' flush
crash --writeback-ms 60000
io 'all of them are there' keep -- 'read -P 21 1000000 100000' 'read -P 22 2000000 100000'
io 'writes through' keep -t writethrough -- 'write -P 23 3000001 70001' 'discard 1003520 4096'
crash --writeback-ms 60000
io 'are there at once' keep -- 'read -P 23 3000001 70001' 'read -P 0 1003520 4096'
check 'the store has no fault' cowctl check -q
finish
