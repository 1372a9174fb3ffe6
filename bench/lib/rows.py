# SPDX-License-Identifier: BSD-2-Clause
"""The rows of the harness' bench.py, for NBD and the own protocol, beside the peers."""

import json
import shlex
import subprocess
import sys

from figures import Figures
from servers import CANDIDATES, HERE, Failed

# Each in a run of its own, so that the servers are started anew.  What is read cold must be so for caches in
# a server's own memory, too, which dropping the kernel's does nothing to; what is read warm is behind the
# row that reads everything.
GROUPS = (("read4k q1 cold",), ("read4k q32 cold",), ("seqread", "warm"), ("cow", "steady"))
NEEDS = {"warm": "seqread 1M cold"}

# What is wanted: as many times the best durable peer, and the plain file.
WANTED = {
    "read4k q1 cold": (1, None), "read4k q32 cold": (1, None), "seqread 1M cold": (1, None),
    "seqread 1M warm": (1, None), "read4k q1 warm": (1, None), "read4k q32 warm": (1, None),
    "cow4k q32 +flush": (2, None), "cow512 q32 +flush": (1.5, None),
    "cow sync4k q1": (2, 1), "cow sync4k 16 conns": (4, 1.3), "cow seqwrite 1M +flush": (1.2, None),
    "steady seqwrite 1M +flush": (1, None), "steady write4k q1": (1, None),
    "steady write4k q32": (1, None), "steady write4k q32 +flush": (1, None),
    "steady write700 odd q1": (1, None), "steady write700 odd q32": (1, None),
    "steady sync4k q1": (1.2, 1), "steady sync4k q1 p99": (1.2, 1),
    "steady sync4k 16 conns": (1.5, None),
}


def groups(bench, only):
    """Lists of rows' names, each to be run at once."""
    names = [row[0] for row in bench.W if row[5]]
    for words in GROUPS:
        chosen = [n for n in names if any(w in n for w in words)
                  and not ("cold" in n and len(words) > 1 and "read4k" in n)
                  and any(w in n for w in only)]
        for word, needed in NEEDS.items():
            if any(word in n for n in chosen) and needed not in chosen:
                chosen.insert(0, needed)
        if chosen:
            yield chosen


def candidate(name, transport):
    words = [str(HERE / "candidate"), *CANDIDATES[name].split()]
    words += ["--tcp"] if transport == "tcp" else []
    return f"{name}={shlex.join(words)}"


def run_group(race, names, transport):
    """One run of bench.py; its results."""
    path = race.scratch / "bench.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, str(race.harness.view / "bench.py"), "--transport", transport,
               "--reps", str(race.reps), "--only", ",".join(names), "--dev", race.disk,
               "--json", str(path), "--peers", ",".join(race.peers())]
    for name in race.ours():
        command += ["--candidate", candidate(name, transport)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode or not path.exists():
        raise Failed(f"bench.py: status {done.returncode}")
    return json.loads(path.read_text())


def part_rows(race, transport="unix"):
    bench = race.harness.bench
    figures = Figures()
    for names in groups(bench, race.only):
        results = run_group(race, names, transport)
        last = any("steady" in n for n in names)
        for name, unit, better, *_ in bench.W:
            if name == "server RSS at end" and not last:
                continue
            for server, values in results.get(name, {}).items():
                for value in values:
                    figures.add(name, unit, server, value, better)
    bounds = [("cow4k amplification", "at most", 1.5)]
    notes = [f"Each server for itself, {race.reps} times in turn; {transport} socket; an object of "
             f"{race.size_mib} MiB. cold: with the server started anew and the kernel's caches dropped."]
    notes.append("Amplification: all bytes that the disk was given, by whomever, for each that was sent; of those "
                 "of the data area alone the part engine tells (bench/cow).")
    return {"figures": figures.rows, "notes": notes, "bounds": bounds}


def part_tcp(race):
    return part_rows(race, "tcp")
