# SPDX-License-Identifier: BSD-2-Clause
# The tests.  A name in unit_tests is a program made from the .c file of that name; so is one in
# integration_tests, and it needs a line with its LDADD too.  A script is only listed.
# tests/README.md tells the kinds apart.

TEST_EXTENSIONS = .py .sh

# One driver runs them all, counts the cases of each and shows the runner's own summary.
LOG_DRIVER = bash $(top_srcdir)/tests/driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_DRIVER = $(LOG_DRIVER)
AM_SH_LOG_DRIVER_FLAGS = --kind script
AM_PY_LOG_DRIVER_FLAGS = --kind script
AM_LOG_DRIVER_FLAGS = --kind cmocka
SH_LOG_COMPILER = bash
PY_LOG_COMPILER = $(PYTHON)

# What a sanitizer ends has an exit status that no program of ours has.
AM_TESTS_ENVIRONMENT = \
	srcdir='$(abs_top_srcdir)'; export srcdir; \
	builddir='$(abs_top_builddir)'; export builddir; \
	COWD='$(abs_top_builddir)/cowd'; export COWD; \
	COWCTL='$(abs_top_builddir)/cowctl'; export COWCTL; \
	COWD_FAULT='$(abs_top_builddir)/tests/lib/cowd_fault'; export COWD_FAULT; \
	COWD_RECORDER='$(abs_top_builddir)/tests/record/cowd_record'; export COWD_RECORDER; \
	CC='$(CC)'; export CC; \
	PYTHON='$(PYTHON)'; export PYTHON; \
	PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE; \
	ASAN_OPTIONS="exitcode=66:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:$$ASAN_OPTIONS"; \
	export ASAN_OPTIONS; \
	UBSAN_OPTIONS="exitcode=66:print_stacktrace=1:halt_on_error=1:$$UBSAN_OPTIONS"; export UBSAN_OPTIONS; \
	TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:$$TSAN_OPTIONS"; export TSAN_OPTIONS;

