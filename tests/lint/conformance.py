#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The conformance script has every operation of docs/protocol.md: a line in which it succeeds, one for
each status that its section names, at least one in which it fails; and it says how many lines it has."""

import re

import lint

DOCUMENT = "docs/protocol.md"
SCRIPT = "tests/conformance/script.txt"

# What no script brings about: the reason stands for every operation, or for those that are named.
ELSEWHERE = {
    "IO": "the device fails: tests/integration/test_faults",
    "NOMEM": "memory runs out",
    "NOSPC": ("the map is full: tests/unit/test_map_full", "CREATE", "CLONE", "SNAP", "RESET", "SET",
              "STATFS", "CLONE_ALL"),
    "BUSY": ("a race with writes, or with another: tests/unit/test_object_store", "USAGE", "CHECK"),
    "LIMIT": ("more memory or commit than one client asks for: tests/unit", "USAGE", "CLONE_ALL", "SET"),
}

# Verbs of the script that are not called as the operation that they send.
MANY = {"scatter": "writev", "tieall": "tie", "service": "server"}


def cells(line):
    return [cell.strip(" `") for cell in line.strip().strip("|").split("|")]


def operations(text):
    """The names of the table in section 4."""
    rows = text.partition("| number | operation |")[2].split("\n\n")[0].splitlines()[2:]
    return [cells(row)[1] for row in rows]


def statuses(text):
    """Those of section 5 that a server may send."""
    rows = text.partition("| number | status |")[2].split("\n\n")[0].splitlines()[2:]
    return [cells(row)[1] for row in rows if cells(row)[1] != "OK" and "never sent" not in row]


def sections(text, known):
    """(operations, statuses that it names) of each section of operations."""
    for part in text.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        ops = re.sub(r"^[\d.]+ ", "", title).split(", ")
        body = re.split(r"\n## ", body)[0]
        yield ops, [name for name in known if f"`{name}`" in body]


def lines(text):
    """(operation, outcome) of each line of the script, and the numbers of lines of both kinds."""
    found, sent, both, wire = [], {}, 0, 0
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] in ("#", "end", "section") or line.startswith("#"):
            continue
        wire += words[0] == "wire"
        both += words[0] != "wire"
        words = re.sub(r"^(wire )?(until )?(times \d+ )?(@\d )?", "", line).split()
        keys = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        outcome = line.partition(" -> ")[2].split(" ")[0]
        if words[0] == "send":
            sent[keys["as"]] = keys["verb"].upper()
        elif words[0] == "await":
            found.append((sent.get(keys["as"], ""), outcome))
        else:
            name = keys.get("op") if words[0] in ("raw", "burst") else MANY.get(words[0], words[0])
            found.append((name.upper(), outcome.split("+")[0]))
    return found, both, wire


def elsewhere(op, status):
    reason = ELSEWHERE.get(status)
    return reason is not None and (isinstance(reason, str) or op in reason[1:])


def unproven(text, found, known):
    for ops, named in sections(text, known):
        for status in named:
            if not any((op, status) in found or elsewhere(op, status) for op in ops):
                yield f"no line in which {' or '.join(ops)} is answered {status}"


def main():
    document, script = lint.text(DOCUMENT), lint.text(SCRIPT)
    ops, known = operations(document), statuses(document)
    found, both, wire = lines(script)
    found = set(found)
    named = sum(len(named) for _, named in sections(document, known))
    report = lint.Report()
    report.case("every operation succeeds in a line",
                [op for op in ops if (op, "ok") not in found], len(ops))
    report.case("every operation fails in a line, with a status of the document",
                [op for op in ops if not any((op, status) in found for status in known)], len(ops))
    report.case("every status that a section names is in a line", unproven(document, found, known),
                named)
    last = f"end both={both} wire={wire}"
    report.case("the script says how many lines it has",
                [] if script.rstrip().endswith("\n" + last) else [f"its last line should be: {last}"],
                both + wire)
    report.finish()


main()
