#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every command, flag and error of NBD that libnbd can send, with its own checks of what is sent off."""

import random

import world
from world import MIB, equal
from handles import BLOCK, connect, haggler, fresh, refused, statuses
import nbd


def chunks(h, length, offset, flags=0):
    """[(offset, length, kind)] of the reply to a read, and the data."""
    found = []

    def chunk(buf, at, status, error):
        found.append((at, len(buf), status))
        equal(error.value, 0, "error of the chunk")

    data = h.pread_structured(length, offset, chunk, flags)
    return found, bytes(data)


# ---- data ----------------------------------------------------------------------------------------

def test_data(d):
    """Any bytes at any offset are written and read"""
    name = fresh(d)
    h = connect(d, name)
    image = bytearray(MIB)
    draw = random.Random(1)
    for n in (1, 511, 4095, 4096, 4097, 65535, 65536, 65537, 131073, 300001):
        at = draw.randrange(MIB - n)
        data = draw.randbytes(n)
        h.pwrite(data, at)
        image[at:at + n] = data
        equal(h.pread(n, at), data, f"{n} bytes at {at}")
    equal(h.pread(MIB, 0), image, "all of it")
    equal(d.content(name), image, "by the own protocol")
    h.shutdown()


def test_large(d):
    """The largest payload, both ways"""
    name = fresh(d, 34 * MIB)
    h = connect(d, name)
    equal(h.get_block_size(nbd.SIZE_MINIMUM), 1, "minimum")
    equal(h.get_block_size(nbd.SIZE_PREFERRED), BLOCK, "preferred")
    most = h.get_block_size(nbd.SIZE_MAXIMUM)
    data = random.Random(2).randbytes(most)
    h.pwrite(data, 12345)
    equal(h.pread(most, 12345), data, "what was written")
    equal(h.pread(most, 0)[12345:], data[:-12345], "what was written, at another offset")


def test_zero(d):
    """Zeros at any offset, with a hole and without one"""
    name = fresh(d, data=b"\x55" * MIB)
    h = connect(d, name, ["base:allocation"])
    image = bytearray(b"\x55" * MIB)
    for at, n, flags in ((1, 4094, 0), (5000, 100000, 0), (200000, 1, nbd.CMD_FLAG_FUA),
                         (262144, 65536, nbd.CMD_FLAG_NO_HOLE),
                         (400001, 99999, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)):
        h.zero(n, at, flags)
        image[at:at + n] = bytes(n)
    equal(h.pread(MIB, 0), image, "zeros, and nothing else")
    h.flush()
    equal(statuses(h, 65536, 262144)["base:allocation"][0][1] & nbd.STATE_HOLE, 0, "no hole")
    equal(statuses(h, 4096, 8192)["base:allocation"][0][1], nbd.STATE_HOLE | nbd.STATE_ZERO, "a hole")


def test_zero_after(d):
    """Zeros without a hole are there after a crash, and take space"""
    name = fresh(d)
    h = connect(d, name)
    h.zero(MIB, 0, nbd.CMD_FLAG_NO_HOLE)
    h.flush()
    # not by df: what earlier tests have freed comes back meanwhile
    equal(d.json("map", name)["totals"]["hole"], 0, "blocks of its own")
    h.zero(MIB, 0)
    h.flush()
    d.ctl("set", name, "note=x")  # is answered when what was durable before it is in the map
    equal(d.json("map", name)["totals"]["hole"], MIB, "a hole in its place")


def test_fast_zero(d):
    """A fast zero succeeds, or has no effect"""
    name = fresh(d, data=b"\x55" * MIB)
    h = connect(d, name)
    h.zero(65536, 65536, nbd.CMD_FLAG_FAST_ZERO)
    equal(h.pread(65536, 65536), bytes(65536), "whole blocks")
    for at, n in ((300001, 5000), (400000, 1)):
        try:
            h.zero(n, at, nbd.CMD_FLAG_FAST_ZERO)
            equal(h.pread(n, at), bytes(n), "zeros that were fast")
        except nbd.Error as err:
            equal(err.errno, "EOPNOTSUPP" if err.errno == "EOPNOTSUPP" else "ENOTSUP", "error")
            equal(h.pread(n, at), b"\x55" * n, "what was not fast")
    equal(h.pread(1, 300000) + h.pread(1, 305001), b"\x55\x55", "what is beside it")


