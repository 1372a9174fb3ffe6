# SPDX-License-Identifier: BSD-2-Clause
"""Starts, group commit, memory, and how the figures scale: with connections, processors, the size of an
object, what is in the store, and time."""

import contextlib
import os
import shutil
import signal
import time

import machine
from figures import Figures
from servers import Failed, end_load, run, serving


def each(race, names, what, figures, **kwargs):
    """what(server) for each server in turn, as often as is asked for; a server that fails is left out."""
    for _ in range(race.reps):
        for name in names:
            try:
                with serving(name, race, **kwargs) as server:
                    what(server)
            except Failed as err:
                race.leave_out(name, err)
    return {"figures": figures.rows}


def own_all(race, server):
    """All blocks are the clone's own from then on, and in memory."""
    race.harness.load(server.uri, f"-o write -S -b 1M -q 8 -n {race.size_mib} -t 60")


# ---- starts ------------------------------------------------------------------------------------


def killed_start(race, figures, name):
    """Beside writes the server dies; the next start has what is in the journal to apply."""
    with serving(name, race) as server:
        load = race.harness.start_load(server.uri, "-o write -f -q 4 -c 4 -t 600")
        time.sleep(2 * race.secs)
        os.kill(server.pid, signal.SIGKILL)
        load.communicate()
    with serving(name, race) as server:
        figures.add("until it serves, after SIGKILL beside writes", "ms", name,
                    int(server.call("ready")) / 1000, -1)


def part_startup(race):
    figures = Figures()
    names = [n for n in race.everyone() if n in ("cowd", *race.peers())]
    with serving("cowd", race):
        pass  # its store and object are made here, where there are none
    for _ in range(race.reps):
        for name in names:
            since = time.monotonic()
            with serving(name, race) as server:
                figures.add("a fresh clone is made and served (the harness' start)", "ms", name,
                            (time.monotonic() - since) * 1e3, -1)
                if server.ours:
                    figures.add("until it serves, after a clean stop", "ms", name,
                                int(server.call("ready")) / 1000, -1)
        killed_start(race, figures, "cowd")
    return {"figures": figures.rows}


# ---- group commit ------------------------------------------------------------------------------


def part_group(race):
    """A write of 4 KiB and a flush, by more and more connections; flushes of the disk are of everybody."""
    figures = Figures()

    def measure(server):
        own_all(race, server)
        for n in race.connections:
            if not server.takes(n):
                continue
            before = machine.disk_counts(race.disk)[1]
            got = race.harness.load(server.uri, f"-o write -f -c {n} -t {race.secs}")
            flushes = machine.disk_counts(race.disk)[1] - before
            figures.add(f"sync4k {n} connections", "IOPS", server.name, got["iops"])
            figures.add(f"sync4k {n} connections, p99", "us", server.name, got["p99_us"], -1)
            figures.add(f"sync4k {n} connections, flushes of the disk for each", "x", server.name,
                        flushes / max(got["ops"], 1), -1)

    return each(race, race.everyone(), measure, figures)


# ---- memory ------------------------------------------------------------------------------------


def part_memory(race):
    """The most that the server had resident, with 100 connections that read and write; then what it has
    where the map changes all over.  What it reads of the map's file is in the first and not in the second."""
    figures, unfilled = Figures(), set()

    def measure_wide(server, mib):
        """What is the process' own, beside changes of the map all over an object of 16 GiB."""
        server.call("ctl", "create", "wide", "16G")
        uri = server.object("wide")
        for seed in range(4):
            race.harness.load(uri, f"-o write -q 32 -c 4 -n {400 * race.size_mib} -s {seed} -t 60")
        own = machine.of_status(server.pid, "RssAnon")
        figures.add(f"own above a cache of {mib} MiB, random writes over 16 GiB", "MiB", server.name,
                    own - mib, -1)
        server.call("ctl", "rm", "-y", "--wait", "wide")

    def measure(server, what):
        n = 100 if server.takes(100) else 60
        # the object and the clone's own blocks: twice its size fills a cache
        race.harness.load(server.uri, f"-S -b 1M -q 8 -n {race.size_mib} -t 60")
        own_all(race, server)
        for args in ("-q 32", "-o write -q 32", "-o write -S -b 1M -q 4", "-S -b 1M -q 4"):
            race.harness.load(server.uri, f"{args} -c {n} -t {2 * race.secs}")
        peak = machine.of_status(server.pid, "VmHWM")
        figures.add(f"most resident, {what}", "MiB", server.name, peak, -1)
        return peak

    def of_cowd(mib):
        def with_cache(server):
            peak = measure(server, f"a cache of {mib} MiB")
            if peak >= mib:
                figures.add(f"of that above a cache of {mib} MiB", "MiB", server.name, peak - mib, -1)
            else:
                unfilled.add(f"A cache of {mib} MiB was not filled by the 100: what they take above it is not known.")
            measure_wide(server, mib)
        return with_cache

    for mib in (256, 2048):
        each(race, [n for n in race.ours() if n != "cowd-sync"], of_cowd(mib), figures,
             env={"COWD_CACHE": f"{mib}M"})
    each(race, race.peers(), lambda server: measure(server, "no cache of its own"), figures)
    return {"figures": figures.rows,
            "bounds": [(word, "at most", 64) for word in ("of that above", "own above")],
            "notes": ["100 connections; qemu's servers have 60, being started for 64.", *sorted(unfilled)]}


