#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Shell scripts parse and are clean for shellcheck; Python files compile."""

import lint


def main():
    shells = lint.shell_scripts()
    pythons = sorted(set(lint.files(".py")) | set(lint.scripts("python3")))
    unparsed, warned, broken = [], [], []
    for path in shells:
        status, said = lint.run("bash", "-n", str(path))
        if status:
            unparsed.append(said)
        status, said = lint.run("shellcheck", "--format=gcc", "--exclude=SC1091", str(path))
        if status:
            warned.append(said)
    for path in pythons:
        try:
            compile(lint.text(path), str(path), "exec")
        except SyntaxError as err:
            broken.append(f"{path}:{err.lineno}: {err.msg}")
    report = lint.Report()
    report.case("shell scripts parse", unparsed, len(shells))
    report.case("shellcheck has nothing to say", warned, len(shells))
    report.case("Python files compile", broken, len(pythons))
    report.finish()


main()
