#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Attributes of objects and versions, by cowctl against a real daemon.
# shellcheck disable=SC2154 # the variables of lib.sh
set -u
# shellcheck source=tests/integration/lib.sh
. "${srcdir:-.}/tests/integration/lib.sh"

begin
start_daemon --size 64M

# ---- labels --------------------------------------------------------------------------------------

good 'an object is made' cowctl create --label os=debian disk 1M
good 'labels are set' cowctl set disk env=test owner='j d' os=
good 'one is shown' cowctl get disk owner
check 'with its value alone' [ "$out" = 'j d' ]
good 'so is one with an empty value' cowctl get disk os
check 'as an empty line' [ "$out" = '' ]
good 'all are shown' cowctl get -H disk
check 'with what else there is' \
	[ "$out" = $'readonly\tno\nenv\ttest\nos\t\nowner\tj d' ]
good 'chosen columns of them' cowctl get -H -o key disk
check 'are shown alone' [ "$out" = $'readonly\nenv\nos\nowner' ]
good 'ls finds it by a new label' cowctl ls --label env=test
check 'by its name' [ "$out" = disk ]
good 'labels are taken away' cowctl unset disk os none
bad 'one that it does not have' 3 cowctl get disk os
says 'is named' 'get: disk: has no os'
good 'set in JSON' cowctl --json set disk env=prod
json_is 'has the name' name disk
json_is 'and the labels' attributes.labels.env prod
json_is 'no time to live' attributes.ttl None
json_is 'and that it is writable' attributes.readonly False
good 'get of one in JSON' cowctl --json get disk env
json_is 'has its value' value prod
good 'get of all in JSON' cowctl --json get disk
json_is 'has the labels' attributes.labels.owner 'j d'

good 'a version is made' cowctl snap add disk@v
good 'it gets labels' cowctl set disk@v why=test
check 'of its own' [ "$(cowctl get disk@v why)" = test ]
bad 'its object has not' 3 cowctl get disk why
check 'and is read-only' [ "$(cowctl get disk@v readonly)" = yes ]
bad 'for good' 6 cowctl set disk@v readonly=no
says 'it says why' 'is a version, which is always read-only'

# ---- conditions ----------------------------------------------------------------------------------

good 'a label that must not be there' cowctl set --unless lock disk lock=me
bad 'and then is' 5 cowctl set --unless lock disk lock=you
says 'it says so' 'the labels are not as expected'
bad 'a label that is another' 5 cowctl unset --if lock=you disk lock
check 'nothing was changed' [ "$(cowctl get disk lock)" = me ]
good 'a label that is that one' cowctl unset --if lock=me disk lock
bad 'a condition without a value' 64 cowctl set --if lock disk a=b
bad 'a condition with one' 64 cowctl set --unless lock=me disk a=b

# ---- times to live -------------------------------------------------------------------------------

good 'a time to live' cowctl set disk ttl=2h
ttl=$(cowctl get disk ttl)
check 'is in seconds, as set takes it' [ "${ttl%s}" -gt 7000 -a "${ttl%s}" -le 7200 ]
good 'it is set again from what get says' cowctl set disk "ttl=$ttl"
good 'it is cleared' cowctl --json unset disk ttl
json_is 'in JSON it has none' attributes.expires None
bad 'and get finds none' 3 cowctl get disk ttl
good 'something lives for a second' cowctl create brief 1M
good 'from now on' cowctl set brief ttl=1s
good 'or another object, that has more time then' cowctl create --ttl=1s longer 1M
run cowctl set longer ttl=1h
until ! cowctl info brief >"$dir/out" 2>"$dir/err"; do :; done
check 'it is gone' grep -q 'no such object' "$dir/err"
if [ "$status" -eq 0 ]; then
	good 'the other lives on' cowctl info longer
fi

# ---- read-only -----------------------------------------------------------------------------------

