#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""NBD's protocol, byte by byte: options as they are and as they must not be, extended headers, and clients that
are cut off anywhere."""

import os
import random
import struct
import time
import traceback

import world
from world import MIB, equal
import raw
from raw import Raw, Ended, info_data, meta_data, option

BLOCK = 4096
numbers = iter(range(1 << 20))
seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1 << 31))


def fresh(d, size=MIB, data=b""):
    name = f"object{next(numbers)}"
    d.ctl("create", name, size)
    if data:
        d.ctl("write", name, data=data)
    return name


def serves(d, name):
    """A client that does as it should is served."""
    h = Raw(d.nbd).go(name)
    equal(len(h.read(0, 100)), 100, "bytes read")
    h.send(h.request(raw.DISC))
    h.ended()


def is_error(kind, *kinds):
    if kind not in kinds:
        raise AssertionError(f"reply {kind:x} and none of {[f'{k:x}' for k in kinds]}")


def unchanged(d, before, memory=24 * MIB):
    """Nothing is held for clients that are gone."""
    descriptors, resident = before
    deadline = time.monotonic() + 60
    while d.descriptors() > descriptors:
        if time.monotonic() > deadline:
            raise AssertionError(f"{d.descriptors()} descriptors, {descriptors} before")
    d.grown(resident, memory)


def now(d):
    return d.descriptors(), d.memory()


# ---- the handshake -------------------------------------------------------------------------------

waiting = []  # clients that do not go on


def test_nothing_said(d):
    """Clients that do not go on with the handshake wait"""
    for said in (b"", b"\0", struct.pack(">I", 3), struct.pack(">I", 3) + option(raw.LIST)[:-1],
                 struct.pack(">I", 3) + option(raw.INFO, length=50) + bytes(49)):
        h = Raw(d.nbd, greet=False)
        h.greeting()
        h.send(said)
        waiting.append(h)


def test_export_name(d):
    """EXPORT_NAME has its zeroes or has not, as the client says"""
    name = fresh(d, 54321, b"data")
    for flags in (raw.FIXED, raw.FIXED | raw.NO_ZEROES, 0, raw.NO_ZEROES):
        h = Raw(d.nbd, flags)
        size, exported = h.export_name(name)
        equal(size, 54321, "size")
        equal(exported & 0x3, 1, "flags: they are flags, and not read-only")
        equal(exported >> 7 & 1, 0, "DF without structured replies")
        equal(h.read(0, 4), b"data", "data")
        equal(h.do(raw.READ, 54320, 2)[0], raw.EINVAL, "out of range")
        equal(h.read(54317, 4), bytes(4), "the end")
        h.close()
    for wrong in ("nothing", "", name + "@v", b"\xff\xfe", "x" * 4096):
        h = Raw(d.nbd)
        h.send(option(raw.EXPORT_NAME, raw.name_of(wrong)))
        h.ended()


def test_export_name_structured(d):
    """EXPORT_NAME behind STRUCTURED_REPLY has structured replies"""
    name = fresh(d, MIB, b"data")
    h = Raw(d.nbd)
    equal(h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
    _, flags = h.export_name(name)
    equal(flags >> 7 & 1, 1, "DF")
    equal(h.read(0, 4), b"data", "data")


def test_client_flags(d):
    """Unknown flags of a client end the connection"""
    for flags in (4, 1 << 16, 1 << 31, 0xFFFFFFFF):
        h = Raw(d.nbd, flags)
        try:
            h.send(option(raw.LIST))
        except Ended:
            continue
        h.ended()


def test_unknown_options(d):
    """Options that nobody knows are not supported, whatever they carry"""
    name = fresh(d)
    h = Raw(d.nbd)
    for number in (0, raw.PEEK, 12, 100, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF):
        for data in (b"", b"x", bytes(1000), bytes(10000)):
            is_error(h.last(number, data), raw.UNSUP, raw.TOO_BIG, raw.INVALID)
    equal(h.last(raw.GO, info_data(name)), raw.ACK, "GO behind them")


class Haggler:
    """Options one after the other, on a new connection where the last one has had many."""

    MANY = 100

    def __init__(self, d, structured=False):
        self.d, self.structured = d, structured
        self.h, self.sent = None, self.MANY

    def last(self, number, data=b""):
        if self.sent == self.MANY:
            self.sent, self.h = 0, Raw(self.d.nbd)
            if self.structured:
                equal(self.h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
        self.sent += 1
        return self.h.last(number, data)


def test_lengths(d):
    """Options with data that is too short, too long or wrong are invalid, and the haggling goes on"""
    name = fresh(d)
    h = Haggler(d)
    encoded = name.encode()
    good = info_data(name, [3])
    for number in (raw.INFO, raw.GO):
        for cut in range(len(good)):
            is_error(h.last(number, good[:cut]), raw.INVALID)
        is_error(h.last(number, good + b"x"), raw.INVALID)
        for length in (len(encoded) + 1, len(good), 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFA):
            is_error(h.last(number, struct.pack(">I", length) + good[4:]), raw.INVALID, raw.TOO_BIG)
        for n in (0, 2, 0xFFFF):
            is_error(h.last(number, good[:-4] + struct.pack(">HH", n, 3)), raw.INVALID)
    for number in (raw.LIST, raw.STRUCTURED_REPLY, raw.EXTENDED):
        is_error(h.last(number, b"x"), raw.INVALID)
        is_error(h.last(number, bytes(5000)), raw.INVALID, raw.TOO_BIG)
    is_error(h.last(raw.STARTTLS, b"x"), raw.INVALID, raw.POLICY, raw.UNSUP)
    equal(h.last(raw.GO, info_data(name)), raw.ACK, "GO behind them")
    equal(h.h.read(0, 1), b"\0", "data")


def test_meta_lengths(d):
    """So are contexts' queries"""
    name = fresh(d)
    h = Haggler(d, structured=True)
    good = meta_data(name, ["base:allocation", "cowd:shared"])
    for number in (raw.LIST_META, raw.SET_META):
        for cut in range(len(good)):
            is_error(h.last(number, good[:cut]), raw.INVALID)
        is_error(h.last(number, good + b"x"), raw.INVALID)
        for at in (0, 4 + len(name), 8 + len(name)):
            for value in (0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFF0, 0x10000):
                wrong = bytearray(good)
                wrong[at:at + 4] = struct.pack(">I", value)
                is_error(h.last(number, bytes(wrong)), raw.INVALID, raw.TOO_BIG)
    equal(h.last(raw.GO, info_data(name)), raw.ACK, "GO behind them")
    equal(h.h.read(0, 1), b"\0", "data")


