# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the integration tests in shell: a daemon on a store of its own, and cases in TAP.
#
# A script calls begin, then start_daemon and its cases, then finish.  $dir is a temporary directory,
# $store and $socket are in it; cowctl (the function) talks to the daemon.

failed=0 cases=0 daemon='' dir='' out='' err='' status=0
export tcp='' tls='' nbd_tcp=''

# begin: makes the directory; whatever happens the daemon ends and the directory goes.
begin() {
	dir=$(mktemp -d "${TMPDIR:-/tmp}/cowd-test-XXXXXX") || exit 1
	store=$dir/store socket=$dir/socket
	export COW_URI="cow+unix:///?socket=$socket"
	trap end EXIT
}

end() {
	[ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null
	rm -rf "$dir"
}

finish() {
	echo "1..$cases"
	[ "$failed" -eq 0 ]
	exit $?
}

# result STATUS TITLE: one case.
result() {
	cases=$((cases + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $cases - $2"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $cases - $2"
	printf 'status: %s\nstdout: %s\nstderr: %s\n' "$status" "$out" "$err" | sed 's/^/# /'
	# what follows could only fail, too, or wait for it
	if [ -n "$daemon" ] && ! kill -0 "$daemon" 2>/dev/null; then
		echo 'Bail out! The daemon has ended by itself.'
		exit 1
	fi
}

# start_daemon [ARG...]: starts it and waits until it is ready; TCP's address is in $tcp, TLS's in $tls, that of
# NBD in $nbd_tcp.
start_daemon() {
	local line ready=no
	[ -p "$dir/ready" ] || mkfifo "$dir/ready"
	"$COWD" --store "$store" --listen "unix:$socket" --listen tcp:127.0.0.1:0 \
		--ready-fd 9 "$@" 9>"$dir/ready" 2>>"$dir/log" </dev/null &
	daemon=$! tcp='' tls=''
	while read -r line; do
		case $line in
		'LISTEN tcp:'*) tcp=${line#LISTEN tcp:} ;;
		'LISTEN tls:'*) tls=${line#LISTEN tls:} ;;
		'LISTEN nbd+tcp:'*) nbd_tcp=${line#LISTEN nbd+tcp:} ;;
		READY) ready=yes ;;
		esac
	done <"$dir/ready"
	[ $ready = yes ] || {
		echo "Bail out! The daemon did not become ready."
		sed 's/^/# /' "$dir/log"
		exit 1
	}
}

# stop_daemon [SIGNAL]: ends it; its exit status.
stop_daemon() {
	local code
	kill -"${1:-TERM}" "$daemon"
	wait "$daemon" 2>/dev/null
	code=$?
	daemon=''
	return $code
}

cowctl() {
	"$COWCTL" "$@"
}

# run COMMAND...: leaves $status, $out and $err.
run() {
	"$@" >"$dir/out" 2>"$dir/err" </dev/null
	status=$?
	out=$(tr -d '\0' <"$dir/out") err=$(cat "$dir/err")
	return $status
}

# good TITLE COMMAND...: it must succeed and say nothing on standard error.
good() {
	local title=$1
	shift
	run "$@"
	[ "$status" -eq 0 ] && [ -z "$err" ]
	result $? "$title"
}

# bad TITLE STATUS COMMAND...: it must end so, with one line on standard error and nothing else.
bad() {
	local title=$1 want=$2
	shift 2
	run "$@"
	[ "$status" -eq "$want" ] && [ -z "$out" ] && [ "$(wc -l <"$dir/err")" -eq 1 ] &&
		[ "${#err}" -gt 10 ]
	result $? "$title"
}

# says TITLE TEXT: the last command's output or error has the text.
says() {
	[[ $out$'\n'$err == *"$2"* ]]
	result $? "$1"
}

# check TITLE COMMAND...: a condition.
check() {
	local title=$1
	shift
	"$@"
	result $? "$title"
}

# json KEYS: a value of the last output, which must be one JSON document with an output_version.
json() {
	"$PYTHON" -c '
import json, sys
doc = json.load(open(sys.argv[1]))
doc["output_version"]
for key in sys.argv[2].split("."):
    doc = doc[int(key)] if isinstance(doc, list) else doc[key]
print(doc)' "$dir/out" "$1"
}

# json_is TITLE KEYS VALUE
json_is() {
	[ "$(json "$2" 2>&1)" = "$3" ]
	result $? "$1"
}
