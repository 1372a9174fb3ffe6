# SPDX-License-Identifier: BSD-2-Clause
"""Clones and removals over the wire, clones of clones, and many clones that are used at once."""

import concurrent.futures
import os
import pathlib
import shutil
import signal
import statistics
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
    """What it is called -> size, how it is written."""
    scattered = race.extents
    return {
        "64 MiB compact": (64 * MIB, "-S -b 1M -q 8 -n 64"),
        f"{race.size_mib / 1024:g} GiB compact":
            (race.size_mib * MIB, f"-S -b 1M -q 8 -n {race.size_mib}"),
        "64 GiB sparse, 1,000 extents": (64 << 30, "-b 64k -q 8 -n 1000"),
        "1 TiB sparse, 1,000 extents": (1 << 40, "-b 64k -q 8 -n 1000"),
        # twice as many places as writes: few neighbours
        f"{scattered:,} extents": (scattered * 8192, f"-b 4k -a 8k -q 32 -n {scattered}"),
    }


def measure_clones(race, server, figures, title, name):
    """What a clone and a removal of it take, and what a writer beside them sees."""
    uri = server.object(name)
    settle_names(server)
    for op in ("clone", "remove"):
        got = race.harness.load(uri, f"-m sync -o {op} -n {race.clones} -t 60")
        figures.add(f"{op} {title}: p50", "ms", server.name, got["p50_us"] / 1000, -1)
        figures.add(f"p99 of {op} {title}", "ms", server.name, got["p99_us"] / 1000, -1)
    writes = f"-o write -f -t {race.secs * 4 / 3:.3f}"
    alone = race.harness.load(uri, writes)
    writer = race.harness.start_load(uri, writes)
    got = race.harness.load(uri, f"-m sync -o clone -n 100000 -t {race.secs}")
    beside = end_load(writer)  # the clones were removed meanwhile
    figures.add(f"clone {title} beside a writer: p50", "ms", server.name, got["p50_us"] / 1000, -1)
    figures.add(f"writes and fsyncs beside clones and removals to those alone, {title}: p99", "x", server.name,
                beside["p99_us"] / alone["p99_us"], -1)


CLONE_BOUNDS = [
    ("clone ", "at most", 1), ("remove ", "at most", 1), ("writes and fsyncs beside", "at most", 2),
]
OVERLAY_TIMES = 8


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
    return {"figures": figures.rows, "text": peer_clones(race, figures), "bounds": CLONE_BOUNDS,
            "notes": ["A clone is durable when it is answered. The writer writes 4 KiB and fsyncs."]}


def harness_table(race, what):
    """Lines of the harness' own table of the file-level peers; none where it has failed."""
    try:
        return run("python3", race.harness.view / "clones.py", what, timeout=3600).splitlines()
    except Failed as err:
        race.leave_out("clones.py", err)
        return []


def peer_clones(race, figures):
    """What the file-level peers take, and how much longer an overlay takes."""
    if not race.peers():
        return []
    try:
        table = harness_table(race, "clone")
    finally:
        remove_peers_objects()
    if not table:
        return []
    return ["What the peers take (clones.py of the harness; ms):", "", *table, "",
            *overlay_verdicts(race, figures, table)]


def remove_peers_objects():
    """What clones.py leaves behind would fill their file systems; those of other parts are to fit."""
    for fs in (".", "xfs", "btrfs"):
        shutil.rmtree(pathlib.Path(os.environ["PERF_DIR"]) / fs / "o", ignore_errors=True)
    os.sync()


def overlay_verdicts(race, figures, table):
    """Each clone at rest against the fastest overlay: how large the object is makes no difference to those."""
    cells = [[cell.strip() for cell in line.split("|")] for line in table]
    overlays = [float(row[5].split()[0]) for row in cells
                if len(row) > 8 and row[1].startswith("qcow2 overlay")]
    if not overlays:
        race.leave_out("clones.py", "its table has no durable qcow2 overlay")
        return []
    lines = [f"The fastest overlay is durable after {min(overlays):.3g} ms, the start of qemu-img included.", ""]
    for name in figures.rows:
        if name.startswith("clone ") and "beside" not in name:
            times = min(overlays) / figures.median(name, "cowd-own")
            lines.append(f"- {'yes' if times >= OVERLAY_TIMES else 'MISS'}: an overlay takes {times:.3g} times "
                         f"as long as {name}, at least {OVERLAY_TIMES}")
    return lines


# ---- a large removal ---------------------------------------------------------------------------

SLICES = 12  # of a writer, at most, while an object is taken apart


def reaping(server):
    return server.call("ctl", "df", "-H", "-o", "reaping") != "0"