def test_trim(d):
    """A trim gives space back and leaves what is around"""
    name = fresh(d, data=b"\x55" * MIB)
    h = connect(d, name, ["base:allocation"])
    h.trim(100000, 5000)
    h.trim(BLOCK, 512 * 1024, nbd.CMD_FLAG_FUA)
    equal(h.pread(5000, 0), b"\x55" * 5000, "before it")
    equal(h.pread(1000, 105000), b"\x55" * 1000, "behind it")
    equal(statuses(h, BLOCK, 512 * 1024)["base:allocation"][0][1],
          nbd.STATE_HOLE | nbd.STATE_ZERO, "a hole")
    equal(h.pread(BLOCK, 512 * 1024), bytes(BLOCK), "zeros")


def test_cache(d):
    """What is to be cached is read all the same"""
    name = fresh(d, data=b"\x55" * MIB)
    h = connect(d, name)
    h.cache(MIB, 0)
    h.cache(1, MIB - 1)
    equal(h.pread(MIB, 0), b"\x55" * MIB, "the data")


def test_huge(d):
    """Commands without payload take 32 bits of length, and are quick"""
    name = fresh(d, 8 << 30)
    h = connect(d, name, ["base:allocation"])
    h.pwrite(b"x" * 100, 3 << 30)
    before = d.memory()
    most = (1 << 32) - BLOCK
    for command in (h.zero, h.trim):
        command(most, BLOCK + 1)
        command((1 << 32) - 1, 1 << 31)
    equal(h.pread(100, 3 << 30), bytes(100), "zeros")
    h.pwrite(b"y" * 10, 5 << 30)
    lengths = [n for n, _ in statuses(h, most, 1 << 32)["base:allocation"]]
    equal(sum(lengths) > 1 << 30, True, "status of more than what there is")
    try:
        h.cache(most, 0)
    except nbd.Error as err:
        if err.errno not in ("EINVAL", "EOVERFLOW", "ENOMEM"):
            raise
    equal(h.pread(10, 5 << 30), b"y" * 10, "data")
    d.grown(before, 64 * MIB)


def test_simple(d):
    """Without structured replies the same, and errors are errors"""
    name = fresh(d, data=b"\x55" * MIB)
    h = connect(d, name, request_structured_replies=False)
    equal(h.get_structured_replies_negotiated(), False, "structured replies")
    equal(h.can_df(), False, "DF")
    h.pwrite(b"abc", 99999)
    equal(h.pread(5, 99998), b"\x55abc\x55", "data")
    h.zero(10, 5)
    equal(h.pread(20, 0), b"\x55" * 5 + bytes(10) + b"\x55" * 5, "zeros")
    refused("EINVAL", h.pread, 10, MIB - 5)
    refused("ENOSPC", h.pwrite, b"0123456789", MIB - 5)
    refused("EINVAL", h.pread, 10, 0, nbd.CMD_FLAG_DF)
    equal(h.pread(5, MIB - 5), b"\x55" * 5, "the end")
    equal(len(h.pread(MIB, 0)), MIB, "all of it")


def test_export_name(d):
    """A client of the old handshake chooses an export, too"""
    name = fresh(d, 12345, b"old")
    h = connect(d, name, handshake_flags=0)
    equal(h.get_protocol(), "newstyle", "protocol")
    equal(h.get_size(), 12345, "size")
    equal(h.pread(4, 0), b"old\0", "data")
    h.pwrite(b"new", 12342)
    equal(d.content(name)[-3:], b"new", "what it wrote")
    h.shutdown()
    h = connect(d, name, handshake_flags=nbd.HANDSHAKE_FLAG_NO_ZEROES)
    equal(h.pread(3, 12342), b"new", "data, without zeroes in the handshake")
    h = nbd.NBD()
    h.set_handshake_flags(0)
    h.set_export_name("nothing")
    try:
        h.connect_unix(d.nbd)
        raise AssertionError("an export that is not there")
    except nbd.Error:
        pass