unit_tests = \
	tests/unit/test_alloc \
	tests/unit/test_apply \
	tests/unit/test_args \
	tests/unit/test_blkcache \
	tests/unit/test_cache \
	tests/unit/test_cache_share \
	tests/unit/test_check \
	tests/unit/test_check_owned \
	tests/unit/test_check_planted \
	tests/unit/test_checkpoint \
	tests/unit/test_checkpoint_freed \
	tests/unit/test_checkpoint_stop \
	tests/unit/test_claim \
	tests/unit/test_commit \
	tests/unit/test_commit_batch \
	tests/unit/test_commit_full \
	tests/unit/test_commit_reap \
	tests/unit/test_common \
	tests/unit/test_conn \
	tests/unit/test_conn_limits \
	tests/unit/test_conn_tls \
	tests/unit/test_conn_tls_cut \
	tests/unit/test_conn_tls_keys \
	tests/unit/test_conn_tls_slow \
	tests/unit/test_copy \
	tests/unit/test_cowctl \
	tests/unit/test_cowctl_clone \
	tests/unit/test_cowctl_errors \
	tests/unit/test_cowctl_with \
	tests/unit/test_dev \
	tests/unit/test_diffstream \
	tests/unit/test_dev_mapped \
	tests/unit/test_dispatch \
	tests/unit/test_dispatch_ranges \
	tests/unit/test_dispatch_group \
	tests/unit/test_era \
	tests/unit/test_fetch \
	tests/unit/test_freeload \
	tests/unit/test_home \
	tests/unit/test_journal \
	tests/unit/test_journal_crash \
	tests/unit/test_journal_damage \
	tests/unit/test_holes \
	tests/unit/test_label \
	tests/unit/test_kv \
	tests/unit/test_kv_layer \
	tests/unit/test_kv_room \
	tests/unit/test_kv_threads \
	tests/unit/test_kv_verify \
	tests/unit/test_libcow \
	tests/unit/test_libcow_aio \
	tests/unit/test_libcow_wait \
	tests/unit/test_libcow_attrs \
	tests/unit/test_libcow_cancel \
	tests/unit/test_libcow_cut \
	tests/unit/test_libcow_diff \
	tests/unit/test_libcow_errors \
	tests/unit/test_libcow_group \
	tests/unit/test_libcow_io \
	tests/unit/test_libcow_names \
	tests/unit/test_libcow_ranges \
	tests/unit/test_libcow_reconnect \
	tests/unit/test_libcow_seek \
	tests/unit/test_libcow_tls \
	tests/unit/test_libcow_verify \
	tests/unit/test_listen \
	tests/unit/test_look \
	tests/unit/test_loop \
	tests/unit/test_map \
	tests/unit/test_map_count \
	tests/unit/test_map_damage \
	tests/unit/test_map_diff \
	tests/unit/test_map_objects \
	tests/unit/test_map_full \
	tests/unit/test_map_owners \
	tests/unit/test_map_share \
	tests/unit/test_map_tree \
	tests/unit/test_map_owned \
	tests/unit/test_map_usage \
	tests/unit/test_msg \
	tests/unit/test_name \
	tests/unit/test_nbd \
	tests/unit/test_nbd_clones \
	tests/unit/test_nbd_cmds \
	tests/unit/test_nbd_limits \
	tests/unit/test_nbd_tls \
	tests/unit/test_nbd_wire \
	tests/unit/test_object \
	tests/unit/test_object_adopt \
	tests/unit/test_object_cache \
	tests/unit/test_object_cut \
	tests/unit/test_object_diff \
	tests/unit/test_object_direct \
	tests/unit/test_object_direct_hard \
	tests/unit/test_object_family \
	tests/unit/test_object_faults \
	tests/unit/test_object_foresight \
	tests/unit/test_object_full \
	tests/unit/test_object_hard \
	tests/unit/test_object_generation \
	tests/unit/test_object_group \
	tests/unit/test_object_journal \
	tests/unit/test_object_limits \
	tests/unit/test_object_map \
	tests/unit/test_object_mapped \
	tests/unit/test_object_names \
	tests/unit/test_object_order \
	tests/unit/test_object_promise \
	tests/unit/test_object_promise_share \
	tests/unit/test_object_ranges \
	tests/unit/test_object_removal \
	tests/unit/test_object_set \
	tests/unit/test_object_share \
	tests/unit/test_object_store \
	tests/unit/test_object_tie \
	tests/unit/test_object_unshare \
	tests/unit/test_object_verify \
	tests/unit/test_object_verify_turns \
	tests/unit/test_object_write_all \
	tests/unit/test_object_write_large \
	tests/unit/test_options \
	tests/unit/test_outq \
	tests/unit/test_page \
	tests/unit/test_peer \
	tests/unit/test_prepare \
	tests/unit/test_progress \
	tests/unit/test_record \
	tests/unit/test_record_refused \
	tests/unit/test_reach \
	tests/unit/test_readahead \
	tests/unit/test_recover \
	tests/unit/test_recover_crash \
	tests/unit/test_repair \
	tests/unit/test_repair_journal \
	tests/unit/test_repair_planted \
	tests/unit/test_repair_random \
	tests/unit/test_session \
	tests/unit/test_store_crash \
	tests/unit/test_store_dir \
	tests/unit/test_stream \
	tests/unit/test_stream_keys \
	tests/unit/test_tls \
	tests/unit/test_uri \
	tests/unit/test_wire \
	tests/unit/test_writeback \
	tests/unit/test_writeback_inline \
	tests/unit/test_xlate \
	$(NULL)

integration_tests = \
	tests/integration/test_access \
	tests/integration/test_aio \
	tests/integration/test_badinput \
	tests/integration/test_conns \
	tests/integration/test_connects \
	tests/integration/test_faults \
	tests/integration/test_flushes \
	tests/integration/test_group \
	tests/integration/test_hazards \
	tests/integration/test_kill \
	tests/integration/test_model \
	tests/integration/test_set \
	$(NULL)

# The conformance script, by each of the two clients.
conformance_tests = tests/conformance/conform_libcow tests/conformance/conform_libcow_aio
conformance_scripts = \
	tests/conformance/conform_cowproto.py \
	tests/conformance/document_cowproto.py \
	tests/conformance/vectors_cowproto.py \
	$(NULL)

integration_scripts = \
	tests/integration/test_attrs.sh \
	tests/integration/test_bench.sh \
	tests/integration/test_cli.sh \
	tests/integration/test_diff.sh \
	tests/integration/test_errors.sh \
	tests/integration/test_examples.sh \
	tests/integration/test_export.sh \
	tests/integration/test_repair.sh \
	tests/integration/test_tls.sh \
	tests/integration/test_verify.sh \
	tests/integration/test_versions.sh \
	tests/integration/test_with_clone.sh \
	$(NULL)

