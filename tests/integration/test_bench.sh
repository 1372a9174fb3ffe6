#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The tools that race cowd with others work, on a small store, without others: candidate, cowbench, load, race.
# Two scripts stand in for the harness of the peers, as bench/README.md says it must be.  How fast anything is does
# not matter.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

bench=${srcdir:-.}/bench
begin
export PERF_DIR=$dir/perf SIZE_MIB=4 COWD_STORE_SIZE=64M COWD_CACHE=16M
export COWBENCH=${builddir:-.}/bench/cowbench NBD_BENCH=$dir/harness
trap '"$bench/candidate" stop; end' EXIT

answer='^\{"ops":N,"bytes":N,"secs":N,"flush_s":N,"iops":N,"mibs":N,"p50_us":N,"p99_us":N,"p999_us":N,"max_us":N\}$'
answer=${answer//N/[0-9.]+}

# load TITLE BEGINNING ARG...: cowbench on the clone; its answer begins so, and has all that is read of one.
load() {
	local title=$1 wanted=$2
	shift 2
	run "$COWBENCH" -t 60 "$@"
	[ "$status" -eq 0 ] && [[ $out == "{$wanted"* ]] && [[ $out =~ $answer ]]
	result $? "cowbench: $title"
}

# same TITLE: the clone has the bytes of its origin.
same() {
	"$bench/candidate" ctl compare base-4 clone >"$dir/out" 2>&1
	result $? "$1"
}

# ---- candidate ---------------------------------------------------------------------------------

run "$bench/candidate" start
read -r uri pid <<<"$out"
[ "$status" -eq 0 ] && [ "$(cat "/proc/$pid/comm")" = "$(basename "$COWD" | head -c 15)" ]
result $? 'candidate start says where, and which process'
[ "$(nbdinfo --size "$uri")" = $((4 << 20)) ]
result $? 'NBD is served there'
same 'a clone of all of the object'
[ "$("$bench/candidate" ctl info -H -o mapped base-4)" = $((4 << 20)) ]
result $? 'which is written in full'
run "$bench/candidate" start
[ "$status" -eq 1 ] && [[ $err == *'it runs already'* ]]
result $? 'a second start is refused'
own=$("$bench/candidate" uri clone)
"$COWBENCH" -o write -n 1 "$own" >/dev/null
! "$bench/candidate" ctl compare base-4 clone >/dev/null 2>&1
result $? 'the clone is written to'
"$bench/candidate" stop && flock -n "$PERF_DIR/cowd/store/lock" true && "$bench/candidate" stop
result $? 'candidate stop ends it; once more does no harm'
run "$bench/candidate" --tcp --own-sync start
[[ $out == 'sync+cow://127.0.0.1:'* ]]
result $? 'by the own protocol, over TCP'
same 'the next start has a fresh clone'

# ---- cowbench ----------------------------------------------------------------------------------

load 'reads, one call at a time' '"ops":50,"bytes":204800,' -n 50 "$own"
load 'in sequence, in flight, on connections' '"ops":9,"bytes":9437184,' -S -b 1M -q 4 -c 2 -n 9 "$own"
load 'threads that share a connection' '"ops":70,' -m sync -q 3 -c 2 -n 70 "$own"
load 'writes at odd places' '"ops":40,"bytes":28000,' -o write -b 700 -a 1 -q 8 -n 40 "$own"
load 'writes with fsyncs, in flight' '"ops":24,' -o write -f -q 4 -c 2 -n 24 "$own"
load 'writes with fsyncs, one at a time' '"ops":8,' -o write -f -n 8 "$own"
load 'requests without data' '"ops":30,"bytes":0,' -o ping -q 4 -n 30 "$own"
load 'clones' '"ops":5,"bytes":0,' -o clone -n 5 "$own"
load 'removals' '"ops":5,' -o remove -q 2 -n 5 "$own"
[ "$("$bench/candidate" ctl ls | wc -l)" -eq 2 ]
result $? 'which leave nothing behind'
load 'ends when its time is over' '"ops":' -t 0.05 "$own"
run "$COWBENCH" -o format "$own"
[ "$status" -eq 2 ] && [[ $err == *usage* ]]
result $? 'what it cannot do is wrong usage'
"$bench/candidate" stop
run "$COWBENCH" -n 1 "$own"
[ "$status" -eq 2 ] && [[ $err == *'no connection'* ]]
result $? 'without a server it says so'

# ---- race --------------------------------------------------------------------------------------

mkdir "$NBD_BENCH"
cat >"$NBD_BENCH/nbdload" <<'E'
#!/bin/sh
for uri; do :; done
nbdinfo --size "$uri" >&2 || exit 1
echo '{"ops":7,"bytes":7,"secs":1,"flush_s":0,"iops":7,"mibs":1,"p50_us":1,"p99_us":2,"max_us":3}'
E
cat >"$NBD_BENCH/bench.py" <<'E'
import argparse, json, os, shlex, subprocess
W = [("read4k q1 cold", "IOPS", 1, 1, 1, "-n 20 -t 9", "iops")]
if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    for name in ("transport", "reps", "only", "dev", "json", "peers"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("--candidate", action="append")
    a, results = ap.parse_args(), {}
    here = os.path.dirname(os.path.abspath(__file__))
    def said(*words):
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name, command in (c.split("=", 1) for c in a.candidate):
        uri = said(*shlex.split(command), "start").split()[0]
        for row in (row for row in W if row[0] in a.only.split(",")):
            iops = json.loads(said(here + "/nbdload", *row[5].split(), uri))[row[6]]
            results.setdefault(row[0], {}).setdefault(name, []).append(iops)
        said(*shlex.split(command), "stop")
    json.dump(results, open(a.json, "w"))
E
chmod +x "$NBD_BENCH/nbdload"

# race ARG...: the shortest that there is.
race() {
	run "$PYTHON" "$bench/race" --report "$dir/RESULTS.md" --reps 1 --peers '' --secs .05 \
		--connections 2 --clones 3 --extents 100 "$@"
}

race --ours cowd,cowd-sync rows
[ "$status" -eq 0 ] && grep -q '^| read4k q1 cold | IOPS | 7 | [0-9.]* |$' "$dir/RESULTS.md"
result $? 'race: a row of the harness, by NBD and by the own protocol'
grep -q '^| row | cowd-sync to cowd |$' "$dir/RESULTS.md"
result $? 'and what the one is to the other'
race --ours cowd-own group startup
[ "$status" -eq 0 ] && grep -q '^| sync4k 2 connections | IOPS | [0-9.]* |$' "$dir/RESULTS.md" &&
	grep -q '^| until it serves, after SIGKILL beside writes | ms | [0-9.]* |$' "$dir/RESULTS.md"
result $? 'group commit, and starts'
grep -q '^| read4k q1 cold |' "$dir/RESULTS.md" && grep -q '^- processors: ' "$dir/RESULTS.md"
result $? 'a part that was not run again stays in the report, which has the machine'
run "$PYTHON" "$bench/race" list
[ "$status" -eq 0 ] && [[ $out == *$'\nboots '* ]]
result $? 'race list'
race no-such-part
[ "$status" -eq 2 ] && [[ $err == *'no such part: no-such-part'* ]]
result $? 'a part that there is not'
COWD=$dir/missing race --ours cowd group
[ "$status" -eq 1 ] && [[ $err == *'did not become ready'* ]]
result $? 'a server that does not start'
[ "$(cd "$PERF_DIR" && echo *)" = 'cowd race.json' ]
result $? 'race leaves its data alone behind'
"$bench/candidate" clean && [ "$(cd "$PERF_DIR" && echo *)" = race.json ]
result $? 'candidate clean removes the store'
finish