def test_fixed(d):
    """A client that wants its zeroes is served with GO"""
    name = fresh(d, 12345)
    h = connect(d, name, handshake_flags=nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE)
    equal(h.get_protocol(), "newstyle-fixed", "protocol")
    equal(h.pread(10, 0), bytes(10), "data")


def test_tcp(d):
    """By TCP it is the same object"""
    name = fresh(d)
    by_tcp, by_unix = connect(d, name, port=d.port), connect(d, name)
    by_tcp.pwrite(b"hello", 1000)
    equal(by_unix.pread(5, 1000), b"hello", "what the other one wrote")


# ---- flags ---------------------------------------------------------------------------------------

def test_fua_everywhere(d):
    """FUA is taken with every command"""
    name = fresh(d, data=b"\x55" * MIB)
    h = connect(d, name, ["base:allocation"])
    fua = nbd.CMD_FLAG_FUA
    equal(h.pread(4, 0, fua), b"\x55" * 4, "a read")
    h.pwrite(b"x", 0, fua)
    h.zero(1, 1, fua)
    h.trim(BLOCK, BLOCK, fua)
    h.cache(BLOCK, 0, fua)
    h.flush(fua)
    statuses(h, BLOCK, 0, fua)


def test_df(d):
    """A read is cut as the server likes, or with DF not at all"""
    name = fresh(d)
    h = connect(d, name)
    for at in (0, 3 * 65536, 700001):
        h.pwrite(b"\x55" * 65536, at)
    h.flush()
    want = h.pread(MIB, 0)
    for flags in (0, nbd.CMD_FLAG_DF):
        for length, offset in ((MIB, 0), (65536, 65536), (65536, 32768), (100001, 654321), (1, 65536)):
            found, data = chunks(h, length, offset, flags)
            equal(data, want[offset:offset + length], "data")
            at = offset
            for start, n, _ in sorted(found):
                equal(start, at, "where a chunk begins")
                at += n
            equal(at, offset + length, "where they end")
            if flags:
                equal(len(found), 1, "chunks with DF")
                equal(found[0][2], nbd.READ_DATA, "kind of the one")


def test_holes(d):
    """Holes are not sent as zeros"""
    name = fresh(d, 32 * MIB)
    h = connect(d, name)
    h.pwrite(b"\x55" * 10, 16 * MIB)
    h.flush()
    found, _ = chunks(h, 32 * MIB, 0)
    data = sum(n for _, n, kind in found if kind == nbd.READ_DATA)
    if data > 2 * MIB:
        raise AssertionError(f"{data} bytes were sent as data")


def test_req_one(d):
    """One extent is asked for and one is told"""
    name = fresh(d)
    h = connect(d, name, ["base:allocation", "cowd:shared"])
    for at in range(0, MIB, 65536):
        h.pwrite(b"x", at)
    h.flush()
    many = statuses(h, MIB, 0)
    equal(len(many["base:allocation"]), 32, "extents")
    equal(sum(n for n, _ in many["base:allocation"]), MIB, "their length")
    for at, n in ((0, MIB), (BLOCK, MIB - BLOCK), (1, 10), (100, BLOCK), (BLOCK - 1, 2)):
        one = statuses(h, n, at, nbd.CMD_FLAG_REQ_ONE)
        equal(sorted(one), ["base:allocation", "cowd:shared"], "contexts")
        for extents in one.values():
            equal(len(extents), 1, "extents")
            equal(0 < extents[0][0] <= n, True, f"length {extents[0][0]} of {n}")
    equal(statuses(h, 2, BLOCK - 1, nbd.CMD_FLAG_REQ_ONE)["base:allocation"], [(1, 0)], "the end of data")


