#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Clones for as long as a command runs: with-clone against a real daemon.
# shellcheck disable=SC2154,SC2317,SC2016 # lib.sh; functions that check calls; what the command expands
set -u
# what is ignored from the start, as SIGHUP by nohup, no command could be told by
[ -n "${signals_are_set-}" ] || signals_are_set=1 exec env --default-signal bash "$0"
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

begin
start_daemon --size 64M --writeback-ms 100
head -c 300000 /dev/urandom >"$dir/data"
mkfifo "$dir/said" "$dir/go"
exec 7<>"$dir/go" # so that nobody waits for the other end, until it is closed here

# gone [NAME]: it, or every clone, is not there any more, if not now then in a moment.
gone() {
	local names=${1-}
	until cowctl ls >"$dir/names" && [ "$(grep -c "${names:-.}" "$dir/names")" = "${kept-0}" ]; do
		[ -d "/proc/$daemon" ] || return 1
	done
}
kept=1 # golden

# begun ARG...: starts with-clone behind the script's back, and waits for a line of its command: $said.
begun() {
	env --default-signal=INT,QUIT "$COWCTL" with-clone "$@" >"$dir/with-out" 2>"$dir/with-err" 7>&- </dev/null &
	with=$!
	read -r said <"$dir/said"
}

# running: it is.
running() {
	local stat
	stat=$(cat "/proc/$with/stat" 2>&1) && [[ $stat != *') Z '* ]]
}

# ended TITLE STATUS: it has come to its end so.
ended() {
	wait "$with"
	status=$? out=$(cat "$dir/with-out") err=$(cat "$dir/with-err")
	[ "$status" -eq "$2" ]
	result $? "$1"
}

quiet() {
	[ -z "$out$err" ]
}

good 'an object is made' cowctl cp "$dir/data" golden
good 'and a version' cowctl snap add golden@v

# ---- the command ---------------------------------------------------------------------------------

good 'a command has a clone' cowctl with-clone golden -- \
	sh -c '"$COWCTL" cat "$COW_OBJECT" | cmp - "$0" && echo x | "$COWCTL" write "$COW_OBJECT"' "$dir/data"
check 'which is gone at its end' gone
good 'its source is as it was' cowctl cat golden
check 'byte by byte' cmp -s "$dir/out" "$dir/data"
good 'a clone of a version' cowctl with-clone golden@v -- sh -c '"$COWCTL" info -H -o origin "$COW_OBJECT"'
check 'is one of that' [ "$out" = "$(cowctl info -H -o id golden@v)" ]
good 'the output is the command'"'"'s alone' cowctl --json with-clone golden -- echo hello
check 'all of it' [ "$out" = hello ]
good 'it takes what options and words come behind the dashes' cowctl with-clone golden -- printf '%s,' --json -v 'a b'
check 'as they are' [ "$out" = '--json,-v,a b,' ]
good 'it reads standard input' sh -c 'echo in | "$COWCTL" with-clone golden -- cat'
check 'of cowctl' [ "$out" = in ]
good 'a pipe that is closed ends it as anywhere' cowctl with-clone golden -- sh -c 'yes | head -n 1'
check 'without a word' [ "$out" = y ]
good 'its name, labels and time are to be had' cowctl with-clone --name=scratch/a --label=k=v --ttl=2h golden -- \
	sh -c '"$COWCTL" info -H -o name,labels,expires "$COW_OBJECT"'
says 'as they were asked for' $'scratch/a\tk=v\t20'
check 'and it is gone' gone
good 'a clone has a time without being asked for one' cowctl with-clone golden -- \
	sh -c '"$COWCTL" info -H -o expires "$COW_OBJECT"'
check 'and is not for ever' [ "$out" != "$(cowctl info -H -o expires golden)" ]
good 'versions of the clone' cowctl with-clone golden -- sh -c '"$COWCTL" snap add "$COW_OBJECT@mine"'
check 'go with it' gone
good 'what the command has renamed' cowctl with-clone golden -- \
	sh -c '"$COWCTL" mv "$COW_OBJECT" mine && "$COWCTL" unset mine ttl'
good 'is its own' cowctl rm mine

# ---- where it is ---------------------------------------------------------------------------------

good 'a URI by the socket' cowctl with-clone --name=a/ö golden -- sh -c 'echo "$COW_URI ${NBD_URI-none}"'
check 'names the clone, and no NBD' [ "$out" = "cow+unix:///a/%C3%B6?socket=$socket none" ]
good 'a URI by TCP' cowctl -u "cow://$tcp/other" with-clone --name=b golden -- sh -c 'echo "$COW_URI"'
check 'has the host that was given' [ "$out" = "cow://$tcp/b" ]
good 'the URI leads to the clone' cowctl with-clone golden -- sh -c '"$COWCTL" -u cow://none cp -f "$COW_URI" "$0"' "$dir/copy"
check 'and its data' cmp -s "$dir/copy" "$dir/data"
NBD_URI=stale good 'an old NBD URI is not handed on' cowctl with-clone golden -- sh -c 'echo "${NBD_URI-none}"'
check 'to who would take it for the clone'"'"'s' [ "$out" = none ]
run cowctl -v with-clone golden -- true
says 'it is said where there is no NBD' 'no $NBD_URI'
good 'the server tells where it listens' cowctl server
says 'on its socket' "unix:$socket"
says 'and by TCP' "tcp:$tcp"
good 'in JSON too' cowctl --json server
json_is 'one after the other' addresses.1 "tcp:$tcp"
json_is 'and of NBD that it has no TLS' nbd_tls off

