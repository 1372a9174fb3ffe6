# SPDX-License-Identifier: BSD-2-Clause
"""NBD's bytes, for what libnbd does not send: written from doc/proto.md of the NBD project, and from its
extensions of extended headers and of sizes."""

import socket
import struct

GREETING = b"NBDMAGIC" + b"IHAVEOPT"
OPTION = 0x49484156454F5054
OPTREPLY = 0x3E889045565A9
REQUEST, EXT_REQUEST = 0x25609513, 0x21E41C71
SIMPLE, STRUCTURED, EXT_REPLY = 0x67446698, 0x668E33EF, 0x6E8A278C

FIXED, NO_ZEROES = 1, 2
(EXPORT_NAME, ABORT, LIST, PEEK, STARTTLS, INFO, GO, STRUCTURED_REPLY, LIST_META, SET_META,
 EXTENDED) = range(1, 12)
ACK, SERVER, REP_INFO, META_CONTEXT = 1, 2, 3, 4
(UNSUP, POLICY, INVALID, PLATFORM, TLS_REQD, UNKNOWN, SHUTDOWN, BLOCK_SIZE_REQD, TOO_BIG,
 EXT_REQD) = ((1 << 31) + n for n in range(1, 11))
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS, RESIZE = range(9)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN = (1 << n for n in range(6))
NONE, OFFSET_DATA, OFFSET_HOLE, BLOCK_STATUS, BLOCK_STATUS_EXT = 0, 1, 2, 5, 6
ERROR, ERROR_OFFSET = 0x8001, 0x8002
DONE = 1
EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN = 1, 5, 12, 22, 28, 75, 95, 108


class Ended(Exception):
    """The server has closed the connection."""


def name_of(name):
    return name.encode() if isinstance(name, str) else name


def info_data(name, infos=()):
    name = name_of(name)
    return struct.pack(f">I{len(name)}sH{len(infos)}H", len(name), name, len(infos), *infos)


def meta_data(name, queries=()):
    name = name_of(name)
    data = struct.pack(f">I{len(name)}sI", len(name), name, len(queries))
    for query in map(name_of, queries):
        data += struct.pack(f">I{len(query)}s", len(query), query)
    return data


def option(number, data=b"", magic=OPTION, length=None):
    return struct.pack(">QII", magic, number, len(data) if length is None else length) + data


