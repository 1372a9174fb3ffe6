#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Differences and comparisons of objects, versions and files, by cowctl against a real daemon.
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

begin
start_daemon --size 256M

# put OBJ BLOCK: random bytes in that block.
put() {
	head -c 4096 /dev/urandom | cowctl write --offset $(($2 * 4096)) "$1"
}

# change OBJ BLOCK: each byte of that block of the data becomes another one.
change() {
	head -c $((($2 + 1) * 4096)) "$dir/data" | tail -c 4096 | LC_ALL=C tr '\0-\377' '\1-\377\0' |
		cowctl write --offset $(($2 * 4096)) "$1"
}

# ---- diff ----------------------------------------------------------------------------------------

head -c 4000000 /dev/urandom >"$dir/data"
good 'an object is made' cowctl cp "$dir/data" a
good 'and cloned' cowctl clone a b
good 'two that share all' cowctl diff -H a b
check 'do not differ' [ -z "$out" ]
change b 3 && change b 4 && change b 100
cowctl zero --offset 40k --length 8k b
good 'what was written and zeroed since' cowctl diff -H a b
check 'differs, as ranges of data and holes' \
	[ "$out" = $'12288\t8192\tdata\n40960\t8192\thole\n409600\t4096\tdata' ]
good 'the other way round' cowctl diff -H b a
check 'a hole was data' \
	[ "$out" = $'12288\t8192\tdata\n40960\t8192\tdata\n409600\t4096\tdata' ]
good 'a table' cowctl diff a b
says 'has a header' 'OFFSET LENGTH KIND'
good 'chosen fields' cowctl diff -H -o kind,offset a b
says 'are those' $'hole\t40960'
good 'JSON' cowctl --json diff a b
json_is 'has the ranges' ranges.1.offset 40960
json_is 'their kinds' ranges.1.kind hole
json_is 'their sum' bytes 20480
json_is 'the names' older a
json_is 'of both' newer b
json_is 'and their sizes' older_size 4000000
check 'few nodes were read for that' [ "$(json nodes)" -le 20 ]

good 'without another' cowctl diff -H b
says 'a clone is compared with what it came from' $'40960\t8192\thole'
good 'a version is made' cowctl snap add b@1
put b 7
good 'another one' cowctl snap add b@2
put b 9
good 'an object with versions' cowctl --json diff b
json_is 'is compared with the latest' older b@2
json_is 'since which one block changed' ranges.0.offset 36864
good 'a version' cowctl --json diff b@2
json_is 'is compared with the one before it' older b@1
json_is 'since which another block changed' ranges.0.offset 28672
good 'the first version' cowctl --json diff b@1
json_is 'is compared with what its object came from' older_id "$(cowctl info -H -o id a)"
json_is 'which is known by its number' older None
good 'versions and strangers' cowctl cp "$dir/data" c
good 'are compared too' cowctl diff -H b@1 c
check 'all of it differs' [ "$out" = $'0\t4000000\tdata' ]
cowctl resize c 8000000
good 'growing' cowctl diff -H a c
check 'only makes the last block a whole one' [ "$out" = $'0\t4001792\tdata' ]

bad 'an object that came from nothing' 64 cowctl diff c
says 'asks for another' 'name what to compare it with'
bad 'no such object' 3 cowctl diff a none
says 'which is named' 'diff: none: no such object (cowctl ls'
bad 'no such older one' 3 cowctl diff none a
bad 'no such version' 3 cowctl diff a@none a
bad 'no such column' 64 cowctl diff -o size a b
cowctl clone c c2 && cowctl rm c
bad 'an origin that is gone' 3 cowctl diff c2
says 'is said to be gone' 'c2: what it was cloned from is gone'
good 'help says how it is used' cowctl help diff

# ---- compare -------------------------------------------------------------------------------------

good 'objects with the same bytes in other places' cowctl cp "$dir/data" same
good 'are equal' cowctl compare a same
check 'of which nothing is said' [ -z "$out" ]
run cowctl compare a b
check 'those that differ end with 2' [ "$status" -eq 2 ]
says 'and say where' 'a and b differ at byte 12288'
check 'and nothing else' [ -z "$err" ]
head -c 8192 "$dir/data" | tail -c 4096 | cowctl write --offset 4096 same
check 'a block is written with the bytes that it has' [ $? -eq 0 ]
good 'is no difference' cowctl compare same a
cowctl zero --offset 0 --length 8k same
run cowctl --json compare same a
check 'a hole against data' [ "$status" -eq 2 ]
json_is 'differs' equal False
check 'within it' [ "$(json differs_at)" -lt 8 ]
run cowctl compare a same
check 'and the other way round' [ "$status" -eq 2 ]
head -c 8192 /dev/zero | cowctl write same
cowctl clone same holed
cowctl zero --length 8k holed
good 'zeros and a hole are equal' cowctl compare same holed
good 'either way' cowctl compare holed same
cowctl create big 4000001
run cowctl --json compare a big
check 'other sizes differ' [ "$status" -eq 2 ]
json_is 'which are told' second_size 4000001
json_is 'without a place' differs_at None
run cowctl compare a big
says 'in words too' 'a and big differ: 4000000 and 4000001 bytes'

good 'an object and a file' cowctl compare a "$dir/data"
good 'a file and an object' cowctl compare "$dir/data" a
run cowctl compare b "$dir/data"
check 'an object and another file' [ "$status" -eq 2 ]
says 'differ at the same place' 'differ at byte 12288'
run cowctl compare "$dir/data" b
says 'either way' 'differ at byte 12288'
good 'a version and itself' cowctl compare b@2 b@2
truncate -s 4G "$dir/holes"
printf x | dd of="$dir/holes" bs=1 seek=3000000000 conv=notrunc 2>/dev/null
good 'a sparse file' cowctl cp "$dir/holes" sparse
good 'is equal to its object' cowctl compare "$dir/holes" sparse
good 'either way' cowctl compare sparse "$dir/holes"
printf y | cowctl write --offset 2000000000 sparse
run cowctl compare sparse "$dir/holes"
says 'one byte more' 'differ at byte 2000000000'
run cowctl compare "$dir/holes" sparse
says 'is found either way' 'differ at byte 2000000000'

bad 'two files' 64 cowctl compare "$dir/data" "$dir/holes"
bad 'a stream' 64 cowctl compare - a
bad 'an object that is not there' 3 cowctl compare a none
bad 'a file that is not there' 3 cowctl compare a ./none
run cowctl compare --progress=2 a a
says 'progress can be had' '100/100'
good 'help says how it is used' cowctl help compare

check 'the server finds no fault' cowctl -q check
stop_daemon
check 'the daemon ends well' [ $? -eq 0 ]
finish
