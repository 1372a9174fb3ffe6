#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# What goes wrong is told in one line on standard error and by the documented exit status, and
# nothing is lost: of cowctl, of cowd's start, and of a store that is full.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

begin
bad 'no server' 7 cowctl ls
bad 'no server by TCP' 7 cowctl -u cow://127.0.0.1:1 ls
start_daemon --size 64M
head -c 100000 /dev/urandom >"$dir/data"
cowctl cp "$dir/data" kept >"$dir/out" 2>&1
check 'a copy is made' [ $? -eq 0 ]

# ---- what was asked for --------------------------------------------------------------------------

run cowctl
check 'no command' [ "$status" -eq 64 ]
bad 'an unknown command' 64 cowctl clon a b
says 'it says what was meant' clone
bad 'an unknown option' 64 cowctl --jsno ls
says 'it says what was meant' --json
bad 'an option that the command does not have' 64 cowctl ls --shrink
bad 'an option without its value' 64 cowctl cat kept --offset
bad 'too few arguments' 64 cowctl create a
bad 'too many arguments' 64 cowctl create a 1M b
bad 'not a size' 64 cowctl create a 10X
bad 'a negative size' 64 cowctl create a -1
bad 'not a time' 64 cowctl --timeout=soon ls
if localedef -i de_DE -f UTF-8 "$dir/de_DE.UTF-8" >"$dir/out" 2>&1; then
	good 'a time where fractions are written with a comma' \
		env LOCPATH="$dir" LC_ALL=de_DE.UTF-8 "$COWCTL" --timeout=20.5 ls
	bad 'and the comma is of no time' 64 env LOCPATH="$dir" LC_ALL=de_DE.UTF-8 "$COWCTL" --timeout=20,5 ls
else
	echo '# no case of a decimal comma: localedef cannot make the locale de_DE here'
fi
bad 'not a URI' 64 cowctl -u http://localhost ls
bad 'help of an unknown command' 64 cowctl help remove

# ---- objects -------------------------------------------------------------------------------------

for command in 'info' 'cat' 'fsync' 'rm' 'write'; do
	# shellcheck disable=SC2086
	bad "$command of a missing object" 3 cowctl $command missing
	says "$command names it" missing
done
bad 'clone of a missing object' 3 cowctl clone missing new
bad 'resize of a missing object' 3 cowctl resize missing 1M
bad 'cp of a missing object' 3 cowctl cp missing "$dir/none"
check 'and no file is left' [ ! -e "$dir/none" ]
bad 'cp of a missing file' 3 cowctl cp "$dir/none" new
bad 'create of an existing name' 4 cowctl create kept 1M
bad 'clone to an existing name' 4 cowctl clone kept kept
bad 'cp to an existing name' 4 cowctl cp "$dir/data" kept
bad 'cp to an existing file' 4 cowctl cp kept "$dir/data"
bad 'a name that is not allowed' 1 cowctl create 'a//b' 1M
bad 'a size beyond the largest' 1 cowctl create new 2000T
bad 'a resize beyond the largest' 1 cowctl resize kept 2000T
bad 'a resize that would shrink' 1 cowctl resize kept 10
printf x >"$dir/byte"
beyond() {
	"$COWCTL" write kept --offset 1125899906842624 <"$dir/byte"
}
bad 'a write beyond the largest size' 1 beyond
run cowctl ls
check 'no name was made by all that' [ "$out" = kept ]

# An object that somebody holds open: a write that waits for more.
mkfifo "$dir/slow"
"$COWCTL" write kept --offset 1M <"$dir/slow" >"$dir/writer.out" 2>&1 &
writer=$!
exec 8>"$dir/slow"
head -c 9M /dev/zero >&8
size=100000
while [ "$size" -eq 100000 ] && kill -0 $writer; do
	run cowctl --json info kept
	size=$(json objects.0.size)
