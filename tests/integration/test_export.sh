#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Difference streams by cowctl, between two real daemons: chains of them, streams that are cut at every
# byte, damaged, of something else or for something else.
# shellcheck disable=SC2034,SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

begin
start_daemon --size 256M
first=$daemon near_socket=$socket
store=$dir/store2 socket=$dir/socket2
far="cow+unix:///?socket=$socket"
trap 'kill -KILL "$first" 2>/dev/null; end' EXIT
start_daemon --size 256M

# put OBJ BLOCK: random bytes in that block.
put() {
	head -c 4096 /dev/urandom | cowctl write --offset $(($2 * 4096)) "$1"
}

# names PREFIX: the objects of the far server.
names() {
	cowctl -u "$far" ls "$1" | tr '\n' ' '
}

versions() {
	cowctl -u "$far" snap ls "$1" | tr '\n' ' '
}

# same SPEC [SPEC]: it has the same bytes there.
same() {
	cowctl cat "$1" >"$dir/here" && cowctl -u "$far" cat "${2:-$1}" >"$dir/there" &&
		cmp -s "$dir/here" "$dir/there"
}

# ---- a chain of 30 days --------------------------------------------------------------------------

good 'an object is made' cowctl create disk 20M
head -c 3000000 /dev/urandom | cowctl write disk
good 'and a version of it' cowctl snap add disk@day0
good 'all of it is exported' cowctl export-diff disk@day0 "$dir/day0"
good 'and imported elsewhere' cowctl -u "$far" --json import-diff "$dir/day0" disk
json_is 'as a version' version disk@day0
json_is 'with its data' data_bytes 3002368
check 'it is all that is there' [ "$(versions disk)" = 'disk@day0 ' ]
check 'there is nothing else' [ "$(names '')" = 'disk ' ]
chain=0 small=0
for day in {1..30}; do
	for _ in 1 2 3; do put disk $((RANDOM % 5120)); done
	cowctl zero --offset $((RANDOM % 5120 * 4096)) --length 64k disk
	case $day in
	7) cowctl resize --shrink disk 11111111 ;;
	14) cowctl resize disk 20000001 ;;
	21) head -c 70000 /dev/urandom | cowctl write --offset 19990000 disk ;;
	esac
	cowctl snap add "disk@day$day"
	cowctl export-diff --from "@day$((day - 1))" "disk@day$day" - >"$dir/day$day" || break
	[ "$(stat -c %s "$dir/day$day")" -gt 200000 ] && small=1
	cowctl -u "$far" -q import-diff - disk <"$dir/day$day" || break
	chain=$day
done
check 'thirty days are exported and imported' [ "$chain" -eq 30 ]
check 'each by little more than what has changed' [ $small -eq 0 ]
wrong=''
for day in {0..30}; do
	same "disk@day$day" || wrong="$wrong $day"
done
check 'every day is exactly what it was' [ -z "$wrong" ]
check 'the object is as on the last day' same disk@day30 disk
check 'nothing else is left' [ "$(names '')" = 'disk ' ]
run cowctl -u "$far" --json diff disk@day29 disk@day30
check 'what has not changed is shared there' [ "$(json bytes)" -le 200000 ]
good 'many days in one' cowctl export-diff --from disk@day3 disk@day30 "$dir/days"
cowctl -u "$far" clone disk@day3 other && cowctl -u "$far" clone disk@day3 'other@three'
bad 'a version without the same origin' 2 cowctl -u "$far" import-diff "$dir/days" other
says 'is said to be none' 'it has no copy of disk@day3, which the stream begins at'
good 'a copy of a copy' cowctl -u "$far" export-diff disk@day3 "$dir/copied"
good 'is a copy of the same' cowctl -u "$far" import-diff "$dir/copied" third
good 'to which the days can be added' cowctl -u "$far" import-diff "$dir/days" third
check 'exactly' same disk@day30 third

# ---- what is refused -----------------------------------------------------------------------------

