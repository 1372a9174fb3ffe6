# SPDX-License-Identifier: BSD-2-Clause
"""A client of the protocol, written from docs/protocol.md alone.

It shares no code with the server and libcow, so that the three check each other.  Sections are those
of the document.  Names, texts and labels are str; bytes of them that are no UTF-8 stay as they are
(surrogateescape).  A message is a dict of its fields; what stands in it several times is a list of
dicts under "entries".
"""

import collections
import functools
import operator
import socket
import struct

REQUEST, REPLY = 0x51574F43, 0x52574F43
HEADER = struct.Struct("<IHHQIIIII")  # all but its own CRC
HEADER_BYTES = HEADER.size + 4
VERSION = 1
PAYLOAD_CRC = 1
BODY_MAX, PAYLOAD_MAX = 65536, 33554432
TTL_MAX = 3155760000000

STATUSES = ("OK", "INVAL", "NOENT", "EXIST", "BUSY", "PERM", "NOSPC", "IO", "CORRUPT", "NOMEM", "PROTO",
            "NOTSUP", "LIMIT", "TIMEOUT", "CONN", "SHUTDOWN", "FORMAT", "CHANGED",
            "CANCELED", "RESTARTED")


class Malformed(Exception):
    """A body that does not decode."""


class Fault(Exception):
    """A frame that is not as section 1 wants it (section 3): the connection is closed."""


class Closed(Exception):
    """The other side has ended the connection."""


# ---- CRC-32C (section 1) -----------------------------------------------------------------------

def _table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _table()
_PLANES = [bytes(crc >> shift & 255 for crc in _TABLE) for shift in (0, 8, 16, 24)]
_LANE = 512  # bytes


def _advance(crc, data):
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return crc


def _skips():
    """What _LANE zero bytes make of a CRC: for each of its bytes the part that comes of it."""
    bits = [_advance(1 << bit, bytes(_LANE)) for bit in range(32)]
    return [[functools.reduce(operator.xor, (bits[at + n] for n in range(8) if byte >> n & 1), 0)
             for byte in range(256)] for at in (0, 8, 16, 24)]


_SKIPS = _skips()


def _lanes(data, count):
    """The CRCs of so many lanes, each begun with 0: all at once, with a plane for each byte of them."""
    planes = [0, 0, 0, 0]
    for i in range(_LANE):
        column = int.from_bytes(data[i:count * _LANE:_LANE], "little")
        index = (planes[0] ^ column).to_bytes(count, "little")
        planes = [int.from_bytes(index.translate(table), "little") ^ above
                  for table, above in zip(_PLANES, planes[1:] + [0])]
    low = [plane.to_bytes(count, "little") for plane in planes]
    return (a | b << 8 | c << 16 | d << 24 for a, b, c, d in zip(*low))


def crc32c(data):
    """A CRC is linear in the data: what is long is taken apart into lanes, whose CRCs then follow each
    other as their bytes do."""
    crc, count = 0xFFFFFFFF, len(data) // _LANE if len(data) >= 64 * _LANE else 0
    t0, t1, t2, t3 = _SKIPS
    for lane in _lanes(data, count) if count else ():
        crc = t0[crc & 255] ^ t1[crc >> 8 & 255] ^ t2[crc >> 16 & 255] ^ t3[crc >> 24] ^ lane
    return _advance(crc, data[count * _LANE:]) ^ 0xFFFFFFFF


# ---- the types of fields (section 4) -----------------------------------------------------------

class Number:
    """u8 to u64: little-endian; at most "most", and no bits but those of "bits"."""

    def __init__(self, size, most=None, least=0, bits=None):
        self.size, self.least = size, least
        self.most = most if most is not None else 256 ** size - 1
        self.bits = bits if bits is not None else 256 ** size - 1
        self.text = f"u{8 * size}"

    def check(self, value):
        if not self.least <= value <= self.most or value & ~self.bits:
            raise Malformed(f"{value} is not defined here")
        return value

    def pack(self, value):
        return value.to_bytes(self.size, "little")

    def unpack(self, cursor):
        return self.check(int.from_bytes(cursor.take(self.size), "little"))

    def offset(self, here):
        return here + self.size


