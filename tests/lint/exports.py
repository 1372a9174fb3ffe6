#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""libcow exports exactly what cow.h and cow_aio.h declare, and only client/ has names that begin with cow_."""

import os
import re

import lint


def differences(left_name, left, right_name, right):
    yield from (f"{n}: in {left_name}, not in {right_name}" for n in sorted(left - right))
    yield from (f"{n}: in {right_name}, not in {left_name}" for n in sorted(right - left))


def library_exports():
    """The functions of the built library; None where there is no build."""
    build = os.environ.get("builddir")
    library = os.path.join(build, ".libs/libcow.so") if build else ""
    if not os.path.exists(library):
        return None
    _, said = lint.run("nm", "-D", "--defined-only", library)
    return {m.group(1) for m in re.finditer(r" [TDBRW] ([^@\s]+)", said)}


def foreign_names():
    """Definitions and declarations of cow_ names outside of client/ and the users of libcow."""
    for path in lint.files(".c", ".h", folders=("common", "proto", "server")):
        for number, line in enumerate(lint.code(path).splitlines(), 1):
            if re.search(r"\b(cow|COW)_\w+", line):
                yield f"{path}:{number}: {line.strip()}"


def main():
    declared = {name for header in lint.PUBLIC if (lint.ROOT / header).is_file()
                for name in re.findall(r"\b(cow_\w+)\s*\(", lint.code(header))}
    mapped = set(re.findall(r"\b(\w+);", lint.code("client/libcow.map").split("local:")[0]))
    report = lint.Report()
    report.case("cow.h and libcow.map agree",
                differences("cow.h", declared, "libcow.map", mapped), len(declared))
    built = library_exports()
    if built is not None:
        report.case("the library exports what libcow.map says",
                    differences("libcow.map", mapped, "libcow.so", built), len(built))
    report.case("cow_ names are libcow's alone", foreign_names(),
                len(lint.files(".c", ".h", folders=("common", "proto", "server"))))
    report.finish()


main()
