# SPDX-License-Identifier: BSD-2-Clause
"""What was measured, and tables of it: medians, spread and ratios."""

import re
import statistics

DURABLE = ("qcow2-wb", "qcow2-direct", "qsd-subcluster", "xfs-nbdkit", "btrfs-nbdkit")
PLAIN = "nbdkit-file"
OURS, OWN = "cowd", "cowd-own"
# Memory has bounds: the peers have theirs in the kernel.
NOT_COMPARED = ("MiB",)
# What is a ratio already is not wanted to be the same by both protocols.
OWN_WANTED = ("IOPS", "MiB/s", "us", "ms", "s")


def short(value):
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def spread(values):
    """The median, and the least and the most where there are several."""
    if not values:
        return "-"
    if len(values) == 1:
        return short(values[0])
    return f"{short(statistics.median(values))} ({short(min(values))}-{short(max(values))})"


class Figures:
    """Samples of rows, each for some servers.  A row has a unit; more is better but for latencies."""

    def __init__(self, rows=None):
        self.rows = rows or {}

    def add(self, name, unit, server, value, better=1):
        row = self.rows.setdefault(name, {"unit": unit, "better": better, "samples": {}})
        if value is not None:
            row["samples"].setdefault(server, []).append(value)

    def servers(self):
        names = []
        for row in self.rows.values():
            names.extend(name for name in row["samples"] if name not in names)
        return names

    def median(self, name, server):
        values = self.rows[name]["samples"].get(server)
        return statistics.median(values) if values else None

    def ratio(self, name, server, other):
        """How many times better server is than other; None where one of them has no figure."""
        a, b = self.median(name, server), self.median(name, other)
        if not a or not b:
            return None
        return a / b if self.rows[name]["better"] > 0 else b / a

    def best(self, name):
        """The best of the peers that keep copies durably, or None."""
        known = [s for s in DURABLE if self.median(name, s)]
        better = self.rows[name]["better"]
        return max(known, key=lambda s: better * self.median(name, s)) if known else None


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines.extend("| " + " | ".join(map(str, row)) + " |" for row in rows)
    return lines


def medians(figures):
    servers = figures.servers()
    return table(["row", "unit", *servers],
                 [[name, row["unit"], *(spread(row["samples"].get(s)) for s in servers)]
                  for name, row in figures.rows.items()])


def verdict(ratio, wanted):
    if not wanted or ratio is None:
        return "-"
    return f"{wanted:g}: {'yes' if ratio >= wanted else 'MISS'}"


def own_ratio(figures, name, server):
    """The own protocol against NBD: of the pipelined one no row is to be slower."""
    ratio = figures.ratio(name, server, OURS)
    wanted = 1 if server == OWN and figures.rows[name]["unit"] in OWN_WANTED else None
    return short(ratio) if not wanted or ratio is None else f"{short(ratio)} (wanted {verdict(ratio, 1)})"


def ratios(figures, wanted):
    """Ours against the best of the peers, and the own protocol against NBD; wanted: row -> (best, plain)."""
    own = [s for s in figures.servers() if s.startswith("cowd-")]
    peers = [s for s in figures.servers() if s != OURS and s not in own]
    rows = []
    for name, row in figures.rows.items():
        best = figures.best(name)
        to_best = figures.ratio(name, OURS, best) if best else None
        to_plain = figures.ratio(name, OURS, PLAIN)
        targets = wanted.get(name, (None, None))
        if row["unit"] in NOT_COMPARED or (to_best is None and to_plain is None and not any(
                figures.ratio(name, s, OURS) for s in own)):
            continue
        rows.append([name, best or "-", short(to_best), verdict(to_best, targets[0]),
                     short(to_plain), verdict(to_plain, targets[1]),
                     *(own_ratio(figures, name, s) for s in own)])
    head = ["row", "best peer", "cowd to it", "wanted", f"to {PLAIN}", "wanted",
            *(f"{s} to cowd" for s in own)]
    if not peers:
        rows = [[row[0], *row[6:]] for row in rows]
        head = [head[0], *head[6:]]
    return table(head, rows) if rows else []


def bounds(figures, wanted):
    """Verdicts on medians of ours; wanted: (how a row's name begins, "at most" or "at least", the number)."""
    lines = []
    for start, kind, bound in wanted:
        for name in (n for n in figures.rows if n.startswith(start)):
            for server in figures.rows[name]["samples"]:
                if server in DURABLE or server == PLAIN:
                    continue
                value = figures.median(name, server)
                kept = value <= bound if kind == "at most" else value >= bound
                unit = figures.rows[name]["unit"]
                lines.append(f"- {'yes' if kept else 'MISS'}: {name}, {server}: {short(value)} {unit}, "
                             f"{kind} {bound:g}")
    return lines


def tally(lines):
    """Of the lines of a report: how many verdicts are kept, how many missed, and the lines that have a miss."""
    def count(word):
        return sum(len(re.findall(rf"\b(?:{word})\b", line)) for line in lines)

    return (count("yes|pass"), count("MISS"),
            [line.strip() for line in lines if re.search(r"\bMISS\b", line)])
