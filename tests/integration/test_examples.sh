#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# The examples of libcow do what they say.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

examples=${builddir:-.}/client/examples
begin
start_daemon --size 256M

head -c 9000001 /dev/urandom >"$dir/image"
cowctl cp "$dir/image" image >/dev/null
run "$examples/aio_copy" "$COW_URI" image copy
result "$status" 'aio_copy copies'
cowctl cat copy >"$dir/copy"
cmp -s "$dir/image" "$dir/copy"
result $? 'all bytes of it'
run "$examples/aio_copy" "$COW_URI" missing other
[ "$status" -eq 1 ] && [[ $err == 'no such object'* ]]
result $? 'and says what is wrong'

run "$examples/event_ping" "$COW_URI" 100
[ "$status" -eq 0 ] && [[ $out == *' bytes are free' ]]
result $? 'event_ping asks from a loop of libevent'
stop_daemon
run "$examples/event_ping" "$COW_URI" 1
[ "$status" -eq 1 ] && [[ $err == *'no connection'* ]]
result $? 'and says when nobody is there'
finish
