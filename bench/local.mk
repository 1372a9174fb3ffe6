# SPDX-License-Identifier: BSD-2-Clause
# The benchmarks: built by "make bench" alone.  bench/README.md says what each shows.

EXTRA_LTLIBRARIES = libbench.la
libbench_la_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS)
libbench_la_SOURCES = \
	bench/lib/figures.c \
	bench/lib/figures.h \
	bench/lib/region_dev.c \
	bench/lib/region_dev.h \
	bench/lib/rig.c \
	bench/lib/rig.h \
	bench/lib/samples.c \
	bench/lib/samples.h \
	$(NULL)

bench_programs = \
	bench/clone \
	bench/cow \
	bench/generations \
	bench/metadata \
	bench/paths \
	bench/recovery \
	bench/share \
	$(NULL)

EXTRA_PROGRAMS = $(bench_programs)
CLEANFILES += $(bench_programs) libbench.la

bench_ldadd = libbench.la libserver.la libcommon.la
bench_clone_LDADD = $(bench_ldadd)
bench_cow_LDADD = $(bench_ldadd)
bench_generations_LDADD = $(bench_ldadd)
bench_metadata_LDADD = $(bench_ldadd)
bench_paths_LDADD = $(bench_ldadd)
bench_recovery_LDADD = $(bench_ldadd)
bench_share_LDADD = $(bench_ldadd)

# Load over libcow; tests/integration/test_bench.sh runs it.
check_PROGRAMS += bench/cowbench
bench_cowbench_LDADD = libclient.la libcommon.la
bench_cowbench_SOURCES = \
	bench/cowbench.c \
	bench/lib/figures.c \
	bench/lib/figures.h \
	bench/lib/samples.c \
	bench/lib/samples.h \
	$(NULL)

check_PROGRAMS += bench/remove
bench_remove_LDADD = libclient.la libcommon.la
bench_remove_SOURCES = bench/remove.c bench/lib/figures.c bench/lib/figures.h

bench: $(bench_programs) bench/cowbench bench/remove cowd cowctl
.PHONY: bench

EXTRA_DIST += \
	bench/README.md \
	bench/RESULTS.json \
	bench/RESULTS.md \
	bench/candidate \
	bench/lib/figures.py \
	bench/lib/load_rows.py \
	bench/lib/machine.py \
	bench/lib/names.py \
	bench/lib/rows.py \
	bench/lib/servers.py \
	bench/load \
	bench/race \
	$(NULL)
