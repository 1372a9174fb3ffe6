#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A SQLite database under load, and whether it has all that it has confirmed.

    commits.py write DATABASE LOG MODE   transactions until one fails; each is a line in LOG when its
                                         commit has returned.  MODE is a journal mode of SQLite
    commits.py check DATABASE LOG        its integrity, and that it has each row in the log
"""

import random
import sqlite3
import sys

ROWS = 5  # in each transaction: all of them are there or none


def opened(path):
    database = sqlite3.connect(path, isolation_level=None, timeout=60)
    # FULL does not sync the removal of a rollback journal, which is what commits
    database.execute("PRAGMA synchronous=EXTRA")
    return database


def write(path, log_path, mode):
    database = opened(path)
    database.execute(f"PRAGMA journal_mode={mode}")
    database.execute("CREATE TABLE IF NOT EXISTS rows (txn INTEGER, row INTEGER, value BLOB)")
    first = database.execute("SELECT coalesce(max(txn), 0) FROM rows").fetchone()[0] + 1
    draw = random.Random(first)
    with open(log_path, "a", encoding="ascii", buffering=1) as log:
        txn = first
        while True:
            try:
                database.execute("BEGIN IMMEDIATE")
                for row in range(ROWS):
                    database.execute("INSERT INTO rows VALUES (?, ?, ?)",
                                     (txn, row, draw.randbytes(draw.randint(10, 6000))))
                if txn > 20:
                    database.execute("UPDATE rows SET value = zeroblob(99) WHERE txn = ?",
                                     (draw.randint(1, txn - 10),))
                database.execute("COMMIT")
            except sqlite3.Error as err:
                print(f"transaction {txn}: {err}")
                return 0
            log.write(f"{txn}\n")
            txn += 1


def check(path, log_path):
    with open(log_path, encoding="ascii") as log:
        confirmed = {int(line) for line in log}
    database = opened(path)
    said = database.execute("PRAGMA integrity_check").fetchall()
    found = dict(database.execute("SELECT txn, count(DISTINCT row) FROM rows GROUP BY txn"))
    lost = sorted(confirmed - set(found))
    half = [txn for txn, rows in found.items() if rows != ROWS]
    database.close()
    print(f"{len(confirmed)} confirmed, {len(found)} there, lost {lost[:9]}, by half {half[:9]}, "
          f"integrity {said[0][0]}")
    return int(bool(lost or half or said != [("ok",)] or not confirmed))


def main():
    sys.exit({"write": write, "check": check}[sys.argv[1]](*sys.argv[2:]))


main()
