# SPDX-License-Identifier: BSD-2-Clause
"""The machine that is measured on: what it is, and what its disk and its processes have done."""

import os
import pathlib
import platform
import subprocess


def said(*command):
    """The standard output of a command; None where it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def disk_of(path):
    """The name of the whole disk under a path, as /proc/diskstats has it; "" where there is none."""
    number = os.stat(path).st_dev
    device = pathlib.Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    if not device.exists():
        return ""
    return device.parent.name if (device / "partition").exists() else device.name


def disk_counts(disk):
    """Bytes written and flushes of a disk since the machine's start."""
    for line in pathlib.Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[2] == disk:
            return int(fields[9]) * 512, int(fields[18]) if len(fields) > 18 else 0
    return 0, 0


def of_status(pid, key):
    """A number of kilobytes of /proc/PID/status, in MiB; None where the process is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def bytes_read(pid):
    """What a process has had read from devices so far."""
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    return 0


def pss_mib(pids):
    """The memory of these processes, what they share counted once."""
    total = 0
    for pid in pids:
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def cached_mib():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Cached:"):
            return int(line.split()[1]) / 1024
    return 0


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def version(*command):
    words = (said(*command) or "").split("\n")[0]
    return words or "not there"


def code(tree, cowd):
    """What is measured: the commit of the source tree, where it is one, or the version."""
    commit = said("git", "-C", str(tree), "rev-parse", "--short", "HEAD")
    changed = said("git", "-C", str(tree), "status", "--porcelain", "--untracked-files=no", "--", ":/",
                   ":(top,exclude)bench/RESULTS.*")
    return commit + ("-dirty" if changed else "") if commit else version(cowd, "--version")


def describe(path):
    """What it is, for a report; the same for each run on it."""
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    memory = pathlib.Path("/proc/meminfo").read_text().split()[1]
    disk = disk_of(path)
    mount = said("findmnt", "-n", "-o", "FSTYPE,OPTIONS", "--target", str(path)) or "?"
    size = said("lsblk", "-dn", "-o", "SIZE,ROTA", f"/dev/{disk}") or "?"
    return [
        f"processors: {os.cpu_count()}, {model}",
        f"memory: {int(memory) / 1024 / 1024:.1f} GiB",
        f"kernel: {platform.system()} {platform.release()}",
        f"disk: {disk} (size, rotating: {' '.join(size.split())}), {' '.join(mount.split())}",
        f"peers: {version('qemu-nbd', '--version')}, {version('nbdkit', '--version')}",
    ]