# ---- scaling -----------------------------------------------------------------------------------


def part_connections(race):
    figures = Figures()

    def measure(server):
        own_all(race, server)
        for n in race.connections:
            if server.takes(n):
                for title, args in (("read4k q4", "-q 4"), ("write4k q4", "-o write -q 4")):
                    got = race.harness.load(server.uri, f"{args} -c {n} -t {race.secs}")
                    figures.add(f"{title}, {n} connections", "IOPS", server.name, got["iops"])

    return each(race, race.everyone(), measure, figures)


THREE = (("read4k q32 warm", "-q 32"), ("steady write4k q32", "-o write -q 32"),
         ("steady sync4k 16 conns", "-o write -f -c 16"))


def part_cores(race):
    """The server has the first processors alone; who loads it has all."""
    figures = Figures()
    for n in sorted({1, os.cpu_count()}):
        def measure(server):
            own_all(race, server)
            for title, args in THREE:
                got = race.harness.load(server.uri, f"{args} -t {race.secs}")
                figures.add(f"{title}, server on {n} processors", "IOPS", server.name, got["iops"])

        each(race, race.everyone(), measure, figures, prefix=("taskset", "-c", f"0-{n - 1}"))
    return {"figures": figures.rows}


def part_size(race):
    """As many blocks, written at random, in sparse objects that are larger and larger."""
    figures = Figures()
    n = 64 * race.size_mib

    def measure(server):
        for gib in race.sizes:
            server.call("ctl", "create", "sparse", f"{gib}G")
            uri = server.object("sparse")
            for title, args in (("write4k q32 +flush", f"-o write -n {n}"), ("read4k q32", f"-n {n}"),
                                ("write4k q32 +flush, once more", f"-o write -n {n}")):
                got = race.harness.load(uri, f"{args} -q 32 -t 60")
                figures.add(f"{title}, {gib} GiB", "IOPS", server.name,
                            got["ops"] / (got["secs"] + got["flush_s"]))
            server.call("ctl", "rm", "-y", "--wait", "sparse")

    done = each(race, [n for n in race.ours() if n != "cowd-sync"], measure, figures)
    return {**done, "notes": [f"{n:,} blocks of a sparse object; those that are read and written once "
                              "more are the same."]}


def fill_mib(race):
    """The size of the object that is cloned there: little of the store."""
    return min(256, race.size_mib)


@contextlib.contextmanager
def other_store(race, size):
    """The environment of a store of its own, which is removed."""
    path = race.scratch / "store"
    env = {"PERF_DIR": str(path), "COWD_STORE_SIZE": size, "SIZE_MIB": str(fill_mib(race))}
    try:
        yield env
    finally:
        shutil.rmtree(path, ignore_errors=True)


def used_percent(server):
    total, free = map(int, server.call("ctl", "df", "-H", "-o", "total,free").split())
    return 100 * (total - free) / total, total


