#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every row of the tables in docs/durability.md names tests, which exist, as do their cases."""

import re

import lint

DOCUMENT = "docs/durability.md"


def rows(text):
    """The last cell of each row of each table."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not cells[-1] in ("test", "attacked by"):
                yield line, cells[-1]


def programs():
    """Name without folder -> path, of all tests and benchmarks; a script also without its suffix."""
    found = {}
    for path in lint.files(".c", ".sh", ".py", folders=("tests", "bench")):
        found[path.name if path.suffix != ".c" else path.stem] = path
        found.setdefault(f"{path.parts[0]}/{path.stem}", path)
    return found


def missing(names, known):
    for name in names:
        program, _, case = name.partition(": ")
        path = known.get(program)
        if path is None:
            yield f"no test {program}"
        elif case and not re.search(rf"\b{re.escape(case)}\b", lint.text(path)):
            yield f"no case {case} in {path}"


def main():
    known = programs()
    nameless, wrong, count = [], [], 0
    for line, cell in rows(lint.text(DOCUMENT)):
        names = re.findall(r"`([^`]+)`", cell)
        count += 1
        if not names:
            nameless.append(line[:80])
        wrong += missing(names, known)
    report = lint.Report()
    report.case("every promise and every hazard names a test", nameless, count)
    report.case("every test that is named is there", wrong, count)
    report.finish()


main()
