#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The man pages are clean for mandoc, and render."""

import lint


def main():
    pages = lint.files(".1", ".3", ".5", ".7", ".8", folders=("man",))
    warned, unrendered = [], []
    for page in pages:
        status, said = lint.run("mandoc", "-T", "lint", "-W", "warning", str(page))
        if status or said:
            warned.append(said or f"{page}: mandoc ended with {status}")
        status, said = lint.run("mandoc", "-T", "utf8", str(page))
        if status or "NAME" not in said.replace("\b", "").replace("NNAAMMEE", "NAME"):
            unrendered.append(f"{page}: no page came out")
    report = lint.Report()
    report.case("man pages have no warning", warned, len(pages))
    report.case("man pages render", unrendered, len(pages))
    report.finish()


main()