class Raw:
    """So many bytes."""

    def __init__(self, size):
        self.size = size
        self.text = f"{size} bytes"

    def pack(self, value):
        return bytes(value)

    def unpack(self, cursor):
        return cursor.take(self.size)

    def offset(self, here):
        return here + self.size


class Str:
    """A u16 length of at most "most", then as many bytes, none of them zero."""

    def __init__(self, most):
        self.most = most
        self.text = f"str({most})"

    def check(self, raw):
        if len(raw) > self.most or b"\0" in raw:
            raise Malformed("a string that is too long or has a zero byte in it")

    def pack(self, value):
        raw = value.encode("utf-8", "surrogateescape")
        return struct.pack("<H", len(raw)) + raw

    def unpack(self, cursor):
        raw = cursor.take(int.from_bytes(cursor.take(2), "little"))
        self.check(raw)
        return raw.decode("utf-8", "surrogateescape")

    def offset(self, _):
        return 0


class Labels(Str):
    """A list of strings, on the wire each with a zero byte behind it: "labels" and "edits"."""

    def __init__(self, text):
        super().__init__(1024)
        self.text = text

    def check(self, raw):
        if len(raw) > self.most or raw[-1:] not in (b"", b"\0") or raw[:1] == b"\0" or b"\0\0" in raw:
            raise Malformed("labels that are too long, or one that is empty or does not end")

    def pack(self, value):
        raw = b"".join(one.encode("utf-8", "surrogateescape") + b"\0" for one in value)
        return struct.pack("<H", len(raw)) + raw

    def unpack(self, cursor):
        return super().unpack(cursor).split("\0")[:-1]


class Within:
    """The fields of another message, as a dict."""

    def __init__(self, name, text):
        self.name, self.text = name, text

    def pack(self, value):
        return pack_fields(MESSAGES[self.name], value)

    def unpack(self, cursor):
        return unpack_fields(MESSAGES[self.name], cursor)

    def offset(self, _):
        return 0


U8, U16, U32, U64 = Number(1), Number(2), Number(4), Number(8)
NAME, LABELS, EDITS, INFO = Str(255), Labels("labels"), Labels("edits"), Within("msg_info", "info")
TTL = Number(8, most=TTL_MAX)


def flags(bits, size=4):
    return Number(size, bits=bits)