done
bad 'rm of an object in use' 5 cowctl rm kept
says 'it names the holder' "pid $writer"
exec 8>&-
wait $writer
check 'the holder was not disturbed' [ $? -eq 0 ]
cowctl cat kept --length 100000 >"$dir/back"
check 'nothing was lost' cmp -s "$dir/data" "$dir/back"

# A server that takes connections and says nothing.
"$PYTHON" -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("listening", flush=True)
sys.stdin.read()' "$dir/mute" < <(tail -f /dev/null --pid=$$) >"$dir/mute.out" &
mute=$!
until [ -s "$dir/mute.out" ]; do kill -0 $mute || break; done
bad 'a server that does not answer' 7 \
	cowctl -u "cow+unix:///?socket=$dir/mute" --timeout=0.3 ls
kill $mute

# ---- cowd ----------------------------------------------------------------------------------------

bad 'a store in use' 5 "$COWD" --store "$store" --listen "unix:$dir/second"
says 'it names the holder' "$daemon"
bad 'the checker on a store in use' 5 "$COWD" --store "$store" --check
bad 'an unknown option of cowd' 64 "$COWD" --stroe "$store"
says 'it says what was meant' --store
bad 'cowd without a store' 64 "$COWD"
bad 'cowd with a size that is none' 64 "$COWD" --store "$dir/new" --size lots
bad 'a new store without a size' 3 "$COWD" --store "$dir/new" --listen "unix:$dir/second"
bad 'an address that is none' 64 "$COWD" --store "$dir/new" --size 16M --listen nowhere
check 'no store was made by all that' [ ! -e "$dir/new" ]
bad 'the checker on no store' 3 "$COWD" --store "$dir/new" --check

# A user without a runtime directory, where the default address would be; root has another.
mkdir -m 777 "$dir/user"
chmod 711 "$dir"
cp "$COWD" "$dir/user/cowd"
user_cowd() {
	if [ "$(id -u)" -eq 0 ]; then
		setpriv --reuid=65534 --regid=65534 --clear-groups "$dir/user/cowd" "$@"
	else
		"$dir/user/cowd" "$@"
	fi
}
export XDG_RUNTIME_DIR=$dir/none
bad 'no runtime directory' 1 user_cowd --store "$dir/user/store" --size 16M --log error
says 'it names it' "$dir/none"
unset XDG_RUNTIME_DIR
bad 'none that is known' 1 user_cowd --store "$dir/user/store" --size 16M --log error
says 'it says what to do' --listen
check 'the daemon stops' stop_daemon

# other_store: a copy of the store, of which something is to be changed.
other_store() {
	rm -rf "$dir/other"
	cp -r --sparse=always "$store" "$dir/other"
}

# refused TITLE: neither served nor checked.
refused() {
	bad "$1: not served" 9 "$COWD" --store "$dir/other" --listen "unix:$dir/second"
	bad "$1: not checked" 9 "$COWD" --store "$dir/other" --check
}

other_store
head -c 100000 /dev/urandom >"$dir/other/map"
refused 'a map of garbage'
other_store
"${srcdir:-.}/tests/integration/damage.py" map "$dir/other/map"
refused 'a map of another version'
other_store
"${srcdir:-.}/tests/integration/damage.py" device "$dir/other/data"
refused 'a device of another version'
other_store
head -c 4096 /dev/zero | dd of="$dir/other/data" conv=notrunc status=none
refused 'a device without its header'
rm -rf "$dir/other"
"$COWD" --store "$dir/other" --size 16M --init >"$dir/out" 2>&1
check 'another store is made' [ $? -eq 0 ]
cp --sparse=always "$store/data" "$dir/other/data"
refused 'the data of another store'
rm -rf "$dir/other"
mkdir "$dir/other"
echo 'my letters' >"$dir/other/letters"
bad 'a directory with something else' 9 "$COWD" --store "$dir/other" --size 16M \
	--listen "unix:$dir/second"
