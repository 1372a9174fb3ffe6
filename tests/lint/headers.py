#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Every header compiles alone, and twice; the public ones in C++ too."""

import os
import shlex

import lint

# client/ too: what is for users to copy finds cow.h as they do.
FLAGS = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{lint.ROOT}",
         f"-I{lint.ROOT}/client"]


def packages():
    status, flags = lint.run("pkg-config", "--cflags", "json-c", "smartcols", "cmocka")
    return shlex.split(flags) if status == 0 else []


def compile_alone(header, compiler, *flags):
    twice = f'#include "{header}"\n#include "{header}"\n'
    status, said = lint.run(*compiler, *FLAGS, *flags, "-", stdin=twice)
    return [f"{header}: {said}"] if status else []


def main():
    headers = lint.files(".h")
    compiler = shlex.split(os.environ.get("CC") or "cc")
    flags = packages()
    report = lint.Report()
    report.case("headers compile alone",
                [p for h in headers
                 for p in compile_alone(h, compiler, "-xc", "-std=gnu17", *flags)], len(headers))
    public = [h for h in headers if str(h) in lint.PUBLIC]
    report.case("the public headers compile as C++",
                [p for h in public for p in compile_alone(h, ["c++"], "-xc++")], len(public))
    report.finish()


main()