# NBD with the clients that people have: what is the daemon's work, and what is mostly theirs.
nbd_tests = \
	tests/nbd/test_api.py \
	tests/nbd/test_clones.py \
	tests/nbd/test_conns.py \
	tests/nbd/test_protocol.py \
	$(NULL)
nbd_client_tests = \
	tests/nbd/test_backup.sh \
	tests/nbd/test_copy.sh \
	tests/nbd/test_fio.sh \
	tests/nbd/test_fs.sh \
	tests/nbd/test_info.sh \
	tests/nbd/test_qemu.sh \
	tests/nbd/test_tls.sh \
	$(NULL)

fuzz_tests = \
	tests/fuzz/fuzz_nbd \
	tests/fuzz/fuzz_nbd_conn \
	tests/fuzz/fuzz_record \
	tests/fuzz/fuzz_wire \
	$(NULL)

# Real file systems whose power is cut; for root, and once: another build would not see more.
fsstack_tests = tests/fsstack/fsstack.sh

sim_tests = tests/sim/sim
sweep_tests = tests/sweep/sweep
record_tests = tests/record/test_record
corrupt_tests = tests/corrupt/test_corrupt

# What runs under the thread sanitizer: where more than one thread is at work.
thread_programs = \
	tests/unit/test_blkcache \
	tests/unit/test_cache \
	tests/unit/test_cache_share \
	tests/unit/test_checkpoint \
	tests/unit/test_checkpoint_freed \
	tests/unit/test_checkpoint_stop \
	tests/unit/test_commit \
	tests/unit/test_commit_batch \
	tests/unit/test_commit_full \
	tests/unit/test_commit_reap \
	tests/unit/test_common \
	tests/unit/test_conn \
	tests/unit/test_conn_limits \
	tests/unit/test_conn_tls \
	tests/unit/test_copy \
	tests/unit/test_fetch \
	tests/unit/test_freeload \
	tests/unit/test_kv_room \
	tests/unit/test_kv_threads \
	tests/unit/test_libcow \
	tests/unit/test_libcow_aio \
	tests/unit/test_libcow_wait \
	tests/unit/test_libcow_io \
	tests/unit/test_libcow_names \
	tests/unit/test_libcow_reconnect \
	tests/unit/test_libcow_tls \
	tests/unit/test_look \
	tests/unit/test_loop \
	tests/unit/test_object \
	tests/unit/test_object_adopt \
	tests/unit/test_object_cache \
	tests/unit/test_object_diff \
	tests/unit/test_object_direct \
	tests/unit/test_object_direct_hard \
	tests/unit/test_object_family \
	tests/unit/test_object_faults \
	tests/unit/test_object_foresight \
	tests/unit/test_object_journal \
	tests/unit/test_object_limits \
	tests/unit/test_object_mapped \
	tests/unit/test_object_names \
	tests/unit/test_object_order \
	tests/unit/test_object_removal \
	tests/unit/test_object_share \
	tests/unit/test_object_store \
	tests/unit/test_object_tie \
	tests/unit/test_object_unshare \
	tests/unit/test_object_verify \
	tests/unit/test_object_verify_turns \
	tests/unit/test_object_write_all \
	tests/unit/test_object_write_large \
	tests/unit/test_prepare \
	tests/unit/test_recover_crash \
	tests/unit/test_writeback \
	tests/unit/test_writeback_inline \
	tests/integration/test_conns \
	tests/integration/test_connects \
	tests/integration/test_faults \
	$(NULL)
thread_tests = $(thread_programs) tests/nbd/test_conns.py

lint_tests = \
	tests/lint/banned.py \
	tests/lint/budget.py \
	tests/lint/conformance.py \
	tests/lint/drivertest.sh \
	tests/lint/durability.py \
	tests/lint/exports.py \
	tests/lint/format.py \
	tests/lint/headers.py \
	tests/lint/includes.py \
	tests/lint/man.py \
	tests/lint/manifest.py \
	tests/lint/sabotage.py \
	tests/lint/scripts.py \
	tests/lint/selftest.sh \
	tests/lint/spdx.py \
	tests/lint/vectors.sh \
	$(NULL)

