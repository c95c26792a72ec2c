# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Makes a tree that looks random and is the same for the same seed. Needs root: for owners, devices and attributes.

random_tree.py SEED DIRECTORY
"""

import os
import random
import stat
import struct
import sys

TIMES = [0, 1, 1_000_000_000, 1_700_000_000, 2**31 - 1, 2**31, 2**32 - 1]
OWNERS = [0, 0, 0, 1, 1000, 65534, 65535, 65536, 2**31, 2**32 - 2]
MODES = [0o644, 0o755, 0o600, 0o4755, 0o2755, 0o6711, 0o1777, 0o000, 0o444, 0o7777]
# setcap's words for cap_net_raw=ep and for cap_net_bind_service,cap_setuid=p.
CAPABILITIES = [struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0), struct.pack("<5I", 0x02000000, 1 << 10 | 1 << 7, 0, 0, 0)]


class Maker:
    def __init__(self, seed, root):
        self.random = random.Random(seed)
        self.root = os.fsencode(root)
        self.files = []
        self.folders = []

    def name(self):
        """Any bytes but NUL and slash; often short and plain, sometimes as long as they get."""
        choice = self.random.random()
        if choice < 0.5:
            return "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz0123456789._-", k=self.random.randint(1, 20))).encode()
        if choice < 0.6:
            return "".join(self.random.choices("äöü€漢字🐟é", k=self.random.randint(1, 30))).encode()[:200]
        if choice < 0.7:
            return self.random.choice([b" ", b"\n", b"\\", b"*", b"-rf", b"a b", b"\t.", b"...", b"%s", b"'\"", b"\xff\xfe", b"\x01"])
        length = 255 if choice < 0.75 else self.random.randint(1, 60)
        return bytes(self.random.choice([*range(1, 47), *range(48, 256)]) for _ in range(length))

    def free(self, folder):
        while True:
            path = os.path.join(folder, self.name())
            if os.path.basename(path) not in (b".", b"..") and not os.path.lexists(path):
                return path

    def contents(self):
        size = self.random.choice([0, 1, 7, 100, 4095, 4096, 4097, 65536, 131071, 131072, 131073, 300_000, self.random.randint(0, 1 << 20)])
        kind = self.random.random()
        if kind < 0.3:
            return self.random.randbytes(size)
        if kind < 0.4:
            return bytes(size)
        piece = self.random.randbytes(self.random.randint(1, 64))
        return (piece * (size // len(piece) + 1))[:size]

    def file(self, folder):
        path = self.free(folder)
        with open(path, "wb") as file:
            if self.random.random() < 0.1:
                # Holes: at the start, in the middle, at the end.
                size = self.random.randint(1, 4 << 20)
                for _ in range(self.random.randint(0, 3)):
                    file.seek(self.random.randint(0, size))
                    file.write(self.random.randbytes(5000)[:max(0, size - file.tell())])
                file.truncate(size)
            else:
                file.write(self.contents())
        self.files.append(path)
        return path

    def other(self, folder):
        path = self.free(folder)
        kind = self.random.randrange(6)
        if kind == 0:
            target = self.random.choice([b"x", b"../..", b"/ro/a//b/", b".", self.random.randbytes(50).replace(b"\0", b"0"), b"t" * 4000])
            os.symlink(target, path)
            return path
        if kind == 1 and self.files:
            os.link(self.random.choice(self.files), path)
            return path
        if kind == 2:
            os.mknod(path, stat.S_IFIFO | 0o600)
        elif kind == 3:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(self.random.randrange(4096), self.random.randrange(256)))
        elif kind == 4:
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(self.random.randrange(256), self.random.randrange(1 << 20)))
        else:
            os.mknod(path, stat.S_IFSOCK | 0o600)
        return path

    def dress(self, path):
        """Owner, mode, attributes, times; in this order, since each takes something from those before."""
        chosen = self.random
        status = os.lstat(path)
        if chosen.random() < 0.5:
            os.chown(path, chosen.choice(OWNERS), chosen.choice(OWNERS), follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            if chosen.random() < 0.5:
                os.chmod(path, chosen.choice(MODES))
            if (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)) and chosen.random() < 0.15:
                for _ in range(chosen.randint(1, 4)):
                    size = chosen.choice([0, 1, 100, 1000])
                    os.setxattr(path, b"user." + chosen.choice([b"a", b"b", b"c" * 200, b"\xc3\xa9"]), chosen.randbytes(size))
                if chosen.random() < 0.3:
                    os.setxattr(path, b"trusted.t", b"value")
            if stat.S_ISREG(status.st_mode) and chosen.random() < 0.1:
                os.setxattr(path, b"security.capability", chosen.choice(CAPABILITIES))
        time = chosen.choice(TIMES + [chosen.randrange(2**32)])
        os.utime(path, (time, time), follow_symlinks=False)

    def make(self):
        chosen = self.random
        os.makedirs(self.root)
        self.folders = [self.root]
        for part in (b"bin", b"out/lib", b"out/share", b"etc"):
            path = os.path.join(self.root, part)
            os.makedirs(path)
            self.folders.append(path)
        deep = self.root
        for _ in range(chosen.randint(1, 40)):
            deep = os.path.join(deep, self.name()[:60] or b"d")
            if len(deep) > 2500 or os.path.lexists(deep) or os.path.basename(deep) in (b".", b".."):
                break
            os.mkdir(deep)
            self.folders.append(deep)
        for _ in range(chosen.randint(0, 30)):
            folder = self.free(chosen.choice(self.folders))
            os.mkdir(folder)
            self.folders.append(folder)
        for _ in range(chosen.randint(0, 120)):
            self.file(chosen.choice(self.folders))
        everything = self.files + [self.other(chosen.choice(self.folders)) for _ in range(chosen.randint(0, 80))]
        # More names than a directory header counts; sometimes more than a listing's page or an index entry covers.
        many = self.free(self.root)
        os.mkdir(many)
        for index in range(chosen.choice([0, 255, 256, 257, 300, 1000] + ([10_500] if chosen.random() < 0.3 else []))):
            path = os.path.join(many, b"%d-%s" % (index, b"n" * (index % 120)))
            os.mknod(path, stat.S_IFREG | 0o644)
            os.utime(path, (index, index))
        for path in everything:
            self.dress(path)
        for folder in sorted([*self.folders, many], key=len, reverse=True):
            self.dress(folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    Maker(int(sys.argv[1]), sys.argv[2]).make()