def test_contexts(d):
    """What is shared, and what has changed since a version"""
    name = fresh(d, data=b"\x55" * MIB)
    d.ctl("snap", "add", name + "@one")
    dirty, missing = "qemu:dirty-bitmap:one", "qemu:dirty-bitmap:two"
    h = connect(d, name, ["cowd:shared", dirty, missing])
    equal(h.can_meta_context(dirty), True, "a version that is there")
    equal(h.can_meta_context(missing), False, "one that is not")
    h.pwrite(b"x" * 10, 100000)
    h.flush()
    found = statuses(h, MIB, 0)
    equal(found[dirty], [(98304, 0), (BLOCK, 1), (MIB - 98304 - BLOCK, 0)], "what has changed")
    equal(found["cowd:shared"], [(98304, 1), (BLOCK, 0), (MIB - 98304 - BLOCK, 1)], "what is shared")
    equal("base:allocation" in found, False, "what was not asked for")


def test_version_that_goes(d):
    """A version that is removed has no bitmap any more, and data is served on"""
    name = fresh(d, data=b"\x55" * MIB)
    d.ctl("snap", "add", name + "@one")
    h = connect(d, name, ["base:allocation", "qemu:dirty-bitmap:one"])
    equal(len(statuses(h, MIB, 0)), 2, "contexts")
    d.ctl("snap", "rm", name + "@one")
    refused("EINVAL", statuses, h, MIB, 0)
    equal(h.pread(10, 0), b"\x55" * 10, "data")


def test_dirty_at_once(d):
    """A write that is not flushed yet is dirty"""
    name = fresh(d, data=b"\x55" * MIB)
    d.ctl("snap", "add", name + "@one")
    h = connect(d, name, ["qemu:dirty-bitmap:one"])
    h.pwrite(b"x", 500000)
    found = statuses(h, BLOCK, 499712)["qemu:dirty-bitmap:one"]
    equal(found[0], (BLOCK, 1), "the block")


# ---- options -------------------------------------------------------------------------------------

def listed(h):
    found = []
    h.opt_list(lambda name, _description: found.append(name))
    return found


def contexts_of(d, name, queries):
    h = haggler(d, name, queries)
    found = []
    h.opt_list_meta_context(found.append)
    h.opt_abort()
    return found


def test_list(d):
    """LIST has each object and version, once"""
    h = haggler(d)
    names = d.names()
    versions = [v for name in names for v in d.ctl("snap", "ls", name).decode().split()]
    equal(sorted(listed(h)), sorted(names + versions), "names")
    equal(sorted(listed(h)), sorted(names + versions), "names, asked for again")
    h.opt_abort()


def test_list_many(d):
    """LIST has more than fits into one answer"""
    d.ctl("create", "many-origin", MIB)
    d.ctl("clone", "-N", 1500, "many-origin", "many-" + "x" * 100 + "%04d")
    h = haggler(d)
    found = listed(h)
    equal(len(found), len(set(found)), "names that are different")
    equal(len([n for n in found if n.startswith("many-x")]), 1500, "names")
    h.opt_abort()
    for at in range(0, 1500, 500):
        d.ctl("rm", *(f"many-{'x' * 100}{n:04}" for n in range(at, at + 500)))
    d.ctl("rm", "many-origin")


def test_meta_queries(d):
    """Contexts are listed by their namespace and by wildcards"""
    name = fresh(d)
    d.ctl("snap", "add", name + "@a", name + "@b")
    bitmaps = ["qemu:dirty-bitmap:a", "qemu:dirty-bitmap:b"]
    every = sorted(["base:allocation", "cowd:shared", *bitmaps])
    equal(sorted(contexts_of(d, name, [])), every, "all")
    equal(contexts_of(d, name, ["base:"]), ["base:allocation"], "base:")
    equal(contexts_of(d, name, ["cowd:"]), ["cowd:shared"], "cowd:")
    equal(sorted(contexts_of(d, name, ["qemu:"])), bitmaps, "qemu:")
    equal(sorted(contexts_of(d, name, ["qemu:dirty-bitmap:"])), bitmaps, "qemu:dirty-bitmap:")
    equal(contexts_of(d, name, ["qemu:dirty-bitmap:b"]), ["qemu:dirty-bitmap:b"], "one")
    equal(contexts_of(d, name, ["unknown:", "x-space:leaf"]), [], "what nobody knows")
    equal(sorted(set(contexts_of(d, name, ["base:", "base:allocation", "cowd:shared"]))),
          ["base:allocation", "cowd:shared"], "several")