def test_without_end(d):
    """A client that haggles without end is let go"""
    name = fresh(d)
    h = Raw(d.nbd)
    try:
        for _ in range(10000):
            h.last(raw.INFO, info_data(name))
        raise AssertionError("it is not")
    except Ended:
        pass
    serves(d, name)


def test_asked_twice(d):
    """Information that is not known is left out"""
    name = fresh(d, 4321)
    h = Raw(d.nbd)
    replies = h.haggle(raw.INFO, info_data(name, [0, 1, 2, 3, 4, 77, 0xFFFF]))
    equal(replies[-1][0], raw.ACK, "INFO")
    infos = {struct.unpack(">H", data[:2])[0]: data[2:] for kind, data in replies[:-1]
             if kind == raw.REP_INFO}
    equal(len(infos), len(replies) - 1, "informations, each once")
    equal(struct.unpack(">Q", infos[0][:8])[0], 4321, "size")
    equal(infos[1], name.encode(), "name")
    least, preferred, most = struct.unpack(">III", infos[3])
    equal((least, preferred), (1, BLOCK), "block sizes")
    equal(most >= MIB, True, "largest payload")


def test_names_that_are_no_names(d):
    """Exports of any bytes are unknown, and errors do not carry them back whole"""
    h = Raw(d.nbd)
    for name in (b"", b"\0", b"a\0b", b"\xff", b"\xc3", b"x" * 4096, b"x" * 4097, b"a" * 60000, b"\n", b"%s%n"):
        for number in (raw.INFO, raw.GO):
            replies = h.haggle(number, info_data(name))
            is_error(replies[-1][0], raw.UNKNOWN, raw.INVALID, raw.TOO_BIG, raw.POLICY)
            equal(0 < len(replies[-1][1]) <= 4096, True, "length of the text")
            replies[-1][1].decode()


