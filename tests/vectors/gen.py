#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes tests/vectors/protocol.txt: test vectors for docs/protocol.md.

It is written from the document and shares no code with the server, so that the two check each
other.  Usage: gen.py > protocol.txt
"""

import struct
import sys

HEAD = """\
# SPDX-License-Identifier: BSD-2-Clause
# Test vectors for version 1 of the protocol (docs/protocol.md), made by tests/vectors/gen.py.
#
# Words are separated by one blank; a value has no blank in it.
#   msg TYPE HEX KEY=VALUE...          a body of that type and what it says
#   frame NAME HEX KEY=VALUE... body=TYPE
#                                      a whole frame: the fields of its header, the type of its body
#   badmsg TYPE HEX why=REASON         a body that is refused
#   badframe NAME HEX error=ERROR      a frame whose header is refused, and the error for it
# HEX is "-" for no bytes at all.  A body without a type (body=-) is empty.  Bytes after header and
# body are the payload.  N.KEY is a field of entry N of an array.  Labels have a "|" in place of each
# zero byte.
"""

U8, U16, U32, U64 = "<B", "<H", "<I", "<Q"
REQUEST, REPLY = b"COWQ", b"COWR"


def crc32c(data):
    """CRC-32C, bit by bit (reflected polynomial 0x82f63b78)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def string(text):
    raw = text.encode()
    return struct.pack(U16, len(raw)) + raw


def label_bytes(labels):
    """Labels as they are written in the vectors, with a bar behind each."""
    raw = labels.encode().replace(b"|", b"\0")
    return struct.pack(U16, len(raw)) + raw


def pack(fields):
    """Fields are (key, kind, value); the kind is a struct format, "str", "labels" or "raw"."""
    out = b""
    for _, kind, value in fields:
        if kind == "str":
            out += string(value)
        elif kind == "labels":
            out += label_bytes(value)
        elif kind == "raw":
            out += value
        else:
            out += struct.pack(kind, value)
    return out


def words(fields):
    return [f"{k}={v.hex() if kind == 'raw' else v}" for k, kind, v in fields]


def line(*parts):
    print(*parts)


def hexed(data):
    return data.hex() or "-"


# ---- the messages, in the order of the document ----------------------------------------------

UUID = bytes.fromhex("00112233445566778899aabbccddeeff")
LONG = "n" * 255
TOP64 = 2**64 - 1
TOP32 = 2**32 - 1
CENTURY = 3155760000000
LABELS = "os=debian|tier/class=größe=1|z=|"
# as long as labels may be: 3 of 319 bytes with their zero bytes, and one of 64
MANY = "".join(f"{k * 63}={'v' * 255}|" for k in "abc") + f"d={'v' * 61}|"


def hello(vmin, vmax, features, agent):
    return [("version_min", U32, vmin), ("version_max", U32, vmax), ("features", U64, features),
            ("agent", "str", agent)]


def hello_reply(features, incarnation, agent):
    return [("version", U32, 1), ("block_bytes", U32, 4096), ("features", U64, features),
            ("body_max", U32, 65536), ("payload_max", U32, 33554432), ("inflight_max", U32, 128),
            ("incarnation", U64, incarnation), ("store_uuid", "raw", UUID), ("agent", "str", agent)]


def info(prefix, name, *rest):
    keys = ("id", "size_bytes", "mapped_bytes", "generation", "ctime_ns", "mtime_ns", "origin",
            "parent", "expires_ns", "reserved_bytes", "withheld_bytes")
    *numbers, nversions, flags, labels = rest
    return ([(prefix + "name", "str", name)]
            + [(prefix + k, U64, n) for k, n in zip(keys, numbers, strict=True)]
            + [(prefix + "nversions", U32, nversions), (prefix + "flags", U32, flags),
               (prefix + "labels", "labels", labels)])


BASE = ("images/debian-12", 7, 10737418240, 2147483648, 41, 1767225600123456789,
        1767225601000000000, 0, 0, 0, 5368709120, 4096, 2, 0, LABELS)
CLONE = ("vm-1", 8, 10737418241, 2147483648, 1, 1767225602000000000, 1767225602000000000, 7, 0,
         1767229202000000000, 0, 0, 0, 0, "")
SNAP = ("images/debian-12@2026-01", 9, 10737418240, 2147483648, 1, 1767225603000000000,
        1767225601000000000, 7, 7, 0, 0, 0, 0, 1, "by=cron|")
LARGEST = (LONG, *([TOP64] * 11), TOP32, 1, MANY)


def text(value):
    return [("text", "str", value)]


def name(value):
    return [("name", "str", value)]


def create(value, size, ttl=0, labels="", reserved=0):
    return [("name", "str", value), ("size_bytes", U64, size), ("ttl_ms", U64, ttl),
            ("reserved_bytes", U64, reserved), ("labels", "labels", labels)]


def opening(value, flags):
    return [("name", "str", value), ("flags", U32, flags)]


def open_reply(handle, *numbers):
    return [("handle", U32, handle)] + info("info.", *numbers)


def handle(value):
    return [("handle", U32, value)]


def listing(prefix, after, label, most):
    return [("prefix", "str", prefix), ("after", "str", after), ("label", "str", label),
            ("max", U32, most)]