def write_beside(race, server, args):
    """The writer, again and again while there is something to take apart: what it reached meanwhile."""
    found = []
    while len(found) < SLICES:
        got = race.harness.load(server.uri, args)["iops"]
        if found and not reaping(server):
            break
        found.append(got)
    return found


def settle_names(server):
    """A name operation is behind all that was written before it; so this one, and not what is measured."""
    server.call("ctl", "create", "settled", "1M")
    server.call("ctl", "rm", "-y", "settled")


def remove_beside(race, server, figures, args):
    write_all(server, race, "doomed", race.extents * 8192, f"-b 4k -a 8k -q 32 -n {race.extents}")
    alone = [race.harness.load(server.uri, args)["iops"] for _ in range(4)]
    settle_names(server)
    since = time.monotonic()
    figures.add("remove, the call", "ms", "cowd-own",
                float(run(race.build / "bench" / "remove", server.call("uri", "doomed"))) / 1000, -1)
    beside = write_beside(race, server, args)
    figures.add("write4k q32 alone", "IOPS", "cowd-own", statistics.median(alone))
    figures.add("write4k q32 while it is taken apart", "IOPS", "cowd-own", statistics.median(beside))
    figures.add("write4k q32 meanwhile, to that alone", "x", "cowd-own",
                statistics.median(beside) / statistics.median(alone))
    while reaping(server):
        time.sleep(.01)
    figures.add("until all space is free", "s", "cowd-own", time.monotonic() - since, -1)


def part_delete(race):
    """What a removal does to who else writes: a large object is taken apart meanwhile."""
    figures = Figures()
    with serving("cowd-own", race) as server:
        race.harness.load(server.uri, f"-S -o write -b 1M -q 8 -n {race.size_mib} -t 60")
        for _ in range(race.reps):
            remove_beside(race, server, figures, f"-o write -q 32 -t {min(race.secs, .25)}")
    return {"figures": figures.rows,
            "notes": [f"An object of {race.extents:,} extents is removed; nothing else has its blocks."],
            "bounds": [("remove, the call", "at most", 1), ("write4k q32 meanwhile", "at least", 0.8)]}


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
    race.harness.load(uri, f"-S -b 1M -q 8 -n {race.size_mib} -t 60")
    for q in (1, 32):
        before = machine.bytes_read(server.pid)
        got = race.harness.load(uri, f"-q {q} -t {race.secs}")
        figures.add(f"read4k q{q} warm, {depth} generations", "IOPS", server.name, got["iops"])
        figures.add(f"KiB from the device for each, q{q}, {depth} generations", "KiB", server.name,
                    (machine.bytes_read(server.pid) - before) / 1024 / got["ops"], -1)


def compare_generations(race, figures):
    first = race.depths[0]
    for depth in race.depths[1:]:
        for q in (1, 32):
            title = f"read4k q{q} warm, {depth} generations"
            figures.add(f"to that of {first}: {title}", "x", "cowd", figures.median(title, "cowd")
                        / figures.median(f"read4k q{q} warm, {first} generations", "cowd"))


def part_generations(race):
    """Random reads of a clone of clones of clones, by NBD; the peers' by the harness."""
    figures = Figures()
    with serving("cowd", race, env={"COWD_CACHE": "4G"}) as server:
        made, done, source = {}, 0, f"base-{race.size_mib}"
        for depth in race.depths:
            source = grow(race, server, source, done + 1, depth)
            made[depth], done = source, depth
        for _ in range(race.reps):
            for depth, name in made.items():
                read_generation(race, server, figures, name, depth)
        if done:
            server.call("ctl", "rm", "-y", "--wait", *(f"generation-{n}" for n in range(done, 0, -1)))
    compare_generations(race, figures)
    return {"figures": figures.rows, "text": peer_chains(race), "bounds": [("to that of", "at least", 0.9)],
            "notes": ["With a cache of 4 GiB: these generations and those between have 2 GiB of blocks, and all are to be "
                      "warm, as in the page cache of the peers."]}


def peer_chains(race):
    table = harness_table(race, "chain") if race.peers() else []
    if not table:
        return []
    return ["What the peers read (clones.py of the harness):", "", *table]


# ---- many clones at once -----------------------------------------------------------------------

BOOT_MIB, SPARE_MIB = 256, 64
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
    OPTIONS, SERVER = (), ("--cache=writeback",)

    def image(self, i):
        image = self.folder / f"image-{i}"
        run("qemu-img", "create", "-q", "-f", "qcow2", *self.OPTIONS, "-b", self.base / "base.raw",
            "-F", "raw", image)
        return image

    def serve(self, _i, image, socket):
        self.start("qemu-nbd", "-t", "-e", "8", "-k", socket, "-f", "qcow2", *self.SERVER, image)

    def start(self, *command):
        self.pids.append(subprocess.Popen([str(word) for word in command]).pid)


