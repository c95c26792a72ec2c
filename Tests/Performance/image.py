#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""image.py BIN STORE [RUNS]: how long Examples/images/server takes to build from a warm store, beside copies of its packages.

STORE has the packages of the server, as `make test-images` leaves them in `.build/images/server/store`. Runs in turn: the image; `cp` of the packages that
are in it, then `sync`. Both have everything on the medium when they end. Prints medians as a Markdown table.
"""

import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DESCRIPTION = pathlib.Path(__file__).resolve().parents[2] / "Examples/images/server/image.textproto"


def timed(body):
    subprocess.run(["sync"], check=True)
    started = time.monotonic()
    body()
    return time.monotonic() - started


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    tools, store, runs = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), int((sys.argv + ["5"])[3])
    # On the medium of the store: temporary files may be in memory.
    with tempfile.TemporaryDirectory(dir=store.parent) as folder:
        place = pathlib.Path(folder)
        image, copy = place / "server.img", place / "copy"

        def build():
            command = [tools / "distri-mkimage", "build", DESCRIPTION, "--store", store, "-o", image]
            subprocess.run(command, check=True)

        build()
        inspected = subprocess.run([tools / "distri-mkimage", "inspect", "--json", image], check=True, stdout=subprocess.PIPE)
        packages = json.loads(inspected.stdout)["packages"]
        files = [store / f"{name}.{ending}" for name in packages for ending in ("squashfs", "meta.textproto")]
        size = sum(path.stat().st_size for path in files)

        def cp():
            copy.mkdir()
            subprocess.run(["cp", *files, copy], check=True)
            subprocess.run(["sync"], check=True)

        seconds = {"distri-mkimage build": [], "cp of the packages, then sync": []}
        for _ in range(runs):
            image.unlink()
            seconds["distri-mkimage build"].append(timed(build))
            seconds["cp of the packages, then sync"].append(timed(cp))
            shutil.rmtree(copy)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        allocated = image.stat().st_blocks * 512
    peer = statistics.median(seconds["cp of the packages, then sync"])
    print(f"{len(packages)} packages, {size / 1e6:.0f} MB; of the 8 GiB disk {allocated / 1e6:.0f} MB are allocated; peak memory of a process {peak:.0f} MB; medians of {runs}.\n")
    print("| | s | beside cp |\n|---|---:|---:|")
    for name, values in seconds.items():
        print(f"| {name} | {statistics.median(values):.2f} | {statistics.median(values) / peer:.2f} |")


if __name__ == "__main__":
    main()
