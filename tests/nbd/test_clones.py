#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Exports +clone:NAME: each connection has a clone of its own, which is gone when it ends, however it does."""

import os
import signal
import time

import world
from world import MIB, equal
import nbd

DATA = b"\x55" * MIB
EXPIRY = 10  # seconds: what a server that died has left behind goes


def connect(d, name):
    h = nbd.NBD()
    h.set_export_name(name)
    h.connect_unix(d.nbd)
    return h


def refused(d, name):
    try:
        connect(d, name)
    except nbd.Error as err:
        return str(err)
    raise AssertionError(f"{name} is exported")


def origin(d, name="origin"):
    if name not in d.names():
        d.ctl("create", name, MIB)
        d.ctl("write", name, data=DATA)
        d.ctl("snap", "add", name + "@v")
    return name


def only(d, names):
    """Waits until there are no other objects."""
    deadline = time.monotonic() + 60
    while sorted(d.names()) != sorted(names):
        if time.monotonic() > deadline:
            raise AssertionError(f"{d.names()}")


def test_refused(d):
    """Without --nbd-clones there are none"""
    origin(d)
    refused(d, "+clone:origin")
    refused(d, "+clone:origin@v")
    equal(d.names(), ["origin"], "objects")
    d.end(signal.SIGTERM)
    d.args = ("--nbd-clones",)
    d.start()


def test_apart(d):
    """Two connections have different clones, and the origin stays as it is"""
    a, b = connect(d, "+clone:origin"), connect(d, "+clone:origin")
    equal(a.get_size(), MIB, "size")
    equal(a.is_read_only(), False, "read-only")
    equal(a.pread(MIB, 0), DATA, "what it is a clone of")
    a.pwrite(b"a" * 10000, 5)
    b.pwrite(b"b" * 10000, 6)
    a.flush()
    b.zero(100, 0)
    equal(a.pread(10006, 0), b"\x55" * 5 + b"a" * 10000 + b"\x55", "one")
    equal(b.pread(10007, 0), bytes(100) + b"b" * 9906 + b"\x55", "the other")
    equal(connect(d, "origin").pread(MIB, 0), DATA, "the origin")
    equal(a.can_multi_conn(), False, "multi-conn, which other connections would not be")
    a.shutdown()
    equal(b.pread(1, 200), b"b", "the other, when one is gone")
    b.shutdown()
    only(d, ["origin"])


def test_gone_at_once(d):
    """A clone is removed when its connection ends, and not when it expires"""
    for _ in range(5):
        begin = time.monotonic()
        connect(d, "+clone:origin").shutdown()
        only(d, ["origin"])
        if time.monotonic() - begin < EXPIRY:
            return
    raise AssertionError("it has only expired")


def test_of_a_version(d):
    """A clone of a version can be written to"""
    h = connect(d, "+clone:origin@v")
    equal(h.is_read_only(), False, "read-only")
    h.pwrite(b"x", 0)
    equal(h.pread(2, 0), b"x\x55", "data")
    h.shutdown()
    only(d, ["origin"])


def test_hard_end(d):
    """A client that dies leaves no clone"""
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            h = connect(d, "+clone:origin")
            h.pwrite(b"x" * 100000, 0)
            for n in range(8):
                h.aio_pread(nbd.Buffer(60000), n * 60000)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
    only(d, ["origin"])


def test_server_dies(d):
    """A server that dies leaves none, when it is started again"""
    handles = [connect(d, "+clone:origin") for _ in range(4)]
    for h in handles:
        h.pwrite(b"x" * 100000, 0)
        h.flush()
    d.crash()
    only(d, ["origin"])
    equal(d.content("origin"), DATA, "the origin")
    del handles


def test_server_ends(d):
    """A server that is asked to end leaves none"""
    h = connect(d, "+clone:origin")
    h.pwrite(b"x", 0)
    equal(d.end(signal.SIGTERM), 0, "exit status")
    d.start()
    only(d, ["origin"])
    del h


def test_only_for_a_connection(d):
    """Haggling about a clone makes none that stays"""
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.connect_unix(d.nbd)
    h.set_export_name("+clone:origin")
    for _ in range(3):
        h.opt_info()
        equal(h.get_size(), MIB, "size")
    found = []
    h.opt_list(lambda name, _: found.append(name))
    equal(sorted(found), ["origin", "origin@v"], "list")
    h.opt_abort()
    only(d, ["origin"])


def test_not_listed(d):
    """Clones of connections are not listed as exports"""
    h, other = connect(d, "+clone:origin"), nbd.NBD()
    other.set_opt_mode(True)
    other.connect_unix(d.nbd)
    found = []
    other.opt_list(lambda name, _: found.append(name))
    equal(sorted(found), ["origin", "origin@v"], "list")
    h.shutdown()
    other.opt_abort()
    only(d, ["origin"])


def test_wrong(d):
    """Of what is not there no clone is made"""
    for name in ("+clone:", "+clone:nothing", "+clone:origin@w", "+clone:+clone:origin", "+other:origin", "+",
                 "+clone", "+clone:@v", "+clone:" + "x" * 300):
        refused(d, name)
    equal(d.names(), ["origin"], "objects")


def test_origin_is_free(d):
    """The origin may be written to and removed while a clone is used"""
    name = origin(d, "other")
    h = connect(d, "+clone:other")
    d.ctl("write", name, data=b"y" * 10)
    equal(h.pread(10, 0), b"\x55" * 10, "the clone")
    d.ctl("rm", "-r", name)
    equal(h.pread(MIB, 0), DATA, "the clone, without its origin")
    h.shutdown()
    only(d, ["origin"])


def test_space(d):
    """Space that a clone took comes back"""
    d.ctl("create", "last", 4096)
    d.ctl("rm", "--wait", "last")  # and what earlier tests have freed
    before = d.json("df")["store"]["used"]
    h = connect(d, "+clone:origin")
    h.pwrite(os.urandom(MIB), 0)
    h.flush()
    equal(d.json("df")["store"]["used"] > before, True, "space is taken")
    h.shutdown()
    deadline = time.monotonic() + 60
    while d.json("df")["store"]["used"] > before:
        if time.monotonic() > deadline:
            raise AssertionError("space does not come back")


world.main(globals())