# In this order: first those that take long, so that no processor waits for the last of them at the end.
run_tests = $(sim_tests) $(sweep_tests) $(record_tests) $(corrupt_tests) \
	$(integration_tests) $(integration_scripts) $(conformance_tests) $(conformance_scripts) \
	$(nbd_tests) $(fuzz_tests) $(unit_tests)
TESTS = $(fsstack_tests) $(nbd_client_tests) $(lint_tests) $(run_tests)

# What would fail in a tarball that lacks a file: those that read files, and each folder's scripts.
tarball_tests = $(lint_tests) $(sim_tests) $(integration_scripts) $(conformance_tests) \
	$(conformance_scripts) $(nbd_tests) tests/fuzz/fuzz_wire tests/unit/test_msg tests/unit/test_wire

if HAVE_CMOCKA
check_PROGRAMS += $(unit_tests) $(fuzz_tests) $(sim_tests) $(sweep_tests) $(record_tests) $(corrupt_tests) \
	$(integration_tests) $(conformance_tests)
check_LTLIBRARIES += libtest.la
else
check-local:
	@echo 'make check needs cmocka: install libcmocka-dev and run configure again' >&2; exit 1
endif

# Helpers of the tests.
libtest_la_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(OPENSSL_CFLAGS)
libtest_la_SOURCES = \
	tests/lib/bed.c \
	tests/lib/bed.h \
	tests/lib/caught.c \
	tests/lib/caught.h \
	tests/lib/certs.c \
	tests/lib/certs.h \
	tests/lib/check_extents.c \
	tests/lib/check_extents.h \
	tests/lib/commits.c \
	tests/lib/commits.h \
	tests/lib/ctl.c \
	tests/lib/ctl.h \
	tests/lib/daemon.c \
	tests/lib/daemon.h \
	tests/lib/engine.c \
	tests/lib/engine.h \
	tests/lib/fake_data.c \
	tests/lib/fake_group.c \
	tests/lib/fake_dev.c \
	tests/lib/fake_dev.h \
	tests/lib/fake_diff.c \
	tests/lib/fake_ops.c \
	tests/lib/fake_ops.h \
	tests/lib/fake_ops_priv.h \
	tests/lib/fake_ranges.c \
	tests/lib/fake_server.c \
	tests/lib/fake_server.h \
	tests/lib/fake_store.c \
	tests/lib/fake_store.h \
	tests/lib/gate_dev.c \
	tests/lib/gate_dev.h \
	tests/lib/model.c \
	tests/lib/model.h \
	tests/lib/must.c \
	tests/lib/must.h \
	tests/lib/oracle.c \
	tests/lib/oracle.h \
	tests/lib/raw.c \
	tests/lib/raw.h \
	tests/lib/relay.c \
	tests/lib/relay.h \
	tests/lib/rnd.c \
	tests/lib/rnd.h \
	tests/lib/test_store.c \
	tests/lib/test_store.h \
	tests/lib/world.c \
	tests/lib/world.h \
	tests/lib/writers.c \
	tests/lib/writers.h \
	tests/integration/model_world.h \
	tests/unit/aio_fixture.h \
	tests/unit/cache_fixture.h \
	tests/unit/check_fixture.h \
	tests/unit/cowctl_fixture.h \
	tests/unit/direct_fixture.h \
	tests/unit/kv_fixture.h \
	tests/unit/libcow_fixture.h \
	tests/unit/map_fixture.h \
	tests/unit/names_fixture.h \
	tests/unit/nbd_fixture.h \
	tests/unit/object_fixture.h \
	tests/unit/object_map_fixture.h \
	tests/unit/object_verify_fixture.h \
	tests/unit/promise_fixture.h \
	tests/unit/shut_down_fixture.h \
	tests/unit/check_planted.h \
	tests/unit/repair_fixture.h \
	tests/unit/record_fixture.h \
	tests/unit/ranges_fixture.h \
	tests/unit/session_fixture.h \
	tests/unit/store_fixture.h \
	tests/unit/conn_tls_fixture.h \
	tests/unit/tls_fixture.h \
	tests/unit/write_all_fixture.h \
	tests/unit/writeback_fixture.h \
	tests/unit/written.h \
	tests/vectors/codec.c \
	tests/vectors/codec_table.c \
	tests/vectors/codec.h \
	tests/vectors/vectors.c \
	tests/vectors/vectors.h \
	$(NULL)

