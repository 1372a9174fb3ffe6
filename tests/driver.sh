#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The test driver of "make check" (automake's custom driver protocol): runs one test with a time
# limit, gives each of its cases a result of its own, and prints the runner's own summary lines.
#
#   --kind cmocka  a program that must report its cases as cmocka does
#   --kind script  one that reports in TAP, or by its exit status alone; so do the fuzz
#                  tests, the simulation and the sweep
#
# A case that is skipped fails the test: nothing is left out quietly.  So does a test that ends with
# another status than 0, that reports no case, or fewer than its plan.
set -u

name='' log='' trs='' kind=script
while [ $# -gt 0 ]; do
	case $1 in
	--test-name) name=$2 ;;
	--log-file) log=$2 ;;
	--trs-file) trs=$2 ;;
	--kind) kind=$2 ;;
	--)
		shift
		break
		;;
	esac
	shift 2
done

case $name in
tests/fuzz/* | tests/sim/* | tests/sweep/*) kind=script ;;
esac

limit=${TEST_TIMEOUT:-900}
begin=$SECONDS
{ timeout --kill-after=10 "$limit" "$@" </dev/null >"$log" 2>&1; } 2>/dev/null
status=$?
took=$((SECONDS - begin))
# The second line is of the children; those that nobody has waited for are not in it.
times >"$trs"
cpu=$(awk 'NR == 2 { split($0, t, /[ms ]+/); printf "%.1f", 60 * (t[1] + t[3]) + t[2] + t[4] }' "$trs")
[ "$status" -ne 124 ] || echo "driver: no end after $limit s" >>"$log"

# sum PATTERN: the sum of the first group over the lines that match.
sum() {
	sed -n -E "s/$1/\\1/p" "$log" | awk '{n += $1} END {print n + 0}'
}

count() {
	grep -a -c -E "$1" "$log"
}

# A program that died has no summary: what went well until then is counted by case.
cmocka_results() {
	passed=$(count '^\[       OK \] ')
	failed=$(sum '^\[  FAILED  \] ([0-9]+) test\(s\).*')
	skipped=$(sum '^\[  SKIPPED \] ([0-9]+) test\(s\).*')
	summary=$(grep -a -E '^\[(=+\] .*run\.| +[A-Z]+ +\] [0-9]+ test)' "$log")
}

tap_results() {
	local plan
	skipped=$(count '^ok .*# SKIP')
	passed=$(($(count '^ok ') - skipped))
	failed=$(count '^not ok ')
	summary=$(grep -a -E '^(not )?ok ' "$log" | head -n 15)
	plan=$(sum '^1\.\.([0-9]+)$')
	if [ "$plan" -gt $((passed + failed + skipped)) ]; then
		failed=$((failed + plan - passed - failed - skipped))
		echo "driver: fewer cases than the plan says" >>"$log"
	fi
}

if [ "$kind" = cmocka ]; then
	cmocka_results
elif grep -a -q -E '^(1\.\.[0-9]+$|(not )?ok )' "$log"; then
	tap_results
else
	skipped=0 failed=0 passed=$((status == 0))
	summary="exit status $status"
fi
failed=$((failed + skipped))
if [ "$failed" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$passed" -eq 0 ]; }; then
	failed=1
	echo "driver: exit status $status, $passed cases passed" >>"$log"
fi
if [ "$kind" = script ]; then
	echo "driver: $passed passed, $failed failed" >>"$log"
	summary+=$'\n'"$passed passed, $failed failed"
fi

result=PASS
[ "$failed" -eq 0 ] || result=FAIL
{
	for ((i = 0; i < passed; i++)); do echo ":test-result: PASS"; done
	for ((i = 0; i < failed; i++)); do echo ":test-result: FAIL"; done
	echo ":global-test-result: $result"
	echo ":recheck: $([ $result = PASS ] && echo no || echo yes)"
	echo ":copy-in-global-log: $([ $result = PASS ] && echo no || echo yes)"
} >"$trs"

# One write, so that tests that run side by side do not mix their lines.
report="$result: $name (${took}s, ${cpu}s of CPU)"$'\n'"$summary"
[ $result = PASS ] || report+=$'\n'"--- end of $log"$'\n'"$(tail -n 80 "$log")"
printf '%s\n' "$report"
