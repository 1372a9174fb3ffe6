#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Versions, many clones, labels, times to live, names and space, by cowctl against a real daemon.
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

begin
start_daemon --size 256M
head -c 3000000 /dev/urandom >"$dir/first"
head -c 2000000 /dev/urandom >"$dir/second"

# holds SPEC FILE: its data is that of the file.
holds() {
	cowctl cat "$1" >"$dir/back" 2>"$dir/err" && cmp -s "$dir/back" "$2"
}

# field SPEC FIELD: as scripts see it.
field() {
	cowctl info -H -o "$2" "$1"
}

# ---- versions ------------------------------------------------------------------------------------

good 'an object is made' cowctl cp "$dir/first" golden
good 'a version is made' cowctl snap add golden@one --label why=first
good 'its object is overwritten' cowctl cp -f "$dir/second" golden
good 'another version is made' cowctl snap add golden@two
check 'a version holds what was written before it' holds golden@one "$dir/first"
check 'and the next what was written before that' holds golden@two "$dir/second"
good 'versions are listed' cowctl snap ls golden
check 'by name' [ "$out" = $'golden@one\ngolden@two' ]
check 'the object counts them' [ "$(field golden versions)" = 2 ]
check 'a version has its labels' [ "$(field golden@one labels)" = why=first ]
check 'and its size' [ "$(field golden@one size)" = 3000000 ]
check 'and its parent' [ "$(field golden@one parent)" = "$(field golden id)" ]
good 'versions are not among the objects' cowctl ls
check 'which are listed alone' [ "$out" = golden ]
bad 'a version is not written to' 6 cowctl write golden@one
bad 'nor resized' 6 cowctl resize golden@one 5M
bad 'a version that exists already' 4 cowctl snap add golden@two
says 'it says how to remove it' 'cowctl snap rm'
bad 'a version of nothing' 3 cowctl snap add none@one
says 'it says what is missing' 'snap add: none: no such object (cowctl ls '
bad 'a version that is not there' 3 cowctl info golden@none
says 'it says what is missing' 'golden@none: no such version (cowctl snap ls golden '
bad 'versions of a version' 64 cowctl snap ls golden@one
bad 'a version with a name that is not allowed' 1 cowctl snap add golden@a/b
good 'a version gets another name' cowctl snap rename golden@two 2nd
check 'under which it is found' holds golden@2nd "$dir/second"
bad 'and no longer under the old one' 3 cowctl cat golden@two
good 'cp from a version' cowctl cp golden@one "$dir/copy"
check 'gives its data' cmp -s "$dir/copy" "$dir/first"

good 'reset to a version that is named' cowctl reset golden@one
check 'gives the object its data' holds golden "$dir/first"
good 'reset in JSON to the version that was made last' cowctl --json reset golden
json_is 'names that version' version golden@2nd
json_is 'and the size' size 2000000
check 'and gives the object its data' holds golden "$dir/second"
check 'the versions are as they were' holds golden@one "$dir/first"
printf 'written after it' | cowctl write golden
check 'an object is written to after a reset' [ $? -eq 0 ]
check 'without regard to the version' holds golden@2nd "$dir/second"
bad 'reset to a version that is not there' 3 cowctl reset golden @three

# ---- many clones ---------------------------------------------------------------------------------

good 'many clones of a version' \
	cowctl clone -N 200 --ttl=1h --label role=test --label n=1 golden@one vm%03d
run cowctl ls --label role=test
check 'are all there' [ "$(wc -l <"$dir/out")" -eq 200 ]
check 'the last one too' holds vm199 "$dir/first"
check 'each with its labels' [ "$(field vm123 labels)" = n=1,role=test ]
check 'and an end' [ "$(field vm123 expires)" != - ]
run cowctl ls --label role=other
check 'no object has another label' [ -z "$out" ]
run cowctl clone -N 5 golden@one vm%03d
check 'clones that exist already' [ "$status" -eq 4 ]
says 'are named' 'vm000: '
run cowctl children golden@one
check 'they are the children of the version' [ "$(wc -l <"$dir/out")" -eq 200 ]
run cowctl children golden
check 'and not of its object' [ -z "$out" ]
run cowctl children -r golden
check 'unless those of versions are asked for' [ "$(wc -l <"$dir/out")" -eq 200 ]
good 'a clone of a clone' cowctl clone vm000 leaf
good 'tree of the object' cowctl tree -H -o name,parent golden
says 'has the version under the object' $'golden@one\tgolden'
says 'the clone under the version' $'vm000\tgolden@one'
says 'and the clone of the clone under that' $'leaf\tvm000'
good 'tree in JSON' cowctl --json tree vm000
json_is 'has the clone of the clone' objects.1.parent vm000

