# SPDX-License-Identifier: BSD-2-Clause
"""The servers that are raced: cowd by "candidate", the peers by the harness; and load on them."""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent.parent
CANDIDATES = {"cowd": "", "cowd-own": "--own", "cowd-sync": "--own-sync"}
# qemu's servers are started for this many connections; more would wait for ever.
QEMU_CONNECTIONS = 64


class Failed(Exception):
    """A command that did not do what a row needs: the row is left out, and says so."""


def run(*command, timeout=600, env=None, good=(0,)):
    """Its standard output; good: the statuses with which it has one."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              timeout=timeout, env=env)
    except subprocess.TimeoutExpired as err:
        raise Failed(f"{command[0]}: no end within {timeout} s") from err
    if done.returncode not in good:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()[-300:]}")
    return done.stdout


def load_words(args):
    """The options of a load generator; sizes are plain numbers, which all of them take."""
    units = {"k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return [re.sub(r"^(\d+)([kMG])$", lambda m: str(int(m[1]) * units[m[2]]), word)
            for word in shlex.split(args)]


class Harness:
    """The harness of NBD_BENCH, seen through a directory in which its load generator is "load"."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.view = pathlib.Path(tempfile.mkdtemp(prefix="cowd-race-"))
        for path in self.folder.iterdir():
            (self.view / path.name).symlink_to(path if path.name != "nbdload" else HERE / "load")
        self._bench = None

    @property
    def bench(self):
        """bench.py as a module: its table W is that of the rows."""
        if self._bench is None:
            sys.dont_write_bytecode = True
            spec = importlib.util.spec_from_file_location("bench", self.view / "bench.py")
            self._bench = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(self._bench)
        return self._bench

    def close(self):
        for path in self.view.iterdir():
            path.unlink()
        self.view.rmdir()

    def load(self, uri, args, timeout=300):
        """What the load generator of this URI says."""
        return json.loads(run(HERE / "load", *load_words(args), uri, timeout=timeout))

    def start_load(self, uri, args):
        return subprocess.Popen([HERE / "load", *load_words(args), uri], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)


def end_load(load):
    """What a load that was begun says in the end."""
    out, err = load.communicate()
    if load.returncode:
        raise Failed(f"load: {err.strip()[-300:]}")
    return json.loads(out)


class Server:
    """One of the servers by name.  A fresh clone is served from start to stop."""

    def __init__(self, name, harness, transport="unix", env=None, prefix=()):
        self.name = name
        self.env = {**os.environ, **(env or {})}
        self.prefix = list(prefix)
        self.ours = name in CANDIDATES
        if self.ours:
            words = CANDIDATES[name].split() + (["--tcp"] if transport == "tcp" else [])
            self.start_words = [HERE / "candidate", *words, "start"]
            self.stop_words = [HERE / "candidate", "stop"]
        else:
            self.start_words = [harness.view / "peers.sh", "start", name, transport]
            self.stop_words = [harness.view / "peers.sh", "stop", name]
        self.uri = self.pid = None

    def start(self):
        self.stop()
        out = run(*self.prefix, *self.start_words, env=self.env)
        self.uri, pid = out.split()[-2:]
        self.pid = int(pid)

    def stop(self):
        run(*self.stop_words, env=self.env)
        self.uri = self.pid = None

    def call(self, *words):
        """A word of "candidate" beside start and stop."""
        return run(HERE / "candidate", *words, env=self.env).strip()

    def object(self, name):
        """The URI of another object, by the protocol of this server."""
        if self.name == "cowd":
            return self.call("nbd", name)
        return ("sync+" if self.name == "cowd-sync" else "") + self.call("uri", name)

    def takes(self, connections):
        return self.ours or "nbdkit" in self.name or connections <= QEMU_CONNECTIONS


@contextlib.contextmanager
def serving(name, race, **kwargs):
    """A server that runs, and is stopped whatever happens."""
    server = Server(name, race.harness, **kwargs)
    try:
        server.start()
        yield server
    finally:
        server.stop()