# ---- what goes wrong -----------------------------------------------------------------------------

run cowctl with-clone golden -- sh -c 'exit 7'
check 'a command that fails gives its status' [ "$status" = 7 ]
check 'and nothing is added to what it says' quiet
check 'its clone is gone' gone
run cowctl with-clone golden -- sh -c 'kill -KILL $$'
check 'one that dies of a signal gives 128 and that' [ "$status" = 137 ]
check 'its clone is gone, too' gone
bad 'a command that is not there' 127 cowctl with-clone golden -- "$dir/none"
says 'is named' 'with-clone: '"$dir/none: "
bad 'a command that is none' 126 cowctl with-clone golden -- "$dir/data"
check 'neither leaves a clone' gone
bad 'a source that is not there' 3 cowctl with-clone none -- touch "$dir/touched"
says 'is named' 'none: no such object'
bad 'a version that is not there' 3 cowctl with-clone golden@w -- touch "$dir/touched"
bad 'a source with a name that cannot be' 1 cowctl with-clone ../x -- touch "$dir/touched"
bad 'no command' 64 cowctl with-clone golden
bad 'no command behind the dashes' 64 cowctl with-clone golden --
bad 'a name that there is' 4 cowctl with-clone --name=golden golden -- touch "$dir/touched"
bad 'the name of a version' 64 cowctl with-clone --name=golden@x golden -- touch "$dir/touched"
bad 'a time that is none' 64 cowctl with-clone --ttl=soon golden -- touch "$dir/touched"
bad 'no server' 7 cowctl -u "cow+unix:///?socket=$dir/nobody" with-clone golden -- touch "$dir/touched"
check 'runs no command' [ ! -e "$dir/touched" ]

run cowctl with-clone --keep-on-failure --name=kept golden -- false
check 'a failure is a failure' [ "$status" = 1 ]
says 'the clone is kept, and named' 'kept: the clone is kept'
good 'it is there' cowctl info -H -o expires kept
check 'for ever' [ "$out" = "$(cowctl info -H -o expires golden)" ]
good 'and as any other' cowctl rm kept
good 'it is not kept without a failure' cowctl with-clone --keep-on-failure golden -- true
bad 'nor where no command was there to fail' 127 cowctl with-clone --keep-on-failure golden -- "$dir/none"
check 'but removed' gone

# ---- signals -------------------------------------------------------------------------------------

# not a trap of a shell: one that comes just before its read or wait is seen behind that only
takes_signal='
import signal, sys
which = {signal.Signals[sys.argv[1]]}
signal.pthread_sigmask(signal.SIG_BLOCK, which)
with open(sys.argv[2], "w") as said:
    print("up", file=said)
signal.sigwait(which)
sys.exit(5)'
for signal in INT TERM HUP QUIT; do
	begun golden -- "$PYTHON" -c "$takes_signal" SIG$signal "$dir/said"
	kill -$signal $with
	ended "SIG$signal reaches the command, which ends in its way" 5
	check 'without a word' quiet
	check 'and its clone is gone' gone
done

# the signal has come before cowctl looks, and its command, which has it blocked, would not hear of it
run env --block-signal=TERM sh -c 'kill -TERM $$; exec "$COWCTL" with-clone golden -- touch "$0"' "$dir/touched"
check 'who is told to end while the clone is made has the status of that' [ "$status" = 143 ]
check 'starts nothing' [ ! -e "$dir/touched" ]
check 'and leaves no clone' gone
good 'what is ignored is no end' env --ignore-signal=HUP --block-signal=HUP sh -c \
	'kill -HUP $$; exec "$COWCTL" with-clone golden -- echo runs'
check 'of the command neither' [ "$out" = runs ]
good 'where children go unseen their end is seen' env --ignore-signal=CHLD "$COWCTL" with-clone golden -- true
check 'and the clone is gone' gone

# ---- who still has it open -----------------------------------------------------------------------

# A reader that has the clone open until the pipe that it fills is closed.  Signals do nothing.
mkfifo "$dir/full"
holder='trap "" TERM; "$COWCTL" cat "$COW_OBJECT" >"$1" 2>/dev/null & head -c 1 <"$1" >"$2"; echo $$ >"$0"'

exec 8<>"$dir/full"
begun --name=busy golden -- sh -c "$holder" "$dir/said" "$dir/full" "$dir/one" 8>&-
bad 'a clone that is still open' 5 cowctl rm busy
check 'is waited for' running
exec 8>&-
ended 'with the status of the command' 0
check 'without a word' quiet
check 'and removed' gone

