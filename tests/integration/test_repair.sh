#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# cowd --check --repair on a store with faults planted in it: what it says, how it ends, and that the
# objects are what they were and can be used.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

plant() {
	"$builddir/tests/lib/plant" "$1" "$store" >>"$dir/log" 2>&1
}

repair() {
	"$COWD" --store "$store" --log error --check --repair
}

# ends TITLE STATUS COMMAND...: whatever it says on standard error, which has a line for each bad value.
ends() {
	local title=$1 want=$2
	shift 2
	run "$@"
	[ "$status" -eq "$want" ]
	result $? "$title"
}

# same_objects TITLE: they read as they did.
same_objects() {
	local object bad=0
	for object in base copy base@v; do
		cowctl cat "$object" >"$dir/back" 2>"$dir/err" || bad=1
		cmp -s "$dir/was.${object#*@}" "$dir/back" || bad=1
	done
	check "$1" [ $bad -eq 0 ]
}

begin
start_daemon --size 64M
bad 'a store in use is not mended' 5 "$COWD" --store "$store" --check --repair
says 'it names the holder' "$daemon"
bad '--repair alone' 64 "$COWD" --store "$store" --repair
head -c 3000000 /dev/urandom >"$dir/data"
cowctl cp "$dir/data" base >"$dir/out" 2>&1
check 'an object' [ $? -eq 0 ]
good 'a version of it' cowctl snap add base@v
good 'a clone of it' cowctl clone --ttl=24h base copy
head -c 5000 /dev/urandom | "$COWCTL" write copy --offset 1M
check 'which is written' [ $? -eq 0 ]
head -c 7000 /dev/urandom | "$COWCTL" write base --offset 2M
check 'as the object is' [ $? -eq 0 ]
cowctl cp "$dir/data" gone >"$dir/out" 2>&1
cowctl rm gone
check 'something is removed' [ $? -eq 0 ]
for object in base copy base@v; do
	cowctl cat "$object" >"$dir/was.${object#*@}"
done
check 'the daemon stops' stop_daemon

# ---- a store that is right -----------------------------------------------------------------------

ends 'a store that is right' 0 repair
says 'has no difference' ': 0 differences'
check 'nothing is said to be mended' [ "${out/mended/}" = "$out" ]
ends 'and so again' 0 repair

# ---- what is computed ----------------------------------------------------------------------------

for fault in counts free links queue orphan sums; do
	check "$fault: planted" plant $fault
	ends "$fault: the checker finds it" 9 "$COWD" --store "$store" --log error --check
	count=$(tail -n 1 "$dir/out")
	ends "$fault: mended" 0 repair
	says "$fault: it says so" ': mended'
	says "$fault: how many" ' mended, 0 not touched'
	says "$fault: nothing is left" ': 0 differences'
	check "$fault: there was something" [ "${count/ 0 differences/}" = "$count" ]
	good "$fault: the checker finds nothing" "$COWD" --store "$store" --check
done
for fault in counts free links queue orphan sums; do
	plant $fault
done
ends 'all of that at once' 0 repair
ends 'there is nothing more to do' 0 repair
check 'and nothing is said' [ "${out/mended/}" = "$out" ]
start_daemon
same_objects 'the objects are what they were'
good 'the clone is cloned' cowctl clone copy third
head -c 4000000 /dev/urandom >"$dir/more"
good 'and another made' cowctl cp -q "$dir/more" fourth
good 'one is removed' cowctl rm third
run cowctl ls
check 'all are listed' [ "$out" = $'base\ncopy\nfourth' ]
run cowctl children base
says 'the clone is found' copy
same_objects 'the objects are so still'
check 'the daemon stops again' stop_daemon
good 'the checker finds nothing' "$COWD" --store "$store" --check

# ---- the journal ---------------------------------------------------------------------------------

start_daemon
head -c 6000 /dev/urandom >"$dir/late"
"$COWCTL" write base --offset 64K <"$dir/late"
cowctl fsync base
check 'something is written and synced' [ $? -eq 0 ]
cowctl cat base >"$dir/was.base"
check 'the daemon is killed' eval '! stop_daemon KILL'
cp -r --sparse=always "$store" "$dir/kept"
plant counts
check 'counts are planted below the journal' plant free
ends 'mended' 0 repair
says 'what the journal has is applied' ' of the journal applied'
start_daemon
same_objects 'what was synced is there'
check 'the daemon stops once more' stop_daemon
rm -rf "$store"
mv "$dir/kept" "$store"
check 'a block is planted that the journal has, too' plant journal
ends 'nothing is touched' 9 repair
says 'it says why' 'not touched: the journal maps blocks that are mapped already'
check 'nothing is mended' [ "${out/: mended/}" = "$out" ]

# ---- what is not computed ------------------------------------------------------------------------

rm -rf "$store"
start_daemon --size 64M
cowctl cp -q "$dir/data" base
cowctl cp -q "$dir/more" other
check 'a new store' [ $? -eq 0 ]
check 'the daemon stops in the end' stop_daemon
check 'a name of nothing' plant name
ends 'which stays' 9 repair
says 'it says why' 'name "stray" refers to object 4000, which is missing or damaged: not touched: a name'
plant leaf
check 'a leaf is damaged' [ $? -eq 0 ]
cp "$store/map" "$dir/map"
ends 'it stays so' 9 repair
says 'it says why' 'is missing or damaged: not touched: what it referred to is not known'
says 'space is not given back' 'are neither mapped nor free: not touched: a node below an object'
says 'how many' ' mended, '
ends 'and so again' 9 repair
says 'the same' '0 mended, '
start_daemon
cowctl cat other >"$dir/back"
check 'the other object is what it was' cmp -s "$dir/more" "$dir/back"
run cowctl cat base
check 'the damaged one is an error' [ "$status" -ne 0 ]
head -c 4000000 /dev/urandom >"$dir/data"
good 'there is room for others' cowctl cp -q "$dir/data" another
cowctl cat other >"$dir/back"
check 'which do not harm it' cmp -s "$dir/more" "$dir/back"
check 'the daemon stops at last' stop_daemon
finish
