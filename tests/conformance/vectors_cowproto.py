#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""cowproto.py against tests/vectors/protocol.txt: every vector both ways, every truncation, and all that
is to be refused; and that it refuses the replies that section 3 of the document tells it to."""

import pathlib
import socket
import struct
import sys

import cowproto

HERE = pathlib.Path(__file__).resolve().parent
ERRORS = {"FRAME_MAGIC": "MAGIC", "FRAME_CRC": "CRC", "FRAME_LEN": "LEN"}


class Wrong(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Wrong(what)


def load():
    """Verb -> [(name, bytes, words)]."""
    found = {"msg": [], "frame": [], "badmsg": [], "badframe": []}
    with open(HERE.parent / "vectors" / "protocol.txt", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words and words[0] in found:
                data = b"" if words[2] == "-" else bytes.fromhex(words[2])
                found[words[0]].append((words[1], data, words[3:]))
    return found


# ---- fields as the words of the vectors ----------------------------------------------------------

def value_words(prefix, fields, values):
    for name, kind in fields:
        value = values[name]
        if isinstance(kind, cowproto.Within):
            yield from value_words(f"{name}.", cowproto.MESSAGES[kind.name], value)
        elif isinstance(kind, cowproto.Labels):
            yield f"{prefix}{name}=" + "".join(one + "|" for one in value)
        else:
            yield f"{prefix}{name}={value.hex() if isinstance(value, bytes) else value}"


def to_words(message, values):
    yield from value_words("", cowproto.MESSAGES[message], values)
    for i, entry in enumerate(values.get("entries", ())):
        yield from value_words(f"{i}.", cowproto.ENTRIES[message], entry)


def take_values(prefix, fields, words):
    values = {}
    for name, kind in fields:
        if isinstance(kind, cowproto.Within):
            values[name] = take_values(f"{name}.", cowproto.MESSAGES[kind.name], words)
            continue
        key, _, text = words.pop(0).partition("=")
        need(key == prefix + name, f"{key} stands where {prefix}{name} should")
        if isinstance(kind, cowproto.Number):
            values[name] = int(text)
        elif isinstance(kind, cowproto.Raw):
            values[name] = bytes.fromhex(text)
        else:
            values[name] = text.split("|")[:-1] if isinstance(kind, cowproto.Labels) else text
    return values


def from_words(message, words):
    words = list(words)
    values = take_values("", cowproto.MESSAGES[message], words)
    if message in cowproto.COUNTS:
        values["entries"] = [take_values(f"{i}.", cowproto.ENTRIES[message], words)
                             for i in range(values[cowproto.COUNTS[message]])]
    need(not words, f"more words than {message} has fields")
    return values


# ---- bodies ----------------------------------------------------------------------------------------

def refused(message, body):
    try:
        values = cowproto.decode(message, body)
    except cowproto.Malformed:
        return
    raise Wrong(f"{message} {body.hex()[:80]} is taken for {values}")


def decoding(vectors):
    for message, body, words in vectors["msg"]:
        got = list(to_words(message, cowproto.decode(message, body)))
        need(got == words, f"{message}: {got} and not {words}")
    return len(vectors["msg"])


def encoding(vectors):
    for message, body, words in vectors["msg"]:
        values = from_words(message, words)
        need(cowproto.encode(message, values) == body, f"{message} {words}: other bytes")
        need(cowproto.encode(message, cowproto.decode(message, body)) == body, f"{message}: decoded")
    return len(vectors["msg"])


def truncations(vectors):
    count = 0
    for message, body, _ in vectors["msg"]:
        for size in range(len(body)):
            refused(message, body[:size])
            count += 1
        refused(message, body + b"\0")
    return count


def bad_bodies(vectors):
    for message, body, words in vectors["badmsg"]:
        try:
            refused(message, body)
        except Wrong as wrong:
            raise Wrong(f"{words[0]}: {wrong}") from None
    return len(vectors["badmsg"])


def all_messages(vectors):
    have = {message for message, _, _ in vectors["msg"]}
    need(have == set(cowproto.MESSAGES), f"only on one side: {have ^ set(cowproto.MESSAGES)}")
    return len(have)


# ---- frames ----------------------------------------------------------------------------------------

def split_frame(data):
    kind = cowproto.REQUEST if data[:4] == b"COWQ" else cowproto.REPLY
    header = cowproto.parse_header(data[:cowproto.HEADER_BYTES], kind)
    rest = data[cowproto.HEADER_BYTES:]
    return header, rest[:header.body_len], rest[header.body_len:]


def frames(vectors):
    for name, data, words in vectors["frame"]:
        header, body, payload = split_frame(data)
        got = [f"{key}={value}" for key, value in header._asdict().items()]
        need(got == words[:-1], f"{name}: {got} and not {words[:-1]}")
        need(cowproto.seal(header) + body + payload == data, f"{name}: other bytes")
        need(header.body_crc == cowproto.crc32c(body), f"{name}: the CRC of the body")
        need(header.payload_crc in (0, cowproto.crc32c(payload)), f"{name}: that of the payload")
        message = words[-1].partition("=")[2]
        if message == "-":
            need(not body, f"{name}: a body")
        else:
            cowproto.decode(message, body)
        made = [op for op, row in cowproto.OPERATIONS.items() if row.number == header.op]
        if made and not header.status:
            row = cowproto.OPERATIONS[made[0]]
            kind = row.request if header.magic == cowproto.REQUEST else row.reply
            need(message == (kind or "-"), f"{name}: {made[0]} has {kind}")
    return len(vectors["frame"])


def bad_frames(vectors):
    for name, data, words in vectors["badframe"]:
        try:
            cowproto.parse_header(data, cowproto.REQUEST)
        except cowproto.Fault as fault:
            need(ERRORS[words[0].partition("=")[2]] == str(fault), f"{name}: {fault}")
        else:
            raise Wrong(f"{name} is taken")
    return len(vectors["badframe"])


def requests(vectors):
    """What make_frame() writes is what the vectors have."""
    count = 0
    for name, data, _ in vectors["frame"]:
        header, body, payload = split_frame(data)
        if header.magic == cowproto.REQUEST:
            features = cowproto.PAYLOAD_CRC if header.payload_crc else 0
            made = cowproto.make_frame(header.op, header.id, body, payload, features)
            need(made == data, f"{name}: other bytes")
            count += 1
    return count


# ---- the client's side of section 3 ----------------------------------------------------------------

FIELDS = {"READ": {"handle": 1, "flags": 0, "offset": 0, "len": 9},
          "READV": {"handle": 1, "count": 1, "entries": [{"offset": 0, "len": 9}]}}


def connected():
    """A connection whose other end is ours."""
    ours, theirs = socket.socketpair()
    conn = cowproto.Connection.__new__(cowproto.Connection)
    conn.take_over(ours)
    return conn, theirs


def answered(data, features=cowproto.PAYLOAD_CRC, request="READ"):
    """A connection that has sent a request with the id 1 and gets these bytes."""
    conn, theirs = connected()
    conn.features = features
    ident = conn.start(request, FIELDS[request])
    theirs.sendall(data)
    theirs.close()
    return conn, ident


def reply(op=9, ident=1, status=0, body=b"", payload=b"", **changed):
    header = cowproto.Header(cowproto.REPLY, op, 0, ident, status, len(body), len(payload),
                             cowproto.crc32c(body), cowproto.crc32c(payload))
    return cowproto.seal(header._replace(**changed)) + body + payload


def flipped(data, at):
    data = bytearray(data)
    data[at] ^= 1
    return bytes(data)


def bad_replies(_):
    good = reply(payload=b"abc")
    text = cowproto.encode("msg_error", {"text": "no"})
    faults = {
        "magic": reply(magic=cowproto.REQUEST),
        "header": flipped(good, 36),
        "op": reply(op=10),
        "flags": reply(flags=1),
        "id": reply(ident=2),
        "body length": reply(body_len=cowproto.BODY_MAX + 1),
        "payload length": reply(payload_len=cowproto.PAYLOAD_MAX + 1),
        "body": reply(body=b"\0"),
        "CRC of the body": reply(status=2, body=text, body_crc=7),
        "CRC of the payload": flipped(good, len(good) - 1),
        "payload of an error": reply(status=2, body=text, payload=b"a"),
        "no text": reply(status=2),
        "more than was asked for": reply(payload=b"0123456789"),
        "lengths": reply(op=27, body=struct.pack("<II", 1, 3), payload=b"ab"),
    }
    for what, data in faults.items():
        conn, ident = answered(data, request="READV" if what == "lengths" else "READ")
        try:
            conn.wait(ident)
        except cowproto.Fault:
            need(conn.sock.fileno() == -1, f"{what}: the connection is open")
        else:
            raise Wrong(f"{what} is taken")
    return len(faults)


def good_replies(_):
    conn, ident = answered(reply(payload=b"abc"))
    need(conn.wait(ident).payload == b"abc", "the payload")
    conn, ident = answered(reply(payload=b"abc", payload_crc=5), features=0)
    need(conn.wait(ident).payload == b"abc", "without the feature the CRC is ignored")
    body = cowproto.encode("msg_error", {"text": "why"})
    for number, name in ((2, "NOENT"), (19, "RESTARTED"), (20, "PROTO"), (2**32 - 1, "PROTO")):
        conn, ident = answered(reply(status=number, body=body))
        got = conn.wait(ident)
        need((got.status, got.fields["text"]) == (name, "why"), f"status {number}")
    cut = reply(payload=b"abc")[:-1]
    conn, ident = answered(cut)
    try:
        conn.wait(ident)
        raise Wrong("a reply that is cut is taken")
    except cowproto.Closed:
        pass
    return 7


def any_order(_):
    conn, theirs = connected()
    idents = [conn.start("READ", FIELDS["READ"]) for _ in range(5)]
    for ident in reversed(idents):
        theirs.sendall(reply(ident=ident, payload=bytes([ident])))
    for ident in idents:
        need(conn.wait(ident).payload == bytes([ident]), "another reply")
    need(conn.order == idents[::-1] and not conn.inflight, "the order")
    theirs.close()
    conn.close()
    return len(idents)


def checksums(_):
    known = {b"": 0, b"123456789": 0xE3069283, bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43,
             bytes(range(32)): 0x46DD794E}
    for data, crc in known.items():
        need(cowproto.crc32c(data) == crc, f"of {data.hex()}")
    head = struct.pack("<IHHQIIIII", cowproto.REQUEST, 2, 0, 0x1122334455667788, 0, 0, 0, 0, 0)
    need(cowproto.crc32c(head) == 0x02D1452C, "of the frame at the document's end")
    data = bytes(i * i * 7 + i // 3 & 255 for i in range(100000))
    for size in (0, 1, 511, 32767, 32768, 32769, 33279, 33280, 65536, 99999, 100000):
        crc = 0xFFFFFFFF
        for byte in data[:size]:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        need(cowproto.crc32c(data[:size]) == crc ^ 0xFFFFFFFF, f"of {size} bytes")
    return len(known) + 12


CASES = (("checksums", checksums), ("vectors decode", decoding), ("vectors encode", encoding),
         ("truncations are refused", truncations), ("bad bodies are refused", bad_bodies),
         ("every message has a vector", all_messages), ("frames", frames),
         ("requests are written as in the vectors", requests),
         ("bad frames are refused", bad_frames), ("faults of replies end the connection", bad_replies),
         ("other replies are taken", good_replies), ("replies come in any order", any_order))


def main():
    vectors, failed = load(), 0
    for number, (title, case) in enumerate(CASES, 1):
        try:
            count = case(vectors)
            need(count > 0, "nothing was looked at")
            print(f"ok {number} - {title} ({count})")
        except (Wrong, cowproto.Malformed, cowproto.Fault, cowproto.Closed, KeyError) as err:
            failed += 1
            print(f"not ok {number} - {title}\n# {type(err).__name__}: {err}")
    print(f"1..{len(CASES)}")
    sys.exit(1 if failed else 0)


main()