printf 'kept' | cowctl write disk
good 'an object becomes read-only' cowctl set disk readonly=yes
check 'get says so' [ "$(cowctl get disk readonly)" = yes ]
check 'info says so' [ "$(cowctl info -H -o readonly disk)" = yes ]
good 'info in JSON' cowctl --json info disk
json_is 'has it as a flag' objects.0.readonly True
bad 'write is not allowed' 6 cowctl write disk
says 'it says why' 'write: disk: the object is read-only'
bad 'nor resize' 6 cowctl resize disk 2M
bad 'nor zero' 6 cowctl zero -y disk
bad 'nor trim' 6 cowctl trim -y disk
bad 'nor cp to it' 6 cowctl cp -f /dev/null disk
bad 'nor reset' 6 cowctl reset -y disk@v
says 'it says of what' 'the object is read-only: disk'
check 'it has what it had' [ "$(cowctl cat --length 4 disk)" = kept ]
good 'it can be cloned' cowctl clone disk copy
printf 'new' | cowctl write copy
check 'and the clone written' [ "$(cowctl cat --length 4 copy)" = newt ]
stop_daemon KILL
start_daemon
check 'it stays so' [ "$(cowctl get disk readonly)" = yes ]
good 'it becomes writable' cowctl unset disk readonly
printf 'more' | cowctl write disk
check 'and is written' [ "$(cowctl cat --length 4 disk)" = more ]
good 'read-only again' cowctl set disk readonly=yes
good 'it can be renamed' cowctl mv disk other
good 'and removed' cowctl rm -r other

# ---- reserved space ------------------------------------------------------------------------------

good 'an object has its size reserved' cowctl create --reserve full 4M
check 'get says how much' [ "$(cowctl get full reservation)" = 4194304 ]
check 'info, too' [ "$(cowctl info -H -o reserved,withheld full)" = $'4194304\t4194304' ]
good 'or what is asked for' cowctl create --reserve=1M --label a=b part 4M
check 'which is less' [ "$(cowctl info -H -o size,reserved part)" = $'4194304\t1048576' ]
good 'or nothing' cowctl create --ttl 1h bare 4M
bad 'then get finds none' 3 cowctl get bare reservation
good 'it is set' cowctl --json set bare reservation=1M
json_is 'and in JSON' attributes.reserved 1048576
json_is 'with what others cannot have' attributes.withheld 1048576
check 'it is among what get shows' grep -q $'^reservation\t1048576$' <(cowctl get -H bare)
printf 'x' | cowctl write --fsync bare
check 'what it has is not withheld' [ "$(cowctl info -H -o withheld bare)" = 1044480 ]
check 'df has the sum' [ "$(cowctl df -H -o withheld)" -gt 6000000 ]
bad 'more than there is' 8 cowctl set bare reservation=1G a=c
bad 'changes nothing' 3 cowctl get bare a
bad 'nor is anything made' 8 cowctl create --reserve huge 1G
bad 'of that name' 3 cowctl info huge
good 'a clone' cowctl clone bare bare-2
bad 'has nothing reserved' 3 cowctl get bare-2 reservation
good 'a version' cowctl snap add bare@v
bad 'cannot have' 6 cowctl set bare@v reservation=1M
says 'it says why' 'and reserves no space'
stop_daemon KILL
start_daemon
check 'it stays' [ "$(cowctl get bare reservation)" = 1048576 ]
good 'it is given up' cowctl unset bare reservation
bad 'then there is none' 3 cowctl get bare reservation
good 'those that have some go' cowctl rm full part
check 'and nothing is withheld' [ "$(cowctl df -H -o withheld)" = 0 ]
bad 'a size that is none' 64 cowctl set bare reservation=much
bad 'nor is that' 64 cowctl create --reserve=much new 1M
bad 'a reservation twice' 64 cowctl set bare reservation=1M reservation=2M
bad 'a label that is called so' 64 cowctl create --label reservation=1 new 1M
bad 'for a clone' 64 cowctl clone --reserve bare new

# ---- command lines -------------------------------------------------------------------------------

bad 'set of what is missing' 3 cowctl set missing a=b
bad 'get of what is missing' 3 cowctl get missing
bad 'unset of what is missing' 3 cowctl unset missing a
bad 'set without a value' 64 cowctl set copy a
bad 'unset with one' 64 cowctl unset copy a=b
bad 'set without a key' 64 cowctl set copy
bad 'a time that is none' 64 cowctl set copy ttl=soon
bad 'a time twice' 64 cowctl set copy ttl=1h ttl=2h
bad 'neither yes nor no' 64 cowctl set copy readonly=maybe
bad 'read-only twice' 64 cowctl set copy readonly=yes readonly=no
bad 'a label twice' 1 cowctl set copy a=1 a=2
bad 'a bad key' 1 cowctl set copy 'a b=1'
bad 'a column that is not there' 64 cowctl get -o value,color copy
bad 'a label that is an attribute' 64 cowctl create --label ttl=1h new 1M
bad 'another' 64 cowctl snap add --label readonly=no copy@v
long=$(printf '%0250d' 0)
good 'long labels' cowctl set copy "a=$long" "b=$long" "c=$long" "d=$long"
bad 'and one too many' 1 cowctl set copy "e=$long"
says 'it says so' 'longer than 1024 bytes'

finish
