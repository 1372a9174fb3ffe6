#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every file is named in a makefile, so that it is built, run and distributed; and every source file
is in the map of files at the end of DESIGN.md, which names no other."""

import fnmatch
import re

import lint

SUFFIXES = (".c", ".h", ".sh", ".py", ".mk", ".in", ".map", ".md", ".txt", ".supp", ".json",
            ".1", ".3", ".5", ".7", ".8")


def named():
    makefiles = ["Makefile.am", "configure.ac", *map(str, lint.files(".mk"))]
    words = set()
    for path in makefiles:
        lines = (line.split("#")[0] for line in lint.text(path).splitlines())
        words.update(re.findall(r"[\w.+-]+(?:/[\w.+-]+)+", "\n".join(lines)))
    return words


def design_map():
    """Folder -> the patterns that DESIGN.md has for it."""
    rows = {}
    folder = None
    for line in lint.text("DESIGN.md").splitlines():
        head = re.match(r"### `(\w+)/`$", line)
        if line.startswith("#"):
            folder = head.group(1) if head else None
        elif folder and line.startswith("| `"):
            rows.setdefault(folder, []).extend(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return rows


def map_problems(found):
    rows = design_map()
    sources = {}
    for path in found:
        if str(path.parent) in rows and path.suffix in (".c", ".h", ".map", ".in"):
            sources.setdefault(str(path.parent), []).append(path.name)
    for folder, patterns in rows.items():
        names = sources.get(folder, [])
        yield from (f"{folder}/{name} is not in the map of files in DESIGN.md" for name in names
                    if not any(fnmatch.fnmatch(name, p) for p in patterns))
        yield from (f"DESIGN.md names {folder}/{p}, which does not exist" for p in patterns
                    if not any(fnmatch.fnmatch(name, p) for name in names))


def main():
    words = named()
    found = lint.files(*SUFFIXES)
    problems = [f"{path} is in no makefile" for path in map(str, found)
                if path not in words
                and not (path.startswith(("tests/", "bench/")) and path[:-2] in words)]
    report = lint.Report()
    report.case("every file is in a makefile", problems, len(found))
    report.case("every source file is in the map of DESIGN.md", list(map_problems(found)), len(found))
    report.finish()


main()
