# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Who is measured: ways to show packages of a store below a directory, each package as a folder of its name."""

import os
import subprocess
import time
from pathlib import Path

import machine
from data import Data, Dataset


class Implementation:
    """Shows `packages` of `dataset` below `self.point`: one program for the whole store, or one mount for each image."""

    name = ""
    whole_store = True

    def __init__(self, data: Data):
        self.data = data
        self.folder = data.work / "mnt" / self.name.replace(" ", "-")
        self.point = self.folder / "view"
        self.log = data.work / f"{self.name.replace(' ', '-')}.log"

    def command(self, dataset, package, point):
        raise NotImplementedError

    @property
    def programs(self):
        """Files that run in the background."""
        return []

    def show(self, dataset: Dataset, packages=None):
        return Shown(self, dataset, packages or dataset.packages)


class DistriFuse(Implementation):
    name = "distri-fuse"

    def command(self, dataset, package, point):
        return [self.data.tools / "distri-fuse", "mount", dataset.store, point]

    @property
    def programs(self):
        return [self.data.tools / "distri-fuse"]


class Squashfuse(Implementation):
    name = "squashfuse_ll"
    whole_store = False
    programs = [Path("/usr/bin/squashfuse_ll")]

    def command(self, dataset, package, point):
        return ["/usr/bin/squashfuse_ll", "-o", "allow_other", dataset.store / f"{package}.squashfs", point]


class Kernel(Implementation):
    name = "kernel"
    whole_store = False

    def command(self, dataset, package, point):
        return ["/usr/bin/mount", "-t", "squashfs", "-o", "loop,ro", dataset.store / f"{package}.squashfs", point]


class MemoryServer(Implementation):
    name = "memory server"

    def command(self, dataset, package, point):
        return [self.data.memory_server, "mount", dataset.pack, point]


ALL = [DistriFuse, Squashfuse, Kernel, MemoryServer]


class Shown:
    """A context in which packages are shown. `seconds` is from the start of the first program until a file of a package answers."""

    def __init__(self, implementation, dataset, packages):
        self.implementation, self.dataset, self.packages = implementation, dataset, packages
        self.seconds = 0.0

    def root(self, package):
        return self.implementation.point / package

    @property
    def roots(self):
        return [self.root(package) for package in self.packages]

    @property
    def exchange(self):
        """The exchange directories of a view."""
        point, packages = self.implementation.point, set(self.dataset.packages)
        with os.scandir(point) as names:
            return sorted(point / entry.name for entry in names if entry.is_dir(follow_symlinks=False) and entry.name not in packages)

    def heat(self):
        machine.heat(self.implementation.programs)
        if self.implementation.whole_store and len(self.packages) == len(self.dataset.packages):
            machine.heat(self.dataset.files)
        else:
            machine.heat(self.dataset.store / f"{package}.squashfs" for package in self.packages)

    def __enter__(self):
        implementation = self.implementation
        whole = implementation.whole_store
        jobs = [(None, implementation.point)] if whole else [(package, self.root(package)) for package in self.packages]
        jobs = [(implementation.command(self.dataset, package, point), point) for package, point in jobs]
        for _, point in jobs:
            point.mkdir(parents=True, exist_ok=True)
        log = os.open(implementation.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        files = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        try:
            start = time.monotonic()
            for command, _ in jobs:
                words = [str(word) for word in command]
                pid = os.posix_spawn(words[0], words, os.environ, file_actions=files)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                if status:
                    raise RuntimeError(f"{' '.join(words)} ended with {status}; it says why in {implementation.log}")
            os.stat(self.root(self.packages[-1]) / "out")
            self.seconds = time.monotonic() - start
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(log)
            os.close(nothing)
        return self

    def __exit__(self, *_):
        stuck = machine.unmount_below(self.implementation.folder)
        left = machine.end_daemons()
        if stuck or left:
            raise RuntimeError(f"{self.implementation.name}: mounts that were busy: {stuck}, processes that did not end: {left}")


def probe(data: Data, *words, environment=None):
    """What the probe prints, as numbers."""
    done = subprocess.run([data.probe, *map(str, words)], capture_output=True, text=True, timeout=120, env=environment)
    if done.returncode:
        raise RuntimeError(f"probe {words[0]}: {done.stderr.strip()}")
    return [int(word) for word in done.stdout.split()]
