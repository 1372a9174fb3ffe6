#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Every command of cowctl, against a real daemon.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

begin
start_daemon --size 256M
head -c 5000000 /dev/urandom >"$dir/random"

# ---- names ---------------------------------------------------------------------------------------

good 'create' cowctl create disk 1M
good 'create with a size in powers of 1000' cowctl create kilo 3kB
good 'create with a size in powers of 1024' cowctl create kibi 3KiB
good 'create in JSON' cowctl --json create dir/big 2T
json_is 'create in JSON has the name' name dir/big
json_is 'create in JSON has the size' size 2199023255552
run cowctl --json info kilo
json_is 'kB is 1000' objects.0.size 3000
run cowctl --json info kibi
json_is 'KiB is 1024' objects.0.size 3072
good 'info of several' cowctl info disk kilo
says 'info names the first' disk
says 'info names the second' kilo
good 'info with chosen fields' cowctl info -H -o name,size disk
good 'ls' cowctl ls
check 'ls has one line for each object' [ "$(wc -l <"$dir/out")" -eq 4 ]
check 'ls sorts by name' cmp -s "$dir/out" <(LC_ALL=C sort "$dir/out")
good 'ls with a prefix' cowctl ls dir/
check 'ls with a prefix shows what begins so' [ "$out" = dir/big ]
good 'ls, long' cowctl ls -l
says 'ls, long, has a size' '2 TiB'
good 'list is ls' cowctl list kil
check 'list shows the same' [ "$out" = kilo ]
good 'ls in JSON' cowctl --json ls
json_is 'ls in JSON is sorted too' objects.1.name disk
good 'ls of nothing' cowctl ls none/
check 'ls of nothing says nothing' [ -z "$out" ]

# ---- data ----------------------------------------------------------------------------------------

good 'cp from a file' cowctl cp "$dir/random" data
good 'cp to a file' cowctl cp data "$dir/back"
check 'cp to a file gives what cp from it took' cmp -s "$dir/random" "$dir/back"
good 'cp in JSON' cowctl --json cp -f data "$dir/back"
json_is 'cp in JSON has the bytes' bytes 5000000
good 'cp from an object to another' cowctl cp data data2
cowctl cp - piped <"$dir/random" >"$dir/out" 2>"$dir/err"
check 'cp from standard input' [ $? -eq 0 ]
cowctl cp piped - >"$dir/back" 2>"$dir/err"
check 'cp to standard output' cmp -s "$dir/random" "$dir/back"
check 'cp with streams says nothing' [ ! -s "$dir/err" ]
cowctl cat data2 >"$dir/back" 2>"$dir/err"
check 'cat' cmp -s "$dir/random" "$dir/back"
cowctl cat data --offset 12345 --length 67890 >"$dir/back" 2>"$dir/err"
check 'cat of a range' cmp -s "$dir/back" <(tail -c +12346 "$dir/random" | head -c 67890)
cowctl cat data --offset 4999990 --length 1k >"$dir/back" 2>"$dir/err"
check 'cat across the end' cmp -s "$dir/back" <(tail -c 10 "$dir/random")
cowctl cat data --offset 6M >"$dir/back" 2>"$dir/err"
check 'cat beyond the end' [ $? -eq 0 ]
check 'cat beyond the end has nothing' [ ! -s "$dir/back" ]

good 'cp past the cache' cowctl cp --direct "$dir/random" direct
cowctl cat direct >"$dir/back" 2>"$dir/err"
check 'has the same data' cmp -s "$dir/random" "$dir/back"
head -c 100000 "$dir/random" | cowctl write direct --direct --offset 5000 >"$dir/out" 2>"$dir/err"
check 'write past the cache' [ $? -eq 0 ]
cowctl cat --direct direct >"$dir/back" 2>"$dir/err"
cp "$dir/random" "$dir/want"
head -c 100000 "$dir/random" | dd of="$dir/want" bs=1 seek=5000 conv=notrunc status=none
check 'cat past the cache has it' cmp -s "$dir/want" "$dir/back"
good 'rm of it' cowctl rm -y direct
bad 'info past the cache' 64 cowctl info --direct data

