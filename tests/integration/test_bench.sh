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
export PERF_DIR=$dir/perf SIZE_MIB=4 COWD_STORE_SIZE=320M COWD_CACHE=16M
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
# what the real one prints, for two of its methods
cat >"$NBD_BENCH/clones.py" <<'E'
import sys
print("""process floor (qemu-img --version): 4.1 (4-5) ms

| method | object | extents | clone ms | + durable ms | delete ms | + durable ms | space KiB/clone |
|---|---|---|---|---|---|---|---|
| XFS FICLONE | 1 GiB | 1 | 0.1 (0.1-0.2) | 0.4 (0.3-0.5) | 0.1 (0.1-0.1) | 0.2 (0.2-0.3) | 4 |
| qcow2 overlay (qemu-img) | 1 GiB | 1 | 90000 (8-9) | 99000 (9-9) | 1 (1-1) | 2 (2-2) | 196 |
| qcow2 overlay (qemu-img) | 8 GiB | 1 | 80000 (8-9) | 88000 (9-9) | 1 (1-1) | 2 (2-2) | 196 |"""
      if sys.argv[1] == "clone" else "| chain |")
E
chmod +x "$NBD_BENCH/nbdload"

# race ARG...: the shortest that there is.
race() {
	run "$PYTHON" "$bench/race" --report "$dir/RESULTS.md" --reps 1 --peers '' --secs .05 \
		--connections 2 --clones 3 --extents 100 --boots 2 --depths 0,1,3 --sizes 1 --fills 2,20,50 \
		--fill-size 64M --minutes .01 "$@"
}

# reports PATTERN...: the report has a line that matches, of each.
reports() {
	local pattern
	for pattern; do
		grep -Eq -- "$pattern" "$dir/RESULTS.md" || {
			echo "# no line of the report is: $pattern"
			return 1
		}
	done
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
reports '^\| read4k q1 cold \|' '^1\. processors: ' ', on machine 1; load '
result $? 'a part that was not run again stays in the report, which has the machine'
sed -i 's/"processors: [^"]*"/"another one"/' "$dir/RESULTS.json"
race --ours cowd-own startup
reports '^1\. another one; ' '^2\. processors: ' ', on machine 1; load ' ', on machine 2; load '
result $? 'and of each part its own'

# Any number, and any verdict: the machine may be busy.
n='[0-9.e+-]+' kept='(yes|MISS)'
race --ours cowd-own clone delete boots generations soak
[ "$status" -eq 0 ] && [[ $err == *'race: delete: '*' as wanted, '*' MISS'* ]]
result $? 'what is done to names, many clones, and mixed load'
reports "^- $kept: clone 0.00390625 GiB compact: p50, cowd-own: $n ms, at most 1$" \
	"^- $kept: remove 100 extents: p50, cowd-own: $n ms, at most 1$" \
	"^- $kept: writes and fsyncs beside clones .* 1 TiB .*: p99, cowd-own: $n x, at most 2$"
result $? 'verdicts on clones'
reports "^- $kept: remove, the call, cowd-own: $n ms, at most 1$" "^\\| until all space is free \\| s \\| $n \\|$" \
	"^- $kept: write4k q32 meanwhile, to that alone, cowd-own: $n x, at least 0.8$"
result $? 'on a removal'
reports "^\\| 2 boots at once \\| s \\| $n \\|$" "^- $kept: memory grown by, 2 that .*: $n MiB, at most 68$"
result $? 'on clones at once'
reports '^- yes: to that of 0: read4k q32 warm, 3 generations, cowd: 1 x, at least 0.9$' \
	'^- yes: last to first: sync4k q1, last: 1 x, at least 0.9$' "^- $kept: last to first: resident"
result $? 'on generations, and on time'
race --ours cowd,cowd-own fill size
[ "$status" -eq 1 ] && [[ $err == *'race: 2 %: '*' are in use before it is to be 2 % full'* ]] &&
	reports "^\\| cow4k q32 \\+flush, 50 % full \\| IOPS \\| $n \\|$" '^\| fill \| 0 \| 0 \| 1 \| ' \
		"^\\| read4k q32, 1 GiB \\| IOPS \\| 7 \\| $n \\|$" "^\\| read4k .* \\| $n \\(wanted 1: $kept\\) \\|$"
result $? 'a store that is filled, but not to less than is in it; an object of another size'

# What is judged, of figures that are known.
cat >"$dir/judged.py" <<'E'
import subprocess, sys, types
import figures, names
f = figures.Figures()
for name, unit, better, ours, own, peers in (
        ("a", "IOPS", 1, 30, 20, (10, 20)), ("a, p99", "us", -1, 30, 20, (60, 40)),
        ("memory", "MiB", -1, 9, 9, (1, 1)), ("cow4k amplification", "x", -1, 1.4, 1.6, (8, 9)),
        ("clone X: p50", "ms", -1, None, 11000, ()), ("clone Y: p50", "ms", -1, None, 12000, ())):
    for server, value in (("cowd", ours), ("cowd-own", own), *zip(("xfs-nbdkit", "qcow2-wb"), peers)):
        f.add(name, unit, server, value, better)
lines = figures.ratios(f, {"a": (1.5, None), "a, p99": (1.5, None)})
lines += figures.bounds(f, [("cow4k amplification", "at most", 1.5)])
table = subprocess.run([sys.executable, sys.argv[1], "clone"], stdout=subprocess.PIPE, text=True)
lines += names.overlay_verdicts(types.SimpleNamespace(), f, table.stdout.splitlines())
print("\n".join(lines), figures.tally(lines)[:2])
E
run env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$bench/lib" "$PYTHON" "$dir/judged.py" "$NBD_BENCH/clones.py"
wanted='| row | best peer | cowd to it | wanted | to nbdkit-file | wanted | cowd-own to cowd |
|---|---|---|---|---|---|---|
| a | qcow2-wb | 1.5 | 1.5: yes | - | - | 0.667 (wanted 1: MISS) |
| a, p99 | qcow2-wb | 1.33 | 1.5: MISS | - | - | 1.5 (wanted 1: yes) |
| cow4k amplification | xfs-nbdkit | 5.71 | - | - | - | 0.875 |
- yes: cow4k amplification, cowd: 1.4 x, at most 1.5
- MISS: cow4k amplification, cowd-own: 1.6 x, at most 1.5
The fastest overlay is durable after 8.8e+04 ms, the start of qemu-img included.

- yes: an overlay takes 8 times as long as clone X: p50, at least 8
- MISS: an overlay takes 7.33 times as long as clone Y: p50, at least 8 (4, 4)'
[ "$status" -eq 0 ] && [ "$out" = "$wanted" ]
result $? 'ratios are the right way round; bounds are those of cowd alone'
run "$PYTHON" "$bench/race" list
[ "$status" -eq 0 ] && [[ $out == *$'\nboots '* ]]
result $? 'race list'
race no-such-part
[ "$status" -eq 2 ] && [[ $err == *'no such part: no-such-part'* ]]
result $? 'a part that there is not'
COWD=$dir/missing race --ours cowd group
[ "$status" -eq 1 ] && [[ $err == *'did not become ready'* ]]
result $? 'a server that does not start'
[ "$(ls "$PERF_DIR")" = cowd ]
result $? 'race leaves the store alone behind'
"$bench/candidate" clean && [ -z "$(ls "$PERF_DIR")" ]
result $? 'candidate clean removes it'
finish
