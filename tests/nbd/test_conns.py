#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Several connections to one export, a server that dies and is started again, and objects that change meanwhile.

TEST_NBD_OPS random operations in flight on several connections (1200), TEST_NBD_KILLS crashes behind a flush (4).
"""

import os
import random
import signal
import threading
import time

import world
from world import MIB, equal
from handles import BLOCK, connect, haggler, fresh, refused
import nbd

seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 31))


# ---- several connections -------------------------------------------------------------------------

def test_seen_at_once(d):
    """What one connection wrote the others read"""
    name = fresh(d)
    handles = [connect(d, name) for _ in range(4)]
    for n in range(40):
        handles[n % 4].pwrite(bytes([n]) * 5000, n * 5001)
        for h in handles:
            equal(h.pread(5000, n * 5001), bytes([n]) * 5000, "what was written")


def test_flush_covers_all(d):
    """A flush on one of four connections makes durable what all were answered"""
    d.crash("--writeback-ms", "60000")
    name = fresh(d, 16 * MIB)
    draw = random.Random(seed)
    image = bytearray(16 * MIB)
    for turn in range(world.count("TEST_NBD_KILLS", 4)):
        handles = [connect(d, name) for _ in range(4)]
        for n in range(200):
            at, data = draw.randrange(16 * MIB - 9000), draw.randbytes(draw.randint(1, 9000))
            handles[n % 3].pwrite(data, at)
            image[at:at + len(data)] = data
        if turn % 2:
            h = handles[turn % 3]
            h.zero(100000, 1000 * turn, nbd.CMD_FLAG_NO_HOLE)
            h.trim(BLOCK, 8 * MIB)
            image[1000 * turn:1000 * turn + 100000] = bytes(100000)
            image[8 * MIB:8 * MIB + BLOCK] = bytes(BLOCK)
        handles[3].flush()
        d.crash("--writeback-ms", "60000")
        equal(d.content(name) == bytes(image), True, f"the object after crash {turn}")


def test_fua(d):
    """What was written with FUA is there after a crash, as each command has it"""
    name = fresh(d, data=b"\x55" * MIB)
    d.ctl("fsync", name)
    fua = nbd.CMD_FLAG_FUA
    h = connect(d, name)
    image = bytearray(b"\x55" * MIB)
    for turn, command in enumerate(("write", "zero", "trim", "no_hole")):
        at = 100000 * (turn + 1) // BLOCK * BLOCK
        if command == "write":
            h.pwrite(b"\xaa" * 2 * BLOCK, at, fua)
        elif command == "trim":
            h.trim(2 * BLOCK, at, fua)
        else:
            h.zero(2 * BLOCK, at, fua | (nbd.CMD_FLAG_NO_HOLE if command == "no_hole" else 0))
        image[at:at + 2 * BLOCK] = (b"\xaa" if command == "write" else b"\0") * 2 * BLOCK
        d.crash("--writeback-ms", "60000")
        h = connect(d, name)
        equal(h.pread(MIB, 0), image, f"after {command}")


def test_not_flushed(d):
    """The daemon of these tests does lose what was not flushed"""
    name = fresh(d, data=b"\x55" * MIB)
    d.ctl("fsync", name)
    connect(d, name).pwrite(b"\xaa" * BLOCK, 0)
    d.crash()
    equal(d.content(name)[:BLOCK], b"\x55" * BLOCK, "what was not flushed")


class Twin:
    """A connection on a part of the object that nobody else writes, with many requests in flight."""

    def __init__(self, d, name, base, size, draw):
        self.h = connect(d, name, port=d.port if draw.random() < 0.5 else None)
        self.base, self.draw = base, draw
        self.image = bytearray(size)
        self.busy = {}  # cookie -> (start, end, what is read, what must be there)

    def range(self):
        """A range that no request in flight has."""
        size = len(self.image)
        while True:
            n = self.draw.choice((1, 512, BLOCK, 5000, 70000, 200000))
            at = self.draw.randrange(size - n)
            if all(at + n <= b or at >= e for b, e, _, _ in self.busy.values()):
                return at, n

    def send(self):
        at, n = self.range()
        kind, buf, want = self.draw.randrange(8), None, None
        flags = nbd.CMD_FLAG_FUA if self.draw.random() < 0.05 else 0
        if kind < 3:
            buf, want = nbd.Buffer(n), bytes(self.image[at:at + n])
            cookie = self.h.aio_pread(buf, self.base + at)
        elif kind < 6:
            data = self.draw.randbytes(n)
            cookie = self.h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), self.base + at, flags=flags)
            self.image[at:at + n] = data
        else:
            if kind == 7:
                flags |= nbd.CMD_FLAG_NO_HOLE
            cookie = self.h.aio_zero(n, self.base + at, flags=flags)
            self.image[at:at + n] = bytes(n)
        self.busy[cookie] = (at, at + n, buf, want)

    def reap(self, most):
        """Waits until no more than that are in flight."""
        while len(self.busy) > most:
            done = [c for c in self.busy if self.h.aio_command_completed(c)]
            for cookie in done:
                _, _, buf, want = self.busy.pop(cookie)
                if want is not None:
                    equal(buf.to_bytearray() == want, True, "what was read")
            if not done:
                self.h.poll(-1)

    def work(self, operations):
        for _ in range(operations):
            self.send()
            self.reap(24)
        self.reap(0)


def test_model(d):
    """Many requests in flight on four connections, and each byte is known"""
    name = fresh(d, 16 * MIB)
    twins = [Twin(d, name, n * 4 * MIB, 4 * MIB, random.Random(seed + n)) for n in range(4)]
    failures = []

    def work(twin):
        try:
            twin.work(world.count("TEST_NBD_OPS", 1200) // 4)
        except Exception as err:
            failures.append(err)

    threads = [threading.Thread(target=work, args=(twin,)) for twin in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    twins[0].h.flush()
    d.crash()
    image = b"".join(bytes(twin.image) for twin in twins)
    equal(d.content(name) == image, True, "the object, after a crash")


# ---- what changes meanwhile ----------------------------------------------------------------------

def test_resize(d):
    """Another size is seen by who connects again"""
    name = fresh(d, MIB, b"\x55" * MIB)
    h = connect(d, name)
    d.ctl("resize", name, 2 * MIB)
    equal(h.pread(MIB, 0), b"\x55" * MIB, "the object as it was")
    again = connect(d, name)
    equal(again.get_size(), 2 * MIB, "size")
    again.pwrite(b"x", 2 * MIB - 1)
    d.ctl("resize", "--shrink", name, MIB // 2)
    equal(h.pread(20, MIB // 2 - 10), b"\x55" * 10 + bytes(10), "what is past its end now")
    refused("ENOSPC", h.pwrite, b"x", MIB - 1)
    refused("ENOSPC", h.pwrite, b"xx", MIB // 2 - 1)
    equal(h.pread(10, MIB // 2 - 10), b"\x55" * 10, "what is left of it")
    equal(connect(d, name).get_size(), MIB // 2, "size, which no write has changed")


def test_open_objects_stay(d):
    """An object that is exported is not removed, and goes when it no longer is"""
    name = fresh(d)
    h = connect(d, name)
    equal(d.ctl("rm", name, ok=None) != 0, True, "removal is refused")
    h.shutdown()
    deadline = time.monotonic() + 60
    while d.ctl("rm", name, ok=None):
        if time.monotonic() > deadline:
            raise AssertionError("the export was not given back")


def test_renamed(d):
    """An object that is renamed is served on"""
    name = fresh(d)
    h = connect(d, name)
    d.ctl("mv", name, name + "-new")
    h.pwrite(b"x", 0)
    equal(connect(d, name + "-new").pread(1, 0), b"x", "by its new name")


def test_many_connections(d):
    """Connections come and go, and nothing stays behind"""
    name = fresh(d)
    connect(d, name).shutdown()
    before = d.descriptors()
    for turn in range(50):
        h = connect(d, name)
        if turn % 3 == 0:
            h.shutdown()
        elif turn % 3 == 1:
            for n in range(16):
                h.aio_pread(nbd.Buffer(60000), n * 60000)
        del h
    deadline = time.monotonic() + 60
    while d.descriptors() > before:
        if time.monotonic() > deadline:
            raise AssertionError(f"{d.descriptors()} descriptors, {before} before")


def test_shutdown(d):
    """A server that is asked to end does, with clients that are connected"""
    name = fresh(d)
    h, idle, haggling = connect(d, name), connect(d, name), haggler(d)
    h.pwrite(b"kept", 0)
    h.flush()
    equal(d.end(signal.SIGTERM), 0, "exit status")
    refused("ENOTCONN ECONNRESET EPIPE ESHUTDOWN EINVAL", h.pread, 1, 0)
    d.start()
    equal(connect(d, name).pread(4, 0), b"kept", "data")
    del idle, haggling


print(f"# TEST_SEED={seed}")
world.main(globals(), "--writeback-ms", "60000")
