#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# cowctl verify, against a real daemon: what is read, once where it is shared; damages; an interrupt.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

# ends STATUS TITLE COMMAND...: whatever it prints.
ends() {
	local want=$1 title=$2
	shift 2
	run "$@"
	[ "$status" -eq "$want" ]
	result $? "$title"
}

# has TITLE KEY=VALUE...: the last output, a JSON document, has all of them.
has() {
	local title=$1
	shift
	"$PYTHON" -c '
import json, sys
doc = json.load(open(sys.argv[1]))
doc["output_version"]
for word in sys.argv[2:]:
    keys, _, want = word.partition("=")
    have = doc
    for key in keys.split("."):
        have = have[int(key)] if isinstance(have, list) else have[key]
    assert json.dumps(have) == want, (keys, have)' "$dir/out" "$@" 2>"$dir/why"
	status=$? err=$(cat "$dir/why")
	result $status "$title"
}

# place OBJ OFFSET: where that is on the device.
place() {
	cowctl map -H -o physical --offset "$2" --length 1 "$1"
}

# flip BYTE: changes a bit of the device, or changes it back.
flip() {
	"$PYTHON" -c '
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(-1, 1)
    file.write(bytes([byte ^ 1]))' "$store/data" "$1"
}

restart() {
	stop_daemon
	start_daemon "$@"
}

begin
start_daemon --size 128M
head -c 2M /dev/urandom >"$dir/image"
run cowctl cp "$dir/image" image
run cowctl resize image 1T
run cowctl snap add image@a
run cowctl clone -N 20 image vm%d
run cowctl clone image@a of-version
head -c 100k /dev/urandom | cowctl write --offset 1M vm7
restart --verify-rate 1G

# ---- what is read --------------------------------------------------------------------------------

good 'verify' cowctl verify image
says 'says that all is well' 'all is well: 1 object or version, 2 MiB read'
good 'verify of several in JSON' cowctl --json verify image image@a vm7
has 'reads what each maps' read=$((3 * 2097152)) objects=3 complete=true damages=[] pending=0
good 'verify of a range' cowctl --json verify --offset 1M --length 4097 image
has 'reads the blocks that it touches' read=8192
exec 8>"$dir/progress"
good 'verify of all' cowctl --json verify --all --rate=1G --progress=8
exec 8>&-
has 'reads what they share once' objects=23 read=$((2097152 + 102400))
check 'and tells the progress to its end' grep -qx 100/100 "$dir/progress"
good 'scrub is verify' cowctl -q scrub --all
check 'and says nothing with -q' [ -z "$out" ]

bad 'verify of what is missing' 3 cowctl verify image missing
bad 'verify of nothing' 64 cowctl verify
bad 'verify of all and one' 64 cowctl verify --all image
bad 'verify of a range of all' 64 cowctl verify --all --offset 4K
bad 'verify of a range of two' 64 cowctl verify --length 4K image vm1
bad 'verify with a rate that is too low' 64 cowctl verify --rate 4095 image
bad 'verify with a rate that is none' 64 cowctl verify --rate fast image
bad 'verify with a bad descriptor' 64 cowctl verify --progress=99 image

# ---- damages -------------------------------------------------------------------------------------

shared=$(place image 40960)
own=$(place vm7 1048576)
run cowctl cat --length 64K image # the server has it in memory, and has not noticed
flip "$((shared + 5))"
flip "$own"
ends 9 'verify of what is damaged' cowctl verify image
check 'says where' [ "$out" = \
	"image offset 40960: block $((shared / 4096)) of the device does not fit its checksum" ]
check 'and how much' [ "$err" = 'cowctl: verify: 4 KiB in 1 place is damaged' ]
check 'the server logs it' grep -q \
	"verify-checksum object=[0-9]* offset=40960 bytes=4096 physical=$((shared / 4096))" "$dir/log"
ends 9 'verify of a clone' cowctl verify vm3
ends 0 'verify of what is not damaged' cowctl verify --offset 1M vm3
ends 9 'verify of all that is damaged' cowctl --json verify --all
has 'has what is shared of the first' complete=true damaged=8192 damages.0.object='"image@a"' \
	damages.0.offset=40960 damages.0.length=4096 damages.0.kind='"checksum"' \
	damages.0.block=$((shared / 4096)) damages.0.physical="$shared" damages.1.object='"vm7"'
cowctl write --offset 40960 image <"$dir/image"
run cowctl fsync image
ends 0 'what was written again is well' cowctl verify --length 1M image
ends 9 'and what others have of it is not' cowctl verify vm1
flip "$((shared + 5))"
flip "$own"
good 'when it is back' cowctl verify --all

# ---- an interrupt --------------------------------------------------------------------------------

head -c 400K /dev/urandom >"$dir/slow"
run cowctl cp "$dir/slow" slow
restart
mkfifo "$dir/steps"
"$COWCTL" --json verify --rate 64K --progress=8 slow >"$dir/out" 2>"$dir/err" 8>"$dir/steps" &
pid=$!
exec 7<"$dir/steps"
while read -r step <&7 && [ "${step%/*}" -lt 4 ]; do :; done
kill -INT $pid
wait $pid
check 'an interrupt ends it' [ $? -eq 130 ]
exec 7<&-
has 'which says that it is not complete' complete=false stopped_in='"slow"'
at=$(json stopped_at)
check 'and how far it came' [ "$at" -ge 16384 -a "$at" -lt 409600 ]
check 'in a sentence too' grep -q -- "--offset $at goes on" "$dir/err"
good 'it goes on from there' cowctl --json verify --offset "$at" slow
has 'to the end' read=$((409600 - at)) stopped_in=null

# ---- the end of the server -----------------------------------------------------------------------

"$COWCTL" verify --rate 4K --progress=8 slow >"$dir/out" 2>"$dir/err" 8>"$dir/steps" &
pid=$!
read -r step <"$dir/steps"
check 'the server ends while one is under way' stop_daemon
wait $pid
check 'which fails' [ $? -eq 7 ]
check 'nothing holds it up' grep -q 'stopped.*clean=yes' <(tail -n 1 "$dir/log")

finish