# A field is its name and its type.  One whose name is in COUNTS says how often the fields of ENTRIES
# follow at the message's end.
MESSAGES = {
    "msg_hello": [("version_min", U32), ("version_max", U32), ("features", U64), ("agent", Str(63))],
    "msg_hello_reply": [("version", U32), ("block_bytes", U32), ("features", U64), ("body_max", U32),
                        ("payload_max", U32), ("inflight_max", U32), ("incarnation", U64),
                        ("store_uuid", Raw(16)), ("agent", Str(63))],
    "msg_create": [("name", NAME), ("size_bytes", U64), ("ttl_ms", TTL), ("reserved_bytes", U64),
                   ("labels", LABELS)],
    "msg_open": [("name", NAME), ("flags", flags(7))],
    "msg_open_reply": [("handle", U32), ("info", INFO)],
    "msg_handle": [("handle", U32)],
    "msg_name": [("name", NAME)],
    "msg_info": [("name", NAME), ("id", U64), ("size_bytes", U64), ("mapped_bytes", U64),
                 ("generation", U64), ("ctime_ns", U64), ("mtime_ns", U64), ("origin", U64),
                 ("parent", U64), ("expires_ns", U64), ("reserved_bytes", U64),
                 ("withheld_bytes", U64), ("nversions", U32), ("flags", flags(1)),
                 ("labels", LABELS)],
    "msg_list": [("prefix", NAME), ("after", NAME), ("label", Str(319)), ("max", U32)],
    "msg_list_reply": [("count", Number(4, most=512)), ("more", Number(1, most=1))],
    "msg_clone": [("src", NAME), ("dst", NAME), ("ttl_ms", TTL), ("labels", LABELS)],
    "msg_read": [("handle", U32), ("flags", flags(1)), ("offset", U64),
                 ("len", Number(4, most=PAYLOAD_MAX))],
    "msg_write": [("handle", U32), ("flags", flags(1)), ("offset", U64)],
    "msg_resize": [("handle", U32), ("flags", flags(1)), ("size_bytes", U64)],
    "msg_remove": [("name", NAME), ("flags", flags(1))],
    "msg_extents": [("handle", U32), ("flags", flags(1)), ("offset", U64), ("len", U64), ("max", U32)],
    "msg_extents_reply": [("count", Number(4, most=3276))],
    "msg_statfs_reply": [(name, U64) for name in (
        "block_bytes", "total_bytes", "free_bytes", "reserved_bytes", "mapped_bytes",
        "meta_total_bytes", "meta_used_bytes", "objects", "versions", "reaping_bytes",
        "staged_bytes", "journal_bytes", "journal_used_bytes", "withheld_bytes")],
    "msg_snap": [("name", NAME), ("ttl_ms", TTL), ("labels", LABELS)],
    "msg_versions": [("name", NAME), ("after", NAME), ("max", U32)],
    "msg_children": [("name", NAME), ("after", U64), ("max", U32)],
    "msg_rename": [("from", NAME), ("to", NAME), ("flags", flags(1))],
    "msg_usage": [("count", Number(2, least=1, most=4096))],
    "msg_usage_reply": [("mapped_bytes", U64), ("exclusive_bytes", U64)],
    "msg_reaping_reply": [("reaping_bytes", U64)],
    "msg_check_reply": [("differences", U64), ("objects", U64), ("nodes", U64), ("mapped_bytes", U64),
                        ("shared_bytes", U64), ("free_bytes", U64), ("ntexts", Number(2, most=64))],
    "msg_server_reply": [("incarnation", U64), ("uptime_ms", U64), ("nbd_tls", Number(4, most=2)),
                         ("agent", Str(63)), ("count", Number(2, most=32))],
    "msg_zero": [("handle", U32), ("flags", flags(1)), ("offset", U64), ("len", U64)],
    "msg_clone_range": [("src", U32), ("dst", U32), ("src_offset", U64), ("dst_offset", U64),
                        ("len", U64)],
    "msg_clone_range_reply": [("len", U64), ("left", U64)],
    "msg_unshare": [("handle", U32), ("offset", U64), ("len", U64)],
    "msg_unshare_reply": [("len", U64), ("left", U64), ("copied", U64)],
    "msg_verify": [("handle", U32), ("max", U32), ("offset", U64), ("len", U64), ("older", U64),
                   ("rate", U64)],
    "msg_verify_reply": [("len", U64), ("left", U64), ("read", U64), ("pending", U64),
                         ("count", Number(4, most=256))],
    "msg_set": [("name", NAME), ("flags", flags(31)), ("ttl_ms", TTL), ("reserved_bytes", U64),
                ("edits", EDITS), ("expect", EDITS)],
    "msg_readv": [("handle", U32), ("count", Number(4, least=1, most=1024))],
    "msg_readv_reply": [("count", Number(4, most=1024))],
    "msg_writev": [("handle", U32), ("flags", flags(1)), ("generation", U64),
                   ("count", Number(4, least=1, most=1024))],
    "msg_generation": [("generation", U64)],
    "msg_fsync_if": [("handle", U32), ("flags", flags(1)), ("generation", U64)],
    "msg_diff": [("handle", U32), ("older", U64), ("offset", U64), ("len", U64), ("max", U32)],
    "msg_diff_reply": [("count", Number(4, most=5459)), ("nodes", U32), ("size_bytes", U64),
                       ("older_bytes", U64)],
    "msg_handles": [("count", Number(2, least=1, most=128))],
    "msg_clone_all": [("ttl_ms", TTL), ("labels", LABELS), ("count", Number(2, least=1, most=128))],
    "msg_write_all": [("count", Number(4, least=1, most=1024))],
    "msg_generations": [("count", Number(2, most=512))],
    "msg_error": [("text", Str(511))],
}
COUNTS = {"msg_list_reply": "count", "msg_extents_reply": "count", "msg_usage": "count",
          "msg_check_reply": "ntexts", "msg_server_reply": "count",
          "msg_readv": "count", "msg_readv_reply": "count",
          "msg_writev": "count", "msg_diff_reply": "count", "msg_handles": "count",
          "msg_verify_reply": "count", "msg_clone_all": "count", "msg_write_all": "count", "msg_generations": "count"}
