#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# fio with 32 requests in flight: whatever it wrote it reads back, and so it does after a crash.
# TEST_FIO megabytes are written by each job (24).
# shellcheck disable=SC2154,SC2317 # the variables of lib.sh; functions that check calls
set -u
# shellcheck source=tests/nbd/lib.sh
. "${srcdir:-.}/tests/nbd/lib.sh"

begin_nbd
start_nbd --writeback-ms 60000
mb=${TEST_FIO:-$((24 / ${TEST_SHARE:-1}))}
seed=${TEST_SEED:-$RANDOM}
echo "# TEST_SEED=$seed"

# job TITLE OBJECT OPTION...: fio's job on it; each error and each wrong block fails it.  Of two writes that
# overlap and are in flight at once either may be the last, so there are none.
job() {
	local title=$1 export=$2
	shift 2
	works "$title" fio --name=job --directory="$dir" --ioengine=nbd --uri="$(uri "$export")" --size=32m \
		--iodepth=32 --serialize_overlap=1 --verify=crc32c --verify_fatal=1 --randseed="$seed" --verify_state_save=0 "$@"
}

for object in blocks mixed zones fsync overlap kept; do cowctl create $object 32M; done
job 'random blocks' blocks --rw=randwrite --bs=4k "--io_size=${mb}m" --do_verify=1
check 'as many as there should be' grep -q 'depth=32' "$dir/out"
mixed=(--rw=randwrite --bsrange=512-96k --bs_unaligned=1 --blockalign=1 "--io_size=${mb}m")
job 'all sizes at all offsets' mixed "${mixed[@]}" --do_verify=1
job 'reads and writes at once' zones --rw=randrw --rwmixread=50 --bssplit=512/20:4k/50:9k/10:64k/20 \
	"--io_size=${mb}m" --do_verify=1 --verify_backlog=64
job 'with flushes' fsync --rw=randwrite --bs=4k --io_size=$((mb / 4 + 1))m --fsync=16 --do_verify=1
job 'with trims' overlap --rw=randtrimwrite --bs=8k "--io_size=${mb}m" --do_verify=0
job 'in order' overlap --rw=write --bs=64k --size=32m --do_verify=1

job 'writes, all of them flushed at the end' kept --rw=randwrite --bs=4k "--io_size=${mb}m" --do_verify=0 \
	--end_fsync=1
crash --log info
job 'are there after a crash' kept --rw=randwrite --bs=4k "--io_size=${mb}m" --verify_only=1
check 'the store has no fault' cowctl check -q
finish
