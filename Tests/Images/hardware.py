#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""hardware.py BIN DIR [NAME…]: one small image boots from every kind of disk, in every format that qemu reads, encrypted, installed with a key of
its own, and with a passphrase typed on a German keyboard.

BIN holds the tools. Everything happens below DIR; what is there already is used again. Debian's own kernel is the one that has all drivers; the
rest is this machine's bash and coreutils. With names, only these boots. Needs qemu-system-x86_64 and mksquashfs, no root. Writes what it found to
HARDWARE.md beside this file.
"""

import datetime
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

LOG = pathlib.Path(__file__).with_name("HARDWARE.md")
# Seconds. The machine is emulated, and its firmware reads the disk byte by byte.
BOOT = 300
PASSPHRASE = "correct horse"
# What is typed on a screen: the keys that have these letters in the USA, and what a German keyboard makes of them.
KEYS, GERMAN = ["y", "z", "minus", "slash", "semicolon", "shift-2"], "zyß-ö\""
COMMAND = (
    "while read -r device place rest; do [ \"$place\" != / ] || echo \"root is on $device\"; done < /proc/1/mounts; "
    "read -r release < /proc/sys/kernel/osrelease; echo \"running $release\"")

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
    if (store / "firmware-amd64-1-1.meta.textproto").exists():
        return store
    store.mkdir(parents=True, exist_ok=True)
    script = """
      set -e; cd "$1"; rm -rf debs tree; mkdir debs tree; cd debs
      for kernel in amd64 cloud-amd64; do
        package=$(apt-cache depends linux-image-$kernel | sed -n 's/.*Depends: //p' | head -n 1)
        apt-get download -qq "$package" >&2
        mkdir -p ../tree/$kernel/out; dpkg-deb -x "$package"_*.deb ../tree/$kernel/out
      done
      apt-get download -qq console-data firmware-linux-free >&2
      mkdir ../tree/firmware; dpkg-deb -x firmware-linux-free_*.deb ../tree/firmware/out
      dpkg-deb -x console-data_*.deb keymaps; mkdir -p ../tree/console-data/out/share
      mv keymaps/usr/share/keymaps ../tree/console-data/out/share
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
    pack(folder / "tree/amd64", "linux-image-amd64-1-1", store)
    # Elsewhere, so that it is not there when the image is built: the version that comes with an update.
    (folder / "update").mkdir(exist_ok=True)
    pack(folder / "tree/cloud-amd64", "linux-image-amd64-1-2", folder / "update")
    pack(folder / "tree/base", "base-amd64-1-1", store)
    pack(folder / "tree/console-data", "console-data-amd64-1-1", store)
    pack(folder / "tree/firmware", "firmware-amd64-1-1", store)
    shutil.rmtree(folder / "tree")
    return store


