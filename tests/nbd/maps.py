#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Compares a block status as NBD clients print it with what cowctl says of the same object.

    maps.py allocation NBDINFO COWCTL-MAP     "nbdinfo --map --json", "cowctl --json map"
    maps.py shared NBDINFO COWCTL-MAP         the context cowd:shared
    maps.py dirty NBDINFO COWCTL-DIFF SIZE    the context qemu:dirty-bitmap:VERSION, "cowctl --json diff"
    maps.py qemu QEMU-IMG-MAP COWCTL-MAP      "qemu-img map --output=json"

The ranges may be cut anywhere, but they are in order, without gaps, and none is empty.
"""

import json
import sys

HOLE_ZERO = 3  # NBD_STATE_HOLE and NBD_STATE_ZERO


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def merged(ranges):
    """[(offset, length, value)] -> the same with neighbours of one value as one."""
    whole = []
    for offset, length, value in ranges:
        if whole and whole[-1][2] == value and whole[-1][0] + whole[-1][1] == offset:
            whole[-1] = (whole[-1][0], whole[-1][1] + length, value)
        else:
            whole.append((offset, length, value))
    return whole


def contiguous(ranges, size):
    at = 0
    for offset, length, _ in ranges:
        if offset != at or length <= 0:
            return False
        at += length
    return at == size


def of_map(doc, value):
    return [(e["offset"], e["length"], value(e)) for e in doc["extents"]]


def of_diff(doc, size):
    ranges, at = [], 0
    for change in doc["ranges"]:
        if change["offset"] > at:
            ranges.append((at, change["offset"] - at, 0))
        ranges.append((change["offset"], change["length"], 1))
        at = change["offset"] + change["length"]
    if at < size:
        ranges.append((at, size - at, 0))
    return ranges


def wanted(what, doc, size):
    if what == "shared":
        return of_map(doc, lambda e: int(e["state"] == "shared"))
    if what == "dirty":
        return of_diff(doc, size)
    return of_map(doc, lambda e: 0 if e["kind"] == "data" else HOLE_ZERO)


def seen(what, doc):
    if what == "qemu":
        return [(e["start"], e["length"], 0 if e["data"] else HOLE_ZERO) for e in doc]
    return [(e["offset"], e["length"], e["type"]) for e in doc]


def main():
    what, theirs, ours = sys.argv[1], load(sys.argv[2]), load(sys.argv[3])
    size = int(sys.argv[4]) if what == "dirty" else ours["totals"]["size"]
    ranges = seen(what, theirs)
    if not contiguous(ranges, size):
        sys.exit(f"not all of {size} bytes, in order: {ranges[:20]}")
    if merged(ranges) != merged(wanted(what, ours, size)):
        sys.exit(f"{merged(ranges)[:20]} is not {merged(wanted(what, ours, size))[:20]}")


main()
