#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# What nbdinfo finds out about exports: which there are, their sizes and flags, and where their data,
# what they share and what has changed is.
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/nbd/lib.sh
. "${srcdir:-.}/tests/nbd/lib.sh"

begin_nbd
start_nbd

# can YES|NO FLAG EXPORT: what "nbdinfo --can" says, 2 being no and anything else an error.
can() {
	nbdinfo --can "$2" "$(uri "$3")" >"$dir/out" 2>"$dir/err"
	[ $? -eq "$(($1 == 1 ? 0 : 2))" ]
}

# is YES|NO FLAG EXPORT
is() {
	nbdinfo --is "$2" "$(uri "$3")" >"$dir/out" 2>"$dir/err"
	[ $? -eq "$(($1 == 1 ? 0 : 2))" ]
}

# same_map CONTEXT KIND EXPORT: nbdinfo's map is cowctl's (maps.py).
same_map() {
	nbdinfo --json --map="$1" "$(uri "$3")" >"$dir/theirs" && cowctl --json map "$3" >"$dir/ours" &&
		"$debian_python" "$srcdir/tests/nbd/maps.py" "$2" "$dir/theirs" "$dir/ours"
}

# same_diff VERSION EXPORT: the dirty bitmap is what cowctl diff finds.
same_diff() {
	nbdinfo --json --map="qemu:dirty-bitmap:$1" "$(uri "$2")" >"$dir/theirs" &&
		cowctl --json diff "${2%@*}@$1" "$2" >"$dir/ours" &&
		"$debian_python" "$srcdir/tests/nbd/maps.py" dirty "$dir/theirs" "$dir/ours" \
			"$(nbdinfo --size "$(uri "$2")")"
}

# export_names: all that is listed, a line each, in order.
export_names() {
	nbdinfo --list --json "nbd+unix://?socket=$nbd" 2>"$dir/err" | "$debian_python" -c '
import json, sys
for export in json.load(sys.stdin)["exports"]:
    print(export["export-name"])' | sort
}

# field KEY: of the one export of the last "nbdinfo --json"; without the blanks of lists.
field() {
	"$debian_python" -c '
import json, sys
doc = json.load(open(sys.argv[1]))
value = doc.get(sys.argv[2], doc["exports"][0].get(sys.argv[2]))
print(" ".join(value) if isinstance(value, list) else value)' "$dir/out" "$1"
}

# field_is TITLE KEY VALUE
field_is() {
	local got
	got=$(field "$2" 2>&1)
	[ "$got" = "$3" ]
	result $? "$1${got:+: $got}"
}

# ---- without any object --------------------------------------------------------------------------

check 'a store without objects lists nothing' [ -z "$(export_names)" ]
fails 'and has no default export' nbdinfo "$(uri '')"
fails 'nor one of any name' nbdinfo "$(uri disk)"

# ---- which there are -----------------------------------------------------------------------------

cowctl create disk 8M
head -c 1M /dev/urandom | cowctl write disk
head -c 64K /dev/urandom | cowctl write --offset 4M disk
head -c 4K /dev/urandom | cowctl write --offset 7M disk
cowctl snap add disk@v1
head -c 4K /dev/urandom | cowctl write --offset 8K disk
head -c 12K /dev/urandom | cowctl write --offset 6M disk
cowctl zero --offset 4M --length 32K disk
cowctl snap add disk@v2
head -c 20K /dev/urandom | cowctl write --offset 500K disk
cowctl fsync disk
cowctl create odd 1000001
cowctl create empty 0
cowctl create 'dir/näme with % and ?#&+='"'" 4096 2>/dev/null ||
	cowctl create 'dir/näme with #&+='"'" 4096