def list_reply(more, *infos):
    fields = [("count", U32, len(infos)), ("more", U8, more)]
    for i, one in enumerate(infos):
        fields += info(f"{i}.", *one)
    return fields


def clone(src, dst, ttl=0, labels=""):
    return [("src", "str", src), ("dst", "str", dst), ("ttl_ms", U64, ttl),
            ("labels", "labels", labels)]


def handles(*values):
    return ([("count", U16, len(values))]
            + [(f"{i}.handle", U32, h) for i, h in enumerate(values)])


def clone_all(ttl, labels, *pairs):
    fields = [("ttl_ms", U64, ttl), ("labels", "labels", labels), ("count", U16, len(pairs))]
    for i, (src, dst) in enumerate(pairs):
        fields += [(f"{i}.src", "str", src), (f"{i}.dst", "str", dst)]
    return fields


def snap(value, ttl=0, labels=""):
    return [("name", "str", value), ("ttl_ms", U64, ttl), ("labels", "labels", labels)]


def removal(value, flags):
    return [("name", "str", value), ("flags", U32, flags)]


def versions(value, after, most):
    return [("name", "str", value), ("after", "str", after), ("max", U32, most)]


def children(value, after, most):
    return [("name", "str", value), ("after", U64, after), ("max", U32, most)]


def rename(old, new, flags):
    return [("from", "str", old), ("to", "str", new), ("flags", U32, flags)]


def setting(value, flags, ttl=0, edits="", expect="", reserved=0):
    return [("name", "str", value), ("flags", U32, flags), ("ttl_ms", U64, ttl),
            ("reserved_bytes", U64, reserved), ("edits", "labels", edits), ("expect", "labels", expect)]


def usage(*specs):
    return [("count", U16, len(specs))] + [(f"{i}.name", "str", s) for i, s in enumerate(specs)]


def usage_reply(mapped, exclusive):
    return [("mapped_bytes", U64, mapped), ("exclusive_bytes", U64, exclusive)]


def reaping_reply(count):
    return [("reaping_bytes", U64, count)]


def check_reply(numbers, *texts):
    keys = ("differences", "objects", "nodes", "mapped_bytes", "shared_bytes", "free_bytes")
    return ([(k, U64, n) for k, n in zip(keys, numbers, strict=True)]
            + [("ntexts", U16, len(texts))]
            + [(f"{i}.text", "str", t) for i, t in enumerate(texts)])


def server_reply(incarnation, uptime, nbd_tls, agent, *addrs):
    return ([("incarnation", U64, incarnation), ("uptime_ms", U64, uptime),
             ("nbd_tls", U32, nbd_tls), ("agent", "str", agent), ("count", U16, len(addrs))]
            + [(f"{i}.text", "str", a) for i, a in enumerate(addrs)])


def read(h, offset, length, flags=0):
    return [("handle", U32, h), ("flags", U32, flags), ("offset", U64, offset),
            ("len", U32, length)]


def write(h, offset, flags=0):
    return [("handle", U32, h), ("flags", U32, flags), ("offset", U64, offset)]


def resize(h, flags, size):
    return [("handle", U32, h), ("flags", U32, flags), ("size_bytes", U64, size)]


def zero(h, flags, offset, length):
    return [("handle", U32, h), ("flags", U32, flags), ("offset", U64, offset), ("len", U64, length)]


def clone_range(src, dst, src_offset, dst_offset, length):
    return [("src", U32, src), ("dst", U32, dst), ("src_offset", U64, src_offset),
            ("dst_offset", U64, dst_offset), ("len", U64, length)]


def clone_range_reply(length, left):
    return [("len", U64, length), ("left", U64, left)]


def ranges(pairs):
    fields = [("count", U32, len(pairs))]
    for i, (offset, length) in enumerate(pairs):
        fields += [(f"{i}.offset", U64, offset), (f"{i}.len", U32, length)]
    return fields


def readv(h, *pairs):
    return [("handle", U32, h)] + ranges(pairs)


def readv_reply(*lens):
    return [("count", U32, len(lens))] + [(f"{i}.len", U32, n) for i, n in enumerate(lens)]


def condition(h, flags, value):
    return [("handle", U32, h), ("flags", U32, flags), ("generation", U64, value)]


def writev(h, flags, value, *pairs):
    return condition(h, flags, value) + ranges(pairs)


def write_all(*entries):
    fields = [("count", U32, len(entries))]
    for i, entry in enumerate(entries):
        fields += [(f"{i}.{key}", kind, value) for (key, kind), value in
                   zip((("handle", U32), ("flags", U32), ("generation", U64), ("offset", U64),
                        ("len", U32)), entry, strict=True)]
    return fields


def generations(*values):
    return ([("count", U16, len(values))]
            + [(f"{i}.generation", U64, value) for i, value in enumerate(values)])


def generation(value):
    return [("generation", U64, value)]


def unshare(h, offset, length):
    return [("handle", U32, h), ("offset", U64, offset), ("len", U64, length)]


def unshare_reply(length, left, copied):
    return [("len", U64, length), ("left", U64, left), ("copied", U64, copied)]


def verify(h, most, offset, length, older, rate):
    return [("handle", U32, h), ("max", U32, most), ("offset", U64, offset), ("len", U64, length),
            ("older", U64, older), ("rate", U64, rate)]


