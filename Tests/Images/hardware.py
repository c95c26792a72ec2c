#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""hardware.py BIN DIR [NAME…]: one small image boots from every kind of disk, in every format that qemu reads, and encrypted.

BIN holds the tools. Everything happens below DIR; what is there already is used again. Debian's own kernel is the one that has all drivers; the
rest is this machine's bash and coreutils. With names, only these boots. Needs qemu-system-x86_64 and mksquashfs, no root. Writes what it found to
HARDWARE.md beside this file.
"""

import datetime
import pathlib
import re
import shutil
import subprocess
import sys
import time

LOG = pathlib.Path(__file__).with_name("HARDWARE.md")
# Seconds. The machine is emulated, and its firmware reads the disk byte by byte.
BOOT = 300
PASSPHRASE = "correct horse"
COMMAND = "read device rest < /proc/1/mounts; while read -r device place rest; do [ \"$place\" != / ] || echo \"root is on $device\"; done < /proc/1/mounts"

# What is attached how, whether firmware starts from it, and what the kernel then calls the root.
DISKS = [
    ("virtio", True, "/dev/vda"), ("virtio-scsi", True, "/dev/sda"), ("nvme", True, "/dev/nvme0n1"), ("ahci", True, "/dev/sda"),
    ("usb", True, "/dev/sda"), ("pvscsi", False, "/dev/sda"), ("megasas", False, "/dev/sda"),
]  # fmt: skip
FORMATS = ["raw", "qcow2", "vhd", "vmdk"]


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, timeout=1800, **options)


def pack(tree, name, store):
    image = store / f"{name}.squashfs"
    image.unlink(missing_ok=True)
    run("mksquashfs", tree, image, *"-all-root -quiet -no-progress -noI -noD -noF -noX".split())
    (store / f"{name}.meta.textproto").write_text('version: "1-1"\n')


def make_store(folder):
    """A package of Debian's kernel, and one of this machine's shell with what it needs."""
    store = folder / "store"
    if (store / "base-amd64-1-1.meta.textproto").exists():
        return store
    store.mkdir(parents=True, exist_ok=True)
    script = """
      set -e; cd "$1"; rm -rf debs tree; mkdir debs tree; cd debs
      apt-get download -qq "$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1)" >&2
      mkdir -p ../tree/kernel/out; dpkg-deb -x *.deb ../tree/kernel/out
      mkdir -p ../tree/base; cd ../tree/base; mkdir -p bin out/bin out/lib/x86_64-linux-gnu out/lib64
      for program in bash cat ls; do cp -L "$(command -v $program)" out/bin; ln -s ../out/bin/$program bin/$program; done
      ln -s ../out/bin/bash bin/sh
      for library in $(ldd out/bin/* | grep -o '/[^ ]*[.]so[^ :]*' | sort -u); do
        case $library in
          */ld-linux*) cp -L $library out/lib64 ;;
          *) cp -L $library out/lib/x86_64-linux-gnu ;;
        esac
      done
    """
    run("sh", "-c", script, "sh", folder)
    pack(folder / "tree/kernel", "linux-image-amd64-1-1", store)
    pack(folder / "tree/base", "base-amd64-1-1", store)
    shutil.rmtree(folder / "tree")
    return store


class Boots:
    def __init__(self, tools, folder, wanted):
        self.mkimage, self.folder, self.wanted = tools / "distri-mkimage", folder, wanted
        self.store = make_store(folder)
        self.lines = []

    def build(self, output, *flags):
        run(
            self.mkimage, "build", "--store", self.store, "--package", "base", "--kernel-parameter", "distri.rescue=no",
            "--run", COMMAND, "-o", self.folder / output, *flags)  # fmt: skip
        return self.folder / output

    def boot(self, name, image, root, *flags, typed=()):
        """Boots, types the lines when they are asked for, and expects the root on that disk."""
        if self.wanted and name not in self.wanted:
            return
        start = time.monotonic()
        command = [str(word) for word in [self.mkimage, "boot", image, "--timeout", BOOT, *flags]]
        machine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        said, answers = b"", list(typed)
        while chunk := machine.stdout.read(4096):
            said += chunk
            if answers and said.count(b"Passphrase for") == len(typed) - len(answers) + 1:
                machine.stdin.write(answers.pop(0).encode() + b"\n")
        status = machine.wait()
        found = re.search(rb"root is on (\S+)", said)
        (self.folder / f"{name}.log").write_bytes(said)
        if status != 0 or not found or not found[1].decode().startswith(root) or answers:
            sys.exit(f"hardware: {name}: status {status}; expected a root on {root}:\n{said[-3000:].decode(errors='replace')}")
        self.lines.append(f"| {name} | {found[1].decode()} | {time.monotonic() - start:.0f} s |")
        print(self.lines[-1], flush=True)

    def all(self):
        disk, directory = self.build("disk.img", "--both", "--serial"), self.build("directory")
        for kind, starts_firmware, root in DISKS:
            self.boot(kind, disk if starts_firmware else directory, root, "--disk", kind)
        self.boot("virtio, BIOS", disk, "/dev/vda", "--bios")
        formats = self.build("formats", "--uefi", "--serial", *[word for name in FORMATS for word in ("--format", name)])
        for name in FORMATS:
            self.boot(f"{name} format", formats / f"disk.{name}", "/dev/vda")
        secret = self.folder / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        encrypted = self.build("encrypted.img", "--uefi", "--serial", "--encrypt", "--passphrase-file", secret)
        self.boot("encrypted", encrypted, "/dev/dm-0", typed=["not this", PASSPHRASE])


def main():
    tools, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    boots = Boots(tools, folder, sys.argv[3:])
    boots.all()
    if boots.wanted:
        return
    kernel = next((folder / "debs").glob("*.deb")).name.rsplit("_", 1)[0]
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    LOG.write_text(
        f"# What the image of hardware.py boots from\n\nLast run: {today}, {kernel}, qemu without KVM.\n\n"
        "| disk | root | time |\n|---|---|---|\n" + "\n".join(boots.lines) + "\n")  # fmt: skip


main()
