# SPDX-License-Identifier: BSD-2-Clause
"""Clones and removals over the wire, clones of clones, and many clones that are used at once."""

import concurrent.futures
import os
import pathlib
import shutil
import signal
import subprocess
import time

import machine
from figures import Figures
from servers import Failed, end_load, run, serving

MIB = 1 << 20


def write_all(server, race, name, size, args):
    """An object of this size, written as said."""
    server.call("ctl", "create", name, str(size))
    race.harness.load(server.object(name), f"-o write -t 3000 {args}", timeout=3600)


def clone_objects(race):
    """Name -> size, how it is written, whether it is small enough to be looked at with a writer."""
    scattered = race.extents
    return {
        "64 MiB compact": (64 * MIB, "-S -b 1M -q 8 -n 64"),
        "1 GiB compact": (race.size_mib * MIB, f"-S -b 1M -q 8 -n {race.size_mib}"),
        "64 GiB sparse, 1,000 extents": (64 << 30, "-b 64k -q 8 -n 1000"),
        "1 TiB sparse, 1,000 extents": (1 << 40, "-b 64k -q 8 -n 1000"),
        # twice as many places as writes: few neighbours
        f"{scattered} extents": (scattered * 8192, f"-b 4k -a 8k -q 32 -n {scattered}"),
    }


def measure_clones(race, server, figures, title, name):
    """What a clone and a removal of it take, and what a writer beside them sees."""
    uri = server.object(name)
    for op in ("clone", "remove"):
        got = race.harness.load(uri, f"-m sync -o {op} -n {race.clones} -t 60")
        figures.add(f"{op} {title}: p50", "ms", server.name, got["p50_us"] / 1000, -1)
        figures.add(f"p99 of {op} {title}", "ms", server.name, got["p99_us"] / 1000, -1)
    alone = race.harness.load(uri, "-o write -f -t 2")
    writer = race.harness.start_load(uri, "-o write -f -t 2")
    got = race.harness.load(uri, "-m sync -o clone -n 100000 -t 1.5")
    beside = end_load(writer)
    figures.add(f"clone {title} beside a writer: p50", "ms", server.name, got["p50_us"] / 1000, -1)
    figures.add(f"writes and fsyncs beside that to those alone, {title}: p99", "x", server.name,
                beside["p99_us"] / alone["p99_us"], -1)


def part_clone(race):
    """By the own protocol, one call at a time."""
    figures = Figures()
    with serving("cowd-own", race) as server:
        for i, (title, (size, args)) in enumerate(clone_objects(race).items()):
            name = f"clones-{i}"
            write_all(server, race, name, size, args)
            for _ in range(race.reps):
                measure_clones(race, server, figures, title, name)
            server.call("ctl", "rm", "-y", "--wait", name)
    text = peer_clones(race, figures) if race.peers() else []
    return {"figures": figures.rows, "text": text, "bounds": CLONE_BOUNDS,
            "notes": ["A clone is durable when it is answered. The writer writes 4 KiB and fsyncs."]}


CLONE_BOUNDS = [
    ("clone ", "at most", 1), ("remove ", "at most", 1), ("writes and fsyncs beside", "at most", 2),
]


def peer_clones(race, figures):
    """The harness' own table of the file-level peers, and how much longer an overlay takes."""
    table = run("python3", race.harness.view / "clones.py", "clone", timeout=3600).splitlines()
    lines = ["What the peers take (clones.py of the harness; ms):", "", *table, ""]
    for row in (line.split("|") for line in table):
        ours = f"clone {row[2].strip()} compact: p50" if len(row) > 5 else ""
        if row[1:2] and row[1].strip().startswith("qcow2 overlay") and ours in figures.rows:
            times = float(row[5].split()[0]) / figures.median(ours, "cowd-own")
            lines.append(f"- {'pass' if times >= 8 else 'MISS'}: a qcow2 overlay of {row[2].strip()} takes "
                         f"{times:.3g} times as long, at least 8")
    return lines


