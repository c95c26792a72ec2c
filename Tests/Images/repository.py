# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""A repository on the host, from which machines install packages."""

import os
import shutil
import subprocess

from machine import run, wait_until


class Repository:
    """A signed repository with a program that tells its version and a service that runs it, served to the machine."""

    def __init__(self, tools, folder):
        self.tools, self.folder = tools, folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "store").mkdir(parents=True)
        run(tools / "distri-fetch", "keys", "generate", "--out", folder / "keys", stdout=subprocess.DEVNULL)
        self.publish(1)
        self.server = subprocess.Popen(
            [tools / "distri-fetch", "serve", folder / "repo", "--listen", "127.0.0.1:0", "--port-file", folder / "port"],
            stderr=subprocess.DEVNULL)
        port = folder / "port"
        wait_until(lambda: port.exists() and port.read_text().strip(), "distri-fetch serve at a port", 30)
        # What qemu calls the host.
        self.address = f"http://10.0.2.2:{port.read_text().strip()}"

    def publish(self, version):
        tree = self.folder / f"tree-{version}"
        (tree / "out/bin").mkdir(parents=True)
        (tree / "bin").mkdir()
        (tree / "out/lib/systemd/system").mkdir(parents=True)
        (tree / "out/lib/sysusers.d").mkdir(parents=True)
        (tree / "bin/greet").symlink_to("../out/bin/greet")
        program = tree / "out/bin/greet"
        program.write_text(f'#!/bin/sh\n[ "$1" != --serve ] || exec sleep infinity\necho greetings from version {version}\n')
        program.chmod(0o755)
        (tree / "out/lib/systemd/system/greet.service").write_text(
            f"[Unit]\nDescription=Greetings {version}\n\n[Service]\nUser=greet\nExecStart=/bin/greet --serve\n")
        (tree / "out/lib/sysusers.d/greet.conf").write_text('u greet - "Greetings"\n')
        self.add(f"greet-amd64-{version}.0-{version}", tree)

    def publish_ballast(self, byte_count):
        """A package that takes a while to install: random bytes, which cannot be compressed."""
        tree = self.folder / "tree-ballast"
        (tree / "out/share/ballast").mkdir(parents=True)
        with open(tree / "out/share/ballast/noise", "wb") as file:
            for _ in range(byte_count >> 20):
                file.write(os.urandom(1 << 20))
        self.add("ballast-amd64-1.0-1", tree)

    def publish_kernel(self, store):
        """The next revision of the machine's kernel: the same, a byte longer.

        - Returns: what its boot entry is called.
        """
        (image,) = store.glob("linux-image-amd64-*.squashfs")
        name, revision = image.stem.rsplit("-", 1)
        tree = self.folder / "tree-kernel"
        run("unsquashfs", "-quiet", "-no-progress", "-dest", tree, image, stdout=subprocess.DEVNULL)
        (kernel,) = tree.glob("out/boot/vmlinuz-*")
        with open(kernel, "ab") as file:
            file.write(b"\0")
        self.add(f"{name}-{int(revision) + 1}", tree)
        return f"{kernel.name.removeprefix('vmlinuz-')}-{int(revision) + 1}"

    def add(self, name, tree):
        image = self.folder / "store" / f"{name}.squashfs"
        run("mksquashfs", tree, image, "-all-root", "-quiet", "-no-progress", "-noI", "-noD", "-noF", "-noX", stdout=subprocess.DEVNULL)
        version = name.split("-amd64-")[1]
        (self.folder / "store" / f"{name}.meta.textproto").write_text(f'version: "{version}"\n')
        run(self.tools / "distri-fetch", "publish", self.folder / "store", "--out", self.folder / "repo", "--keys",
            self.folder / "keys", stdout=subprocess.DEVNULL)  # fmt: skip

    def stop(self):
        self.server.terminate()
        self.server.wait(30)