# The front end on an engine in memory.
fake_engine = \
	tests/lib/fake_name.c \
	tests/lib/fake_object.c \
	tests/lib/fake_object.h \
	tests/lib/fake_object_ranges.c \
	tests/lib/fake_priv.h \
	$(NULL)
fake_client = tests/lib/frame_client.c tests/lib/frame_client.h tests/lib/peer.c tests/lib/peer.h
tests_unit_test_dispatch_SOURCES = $(fake_engine) tests/unit/test_dispatch.c
tests_unit_test_dispatch_ranges_SOURCES = $(fake_engine) tests/unit/test_dispatch_ranges.c
tests_unit_test_dispatch_group_SOURCES = $(fake_engine) tests/unit/test_dispatch_group.c
tests_unit_test_session_SOURCES = $(fake_engine) tests/unit/test_session.c
nbd_client = $(fake_client) tests/lib/nbd_peer.c tests/lib/nbd_peer.h
tests_unit_test_nbd_clones_SOURCES = $(fake_engine) $(nbd_client) tests/unit/test_nbd_clones.c
tests_unit_test_nbd_cmds_SOURCES = $(fake_engine) $(nbd_client) tests/unit/test_nbd_cmds.c
tests_unit_test_nbd_limits_SOURCES = $(fake_engine) $(nbd_client) tests/unit/test_nbd_limits.c
tests_unit_test_nbd_tls_SOURCES = $(fake_engine) $(nbd_client) tests/unit/test_nbd_tls.c
tests_unit_test_nbd_SOURCES = $(fake_engine) $(nbd_client) tests/unit/test_nbd.c
tests_unit_test_conn_SOURCES = $(fake_engine) $(fake_client) tests/unit/test_conn.c
tests_unit_test_conn_tls_SOURCES = $(fake_engine) $(fake_client) tests/unit/test_conn_tls.c
hand_client = $(nbd_client) tests/lib/tls_hand.c tests/lib/tls_hand.h
tests_unit_test_conn_tls_cut_SOURCES = $(fake_engine) $(hand_client) tests/unit/test_conn_tls_cut.c
tests_unit_test_conn_tls_keys_SOURCES = $(fake_engine) $(hand_client) tests/unit/test_conn_tls_keys.c
tests_unit_test_conn_tls_slow_SOURCES = $(fake_engine) $(hand_client) tests/unit/test_conn_tls_slow.c
tests_unit_test_conn_limits_SOURCES = $(fake_engine) $(fake_client) tests/unit/test_conn_limits.c

# It is cut off at any fold, and made to fold often.
tests_unit_test_repair_random_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=map_fold -Wl,--wrap=map_txn_has_room
# Its time passes as it says.
tests_unit_test_look_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_now_ns -Wl,--wrap=clock_process_ns \
	-Wl,--wrap=clock_thread_ns -Wl,--wrap=sched_yield
# It counts how often somebody looks.
tests_unit_test_libcow_wait_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sched_yield
# They let calls fail.
tests_unit_test_checkpoint_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=map_cut
tests_unit_test_checkpoint_stop_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=map_fold
tests_unit_test_dev_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=fdatasync -Wl,--wrap=statx -Wl,--wrap=preadv -Wl,--wrap=posix_fadvise
tests_unit_test_dev_mapped_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=statx -Wl,--wrap=msync

# They let memory run out.
tests_unit_test_commit_batch_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=map_txn_begin
tests_unit_test_commit_reap_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=map_txn_reap
tests_unit_test_kv_layer_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc
tests_unit_test_libcow_errors_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc

# They cut what goes over a socket, or see that nobody sleeps on what has come by it.
cut_wire = tests/lib/cut.c tests/lib/cut.h
cut_ldflags = $(AM_LDFLAGS) -Wl,--wrap=sendmsg -Wl,--wrap=recv -Wl,--wrap=poll
tests_unit_test_libcow_cancel_SOURCES = $(cut_wire) tests/unit/test_libcow_cancel.c
tests_unit_test_libcow_cancel_LDFLAGS = $(cut_ldflags)
tests_unit_test_libcow_cut_SOURCES = $(cut_wire) tests/unit/test_libcow_cut.c
tests_unit_test_libcow_cut_LDFLAGS = $(cut_ldflags)

tests_unit_test_libcow_tls_SOURCES = $(cut_wire) tests/unit/test_libcow_tls.c
tests_unit_test_libcow_tls_LDFLAGS = $(cut_ldflags)

