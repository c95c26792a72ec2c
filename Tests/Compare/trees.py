# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Compares two trees: names, types, modes, owners, times, sizes, links, devices, extended attributes, SHA-256 of all bytes.

trees.py EXPECTED SEEN      exits with 1 and a line for each difference (at most 40) where the trees differ.
"""

import errno
import hashlib
import os
import stat
import sys

# What the view says about itself is no part of a tree.
OWN_ATTRIBUTES = {"user.distri.status"}
TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device", stat.S_IFBLK: "block device",
}


def digest(path):
    """The SHA-256 of a file, read in pieces that are no multiple of a page."""
    result = hashlib.sha256()
    count = 0
    buffer = memoryview(bytearray((1 << 20) + 7))
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            result.update(buffer[:size])
            count += size
    return count, result.hexdigest()


def attributes(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        # What the kernel's squashfs says of an image without attributes.
        if error.errno != errno.EOPNOTSUPP:
            raise
        return {}
    return {
        os.fsencode(name): os.getxattr(path, os.fsencode(name), follow_symlinks=False)
        for name in names if name not in OWN_ATTRIBUTES
    }


def record(path, status, problems):
    kind = stat.S_IFMT(status.st_mode)
    found = {
        "type": TYPES[kind], "mode": oct(stat.S_IMODE(status.st_mode)), "owner": (status.st_uid, status.st_gid),
        "time": status.st_mtime_ns, "links": status.st_nlink, "attributes": attributes(path),
    }
    if kind in (stat.S_IFREG, stat.S_IFLNK):
        found["size"] = status.st_size
    if kind == stat.S_IFREG:
        count, found["SHA-256"] = digest(path)
        if count != status.st_size:
            problems.append(f"{count} bytes can be read and stat says {status.st_size}")
    elif kind == stat.S_IFLNK:
        found["target"] = os.readlink(path)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        found["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return found


def scan(root):
    """Everything below a directory: path → what there is to be said about it; and sentences about what contradicts itself."""
    tree, problems, names_of, inode_of = {}, [], {}, {}
    root = os.fsencode(root)
    pending = [b""]

    def add(path, status):
        sentences = []
        try:
            tree[path] = record(os.path.join(root, path) if path else root, status, sentences)
        except OSError as error:
            tree[path] = {"error": f"{error.strerror} ({error.errno})"}
        problems.extend(f"{path!r}: {sentence}" for sentence in sentences)
        if not stat.S_ISDIR(status.st_mode):
            names_of.setdefault(status.st_ino, set()).add(path)
        elif inode_of.setdefault(status.st_ino, path) != path:
            problems.append(f"{path!r}: has the inode number of {inode_of[status.st_ino]!r}")

    add(b"", os.lstat(root))
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder) if folder else root))
        except OSError as error:
            tree[folder]["listing"] = f"{error.strerror} ({error.errno})"
            continue
        if len({entry.name for entry in entries}) != len(entries):
            problems.append(f"{folder!r}: a name is listed twice")
        for entry in entries:
            path = os.path.join(folder, entry.name) if folder else entry.name
            try:
                status = os.lstat(entry.path)
            except OSError as error:
                tree[path] = {"error": f"{error.strerror} ({error.errno})"}
                continue
            if entry.inode() != status.st_ino:
                problems.append(f"{path!r}: listed with inode {entry.inode():#x}, and stat says {status.st_ino:#x}")
            kinds = (entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False), entry.is_symlink())
            if kinds != (stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode), stat.S_ISLNK(status.st_mode)):
                problems.append(f"{path!r}: listed with another type than stat says")
            add(path, status)
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
    # Which names are the same file.
    for names in names_of.values():
        if len(names) > 1:
            for name in names:
                tree[name]["same as"] = sorted(names)
    return tree, problems


def differences(expected, seen):
    lines = []
    for path in sorted(expected.keys() | seen.keys()):
        a, b = expected.get(path), seen.get(path)
        if a == b:
            continue
        if a is None or b is None:
            lines.append(f"{path!r}: only in the {'second' if a is None else 'first'} tree")
            continue
        fields = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
        lines.append(f"{path!r}: " + "; ".join(f"{key} {a.get(key)!r} ≠ {b.get(key)!r}"[:300] for key in fields))
    return lines


def compare(expected, seen):
    """Sentences about what differs, and how many files and bytes were compared."""
    first, problems = scan(expected)
    second, more = scan(seen)
    # The expected side is the kernel's: where it contradicts itself, the comparison says nothing.
    lines = [f"{expected}: {line}" for line in problems] + [f"{seen}: {line}" for line in more] + differences(first, second)
    return lines, len(first), sum(found.get("size", 0) for found in first.values())


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    lines, files, size = compare(sys.argv[1], sys.argv[2])
    for line in lines[:40]:
        print(line)
    if lines:
        print(f"{len(lines)} differences between {sys.argv[1]} and {sys.argv[2]}")
        sys.exit(1)
    print(f"the same: {files} files, {size} bytes")


if __name__ == "__main__":
    main()