ENTRIES = {
    "msg_list_reply": MESSAGES["msg_info"],
    "msg_extents_reply": [("len", Number(8, least=1)), ("physical", U64), ("kind", Number(2, most=2)),
                          ("flags", Number(2, most=2))],
    "msg_usage": [("name", NAME)],
    "msg_check_reply": [("text", Str(511))],
    "msg_server_reply": [("text", Str(255))],
    "msg_readv": [("offset", U64), ("len", U32)],
    "msg_readv_reply": [("len", U32)],
    "msg_writev": [("offset", U64), ("len", U32)],
    "msg_diff_reply": [("len", Number(8, least=1)), ("kind", Number(4, bits=3))],
    "msg_verify_reply": [("offset", U64), ("len", Number(8, least=1)), ("physical", U64),
                         ("kind", Number(4, least=1, most=3))],
    "msg_handles": [("handle", U32)],
    "msg_clone_all": [("src", NAME), ("dst", NAME)],
    "msg_write_all": [("handle", U32), ("flags", flags(1)), ("generation", U64), ("offset", U64),
                      ("len", U32)],
    "msg_generations": [("generation", U64)],
}


def _check_set(fields):
    if fields["flags"] & 6 == 6:
        raise Malformed("read-only and writable")
    if fields["ttl_ms"] and not fields["flags"] & 1:
        raise Malformed("a time that is not to be set")
    if fields["reserved_bytes"] and not fields["flags"] & 16:
        raise Malformed("a reservation that is not to be set")


def _check_ranges(fields):
    if sum(one["len"] for one in fields["entries"]) > PAYLOAD_MAX:
        raise Malformed("more than a payload")


def _check_condition(fields):
    if fields["generation"] and not fields["flags"] & 1:
        raise Malformed("a generation that is not to be compared")


def _check_diff(fields):
    if any(one["kind"] == 2 for one in fields["entries"]):
        raise Malformed("a kind that is not defined")


def _check_verify(fields):
    if 0 < fields["rate"] < 4096:
        raise Malformed("a rate that is too low")


def _check_writev(fields):
    _check_condition(fields)
    _check_ranges(fields)


def _check_write_all(fields):
    _check_ranges(fields)
    entries = fields["entries"]
    for one in entries:
        _check_condition(one)
    if any(b["handle"] == a["handle"] and b["flags"] for a, b in zip(entries, entries[1:])):
        raise Malformed("a condition that does not stand with an object's first range")


# What a message may not say, beyond what each of its fields may not.
CHECKS = {"msg_set": _check_set, "msg_readv": _check_ranges, "msg_writev": _check_writev,
          "msg_fsync_if": _check_condition, "msg_diff_reply": _check_diff,
          "msg_write_all": _check_write_all, "msg_verify": _check_verify}

Operation = collections.namedtuple("Operation", "number request reply sends receives",
                                   defaults=(None, None, False, False))