check 'which is left alone' [ "$(ls "$dir/other")" = letters ]

good 'the store itself is whole' "$COWD" --store "$store" --check
bad 'a cache that the system has no memory for' 1 "$COWD" --store "$store" --listen "unix:$dir/second" --log error \
	--cache 4096T --cache-prealloc
says 'it is said' 'out of memory'
start_daemon --cache 64M --cache-prealloc
check 'one that it has is taken at the start' \
	[ "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$daemon/status")" -ge 49152 ]
# class THREAD: how it is scheduled: proc(5), "policy"; its name has no blank.
class() {
	local task
	for task in "/proc/$daemon/task/"*; do
		[ "$(cat "$task/comm")" != "$1" ] || cut -d ' ' -f 41 "$task/stat"
	done
}
own=$(cut -d ' ' -f 41 /proc/self/stat)
check 'who changes the map waits until there is a processor' [ "$(class map)" = $((own == 0 ? 3 : own)) ]
check 'who commits does not' [ "$(class commit)" = "$own" ]
# Seen since Linux 6.12, where the system shows them, in the usual class.
slice=$(sed -n 's/^se\.slice *: *//p' "/proc/$daemon/task/$daemon/sched")
if [ -z "$slice" ] || [ "$own" != 0 ] || ! printf '6.12\n%s\n' "$(uname -r)" | sort -VC; then
	slice=100000
fi
check 'its slices are short' [ "$slice" = 100000 ]
cowctl cat kept --length 100000 >"$dir/back"
check 'and served' cmp -s "$dir/data" "$dir/back"
check 'the daemon stops again' stop_daemon

# ---- a full store --------------------------------------------------------------------------------

store=$dir/small
start_daemon --size 8M
head -c 1000000 /dev/urandom >"$dir/million"
count=0
while cowctl cp "$dir/million" "part-$count" >"$dir/out" 2>"$dir/err"; do
	count=$((count + 1))
	[ $count -lt 20 ] || break
done
run cowctl cp "$dir/million" "part-$count"
check 'a full store' [ "$status" -eq 8 ]
check 'is told in one line' [ "$(wc -l <"$dir/err")" -eq 1 ]
check 'after it has taken what it can' [ $count -ge 6 ]
run cowctl ls
check 'the copy that failed is not there' [ "$(wc -l <"$dir/out")" -eq $count ]

# same_parts TITLE: every copy that was made.
same_parts() {
	local i bad=0
	for ((i = 0; i < count; i++)); do
		cowctl cat "part-$i" >"$dir/back" 2>"$dir/err" || bad=1
		cmp -s "$dir/million" "$dir/back" || bad=1
	done
	check "$1" [ $bad -eq 0 ]
}

same_parts 'what was copied is there'
good 'a clone needs no space' cowctl clone part-0 twin
check 'the daemon is killed' eval '! stop_daemon KILL'
good 'the checker finds nothing' "$COWD" --store "$store" --check
start_daemon
same_parts 'what was copied is there after a crash'
good 'an object is removed' cowctl rm part-1
mv "$dir/million" "$dir/last"
"$PYTHON" - "$COWCTL" "$dir/last" <<'END'
import subprocess
import sys
# space comes back when the reaper has been there: until then the copy is refused
for _ in range(2000):
    done = subprocess.run([sys.argv[1], "cp", sys.argv[2], "again"], stderr=subprocess.PIPE)
    if done.returncode != 8:
        break
sys.exit(done.returncode)
END
check 'its space can be used again' [ $? -eq 0 ]
mv "$dir/last" "$dir/million"
cowctl cat again >"$dir/back"
check 'by data that is there' cmp -s "$dir/million" "$dir/back"
cowctl cat twin >"$dir/back"
check 'the clone is what it was cloned from' cmp -s "$dir/million" "$dir/back"
check 'the daemon stops at last' stop_daemon
good 'the checker finds nothing at last' "$COWD" --store "$store" --check
finish