def part_delete(race):
    """What a removal does to who else writes: a large object is taken apart meanwhile."""
    figures = Figures()
    with serving("cowd-own", race) as server:
        rate = "-o write -q 32 -t 3"
        race.harness.load(server.uri, f"-S -o write -b 1M -q 8 -n {race.size_mib} -t 60")
        for _ in range(race.reps):
            write_all(server, race, "doomed", race.extents * 8192,
                      f"-b 4k -a 8k -q 32 -n {race.extents}")
            alone = race.harness.load(server.uri, rate)
            writer = race.harness.start_load(server.uri, rate)
            since = time.monotonic()
            server.call("ctl", "rm", "-y", "doomed")
            figures.add("cowctl rm, the command", "ms", "cowd-own",
                        (time.monotonic() - since) * 1e3, -1)
            beside = end_load(writer)
            since = time.monotonic()
            figures.add("write4k q32 while it is taken apart, to that alone", "x", "cowd-own",
                        beside["iops"] / alone["iops"])
            while server.call("ctl", "df", "-H", "-o", "reaping") != "0":
                time.sleep(.05)
            figures.add("until all space is free, behind that", "s", "cowd-own",
                        time.monotonic() - since, -1)
    return {"figures": figures.rows, "notes": [f"An object of {race.extents} extents is removed."],
            "bounds": [("write4k q32 while", "at least", 0.8)]}


# ---- generations -------------------------------------------------------------------------------


def grow(race, server, source, first, last):
    """Clones of clones, each with 16 random writes of 64 KiB of its own; the last one's name."""
    for n in range(first, last + 1):
        server.call("ctl", "clone", source, f"generation-{n}")
        source = f"generation-{n}"
        race.harness.load(server.call("uri", source), f"-o write -b 64k -n 16 -s {n}")
    return source


def read_generation(race, server, figures, name, depth):
    uri = server.object(name)
    machine.drop_caches()
    race.harness.load(uri, f"-S -b 1M -q 8 -n {race.size_mib} -t 60")
    for q in (1, 32):
        got = race.harness.load(uri, f"-q {q} -t {race.secs}")
        figures.add(f"read4k q{q} warm, {depth} generations", "IOPS", server.name, got["iops"])


def part_generations(race):
    """Random reads of a clone of clones of clones, by NBD; the peers' by the harness."""
    figures = Figures()
    with serving("cowd", race) as server:
        made, done = {}, 0
        for depth in race.depths:
            source = made.get(done, f"base-{race.size_mib}")
            made[depth], done = grow(race, server, source, done + 1, depth), depth
        for _ in range(race.reps):
            for depth, name in made.items():
                read_generation(race, server, figures, name, depth)
        for n in range(done, 0, -1):
            server.call("ctl", "rm", "-y", f"generation-{n}")
    for depth in race.depths[1:]:
        for q in (1, 32):
            title = f"read4k q{q} warm, {depth} generations"
            figures.add(f"to that of {race.depths[0]}: {title}", "x", "cowd",
                        figures.median(title, "cowd") / figures.median(
                            f"read4k q{q} warm, {race.depths[0]} generations", "cowd"))
    text = []
    if race.peers():
        text = ["What the peers read (clones.py of the harness):", "",
                *run("python3", race.harness.view / "clones.py", "chain", timeout=3600).splitlines()]
    return {"figures": figures.rows, "text": text, "bounds": [("to that of", "at least", 0.9)]}


# ---- many clones at once -----------------------------------------------------------------------

BOOT_READ = "-S -b 128k -q 4 -t 600 -n 2048"  # 256 MiB, the same of each
BOOT_WRITE = "-o write -b 16k -q 4 -t 600 -n 1024"  # 16 MiB of its own, and a flush


def wait_for(what, is_there):
    end = time.monotonic() + 60
    while not is_there():
        if time.monotonic() > end:
            raise Failed(f"{what}: not there")
        time.sleep(.005)


