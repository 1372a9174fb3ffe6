#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The tables of docs/protocol.md say what cowproto.py does: fields, their order, types, offsets and
bounds, operations, statuses, feature bits, the header and its limits."""

import pathlib
import re
import sys

import cowproto

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs" / "protocol.md"


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables(text):
    """(heading, the text between the table before and this one, head row, rows) of each table."""
    heading, before, rows = "", "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append(cells(line))
            continue
        if rows:
            yield heading, before, rows[0], rows[2:]
            before, rows = "", []
        if line.startswith("#"):
            heading = line.strip("# ")
        before += line + "\n"


# ---- messages ----------------------------------------------------------------------------------------

def bounded(kind, text):
    """Whether the words beside a number tell the bound that cowproto has."""
    full = 256 ** kind.size - 1
    if kind.bits not in (full, 0) and kind.most == full:
        bits = [int(n) for n in re.findall(r"\(value (\d+)\)", text)]
        return sum(bits) == kind.bits
    if kind.most not in (full, 1):
        return any(form in text for form in (f"{kind.most:,}", str(kind.most), "as of `CREATE`"))
    return True


def offset_of(here, relative):
    return f"+{here}" if relative else str(here)


def check_fields(message, rows, fields):
    """Rows of a table against fields of cowproto, from the first on; what is left of the rows."""
    here, relative = 0, False
    for name, kind in fields:
        if not rows:
            yield f"{message} ends before {name}"
            return
        offset, text, field = rows[0][:3]
        note = " ".join(rows[0][2:])
        del rows[0]
        if (field, text) != (f"`{name}`", kind.text):
            yield f"{message}: {field} {text} stands where cowproto has {name} {kind.text}"
        elif offset != offset_of(here, relative):
            yield f"{message}: {name} is at {offset_of(here, relative)} and not at {offset}"
        elif isinstance(kind, cowproto.Number) and not bounded(kind, note):
            yield f"{message}: {name} has another bound: {note}"
        here = kind.offset(here)
        relative = relative or here == 0
    if rows and message not in cowproto.COUNTS:
        yield f"{message} has a field more: {rows[0]}"


def check_entries(message, rows, head_bytes, relative):
    """What follows "count" times: one row of a type, or rows whose offsets have an i in them."""
    fields = cowproto.ENTRIES[message]
    times = f"`{cowproto.COUNTS[message]}` times"
    if times in rows[0][2]:
        kinds = [kind.text for _, kind in fields]
        whole = next((f"{name}" for name, of in cowproto.MESSAGES.items() if of is fields), None)
        want = ["info"] if whole == "msg_info" else kinds
        want = [offset_of(head_bytes, relative), ", ".join(want)]
        if rows[0][:2] != want or len(rows) != 1:
            yield f"{message}: {rows} and not {want}"
        return
    size, here = sum(kind.size for _, kind in fields), head_bytes
    want = []
    for name, kind in fields:
        want.append([f"{here} + {size} i", kind.text, f"`{name}`"])
        here += kind.size
    if [row[:3] for row in rows] != want:
        yield f"{message}: entries {rows}"


def messages(text):
    seen = set()
    for heading, before, head, rows in tables(text):
        named = re.findall(r"`(msg_\w+)`", before)
        if head[:3] != ["offset", "type", "field"]:
            continue
        if not named:
            yield f"the table of {heading} is of no message"
            continue
        message = named[-1]
        seen.add(message)
        fields = cowproto.MESSAGES.get(message)
        if fields is None:
            yield f"cowproto has no {message}"
            continue
        rows = list(rows)
        yield from check_fields(message, rows, fields)
        if message in cowproto.COUNTS and rows:
            here, relative = 0, False
            for _, kind in fields:
                here = kind.offset(here)
                relative = relative or here == 0
            yield from check_entries(message, rows, here, relative)
        elif message in cowproto.COUNTS:
            yield f"{message} has no entries"
    yield from (f"the document has no table of {name}" for name in set(cowproto.MESSAGES) - seen)


# ---- the other tables ----------------------------------------------------------------------------------

def operations(text):
    rows = next(rows for _, _, head, rows in tables(text) if head[0] == "number" and
                head[1] == "operation")
    have = {row[1].strip("`"): (int(row[0]), "data" in row[3], "data" in row[5], row[2] == "empty",
                                row[4] == "empty") for row in rows}
    want = {name: (op.number, op.sends, op.receives, op.request is None, op.reply is None)
            for name, op in cowproto.OPERATIONS.items()}
    numbers = sorted(row[0] for row in have.values())
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"the numbers have gaps: {numbers}"
    yield from (f"{name}: {have.get(name)} and not {want.get(name)}" for name in {**have, **want}
                if have.get(name) != want.get(name))


def statuses(text):
    rows = next(rows for _, _, head, rows in tables(text) if head[:2] == ["number", "status"])
    have = tuple(row[1].strip("`") for row in rows)
    if have != cowproto.STATUSES or [int(row[0]) for row in rows] != list(range(len(rows))):
        yield f"{have} and not {cowproto.STATUSES}"


def header(text):
    rows = next(rows for _, _, head, rows in tables(text) if head[:3] == ["offset", "bytes", "field"])
    have = [(int(row[0]), int(row[1]), row[2].strip("`")) for row in rows]
    sizes = (4, 2, 2, 8, 4, 4, 4, 4, 4, 4)
    want, here = [], 0
    for size, name in zip(sizes, (*cowproto.Header._fields, "header_crc")):
        want.append((here, size, name))
        here += size
    if have != want or here != cowproto.HEADER_BYTES:
        yield f"{have} and not {want}"
    for magic in (cowproto.REQUEST, cowproto.REPLY):
        if f"`0x{magic:08x}`" not in rows[0][3]:
            yield f"the magic {rows[0][3]}"


def limits(text):
    rows = next(rows for _, _, head, rows in tables(text) if head[1:] == ["before the handshake",
                                                                          "after"])
    have = {row[0]: row[2] for row in rows}
    for name, value in (("body", cowproto.BODY_MAX), ("payload", cowproto.PAYLOAD_MAX)):
        if not have[name].startswith(f"{value:,} bytes"):
            yield f"{name}: {have[name]} and not {value}"


def features(text):
    rows = next(rows for _, _, head, rows in tables(text) if head[0] == "feature bit")
    if [row[1] for row in rows] != ["`PAYLOAD_CRC`"] or \
            rows[0][0] != f"0 (value {cowproto.PAYLOAD_CRC})":
        yield f"{rows}"


CASES = (("messages", messages), ("operations", operations), ("statuses", statuses),
         ("header", header), ("limits", limits), ("features", features))


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else DOCUMENT
    text, failed = pathlib.Path(path).read_text(encoding="utf-8"), 0
    for number, (title, case) in enumerate(CASES, 1):
        problems = list(case(text))
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} - {title}")
        for problem in problems:
            print(f"# {problem}")
    print(f"1..{len(CASES)}")
    sys.exit(1 if failed else 0)


main()