head -c 33333 "$dir/random" | cowctl write disk --offset 4095 >"$dir/out" 2>"$dir/err"
check 'write at an odd offset' [ $? -eq 0 ]
cowctl cat disk >"$dir/back"
{
	head -c 4095 /dev/zero
	head -c 33333 "$dir/random"
	head -c $((1048576 - 4095 - 33333)) /dev/zero
} >"$dir/want"
check 'write is there, and zeros around it' cmp -s "$dir/back" "$dir/want"
printf 'tail' | cowctl --json write --fsync disk --offset 1M >"$dir/out" 2>"$dir/err"
json_is 'write in JSON has the bytes' bytes 4
run cowctl --json info disk
json_is 'write past the end grows the object' objects.0.size 1048580
run cowctl --json info disk
generation=$(sed -n 's/.*"generation": *\([0-9]*\).*/\1/p' "$dir/out")
printf 'TAIL' | cowctl --json write --if-generation "$generation" disk --offset 1M >"$dir/out" 2>"$dir/err"
check 'write at a generation' [ $? -eq 0 ]
json_is 'tells the bytes' bytes 4
next=$(sed -n 's/.*"generation": *\([0-9]*\).*/\1/p' "$dir/out")
check 'and the next generation' [ "$next" -gt "$generation" ]
printf 'late' | cowctl write --if-generation "$generation" disk --offset 1M >"$dir/out" 2>"$dir/err"
check 'write at a generation that is past' [ $? -eq 2 ]
check 'says which it is' grep -q "at generation $next" "$dir/err"
check 'and writes nothing' [ "$(cowctl cat disk --offset 1M)" = TAIL ]
printf 'more' | cowctl write --fsync --if-generation "$next" disk --offset 1M >"$dir/out" 2>"$dir/err"
check 'write at the generation that it told' [ $? -eq 0 ]
bad 'write at no generation' 64 cowctl write --if-generation 1x disk
bad 'write at a generation to what is missing' 3 cowctl write --if-generation 1 missing
printf 'left' >"$dir/left" && printf 'right' >"$dir/right"
cowctl create other 4K && cowctl create third 4K
good 'write-all' cowctl write-all --fsync disk 1M "$dir/left" other 100 "$dir/right" disk 512K "$dir/right"
check 'has written one object' [ "$(cowctl cat disk --offset 1M)$(cowctl cat disk --offset 512K --length 5)" = leftright ]
check 'and another' [ "$(cowctl cat other --offset 100 --length 5)" = right ]
printf 'piped' | cowctl --json write-all other 0 - third 0 "$dir/left" >"$dir/out" 2>"$dir/err"
json_is 'write-all in JSON has the bytes' writes.0.bytes 5
json_is 'of each' writes.1.name third
run cowctl --json info other
other=$(sed -n 's/.*"generation": *\([0-9]*\).*/\1/p' "$dir/out")
bad 'write-all with an object missing' 3 cowctl write-all other 0 "$dir/left" missing 0 "$dir/left"
good 'a version of one' cowctl snap add third@v
bad 'write-all into a version' 6 cowctl write-all other 0 "$dir/left" third@v 0 "$dir/left"
bad 'write-all of pieces that overlap' 1 cowctl write-all other 0 "$dir/left" third 0 "$dir/left" third 2 "$dir/right"
many=() && for i in {0..1024}; do many+=(other "$i" "$dir/left"); done
bad 'write-all of more than 1024 pieces' 64 cowctl write-all "${many[@]}"
says 'it says so' 'at most 1024 pieces'
good 'many objects' cowctl clone -N 513 third 'many-%d'
many=() && for i in {0..512}; do many+=("many-$i" 0 "$dir/left"); done
bad 'write-all into more than 512 objects' 64 cowctl write-all "${many[@]}"
says 'it says so, too' 'at most 512 objects'
good 'write-all into 512' cowctl write-all --direct "${many[@]:3}"
check 'has written the last' [ "$(cowctl cat many-512 --length 4)" = left ]
good 'they go' cowctl rm many-{0..512}
run cowctl --json info other
json_is 'write-all that failed has changed nothing' objects.0.generation "$other"
check 'nor what is there' [ "$(cowctl cat other --length 5)" = piped ]
good 'removing what was written' cowctl rm -y other third@v third
good 'fsync' cowctl fsync disk
good 'fsync in JSON' cowctl --json fsync disk
json_is 'fsync in JSON has the name' name disk

