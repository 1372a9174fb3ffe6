#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What no file may use: functions without bounds or errors, waits by the clock, unsafe map flags."""

import re

import lint

UNBOUNDED = ("strcpy strcat sprintf vsprintf strtok gets atoi atol atoll atof alloca stpcpy "
             "strncpy strncat tmpnam tempnam mktemp sscanf scanf fscanf")
SLEEPS = "sleep usleep"
MAP_FLAGS = "MDB_WRITEMAP MDB_NOSYNC MDB_NOMETASYNC MDB_MAPASYNC MDB_DUPSORT"
UNFINISHED = "TODO FIXME XXX HACK"


def uses(paths, words, call, read=lint.code):
    pattern = re.compile(r"\b(" + "|".join(words.split()) + r")\b" + (r"\s*\(" if call else ""))
    for path in paths:
        for number, line in enumerate(read(path).splitlines(), 1):
            match = pattern.search(line)
            if match:
                yield f"{path}:{number}: {match.group(1)}"


def shell_sleeps(paths):
    for path in paths:
        for number, line in enumerate(lint.text(path).splitlines(), 1):
            if re.search(r"(^|[;&|]|\bdo\b|\bthen\b)\s*sleep\s", line.split("#")[0]):
                yield f"{path}:{number}: sleep"


def main():
    sources = lint.files(".c", ".h")
    scripts = lint.shell_scripts()
    report = lint.Report()
    report.case("no function without a bound", uses(sources, UNBOUNDED, True), len(sources))
    report.case("no sleep in C", uses(sources, SLEEPS, True), len(sources))
    report.case("no sleep in scripts", shell_sleeps(scripts), len(scripts))
    report.case("no map flag that gives up durability", uses(sources, MAP_FLAGS, False),
                len(sources))
    report.case("no mark of unfinished work", uses(sources, UNFINISHED, False, lint.text),
                len(sources))
    report.finish()


main()
