#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""clang-format would change nothing."""

import lint


def main():
    sources = lint.files(".c", ".h")
    problems = []
    for path in sources:
        status, said = lint.run("clang-format", "--style=file", "--dry-run", "-Werror",
                                "--ferror-limit=1", str(path))
        if status:
            problems.append(said.splitlines()[0] if said else f"{path}: clang-format failed")
    report = lint.Report()
    report.case("clang-format changes nothing", problems, len(sources))
    report.finish()


main()