# ---- clones --------------------------------------------------------------------------------------

good 'clone' cowctl clone data copy
good 'clone in JSON' cowctl --json clone copy copy2
json_is 'clone in JSON has the origin' origin copy
printf 'changed' | cowctl write data >"$dir/out" 2>"$dir/err"
cowctl cat copy >"$dir/back"
check 'a clone stays as it was' cmp -s "$dir/random" "$dir/back"
printf 'other' | cowctl write copy --offset 100 >"$dir/out" 2>"$dir/err"
cowctl cat data --offset 100 --length 5 >"$dir/back"
check 'what a clone was cloned from does too' \
	cmp -s "$dir/back" <(tail -c +101 "$dir/random" | head -c 5)
cowctl cat copy2 >"$dir/back"
check 'a clone of a clone does too' cmp -s "$dir/random" "$dir/back"

# ---- sizes ---------------------------------------------------------------------------------------

good 'resize' cowctl resize disk 2M
good 'resize by more' cowctl --json resize disk +1M
json_is 'resize in JSON has the size' size 3145728
good 'resize --shrink' cowctl resize --shrink disk 10000
good 'resize --shrink by less' cowctl resize --shrink disk -1000
run cowctl --json info disk
json_is 'resize is seen' objects.0.size 9000
run cowctl resize disk 20000
cowctl cat disk --offset 9000 >"$dir/back"
check 'what was cut off is zeros' cmp -s "$dir/back" <(head -c 11000 /dev/zero)

# ---- zeros ---------------------------------------------------------------------------------------

good 'zero of a range' cowctl zero --offset 5000 --length 10000 copy
cowctl cat copy2 >"$dir/want"
printf 'other' | dd of="$dir/want" bs=1 seek=100 conv=notrunc status=none
dd if=/dev/zero of="$dir/want" bs=1 seek=5000 count=10000 conv=notrunc status=none
cowctl cat copy >"$dir/back"
check 'makes zeros of it and of nothing else' cmp -s "$dir/want" "$dir/back"
good 'trim in JSON' cowctl --json trim --fsync --offset 20000 --length 10000 copy
json_is 'has the range' bytes 10000
dd if=/dev/zero of="$dir/want" bs=4096 seek=5 count=2 conv=notrunc status=none
cowctl cat copy >"$dir/back"
check 'and is of whole blocks only' cmp -s "$dir/want" "$dir/back"
good 'zero of all of an object' cowctl zero -y --fsync copy
run cowctl set copy note=x # is answered when what was durable before it is in its place
run cowctl --json info copy
json_is 'gives all its space back' objects.0.mapped 0
json_is 'and leaves its size' objects.0.size "$(stat -c %s "$dir/random")"
bad 'zero of what is missing' 3 cowctl zero missing
bad 'trim without an object' 64 cowctl trim
bad 'zero with a bad length' 64 cowctl zero --length 1x copy

# ---- range clones --------------------------------------------------------------------------------

cowctl create ranges 0
good 'clone-range of all of an object' cowctl clone-range copy2 ranges
check 'is what the source is' cmp -s <(cowctl cat copy2) <(cowctl cat ranges)
good 'versions of several objects' cowctl snap add copy2@several ranges@several
good 'clones of several objects' cowctl clone-all copy2@several several1 ranges several2
good 'fsync of several objects' cowctl fsync several1 several2 copy2
bad 'versions of several objects, one of which is there' 4 cowctl snap add copy2@other ranges@several
bad 'the version that would have been made with it' 3 cowctl info copy2@other
bad 'fsync of several, one of which is missing' 3 cowctl fsync several1 missing
# shellcheck disable=SC2046  # so many operands
bad 'fsync of too many objects' 64 cowctl fsync $(yes copy2 | head -n 129)
good 'removing them' cowctl rm -y several1 several2 copy2@several ranges@several
good 'clone-range of a part in JSON' \
	cowctl --json clone-range -y --offset 4100 --to 12292 --length 10000 copy2 ranges