exec 8<>"$dir/full"
begun --ttl=2h --name=busy golden -- sh -c "$holder" "$dir/said" "$dir/full" "$dir/one" 8>&-
while running; do kill -TERM $with 2>/dev/null; done
ended 'who does not wait for that has the status of the command' 0
says 'and hears what becomes of it' 'busy: '
says 'in a while' 'the clone goes when nobody uses it any more'
good 'it is there as long as it is used' cowctl info busy
exec 8>&-
check 'and gone then' gone

# ---- cowctl dies ---------------------------------------------------------------------------------

begun --ttl=1s golden -- sh -c 'echo $$ >"$0"; read -r _ <"$1"' "$dir/said" "$dir/go"
kill -KILL $with
wait $with 2>/dev/null
check 'a clone that nobody removes, and nobody uses, goes' gone
check 'while its command lives on' kill "$said"

exec 8<>"$dir/full"
begun --ttl=1s --name=orphan golden -- sh -c "$holder; read -r _ <\"\$3\"" "$dir/said" "$dir/full" "$dir/one" "$dir/go" 8>&-
kill -KILL $with
wait $with 2>/dev/null
good 'another one that lives a little longer' cowctl create --ttl=2s later 4k
kept=0
check 'has gone' gone later
kept=1
good 'and one that is used is there' cowctl info orphan
exec 8>&-
check 'until it is used no more' gone
check 'though the command lives on' kill -KILL "$said"

# ---- the server dies -----------------------------------------------------------------------------

expires() {
	cowctl info -H -o expires restarted
}

begun --ttl=30s --name=restarted golden -- sh -c 'echo up >"$0"; read -r _ <"$1"' "$dir/said" "$dir/go"
stop_daemon KILL
start_daemon --writeback-ms 100
before=$(expires)
good 'the clone is there after a crash of the server' cowctl info restarted
while running && [ "$(expires)" = "$before" ]; do :; done
check 'and its time begins anew' running
bad 'it is open again' 5 cowctl rm restarted
echo >&7
ended 'its command has not noticed' 0
check 'without a word' quiet
check 'and it is gone' gone

begun --ttl=1s golden -- sh -c '"$COWCTL" mv "$COW_OBJECT" mine && "$COWCTL" unset mine ttl
	echo up >"$0"; read -r _ <"$1"' "$dir/said" "$dir/go"
while running && ! grep -q 'the clone is not there any more' "$dir/with-err"; do :; done
check 'who has lost the clone says so' running
echo >&7
ended 'and has the status of the command' 0
good 'which has given it another name' cowctl rm mine

begun --timeout=3 --name=left golden -- sh -c 'echo up >"$0"; read -r _ <"$1"; exit 6' "$dir/said" "$dir/go"
stop_daemon KILL
echo >&7
ended 'the status is that of the command without a server, too' 6
says 'and it is said what becomes of the clone' 'the clone goes after 60 s'
start_daemon --writeback-ms 100
good 'which is mortal' cowctl rm left

# ---- by NBD --------------------------------------------------------------------------------------

check 'the daemon ends' stop_daemon
start_daemon --writeback-ms 100 --nbd "unix:$dir/nbd" --nbd tcp:127.0.0.1:0
good 'a URI of NBD' cowctl with-clone --name=a/ö golden -- \
	sh -c 'echo "$NBD_URI" && nbdcopy "$NBD_URI" - | head -c 300000 | cmp - "$0" && nbdcopy -- "$0" "$NBD_URI"' "$dir/data"
check 'names the clone on the socket' [ "$out" = "nbd+unix:///a/%C3%B6?socket=$dir/nbd" ]
check 'which is gone' gone
good 'and by TCP' cowctl -u "cow://$tcp" with-clone golden -- sh -c 'nbdinfo --size "$NBD_URI"; echo "$NBD_URI"'
says 'it has the data' '300000'
says 'at the port of NBD' 'nbd://127.0.0.1:'
check 'no clone is left' gone

# A client of NBD that has the clone open until the pipe that it fills is closed.
holder='trap "" TERM; nbdcopy "$NBD_URI" - >"$1" 2>/dev/null & head -c 1 <"$1" >"$2"; echo $$ >"$0"'
exec 8<>"$dir/full"
begun --ttl=1s --name=orphan golden -- sh -c "$holder" "$dir/said" "$dir/full" "$dir/one" 8>&-
kill -KILL $with
wait $with 2>/dev/null
good 'another one that lives a little longer' cowctl create --ttl=2s later 4k
kept=0
check 'has gone' gone later
kept=1
good 'and one that is used by NBD is there' cowctl info orphan
exec 8>&-
check 'until it is used no more' gone

# ---- two of them ---------------------------------------------------------------------------------

good 'two at once have two clones' cowctl with-clone golden -- \
	sh -c 'exec "$COWCTL" with-clone golden -- sh -c "[ \$COW_OBJECT != $COW_OBJECT ] && \"\$COWCTL\" info \$COW_OBJECT $COW_OBJECT"'
check 'and leave none' gone

check 'the daemon ends well' stop_daemon
finish
