# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests of the NBD front end in shell: integration/lib.sh, and a daemon that serves NBD.
# $nbd is its unix socket; its TCP port is in $nbd_port.
# shellcheck disable=SC2034,SC2154 # the variables of the two files are for one another and the tests

# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

nbd='' nbd_port=''
# Debian's modules, libnbd's among them, belong to Debian's Python.
debian_python=/usr/bin/python3

begin_nbd() {
	begin
	nbd=$dir/nbd
}

# start_nbd [ARG...]: the daemon, with NBD at both kinds of address.
start_nbd() {
	start_daemon --size "${store_size:-256M}" --nbd "unix:$nbd" --nbd tcp:127.0.0.1:0 "$@"
	nbd_port=${nbd_tcp##*:}
}

# crash [ARG...]: the daemon dies as by a fault of its own, and is started again.
crash() {
	stop_daemon KILL
	start_nbd "$@"
}

# percent NAME: as in a URI.
percent() {
	local LC_ALL=C name=$1 i char
	for ((i = 0; i < ${#name}; i++)); do
		char=${name:i:1}
		case $char in
		[a-zA-Z0-9._/@:+-]) printf %s "$char" ;;
		*) printf '%%%02X' "'$char" ;;
		esac
	done | sed 's/%FFFFFFFFFFFFFF/%/g'
}

# uri NAME: the export at the unix socket.
uri() {
	printf 'nbd+unix:///%s?socket=%s' "$(percent "$1")" "$nbd"
}

# tcp_uri NAME
tcp_uri() {
	printf 'nbd://127.0.0.1:%s/%s' "$nbd_port" "$(percent "$1")"
}

# fails TITLE COMMAND...: it must end with an error and say why; a client that dies of a signal is none.
fails() {
	local title=$1
	shift
	run "$@"
	[ "$status" -gt 0 ] && [ "$status" -lt 124 ] && [ "${#err}" -gt 10 ]
	result $? "$title"
}

# works TITLE COMMAND...: as good, of a client that has remarks.
works() {
	local title=$1
	shift
	check "$title" run "$@"
}

# content OBJECT FILE: its bytes, by the own protocol.
content() {
	cowctl cat "$1" | cmp -s - "$2"
}

# data_bytes OBJECT: how much of it is data there.
data_bytes() {
	cowctl fsync "${1%@*}" && cowctl --json map -s "$1" | "$debian_python" -c '
import json, sys
totals = json.load(sys.stdin)["totals"]
print(totals["size"] - totals["hole"] - totals["zero"])'
}

# file_bytes FILE: how much of it is allocated.
file_bytes() {
	echo $(($(stat -c %b "$1") * $(stat -c %B "$1")))
}

# patches FILE SIZE COUNT LENGTH SEED: random bytes at random places of a file, which gets that size; the same
# for the same seed.
patches() {
	"$debian_python" - "$@" <<'EOF'
import os, random, sys
path, (size, count, length, seed) = sys.argv[1], map(int, sys.argv[2:])
draw = random.Random(seed)
with open(path, "r+b" if os.path.exists(path) else "w+b") as file:
    file.truncate(size)
    for _ in range(count):
        n = draw.randint(1, length)
        file.seek(draw.randint(0, size - n))
        file.write(draw.randbytes(n))
EOF
}