json_is 'has the range' bytes 10000
json_is 'and its place' to 12292
cowctl cat copy2 >"$dir/want"
tail -c +4101 "$dir/want" | head -c 10000 >"$dir/part"
dd if="$dir/part" of="$dir/want" bs=1 seek=12292 conv=notrunc status=none
check 'is there, and nothing else has changed' cmp -s "$dir/want" <(cowctl cat ranges)
bad 'clone-range of overlapping ranges' 1 cowctl clone-range -y --to 4096 ranges ranges
says 'names the reason' 'the two ranges overlap'
bad 'clone-range with offsets that do not fit' 1 cowctl clone-range -y --to 1 copy2 ranges
bad 'clone-range beyond the source' 1 cowctl clone-range -y --offset 1T copy2 ranges
bad 'clone-range from what is missing' 3 cowctl clone-range missing ranges
bad 'clone-range to what is missing' 3 cowctl clone-range copy2 missing
bad 'clone-range of nothing' 64 cowctl clone-range --length 0 copy2 ranges
bad 'clone-range with one object' 64 cowctl clone-range copy2

# ---- unsharing -----------------------------------------------------------------------------------

head -c 2M /dev/urandom >"$dir/shared"
run cowctl cp "$dir/shared" shared
run cowctl resize shared 3M
run cowctl clone shared shared2
good 'du of what is shared' cowctl --json du --if-deleted shared
json_is 'would free nothing' if_deleted.free 0
exec 8>"$dir/progress"
good 'unshare of a part in JSON' \
	cowctl --json unshare --offset 4097 --length 65535 --progress=8 --fsync shared
exec 8>&-
json_is 'copies the blocks that it touches' copied 65536
json_is 'of the range' bytes 65535
check 'and tells the progress to its end' grep -qx 100/100 "$dir/progress"
good 'unshare of all that is left' cowctl --json unshare --fsync shared
json_is 'copies the others' copied $((2097152 - 65536))
json_is 'of the range that there is' bytes 3145728
good 'unshare of what is not shared' cowctl --json unshare shared
json_is 'copies nothing' copied 0
run cowctl set shared note=x # is answered when what was durable before it is in its place
good 'map of what is not shared' cowctl --json map -s shared
json_is 'has nothing shared' totals.shared 0
good 'du of what is not shared' cowctl --json du --if-deleted shared
json_is 'would free all' if_deleted.free 2097152
check 'the data is what it was' cmp -s "$dir/shared" <(cowctl cat --length 2M shared)
check 'and so is that of the clone' cmp -s "$dir/shared" <(cowctl cat --length 2M shared2)
run cowctl snap add shared@v
bad 'unshare of a version' 6 cowctl unshare shared@v
run cowctl set shared readonly=yes
bad 'unshare of what is read-only' 6 cowctl unshare shared
bad 'unshare of what is missing' 3 cowctl unshare missing
bad 'unshare with a bad length' 64 cowctl unshare --length x shared2
bad 'unshare with a bad descriptor' 64 cowctl unshare --progress=99 shared2
bad 'unshare without an object' 64 cowctl unshare

# ---- what it is made of --------------------------------------------------------------------------

head -c 65536 "$dir/random" >"$dir/small"
good 'an object' cowctl cp "$dir/small" mapped
run cowctl resize mapped 128k
run cowctl fsync mapped
run cowctl set mapped note=x # is answered when what was durable before it is in its place
good 'map of it' cowctl map -H -o offset,length,kind,state mapped
check 'has the data that is its own, and a hole' \
	[ "$out" = $'0\t65536\tdata\texclusive\n65536\t65536\thole\t-' ]
