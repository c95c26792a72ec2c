# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""What the tests of images share: packages, images of the same inputs, and the log of what was found."""

import datetime
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from machine import COMMAND, Failure, output_of, run

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "Examples/images"
ADMINISTRATION = {**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ImageTest:
    """An image of Examples/images, below FOLDER: what is there already (packages, an image of the same inputs) is used again."""

    def __init__(self, tools, folder, name):
        self.tools, self.folder, self.name, self.log = tools, folder, name, []
        self.description = EXAMPLES / name / "image.textproto"
        self.work = folder / name
        self.work.mkdir(parents=True, exist_ok=True)
        self.key = folder / "key"
        if not self.key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", self.key)

    def say(self, what, result=""):
        lines = str(result).strip().splitlines()
        self.log.append((what, lines))
        print(f"{self.name}: {what}: {lines[0] if lines else 'yes'}{' …' if len(lines) > 1 else ''}", flush=True)

    def check(self, machine, command, expected, timeout=COMMAND):
        result = machine.run(command, timeout)
        if expected not in result:
            raise Failure(f"«{command}» says «{result.strip()}», without «{expected}»")
        self.say(f"`{command}`", result)

    def look_around(self, machine):
        """The machine is ours, and all that it shall run runs."""
        self.check(machine, "hostnamectl", "Operating System: distri")
        self.check(machine, "systemctl is-system-running --wait", "running", 600)
        if machine.run("systemctl --failed --plain --no-legend").strip():
            raise Failure("units failed: " + machine.run("systemctl --failed"))
        self.say("no unit has failed")

    def import_packages(self, debs, definition):
        """Imports what is missing.

        - Returns: the names of the packages, and the store.
        """
        folder = self.folder / definition
        (folder / "store").mkdir(parents=True, exist_ok=True)
        debs.mkdir(parents=True, exist_ok=True)
        source = EXAMPLES / definition / f"{definition}.import.textproto"
        lock, done = folder / f"{definition}.import.lock", folder / "imported"
        if not lock.exists():
            shutil.copy(source.with_suffix(".lock"), lock)
        # The first time, and when a definition is newer, what the archive has today: it may have dropped what the committed lock names.
        newest = max(path.stat().st_mtime for path in EXAMPLES.rglob("*.import.textproto"))
        is_known = done.exists() and done.stat().st_mtime > newest
        started = time.monotonic()
        imported = output_of(
            self.tools / "distri-build", "import", "--store", folder / "store", "--debs", debs, "--definition", source,
            "--lock", lock, *([] if is_known else ["--update-lock"]))  # fmt: skip
        done.write_text(imported)
        print(f"{self.name}: imported in {time.monotonic() - started:.0f} s", flush=True)
        return imported, folder / "store"

    def make_image(self, imported, store, *flags):
        """Builds the image twice, unless the images of the same inputs are there: `<name>.img`, a disk or a directory."""
        image, second = self.work / f"{self.name}.img", self.work / "second.img"
        inputs = hashlib.sha256(imported.encode() + self.key.with_suffix(".pub").read_bytes() + " ".join(map(str, flags)).encode())
        for path in sorted(self.description.parent.iterdir()):
            inputs.update(path.read_bytes() if path.suffix != ".md" else b"")
        for tool in ("distri-mkimage", "distri-fuse", "distri-fetch", "distri-init"):
            inputs.update(digest(self.tools / tool).encode())
        state = self.work / "built.json"
        if state.exists() and image.exists() and json.loads(state.read_text())["inputs"] == inputs.hexdigest():
            built = json.loads(state.read_text())
        else:
            built = {"inputs": inputs.hexdigest(), "digests": []}
            for place in (second, image):
                started = time.monotonic()
                run(self.tools / "distri-mkimage", "build", self.description, "--store", store, *flags, "-o", place)
                built["seconds"] = round(time.monotonic() - started, 1)
                built["digests"].append(self.digest_of(place))
            shutil.rmtree(second) if second.is_dir() else second.unlink()
            state.write_text(json.dumps(built))
        first, again = built["digests"]
        if first != again:
            raise Failure(f"two builds of the same packages differ: {first} {again}")
        self.say("the second build of the image, seconds", built["seconds"])
        self.say("SHA-256 of both builds", first)
        return image

    @staticmethod
    def digest_of(image):
        if not image.is_dir():
            return digest(image)
        total = hashlib.sha256()
        for path in sorted(path for path in image.rglob("*") if path.is_file()):
            total.update(f"{path.relative_to(image)} {digest(path)}\n".encode())
        return total.hexdigest()

    @staticmethod
    def root_of(disk):
        """The root file system of a disk, as programs of e2fsprogs take it."""
        # It complains of a disk that is larger than its table says, which the machine corrects.
        said = output_of("sfdisk", "--json", disk, env=ADMINISTRATION, stderr=subprocess.DEVNULL, timeout=COMMAND)
        table = json.loads(said)["partitiontable"]
        root = max(table["partitions"], key=lambda partition: partition["size"])
        return f"{disk}?offset={root['start'] * table.get('sectorsize', 512)}"

    def check_disk(self, disk):
        checked = subprocess.run(["e2fsck", "-fn", self.root_of(disk)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 timeout=COMMAND, env=ADMINISTRATION)  # fmt: skip
        if checked.returncode != 0:
            raise Failure(f"e2fsck finds faults: {checked.stdout}")
        self.say("the file system is clean")

    def write_log(self):
        lines = ["# What `make test-images` found last", "", f"{datetime.date.today()}, qemu without KVM.", ""]
        for what, result in self.log:
            if len(result) <= 1:
                lines.append(f"- {what}{': ' + result[0] if result else ''}")
            else:
                lines += [f"- {what}:", "", "  ```", *("  " + line.rstrip() for line in result), "  ```", ""]
        (EXAMPLES / self.name / "LOG.md").write_text("\n".join(lines) + "\n")


def main(program, test):
    """Runs a test, and says in one place what went wrong. Machines end with it, also when it is asked to end."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        test()
    except (Failure, subprocess.SubprocessError) as failure:
        sys.exit(f"{program}: {failure}")