class Raw:
    """A connection; what it does not expect is an AssertionError, the end of the connection Ended."""

    def __init__(self, address, flags=FIXED | NO_ZEROES, greet=True):
        kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.s = socket.socket(kind, socket.SOCK_STREAM)
        self.s.settimeout(60)
        self.s.connect(address)
        self.extended = self.structured = False
        self.no_zeroes = bool(flags & NO_ZEROES)
        self.cookie = 0
        self.contexts = {}
        if greet:
            self.greeting()
            self.send(struct.pack(">I", flags))

    def close(self):
        self.s.close()

    def send(self, data):
        try:
            self.s.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as err:
            raise Ended from err

    def take(self, length):
        data = bytearray()
        while len(data) < length:
            try:
                piece = self.s.recv(length - len(data))
            except ConnectionResetError as err:
                raise Ended from err
            if not piece:
                raise Ended
            data += piece
        return bytes(data)

    def ended(self):
        """The server sends nothing more and closes."""
        try:
            rest = self.take(1)
        except Ended:
            return
        raise AssertionError(f"{rest!r} in place of the end")

    # ---- the handshake -----------------------------------------------------------------------

    def greeting(self):
        assert self.take(16) == GREETING
        flags, = struct.unpack(">H", self.take(2))
        assert flags == FIXED | NO_ZEROES, f"handshake flags {flags}"

    def reply(self, number):
        """(type, data) of the next reply, which is to that option."""
        magic, to, kind, length = struct.unpack(">QIII", self.take(20))
        assert magic == OPTREPLY, f"magic {magic:x}"
        assert to == number, f"a reply to {to} and not {number}"
        assert length <= 1 << 16, f"length {length}"
        return kind, self.take(length)

    def haggle(self, number, data=b"", **wrong):
        """All replies to an option: [(type, data)], of which the last is ACK or an error."""
        self.send(option(number, data, **wrong))
        return self.answers(number)

    def answers(self, number):
        found = []
        while not found or not (found[-1][0] == ACK or found[-1][0] >> 31):
            found.append(self.reply(number))
        assert found[-1][0] != ACK or found[-1][1] == b"", "an ACK with data"
        if found[-1][0] == ACK and number in (STRUCTURED_REPLY, EXTENDED):
            self.structured = True
            self.extended |= number == EXTENDED
        if found[-1][0] == ACK and number == SET_META:
            self.contexts = {d[4:].decode(): struct.unpack(">I", d[:4])[0]
                             for k, d in found if k == META_CONTEXT}
        return found

    def last(self, number, data=b"", **wrong):
        """The type of the last reply."""
        return self.haggle(number, data, **wrong)[-1][0]

    def go(self, name, structured=True, extended=False, contexts=()):
        """Into transmission."""
        if extended:
            assert self.last(EXTENDED) == ACK
        elif structured:
            assert self.last(STRUCTURED_REPLY) == ACK
        if contexts:
            assert self.last(SET_META, meta_data(name, contexts)) == ACK
        replies = self.haggle(GO, info_data(name, [3]))
        assert replies[-1][0] == ACK, f"GO: {replies[-1]}"
        return self

    def export_name(self, name):
        """(size, flags) by the old option."""
        self.send(option(EXPORT_NAME, name_of(name)))
        size, flags = struct.unpack(">QH", self.take(10))
        if not self.no_zeroes:
            assert self.take(124) == bytes(124)
        return size, flags

    # ---- transmission ------------------------------------------------------------------------

    def request(self, command, offset=0, length=0, flags=0, payload=b"", magic=None):
        """The bytes of a request with the next cookie."""
        self.cookie += 1
        if self.extended:
            head = struct.pack(">IHHQQQ", magic or EXT_REQUEST, flags, command, self.cookie, offset, length)
        else:
            head = struct.pack(">IHHQQI", magic or REQUEST, flags, command, self.cookie, offset, length)
        return head + payload

    def chunk(self):
        """(cookie, flags, type, offset, payload); a simple reply is of type None, with its error as payload."""
        magic, = struct.unpack(">I", self.take(4))
        if magic == SIMPLE:
            assert not self.extended, "a simple reply"
            error, cookie = struct.unpack(">IQ", self.take(12))
            return cookie, DONE, None, None, error
        if self.extended:
            assert magic == EXT_REPLY, f"magic {magic:x}"
            flags, kind, cookie, offset, length = struct.unpack(">HHQQQ", self.take(28))
        else:
            assert magic == STRUCTURED and self.structured, f"magic {magic:x}"
            flags, kind, cookie, length = struct.unpack(">HHQI", self.take(16))
            offset = None
        assert length <= (1 << 26), f"length {length}"
        return cookie, flags, kind, offset, self.take(length)

    def result(self, cookie, offset=0, length=0):
        """(error, chunks) of one request, whose chunks are all that comes.  Without structured replies a
        read's chunk is its data."""
        error, found = 0, []
        while True:
            got, flags, kind, at, payload = self.chunk()
            assert got == cookie, f"cookie {got} and not {cookie}"
            assert at in (None, offset), f"offset {at} and not {offset}"
            if kind is None:
                if payload == 0 and length:
                    found.append((OFFSET_DATA, struct.pack(">Q", offset) + self.take(length)))
                return payload, found
            if kind >> 15:
                error, text = struct.unpack(">IH", payload[:6])
                assert error, "an error chunk without an error"
                assert len(payload) >= 6 + text and text <= 4096, "a text that is too long"
                payload[6:6 + text].decode()
            elif kind == NONE:
                assert flags & DONE and not payload
            else:
                found.append((kind, payload))
            if flags & DONE:
                return error, found

    def do(self, command, offset=0, length=0, flags=0, payload=b""):
        """(error, chunks) of a request."""
        if self.extended and command == WRITE:
            flags |= PAYLOAD_LEN
        self.send(self.request(command, offset, length, flags, payload))
        simple_read = command == READ and not self.structured
        return self.result(self.cookie, offset, length if simple_read else 0)

    def read(self, offset, length, flags=0):
        error, found = self.do(READ, offset, length, flags)
        assert not error, f"error {error}"
        data, seen = bytearray(length), 0
        for kind, payload in found:
            at, = struct.unpack(">Q", payload[:8])
            if kind == OFFSET_DATA:
                n = len(payload) - 8
                data[at - offset:at - offset + n] = payload[8:]
            else:
                assert kind == OFFSET_HOLE and len(payload) == 12, f"chunk {kind}"
                n, = struct.unpack(">I", payload[8:])
            assert n > 0 and at >= offset and at + n <= offset + length, "a chunk out of range"
            seen += n
        assert seen == length == len(data), f"{seen} of {length}"
        return bytes(data)

    def status(self, offset, length, flags=0, ids=None):
        """(error, {id: [(length, flags)]}); "ids" are sent as the payload that selects contexts."""
        if ids is None:
            error, found = self.do(STATUS, offset, length, flags)
        else:
            payload = struct.pack(f">Q{len(ids)}I", length, *ids)
            error, found = self.do(STATUS, offset, len(payload), flags | PAYLOAD_LEN, payload)
        contexts = {}
        for kind, payload in found:
            assert kind == (BLOCK_STATUS_EXT if self.extended else BLOCK_STATUS), f"chunk {kind}"
            context, = struct.unpack(">I", payload[:4])
            assert context not in contexts, "a context twice"
            if self.extended:
                n, = struct.unpack(">I", payload[4:8])
                contexts[context] = list(struct.iter_unpack(">QQ", payload[8:]))
                assert n == len(contexts[context]), f"{n} extents"
            else:
                contexts[context] = list(struct.iter_unpack(">II", payload[4:]))
            assert contexts[context] and all(n for n, _ in contexts[context]), "an empty extent"
        return error, contexts