# The daemon with a device that fails, waits and counts as the environment says.
check_PROGRAMS += tests/lib/cowd_fault
tests_lib_cowd_fault_SOURCES = tests/lib/cowd_fault.c tests/lib/fault_dev.c tests/lib/fault_dev.h
tests_lib_cowd_fault_LDADD = libserver.la libcommon.la

# What test_repair.sh plants faults with.
check_PROGRAMS += tests/lib/plant
tests_lib_plant_SOURCES = tests/lib/plant.c tests/lib/must.c tests/lib/must.h
tests_lib_plant_LDADD = libserver.la libcommon.la

# The whole engine in simulated time, on a simulated device: the threads of the code under test are the
# simulation's, and so are its locks, clocks and random numbers.
sim_state = \
	tests/sim/history.c \
	tests/sim/history.h \
	tests/sim/image.c \
	tests/sim/image.h \
	tests/sim/mapfile.c \
	tests/sim/mapfile.h \
	tests/sim/oom.h \
	tests/sim/sched.c \
	tests/sim/sched.h \
	tests/sim/simdev.c \
	tests/sim/simdev.h \
	tests/sim/verify.c \
	tests/sim/verify.h \
	$(NULL)
sim_judge = $(sim_state) tests/sim/oom.c
wrap = -Wl,--wrap=
sim_judge_ldflags = $(AM_LDFLAGS) $(wrap)kv_write_commit \
	$(wrap)malloc $(wrap)calloc $(wrap)realloc $(wrap)reallocarray $(wrap)aligned_alloc \
	$(wrap)strdup
tests_sim_sim_SOURCES = $(sim_judge) \
	tests/lib/must.c \
	tests/lib/must.h \
	tests/lib/rnd.c \
	tests/lib/rnd.h \
	tests/sim/cases.c \
	tests/sim/cases.h \
	tests/sim/clocks.c \
	tests/sim/ops.c \
	tests/sim/ops.h \
	tests/sim/ops_attrs.c \
	tests/sim/ops_look.c \
	tests/sim/ops_many.c \
	tests/sim/ops_names.c \
	tests/sim/ops_priv.h \
	tests/sim/run.c \
	tests/sim/run.h \
	tests/sim/sim.c \
	$(NULL)
tests_sim_sim_LDADD = libserver.la libcommon.la
sim_threads_ldflags = \
	$(wrap)pthread_create $(wrap)pthread_join \
	$(wrap)pthread_mutex_init $(wrap)pthread_mutex_destroy \
	$(wrap)pthread_mutex_lock $(wrap)pthread_mutex_unlock \
	$(wrap)pthread_cond_init $(wrap)pthread_cond_destroy $(wrap)pthread_cond_wait \
	$(wrap)pthread_cond_clockwait \
	$(wrap)pthread_cond_signal $(wrap)pthread_cond_broadcast \
	$(wrap)pthread_rwlock_init $(wrap)pthread_rwlock_destroy $(wrap)pthread_rwlock_rdlock \
	$(wrap)pthread_rwlock_wrlock $(wrap)pthread_rwlock_unlock \
	$(wrap)getrandom $(wrap)abort
tests_sim_sim_LDFLAGS = $(sim_judge_ldflags) $(sim_threads_ldflags)

# The same engine, one of whose calls fails: the C library's functions that are replaced are its own.
tests_sweep_sweep_SOURCES = $(sim_state) \
	tests/lib/must.c \
	tests/lib/must.h \
	tests/lib/rnd.c \
	tests/lib/rnd.h \
	tests/sim/clocks.c \
	tests/sweep/calls.c \
	tests/sweep/calls.h \
	tests/sweep/fault.c \
	tests/sweep/fault.h \
	tests/sweep/heap.c \
	tests/sweep/heap.h \
	tests/sweep/sweep.c \
	tests/sweep/sweep.h \
	tests/sweep/sweep_judge.c \
	tests/sweep/sweep_ops.c \
	tests/sweep/sweep_run.c \
	tests/sweep/works.c \
	$(NULL)
tests_sweep_sweep_LDADD = libserver.la libcommon.la
tests_sweep_sweep_LDFLAGS = $(AM_LDFLAGS) $(wrap)kv_write_commit $(sim_threads_ldflags)