def test_meta_wildcards_are_for_lists(d):
    """SET_META_CONTEXT takes the names of contexts and no wildcards"""
    name = fresh(d)
    d.ctl("snap", "add", name + "@a")
    h = connect(d, name, ["base:allocation"])
    equal(h.can_meta_context("base:allocation"), True, "a context")
    for context in ("base:", "cowd:other", "qemu:dirty-bitmap:", "unknown:x"):
        h = connect(d, name, [context])
        equal(h.can_meta_context("base:allocation"), False, context)
        refused("ENOTSUP EOPNOTSUPP EINVAL", statuses, h, BLOCK, 0)
        equal(h.pread(1, 0), b"\0", "it goes on")


def test_info(d):
    """INFO tells all, of several exports before one is chosen"""
    name, other = fresh(d, 10000), fresh(d, 20000)
    d.ctl("snap", "add", other + "@v")
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.set_full_info(True)
    h.connect_unix(d.nbd)
    for export, size, read_only in ((name, 10000, False), (other, 20000, False), (other + "@v", 20000, True)):
        h.set_export_name(export)
        h.opt_info()
        equal(h.get_size(), size, "size")
        equal(h.is_read_only(), read_only, "read-only")
        equal(h.get_canonical_export_name(), export, "name")
        equal(h.can_multi_conn(), True, "multi-conn")
        equal(h.is_rotational(), False, "rotational")
    h.set_export_name("nothing")
    refused("ENOENT", h.opt_info)
    refused("ENOENT", h.opt_go)
    for wrong in ("", "a@b@c", "nothing@v", name + "@v", "x" * 4000, "/", "@", "+", "+clone:" + name):
        h.set_export_name(wrong)
        refused("ENOENT EPERM EINVAL ERANGE ENOTSUP EOPNOTSUPP ENAMETOOLONG", h.opt_info)
    h.set_export_name(name)
    h.opt_go()
    equal(h.pread(1, 0), b"\0", "data")


def test_abort(d):
    """A client that ends the haggling is let go"""
    h = haggler(d)
    h.opt_abort()
    equal(h.aio_is_closed(), True, "closed")


def test_can(d):
    """The flags of an object, and of a version"""
    name = fresh(d)
    d.ctl("snap", "add", name + "@v")
    h, version = connect(d, name), connect(d, name + "@v")
    for flag in ("flush", "fua", "trim", "zero", "fast_zero", "df", "multi_conn", "cache"):
        equal(getattr(h, "can_" + flag)(), True, flag)
    for flag in ("df", "multi_conn", "cache"):
        equal(getattr(version, "can_" + flag)(), True, flag + " of a version")
    equal(version.is_read_only(), True, "read-only")


# ---- errors --------------------------------------------------------------------------------------

def test_bounds(d):
    """What is out of range is an error of its own, and nothing is done"""
    for name in (fresh(d, MIB, b"\x55" * MIB), fresh(d, MIB + 77, b"\x55" * (MIB + 77))):
        h = connect(d, name, ["base:allocation"])
        size = h.get_size()
        for n, at in ((1, size), (2, size - 1), (size + 1, 0), (BLOCK, size - 100), (1, 1 << 62),
                      (BLOCK, (1 << 63) - BLOCK)):
            refused("EINVAL", h.pread, n, at)
            refused("ENOSPC", h.pwrite, bytes(n), at)
            refused("ENOSPC", h.zero, n, at)
            refused("EINVAL", h.trim, n, at)
            refused("EINVAL", h.cache, n, at)
            refused("EINVAL", statuses, h, n, at)
        equal(h.pread(size, 0), b"\x55" * size, "what was there")


def test_length_zero(d):
    """What has no length has no effect, and does not end the connection"""
    name = fresh(d, MIB, b"\x55" * MIB)
    h = connect(d, name, ["base:allocation"])
    for at in (0, 5, MIB):
        for command, args in ((h.pread, (0, at)), (h.pwrite, (b"", at)), (h.zero, (0, at)),
                              (h.trim, (0, at)), (h.cache, (0, at)), (statuses, (h, 0, at))):
            try:
                command(*args)
            except nbd.Error as err:
                if err.errno not in ("EINVAL", "ENOSPC"):
                    raise
    equal(h.pread(MIB, 0), b"\x55" * MIB, "what was there")