def as_input(answer):
    """A line for the console, or keys that qemu's monitor presses: Ctrl-A C leads to it and back."""
    if isinstance(answer, str):
        return answer.encode() + b"\n"
    return "".join(["\x01c", *(f"sendkey {key}\n" for key in [*answer, "ret"]), "\x01c"]).encode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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

    def check_firmware(self):
        """The initramfs has what the driver of a controller asks for, from a package of its own."""
        archive, name = self.folder / "initramfs", "lib/firmware/isci/isci_firmware.bin"
        run(
            self.mkimage, "initramfs", "--store", self.store, "--module", "isci", "--firmware", "firmware", "-o", archive)
        found = run(
            "sh", "-c", f"zstd -qdc '{archive}' | cpio --quiet --to-stdout -i {name}", stdout=subprocess.PIPE).stdout
        expected = run(
            "unsquashfs", "-cat", self.store / "firmware-amd64-1-1.squashfs", f"out/{name}", stdout=subprocess.PIPE).stdout
        if not expected or found != expected:
            sys.exit(f"hardware: the initramfs has {len(found)} bytes of {name}, the package {len(expected)}")

    def install(self, image, secret):
        """A disk with a key and a passphrase of its own."""
        disk, new = self.folder / "installed.img", self.folder / "new-passphrase"
        new.write_text(GERMAN + "\n")
        disk.unlink(missing_ok=True)
        run(
            self.mkimage, "install", image, "--to", disk, "--encrypt", "--yes", "--image-passphrase-file", secret,
            "--passphrase-file", new)  # fmt: skip
        return disk

    def update_kernel(self, disk):
        """A copy of the disk after an update of the kernel, done to its boot partition as the machine would."""
        updated, boot = self.folder / "updated.img", self.folder / "boot"
        shutil.copyfile(disk, updated)
        shutil.rmtree(boot, ignore_errors=True)
        boot.mkdir()
        partition = f"{updated}@@{2 << 20}"
        run("mcopy", "-i", partition, "-s", "-Q", "-m", "::*", boot)
        parameters = re.search(r"linux /vmlinuz (.*)", (boot / "grub/grub.cfg").read_text())[1]
        run(self.mkimage, "boot-entry", "--store", self.folder / "update", "--boot", boot, "--parameters", parameters)
        run("mcopy", "-i", partition, "-s", "-Q", "-m", "-D", "o", *boot.iterdir(), "::")
        inspected = run(self.mkimage, "inspect", updated, stdout=subprocess.PIPE, text=True).stdout
        if inspected.count("EFI/Linux/distri") != 2:
            sys.exit(f"hardware: the old kernel is not there any more:\n{inspected}")
        return updated

    def boot(self, name, image, root, *flags, typed=(), kernel=""):
        """Boots, types the lines (or keys of the keyboard) when they are asked for, and expects the root on that disk and a kernel of that kind."""
        if self.wanted and name not in self.wanted:
            return
        start = time.monotonic()
        command = [str(word) for word in [self.mkimage, "boot", image, "--timeout", BOOT, *flags]]
        machine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        said, answers = b"", list(typed)
        while chunk := machine.stdout.read(4096):
            said += chunk
            if answers and said.count(b"Passphrase for") == len(typed) - len(answers) + 1:
                machine.stdin.write(as_input(answers.pop(0)))
        status = machine.wait()
        found = re.search(rb"root is on (\S+)", said)
        (self.folder / f"{name}.log").write_bytes(said)
        release = re.search(rb"running (\S+)", said)
        if not release or kernel not in release[1].decode():
            sys.exit(f"hardware: {name}: expected a kernel {kernel}:\n{said[-3000:].decode(errors='replace')}")
        if status != 0 or not found or not found[1].decode().startswith(root) or answers:
            sys.exit(f"hardware: {name}: status {status}; expected a root on {root}:\n{said[-3000:].decode(errors='replace')}")
        self.lines.append(f"| {name} | {found[1].decode()} | {time.monotonic() - start:.0f} s |")
        print(self.lines[-1], flush=True)

    def all(self):
        self.check_firmware()
        disk, directory = self.build("disk.img", "--both", "--serial"), self.build("directory")
        for kind, starts_firmware, root in DISKS:
            self.boot(kind, disk if starts_firmware else directory, root, "--disk", kind)
        self.boot("virtio, BIOS", disk, "/dev/vda", "--bios")
        updated = self.update_kernel(disk)
        self.boot("new kernel, UEFI", updated, "/dev/vda", kernel="cloud")
        self.boot("new kernel, BIOS", updated, "/dev/vda", "--bios", kernel="cloud")
        formats = self.build("formats", "--uefi", "--serial", *[word for name in FORMATS for word in ("--format", name)])
        for name in FORMATS:
            self.boot(f"{name} format", formats / f"disk.{name}", "/dev/vda")
        secret = self.folder / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        encrypted = self.build("encrypted.img", "--uefi", "--serial", "--encrypt", "--passphrase-file", secret)
        self.boot("encrypted", encrypted, "/dev/dm-0", typed=["not this", PASSPHRASE])
        self.boot("encrypted, installed", self.install(encrypted, secret), "/dev/dm-0", typed=[PASSPHRASE, GERMAN])
        # The screen's console asks, too; that it is there, the words on the serial one tell.
        keyboard = self.build(
            "keyboard.img", "--uefi", "--serial", "--encrypt", "--passphrase-file", self.folder / "new-passphrase",
            "--package", "console-data", "--keymap", "de-latin1-nodeadkeys")  # fmt: skip
        self.boot("encrypted, German keyboard", keyboard, "/dev/dm-0", "--vnc", str(free_port()), typed=[KEYS])


def main():
    tools, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    boots = Boots(tools, folder, sys.argv[3:])
    boots.all()
    if boots.wanted:
        return
    kernel = next(path for path in (folder / "debs").glob("linux-image-*.deb") if "cloud" not in path.name).name.rsplit("_", 1)[0]
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    LOG.write_text(
        f"# What the image of hardware.py boots from\n\nLast run: {today}, {kernel}, qemu without KVM.\n\n"
        "| disk | root | time |\n|---|---|---|\n" + "\n".join(boots.lines) + "\n")  # fmt: skip


main()