def verify_reply(length, left, read_bytes, pending, *damages):
    fields = [("len", U64, length), ("left", U64, left), ("read", U64, read_bytes),
              ("pending", U64, pending), ("count", U32, len(damages))]
    for i, (offset, size, physical, kind) in enumerate(damages):
        fields += [(f"{i}.offset", U64, offset), (f"{i}.len", U64, size),
                   (f"{i}.physical", U64, physical), (f"{i}.kind", U32, kind)]
    return fields


def extents(h, flags, offset, length, most):
    return [("handle", U32, h), ("flags", U32, flags), ("offset", U64, offset),
            ("len", U64, length), ("max", U32, most)]


def extents_reply(*runs):
    fields = [("count", U32, len(runs))]
    for i, (length, physical, kind, flags) in enumerate(runs):
        fields += [(f"{i}.len", U64, length), (f"{i}.physical", U64, physical),
                   (f"{i}.kind", U16, kind), (f"{i}.flags", U16, flags)]
    return fields


def diff(h, older, offset, length, most):
    return [("handle", U32, h), ("older", U64, older), ("offset", U64, offset),
            ("len", U64, length), ("max", U32, most)]


def diff_reply(nodes, size, older, *runs):
    fields = [("count", U32, len(runs)), ("nodes", U32, nodes), ("size_bytes", U64, size),
              ("older_bytes", U64, older)]
    for i, (length, kind) in enumerate(runs):
        fields += [(f"{i}.len", U64, length), (f"{i}.kind", U32, kind)]
    return fields


def statfs_reply(*numbers):
    keys = ("block_bytes", "total_bytes", "free_bytes", "reserved_bytes", "mapped_bytes",
            "meta_total_bytes", "meta_used_bytes", "objects", "versions", "reaping_bytes",
            "staged_bytes", "journal_bytes", "journal_used_bytes", "withheld_bytes")
    return [(k, U64, n) for k, n in zip(keys, numbers, strict=True)]