OPERATIONS = {
    "HELLO": Operation(1, "msg_hello", "msg_hello_reply"),
    "PING": Operation(2),
    "CREATE": Operation(3, "msg_create", "msg_info"),
    "OPEN": Operation(4, "msg_open", "msg_open_reply"),
    "CLOSE": Operation(5, "msg_handle"),
    "INFO": Operation(6, "msg_name", "msg_info"),
    "LIST": Operation(7, "msg_list", "msg_list_reply"),
    "CLONE": Operation(8, "msg_clone", "msg_info"),
    "READ": Operation(9, "msg_read", receives=True),
    "WRITE": Operation(10, "msg_write", sends=True),
    "FSYNC": Operation(11, "msg_handle"),
    "RESIZE": Operation(12, "msg_resize"),
    "REMOVE": Operation(13, "msg_remove"),
    "EXTENTS": Operation(14, "msg_extents", "msg_extents_reply"),
    "STATFS": Operation(15, None, "msg_statfs_reply"),
    "SNAP": Operation(16, "msg_snap", "msg_info"),
    "VERSIONS": Operation(17, "msg_versions", "msg_list_reply"),
    "CHILDREN": Operation(18, "msg_children", "msg_list_reply"),
    "RENAME": Operation(19, "msg_rename"),
    "RESET": Operation(20, "msg_name", "msg_info"),
    "USAGE": Operation(21, "msg_usage", "msg_usage_reply"),
    "REAPING": Operation(22, None, "msg_reaping_reply"),
    "CHECK": Operation(23, None, "msg_check_reply"),
    "ZERO": Operation(24, "msg_zero"),
    "CLONE_RANGE": Operation(25, "msg_clone_range", "msg_clone_range_reply"),
    "SET": Operation(26, "msg_set", "msg_info"),
    "READV": Operation(27, "msg_readv", "msg_readv_reply", receives=True),
    "WRITEV": Operation(28, "msg_writev", "msg_generation", sends=True),
    "FSYNC_IF": Operation(29, "msg_fsync_if", "msg_generation"),
    "DIFF": Operation(30, "msg_diff", "msg_diff_reply"),
    "TIE": Operation(31, "msg_handles"),
    "FSYNC_ALL": Operation(32, "msg_handles"),
    "CLONE_ALL": Operation(33, "msg_clone_all"),
    "UNSHARE": Operation(34, "msg_unshare", "msg_unshare_reply"),
    "WRITE_ALL": Operation(35, "msg_write_all", "msg_generations", sends=True),
    "VERIFY": Operation(36, "msg_verify", "msg_verify_reply"),
    "SERVER": Operation(37, None, "msg_server_reply"),
}


# ---- bodies ------------------------------------------------------------------------------------

