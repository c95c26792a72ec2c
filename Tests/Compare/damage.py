# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Damaged images, and what a view makes of them.

damage.py make SEED COUNT STORE IMAGE…   puts COUNT packages into the store, each a base image with a few bytes changed
damage.py walk VIEW                      lists, reads and asks everything of every package, within bounds; prints `package<TAB>error` for
                                         each kind of error of each package, and fails where an error is not one that damage explains
"""

import errno
import os
import random
import stat
import struct
import sys
import time

# What a changed image may answer: damage; a target or a name that is longer than the kernel takes; a file that is another kind of file now.
EXPLAINED = {"EIO", "EUCLEAN", "ENAMETOOLONG", "ESTALE", "ENOENT", "ENOTDIR", "EISDIR", "ENODATA", "E2BIG", "EOVERFLOW", "EINVAL"}
ENTRIES, FILES = 3000, 6000
# No single request takes as long as this in seconds, however the image lies.
SLOWEST = 10


def make(seed, count, store, images):
    chosen = random.Random(seed)
    for index in range(count):
        source = images[index % len(images)]
        with open(source, "rb") as file:
            data = bytearray(file.read())
        # Of the superblock: where the tables are. The names of the fields are those of the format.
        inodes, used = struct.unpack_from("<Q", data, 64)[0], struct.unpack_from("<Q", data, 40)[0]
        directories = struct.unpack_from("<Q", data, 72)[0]
        places = [(0, 96), (inodes, directories), (directories, used), (inodes, used)]
        first, last = places[index // len(images) % len(places)]
        for _ in range(chosen.randint(1, 8)):
            place = chosen.randrange(first, max(first + 1, last))
            change = chosen.randrange(4)
            if change == 0:
                data[place] ^= 1 << chosen.randrange(8)
            elif change == 1:
                data[place] = chosen.choice([0, 1, 0x7F, 0x80, 0xFF])
            elif change == 2:
                data[place:place + 4] = chosen.choice([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", chosen.randbytes(4)])
            else:
                other = chosen.randrange(first, max(first + 1, last))
                data[place:place + 8] = data[other:other + 8]
        if chosen.random() < 0.1:
            del data[chosen.randrange(len(data)):]
        name = os.path.join(store, f"m{index:03}-amd64-{seed}-1")
        with open(name + ".meta.textproto", "w") as file:
            file.write('version: "1"\n')
        with open(name + ".new", "wb") as file:
            file.write(data)
        os.rename(name + ".new", name + ".squashfs")


class Walker:
    def __init__(self):
        self.errors = set()
        self.unexplained = []
        self.slowest = (0.0, "")

    def attempt(self, what, path, body):
        start = time.monotonic()
        try:
            return body()
        except OSError as error:
            name = errno.errorcode.get(error.errno, str(error.errno))
            self.errors.add(name)
            if name not in EXPLAINED:
                self.unexplained.append(f"{what} of {path!r}: {name}")
            return None
        finally:
            self.slowest = max(self.slowest, (time.monotonic() - start, f"{what} of {path!r}"))

    def list(self, path):
        names = []
        with os.scandir(path) as entries:
            for entry in entries:
                names.append(entry.path)
                if len(names) == ENTRIES:
                    break
        return names

    def read(self, path, size):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            # The beginning, whatever the image says of the size; some of the middle; the end.
            for offset in (0, 1 << 17, size // 2, max(0, size - 70_000), size):
                if offset < 2**62:
                    self.attempt("reading", path, lambda offset=offset: os.pread(file, 300_000, offset))
        finally:
            os.close(file)

    def walk(self, root):
        pending, count = [root], 0
        while pending and count < FILES:
            path = pending.pop()
            count += 1
            status = self.attempt("stat", path, lambda: os.lstat(path))
            if status is None:
                continue
            # Names first, values then: both questions reach the image.
            for name in self.attempt("listxattr", path, lambda: os.listxattr(path, follow_symlinks=False)) or []:
                self.attempt("getxattr", path, lambda name=name: os.getxattr(path, os.fsencode(name), follow_symlinks=False))
            if stat.S_ISDIR(status.st_mode):
                self.attempt("stat of an absent name", path, lambda: os.path.lexists(os.path.join(path, b"no such name")))
                if path.count(b"/") < root.count(b"/") + 30:
                    pending += self.attempt("listing", path, lambda: self.list(path)) or []
            elif stat.S_ISREG(status.st_mode):
                self.attempt("opening", path, lambda: self.read(path, status.st_size))
            elif stat.S_ISLNK(status.st_mode):
                self.attempt("readlink", path, lambda: os.readlink(path))
        return count


def walk(view):
    view = os.fsencode(view)
    count, failed, slowest = 0, False, (0.0, "")
    for name in sorted(os.listdir(view)):
        if not name.startswith(b"m"):
            continue
        walker = Walker()
        count += walker.walk(os.path.join(view, name))
        slowest = max(slowest, walker.slowest)
        for error in sorted(walker.errors):
            print(f"{name.decode()}\t{error}")
        for line in walker.unexplained[:3]:
            print(line, file=sys.stderr)
            failed = True
    if slowest[0] > SLOWEST:
        print(f"{slowest[1]} took {slowest[0]:.1f} s", file=sys.stderr)
        failed = True
    print(f"{count} files, the longest request took {slowest[0] * 1000:.0f} ms: {slowest[1]}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if len(sys.argv) > 5 and sys.argv[1] == "make":
        make(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
    elif len(sys.argv) == 3 and sys.argv[1] == "walk":
        walk(sys.argv[2])
    else:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