MESSAGES = [
    ("msg_hello", hello(1, 1, 1, "cowctl/1.0.0")),
    ("msg_hello", hello(0, TOP32, TOP64, "")),
    ("msg_hello", hello(1, 3, 0, "a" * 63)),
    ("msg_hello_reply", hello_reply(1, 5, "cowd/1.0.0")),
    ("msg_hello_reply", hello_reply(0, TOP64, "")),
    ("msg_error", text("")),
    ("msg_error", text("no_such_object")),
    ("msg_error", text("e" * 511)),
    ("msg_info", info("", *BASE)),
    ("msg_info", info("", *SNAP)),
    ("msg_info", info("", *LARGEST)),
    ("msg_name", name("a")),
    ("msg_name", name("disks/größe-β")),
    ("msg_name", name(LONG)),
    ("msg_create", create("vm-1", 0)),
    ("msg_create", create("vm-2", 2**50, CENTURY, LABELS)),
    ("msg_create", create(LONG, 4096, 3600000, MANY)),
    ("msg_create", create("db", 2**40, 0, "", 2**39 + 1)),
    ("msg_create", create("db", 0, 0, LABELS, TOP64)),
    ("msg_open", opening("vm-1", 0)),
    ("msg_open", opening("vm-1", 1)),
    ("msg_open", opening("vm-1", 7)),
    ("msg_open_reply", open_reply(1, *CLONE)),
    ("msg_open_reply", open_reply(TOP32, *BASE)),
    ("msg_open_reply", open_reply(2, *LARGEST)),
    ("msg_handle", handle(0x01020304)),
    ("msg_list", listing("", "", "", 0)),
    ("msg_list", listing("images/", "images/debian-12", "os=debian", 100)),
    ("msg_list", listing(LONG, LONG, f"{'k' * 63}={'v' * 255}", TOP32)),
    ("msg_list_reply", list_reply(0)),
    ("msg_list_reply", list_reply(0, BASE)),
    ("msg_list_reply", list_reply(1, BASE, CLONE)),
    ("msg_list_reply", list_reply(0, SNAP, CLONE, SNAP)),
    ("msg_clone", clone("images/debian-12", "vm-1")),
    ("msg_clone", clone("images/debian-12@2026-01", "vm-1", 60000, "os=debian|")),
    ("msg_clone", clone(LONG, LONG, CENTURY, MANY)),
    ("msg_handles", handles(1)),
    ("msg_handles", handles(3, 1, TOP32)),
    ("msg_handles", handles(*range(1, 129))),
    ("msg_clone_all", clone_all(0, "", ("vm-1", "vm-1@a"))),
    ("msg_clone_all", clone_all(60000, LABELS, ("data@a", "data-2"), ("log", "log-2"))),
    ("msg_clone_all", clone_all(CENTURY, MANY, (LONG, LONG))),
    ("msg_clone_all", clone_all(0, "", *((f"{i}", f"{i}@a") for i in range(128)))),
    ("msg_read", read(1, 0, 0)),
    ("msg_read", read(1, 0x1122334455667788, 33554432)),
    ("msg_read", read(1, 4096, 8192, 1)),
    ("msg_write", write(1, 4097)),
    ("msg_write", write(1, 4096, 1)),
    ("msg_resize", resize(1, 0, 2**40)),
    ("msg_resize", resize(1, 1, 1)),
    ("msg_zero", zero(1, 0, 4097, 2**40)),
    ("msg_zero", zero(0x11223344, 1, 0, TOP64)),
    ("msg_clone_range", clone_range(1, 2, 4096, 0, 0)),
    ("msg_clone_range", clone_range(0x11223344, 0x55667788, 2**40 + 1, 4097, TOP64)),
    ("msg_clone_range_reply", clone_range_reply(2**24, 0)),
    ("msg_clone_range_reply", clone_range_reply(2**40, TOP64)),
    ("msg_unshare", unshare(1, 4097, TOP64)),
    ("msg_unshare", unshare(0x11223344, 0, 2**40)),
    ("msg_unshare_reply", unshare_reply(2**21, 2**40, 4096)),
    ("msg_unshare_reply", unshare_reply(TOP64, 0, 0)),
    ("msg_verify", verify(1, 0, 0, TOP64, 0, 0)),
    ("msg_verify", verify(0x11223344, TOP32, 4097, 2**40, TOP64, 4096)),
    ("msg_verify_reply", verify_reply(0, 0, 0, 0)),
    ("msg_verify_reply", verify_reply(2**20, 2**40, 2**19, 8192, (4096, 8192, 2**30, 1),
                                      (65536, 4096, TOP64, 2), (2**21, 2**31, 0, 3))),
    ("msg_verify_reply", verify_reply(TOP64, 1, TOP64, TOP64,
                                      *((8192 * i, 4096, 4096 * i, 1) for i in range(256)))),
    ("msg_readv", readv(1, (4097, 17))),
    ("msg_readv", readv(0x11223344, (TOP64, 0), (0, 33554431), (5, 1))),
    ("msg_readv", readv(1, *((i, i) for i in range(100)))),
    ("msg_readv_reply", readv_reply(17)),
    ("msg_readv_reply", readv_reply(0, TOP32, 3)),
    ("msg_readv_reply", readv_reply(*range(100))),
    ("msg_writev", writev(1, 0, 0, (4097, 17))),
    ("msg_writev", writev(1, 1, TOP64, (0, 33554432), (TOP64, 0))),
    ("msg_writev", writev(1, 1, 0, *((2 * i, 1) for i in range(100)))),
    ("msg_fsync_if", condition(1, 0, 0)),
    ("msg_fsync_if", condition(0x11223344, 1, 0x1122334455667788)),
    ("msg_generation", generation(TOP64)),
    ("msg_write_all", write_all((1, 0, 0, 4097, 17))),
    ("msg_write_all", write_all((1, 1, TOP64, 0, 33554430), (0x11223344, 1, 0, TOP64, 1), (1, 0, 0, 2, 1))),
    ("msg_write_all", write_all(*((i // 2, 0, 0, 2 * i, 1) for i in range(70)))),
    ("msg_generations", generations(0x1122334455667788)),
    ("msg_generations", generations(*range(200))),
    ("msg_extents", extents(1, 0, 65536, TOP64, 16)),
    ("msg_extents", extents(0x11223344, 1, 1, 2, TOP32)),
    ("msg_extents_reply", extents_reply()),
    ("msg_extents_reply", extents_reply((4096, 0, 1, 0), (1048576, 0, 0, 0), (17, 0, 1, 0))),
    ("msg_extents_reply", extents_reply((4096, 2**40, 1, 1), (8192, TOP64, 1, 0),
                                        (1, 0, 1, 2), (TOP64, 0, 2, 2))),
    ("msg_diff", diff(1, 0, 0, TOP64, 0)),
    ("msg_diff", diff(0x11223344, TOP64, 65537, 4096, TOP32)),
    ("msg_diff_reply", diff_reply(0, 0, TOP64)),
    ("msg_diff_reply", diff_reply(345, 2**40, 2**39, (4096, 1), (8191, 3), (1048576, 0))),
    ("msg_statfs_reply", statfs_reply(4096, 2**40, 2**39, 2**20, 2**38, 2**30, 2**25, 12, 5,
                                      2**21, 2**23, 2**28, 2**24, 2**33)),
    ("msg_snap", snap("vm-1@before-upgrade")),
    ("msg_snap", snap("vm-1@a", CENTURY, LABELS)),
    ("msg_remove", removal("vm-1@a", 0)),
    ("msg_remove", removal("vm-1", 1)),
    ("msg_versions", versions("vm-1", "", 0)),
    ("msg_versions", versions("vm-1", "vm-1@a", 10)),
    ("msg_children", children("vm-1@a", 0, 0)),
    ("msg_children", children("vm-1", TOP64, 1)),
    ("msg_rename", rename("vm-1", "disks/vm-1", 0)),
    ("msg_rename", rename("live", "next", 1)),
    ("msg_set", setting("vm-1", 0)),
    ("msg_set", setting("vm-1@a", 9, 60000, "os=debian|tier|", "owner|")),
    ("msg_set", setting("vm-1", 2, 0, "", "os=|tier=1|")),
    ("msg_set", setting(LONG, 5, CENTURY, MANY, "owner|")),
    ("msg_set", setting("a", 0, 0, "", MANY)),
    ("msg_set", setting("a", 16)),
    ("msg_set", setting("a", 31 - 4, 60000, "os=debian|", "owner|", TOP64)),
    ("msg_usage", usage("vm-1")),
    ("msg_usage", usage("vm-1", "vm-1@a", LONG)),
    ("msg_usage", usage(*(f"vm{i}" for i in range(256)))),
    ("msg_usage_reply", usage_reply(2**40, 4096)),
    ("msg_reaping_reply", reaping_reply(0)),
    ("msg_reaping_reply", reaping_reply(TOP64)),
    ("msg_check_reply", check_reply((0, 12, 345, 2**38, 2**37, 2**39))),
    ("msg_check_reply", check_reply((2, 1, 2, 3, 4, 5), "node_7:_count_2,_found_3", "t" * 511)),
    ("msg_check_reply", check_reply((65, 1, 2, 3, 4, 5), *(f"difference_{i}" for i in range(64)))),
    ("msg_server_reply", server_reply(1, 0, 0, "")),
    ("msg_server_reply", server_reply(17, 86400000, 2, "cowd/0.1", "unix:/run/cowd/cowd.sock",
                                      "tcp:127.0.0.1:7117", "tls:[::]:7118",
                                      "nbd+unix:/run/cowd/nbd.sock", "nbd+tcp:0.0.0.0:10809")),
    ("msg_server_reply", server_reply(TOP64, TOP64, 1, "a" * 63, *("u" * 255 for _ in range(32)))),
]


# ---- frames ----------------------------------------------------------------------------------

def header(magic, op, ident, status, body, payload, checked, **changed):
    """The fields of a header, some of them changed, before its own CRC."""
    fields = {"magic": int.from_bytes(magic, "little"), "op": op, "flags": 0, "id": ident,
              "status": status, "body_len": len(body), "payload_len": len(payload),
              "body_crc": crc32c(body), "payload_crc": crc32c(payload) if checked else 0}
    fields.update(changed)
    kinds = (U32, U16, U16, U64, U32, U32, U32, U32, U32)
    return [(k, kind, v) for (k, v), kind in zip(fields.items(), kinds, strict=True)]


def sealed(fields):
    raw = pack(fields)
    return raw + struct.pack(U32, crc32c(raw))


def frame(label, magic, op, ident, status=0, kind="-", fields=(), payload=b"", checked=False):
    body = pack(fields)
    head = header(magic, op, ident, status, body, payload, checked)
    line("frame", label, hexed(sealed(head) + body + payload), *words(head), f"body={kind}")


def frames():
    data = bytes(range(16)) * 2
    frame("hello", REQUEST, 1, 1, kind="msg_hello", fields=hello(1, 1, 1, "cowctl/1.0.0"))
    frame("hello-reply", REPLY, 1, 1, kind="msg_hello_reply",
          fields=hello_reply(1, 5, "cowd/1.0.0"))
    frame("hello-no-version", REPLY, 1, 1, status=11, kind="msg_error",
          fields=text("no_common_protocol_version"))
    frame("ping", REQUEST, 2, 0x1122334455667788)
    frame("ping-reply", REPLY, 2, 0x1122334455667788)
    frame("create", REQUEST, 3, 2, kind="msg_create", fields=create("vm-1", 1048576))
    frame("create-exists", REPLY, 3, 2, status=3, kind="msg_error", fields=text("exists"))
    frame("open", REQUEST, 4, 3, kind="msg_open", fields=opening("vm-1", 0))
    frame("open-reply", REPLY, 4, 3, kind="msg_open_reply", fields=open_reply(1, *CLONE))
    frame("read", REQUEST, 9, 4, kind="msg_read", fields=read(1, 512, 32))
    frame("read-reply", REPLY, 9, 4, payload=data)
    frame("read-reply-checked", REPLY, 9, 4, payload=data, checked=True)
    frame("write", REQUEST, 10, 5, kind="msg_write", fields=write(1, 4097), payload=data)
    frame("write-checked", REQUEST, 10, 5, kind="msg_write", fields=write(1, 4097), payload=data,
          checked=True)
    frame("write-reply", REPLY, 10, 5)
    frame("readv", REQUEST, 27, 17, kind="msg_readv", fields=readv(1, (512, 16), (0, 16)))
    frame("readv-reply", REPLY, 27, 17, kind="msg_readv_reply", fields=readv_reply(16, 16),
          payload=data)
    frame("writev", REQUEST, 28, 18, kind="msg_writev",
          fields=writev(1, 1, 41, (0, 16), (4095, 16)), payload=data)
    frame("writev-reply", REPLY, 28, 18, kind="msg_generation", fields=generation(42))
    frame("writev-changed", REPLY, 28, 18, status=17, kind="msg_error", fields=text("changed"))
    frame("fsync-if", REQUEST, 29, 19, kind="msg_fsync_if", fields=condition(1, 1, 42))
    frame("fsync", REQUEST, 11, 6, kind="msg_handle", fields=handle(1))
    frame("fsync-failed", REPLY, 11, 6, status=7, kind="msg_error", fields=text("writeback_failed"))
    frame("statfs", REQUEST, 15, TOP64)
    frame("snap", REQUEST, 16, 8, kind="msg_snap", fields=snap("images/debian-12@2026-01",
                                                               604800000, "by=cron|"))
    frame("snap-reply", REPLY, 16, 8, kind="msg_info", fields=info("", *SNAP))
    frame("versions", REQUEST, 17, 9, kind="msg_versions",
          fields=versions("images/debian-12", "", 0))
    frame("versions-reply", REPLY, 17, 9, kind="msg_list_reply", fields=list_reply(0, SNAP))
    frame("children", REQUEST, 18, 10, kind="msg_children",
          fields=children("images/debian-12@2026-01", 0, 0))
    frame("rename", REQUEST, 19, 11, kind="msg_rename", fields=rename("vm-1", "vm-2", 0))
    frame("rename-reply", REPLY, 19, 11)
    frame("reset", REQUEST, 20, 12, kind="msg_name", fields=name("images/debian-12@2026-01"))
    frame("usage", REQUEST, 21, 13, kind="msg_usage", fields=usage("vm-1", "vm-2"))
    frame("usage-reply", REPLY, 21, 13, kind="msg_usage_reply", fields=usage_reply(2**40, 4096))
    frame("reaping", REQUEST, 22, 14)
    frame("reaping-reply", REPLY, 22, 14, kind="msg_reaping_reply", fields=reaping_reply(8192))
    frame("check", REQUEST, 23, 15)
    frame("server", REQUEST, 37, 23)
    frame("server-reply", REPLY, 37, 23, kind="msg_server_reply",
          fields=server_reply(17, 5000, 1, "cowd/0.1", "unix:/run/cowd/cowd.sock"))
    frame("set", REQUEST, 26, 17, kind="msg_set",
          fields=setting("vm-1", 1, 60000, "os=debian|tier|", "owner|"))
    frame("set-reply", REPLY, 26, 17, kind="msg_info", fields=info("", *CLONE))
    frame("diff", REQUEST, 30, 18, kind="msg_diff", fields=diff(1, 12, 0, TOP64, 0))
    frame("tie", REQUEST, 31, 19, kind="msg_handles", fields=handles(1, 2))
    frame("tie-reply", REPLY, 31, 19)
    frame("fsync-all", REQUEST, 32, 20, kind="msg_handles", fields=handles(1, 2))
    frame("clone-all", REQUEST, 33, 21, kind="msg_clone_all",
          fields=clone_all(0, "", ("data", "data@a"), ("log", "log@a")))
    frame("write-all-reply", REPLY, 35, 22, kind="msg_generations", fields=generations(7, 2**32))
    frame("remove-has-versions", REPLY, 13, 16, status=4, kind="msg_error",
          fields=text("it_has_2"))
    frame("unknown-op", REQUEST, 999, 7)
    frame("unknown-op-reply", REPLY, 999, 7, status=11, kind="msg_error",
          fields=text("unknown_operation"))


# ---- what is refused -------------------------------------------------------------------------

def bad_messages():
    def bad(kind, data, why):
        line("badmsg", kind, hexed(data), f"why={why}")

    bad("msg_handle", b"", "empty")
    bad("msg_handle", struct.pack("<IB", 1, 0), "trailing-byte")
    bad("msg_hello", pack(hello(1, 1, 0, "a" * 64)), "agent-too-long")
    bad("msg_hello", pack(hello(1, 1, 0, "a\0b")), "NUL-in-string")
    bad("msg_hello_reply", pack(hello_reply(0, 1, "a" * 64)), "agent-too-long")
    bad("msg_error", pack(text("e" * 512)), "text-too-long")
    bad("msg_info", pack(info("", LONG + "n", *([0] * 13), "")), "name-too-long")
    bad("msg_name", pack(name(LONG + "n")), "name-too-long")
    bad("msg_name", struct.pack("<H", 2) + b"a", "string-past-the-end")
    bad("msg_create", pack(create(LONG + "n", 0)), "name-too-long")
    bad("msg_create", pack(create("vm-1", 0, CENTURY + 1)), "time-over-the-maximum")
    bad("msg_clone", pack(clone("vm-1", "vm-2", TOP64)), "time-over-the-maximum")
    for kind, fields in (("msg_info", lambda l: info("", "a", *([0] * 13), l)),
                         ("msg_create", lambda l: create("a", 0, 0, l)),
                         ("msg_clone", lambda l: clone("a", "b", 0, l)),
                         ("msg_snap", lambda l: snap("a@b", 0, l)),
                         ("msg_set", lambda l: setting("a", 0, 0, l)),
                         ("msg_set", lambda l: setting("a", 0, 0, "", l))):
        bad(kind, pack(fields("a=1")), "label-without-its-zero-byte")
        bad(kind, pack(fields("a=1||")), "empty-label")
        bad(kind, pack(fields("|a=1|")), "empty-label-first")
        bad(kind, pack(fields("|")), "nothing-but-an-empty-label")
        bad(kind, pack(fields(MANY[:-1] + "v|")), "labels-too-long")
        bad(kind, pack(fields("a=1|"))[:-1], "labels-past-the-end")
    bad("msg_snap", pack(snap(LONG + "n")), "name-too-long")
    bad("msg_snap", pack(snap("vm-1@a", CENTURY + 1)), "time-over-the-maximum")
    bad("msg_remove", pack(removal(LONG + "n", 0)), "name-too-long")
    bad("msg_remove", pack(removal("vm-1", 2)), "unknown-flag")
    bad("msg_versions", pack(versions(LONG + "n", "", 0)), "name-too-long")
    bad("msg_versions", pack(versions("vm-1", LONG + "n", 0)), "after-too-long")
    bad("msg_children", pack(children(LONG + "n", 0, 0)), "name-too-long")
    bad("msg_rename", pack(rename(LONG + "n", "a", 0)), "from-too-long")
    bad("msg_rename", pack(rename("a", LONG + "n", 0)), "to-too-long")
    bad("msg_rename", pack(rename("a", "b", 2)), "unknown-flag")
    bad("msg_info", pack(info("", "a", *([0] * 12), 2, "")), "unknown-flag")
    bad("msg_set", pack(setting(LONG + "n", 0)), "name-too-long")
    bad("msg_set", pack(setting("a", 32)), "unknown-flag")
    bad("msg_set", pack(setting("a", 15 - 4, 0, "", "", 4096)), "reservation-without-its-flag")
    bad("msg_set", pack(setting("a", 6)), "read-only-and-writable")
    bad("msg_set", pack(setting("a", 0, 1)), "time-without-its-flag")
    bad("msg_set", pack(setting("a", 1, CENTURY + 1)), "time-over-the-maximum")
    bad("msg_handles", pack(handles()), "no-handles")
    bad("msg_handles", pack(handles(*range(1, 130))), "count-over-the-maximum")
    bad("msg_handles", struct.pack("<HI", 2, 1), "count-over-the-handles")
    bad("msg_handles", struct.pack("<HII", 1, 1, 2), "count-below-the-handles")
    bad("msg_clone_all", pack(clone_all(0, "")), "no-pairs")
    bad("msg_clone_all", pack(clone_all(0, "", *(("a", "b") for _ in range(129)))),
        "count-over-the-maximum")
    bad("msg_clone_all", pack(clone_all(CENTURY + 1, "", ("a", "b"))), "time-over-the-maximum")
    bad("msg_clone_all", pack(clone_all(0, "a=1", ("a", "b"))), "label-without-its-zero-byte")
    bad("msg_clone_all", pack(clone_all(0, "", ("a", LONG + "n"))), "name-too-long")
    bad("msg_clone_all", pack(clone_all(0, "", ("a", "b"))) + string("c"), "half-a-pair-more")
    bad("msg_usage", pack(usage()), "no-specs")
    bad("msg_usage", struct.pack(U16, 4097) + string("a"), "count-over-the-maximum")
    bad("msg_usage", pack(usage("a", LONG + "n")), "name-too-long")
    bad("msg_usage", struct.pack(U16, 2) + string("a"), "count-over-the-specs")
    bad("msg_usage", struct.pack(U16, 1) + string("a") + string("b"), "count-below-the-specs")
    bad("msg_check_reply", pack(check_reply([0] * 6, *("t" for _ in range(65)))),
        "texts-over-the-maximum")
    texts = pack(check_reply([0] * 6, *("t" for _ in range(64))))
    bad("msg_check_reply", texts[:48] + struct.pack(U16, 65) + texts[50:],
        "count-over-the-maximum-and-the-texts")
    bad("msg_check_reply", pack(check_reply([0] * 6, "t" * 512)), "text-too-long")
    bad("msg_check_reply", struct.pack("<6QH", *([0] * 6), TOP32 >> 16), "count-over-the-texts")
    bad("msg_server_reply", pack(server_reply(1, 0, 0, "", *("u" for _ in range(33)))),
        "count-over-the-maximum")
    bad("msg_server_reply", pack(server_reply(1, 0, 3, "")), "unknown-mode")
    bad("msg_server_reply", pack(server_reply(1, 0, 0, "", "u" * 256)), "address-too-long")
    bad("msg_server_reply", pack(server_reply(1, 0, 0, "a" * 64)), "agent-too-long")
    bad("msg_server_reply", pack(server_reply(1, 0, 0, ""))[:-2] + struct.pack(U16, 1),
        "count-over-the-addresses")
    bad("msg_open", pack(opening("vm-1", 8)), "unknown-flag")
    bad("msg_open", pack(opening(LONG + "n", 0)), "name-too-long")
    bad("msg_list", pack(listing(LONG + "n", "", "", 0)), "prefix-too-long")
    bad("msg_list", pack(listing("", LONG + "n", "", 0)), "after-too-long")
    bad("msg_list", pack(listing("", "", "l" * 320, 0)), "label-too-long")
    bad("msg_clone", pack(clone(LONG + "n", "a")), "src-too-long")
    bad("msg_clone", pack(clone("a", LONG + "n")), "dst-too-long")
    bad("msg_read", pack(read(1, 0, 33554433)), "length-over-the-maximum")
    bad("msg_read", pack(read(1, 0, 1, 2)), "unknown-flag")
    bad("msg_write", pack(write(1, 0, 2)), "unknown-flag")
    bad("msg_resize", pack(resize(1, 0x80000000, 0)), "unknown-flag")
    bad("msg_zero", pack(zero(1, 2, 0, 1)), "unknown-flag")
    bad("msg_list_reply", pack(list_reply(2)), "more-is-neither-0-nor-1")
    bad("msg_list_reply", struct.pack("<IB", 1, 0), "count-over-the-entries")
    bad("msg_list_reply", struct.pack("<IB", TOP32, 0), "count-over-the-entries")
    bad("msg_list_reply", struct.pack("<IB", 0, 0) + pack(info("", *BASE)),
        "count-below-the-entries")
    bad("msg_extents", pack(extents(1, 2, 0, 1, 0)), "unknown-flag")
    bad("msg_extents_reply", pack(extents_reply((1, 0, 3, 0))), "unknown-kind")
    bad("msg_extents_reply", pack(extents_reply((1, 0, 1, 3))), "shared-and-dirty")
    bad("msg_extents_reply", pack(extents_reply((1, 0, 1, 4))), "unknown-flag")
    bad("msg_readv", pack(readv(1)), "no-ranges")
    bad("msg_readv", struct.pack("<II", 1, 1025) + bytes(12), "ranges-over-the-maximum")
    bad("msg_readv", pack(readv(1, (0, 33554433))), "longer-than-a-payload")
    bad("msg_readv", pack(readv(1, (0, 33554432), (0, 1))), "together-longer-than-a-payload")
    bad("msg_readv", pack(readv(1, (0, TOP32), (0, TOP32))), "a-sum-that-wraps")
    bad("msg_readv", pack(readv(1, (0, 1), (0, 1)))[:-12], "count-over-the-ranges")
    bad("msg_readv", pack(readv(1, (0, 1))) + bytes(12), "count-below-the-ranges")
    bad("msg_readv_reply", struct.pack("<I", 1025) + bytes(4), "lengths-over-the-maximum")
    bad("msg_readv_reply", pack(readv_reply(1)) + bytes(4), "count-below-the-lengths")
    bad("msg_writev", pack(writev(1, 0, 0)), "no-ranges")
    bad("msg_writev", pack(writev(1, 2, 0, (0, 1))), "unknown-flag")
    bad("msg_writev", pack(writev(1, 0, 7, (0, 1))), "a-generation-without-its-flag")
    bad("msg_writev", pack(writev(1, 0, 0, (0, 33554432), (33554432, 1))),
        "together-longer-than-a-payload")
    bad("msg_write_all", pack(write_all()), "no-ranges")
    bad("msg_write_all", struct.pack("<I", 1025) + bytes(28), "ranges-over-the-maximum")
    bad("msg_write_all", pack(write_all((1, 2, 0, 0, 1))), "unknown-flag")
    bad("msg_write_all", pack(write_all((1, 0, 7, 0, 1))), "a-generation-without-its-flag")
    bad("msg_write_all", pack(write_all((1, 1, 7, 0, 1), (1, 1, 7, 2, 1))),
        "a-condition-with-a-second-range")
    bad("msg_write_all", pack(write_all((1, 0, 0, 0, 33554432), (2, 0, 0, 0, 1))),
        "together-longer-than-a-payload")
    bad("msg_write_all", pack(write_all((1, 0, 0, 0, 1), (2, 0, 0, 0, 1)))[:-28],
        "count-over-the-ranges")
    bad("msg_write_all", pack(write_all((1, 0, 0, 0, 1))) + bytes(28), "count-below-the-ranges")
    bad("msg_generations", struct.pack(U16, 513) + bytes(8), "count-over-the-maximum")
    bad("msg_generations", pack(generations(1, 2))[:-8], "count-over-the-generations")
    bad("msg_fsync_if", pack(condition(1, 2, 0)), "unknown-flag")
    bad("msg_fsync_if", pack(condition(1, 0, 1)), "a-generation-without-its-flag")
    bad("msg_extents_reply", struct.pack("<I", 1), "count-over-the-entries")
    bad("msg_extents_reply", struct.pack("<I", TOP32) + bytes(20), "count-over-the-entries")
    bad("msg_extents_reply", struct.pack("<I", 0x0CCCCCCD) + bytes(4), "count-times-20-wraps")
    head = pack(diff_reply(0, 0, 0))[4:]
    bad("msg_diff_reply", pack(diff_reply(0, 0, 0, (1, 2))), "unknown-kind")
    bad("msg_diff_reply", pack(diff_reply(0, 0, 0, (1, 4))), "unknown-kind")
    bad("msg_diff_reply", struct.pack("<I", 1) + head, "count-over-the-entries")
    bad("msg_diff_reply", struct.pack("<I", TOP32) + head + bytes(12), "count-over-the-entries")
    bad("msg_diff_reply", struct.pack("<I", 0x15555556) + head + bytes(8), "count-times-12-wraps")
    bad("msg_diff_reply", struct.pack("<I", 0) + head + bytes(12), "count-below-the-entries")


def bad_frames():
    def bad(label, data, error):
        line("badframe", label, hexed(data), f"error={error}")

    good = sealed(header(REQUEST, 2, 9, 0, b"", b"", False))
    bad("another-protocol", b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"[:40], "FRAME_MAGIC")
    bad("all-zero", bytes(40), "FRAME_MAGIC")
    bad("op-changed", good[:4] + b"\x03" + good[5:], "FRAME_CRC")
    bad("crc-changed", good[:39] + bytes([good[39] ^ 0x80]), "FRAME_CRC")
    for label, changed in (("body-too-long", {"body_len": 65537}),
                           ("body-length-4G", {"body_len": TOP32}),
                           ("payload-too-long", {"payload_len": 33554433}),
                           ("payload-length-4G", {"payload_len": TOP32})):
        bad(label, sealed(header(REQUEST, 10, 9, 0, b"", b"", False, **changed)), "FRAME_LEN")


def main():
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    print(HEAD)
    for kind, fields in MESSAGES:
        line("msg", kind, hexed(pack(fields)), *words(fields))
    print()
    frames()
    print()
    bad_messages()
    print()
    bad_frames()


main()