bad 'a whole object over another' 4 cowctl -u "$far" import-diff "$dir/day0" third
bad 'a difference for nothing' 3 cowctl -u "$far" import-diff "$dir/day5" none
cowctl -u "$far" create empty 1M
bad 'a difference for something else' 2 cowctl -u "$far" import-diff "$dir/day5" empty
cowctl -u "$far" cp -f "$dir/day0" empty && cowctl -u "$far" snap add empty@day4
bad 'which has a version of that name' 2 cowctl -u "$far" import-diff "$dir/day5" empty
put disk 1 && cowctl snap add disk@next && cowctl export-diff --from @day30 disk@next "$dir/next"
printf x | cowctl -u "$far" write disk
bad 'an object that has changed since' 2 cowctl -u "$far" import-diff "$dir/next" disk
says 'is told how to give that up' 'cowctl reset disk@day30'
cowctl -u "$far" reset disk@day30
cowctl -u "$far" snap add disk@next
bad 'a version of the same name' 4 cowctl -u "$far" import-diff "$dir/next" disk
cowctl -u "$far" snap rm disk@next
check 'nothing is left of these' [ "$(names '')" = 'disk empty other third ' ]
run cowctl -u "$far" import-diff --progress=2 "$dir/next" disk
check 'after that it is taken' [ "$status" -eq 0 ]
says 'with its progress' '100/100'
good 'once more' cowctl -u "$far" --json import-diff "$dir/next" disk
json_is 'has no effect' already True
bad 'a version as the place' 64 cowctl -u "$far" import-diff "$dir/next" disk@day1
bad 'a file that is no stream' 9 cowctl -u "$far" import-diff "$dir/log" new
bad 'a file that is not there' 3 cowctl -u "$far" import-diff "$dir/none" new
bad 'resuming nothing' 3 cowctl -u "$far" import-diff --resume "$dir/day0" new
bad 'an object that may change' 64 cowctl export-diff disk "$dir/out2"
says 'it says what to do' 'cowctl snap add'
bad 'a version that is not there' 3 cowctl export-diff disk@none "$dir/out2"
bad 'from one that is not there' 3 cowctl export-diff --from @none disk@day1 "$dir/out2"
bad 'from a version of another object' 64 cowctl export-diff --from other@x disk@day1 "$dir/out2"
bad 'beyond the end' 64 cowctl export-diff --skip-to 1T disk@day1 "$dir/out2"
check 'leave no file' [ ! -e "$dir/out2" ]
bad 'a file that exists' 4 cowctl export-diff disk@day1 "$dir/day1"
good 'is overwritten on request' cowctl --json export-diff -f disk@day0 "$dir/day1"
json_is 'with all of the object' data_bytes 3002368
good 'within one store' cowctl import-diff "$dir/day1" again
good 'it works too' cowctl -q compare again disk@day0
good 'help says how they are used' cowctl help export-diff
good 'both of them' cowctl help import-diff

# ---- cut and damaged -----------------------------------------------------------------------------

# Two blocks and a bit: a change of the bit, and a hole.
head -c 8250 /dev/urandom >"$dir/bits"
cowctl cp -q "$dir/bits" bits && cowctl snap add bits@1
cowctl export-diff bits@1 "$dir/bits1"
cowctl zero --length 4096 bits
printf 'changed' | cowctl write --offset 8200 bits
cowctl snap add bits@2
good 'a small stream' cowctl export-diff --from @1 bits@2 "$dir/bits2"
good 'and what it is for' cowctl -u "$far" import-diff "$dir/bits1" bits
length=$(stat -c %s "$dir/bits2")
check 'is small' [ "$length" -lt 600 ]

# refused FILE: a stream that is refused with 9 and changes nothing that is seen.
refused() {
	"$COWCTL" -u "$far" import-diff "$1" bits >"$dir/out" 2>"$dir/err"
	[ $? -eq 9 ] && [ "$("$COWCTL" -u "$far" snap ls bits)" = bits@1 ]
}

share=${TEST_SHARE:-1}
wrong='' resumed=0
for ((cut = RANDOM % share; cut < length; cut += share)); do
	head -c $cut "$dir/bits2" >"$dir/cut"
	refused "$dir/cut" || wrong="$wrong $cut"
	if grep -q -e --skip-to "$dir/err"; then
		at=$(sed 's/.*--skip-to=\([0-9]*\).*/\1/' "$dir/err")
		cowctl export-diff --from @1 --skip-to "$at" bits@2 "$dir/rest"
		cowctl -u "$far" import-diff --resume "$dir/rest" bits && same bits@2 bits &&
			same bits@2 || wrong="$wrong resumed-$cut"
		cowctl -u "$far" reset -y bits@1 && cowctl -u "$far" snap rm bits@2
		rm "$dir/rest"
		resumed=$((resumed + 1))
	fi
done
check 'cut at any byte it is refused, and resumed' [ -z "$wrong" ]
echo "# $length bytes, resumed $resumed times: $wrong"
check 'where there was something to go on with' [ $((resumed * share)) -gt 50 ]
check 'nothing is left of that' [ "$(names bits)" = 'bits ' ]

"$PYTHON" -c '
import sys
data = open(sys.argv[1], "rb").read()
for i in range(len(data)):
    flipped = bytearray(data)
    flipped[i] ^= 1 << i % 8
    open(f"{sys.argv[2]}.{i}", "wb").write(flipped)' "$dir/bits2" "$dir/flip"
wrong=''
for ((i = RANDOM % share; i < length; i += share)); do
	refused "$dir/flip.$i" || wrong="$wrong $i"
	grep -q -e --skip-to "$dir/err" && cowctl -u "$far" rm -r bits.partial
