# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""What uses the mount during a soak, each in a process of its own: readers that know what they must read, and walkers."""

import errno
import hashlib
import os
import random
import stat
import time


def digest(path):
    """The SHA-256 of a file, from the view and not from the kernel's memory."""
    result = hashlib.sha256()
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while data := os.read(file, 1 << 17):
            result.update(data)
    finally:
        os.close(file)
    return result.hexdigest()


def read(view, expected, stop, report, number):
    """Reads files that never change, over and over; any error and any other byte is reported."""
    chosen = random.Random(number)
    names = sorted(expected)
    count, slowest = 0, 0.0
    while not stop.is_set():
        name = chosen.choice(names)
        start = time.monotonic()
        try:
            found = digest(os.path.join(view, name))
            if found != expected[name]:
                report.put(("error", f"{name} has the SHA-256 {found} instead of {expected[name]}"))
        except OSError as error:
            report.put(("error", f"reading {name}: {error.strerror}"))
        slowest = max(slowest, time.monotonic() - start)
        count += 1
        # Room for the daemon: two cores are shared by everybody.
        time.sleep(0.002)
    report.put(("count", ("files read", count)))
    report.put(("slowest", ("reading a file", slowest)))


def walk(view, changing, stop, report):
    """Lists and asks everything; errors are those of names that come and go."""
    count, walks = 0, 0

    def comes_and_goes(path):
        return any(name in path for name in changing)

    def complain(error, path):
        # ENOENT, ENOTDIR: gone since it was listed. ESTALE: gone while its directory was open.
        if comes_and_goes(path) and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            return
        # What is being copied to its place without a temporary name is no image yet.
        if "copied" in path and error.errno in (errno.EIO, errno.ENOENT, errno.ESTALE):
            return
        report.put(("error", f"walking, {path}: {error.strerror}"))

    while not stop.is_set():
        pending = [view]
        while pending and not stop.is_set():
            folder = pending.pop()
            try:
                with os.scandir(folder) as entries:
                    found = list(entries)
            except OSError as error:
                complain(error, folder)
                continue
            names = [entry.name for entry in found]
            # A name that went and came again while the directory was being listed may have been at both places.
            names = [name for name in names if not comes_and_goes(os.path.join(folder, name))]
            if len(set(names)) != len(names):
                report.put(("error", f"walking, {folder}: a name is listed twice"))
            for entry in found:
                try:
                    status = os.lstat(entry.path)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
                    elif stat.S_ISLNK(status.st_mode):
                        os.readlink(entry.path)
                    count += 1
                except OSError as error:
                    complain(error, entry.path)
        walks += 1
        time.sleep(0.01)
    report.put(("count", ("entries walked", count)))
    report.put(("count", ("walks", walks)))