good 'a clone of it' cowctl clone mapped mapped2
head -c 4096 /dev/zero | cowctl write mapped2 --offset 8192 --fsync
run cowctl zero -y --fsync --offset 0 --length 4096 mapped2
run cowctl snap add mapped2@v
good 'map in JSON' cowctl --json map mapped
json_is 'has what they share' totals.shared 57344
json_is 'what one alone has' totals.exclusive 8192
json_is 'holes' totals.hole 65536
json_is 'all of it' totals.size 131072
json_is 'and the ranges' extents.1.state shared
check 'with their places' [ "$(json extents.0.physical)" -ge 4096 ]
good 'map of a part of a version' cowctl map -H -o offset,length,kind,state --offset 1k --length 8k mapped2@v
check 'begins and ends where it is said' \
	[ "$out" = $'1024\t3072\thole\t-\n4096\t4096\tdata\tshared\n8192\t1024\tdata\tshared' ]
good 'totals' cowctl map -s -H mapped2
check 'are all in one line' [ "$out" = $'131072\t69632\t0\t0\t61440\t0' ]
good 'chosen totals in JSON' cowctl --json map -s -o hole mapped2
json_is 'are alone' totals "{'hole': 69632}"
good 'map of nothing' cowctl map --offset 1G mapped
check 'says nothing' [ -z "$out" ]
good 'map for people' cowctl map mapped
says 'has a header' PHYSICAL
bad 'map of what is missing' 3 cowctl map missing
bad 'map of two' 64 cowctl map mapped mapped2
bad 'map with a field that it has not' 64 cowctl map -o size mapped
bad 'or only of the ranges' 64 cowctl map -s -o offset mapped

# ---- sparse --------------------------------------------------------------------------------------

truncate -s 300M "$dir/sparse"
printf 'x' | dd of="$dir/sparse" bs=1 seek=$((200 << 20)) conv=notrunc status=none
good 'cp of a sparse file larger than the store' cowctl cp "$dir/sparse" sparse
run cowctl --json info sparse
check 'it takes little space' [ "$(json objects.0.mapped)" -le 1048576 ]
json_is 'and has its size' objects.0.size $((300 << 20))
good 'cp of a sparse object to a file' cowctl cp sparse "$dir/sparse2"
check 'the file is the same' cmp -s "$dir/sparse" "$dir/sparse2"
check 'and sparse' [ "$(du -k "$dir/sparse2" | cut -f1)" -le 4096 ]

# ---- progress ------------------------------------------------------------------------------------

cowctl --progress=3 cp "$dir/random" watched 3>"$dir/progress" >"$dir/out" 2>"$dir/err"
check 'cp with progress' [ $? -eq 0 ]
check 'progress is lines of N/100 up to 100' \
	"$PYTHON" -c '
import re, sys
lines = open(sys.argv[1]).read().splitlines()
values = [int(re.fullmatch(r"(\d+)/100", line).group(1)) for line in lines]
sys.exit(not (values and values == sorted(values) and values[-1] == 100))' "$dir/progress"
check 'and nothing on standard error' [ ! -s "$dir/err" ]

# ---- the server ----------------------------------------------------------------------------------

good 'ping' cowctl ping
good 'ping in JSON' cowctl --json ping
check 'ping in JSON has a time' [ -n "$(json round_trip_us)" ]
good 'ping by TCP' cowctl -u "cow://$tcp" ping
good 'df' cowctl df
good 'df in JSON' cowctl --json df
good 'version' cowctl version
good 'version in JSON' cowctl --json version
json_is 'version in JSON has the protocol' server.protocol 1
good 'help' cowctl help
good 'help of a command' cowctl help clone
says 'help of a command has its usage' 'SRC DST'
good '--help' cowctl --help
good 'help in JSON' cowctl --json help
good 'cowd --help' "$COWD" --help
good 'cowd --version' "$COWD" --version

# ---- the end -------------------------------------------------------------------------------------

good 'rm of several' cowctl rm copy copy2 data2
run cowctl ls copy
check 'they are gone' [ -z "$out" ]
good 'rm in JSON' cowctl --json rm kilo kibi
json_is 'rm in JSON has the names' removed.1 kibi
check 'the daemon stops' stop_daemon
start_daemon
cowctl cat piped >"$dir/back" 2>"$dir/err"
check 'after a restart the data is there' cmp -s "$dir/random" "$dir/back"
check 'the daemon stops again' stop_daemon
good 'the checker finds nothing' "$COWD" --store "$store" --check
finish
