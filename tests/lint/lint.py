# SPDX-License-Identifier: BSD-2-Clause
"""What the checks of tests/lint share: the files of the tree, C without comments, TAP output.

Every check takes the root of a tree as its argument, else from $srcdir, else the working directory.
"""

import os
import pathlib
import re
import subprocess
import sys

FOLDERS = ("common", "proto", "server", "client", "tests", "bench", "docs", "man", "m4", ".ci")
PRODUCT = ("common", "proto", "server", "client")
PUBLIC = ("client/cow.h", "client/cow_aio.h")
GENERATED = ("configure", "configure~", "config.status", "libtool")
ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("srcdir") or ".").resolve()


def files(*suffixes, folders=FOLDERS):
    """The files in these folders that end so, as paths relative to ROOT, sorted."""
    found = []
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.name.endswith(suffixes) and ".libs" not in path.parts:
                found.append(path.relative_to(ROOT))
    return sorted(found)


def text(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def shebang(path):
    with open(ROOT / path, "rb") as file:
        first = file.readline(120)
    return first.decode("utf-8", "replace") if first.startswith(b"#!") else ""


def scripts(interpreter):
    """Files that begin with a #! line for this interpreter, in the folders and at the top."""
    top = [p.relative_to(ROOT) for p in ROOT.iterdir() if p.is_file() and p.name not in GENERATED]
    return sorted(p for p in files("", folders=("tests", "bench", ".ci")) + top
                  if re.search(rf"\b{interpreter}\b", shebang(p)))


def shell_scripts():
    return sorted(set(files(".sh")) | set(scripts("bash")) | set(scripts("sh")))


_TOKENS = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.DOTALL | re.VERBOSE)


def code(path, strings=False):
    """The file's text with comments (and strings, unless wanted) blanked; lines stay in place."""
    def blank(match):
        if match.group("string") and strings:
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())
    return _TOKENS.sub(blank, text(path))


def run(*command, stdin=None):
    """Runs a tool; (exit status, what it said).  A tool that is missing ends the check."""
    try:
        done = subprocess.run(command, cwd=ROOT, input=stdin, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        print(f"Bail out! {command[0]} is not installed: see packages.txt")
        sys.exit(1)
    return done.returncode, done.stdout.strip()


class Report:
    """TAP: one case for each rule; what breaks it follows in lines of "#"."""

    def __init__(self):
        self.cases = 0
        self.failed = 0

    def case(self, title, problems, checked):
        """A rule; "checked" is how much was looked at, and nothing at all is a failure."""
        problems = list(problems)
        if checked == 0:
            problems.append("nothing to check was found")
        self.cases += 1
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.cases} - {title} ({checked} checked)")
        for problem in problems:
            print("# " + problem.replace("\n", "\n# "))

    def finish(self):
        print(f"1..{self.cases}")
        sys.exit(1 if self.failed else 0)
