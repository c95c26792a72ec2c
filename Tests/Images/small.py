#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""small.py [--debs DIR] BIN DIR: builds Examples/images/minimal and container twice, of the packages of the server, and uses them.

As server.py. Needs umoci besides. Writes what it found to LOG.md of each.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from image import ImageTest, main
from machine import COMMAND, Failure, Machine, output_of, run

# «nobody»: may do nothing on this machine.
NOBODY = 65534


class MinimalTest(ImageTest):
    def __init__(self, tools, folder):
        super().__init__(tools, folder, "minimal")

    def run(self, imported, store):
        image = self.make_image(imported, store)
        for flags in ([], ["--bios"]):
            started = time.monotonic()
            with Machine(self.tools, image, self.work, self.key, *flags, writes=False) as machine:
                machine.wait_for_console("bash-5")
                self.say(f"from power on to a shell on a {'BIOS' if flags else 'UEFI'}, seconds", round(time.monotonic() - started))
                machine.type("nano --version | head -n 1\n")
                machine.wait_for_console("GNU nano, version")
                machine.type("nano /root/letter\n")
                machine.wait_for_console("New File")
                # The text, Ctrl-O and Enter, Ctrl-X.
                machine.type("a letter that nano wrote")
                machine.type("\x0f\r")
                machine.wait_for_console("Wrote 1 line")
                machine.type("\x18")
                machine.wait_for_console("bash-5")
                machine.type("tr a-z A-Z < /root/letter; exit\n")
                machine.wait_for_console("A LETTER THAT NANO WROTE")
                machine.wait_for_end()
        self.say("nano writes a file on both")
        self.write_log()


class ContainerTest(ImageTest):
    def __init__(self, tools, folder):
        super().__init__(tools, folder, "container")

    def run(self, imported, store):
        image = self.make_image(imported, store)
        self.say("layers", len([path for path in (image / "blobs/sha256").iterdir() if path.read_bytes()[:2] == b"\x1f\x8b"]))
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            shutil.copytree(image, place / "image")
            run("chown", "-R", f"{NOBODY}:{NOBODY}", place)
            self.as_nobody(place, "umoci", "unpack", "--rootless", "--image", f"{place}/image:latest", place / "bundle")
            for command, expected in (
                ('python3 -c "print(1)"', "1"),
                ('python3 -c "import ssl, sqlite3; print(ssl.OPENSSL_VERSION)"', "OpenSSL 3"),
                ("ls / | tr '\\n' ' '", "ro"),
            ):
                said = self.as_nobody(place, "unshare", "-Urm", "chroot", place / "bundle/rootfs", "/bin/bash", "-c", command)
                if expected not in said:
                    raise Failure(f"«{command}» in the container says «{said}», without «{expected}»")
                self.say(f"`bash -c '{command}'`", said)
        self.write_log()

    def as_nobody(self, place, *command):
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": str(place)}
        try:
            return output_of("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *command, env=environment,
                             cwd=place, stderr=subprocess.PIPE, timeout=COMMAND)  # fmt: skip
        except subprocess.CalledProcessError as error:
            raise Failure(f"{command[0]} ended with {error.returncode}: {error.stderr}") from None


def test(tools, folder, debs):
    minimal = MinimalTest(tools, folder)
    imported, store = minimal.import_packages(debs, "server")
    minimal.run(imported, store)
    ContainerTest(tools, folder).run(imported, store)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--debs", type=pathlib.Path)
    parser.add_argument("tools", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    folder = options.folder.resolve()
    main("small.py", lambda: test(options.tools.resolve(), folder, (options.debs or folder / "debs").resolve()))