done
check 'a bit flipped in any byte is refused' [ -z "$wrong" ]
echo "# $wrong"
{ cat "$dir/bits2" && printf x; } >"$dir/longer"
check 'so is a byte too many' refused "$dir/longer"
check 'it has come to the end' grep -q 'behind its end record' "$dir/err"
bad 'without --resume what was begun stays' 4 cowctl -u "$far" import-diff "$dir/bits2" bits
says 'and is named' 'bits.partial'
put bits 1 && cowctl snap add bits@3 && cowctl export-diff --from @1 bits@3 "$dir/bits3"
bad 'another stream does not go on with it' 2 cowctl -u "$far" import-diff --resume "$dir/bits3" bits
good 'the whole stream does' cowctl -u "$far" import-diff --resume "$dir/bits2" bits
check 'and is exact' same bits@2 bits
check 'nothing is left of it' [ "$(names bits)" = 'bits ' ]

# A new object, cut and resumed.
cowctl export-diff disk@day30 "$dir/whole" -f -q
size=$(stat -c %s "$dir/whole")
head -c $((size / 2)) "$dir/whole" >"$dir/cut"
bad 'a whole object that is cut' 9 cowctl -u "$far" import-diff "$dir/cut" new
check 'is not there' [ "$(names new)" = 'new.partial ' ]
at=$(sed 's/.*--skip-to=\([0-9]*\).*/\1/' "$dir/err")
cowctl export-diff --skip-to $((at + 4096)) disk@day30 "$dir/rest"
bad 'a rest with a gap before it' 2 cowctl -u "$far" import-diff --resume "$dir/rest" new
cowctl export-diff --skip-to "$at" disk@day30 "$dir/rest" -f
bad 'a rest alone' 2 cowctl -u "$far" import-diff "$dir/rest" newer
good 'the rest' cowctl -u "$far" import-diff --resume "$dir/rest" new
check 'makes it whole' same disk@day30 new
check 'and its version' [ "$(versions new)" = 'new@day30 ' ]

# A client that is killed in the middle.
mkfifo "$dir/pipe"
"$COWCTL" -u "$far" import-diff "$dir/pipe" killed &
client=$!
exec 8>"$dir/pipe"
head -c $((size / 2)) "$dir/whole" >&8
until cowctl -u "$far" info killed.partial@at-0 >"$dir/out" 2>&1; do
	kill -0 $client 2>/dev/null || break # it has given up
done
kill -KILL $client
wait $client 2>/dev/null
exec 8>&-
check 'a client that is killed leaves what it had begun' [ "$(names killed)" = 'killed.partial ' ]
good 'with which another goes on' cowctl -u "$far" import-diff --resume "$dir/whole" killed
check 'to the end' same disk@day30 killed

# What a client leaves that is killed between two steps.
"$COWCTL" -u "$far" reset -y disk@day30
good 'with the version there and the object not yet' cowctl -u "$far" import-diff "$dir/next" disk
check 'the same stream goes on' same disk@next disk

# ---- from server to server -----------------------------------------------------------------------

# at SOCKET OBJ: its URI.
at() {
	echo "cow+unix:///$2?socket=$1"
}

good 'an object is copied to another server' cowctl cp disk "$(at "$socket" over)"
good 'and is equal to what it was copied from' cowctl compare disk "$(at "$socket" over)"
good 'and back, by two names' cowctl -u cow://localhost:1 cp "$(at "$socket" over)" \
	"$(at "$near_socket" back)"
good 'where it is the same' cowctl compare back disk
truncate -s 4G "$dir/holes"
printf x | dd of="$dir/holes" bs=1 seek=3000000000 conv=notrunc 2>/dev/null
cowctl cp "$dir/holes" sparse
good 'a sparse object' cowctl --json cp sparse "$(at "$socket" sparse)"
check 'has its holes travel as holes' [ "$(json data_bytes)" -le 65536 ]
cowctl -u "$far" fsync sparse
check 'and stays sparse' [ "$(cowctl -u "$far" info -H -o mapped sparse)" -le 65536 ]
echo 'one byte of random data may be what is written over it' | cowctl -u "$far" write over
run cowctl compare disk "$(at "$socket" over)"
check 'what has changed since differs' [ "$status" -eq 2 ]
good 'a version is copied from another server' cowctl cp "$(at "$socket" disk@day3)" day3
good 'exactly' cowctl compare day3 disk@day3
bad 'the same object by another name' 64 cowctl cp -f disk "$(at "$near_socket" disk)"
says 'is not copied onto itself' 'source and destination are the same object'
check 'and is as it was' same disk@day30 new
bad 'a name that is taken there' 4 cowctl cp disk "$(at "$socket" over)"
bad 'a URI without an object' 64 cowctl cp disk "cow+unix:///?socket=$socket"
bad 'a URI that is none' 64 cowctl cp disk 'cow://'
bad 'a server that is not there' 7 cowctl cp disk "$(at "$dir/none" x)"
bad 'an object that is not there' 3 cowctl cp "$(at "$socket" none)" x

check 'the far server finds no fault' cowctl -u "$far" -q check
stop_daemon
check 'its daemon ends well' [ $? -eq 0 ]
daemon=$first
check 'the near server finds no fault' cowctl -q check
stop_daemon
check 'its daemon ends well' [ $? -eq 0 ]
finish