# The daemon with a log of what its files are told to do, and what cuts the power anywhere in that.
record_trace = tests/record/trace.c tests/record/trace.h
check_PROGRAMS += tests/record/cowd_record
tests_record_cowd_record_SOURCES = $(record_trace) tests/record/cowd_record.c
tests_record_cowd_record_LDADD = libserver.la libcommon.la
tests_record_test_record_SOURCES = $(record_trace) $(sim_judge) \
	tests/record/replay.c \
	tests/record/replay.h \
	tests/record/test_record.c \
	tests/record/work.c \
	tests/record/work.h \
	$(NULL)
tests_record_test_record_LDADD = libtest.la libserver.la libcow.la libcommon.la $(CMOCKA_LIBS)
tests_record_test_record_LDFLAGS = $(sim_judge_ldflags)

# A small store with everything in it, damaged everywhere.
tests_corrupt_test_corrupt_SOURCES = \
	tests/corrupt/bytes.c \
	tests/corrupt/bytes.h \
	tests/corrupt/image.c \
	tests/corrupt/image.h \
	tests/corrupt/made.c \
	tests/corrupt/made.h \
	tests/corrupt/seen.c \
	tests/corrupt/seen.h \
	tests/corrupt/test_corrupt.c \
	$(NULL)
tests_corrupt_test_corrupt_LDADD = libtest.la libserver.la libcow.la libcommon.la $(CMOCKA_LIBS)

# Clients of a daemon on a file system that loses its power, fails or is full.
check_PROGRAMS += tests/fsstack/load
tests_fsstack_load_LDADD = libtest.la libcow.la libcommon.la
tests_fsstack_load_SOURCES = \
	tests/fsstack/load.c \
	tests/fsstack/stack.c \
	tests/fsstack/stack.h \
	$(NULL)

tests_fuzz_fuzz_nbd_SOURCES = $(fuzz_driver) tests/fuzz/fuzz_nbd.c
tests_fuzz_fuzz_nbd_conn_SOURCES = $(fuzz_driver) $(fake_engine) $(nbd_client) \
	tests/fuzz/fuzz_nbd_conn.c \
	tests/fuzz/nbd_input.c \
	tests/fuzz/nbd_input.h \
	tests/fuzz/nbd_watch.c \
	tests/fuzz/nbd_watch.h \
	$(NULL)
tests_fuzz_fuzz_record_SOURCES = $(fuzz_driver) tests/fuzz/fuzz_record.c
tests_fuzz_fuzz_wire_SOURCES = $(fuzz_driver) tests/fuzz/fuzz_wire.c
fuzz_driver = tests/fuzz/driver.c tests/fuzz/fuzz.h

# Unit tests see everything; integration tests the daemon, and the library as others see it.
LDADD = libtest.la libserver.la libctl.la libclient.la libcommon.la $(CMOCKA_LIBS)
integration_ldadd = libtest.la libcow.la libcommon.la $(CMOCKA_LIBS)
tests_integration_test_access_LDADD = $(integration_ldadd)
tests_integration_test_aio_LDADD = $(integration_ldadd)
tests_integration_test_badinput_LDADD = $(integration_ldadd)
tests_integration_test_conns_LDADD = $(integration_ldadd)
tests_integration_test_connects_LDADD = $(integration_ldadd) $(OPENSSL_LIBS)
tests_integration_test_connects_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(OPENSSL_CFLAGS)
tests_integration_test_faults_LDADD = $(integration_ldadd)
tests_integration_test_flushes_LDADD = $(integration_ldadd)
tests_integration_test_group_LDADD = $(integration_ldadd)
tests_integration_test_hazards_LDADD = $(integration_ldadd)
tests_integration_test_kill_LDADD = $(integration_ldadd)
tests_integration_test_model_LDADD = $(integration_ldadd)
tests_integration_test_model_SOURCES = \
	tests/integration/model_group.c \
	tests/integration/model_world.c \
	tests/integration/model_world.h \
	tests/integration/test_model.c \
	$(NULL)
tests_integration_test_set_LDADD = $(integration_ldadd)
tests_conformance_conform_libcow_LDADD = $(integration_ldadd)
tests_conformance_conform_libcow_SOURCES = \
	tests/conformance/conform_libcow.c \
	tests/conformance/script.c \
	tests/conformance/script.h \
	tests/conformance/verbs.c \
	tests/conformance/verbs.h \
	tests/conformance/verbs_data.c \
	tests/conformance/verbs_name.c \
	tests/conformance/verbs_priv.h \
	$(NULL)

