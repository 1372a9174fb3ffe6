#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Planted bugs do not rot: every patch of tests/sabotage applies to the tree as it is, names a rule and
tests that exist, is distributed, and is in the table there."""

import pathlib
import re
import sys

import lint

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sabotage"))
import planted  # noqa: E402

FOLDER = lint.ROOT / "tests/sabotage"


def load(problems):
    patches = []
    for path in sorted(FOLDER.glob("*.patch")):
        try:
            patches.append(planted.Patch(path))
        except planted.Broken as err:
            problems.append(str(err))
    return patches


def read(file):
    if not (lint.ROOT / file).is_file():
        raise planted.Broken(f"there is no {file}")
    return lint.text(file)


def unapplied(patches):
    for patch in patches:
        try:
            patch.apply(read)
        except planted.Broken as err:
            yield str(err)


def unruled(patches):
    """Rules are those of DESIGN.md: its sections, and the invariants in section 9."""
    design = lint.text("DESIGN.md")
    rules = {f"section {n}" for n in re.findall(r"^## (\d+)\. ", design, re.MULTILINE)}
    _, _, section = design.partition("## 9. Invariants")
    section = section.partition("\n## ")[0]
    rules.update(f"invariant {n}" for n in re.findall(r"^(\d+)\. ", section, re.MULTILINE))
    for patch in patches:
        if patch.fields["Rule"] not in rules:
            yield f"{patch.name}: DESIGN.md has no {patch.fields['Rule']}"


def named():
    """What the makefiles name."""
    return {word for path in lint.files(".mk")
            for word in re.findall(r"[\w.+-]+(?:/[\w.+-]+)+", lint.text(path))}


def untested(patches, words):
    for patch in patches:
        yield from (f"{patch.name}: there is no {test}" for test in patch.tests if test not in words)


def undistributed(patches, words):
    for patch in patches:
        if f"tests/sabotage/{patch.name}.patch" not in words:
            yield f"{patch.name} is in no makefile"
    there = {f"tests/sabotage/{patch.name}.patch" for patch in patches}
    for word in sorted(words):
        if word.startswith("tests/sabotage/") and word.endswith(".patch") and word not in there:
            yield f"{word} is in a makefile alone"


def untabled(patches):
    readme = lint.text("tests/sabotage/README.md")
    rows = readme.partition(planted.TABLE_HEAD)[2].splitlines()
    wanted = planted.table(patches)
    yield from (f"not in the table, where 'run --readme' puts it: {row}" for row in wanted
                if row not in rows)
    yield from (f"of no patch: {row}" for row in rows if row not in wanted)


def main():
    problems = []
    patches = load(problems)
    words = named()
    report = lint.Report()
    report.case("planted bugs are patches", problems, len(patches))
    report.case("planted bugs apply", unapplied(patches), len(patches))
    report.case("planted bugs break a rule of DESIGN.md", unruled(patches), len(patches))
    report.case("planted bugs name tests", untested(patches, words), len(patches))
    report.case("planted bugs are distributed", undistributed(patches, words), len(patches))
    report.case("planted bugs are in the table", untabled(patches), len(patches))
    report.finish()


main()
