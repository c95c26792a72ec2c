# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Compares each package of a store, as the mounted view shows it, with the kernel's own mount of its image.

packages.py STORE VIEW [MINIMUM]      VIEW is a mount of STORE; fewer packages than MINIMUM are an error. Needs root.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import trees  # noqa: E402


def check(job):
    image, seen = job
    with tempfile.TemporaryDirectory(prefix="distri-compare-") as folder:
        mounted = subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", image, folder], capture_output=True, text=True)
        if mounted.returncode != 0:
            return image, [f"{image}: the kernel does not mount it: {mounted.stderr.strip()}"], 0, 0
        try:
            return image, *trees.compare(folder, seen)
        finally:
            subprocess.run(["umount", folder], check=True)


def main():
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    store, view = sys.argv[1], sys.argv[2]
    minimum = int(sys.argv[3]) if len(sys.argv) == 4 else 1
    start = time.monotonic()
    # Links are names without a version.
    images = [entry.path for entry in os.scandir(store) if entry.name.endswith(".squashfs") and not entry.is_symlink()]
    if len(images) < minimum:
        sys.exit(f"{store} has {len(images)} packages, and {minimum} are to be compared: import more, as Examples/demo.sh does")
    images.sort(key=os.path.getsize, reverse=True)
    jobs = [(image, os.path.join(view, os.path.basename(image).removesuffix(".squashfs"))) for image in images]
    files = size = 0
    failed = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for image, lines, count, bytes_read in pool.map(check, jobs):
            files, size = files + count, size + bytes_read
            if lines:
                failed.append(image)
                for line in lines[:10]:
                    print(f"{os.path.basename(image)}: {line}")
    print(f"{len(images)} packages, {files} files, {size >> 20} MiB, {time.monotonic() - start:.1f} s, {len(failed)} packages differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
