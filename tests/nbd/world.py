# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the NBD front end in Python share: a daemon of their own, and cases in TAP.

A test defines functions test_...(d), whose first line of documentation is the title, and calls main(globals()).
Debian's modules, libnbd's among them, belong to Debian's Python: under any other this starts again with that.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

DEBIAN = "/usr/bin/python3"
if os.path.realpath(sys.executable) != os.path.realpath(DEBIAN):
    os.execv(DEBIAN, [DEBIAN, *sys.argv])

MIB = 1 << 20
SHARE = int(os.environ.get("TEST_SHARE", "1"))


def count(name, default):
    """How much of it a random test does: the environment's number, or a share of the default."""
    return int(os.environ.get(name) or max(1, default // SHARE))


class Daemon:
    """A cowd on a store in a temporary directory; NBD at a unix socket and a port."""

    def __init__(self, *args, size="256M"):
        self.dir = tempfile.mkdtemp(prefix="cowd-test-", dir=os.environ.get("TMPDIR", "/tmp"))
        self.args, self.size = args, size
        self.socket, self.nbd = self.dir + "/socket", self.dir + "/nbd"
        self.log = self.dir + "/log"
        self.process, self.port = None, 0

    def start(self, *more):
        ready, theirs = os.pipe()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [os.environ["COWD"], "--store", self.dir + "/store", "--size", self.size,
                 "--listen", "unix:" + self.socket, "--nbd", "unix:" + self.nbd,
                 "--nbd", "tcp:127.0.0.1:0", "--ready-fd", str(theirs), *self.args, *more],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, pass_fds=[theirs])
        os.close(theirs)
        with os.fdopen(ready) as lines:
            said = lines.read().splitlines()
        if "READY" not in said:
            raise RuntimeError("the daemon did not become ready: " + self.said()[-2000:])
        for line in said:
            if line.startswith("LISTEN nbd+tcp:"):
                self.port = int(line.rpartition(":")[2])
        return self

    def end(self, number):
        self.process.send_signal(number)
        status = self.process.wait()
        self.process = None
        return status

    def crash(self, *more):
        """It dies as by a fault of its own, and is started again."""
        self.end(signal.SIGKILL)
        self.start(*more)

    def clean(self):
        if self.process:
            self.end(signal.SIGKILL)
        shutil.rmtree(self.dir)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def ctl(self, *args, data=b"", ok=True):
        """cowctl's output; ok=None gives its exit status instead."""
        done = subprocess.run([os.environ["COWCTL"], "-u", f"cow+unix:///?socket={self.socket}",
                               *map(str, args)], input=data, capture_output=True, check=False)
        if ok is None:
            return done.returncode
        if done.returncode:
            raise RuntimeError(f"cowctl {args}: {done.stderr.decode()}")
        return done.stdout

    def json(self, *args):
        return json.loads(self.ctl("--json", *args))

    def content(self, name):
        return self.ctl("cat", name)

    def names(self):
        return self.ctl("ls").decode().split()

    def memory(self):
        """Bytes that are resident."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def grown(self, since, most):
        """Its memory may have grown by so much; by more where a sanitizer keeps what was freed."""
        with open(f"/proc/{self.process.pid}/maps", encoding="ascii") as file:
            maps = file.read()
        if "libasan" in maps or "libtsan" in maps:
            most = most * 8 + (1 << 29)
        if self.memory() - since > most:
            raise AssertionError(f"memory grew by {self.memory() - since}, and not {most}")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def lives(self):
        return self.process is not None and self.process.poll() is None


def equal(got, want, what="value"):
    if got != want:
        raise AssertionError(f"{what}: {str(got)[:300]!s} and not {str(want)[:300]!s}")


def main(names, *args, **more):
    daemon = Daemon(*args, **more)
    cases = failed = 0
    try:
        daemon.start()
        for name, function in list(names.items()):
            if not name.startswith("test_"):
                continue
            cases += 1
            title = function.__doc__.splitlines()[0].rstrip(".")
            try:
                function(daemon)
                if not daemon.lives():
                    raise AssertionError("the daemon has ended: " + daemon.said()[-1500:])
                print(f"ok {cases} - {title}", flush=True)
            except Exception:  # whatever it is, the next case is run
                failed += 1
                print(f"not ok {cases} - {title}")
                print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
                if not daemon.lives():
                    daemon.start()
    finally:
        daemon.clean()
    print(f"1..{cases}")
    sys.exit(1 if failed else 0)
