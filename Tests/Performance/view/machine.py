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
    os.sync()
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
    """Sums over all daemons: nanoseconds on a processor, times that a thread waited (about one a request, while client and daemon share a
    core), bytes that the machine read from disks."""
    cpu = waits = 0
    for pid in processes():
        cpu += sum(int(text.split()[0]) for text in _threads(pid, "schedstat"))
        for text in _threads(pid, "status"):
            waits += int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    sectors = 0
    for disk in Path("/sys/block").iterdir():
        if not disk.name.startswith(("loop", "ram", "zram")):
            sectors += int((disk / "stat").read_text().split()[2])
    return {"cpu_ns": cpu, "waits": waits, "disk_bytes": sectors * 512}


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
        else:
            pass
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
