#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The sizes of functions and files, against the budget; product and tests each on their own."""

import lint

MEDIAN_MAX = 20
P95_MAX = 75
FUNCTION_MAX = 120
FILE_MAX = 700


def functions(paths):
    """(lines, name, path) of every function, by universal-ctags."""
    _, said = lint.run("ctags", "--languages=C", "--langmap=C:.c.h", "--kinds-C=f", "--fields=ne",
                       "--sort=no", "-f", "-", "-L", "-", stdin="".join(f"{p}\n" for p in paths))
    found = []
    for line in said.splitlines():
        words = line.split("\t")
        fields = dict(w.split(":", 1) for w in words[3:] if ":" in w)
        if "line" in fields and "end" in fields:
            found.append((int(fields["end"]) - int(fields["line"]) + 1, words[0], words[1]))
    return sorted(found, reverse=True)


def share(found, percent):
    """The length that this share of the functions does not exceed."""
    ordered = sorted(lines for lines, _, _ in found)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0


def check(report, title, paths):
    found = functions(paths)
    median, p95 = share(found, 50), share(found, 95)
    longest = found[0][0] if found else 0
    report.case(f"{title}: median function {median} lines, at most {MEDIAN_MAX}",
                [f"the median is {median}"] if median > MEDIAN_MAX else [], len(found))
    report.case(f"{title}: 95 % of functions up to {p95} lines, at most {P95_MAX}",
                [f"{lines} lines: {name} in {path}" for lines, name, path in found
                 if p95 > P95_MAX and lines > P95_MAX], len(found))
    report.case(f"{title}: longest function {longest} lines, at most {FUNCTION_MAX}",
                [f"{lines} lines: {name} in {path}" for lines, name, path in found
                 if lines > FUNCTION_MAX], len(found))
    sizes = sorted(((lint.text(p).count("\n"), p) for p in paths), reverse=True)
    longest = sizes[0][0] if sizes else 0
    report.case(f"{title}: longest file {longest} lines, at most {FILE_MAX}",
                [f"{lines} lines: {path}" for lines, path in sizes if lines > FILE_MAX], len(sizes))


def main():
    report = lint.Report()
    check(report, "product", lint.files(".c", ".h", folders=lint.PRODUCT))
    check(report, "tests", lint.files(".c", ".h", folders=("tests", "bench")))
    report.finish()


main()
