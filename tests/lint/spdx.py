#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every source says its licence in one of its first three lines."""

import lint

SUFFIXES = (".c", ".h", ".sh", ".py", ".mk", ".m4", ".map", ".in", ".1", ".3", ".5", ".7", ".8")
TOP = ("configure.ac", "Makefile.am")
GENERATED = ("libtool.m4", "ltoptions.m4", "ltsugar.m4", "ltversion.m4", "lt~obsolete.m4")


def main():
    sources = {p for p in lint.files(*SUFFIXES) if p.name not in GENERATED}
    sources.update(p.relative_to(lint.ROOT) for p in map(lint.ROOT.joinpath, TOP) if p.is_file())
    for interpreter in ("sh", "bash", "python3"):
        sources.update(lint.scripts(interpreter))
    problems = [f"{p}: no SPDX line" for p in sorted(sources)
                if not any("SPDX-License-Identifier: BSD-2-Clause" in line
                           for line in lint.text(p).splitlines()[:3])]
    report = lint.Report()
    report.case("sources have their SPDX line", problems, len(sources))
    report.finish()


main()