class Boots:
    """A way to serve many clones; pids are the servers."""

    def __init__(self, race, folder):
        self.race, self.folder = race, folder
        self.base = pathlib.Path(os.environ.get("PERF_DIR", "/var/tmp/cowd-bench"))
        self.pids, self.images = [], []

    def begin(self):
        pass

    def boot(self, i):
        """A clone that is made and served; its URI."""
        socket = self.folder / f"socket-{i}"
        image = self.image(i)
        self.images.append(image)
        self.serve(i, image, socket)
        uri = f"nbd+unix:///?socket={socket}"
        wait_for(f"a server at {socket}", lambda: machine.said("nbdinfo", "--size", uri))
        return uri

    def end(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
        for pid in self.pids:
            while machine.of_status(pid, "VmRSS"):
                time.sleep(.02)
        for image in self.images:
            pathlib.Path(image).unlink(missing_ok=True)


class OverlayBoots(Boots):
    def image(self, i):
        image = self.folder / f"image-{i}"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.base / "base.raw", "-F", "raw",
            image)
        return image

    def serve(self, _i, image, socket):
        server = subprocess.Popen(["qemu-nbd", "-t", "-e", "8", "-k", socket, "-f", "qcow2",
                                   "--cache=writeback", image])
        self.pids.append(server.pid)


class ReflinkBoots(Boots):
    def image(self, i):
        image = self.base / "xfs" / f"boot-{i}"
        run("cp", "--reflink=always", self.base / "xfs" / "base.raw", image)
        return image

    def serve(self, i, image, socket):
        pid = self.folder / f"pid-{i}"
        run("nbdkit", "-P", pid, "-U", socket, "file", image)
        # the command ends before the file is there
        wait_for(pid, lambda: pid.exists() and pid.read_text().endswith("\n"))
        self.pids.append(int(pid.read_text()))


class CowdBoots(Boots):
    """One server of all clones, which are exports of their names."""

    def __init__(self, race, folder, server):
        super().__init__(race, folder)
        self.server, self.pids = server, [server.pid]

    def begin(self):
        count = str(self.race.boots)
        self.server.call("ctl", "clone", "-N", count, f"base-{self.race.size_mib}", "boot-%d")
        self.uri = self.server.object("boot-NUMBER")

    def boot(self, i):
        return self.uri.replace("NUMBER", str(i))

    def end(self):
        for i in range(self.race.boots):
            self.server.call("ctl", "rm", "-y", f"boot-{i}")


def race_boots(race, boots, figures, name):
    """All of them at once, from the clone to the flush of what each wrote."""
    def one(i):
        uri = boots.boot(i)
        race.harness.load(uri, BOOT_READ, timeout=1800)
        race.harness.load(uri, f"{BOOT_WRITE} -s {i + 1}", timeout=1800)

    machine.drop_caches()
    cached, since = machine.cached_mib(), time.monotonic()
    boots.begin()
    with concurrent.futures.ThreadPoolExecutor(race.boots) as pool:
        list(pool.map(one, range(race.boots)))
    title = f"{race.boots} boots at once"
    figures.add(title, "s", name, time.monotonic() - since, -1)
    figures.add(f"{title}: memory of the servers", "MiB", name, machine.pss_mib(boots.pids), -1)
    figures.add(f"{title}: page cache grown by", "MiB", name, machine.cached_mib() - cached, -1)


def boots_of(race, name, figures):
    folder = race.scratch / f"boots-{name}"
    folder.mkdir()
    try:
        if name in race.ours():
            with serving(name, race) as server:
                boots = CowdBoots(race, folder, server)
                try:
                    race_boots(race, boots, figures, name)
                finally:
                    boots.end()
            return
        boots = {"qcow2-wb": OverlayBoots, "xfs-nbdkit": ReflinkBoots}[name](race, folder)
        try:
            race_boots(race, boots, figures, name)
        finally:
            boots.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def part_boots(race):
    figures = Figures()
    names = [n for n in race.ours() if n != "cowd-sync"]
    names += [n for n in ("qcow2-wb", "xfs-nbdkit") if n in race.peers()]
    for _ in range(race.reps):
        for name in names:
            boots_of(race, name, figures)
    return {"figures": figures.rows, "wanted": {f"{race.boots} boots at once": (3, None)},
            "notes": ["Each clone is made, served, 256 MiB that are the same of all read in pieces of 128 "
                      "KiB, and 16 MiB at random written in pieces of 16 KiB and flushed."]}
