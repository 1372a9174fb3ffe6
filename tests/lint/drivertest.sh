#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The test driver's own test: what it makes of programs that pass, fail, die, skip or do nothing.
set -u

here=${srcdir:?}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cases=0 failed=0

# case_of WHAT KIND PASSED FAILED SCRIPT: the driver's counts for a test of that kind.
case_of() {
	local passed fails global=PASS
	printf '%s\n' "$5" >"$dir/test"
	[ "$4" -eq 0 ] || global=FAIL
	TEST_TIMEOUT=1 bash "$here/tests/driver.sh" --test-name t --log-file "$dir/log" \
		--trs-file "$dir/trs" --color-tests no --kind "$2" -- bash "$dir/test" >"$dir/out"
	passed=$(grep -c '^:test-result: PASS' "$dir/trs")
	fails=$(grep -c '^:test-result: FAIL' "$dir/trs")
	cases=$((cases + 1))
	if [ "$passed,$fails" = "$3,$4" ] && grep -q "^:global-test-result: $global" "$dir/trs"; then
		echo "ok $cases - $1"
	else
		failed=$((failed + 1))
		echo "not ok $cases - $1: $passed passed, $fails failed"
	fi
}

good='echo "[       OK ] a"; echo "[       OK ] b"; echo "[  PASSED  ] 2 test(s)."'
case_of 'cmocka, all passed' cmocka 2 0 "$good"
case_of 'cmocka, one failed' cmocka 2 1 "$good; echo '[  FAILED  ] 1 test(s), listed below:'; exit 1"
case_of 'cmocka, failed with status 0' cmocka 2 3 "$good; echo '[  FAILED  ] 3 test(s), listed below:'"
case_of 'cmocka, one skipped' cmocka 2 1 "$good; echo '[  SKIPPED ] 1 test(s), listed below:'"
case_of 'cmocka, died before the end' cmocka 1 1 'echo "[       OK ] a"; kill -SEGV $$'
case_of 'cmocka, passed and died at exit' cmocka 2 1 "$good; exit 66"
case_of 'cmocka, no test at all' cmocka 0 1 'true'
case_of 'TAP, all passed' script 2 0 'printf "ok 1\nok 2\n1..2\n"'
case_of 'TAP, one failed' script 1 1 'printf "ok 1\nnot ok 2\n1..2\n"'
case_of 'TAP, one skipped' script 1 1 'printf "ok 1\nok 2 # SKIP\n1..2\n"'
case_of 'TAP, fewer than planned' script 1 2 'printf "1..3\nok 1\n"'
case_of 'TAP, none of the plan' script 0 1 'printf "1..0\n"'
case_of 'TAP, passed and ended with an error' script 1 1 'printf "1..1\nok 1\n"; exit 2'
case_of 'a script that passes' script 1 0 'true'
case_of 'a script that fails' script 0 1 'false'
case_of 'a script that says it was skipped' script 0 1 'exit 77'
case_of 'a script without an end' script 0 1 'read -r line < <(exec tail -f /dev/null)'

echo "1..$cases"
exit $((failed > 0))
