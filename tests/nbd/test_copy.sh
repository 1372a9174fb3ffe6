#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# nbdcopy in, out and across, over several connections: every byte, no more data than there is, and
# what it has flushed outlives the server.
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/nbd/lib.sh
. "${srcdir:-.}/tests/nbd/lib.sh"

begin_nbd
start_nbd
size=$((48 << 20 | 12345))
file=$dir/file back=$dir/back
patches "$file" $size 40 200000 1

# at_most NUMBER LIMIT
at_most() {
	[ "$1" -le "$2" ] || echo "# $1 is more than $2"
	[ "$1" -le "$2" ]
}

# fresh NAME: an object for the file.
fresh() {
	cowctl create "$1" $size
}

# ---- in and out ----------------------------------------------------------------------------------

allowed=$(($(file_bytes "$file") + 40 * 2 * 4096))
fresh disk
works 'a file is copied in, by four connections' \
	nbdcopy -C 4 -T 4 -R 64 --request-size=131072 "$file" "$(uri disk)"
check 'each byte of it is there' content disk "$file"
check 'its holes are holes' at_most "$(data_bytes disk)" $allowed
works 'and copied out' nbdcopy -C 4 -T 4 -R 64 --request-size=131072 "$(uri disk)" "$back"
check 'each byte of it' cmp -s "$file" "$back"
check 'with its holes' at_most "$(file_bytes "$back")" $allowed
works 'with many connections' nbdcopy -v -C 12 -T 4 "$(uri disk)" null:
check 'all of which there were' [ "$(grep -c 'transition: .*READY' "$dir/err")" -gt 0 ]
rm "$back"
works 'one connection, one request at a time' nbdcopy --synchronous "$(uri disk)" "$back"
check 'the same bytes' cmp -s "$file" "$back"
rm "$back"
works 'in odd pieces' nbdcopy -C 2 --request-size=4096 --no-extents -S 0 "$(tcp_uri disk)" "$back"
check 'the same again' cmp -s "$file" "$back"
works 'the largest pieces' nbdcopy -C 2 --request-size=33554432 "$(uri disk)" "$back"
check 'the same once more' cmp -s "$file" "$back"
nbdcopy "$(uri disk)" - >"$back" 2>"$dir/err"
check 'to a pipe' cmp -s "$file" "$back"
fresh piped
nbdcopy - "$(uri piped)" <"$file" 2>"$dir/err"
check 'from a pipe' content piped "$file"
fresh sparse
works 'what is zeros is known to be' nbdcopy --destination-is-zero "$file" "$(uri sparse)"
check 'it is the same' content sparse "$file"
check 'and as small' at_most "$(data_bytes sparse)" $allowed
fresh full
works 'zeros that are to be written are' nbdcopy --allocated -S 0 "$file" "$(uri full)"
check 'they are zeros' content full "$file"

# ---- over what was there -------------------------------------------------------------------------

patches "$dir/other" $size 60 150000 2
works 'another file over it' nbdcopy -C 4 "$dir/other" "$(uri disk)"
check 'nothing of the first is left' content disk "$dir/other"
cowctl clone disk clone
works 'a clone is written over' nbdcopy -C 4 "$file" "$(uri clone)"
check 'it has changed' content clone "$file"
check 'its origin has not' content disk "$dir/other"

# ---- across --------------------------------------------------------------------------------------

fresh copy
works 'from one export to another' nbdcopy -C 4 -R 32 "$(uri disk)" "$(tcp_uri copy)"
check 'each byte of it' content copy "$dir/other"
check 'with its holes' at_most "$(data_bytes copy)" "$(($(file_bytes "$dir/other") + 60 * 2 * 4096))"
cowctl snap add copy@v1
works 'from a version' nbdcopy "$(uri copy@v1)" "$(uri sparse)"
check 'is as it' content sparse "$dir/other"
fails 'into a version' nbdcopy "$file" "$(uri copy@v1)"
check 'it stays as it was' content copy@v1 "$dir/other"
cowctl create small 1M
fails 'what is too small for it' nbdcopy "$file" "$(uri small)"

# ---- flush ---------------------------------------------------------------------------------------

fresh kept
works 'a copy that is flushed' nbdcopy --flush -C 4 "$file" "$(uri kept)"
crash --log info
check 'is there after a crash' content kept "$file"
cowctl check -q >"$dir/out" 2>&1
check 'in a store without faults' [ $? -eq 0 ]
finish
