#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""generations.py [PACKAGES [BIN]]: how long a mount takes to start, and to show another generation, with and without generations.

A store of so many packages (1,000 by default) in two versions each, of ten files; medians of eleven. Needs root and mksquashfs.
BIN is the folder of the built tools, .build/release by default.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
BIN = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).resolve().parents[2] / ".build/release")
ROUNDS = 11


def name(number, version):
    return f"p{number:05}-amd64-{version}-{version}"


def make_package(store, work, number, version):
    tree = work / name(number, version)
    for file in [f"bin/p{number}", *(f"out/share/doc/p{number}/{part}" for part in range(4)), *(f"out/lib/lib{number}.so.{part}" for part in range(5))]:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text(f"{number} {version}\n")
    image = store / f"{name(number, version)}.squashfs"
    subprocess.run(["mksquashfs", tree, image, "-noappend", "-no-progress", "-quiet", "-noI", "-noD", "-processors", "1"],
                   check=True, stdout=subprocess.DEVNULL)
    (store / f"{name(number, version)}.meta.textproto").write_text(f'version: "{version}-{version}"\n')
    shutil.rmtree(tree)


def write_generation(store, number, versions):
    packages = "".join(f"package {name(*package)}\n" for package in sorted(versions.items()))
    folder = store / ".generations"
    folder.mkdir(exist_ok=True)
    (folder / str(number)).write_text(f"distri-generation 1\nnumber {number}\ntime 1\ncommand benchmark\n{packages}end\n")


def switch(store, number):
    os.symlink(str(number), store / ".generations/.new")
    os.rename(store / ".generations/.new", store / ".generations/current")


def mount(store, point):
    start = time.perf_counter()
    subprocess.run([BIN / "distri-fuse", "mount", store, point], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def unmount(point):
    subprocess.run([BIN / "distri-fuse", "unmount", point], check=True)


def median(what, times):
    print(f"{what}: {statistics.median(times) * 1000:.1f} ms (least {min(times) * 1000:.1f})", flush=True)


def starts(what, store, point, before=lambda: None):
    times = []
    for _ in range(ROUNDS):
        before()
        times.append(mount(store, point))
        # The view is written a second later, or when it is taken away.
        unmount(point)
    median(what, times)


def wait_for(path, target):
    while True:
        try:
            if os.readlink(path) == target:
                return
        except FileNotFoundError:
            pass


def switches(what, store, point, first, second, number):
    mount(store, point)
    times = []
    for round in range(ROUNDS + 1):
        generation, version = (second, 2) if round % 2 == 0 else (first, 1)
        start = time.perf_counter()
        switch(store, generation)
        wait_for(point / f"bin/p{number}", f"../{name(number, version)}/bin/p{number}")
        times.append(time.perf_counter() - start)
    unmount(point)
    median(what, times[1:])


def main():
    with tempfile.TemporaryDirectory() as folder:
        work, store, point = Path(folder) / "work", Path(folder) / "store", Path(folder) / "ro"
        for directory in (work, store, point):
            directory.mkdir()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda package: make_package(store, work, *package), ((n, v) for n in range(COUNT) for v in (1, 2))))
        # Makes the indexes.
        mount(store, point)
        # Indexes and the view are written behind the mount's back.
        deadline = time.monotonic() + 60
        while not any((store / ".index").glob("view*")):
            if time.monotonic() > deadline:
                raise SystemExit("generations.py: the mount keeps no view")
            time.sleep(0.05)
        unmount(point)
        print(f"{COUNT} packages in two versions each")
        starts("mount, no generations", store, point)
        ones = {n: 1 for n in range(COUNT)}
        write_generation(store, 1, ones)
        write_generation(store, 2, ones | {0: 2})
        write_generation(store, 3, ones | {n: 2 for n in range(min(20, COUNT))})
        write_generation(store, 4, {n: 2 for n in range(COUNT)})
        switch(store, 1)
        starts("mount, a generation", store, point)
        current = [1]

        def other():
            current[0] = 5 - current[0]
            switch(store, current[0])

        starts("mount, another generation than the last time, all packages differ", store, point, other)
        switch(store, 1)
        starts("mount, the same as the last time", store, point)
        switches("switch of a mount, 1 package differs", store, point, 1, 2, 0)
        switch(store, 1)
        switches("switch of a mount, 20 packages differ", store, point, 1, 3, 0)
        switch(store, 1)
        switches("switch of a mount, all packages differ", store, point, 1, 4, 0)


main()
