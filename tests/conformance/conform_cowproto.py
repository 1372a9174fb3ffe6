#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs tests/conformance/script.txt by cowproto.py: by unix socket with PAYLOAD_CRC, by TCP without.

TAP: one case for each section and each way, and one for the number of lines that were run.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import cowproto
import script
from script import Wrong

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 800
UNTIL_SECONDS = 60
KINDS = ("hole", "data", "zero")
EXTENT_FLAGS = {0: "", 1: "shared", 2: "dirty"}

# What a word in flags= stands for.
FLAGS = {
    "open": {"readonly": 1, "direct": 2, "fixed": 4},
    "read": {"direct": 1},
    "write": {"direct": 1},
    "resize": {"shrink": 1},
    "remove": {"versions": 1},
    "extents": {"details": 1},
    "rename": {"exchange": 1},
    "zero": {"blocks": 1},
    "writev": {"at": 1},
    "fsync_if": {"at": 1},
    "set": {"ttl": 1, "readonly": 2, "writable": 4, "replace": 8, "reserved": 16},
}


class Server:
    """A cowd on a store of its own."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cowd-test-", dir=self.short_tmp()))
        self.process = self.port = None
        self.socket, self.store = str(self.dir / "socket"), str(self.dir / "store")
        self.size, self.damaged = None, False
        self.writeback_ms = 600000

    @staticmethod
    def short_tmp():
        """A long path would not fit in the address of a unix socket."""
        tmp = os.environ.get("TMPDIR", "/tmp")
        return tmp if len(tmp) <= 32 else "/tmp"

    def make(self, size):
        """Begins with an empty store of this size."""
        self.end_store()
        shutil.rmtree(self.store, ignore_errors=True)
        self.size, self.damaged = size, False
        self.start()

    def start(self):
        reads, writes = os.pipe()
        command = [os.environ["COWD"], "--store", self.store, "--listen", f"unix:{self.socket}",
                   "--listen", "tcp:127.0.0.1:0", "--writeback-ms",
                   str(self.writeback_ms), "--ready-fd", str(writes)]
        if not os.path.exists(self.store):
            command += ["--size", str(self.size)]
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            pass_fds=[writes])
        os.close(writes)
        with open(reads, encoding="utf-8") as ready:
            said = ready.read().splitlines()
        if "READY" not in said:
            raise Wrong("the server did not become ready")
        self.port = next(int(line.rpartition(":")[2]) for line in said if "LISTEN tcp" in line)

    def stop(self, signal_number):
        if self.process is None:
            return
        self.process.send_signal(signal_number)
        status, self.process = self.process.wait(), None
        if status != (0 if signal_number == signal.SIGTERM else -signal_number):
            raise Wrong(f"the server ended with {status}")

    def check(self):
        done = subprocess.run([os.environ["COWD"], "--store", self.store, "--check"], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Wrong(f"the checker ended with {done.returncode}: {done.stdout}")

    def end_store(self):
        """Stops, and looks at what is left."""
        if self.process is not None:
            self.stop(signal.SIGTERM)
            if not self.damaged:
                self.check()

    def damage(self, offset):
        with open(pathlib.Path(self.store) / "data", "r+b", buffering=0) as device:
            device.seek(offset)
            byte = device.read(1)
            device.seek(offset)
            device.write(bytes([byte[0] ^ 1]))
        self.damaged = True

    def log(self):
        return (self.dir / "log").read_text(errors="replace")[-3000:]

    def remove(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Run:
    """One run of the script: its server, connections, handles and variables."""

    def __init__(self, server, tcp):
        self.server, self.tcp = server, tcp
        self.features = 0 if tcp else cowproto.PAYLOAD_CRC
        self.conns, self.handles, self.variables, self.sent = {}, {}, {}, {}
        self.ran = [0, 0]  # for both, for the wire only

    def address(self):
        return ("127.0.0.1", self.server.port) if self.tcp else self.server.socket

    def connect(self, number):
        """Another connection under this number, before its handshake."""
        self.drop(number)
        self.conns[number] = cowproto.Connection(self.address())
        return self.conns[number]

    def drop(self, number):
        conn = self.conns.pop(number, None)
        if conn:
            conn.close()
        for name in [n for n, (owner, _) in self.handles.items() if owner == number]:
            del self.handles[name]

    def drop_all(self):
        for number in list(self.conns):
            self.drop(number)

    def conn(self, number):
        if number not in self.conns:
            if number != 1:
                raise Wrong(f"connection {number} has not said hello")
            self.connect(1).hello(self.features)
        return self.conns[number]

    def handle(self, name):
        """The number of an open handle; one that is called by its number is no handle of ours."""
        return int(name) if name.isdigit() else self.handles[name][1]

    # ---- lines -------------------------------------------------------------------------------

    def section(self, section):
        self.variables.clear()
        self.sent.clear()
        self.drop_all()
        for line in section.lines:
            for index in range(line.times):
                try:
                    self.line(line, index)
                except (Wrong, cowproto.Fault, cowproto.Malformed, cowproto.Closed, KeyError,
                        OSError) as err:
                    raise Wrong(f"line {line.number}, time {index}: {line.text}\n"
                                f"{type(err).__name__}: {err}") from None
            self.ran[line.wire] += 1

    def line(self, line, index):
        """Does it; one with "until" is done again as long as it comes out otherwise."""
        if line.verb == "server":
            self.control(script.Args(line, index, self.variables))
            return
        end = time.monotonic() + UNTIL_SECONDS
        while True:
            try:
                self.ask(line, index)
                return
            except Wrong:
                if not line.until or time.monotonic() > end:
                    raise

    def ask(self, line, index):
        args = script.Args(line, index, self.variables)
        call = CALLS.get(line.verb, call_simple)
        status, values = call(self, line.conn, line.verb, args)
        args.done()
        if line.expected is None:
            raise Wrong("the line expects nothing")
        if status != line.expected[0]:
            raise Wrong(f"the outcome is {status}: {values.get('text', '')}")
        for word in line.expected[1:]:
            script.check(word, index, values, self.variables)

    def control(self, args):
        action = args.text("do")
        size, at = args.number("size"), args.number("at")
        self.server.writeback_ms = args.number("writeback", str(self.server.writeback_ms))
        args.done()
        self.drop_all()
        if action not in ("new", "damage", "check", "stop", "start", "term", "kill"):
            raise Wrong(f"the server does not {action}")
        if action == "new":
            self.server.make(size)
        elif action == "damage":
            self.server.damage(at)
        elif action == "check":
            self.server.check()
        if action in ("stop", "term", "kill"):
            self.server.stop(signal.SIGKILL if action == "kill" else signal.SIGTERM)
        if action in ("start", "term", "kill"):
            self.server.start()


# ---- requests and results ----------------------------------------------------------------------

def field(run, verb, args, name, kind):
    """The value of one field of a request, of which the script has the name or which is 0."""
    if name == "handle" or verb == "clone_range" and name in ("src", "dst"):
        return run.handle(args.text(name))
    if name == "flags":
        bits = args.items("flags")
        return sum(int(b) if b.isdigit() else FLAGS[verb][b] for b in bits)
    if isinstance(kind, cowproto.Labels):
        return args.items(name)
    if isinstance(kind, cowproto.Str):
        return args.text(name)
    return args.number(name)


def write_all_entry(run, args, handle, offset, length, generation=None):
    """HANDLE:OFFSET:LENGTH, and the GENERATION that its object must have."""
    numbers = [script.number(text, args.variables) for text in (offset, length, generation or "0")]
    return {"handle": run.handle(handle), "flags": int(generation is not None),
            "generation": numbers[2], "offset": numbers[0], "len": numbers[1]}


def request(run, verb, args):
    """The fields and the payload of a request, as a line has them."""
    message = cowproto.OPERATIONS[verb.upper()].request
    if message == "msg_usage":
        names = args.items("names")
        return {"count": len(names), "entries": [{"name": n} for n in names]}, b""
    entries = []
    if message == "msg_handles":
        entries = [{"handle": run.handle(name)} for name in args.items("handles")]
    elif message == "msg_clone_all":
        entries = [dict(zip(("src", "dst"), pair.split(":"))) for pair in args.items("pairs")]
    elif message == "msg_write_all":
        entries = [write_all_entry(run, args, *one.split(":")) for one in args.items("writes")]
    elif message in cowproto.COUNTS:
        entries = [{"offset": offset, "len": length} for offset, length in args.ranges("ranges")]
    fields = {name: len(entries) if name == "count" else field(run, verb, args, name, kind)
              for name, kind in cowproto.MESSAGES.get(message, ())}
    if message in cowproto.COUNTS:
        fields["entries"] = entries
    sends = cowproto.OPERATIONS[verb.upper()].sends
    return fields, args.data("data") if sends else b""


def infos(fields):
    """An info, as checks see it."""
    fields = dict(fields)
    fields["readonly"] = fields.pop("flags") & 1
    fields["labels"] = ",".join(fields["labels"])
    return fields


def result(verb, reply):
    """The outcome of a line and its values, out of a reply."""
    fields = reply.fields
    if reply.status != "OK":
        return reply.status, fields
    message = cowproto.OPERATIONS[verb.upper()].reply
    if message == "msg_info":
        fields = infos(fields)
    elif message == "msg_open_reply":
        fields = infos(fields["info"])
    elif message == "msg_list_reply":
        fields = dict(fields, names=",".join(one["name"] for one in fields["entries"]))
    elif message == "msg_readv_reply":
        lens = ",".join(str(one["len"]) for one in fields["entries"])
        fields = {"data": reply.payload, "len": len(reply.payload), "lens": lens}
    elif message == "msg_server_reply":
        fields = dict(fields, addrs=",".join(one["text"] for one in fields["entries"]))
    elif message == "msg_generations":
        fields = {f"generation{i}": one["generation"] for i, one in enumerate(fields["entries"])}
    elif verb == "read":
        fields = {"data": reply.payload, "len": len(reply.payload)}
    return "ok", fields


def call_simple(run, number, verb, args):
    fields, payload = request(run, verb, args)
    return result(verb, run.conn(number).call(verb.upper(), fields, payload))


def call_service(run, number, _, args):
    return call_simple(run, number, "server", args)


def call_hello(run, number, verb, args):
    """HELLO, on a connection of its own; with again= on the one that there is."""
    conn = run.conns[number] if args.number("again") else run.connect(number)
    reply = conn.hello(args.number("features", str(run.features)),
                       args.number("version_min", "1"), args.number("version_max", "1"),
                       args.text("agent", "conform"))
    return result(verb, reply)


def call_open(run, number, verb, args):
    name = args.text("as")
    fields, _ = request(run, verb, args)
    reply = run.conn(number).call("OPEN", fields)
    if reply.status == "OK":
        if name in run.handles:
            raise Wrong(f"{name} is open")
        run.handles[name] = (number, reply.fields["handle"])
    return result(verb, reply)


def call_close(run, number, verb, args):
    name = args.text("handle")
    reply = run.conn(number).call("CLOSE", {"handle": run.handle(name)})
    run.handles.pop(name, None)
    return result(verb, reply)


def call_list(run, number, verb, args):
    """All pages, or with after= or max= one."""
    one = "after" in args or "max" in args
    fields, _ = request(run, verb, args)
    names, entries = [], []
    while True:
        reply = run.conn(number).call(verb.upper(), fields)
        if reply.status != "OK":
            return result(verb, reply)
        entries += reply.fields["entries"]
        if one or not reply.fields["more"]:
            break
        fields["after"] = entries[-1]["id" if verb == "children" else "name"]
    names = ",".join(entry["name"] for entry in entries)
    values = {"names": names, "count": len(entries), "more": reply.fields["more"]}
    return "ok", {**infos(entries[-1]), **values} if entries else values


def check_extent(fields, entry):
    """What 4.14 says of any entry."""
    details, kind, flag = fields["flags"] & 1, KINDS[entry["kind"]], EXTENT_FLAGS[entry["flags"]]
    placed = details and kind == "data" and flag != "dirty"
    if (kind == "zero" or flag) and not details or bool(entry["physical"]) != bool(placed):
        raise Wrong(f"an entry that cannot be: {entry}")
    if flag == "shared" and kind != "data" or flag == "dirty" and kind == "hole":
        raise Wrong(f"a flag of another kind: {entry}")
    return kind, flag


def call_extents(run, number, verb, args):
    """Asks until all of the range is told, or with max= once; neighbours that are alike are joined."""
    one = "max" in args
    fields, _ = request(run, verb, args)
    end, found, first = fields["offset"] + fields["len"], [], 0
    while True:
        reply = run.conn(number).call("EXTENTS", fields)
        if reply.status != "OK":
            return result(verb, reply)
        for entry in reply.fields["entries"]:
            kind, flag = check_extent(fields, entry)
            first = first or entry["physical"]
            if found and found[-1][0] == kind and found[-1][2] == flag:
                found[-1] = (kind, found[-1][1] + entry["len"], flag)
            else:
                found.append((kind, entry["len"], flag))
            fields["offset"] += entry["len"]
        fields["len"] = end - fields["offset"]
        if one or not reply.fields["entries"] or not fields["len"]:
            return "ok", {"extents": found, "physical": first, "count": reply.fields["count"]}


def call_diff(run, number, verb, args):
    """Asks until all of the range is told; neighbours that are alike are joined."""
    fields, _ = request(run, verb, args)
    end, found = fields["offset"] + fields["len"], []
    while True:
        reply = run.conn(number).call("DIFF", fields)
        if reply.status != "OK":
            return result(verb, reply)
        for entry in reply.fields["entries"]:
            kind = ("hole", "data", "", "same")[entry["kind"]]
            if found and found[-1][0] == kind:
                found[-1] = (kind, found[-1][1] + entry["len"], "")
            else:
                found.append((kind, entry["len"], ""))
            fields["offset"] += entry["len"]
        fields["len"] = end - fields["offset"]
        if not reply.fields["entries"] or not fields["len"]:
            return "ok", {**reply.fields, "extents": found}


def call_clone_range(run, number, verb, args):
    """Asks again for what is left, or with once= not."""
    once = args.number("once")
    fields, _ = request(run, verb, args)
    total = 0
    while True:
        reply = run.conn(number).call("CLONE_RANGE", fields)
        if reply.status != "OK":
            return result(verb, reply)
        total += reply.fields["len"]
        if once or not reply.fields["left"]:
            return "ok", {"len": total, "left": reply.fields["left"]}
        fields.update(src_offset=fields["src_offset"] + reply.fields["len"],
                      dst_offset=fields["dst_offset"] + reply.fields["len"],
                      len=reply.fields["left"])


def call_unshare(run, number, verb, args):
    """Asks again for what is left."""
    fields, _ = request(run, verb, args)
    copied = 0
    while True:
        reply = run.conn(number).call("UNSHARE", fields)
        if reply.status != "OK":
            return result(verb, reply)
        copied += reply.fields["copied"]
        if not reply.fields["left"]:
            return "ok", {"copied": copied}
        fields.update(offset=fields["offset"] + reply.fields["len"], len=reply.fields["left"])


DAMAGES = ("", "checksum", "read", "metadata")


def check_damages(fields, reply):
    """What 4.36 says of the entries: in order, whole blocks, within what was done."""
    here = fields["offset"] // 4096 * 4096
    for one in reply["entries"]:
        if one["offset"] < here or one["offset"] % 4096 or one["len"] % 4096 or \
                one["offset"] >= fields["offset"] + reply["len"] or \
                bool(one["physical"]) != (one["kind"] != 3):
            raise Wrong(f"an entry that cannot be: {one}")
        here = one["offset"] + one["len"]


def call_verify(run, number, verb, args):
    """Asks again for what is left, or with once= not."""
    once = args.number("once")
    fields, _ = request(run, verb, args)
    totals, found, first = {"len": 0, "read": 0, "pending": 0}, [], 0
    while True:
        reply = run.conn(number).call("VERIFY", fields)
        if reply.status != "OK":
            return result(verb, reply)
        check_damages(fields, reply.fields)
        for key in totals:
            totals[key] += reply.fields[key]
        for one in reply.fields["entries"]:
            first = first or one["physical"]
            found.append(f"{one['offset']}:{one['len']}:{DAMAGES[one['kind']]}")
        left = reply.fields["left"]
        if once or not left:
            return "ok", {**totals, "left": left, "damages": ",".join(found), "physical": first,
                          "count": len(found)}
        if not reply.fields["len"]:
            raise Wrong("nothing was done")
        fields.update(offset=fields["offset"] + reply.fields["len"], len=left)


# ---- on the wire only --------------------------------------------------------------------------

CHANGED = ("magic", "flags", "status", "body_len", "payload_len", "body_crc", "payload_crc")


def call_raw(run, number, verb, args):
    """A frame of any kind.  The outcome is the status, or "closed", or both with a "+" between."""
    fresh, conn = args.number("fresh"), None
    conn = run.connect(number) if fresh else run.conn(number)
    name, body, payload = args.text("op"), bytes.fromhex(args.text("body")), args.data("payload")
    changed = {key: args.number(key) for key in CHANGED if key in args}
    ident = args.number("id") if "id" in args else None
    flip = args.number("flip", "max")
    if flip == script.MASK:
        ident = conn.start_body(name, body, payload, ident, **changed)
    else:
        ident = conn.next_id
        raw = bytearray(cowproto.make_frame(cowproto.OPERATIONS[name].number, ident, body, payload,
                                            conn.features, **changed))
        raw[flip] ^= 1
        conn.inflight[ident] = name
        conn.send(raw)
    return outcome(run, number, conn, ident, name)


def outcome(run, number, conn, ident, name, others=False):
    """What comes back: a reply, the end of the stream, or first the one and then the other."""
    status = ""
    values = {}
    try:
        reply = conn.wait(ident)
        status, values = result(name.lower(), reply) if name in cowproto.OPERATIONS else \
            (reply.status, reply.fields)
        if status != "PROTO":
            return status, values
        if conn.sock.recv(4096) and not others:
            raise Wrong("more than one reply")
        conn.take(1 << 30)
    except (cowproto.Closed, ConnectionResetError):
        pass
    run.drop(number)
    return status + "+closed" if status else "closed", values


def call_twins(run, number, verb, args):
    """Two requests of one id, sent at once: the first takes longer than the second takes to arrive."""
    conn = run.conn(number)
    body = cowproto.encode("msg_create", {"name": "twin", "size_bytes": 1, "ttl_ms": 0,
                                           "reserved_bytes": 0, "labels": []})
    first = cowproto.make_frame(cowproto.OPERATIONS["CREATE"].number, 9000, body)
    conn.inflight[9000] = "PING"
    conn.send(first + cowproto.make_frame(cowproto.OPERATIONS["PING"].number, 9000))
    return outcome(run, number, conn, 9000, "PING", others=True)


def call_cut(run, number, verb, args):
    """Every beginning of a frame, each on a connection of its own that then ends."""
    name, payload = args.text("op"), args.data("payload")
    fields, _ = request(run, name.lower(), args)
    body = cowproto.encode(cowproto.OPERATIONS[name].request, fields)
    whole = cowproto.make_frame(cowproto.OPERATIONS[name].number, 1, body, payload, run.features)
    for size in range(len(whole)):
        other = cowproto.Connection(run.address())
        other.hello(run.features)
        other.send(whole[:size])
        other.close()
    return "ok", {"cuts": len(whole)}


def call_scatter(run, number, verb, args):
    """A WRITEV of so many ranges of one byte, a step from each other."""
    count, step = args.number("count"), args.number("step")
    fields = {"handle": run.handle(args.text("handle")), "flags": 0, "generation": 0, "count": count,
              "entries": [{"offset": i * step, "len": 1} for i in range(count)]}
    return result("writev", run.conn(number).call("WRITEV", fields, bytes(count)))


def call_writeall(run, number, verb, args):
    """A WRITE_ALL of a byte to each of many handles whose names have numbers, and of some more."""
    prefix, count, others = args.text("handle"), args.number("count"), args.items("with")
    names, offset = [f"{prefix}{i:04d}" for i in range(count)] + others, args.number("offset")
    entries = [{"handle": run.handle(name), "flags": 0, "generation": 0, "offset": offset, "len": 1}
               for name in names]
    fields = {"count": len(names), "entries": entries}
    return result("write_all", run.conn(number).call("WRITE_ALL", fields, bytes(len(names))))


def call_tieall(run, number, verb, args):
    """A TIE of many handles whose names have numbers, and of some more."""
    prefix, count, others = args.text("handle"), args.number("count"), args.items("with")
    names = [f"{prefix}{i:04d}" for i in range(count)] + others
    entries = [{"handle": run.handle(name)} for name in names]
    return result("tie", run.conn(number).call("TIE", {"count": len(names), "entries": entries}))


def call_burst(run, number, verb, args):
    """So many requests at once; all of them are answered, each once."""
    conn, count, name = run.conn(number), args.number("count"), args.text("op")
    before = len(conn.order)
    conn.sock.sendall(b"".join(
        cowproto.make_frame(cowproto.OPERATIONS[name].number, conn.next_id + i) for i in range(count)))
    idents = range(conn.next_id, conn.next_id + count)
    conn.inflight.update((ident, name) for ident in idents)
    conn.next_id += count
    statuses = {conn.wait(ident).status for ident in idents}
    if sorted(conn.order[before:]) != list(idents):
        raise Wrong("not one reply to each")
    return ("ok" if statuses == {"OK"} else ",".join(sorted(statuses))), {}


def call_send(run, number, verb, args):
    """Begins a request and does not wait for its reply."""
    name, verb = args.text("as"), args.text("verb")
    fields, payload = request(run, verb, args)
    run.sent[name] = (verb, run.conn(number).start(verb.upper(), fields, payload))
    return "ok", {}


def call_await(run, number, verb, args):
    """The reply to what "send" has begun."""
    sent, ident = run.sent.pop(args.text("as"))
    return result(sent, run.conn(number).wait(ident))


def call_drop(run, number, verb, args):
    """Ends a connection with all its handles open."""
    run.conn(number)
    run.drop(number)
    return "ok", {}


CALLS = {
    "hello": call_hello, "open": call_open, "close": call_close,
    "list": call_list, "versions": call_list, "children": call_list,
    "extents": call_extents, "diff": call_diff, "clone_range": call_clone_range,
    "unshare": call_unshare, "verify": call_verify, "service": call_service,
    "send": call_send, "await": call_await, "burst": call_burst, "scatter": call_scatter,
    "tieall": call_tieall, "writeall": call_writeall, "raw": call_raw, "twins": call_twins,
    "cut": call_cut, "drop": call_drop,
}


# ---- the whole ---------------------------------------------------------------------------------

def say(text):
    print("# " + text.replace("\n", "\n# "))


class Report:
    def __init__(self):
        self.cases = self.failed = 0

    def case(self, title, fn):
        self.cases += 1
        try:
            fn()
            print(f"ok {self.cases} - {title}")
        except (Wrong, OSError) as err:
            self.failed += 1
            print(f"not ok {self.cases} - {title}")
            say(str(err))
        sys.stdout.flush()


def run_way(report, sections, declared, way):
    server = Server()
    try:
        run = Run(server, tcp=way == "TCP")
        for section in sections:
            report.case(f"{way}: {section.name}", lambda s=section: run.section(s))
        run.drop_all()
        report.case(f"{way}: the last store", server.end_store)

        def counted():
            if tuple(run.ran) != declared:
                raise Wrong(f"both={run.ran[0]} wire={run.ran[1]} lines were run")
        report.case(f"{way}: all lines were run", counted)
        if report.failed:
            say(server.log())
    finally:
        server.remove()


def ended(_number, _frame):
    raise SystemExit("ended by a signal: no answer, or no time left")


def main():
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGALRM, ended)
    signal.alarm(SECONDS)
    sections, declared = script.load(sys.argv[1] if len(sys.argv) > 1 else HERE / "script.txt")
    report = Report()
    for way in ("unix", "TCP"):
        run_way(report, sections, declared, way)
    print(f"1..{report.cases}")
    sys.exit(1 if report.failed else 0)


main()