class DirectBoots(OverlayBoots):
    SERVER = ("--cache=none", "--aio=io_uring")


class SubclusterBoots(OverlayBoots):
    OPTIONS = ("-o", "extended_l2=on,cluster_size=128k")

    def serve(self, _i, image, socket):
        self.start("qemu-storage-daemon", "--blockdev",
                   f"driver=file,node-name=f,filename={image},cache.direct=on,aio=io_uring",
                   "--blockdev", "driver=qcow2,node-name=d,file=f",
                   "--nbd-server", f"addr.type=unix,addr.path={socket},max-connections=8",
                   "--export", "type=nbd,id=e,node-name=d,name=,writable=on")


class ReflinkBoots(Boots):
    FILE_SYSTEM = "xfs"

    def image(self, i):
        image = self.base / self.FILE_SYSTEM / f"boot-{i}"
        run("cp", "--reflink=always", self.base / self.FILE_SYSTEM / "base.raw", image)
        return image

    def serve(self, i, image, socket):
        pid = self.folder / f"pid-{i}"
        run("nbdkit", "-P", pid, "-U", socket, "file", image)
        # the command ends before the file is there
        wait_for(pid, lambda: pid.exists() and pid.read_text().endswith("\n"))
        self.pids.append(int(pid.read_text()))


class BtrfsBoots(ReflinkBoots):
    FILE_SYSTEM = "btrfs"


PEER_BOOTS = {"qcow2-wb": OverlayBoots, "qcow2-direct": DirectBoots, "qsd-subcluster": SubclusterBoots,
              "xfs-nbdkit": ReflinkBoots, "btrfs-nbdkit": BtrfsBoots}


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
        self.server.call("ctl", "rm", "-y", *(f"boot-{i}" for i in range(self.race.boots)))


def at_once(race, what):
    with concurrent.futures.ThreadPoolExecutor(race.boots) as pool:
        list(pool.map(what, range(race.boots)))


def race_boots(race, boots, figures, name):
    """All of them at once, from the clone to the flush of what each wrote."""
    def one(i):
        uri = boots.boot(i)
        race.harness.load(uri, BOOT_READ, timeout=1800)
        race.harness.load(uri, f"{BOOT_WRITE} -s {i + 1}", timeout=1800)

    machine.drop_caches()
    cached, since = machine.cached_mib(), time.monotonic()
    boots.begin()
    at_once(race, one)
    title = f"{race.boots} boots at once"
    figures.add(title, "s", name, time.monotonic() - since, -1)
    figures.add(f"{title}: memory of the servers", "MiB", name, machine.pss_mib(boots.pids), -1)
    figures.add(f"{title}: page cache grown by", "MiB", name, machine.cached_mib() - cached, -1)


def race_readers(race, boots, figures, name):
    """What all of them have in memory who read the same, and nothing else."""
    boots.begin()
    before = machine.pss_mib(boots.pids)
    at_once(race, lambda i: race.harness.load(boots.boot(i), BOOT_READ, timeout=1800))
    figures.add(f"memory grown by, {race.boots} that read the same", "MiB", name,
                machine.pss_mib(boots.pids) - before, -1)


def boots_of_ours(race, name, figures, what):
    with serving(name, race) as server:
        boots = CowdBoots(race, None, server)
        try:
            what(race, boots, figures, name)
        finally:
            boots.end()


def boots_of_peer(race, name, figures):
    folder = race.scratch / f"boots-{name}"
    folder.mkdir()
    boots = PEER_BOOTS[name](race, folder)
    try:
        race_boots(race, boots, figures, name)
    finally:
        boots.end()
        shutil.rmtree(folder, ignore_errors=True)


def boots_of(race, name, figures, again):
    try:
        if name not in race.ours():
            boots_of_peer(race, name, figures)
            return
        boots_of_ours(race, name, figures, race_boots)
        if not again:
            boots_of_ours(race, name, figures, race_readers)
    except Failed as err:
        race.leave_out(name, err)


def part_boots(race):
    figures = Figures()
    names = [n for n in race.ours() if n != "cowd-sync"] + [n for n in race.peers() if n in PEER_BOOTS]
    for rep in range(race.reps):
        for name in names:
            boots_of(race, name, figures, rep)
    one_copy = min(BOOT_MIB, race.size_mib)
    return {"figures": figures.rows, "wanted": {f"{race.boots} boots at once": (3, None)},
            "bounds": [("memory grown by", "at most", one_copy + SPARE_MIB)],
            "notes": ["Each clone is made, served, 256 MiB that are the same of all read in pieces of 128 "
                      "KiB, and 16 MiB at random written in pieces of 16 KiB and flushed.",
                      f"One copy are {one_copy} MiB; the server may have {SPARE_MIB} MiB beside its data."]}
