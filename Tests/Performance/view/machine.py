# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Caches, mounts and processes of the machine that measures."""

import ctypes
import os
import platform
import signal
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def adopt_daemons():
    """Makes what goes into the background a child of ours, so that it can be found, however it names itself."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def drop_caches():
    """Everything must have been synced before; not here, since that would wait for what others write."""
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def heat(paths):
    """Reads files into the page cache."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 22):
                pass


def processes():
    """All that descends from us, the dead but not yet buried excepted."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(name)] = int(fields[1])
    found, ours = [], {os.getpid()}
    while new := [pid for pid, parent in parents.items() if parent in ours and pid not in ours]:
        ours |= set(new)
        found += new
    return found


def bury():
    """Collects the status of adopted processes that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _threads(pid, name):
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            yield (task / name).read_text()
        except OSError:
            pass


def usage():
    """Sums over all daemons: nanoseconds on a processor, times that a thread went to sleep, calls of read (a request each, and what is read
    of images that are not mapped), calls of write (an answer each). And what the machine read from its disks."""
    sums = dict.fromkeys(("cpu_ns", "waits", "reads", "writes"), 0)
    for pid in processes():
        sums["cpu_ns"] += sum(int(text.split()[0]) for text in _threads(pid, "schedstat"))
        for text in _threads(pid, "status"):
            sums["waits"] += int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        try:
            calls = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        except OSError:
            continue
        sums["reads"] += int(calls["syscr"])
        sums["writes"] += int(calls["syscw"])
    return sums | usage_of_disks()


def usage_of_disks():
    reads = sectors = 0
    for disk in Path("/sys/block").iterdir():
        if not disk.name.startswith(("loop", "ram", "zram")):
            fields = (disk / "stat").read_text().split()
            reads += int(fields[0])
            sectors += int(fields[2])
    return {"disk_reads": reads, "disk_bytes": sectors * 512}


def wait_until_idle(seconds=20.0):
    """Waits until no daemon has used a processor for a third of a second."""
    limit, before = time.monotonic() + seconds, -1
    while (now := usage()["cpu_ns"]) != before and time.monotonic() < limit:
        before = now
        time.sleep(0.3)


def anonymous_memory():
    """RssAnon of all daemons, in MB."""
    total = 0
    for pid in processes():
        try:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total * 1024 / 1e6


class Patience:
    """Waits for a quiet machine before each measurement, so many seconds in all."""

    def __init__(self, seconds):
        self.left = seconds
        self.idle = []

    @staticmethod
    def _sample(seconds=0.1):
        def counters():
            fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
            return sum(fields), fields[3] + fields[4], usage_of_disks()["disk_reads"]

        before = counters()
        time.sleep(seconds)
        after = counters()
        idle = (after[1] - before[1]) / max(1, after[0] - before[0])
        return idle, after[2] - before[2]

    def wait(self, longest=5.0):
        start = time.monotonic()
        while True:
            idle, disk_reads = self._sample()
            waited = time.monotonic() - start
            if (idle >= 0.85 and disk_reads < 10) or waited > min(longest, self.left):
                self.left -= waited
                self.idle.append(idle)
                return
            time.sleep(0.2)


def mounts_below(folder):
    table = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [(fields[4], fields[2]) for fields in table if fields[4].startswith(f"{folder}/")][::-1]


def unmount_below(folder, forced=False):
    """Unmounts all below a folder of ours; what cannot be unmounted is aborted, detached and reported."""
    stuck = []
    for point, device in mounts_below(folder):
        for attempt in range(1 if forced else 20):
            try:
                done = subprocess.run(["umount", point], capture_output=True, timeout=10)
            except subprocess.TimeoutExpired:
                break
            if done.returncode == 0:
                break
            time.sleep(0.05)
        if any(point == left for left, _ in mounts_below(folder)):
            stuck.append(point)
            abort = Path(f"/sys/fs/fuse/connections/{device.split(':')[1]}/abort")
            if abort.exists():
                abort.write_text("1\n")
            subprocess.run(["umount", "-l", point], capture_output=True, timeout=10)
    return stuck


def end_daemons(seconds=10.0):
    """Waits until all daemons have ended after their mounts; ends those that stay, by their number, and returns them."""
    limit = time.monotonic() + seconds
    while True:
        bury()
        left = processes()
        if not left or time.monotonic() > limit:
            break
        time.sleep(0.002)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return left


def description():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {"processor": model, "processors": os.cpu_count(), "memory_mib": memory, "kernel": platform.release(), "machine": platform.machine()}