def test_wrong_flags(d):
    """Flags that a command does not have are refused"""
    name = fresh(d, MIB, b"\x55" * MIB)
    h = connect(d, name, ["base:allocation"])
    fua, no_hole, df = nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_DF
    one, fast = nbd.CMD_FLAG_REQ_ONE, nbd.CMD_FLAG_FAST_ZERO
    unknown = (1 << 5, 1 << 6, 1 << 15)
    for flags in (no_hole, one, fast, *unknown):
        refused("EINVAL", h.pread, 1, 0, flags)
    for flags in (no_hole, one, fast, df, *unknown):
        refused("EINVAL", h.pwrite, b"x", 0, flags)
        refused("EINVAL", h.trim, BLOCK, 0, flags)
        refused("EINVAL", h.cache, BLOCK, 0, flags)
        refused("EINVAL", h.flush, flags)
    for flags in (one, df, fua | df, *unknown):
        refused("EINVAL", h.zero, BLOCK, 0, flags)
    for flags in (no_hole, fast, df, *unknown):
        refused("EINVAL", statuses, h, BLOCK, 0, flags)
    equal(h.pread(MIB, 0), b"\x55" * MIB, "what was there")


def test_read_only(d):
    """A version, and an object that is kept, are not written to"""
    name = fresh(d, MIB, b"\x55" * MIB)
    d.ctl("snap", "add", name + "@v")
    kept = fresh(d, MIB, b"\x55" * MIB)
    d.ctl("set", kept, "readonly=yes")
    for export in (name + "@v", kept):
        h = connect(d, export)
        equal(h.is_read_only(), True, "read-only")
        refused("EPERM", h.pwrite, b"x", 0)
        refused("EPERM", h.pwrite, b"x" * MIB, 0)
        refused("EPERM", h.zero, BLOCK, 0)
        refused("EPERM", h.trim, BLOCK, 0)
        h.flush()
        h.cache(BLOCK, 0)
        equal(h.pread(MIB, 0), b"\x55" * MIB, "what was there")


def test_read_only_meanwhile(d):
    """An object that becomes read-only refuses writes"""
    name = fresh(d)
    h = connect(d, name)
    h.pwrite(b"x", 0)
    d.ctl("set", name, "readonly=yes")
    refused("EPERM", h.pwrite, b"y", 0)
    equal(h.pread(1, 0), b"x", "data")
    d.ctl("set", name, "readonly=no")
    h.pwrite(b"z", 0)


def test_too_large(d):
    """What is larger than the maximum is refused, and others are served"""
    name = fresh(d, 64 * MIB)
    h, other = connect(d, name), connect(d, name)
    most = h.get_block_size(nbd.SIZE_MAXIMUM)
    before = d.memory()
    refused("EINVAL EOVERFLOW ENOMEM ENOTCONN ECONNRESET EPIPE", h.pread, most + 1, 0)
    h = connect(d, name)
    refused("EINVAL EOVERFLOW ENOMEM ENOTCONN ECONNRESET EPIPE", h.pwrite, bytes(most + 1), 0)
    refused("EINVAL EOVERFLOW ENOMEM ENOTCONN ECONNRESET EPIPE", h.pread, most + 1, 0, nbd.CMD_FLAG_DF)
    equal(other.pread(10, 0), bytes(10), "others")
    d.grown(before, 2 * most)


def test_full(d):
    """A full store is ENOSPC, and reads go on"""
    name = fresh(d, 1 << 30)
    h = connect(d, name)
    data = random.Random(5).randbytes(MIB)
    wrote = 0
    try:
        while wrote < 1 << 30:
            h.pwrite(data, wrote)
            wrote += MIB
        raise AssertionError("the store is never full")
    except nbd.Error as err:
        equal(err.errno, "ENOSPC", "error")
    equal(h.pread(MIB, 0), data, "what was written")
    h.trim(1 << 30, 0)
    h.flush()
    h.shutdown()
    d.ctl("rm", "--wait", name)


world.main(globals())