# Very many, of which it makes some before it is ended.
mkfifo "$dir/fifo"
"$COWCTL" clone -N 1000000 --progress=3 golden@one 'many%d' 3>"$dir/fifo" >"$dir/out" 2>"$dir/err" &
many=$!
exec 7<"$dir/fifo"
until ! read -r line <&7 || [ "$line" = 1/100 ]; do :; done
kill -TERM $many
wait $many
check 'many clones end by the signal' [ $? -eq 143 ]
exec 7<&-
err=$(cat "$dir/err")
says 'they say that they were interrupted' 'clone: interrupted; made: many0 to many'
made=${err##*many}
cowctl ls many >"$dir/out"
check 'and which were made' [ "$(wc -l <"$dir/out")" -eq $((made + 1)) ]
good 'which can be used' cowctl info "many$made"
check 'it is the last' [ "$made" -ge 10000 ]

# An object that has expired goes away by itself; the clone of it stays.  Where it was gone before
# it could be cloned, it lives longer.
ttl=1
good 'an object that lives for a second' cowctl create --ttl=1s brief 1M
until cowctl clone brief lasting || [ $ttl -ge 64 ]; do
	ttl=$((ttl * 2))
	cowctl create --ttl=${ttl}s brief 1M
done
good 'and a clone of it' cowctl info lasting
"$PYTHON" - "$COWCTL" <<'END'
import subprocess
import sys
for _ in range(3000):
    done = subprocess.run([sys.argv[1], "info", "brief"], capture_output=True)
    if done.returncode != 0:
        break
sys.exit(done.returncode != 3)
END
check 'it goes away by itself' [ $? -eq 0 ]
good 'the clone stays' cowctl info lasting

# So does a version, and its object stays.
good 'a version that lives for a second' cowctl snap add --ttl=1s golden@brief
until ! cowctl info golden@brief >"$dir/out" 2>"$dir/err"; do :; done
check 'it goes away by itself' grep -q 'no such version' "$dir/err"
good 'the object stays' cowctl info golden
good 'versions of several that live longer' cowctl snap add --ttl=1h golden@hour lasting@hour
good 'say until when' cowctl --json info lasting@hour
says 'which is a date' '"expires": "20'
run cowctl snap rm -y golden@hour lasting@hour

# ---- names ---------------------------------------------------------------------------------------

id=$(field golden id)
good 'mv' cowctl mv golden disks/golden
check 'it is the same object' [ "$(field disks/golden id)" = "$id" ]
check 'its versions go with it' holds disks/golden@one "$dir/first"
bad 'the old name is free' 3 cowctl info golden
good 'and can be used' cowctl create golden 1M
good 'mv --exchange' cowctl mv --exchange golden disks/golden
check 'swaps the names' [ "$(field golden id)" = "$id" ]
check 'and the versions' holds golden@one "$dir/first"
bad 'mv to a name that exists' 4 cowctl mv golden disks/golden
bad 'mv to the same name' 64 cowctl mv golden golden
says 'it does not say to remove it' 'golden: both names are the same'
bad 'mv of nothing' 3 cowctl mv none new
bad 'mv --exchange with nothing' 3 cowctl mv --exchange golden none
bad 'mv of an object to a version' 1 cowctl mv golden disks/golden@new

# ---- space ---------------------------------------------------------------------------------------

mib=$((1 << 20))
head -c $mib /dev/urandom >"$dir/mib"
good 'an object of a MiB' cowctl cp "$dir/mib" base
good 'a version of it' cowctl snap add base@v
good 'a clone of it' cowctl clone base twin
head -c $((mib / 4)) /dev/urandom | cowctl write --fsync base
run cowctl du -H -o exclusive base
check 'what was written since is exclusive' [ "$out" = $((mib / 4)) ]
run cowctl du -H base@v twin
check 'the rest is shared' [ "$(cut -f3 "$dir/out" | tr '\n' ' ')" = '0 0 0 ' ]
good 'du in JSON' cowctl --json du -r --if-deleted base twin
json_is 'mapped is the sum' total.mapped $((3 * mib))
json_is 'all of them have it for themselves' if_deleted.free $((mib + mib / 4))
good 'rm -n' cowctl --json rm -n -r base
json_is 'says what it would free' would_free $((mib / 4))
json_is 'and remove' would_remove.1 base@v
check 'and removes nothing' holds base@v "$dir/mib"
bad 'rm of an object with versions' 5 cowctl rm base
says 'it says how' -r
run cowctl df -H -o free
free=$out
good 'rm -r --wait' cowctl rm -r --wait base twin
run cowctl df -H -o reaping
check 'waits until nothing is left to be reaped' [ "$out" = 0 ]
run cowctl df -H -o free
check 'and the space is there' [ "$out" -ge $((free + mib)) ]
bad 'its versions are gone too' 3 cowctl info base@v
good 'snap rm' cowctl snap rm golden@one golden@2nd
check 'the clones stay' holds vm007 "$dir/first"
run cowctl tree -H -o name,parent vm007
check 'and have no origin' [ "$out" = $'vm007\t-' ]

# ---- the end -------------------------------------------------------------------------------------

good 'check' cowctl check
says 'finds nothing' 'all is well'
good 'check in JSON' cowctl --json check
json_is 'has no differences' differences 0
good 'a version before a crash' cowctl snap add vm007@kept
good 'and a name' cowctl mv leaf renamed
check 'the daemon is killed' eval '! stop_daemon KILL'
start_daemon
check 'the version is there' holds vm007@kept "$dir/first"
check 'and the name' holds renamed "$dir/first"
run cowctl ls --label role=test
check 'and all the clones' [ "$(wc -l <"$dir/out")" -eq 200 ]
good 'check finds nothing after the crash' cowctl check
check 'the daemon stops' stop_daemon
check 'the log names what has expired' grep -q 'event=expired object=[0-9]* name="*brief"*$' "$dir/log"
good 'the checker finds nothing' "$COWD" --store "$store" --check
finish