class Cursor:
    """What is left of a body."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if size > len(self.data) - self.at:
            raise Malformed("too short")
        self.at += size
        return self.data[self.at - size:self.at]


def pack_fields(fields, values):
    return b"".join(kind.pack(values[name]) for name, kind in fields)


def unpack_fields(fields, cursor):
    return {name: kind.unpack(cursor) for name, kind in fields}


def encode(message, values, strict=True):
    """The body; None stands for the empty one.  What is not allowed is refused where it is strict."""
    if message is None:
        return b""
    body = pack_fields(MESSAGES[message], values) + b"".join(
        pack_fields(ENTRIES[message], one) for one in values.get("entries", ()))
    if strict:
        decode(message, body)
    return body


def decode(message, body):
    """The fields of a body, all of which must be used up."""
    cursor = Cursor(body)
    values = unpack_fields(MESSAGES[message], cursor) if message else {}
    if message in COUNTS:
        values["entries"] = [unpack_fields(ENTRIES[message], cursor)
                             for _ in range(values[COUNTS[message]])]
    if cursor.at != len(body):
        raise Malformed("too long")
    if message in CHECKS:
        CHECKS[message](values)
    return values


# ---- frames (section 1) ------------------------------------------------------------------------

Header = collections.namedtuple(
    "Header", "magic op flags id status body_len payload_len body_crc payload_crc")


def seal(header):
    """The 40 bytes of a header."""
    raw = HEADER.pack(*header)
    return raw + struct.pack("<I", crc32c(raw))


def parse_header(raw, magic):
    """A header of one kind, as far as its own 40 bytes tell."""
    header = Header(*HEADER.unpack_from(raw))
    if header.magic != magic:
        raise Fault("MAGIC")
    if struct.unpack_from("<I", raw, HEADER.size)[0] != crc32c(raw[:HEADER.size]):
        raise Fault("CRC")
    if header.body_len > BODY_MAX or header.payload_len > PAYLOAD_MAX:
        raise Fault("LEN")
    return header


def make_frame(op, ident, body=b"", payload=b"", features=0, **changed):
    """A request, or with some fields of its header changed something that is none."""
    header = Header(REQUEST, op, 0, ident, 0, len(body), len(payload), crc32c(body),
                    crc32c(payload) if features & PAYLOAD_CRC else 0)
    return seal(header._replace(**changed)) + body + payload


# ---- a connection (sections 1 to 3) ------------------------------------------------------------

class Reply:
    """One reply: its status by name, the fields of its body, its payload."""

    def __init__(self, status, fields, payload=b""):
        self.status, self.fields, self.payload = status, fields, payload


class Connection:
    """A stream and the requests in flight on it.  The handshake is not made until hello()."""

    def __init__(self, address):
        """address: the path of a unix socket, or a pair of host and port."""
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        sock.settimeout(60)
        sock.connect(address)
        self.take_over(sock)

    def take_over(self, sock):
        """A connection of a stream that there is."""
        self.sock = sock
        self.features = 0
        self.inflight = {}  # id -> name of the operation
        self.asked = {}  # id -> the longest payload that its reply may have
        self.replies = {}  # id -> reply that nobody has asked for yet
        self.order = []  # the ids of all replies, as they came
        self.next_id = 1

    def close(self):
        self.sock.close()

    def hello(self, features=PAYLOAD_CRC, version_min=VERSION, version_max=VERSION,
              agent="cowproto"):
        reply = self.call("HELLO", {"version_min": version_min, "version_max": version_max,
                                    "features": features, "agent": agent})
        if reply.status == "OK":
            if reply.fields["version"] != VERSION or reply.fields["features"] & ~features:
                self.close()
                raise Fault("an answer to another HELLO")
            self.features = reply.fields["features"]
        return reply

    def start(self, name, fields=None, payload=b""):
        """Sends a request and does not wait; its id.  What may be in it the server judges."""
        body = encode(OPERATIONS[name].request, fields or {}, strict=False)
        ident = self.start_body(name, body, payload)
        if OPERATIONS[name].receives:
            self.asked[ident] = sum(one["len"] for one in fields.get("entries", [fields]))
        return ident

    def start_body(self, name, body, payload=b"", ident=None, **changed):
        """The same of a body that may be anything; changed: fields of the header."""
        if ident is None:
            ident = self.next_id
            self.next_id += 1
        number = OPERATIONS[name].number if name in OPERATIONS else int(name)
        self.inflight[ident] = name
        self.send(make_frame(number, ident, body, payload, self.features, **changed))
        return ident

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def call(self, name, fields=None, payload=b""):
        return self.wait(self.start(name, fields, payload))

    def wait(self, ident):
        """The reply to one of the requests in flight; others may come before it."""
        while ident not in self.replies:
            self.receive()
        return self.replies.pop(ident)

    def take(self, size):
        parts, left = [], size
        while left:
            try:
                part = self.sock.recv(min(left, 1 << 20))
            except ConnectionResetError:
                raise Closed from None
            if not part:
                raise Closed
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def receive(self):
        """Takes one reply from the stream; a fault ends the connection."""
        try:
            ident, reply = self.receive_one()
        except (Fault, Malformed) as fault:
            self.close()
            raise Fault(str(fault)) from None
        del self.inflight[ident]
        self.asked.pop(ident, None)
        self.replies[ident] = reply
        self.order.append(ident)

    def receive_one(self):
        header = parse_header(self.take(HEADER_BYTES), REPLY)
        name = self.inflight.get(header.id)
        if name is None:
            raise Fault("an id that is not in flight")
        operation = OPERATIONS.get(name) or Operation(int(name))
        if header.op != operation.number or header.flags:
            raise Fault("another operation, or a flag")
        if header.payload_len and (header.status or not operation.receives):
            raise Fault("a payload where there is none")
        if header.payload_len > self.asked.get(header.id, PAYLOAD_MAX):
            raise Fault("a payload longer than what was asked for")
        body, payload = self.take(header.body_len), self.take(header.payload_len)
        if crc32c(body) != header.body_crc:
            raise Fault("the CRC of the body")
        if self.features & PAYLOAD_CRC and crc32c(payload) != header.payload_crc:
            raise Fault("the CRC of the payload")
        if header.status:
            known = header.status < len(STATUSES)
            return header.id, Reply(STATUSES[header.status] if known else "PROTO",
                                    decode("msg_error", body))
        fields = decode(operation.reply, body)
        if name == "READV" and sum(one["len"] for one in fields["entries"]) != header.payload_len:
            raise Fault("another payload than the body says")
        return header.id, Reply("OK", fields, payload)