def test_nul(d):
    """A name that goes on behind a NUL is another name"""
    name = fresh(d)
    d.ctl("snap", "add", name + "@v")
    h = Raw(d.nbd)
    for wrong in (name + "\0", name + "\0x", name + "@v\0x", name + "\0@v", "\0" + name):
        is_error(h.last(raw.GO, info_data(wrong)), raw.UNKNOWN, raw.INVALID)
    equal(h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
    for query in ("base:allocation\0", "qemu:dirty-bitmap:v\0x", "cowd:shared\0x"):
        replies = h.haggle(raw.SET_META, meta_data(name, [query]))
        equal(len(replies), 1, f"replies to {query!r}")
        is_error(replies[0][0], raw.ACK, raw.INVALID)


def test_magic(d):
    """An option without its magic ends the connection"""
    for magic in (0, raw.OPTION + 1, raw.OPTREPLY, (1 << 64) - 1):
        h = Raw(d.nbd)
        h.send(option(raw.LIST, magic=magic))
        h.ended()
    h = Raw(d.nbd)
    h.send(struct.pack(">I", raw.REQUEST) * 20)
    h.ended()


def test_giant_option(d):
    """An option of a gigabyte is not waited for, or not kept"""
    before = now(d)
    for length in (1 << 20, 1 << 30, 0xFFFFFFFF):
        for number in (raw.INFO, raw.LIST, raw.SET_META, raw.EXPORT_NAME, 77):
            h = Raw(d.nbd)
            try:
                h.send(option(number, bytes(1000), length=length))
                h.send(bytes(1 << 20))
            except Ended:
                pass
            h.close()
    unchanged(d, before)
    serves(d, fresh(d))


def test_order(d):
    """Contexts need structured replies, and are those of the export that is chosen"""
    name, other = fresh(d), fresh(d)
    query = ["base:allocation"]
    h = Raw(d.nbd)
    is_error(h.last(raw.SET_META, meta_data(name, query)), raw.INVALID)
    equal(h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
    replies = h.haggle(raw.SET_META, meta_data(name, query))
    equal([kind for kind, _ in replies], [raw.META_CONTEXT, raw.ACK], "contexts")
    is_error(h.last(raw.SET_META, meta_data("nothing", query)), raw.UNKNOWN)
    equal(h.last(raw.GO, info_data(name)), raw.ACK, "GO")
    equal(h.status(0, BLOCK)[0] != 0, True, "status behind a failed SET_META_CONTEXT")
    equal(h.read(0, 1), b"\0", "it goes on")
    h = Raw(d.nbd).go(name, contexts=query)
    equal(h.status(0, BLOCK)[0], 0, "status")
    h = Raw(d.nbd)
    equal(h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
    equal(h.last(raw.SET_META, meta_data(name, query)), raw.ACK, "contexts of one")
    equal(h.last(raw.GO, info_data(other)), raw.ACK, "GO to another")
    equal(h.status(0, BLOCK)[0], raw.EINVAL, "status of another export")
    equal(h.read(0, 1), b"\0", "it goes on")
    h = Raw(d.nbd)
    equal(h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
    equal(h.last(raw.SET_META, meta_data(name, query)), raw.ACK, "contexts")
    equal(h.last(raw.SET_META, meta_data(name, [])), raw.ACK, "none")
    equal(h.last(raw.GO, info_data(name)), raw.ACK, "GO")
    equal(h.status(0, BLOCK)[0], raw.EINVAL, "status without contexts")


def test_many_queries(d):
    """A thousand queries are answered or too many, and a context is selected once"""
    name = fresh(d)
    h = Raw(d.nbd)
    equal(h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
    is_error(h.last(raw.SET_META, meta_data(name, ["x:y"] * 1000)), raw.ACK, raw.TOO_BIG)
    replies = h.haggle(raw.SET_META, meta_data(name, ["base:allocation"] * 5 + ["", "nocolon", ":", "\xff:"]))
    is_error(replies[-1][0], raw.ACK, raw.INVALID)
    if replies[-1][0] == raw.ACK:
        equal([kind for kind, _ in replies], [raw.META_CONTEXT, raw.ACK], "contexts")
    replies = h.haggle(raw.SET_META, meta_data(name, ["base:allocation", "cowd:shared"]))
    equal(len({data[:4] for kind, data in replies if kind == raw.META_CONTEXT}), 2, "ids that differ")


def test_many_versions(d):
    """An object with many versions has as many contexts; those that are selected together are bounded"""
    name = fresh(d)
    versions = [f"v{n:02}" for n in range(40)]
    d.ctl("snap", "add", *(f"{name}@{v}" for v in versions))
    h = Raw(d.nbd)
    equal(h.last(raw.STRUCTURED_REPLY), raw.ACK, "STRUCTURED_REPLY")
    replies = h.haggle(raw.LIST_META, meta_data(name, ["qemu:dirty-bitmap:"]))
    equal([data[4:].decode() for _, data in replies[:-1]],
          [f"qemu:dirty-bitmap:{v}" for v in versions], "contexts")
    is_error(h.last(raw.SET_META, meta_data(name, [f"qemu:dirty-bitmap:{v}" for v in versions])),
             raw.ACK, raw.TOO_BIG)
    few = ["base:allocation", "cowd:shared", "qemu:dirty-bitmap:v03", "qemu:dirty-bitmap:v33"]
    equal(h.last(raw.SET_META, meta_data(name, few)), raw.ACK, "some of them")
    equal(sorted(h.contexts), few, "their names")
    equal(h.last(raw.GO, info_data(name)), raw.ACK, "GO")
    error, found = h.status(0, MIB)
    equal((error, sorted(found)), (0, sorted(h.contexts.values())), "status of each")


def test_no_tls(d):
    """STARTTLS of a server without credentials is refused, and the haggling goes on"""
    name = fresh(d)
    h = Raw(d.nbd)
    is_error(h.last(raw.STARTTLS), raw.POLICY, raw.UNSUP, raw.PLATFORM)
    equal(h.last(raw.GO, info_data(name)), raw.ACK, "GO")


def test_pipelined(d):
    """Options and requests that come all at once are answered in their order"""
    name = fresh(d, MIB, b"\x55" * MIB)
    h = Raw(d.nbd, greet=False)
    h.send(struct.pack(">I", raw.FIXED | raw.NO_ZEROES) + option(raw.LIST) + option(77, b"x") +
           option(raw.STRUCTURED_REPLY) + option(raw.SET_META, meta_data(name, ["base:allocation"])) +
           option(raw.GO, info_data(name)) + h.request(raw.READ, 0, 10) + h.request(raw.STATUS, 0, MIB))
    h.greeting()
    equal(h.answers(raw.LIST)[-1][0], raw.ACK, "LIST")
    equal(h.answers(77)[-1][0], raw.UNSUP, "an unknown option")
    for number in (raw.STRUCTURED_REPLY, raw.SET_META, raw.GO):
        equal(h.answers(number)[-1][0], raw.ACK, f"option {number}")
    seen, left = set(), 2
    while left:
        cookie, flags, _, _, _ = h.chunk()
        seen.add(cookie)
        left -= flags & raw.DONE
    equal(seen, {1, 2}, "cookies")


def test_abort(d):
    """ABORT is answered, whatever comes with it, and then it ends"""
    for data in (b"", b"some data"):
        h = Raw(d.nbd)
        equal(h.last(raw.ABORT, data), raw.ACK, "ABORT")
        h.ended()


# ---- transmission --------------------------------------------------------------------------------

def test_unknown_command(d):
    """A command that nobody knows is an error, and the next one is served"""
    name = fresh(d)
    for structured in (True, False):
        h = Raw(d.nbd).go(name, structured)
        for command in (9, 10, 77, 0xFFFF):
            equal(h.do(command, 0, 10)[0], raw.EINVAL, f"command {command}")
        equal(h.read(0, 4), bytes(4), "data")


def test_request_magic(d):
    """A request without its magic ends the connection"""
    name = fresh(d)
    for magic in (0x12560953, raw.SIMPLE, raw.EXT_REQUEST, 0xFFFFFFFF):
        h = Raw(d.nbd).go(name)
        h.send(h.request(raw.READ, 0, 10, magic=magic))
        h.ended()
    h = Raw(d.nbd).go(name, extended=True)
    h.send(h.request(raw.READ, 0, 10, magic=raw.REQUEST))
    h.ended()


def test_flush_fields(d):
    """A flush with an offset or a length is an error or is done, and ends nothing"""
    name = fresh(d)
    h = Raw(d.nbd).go(name)
    for offset, length in ((1, 0), (0, 1), (1 << 63, 0xFFFFFFFF)):
        equal(h.do(raw.FLUSH, offset, length)[0] in (0, raw.EINVAL), True, "error")
    equal(h.do(raw.FLUSH)[0], 0, "a flush")


def test_error_texts(d):
    """Errors come with a text"""
    name = fresh(d)
    d.ctl("snap", "add", name + "@v")
    h = Raw(d.nbd).go(name + "@v")
    h.send(h.request(raw.WRITE, 0, 4, payload=b"abcd"))
    cookie, flags, kind, _, payload = h.chunk()
    equal((cookie, flags, kind >> 15), (1, raw.DONE, 1), "an error chunk")
    error, length = struct.unpack(">IH", payload[:6])
    equal(error, raw.EPERM, "error")
    equal(length > 4, True, "a text")


def test_cookies(d):
    """Cookies are the client's, two that are alike too"""
    name = fresh(d)
    h = Raw(d.nbd).go(name)
    for cookie in (0, (1 << 64) - 1, 1 << 63):
        h.cookie = cookie - 1
        h.send(struct.pack(">IHHQQI", raw.REQUEST, 0, raw.READ, cookie, 0, 10) * 3)
        for _ in range(3):
            equal(h.result(cookie)[0], 0, "error")


def test_wrong_payload(d):
    """The payload of a write that fails is read past"""
    name = fresh(d)
    d.ctl("snap", "add", name + "@v")
    for export, offset, flags in ((name, MIB, 0), (name, (1 << 64) - 100, 0), (name + "@v", 0, 0),
                                  (name, 0, raw.DF), (name, 0, 1 << 15)):
        h = Raw(d.nbd).go(export)
        equal(h.do(raw.WRITE, offset, 70000, flags, b"\x25\x60\x95\x13" * 17500)[0] != 0, True, "error")
        equal(h.read(0, 4), bytes(4), "what is there")


def test_resize(d):
    """RESIZE makes an object longer and shorter"""
    name = fresh(d, MIB, b"\x55" * MIB)
    d.ctl("snap", "add", name + "@v")
    h, other = Raw(d.nbd), Raw(d.nbd).go(name)
    flags = [struct.unpack(">H", data[10:])[0] for _, data in h.haggle(raw.INFO, info_data(name))
             if data[:2] == b"\0\0"]
    equal([f >> 9 & 1 for f in flags], [1], "SEND_RESIZE")
    h.go(name)
    for size in (2 * MIB, 2 * MIB + 777, 3 * MIB):
        equal(h.do(raw.RESIZE, size)[0], 0, "longer")
        equal(h.read(size - 10, 10), bytes(10), "the end")
        equal(h.do(raw.WRITE, size - 1, 1, 0, b"x")[0], 0, "a write of the last byte")
        equal(h.do(raw.WRITE, size, 1, 0, b"x")[0], raw.ENOSPC, "a write behind it")
        equal(d.json("info", name)["objects"][0]["size"], size, "size")
    equal(other.do(raw.READ, MIB, 1)[0], raw.EINVAL, "a read of a connection that knows the old size")
    equal(h.do(raw.RESIZE, MIB // 2, 0, raw.FUA)[0], 0, "shorter")
    equal(h.do(raw.READ, MIB // 2, 1)[0] in (raw.ENOSPC, raw.EINVAL), True, "a read behind the end")
    equal(h.do(raw.WRITE, MIB // 2, 1, 0, b"x")[0], raw.ENOSPC, "a write behind the end")
    equal(h.do(raw.RESIZE, (1 << 50) + 1)[0], raw.ENOSPC, "too long")
    equal(h.do(raw.RESIZE, 1 << 63)[0], raw.ENOSPC, "far too long")
    equal(h.do(raw.RESIZE, MIB, 1)[0], raw.EINVAL, "a length")
    equal(h.read(0, MIB // 2), b"\x55" * (MIB // 2), "what is left")
    h.close()
    other.close()
    equal(Raw(d.nbd).go(name + "@v").do(raw.RESIZE, 10)[0], raw.EPERM, "a version")
    equal(len(d.content(name)), MIB // 2, "size")


def test_shrunk_meanwhile(d):
    """A write that another client's shrink overtakes does not make the object longer again"""
    name = fresh(d, MIB)
    h = Raw(d.nbd).go(name)
    h.send(h.request(raw.WRITE, MIB // 2, 4096, 0, bytes(100)))
    d.ctl("resize", "--shrink", name, 65536)
    h.send(bytes(4096 - 100))
    equal(h.result(h.cookie)[0], raw.ENOSPC, "a write of which a part had come")
    h.send(h.request(raw.RESIZE, 4096) + h.request(raw.WRITE, 4000, 100, 0, bytes(100)) +
           h.request(raw.ZEROES, 0, 65536, raw.NO_HOLE))
    answers = {}
    for _ in range(3):
        cookie, flags, kind, _, payload = h.chunk()
        answers[cookie - h.cookie] = struct.unpack(">I", payload[:4])[0] if kind is not None and kind >> 15 else 0
    equal(answers, {-2: 0, -1: raw.ENOSPC, 0: raw.ENOSPC}, "what stands behind a RESIZE")
    equal(d.json("info", name)["objects"][0]["size"], 4096, "size")


def test_extended(d):
    """With extended headers: data, zeros, trims, flushes"""
    name = fresh(d, MIB, b"\x55" * MIB)
    h = Raw(d.nbd).go(name, extended=True)
    equal(h.do(raw.WRITE, 1000, 5, 0, b"hello")[0], 0, "a write")
    equal(h.read(998, 9), b"\x55\x55hello\x55\x55", "a read")
    equal(h.read(0, MIB, raw.DF)[1000:1005], b"hello", "a read that is not cut")
    equal(h.do(raw.ZEROES, 5000, 5000, raw.FUA)[0], 0, "zeros")
    equal(h.read(4999, 5002), b"\x55" + bytes(5000) + b"\x55", "zeros")
    equal(h.do(raw.TRIM, 65536, 65536)[0], 0, "a trim")
    equal(h.do(raw.CACHE, 0, MIB)[0], 0, "a cache")
    equal(h.do(raw.FLUSH)[0], 0, "a flush")
    equal(h.do(raw.READ, MIB, 1)[0], raw.EINVAL, "a read out of range")
    equal(h.do(raw.WRITE, MIB, 1, 0, b"x")[0], raw.ENOSPC, "a write out of range")
    equal(h.do(raw.READ, 0, 10, raw.REQ_ONE)[0], raw.EINVAL, "a flag")
    equal(h.do(77, 0, 10)[0], raw.EINVAL, "a command")
    equal(h.read(0, 4), b"\x55" * 4, "data")


def test_extended_lengths(d):
    """Lengths of more than 32 bits are zeroed, trimmed and told in one request"""
    name = fresh(d, 1 << 40)
    h = Raw(d.nbd).go(name, extended=True, contexts=["base:allocation"])
    equal(h.do(raw.WRITE, 1 << 39, 4, 0, b"data")[0], 0, "a write")
    error, found = h.status(0, 1 << 40)
    equal(error, 0, "status")
    extents = next(iter(found.values()))
    equal(extents[:2], [(1 << 39, 3), (BLOCK, 0)], "what is where")
    equal(h.do(raw.ZEROES, 0, 1 << 40)[0], 0, "zeros")
    equal(h.read(1 << 39, 4), bytes(4), "zeros")
    equal(h.do(raw.WRITE, 1 << 39, 4, 0, b"data")[0], 0, "a write")
    equal(h.do(raw.TRIM, 1, (1 << 40) - 1)[0], 0, "a trim")
    equal(h.do(raw.ZEROES, 1, 1 << 40)[0], raw.ENOSPC, "zeros out of range")
    equal(h.do(raw.ZEROES, 1, (1 << 64) - 1)[0], raw.ENOSPC, "zeros that go around")
    equal(h.do(raw.READ, 0, 1 << 39)[0] in (raw.EINVAL, raw.EOVERFLOW), True, "a read that is too large")
    equal(h.read(1 << 39, 4) in (bytes(4), b"data"), True, "it goes on")


def test_extended_payload(d):
    """Block status of those contexts that are asked for"""
    name = fresh(d, MIB, b"\x55" * MIB)
    d.ctl("snap", "add", name + "@v")
    contexts = ["base:allocation", "cowd:shared", "qemu:dirty-bitmap:v"]
    h = Raw(d.nbd).go(name, extended=True, contexts=contexts)
    ids = [h.contexts[c] for c in contexts]
    error, found = h.status(0, MIB)
    equal((error, sorted(found)), (0, sorted(ids)), "all")
    for some in ([ids[0]], ids[1:], ids):
        error, found = h.status(BLOCK, 2 * BLOCK, 0, some)
        equal((error, sorted(found)), (0, sorted(some)), "those that were asked for")
        for extents in found.values():
            equal(extents[0][0] >= 2 * BLOCK, True, "length")
    error, found = h.status(100, 10, raw.REQ_ONE, [ids[1]])
    equal((error, found), (0, {ids[1]: [(10, 1)]}), "one extent")
    other = next(n for n in range(1, 1000) if n not in ids)
    for wrong in ([other], [ids[0], other], [ids[0], ids[0]]):
        equal(h.status(0, BLOCK, 0, wrong)[0], raw.EINVAL, f"contexts {wrong}")
    for payload in (b"", bytes(7), bytes(9), bytes(11), bytes(8 + 4 * 2000)):
        equal(h.do(raw.STATUS, 0, len(payload), raw.PAYLOAD_LEN, payload)[0], raw.EINVAL,
              f"{len(payload)} bytes")
    equal(h.read(0, 1), b"\x55", "it goes on")


def test_extended_write_needs_its_flag(d):
    """With extended headers a write without PAYLOAD_LEN is an error, or ends the connection"""
    name = fresh(d)
    h = Raw(d.nbd).go(name, extended=True)
    h.send(h.request(raw.WRITE, 0, 4, 0, b""))
    try:
        equal(h.result(h.cookie)[0], raw.EINVAL, "error")
    except Ended:
        pass
    h = Raw(d.nbd).go(name, extended=True)
    equal(h.do(raw.ZEROES, 0, 4, raw.PAYLOAD_LEN, b"abcd")[0], raw.EINVAL, "a payload of zeros")
    equal(h.read(0, 4), bytes(4), "what is there")
    serves(d, name)


def test_extended_first(d):
    """EXTENDED_HEADERS has structured replies, and contexts can be set behind it"""
    name = fresh(d)
    h = Raw(d.nbd)
    equal(h.last(raw.EXTENDED), raw.ACK, "EXTENDED_HEADERS")
    is_error(h.last(raw.EXTENDED), raw.ACK, raw.INVALID)
    is_error(h.last(raw.STRUCTURED_REPLY), raw.ACK, raw.INVALID, raw.EXT_REQD)
    equal(h.last(raw.SET_META, meta_data(name, ["base:allocation"])), raw.ACK, "SET_META_CONTEXT")
    replies = h.haggle(raw.GO, info_data(name))
    flags = [struct.unpack(">H", data[10:])[0] for _, data in replies if data[:2] == b"\0\0"]
    equal([f >> 12 & 1 for f in flags], [1], "BLOCK_STATUS_PAYLOAD")
    equal(h.status(0, BLOCK)[0], 0, "status")


# ---- cut off -------------------------------------------------------------------------------------

def conversation(name):
    """The bytes of a whole client, in each kind of transmission."""
    write = struct.pack(">IHHQQI", raw.REQUEST, 0, raw.WRITE, 1, 0, 5000) + b"\x33" * 5000
    plain = b"".join(struct.pack(">IHHQQI", raw.REQUEST, 0, command, command, 0, length)
                     for command, length in ((raw.READ, 70000), (raw.FLUSH, 0), (raw.TRIM, BLOCK),
                                             (raw.ZEROES, 100), (raw.CACHE, BLOCK), (raw.STATUS, MIB)))
    filtered = struct.pack(">IHHQQQQI", raw.EXT_REQUEST, raw.PAYLOAD_LEN, raw.STATUS, 9, 0, 12, MIB, 1)
    wide = struct.pack(">IHHQQQ", raw.EXT_REQUEST, raw.PAYLOAD_LEN, raw.WRITE, 1, 0, 500) + bytes(500)
    begin = struct.pack(">I", 3) + option(raw.LIST) + option(raw.INFO, info_data(name, [1, 2, 3]))
    context = option(raw.SET_META, meta_data(name, ["base:allocation", "cowd:shared"]))
    go = option(raw.GO, info_data(name, [3]))
    yield begin + option(raw.STRUCTURED_REPLY) + option(raw.LIST_META, meta_data(name)) + context + go + plain
    yield struct.pack(">I", 3) + go + write
    yield struct.pack(">I", 3) + option(raw.EXTENDED) + context + go + wide + filtered
    yield struct.pack(">I", 1) + option(raw.EXPORT_NAME, name.encode()) + plain


def places(data):
    """Everywhere in the handshake and in heads; of a payload some places."""
    step = 1 if world.SHARE == 1 else 5
    return [at for at in range(len(data)) if at % step == 0 and
            (len(data) < 1000 or at < 600 or at % 97 == 0 or at > len(data) - 40)]


def test_cut(d):
    """A client that is cut off at any byte leaves nothing behind"""
    name = fresh(d)
    serves(d, name)
    before = now(d)
    cuts = 0
    for data in conversation(name):
        for at in places(data):
            h = Raw(d.nbd, greet=False)
            try:
                h.send(data[:at])
                if at % 2:
                    h.s.shutdown(1)
                    while h.s.recv(1 << 16):
                        pass
            except (Ended, ConnectionResetError):
                pass
            h.close()
            cuts += 1
    equal(cuts > 200, True, "cuts")
    unchanged(d, before)
    serves(d, name)


def test_noise(d):
    """Clients that send a good conversation with wrong bytes in it do no harm"""
    name = fresh(d)
    draw = random.Random(seed)
    before = now(d)
    for _ in range(world.count("TEST_NBD_NOISE", 600)):
        data = bytearray(draw.choice(list(conversation(name))))
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(min(len(data), 700))
            kind = draw.randrange(4)
            if kind == 0:
                data[at] = draw.randrange(256)
            elif kind == 1:
                data[at] ^= 1 << draw.randrange(8)
            elif kind == 2:
                data[at:at + 4] = draw.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"))
            else:
                del data[at:at + draw.randint(1, 9)]
        h = Raw(d.nbd, greet=False)
        try:
            h.send(data)
            h.s.shutdown(1)
            while h.s.recv(1 << 16):
                pass
        except (Ended, ConnectionResetError):
            pass
        h.close()
    unchanged(d, before)
    serves(d, fresh(d))  # a RESIZE is but a bit from a FLUSH


def test_never_reads(d):
    """Clients that ask for much and never read are held to a bound"""
    name = fresh(d, 32 * MIB)
    d.ctl("write", name, data=b"\x55" * (32 * MIB))
    serves(d, name)
    before = now(d)
    clients = []
    for _ in range(20):
        h = Raw(d.nbd).go(name)
        h.s.setblocking(False)
        try:
            for _ in range(200):
                h.s.send(h.request(raw.READ, 0, MIB))
        except BlockingIOError:
            pass
        clients.append(h)
    serves(d, name)
    d.grown(before[1], 300 * MIB)
    for h in clients:
        h.close()
    unchanged(d, before, 300 * MIB)
    serves(d, name)


def test_disconnect(d):
    """DISC ends the connection when what came before it is answered"""
    name = fresh(d)
    h = Raw(d.nbd).go(name)
    data = b"".join(h.request(raw.WRITE, n * 70000, 70000, 0, bytes([n]) * 70000) for n in range(10))
    data += b"".join(h.request(raw.READ, n * 4096, 4096) for n in range(10))
    h.send(data + h.request(raw.FLUSH) + h.request(raw.DISC) + h.request(raw.READ, 0, 10))
    seen, done = [], 0
    while done < 21:
        cookie, flags, kind, _, _ = h.chunk()
        equal(kind is not None and kind >> 15, False, "an error")
        done += flags & raw.DONE
        seen += [cookie] * (flags & raw.DONE)
    equal(sorted(seen), list(range(1, 22)), "cookies")
    h.ended()


def test_many_in_flight(d):
    """A client that sends a thousand commands before it reads has all answers, once"""
    name = fresh(d, 4 * MIB)
    h = Raw(d.nbd).go(name)
    for n in range(1000):
        at = n * 4000
        h.send(h.request(raw.WRITE, at, 1000, 0, n.to_bytes(4, "big") * 250) if n % 2 else
               h.request(raw.ZEROES, at, 1000, raw.NO_HOLE if n % 3 else 0))
    seen = set()
    while len(seen) < 1000:
        cookie, flags, kind, _, _ = h.chunk()
        equal(kind is not None and kind >> 15, False, "an error")
        equal(cookie in seen, False, "a second answer")
        if flags & raw.DONE:
            seen.add(cookie)
    for n in range(1, 1000, 98):
        equal(h.read(n * 4000, 1000), n.to_bytes(4, "big") * 250, "what was written")


def test_pieces_take_turns(d):
    """A command of many pieces lets others of its connection pass between them"""
    h = Raw(d.nbd).go(fresh(d, 16 * MIB), structured=False)
    h.send(h.request(raw.ZEROES, 0, 16 * MIB, raw.NO_HOLE) + h.request(raw.READ, 0, 1))
    equal(h.chunk()[0], 2, "the one that is answered first")
    equal(h.take(1), bytes(1), "what it has read")
    equal(h.chunk()[0], 1, "the other one")


def test_gone_in_flight(d):
    """A client that is gone while its writes are under way leaves nothing behind"""
    name = fresh(d, 8 * MIB)
    serves(d, name)
    before = now(d)
    draw = random.Random(seed)
    for _ in range(world.count("TEST_NBD_NOISE", 600) // 15 + 1):
        h = Raw(d.nbd).go(name)
        data = b""
        for _ in range(draw.randint(1, 30)):
            n = draw.choice((1, 4096, 70000, 300000))
            at = draw.randrange(8 * MIB - n)
            data += draw.choice((h.request(raw.WRITE, at, n, raw.FUA * draw.randrange(2), bytes(n)),
                                 h.request(raw.READ, at, n), h.request(raw.ZEROES, at, n, raw.NO_HOLE),
                                 h.request(raw.FLUSH), h.request(raw.TRIM, at, n), h.request(raw.CACHE, at, n)))
        h.send(data[:draw.randint(1, len(data))])
        h.close()
    unchanged(d, before, 64 * MIB)
    serves(d, name)


def test_lists_without_end(d):
    """A client that asks for lists and never reads is held to a bound"""
    d.ctl("create", "listed", MIB)
    d.ctl("clone", "-N", 300, "listed", "listed-" + "y" * 150 + "%03d")
    before = now(d)
    h = Raw(d.nbd)
    h.s.settimeout(2)
    try:
        for _ in range(2000):
            h.send(option(raw.LIST) * 10)
    except (TimeoutError, Ended):
        pass
    d.grown(before[1], 64 * MIB)
    h.close()
    unchanged(d, before, 64 * MIB)
    d.ctl("rm", *(f"listed-{'y' * 150}{n:03}" for n in range(300)))


def test_nothing_said_for_long(d):
    """Those who have waited since the beginning are let go"""
    for h in waiting:
        h.ended()
    serves(d, fresh(d))


def as_nobody(address):
    """What another user is told; in a process of his own."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    h = Raw(address)
    for number in range(1, 12):
        if number not in (raw.EXPORT_NAME, raw.ABORT):
            kind, text = h.haggle(number)[-1]
            equal(kind, raw.POLICY, f"option {number}")
            equal(b"uid 65534" in text, True, f"what is said of it: {text!r}")
    equal(h.last(raw.ABORT), raw.ACK, "ABORT")
    h = Raw(address)
    h.send(option(raw.EXPORT_NAME, b"x"))
    h.ended()


def test_stranger(d):
    """Another user who reaches the socket may do nothing there"""
    if os.geteuid():
        print("# not root: there is nobody else to connect as")
        return
    os.chmod(d.dir, 0o711)
    os.chmod(d.nbd, 0o666)
    pid = os.fork()
    if pid == 0:
        try:
            as_nobody(d.nbd)
            os._exit(0)
        except BaseException:
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
        os._exit(1)
    equal(os.waitpid(pid, 0)[1], 0, "what he has seen")
    serves(d, fresh(d))


print(f"# TEST_SEED={seed}")
world.main(globals())