cowctl create kept 64K && cowctl set kept readonly=yes >/dev/null
{
	cowctl ls
	cowctl snap ls disk
} | sort >"$dir/names"
check 'all objects and versions are listed' [ "$(export_names)" = "$(<"$dir/names")" ]
while read -r name; do
	good "$name: has a size" nbdinfo --size "$(uri "$name")"
	check "$name: the right one" [ "$out" = "$(cowctl --json info "$name" | "$debian_python" -c '
import json, sys
print(json.load(sys.stdin)["objects"][0]["size"])')" ]
done <"$dir/names"
fails 'an object that is not there' nbdinfo "$(uri nothing)"
says 'is said to be none' 'nothing'
fails 'a version that is not there' nbdinfo "$(uri disk@v3)"
fails 'the empty name' nbdinfo "$(uri '')"
fails 'a name that none can have' nbdinfo "$(uri 'a@b@c')"
fails 'a name that is too long' nbdinfo "$(uri "$(printf 'x%.0s' {1..4000})")"
good 'by TCP it is the same' nbdinfo --size "$(tcp_uri disk)"
check 'with the same size' [ "$out" = 8388608 ]

# ---- what is said of one -------------------------------------------------------------------------

works 'all is said of an object' nbdinfo --json "$(uri disk)"
field_is 'by the protocol of today' protocol newstyle-fixed
field_is 'without TLS' TLS False
field_is 'with structured replies' structured True
field_is 'any byte can be had' block_size_minimum 1
field_is 'blocks are preferred' block_size_preferred 4096
check 'requests may be large' [ "$(field block_size_maximum)" -ge 1048576 ]
field_is 'with all contexts' contexts \
	'base:allocation cowd:shared qemu:dirty-bitmap:v1 qemu:dirty-bitmap:v2'
field_is 'with its size' export-size 8388608
works 'and of a version' nbdinfo --json "$(uri disk@v2)"
field_is 'which is read-only' is_read_only True
works 'and of an object without versions' nbdinfo --json "$(uri odd)"
field_is 'with fewer contexts' contexts 'base:allocation cowd:shared'
field_is 'with its odd size' export-size 1000001

for flag in connect read write cache df fast-zero flush fua multi-conn structured-reply trim zero; do
	check "an object can $flag" can 1 $flag disk
done
for flag in connect read cache df multi-conn structured-reply; do
	check "a version can $flag" can 1 $flag disk@v1
done
for flag in write trim zero fast-zero; do
	check "a version cannot $flag" can 0 $flag disk@v1
done
check 'an object is not read-only' is 0 read-only disk
check 'a version is' is 1 read-only disk@v1
check 'so is an object that is kept' is 1 read-only kept
check 'nothing rotates' is 0 rotational disk
check 'nothing is TLS here' is 0 tls disk

# ---- maps ----------------------------------------------------------------------------------------

for name in disk disk@v1 disk@v2 odd empty; do
	check "$name: where its data is" same_map base:allocation allocation "$name"
	check "$name: what it shares" same_map cowd:shared shared "$name"
done
check 'what has changed since a version' same_diff v2 disk
check 'since the first' same_diff v1 disk
check 'between two' same_diff v1 disk@v2
cowctl compare -q disk disk@v2 >/dev/null
check 'all that differs is dirty' [ $? -eq 2 ]
works 'nothing has changed in itself' nbdinfo --map=qemu:dirty-bitmap:v2 --totals "$(uri disk@v2)"
check 'and it is said so' [ "$(awk '{print $1, $3}' "$dir/out")" = '8388608 0' ]
for context in qemu:dirty-bitmap:v3 qemu:dirty-bitmap: qemu:allocation-depth base:other nonsense; do
	fails "there is no $context" nbdinfo --map=$context "$(uri disk)"
done
works 'totals of the map' nbdinfo --map --totals --json "$(uri disk)"
check 'are all of it' [ "$("$debian_python" -c '
import json, sys
print(sum(e["size"] for e in json.load(open(sys.argv[1]))))' "$dir/out")" = 8388608 ]
head -c 5000 /dev/urandom | cowctl write --offset 2M disk
check 'what is not committed yet is data, too' same_map base:allocation allocation disk

# ---- what changes --------------------------------------------------------------------------------

cowctl resize disk 9000001
good 'another size is seen when one connects again' nbdinfo --size "$(uri disk)"
check 'to its last byte' [ "$out" = 9000001 ]
check 'with its map' same_map base:allocation allocation disk
check 'and what has changed' same_diff v1 disk
cowctl snap add disk@v3 && cowctl snap rm -y disk@v1 >/dev/null
works 'versions come and go' nbdinfo --json "$(uri disk)"
field_is 'and their contexts with them' contexts \
	'base:allocation cowd:shared qemu:dirty-bitmap:v2 qemu:dirty-bitmap:v3'
check 'the list, too' [ "$(export_names | grep -c @)" -eq 2 ]
cowctl mv odd even
fails 'a name that it had' nbdinfo "$(uri odd)"
good 'the name that it has' nbdinfo --size "$(uri even)"
check 'nothing was logged as a fault' [ "$(grep -c -E 'level=(error|crit)' "$dir/log")" -eq 0 ]
finish