tests_conformance_conform_libcow_aio_LDADD = $(integration_ldadd)
tests_conformance_conform_libcow_aio_CPPFLAGS = $(AM_CPPFLAGS) -DVERBS_BY_TWINS
tests_conformance_conform_libcow_aio_SOURCES = $(tests_conformance_conform_libcow_SOURCES)

# What quickstart runs; a program of its own, so that it is compiled by make check too.
check_PROGRAMS += tests/quickstart/job
tests_quickstart_job_LDADD = libcow.la
tests_quickstart_job_SOURCES = \
	tests/lib/must.c \
	tests/lib/must.h \
	tests/lib/rnd.c \
	tests/lib/rnd.h \
	tests/quickstart/job.c \
	$(NULL)

# Parts of the suite: what runs the code (for sanitizers), what runs several threads of it, the lint.
check-run: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(run_tests)'
check-threads: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(thread_tests)' \
		check_PROGRAMS='$(thread_programs) tests/lib/cowd_fault'
check-lint: all
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(lint_tests)'

# Make distcheck with the tests that can tell whether the tarball has all of it, compiled quickly.  Where
# nothing is optimized the compiler warns of what cannot be.
check-tarball: all
	$(MAKE) $(AM_MAKEFLAGS) distcheck TESTS='$(tarball_tests)' \
		DISTCHECK_CONFIGURE_FLAGS="CFLAGS='-O0 -Wno-error'"

# Not part of check: a million operations of the model, half of them with a small cache, a thousand
# kills, ten million states of the simulation, a hundred thousand recorded ones, the sweeps of all
# workloads, every byte of a store, read or not, and some hundred power cuts under each file system.
# Some hours; TEST_SEED repeats a run.
check-long: all
	TEST_OPS=500000 TEST_KILLS=1000 TEST_STATES=10000000 TEST_RECORDED=100000 TEST_STARTED=1000 \
		TEST_SWEEP=all TEST_CORRUPT=0 TEST_ROUNDS=40 TEST_MOUNTS=required TEST_TIMEOUT=14400 \
		TEST_NBD_OPS=200000 TEST_NBD_KILLS=100 TEST_NBD_NOISE=50000 TEST_FIO=512 TEST_CRASHES=40 \
		TEST_RUNS=2000000 TEST_CONNECTS=100000 \
		$(MAKE) $(AM_MAKEFLAGS) check \
		TESTS='$(fuzz_tests) $(sim_tests) $(sweep_tests) $(record_tests) $(corrupt_tests) $(fsstack_tests) \
			tests/integration/test_model tests/integration/test_kill tests/integration/test_group \
			tests/nbd/test_conns.py tests/nbd/test_protocol.py tests/nbd/test_fio.sh tests/nbd/test_fs.sh'
.PHONY: check-run check-threads check-lint check-tarball check-long

installcheck-local:
	PKG_CONFIG_PATH='$(DESTDIR)$(pkgconfigdir)' CC='$(CC)' CFLAGS='$(SANITIZE_CFLAGS)' \
		LD_LIBRARY_PATH='$(DESTDIR)$(libdir)' \
		bash $(srcdir)/tests/installcheck.sh '$(DESTDIR)$(bindir)' '$(DESTDIR)$(sbindir)'

EXTRA_DIST += \
	$(fsstack_tests) \
	$(integration_scripts) \
	$(lint_tests) \
	$(nbd_tests) \
	$(nbd_client_tests) \
	$(conformance_scripts) \
	tests/README.md \
	tests/sim/cases.txt \
	tests/conformance/cowproto.py \
	tests/conformance/script.py \
	tests/conformance/script.txt \
	tests/driver.sh \
	tests/fsstack/stack.sh \
	tests/installcheck.sh \
	tests/integration/damage.py \
	tests/integration/lib.sh \
	tests/lib/build.sh \
	tests/lib/deps.sh \
	tests/lint/layers.txt \
	tests/lint/lint.py \
	tests/nbd/commits.py \
	tests/nbd/disk.sh \
	tests/nbd/handles.py \
	tests/nbd/lib.sh \
	tests/nbd/maps.py \
	tests/nbd/raw.py \
	tests/nbd/starttls.py \
	tests/nbd/world.py \
	tests/vectors/gen.py \
	tests/vectors/protocol.txt \
	$(NULL)