def fill_to(race, server, percent):
    """Ballast, written in sequence, until so much of the store is in use."""
    used, total = used_percent(server)
    if used > percent + 1:
        raise Failed(f"{used:.0f} % of the store are in use before it is to be {percent} % full")
    count = max(1, int(total * (percent - used) / 100) // (64 << 10))
    name = f"ballast-{percent}"
    server.call("ctl", "create", name, str(total))
    race.harness.load(server.object(name), f"-S -o write -b 64k -q 16 -n {count} -t 600")


def part_fill(race):
    figures = Figures()
    for _ in range(race.reps):
        with other_store(race, race.fill_size) as env, serving("cowd-own", race, env=env) as server:
            for percent in race.fills:
                try:
                    fill_to(race, server, percent)
                except Failed as err:
                    race.leave_out(f"{percent} %", err)
                    continue
                server.call("ctl", "clone", f"base-{fill_mib(race)}", f"clone-{percent}")
                uri = server.object(f"clone-{percent}")
                for title, args in (("cow4k q32 +flush", "-o write -q 32 -n 12800 -t 60"),
                                    ("steady write4k q32 +flush", "-o write -q 32 -n 12800 -t 60"),
                                    ("sync4k q1", f"-o write -f -t {race.secs}"),
                                    ("read4k q32", f"-q 32 -t {race.secs}")):
                    got = race.harness.load(uri, args)
                    figures.add(f"{title}, {percent} % full", "IOPS", server.name,
                                got["ops"] / (got["secs"] + got["flush_s"]))
                server.call("ctl", "rm", "-y", "--wait", f"clone-{percent}")
    return {"figures": figures.rows, "notes": [f"A store of {race.fill_size}, clones of {fill_mib(race)} MiB, 12,800 writes each."]}


# ---- over time ---------------------------------------------------------------------------------


# how many clones there are, and after how many slices of the load each is like the last
SOAK_CLONES, SOAK_BEGINS = 4, 6


def soak_slice(race, server, n, secs):
    """Readers, writers who flush now and then, and clones that come and go, side by side."""
    loads = {
        "read4k q8": race.harness.start_load(server.uri, f"-q 8 -t {secs} -s {n}"),
        "write4k q8 +flush": race.harness.start_load(server.uri, f"-o write -q 8 -t {secs} -s {n}"),
        "sync4k q1": race.harness.start_load(server.uri, f"-o write -f -t {secs} -s {n + 500000}"),
    }
    server.call("ctl", "clone", "clone", f"soak-{n}")
    if n >= SOAK_CLONES:
        server.call("ctl", "rm", "-y", f"soak-{n - SOAK_CLONES}")
    return {title: end_load(load)["iops"] for title, load in loads.items()}


def part_soak(race):
    """Mixed load for minutes: ten stretches of it, each a column, and the last against the first.

    Until there are all clones, and one of them has been taken apart, less is to be done: that is no stretch.
    """
    figures = Figures()
    secs = min(10, race.minutes * 6)
    slices = max(1, round(race.minutes * 6 / secs))
    with serving("cowd", race) as server:
        own_all(race, server)
        for n in range(SOAK_BEGINS):
            soak_slice(race, server, n, secs)
        n = SOAK_BEGINS
        for stretch in ("first", *(f"stretch {i}" for i in range(2, 10)), "last"):
            for _ in range(slices):
                for title, iops in soak_slice(race, server, n, secs).items():
                    figures.add(title, "IOPS", stretch, iops)
                n += 1
            figures.add("resident", "MiB", stretch, machine.of_status(server.pid, "VmRSS"), -1)
        for i in range(n - SOAK_CLONES, n):
            server.call("ctl", "rm", "-y", f"soak-{i}")
    for title in list(figures.rows):
        # the cache is full by the middle of it
        since = "stretch 5" if title == "resident" else "first"
        more = figures.median(title, "last") / figures.median(title, since)
        figures.add(f"last to first: {title}", "x", "last", more)
    return {"figures": figures.rows, "notes": [f"{race.minutes:g} minutes in all, behind {SOAK_BEGINS} slices of {secs:g} s that are not counted."],
            "bounds": [(f"last to first: {word}", "at least", 0.9) for word in ("read", "write", "sync")]
            + [("last to first: resident", "at most", 1.1)]}


# ---- the engine alone --------------------------------------------------------------------------

ENGINE = ("clone", "generations", "metadata", "cow", "paths", "recovery", "share")


def part_engine(race):
    """The benchmarks without sockets, with their small sizes: bounds kept and missed."""
    text = []
    for name in ENGINE:
        try:
            out = run(race.build / "bench" / name, timeout=1200, good=(0, 1))
        except Failed as err:
            race.leave_out(f"bench/{name}", err)
            continue
        text.append(f"bench/{name}:")
        text.append("")
        text.extend("    " + line for line in out.splitlines() if line.startswith(("pass", "MISS")))
        text.append("")
    return {"text": text}
