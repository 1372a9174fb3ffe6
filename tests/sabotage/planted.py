# SPDX-License-Identifier: BSD-2-Clause
"""Planted bugs: what a patch of this folder says, and how it is applied.

A patch is a unified diff against the root, below three lines:

    Rule: invariant 4                   of DESIGN.md, section 9; or "section 8" of it
    Breaks: what the code does then, in a sentence
    Tests: tests/unit/test_recover tests/sim/sim        that see it, the cheapest first

It applies where the lines of each hunk are found exactly once in its file, wherever that is: what
stands around them may change, and the numbers of lines are not looked at.
"""

import pathlib

FIELDS = ("Rule", "Breaks", "Tests")
TABLE_HEAD = "| patch | rule | what the code does then | tests that see it |\n|---|---|---|---|\n"


class Broken(Exception):
    """A patch that is malformed, or that does not apply."""


def matters(line):
    """Not what git says beside a diff."""
    return not line.startswith(("diff ", "index "))


class Patch:
    """One patch: its name, its three fields, and its hunks, (file, old lines, new lines) each."""

    def __init__(self, path):
        self.name = path.stem
        self.fields = {}
        self.hunks = []
        lines = path.read_text(encoding="utf-8").splitlines()
        body = next((i for i, line in enumerate(lines) if line.startswith("--- ")), len(lines))
        for line in filter(matters, lines[:body]):
            key, _, value = line.partition(": ")
            self.fields[key] = value.strip()
        if tuple(self.fields) != FIELDS or not all(self.fields.values()):
            raise Broken(f"{self.name}: it does not begin with {', '.join(FIELDS)}")
        self._parse(lines[body:])

    def _parse(self, lines):
        file = None
        for line in filter(matters, lines):
            if line.startswith("+++ b/"):
                file = line[len("+++ b/"):]
            elif line.startswith("@@ ") and file:
                self.hunks.append((file, [], []))
            elif line.startswith("--- a/"):
                file = None
            elif self.hunks and file and line[:1] in (" ", "-", "+"):
                if line[0] != "+":
                    self.hunks[-1][1].append(line[1:])
                if line[0] != "-":
                    self.hunks[-1][2].append(line[1:])
            else:
                raise Broken(f"{self.name}: not a line of a unified diff: {line}")
        if not self.hunks or any(old == new for _, old, new in self.hunks):
            raise Broken(f"{self.name}: it changes nothing")

    @property
    def tests(self):
        return self.fields["Tests"].split()

    def apply(self, read):
        """{file: its text with the bug}; read(file) is its text without."""
        texts = {}
        for file, old, new in self.hunks:
            lines = (texts[file] if file in texts else read(file)).split("\n")
            n = len(old)
            found = [i for i in range(len(lines) - n + 1) if lines[i:i + n] == old]
            if len(found) != 1:
                where = "more than once" if found else "nowhere"
                raise Broken(f"{self.name}: its lines are {where} in {file}: {old[0].strip()} ...")
            lines[found[0]:found[0] + n] = new
            texts[file] = "\n".join(lines)
        return texts


def load(folder):
    """All patches, in the order of their names."""
    return [Patch(path) for path in sorted(folder.glob("*.patch"))]


def table(patches):
    """The rows of the table in README.md."""
    return [f"| {p.name} | {p.fields['Rule']} | {p.fields['Breaks']} | "
            f"{', '.join(map(short, p.tests))} |" for p in patches]


def short(test):
    """A test as people name it."""
    return pathlib.PurePath(test).stem
