#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""server.py [--quick] [--debs DIR] BIN DIR: builds Examples/images/server twice, boots it, and uses it as people do.

BIN holds the tools. Everything happens below DIR; what is there already (debs, packages, an image of the same inputs) is used again, so that a
run that was stopped goes on. Needs qemu-system-x86_64, ssh and mksquashfs, no root. Writes what it found to Examples/images/server/LOG.md.
With --quick, which CI runs, only one boot on UEFI, a login by SSH and the end of the machine.
"""

import argparse
import os
import pathlib
import subprocess
import time

from azure import check_azure
from encrypted import check_encrypted
from image import ImageTest, main
from machine import COMMAND, COMPILE, Failure, Machine, run, wait_until
from programs import debian_binary, vendor_binary
from repository import Repository

# Bytes of a package that takes a while to install.
BALLAST = 256 << 20


class ServerTest(ImageTest):
    def __init__(self, tools, folder, debs):
        super().__init__(tools, folder, "server")
        self.debs = debs

    def look_around(self, machine):
        super().look_around(machine)
        self.check(machine, "python3 -c 'print(1)'", "1")
        self.check(machine, "perl -e 'print 6 * 7'", "42")
        self.check(machine, "nano --version | head -n 1", "nano")
        self.check(machine, "curl --version | head -n 1", "curl")
        self.check(machine, "git --version", "git version")
        self.check(machine, "grep ^root: /etc/shadow", "root:*:")

    def use_packages(self, machine, repository):
        trusted = (repository.folder / "repo/tuf/root.json").read_text()
        machine.run("mkdir -p /etc/distri/repos.d; cat > /root/root.json", input=trusted)
        machine.run("cat > /etc/distri/repos.d/test.repo", input=repository.address + "\n")
        machine.run(f"distri-fetch trust init /root/root.json --repo {repository.address}")
        machine.run("distri-fetch install greet")
        self.check(machine, "distri-fetch list 2>/dev/null | grep greet; greet", "greetings from version 1")
        self.check(machine, "systemctl start greet && ps -o user= -C sleep", "greet")
        before = machine.run("systemctl show -P MainPID greet").strip()
        repository.publish(2)
        self.check(machine, "distri-fetch update", "greet")
        self.check(machine, "greet", "version 2")
        self.check(machine, "systemctl show -P Description greet; systemctl is-active greet", "Greetings 2\nactive")
        if machine.run("systemctl show -P MainPID greet").strip() == before:
            raise Failure("the service still runs in the version before the update")
        self.check(machine, "distri-fetch rollback && greet", "version 1")

    def update_kernel(self, machine, entry):
        self.check(machine, "distri-fetch update", "linux-image")
        wait_until(lambda: entry in machine.run("cat /boot/loader/loader.conf"), f"a boot entry {entry}", COMPILE, 2)
        self.check(machine, "ls /boot/EFI/Linux", "distri.efi")
        # All has been updated, what was rolled back, too.
        self.check(machine, "greet", "version 2")

    def check_kernel(self, machine, entry):
        """The machine was started with the new kernel; the one before is still there."""
        variable = "/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
        # Two bytes a letter.
        self.check(machine, f"tr -cd '[:print:]' < {variable}", f"distri-{entry}.efi")
        self.check(machine, "ls /boot/EFI/Linux", "distri.efi")

    def compile(self, machine):
        machine.run("mkdir -p /root/hello; cat > /root/hello/hello.go", input='package main\n\nfunc main() { println("hello from go") }\n')
        self.check(machine, "cd /root/hello && HOME=/root go run hello.go 2>&1", "hello from go", COMPILE)

    def run_programs_from_elsewhere(self, machine):
        machine.run("mkdir -p /opt/vendor")
        for program in (vendor_binary(self.work), debian_binary(self.work)):
            machine.send(program, f"/opt/vendor/{program.name}")
        machine.run("chmod 755 /opt/vendor/*")
        self.check(machine, "file --brief /opt/vendor/ninja", "dynamically linked, interpreter /lib64/ld-linux-x86-64.so.2")
        self.check(machine, "/opt/vendor/ninja --version", "1.11")
        self.check(machine, "/opt/vendor/zlib-version", "zlib 1.")

    def pull_the_plug_in_an_installation(self, machine):
        """Ends the machine at once while a large package is on its way."""

        def used():
            return int(machine.run("df -k --output=used / | tail -n 1"))

        before = used()
        installation = subprocess.Popen(
            machine.ssh("distri-fetch install ballast"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: used() > before + (BALLAST >> 13), "an eighth of a package", COMMAND)
            if installation.poll() is not None:
                raise Failure("the installation was over before the plug was pulled: the package is too small")
            machine.pull_the_plug()
        finally:
            installation.kill()
            installation.wait()

    def verify(self, machine, repository, compared):
        """All that the machine has is sound, and what is from the repository is what the repository has."""
        command = f"distri-fetch verify --repo {repository.address} 2>&1 && echo sound"
        self.check(machine, command, f", {compared} of them compared with a repository\nsound", COMPILE)

    def check_after_the_cut(self, machine, repository):
        # Two versions of a package, and a kernel.
        self.verify(machine, repository, 3)
        self.check(machine, "greet", "version 2")

    def make(self):
        """Builds the image.

        - Returns: a copy to boot, which is larger than what the image is made for.
        """
        imported, self.store = self.import_packages(self.debs, "server")
        self.say("packages", len(imported.split()))
        image = self.make_image(imported, self.store, "--authorized-keys", self.key.with_suffix(".pub"))
        disk = self.work / "disk.img"
        run("cp", "--sparse=always", "--reflink=auto", image, disk)
        os.truncate(disk, disk.stat().st_size + (2 << 30))
        return disk

    def boot(self, disk, *flags):
        started = time.monotonic()
        machine = Machine(self.tools, disk, self.work, self.key, *flags)
        try:
            machine.wait_for_login()
        except BaseException as error:
            machine.__exit__(type(error), error, None)
            raise
        self.say("from power on to a login by SSH with emulated processors, seconds", round(time.monotonic() - started))
        return machine

    def run_quickly(self):
        disk = self.make()
        with self.boot(disk) as machine:
            super().look_around(machine)
            self.check(machine, "df -BG --output=size / | tail -n 1", "10G")
            machine.leave("systemctl poweroff")
        self.check_disk(disk)

    def run(self):
        disk = self.make()
        check_azure(self, self.store)
        check_encrypted(self, self.store)
        repository = Repository(self.tools, self.work / "repository")
        try:
            self.say("on UEFI")
            with self.boot(disk) as machine:
                self.look_around(machine)
                self.check(machine, "df -BG --output=size / | tail -n 1", "10G")
                self.use_packages(machine, repository)
                self.check(machine, "docker info 2>/dev/null | grep -E 'Storage Driver|Cgroup Version'", "overlay2")
                self.compile(machine)
                self.run_programs_from_elsewhere(machine)
                entry = repository.publish_kernel(self.store)
                self.update_kernel(machine, entry)
                keys = machine.run("cat /etc/ssh/ssh_host_*.pub /etc/machine-id")
                machine.leave("systemctl reboot")
            repository.publish_ballast(BALLAST)
            for cut in range(1, 4):
                with self.boot(disk) as machine:
                    self.check_kernel(machine, entry)
                    self.check_after_the_cut(machine, repository)
                    self.pull_the_plug_in_an_installation(machine)
                self.say(f"the plug was pulled in an installation, time {cut}")
            self.say("after all that, on a BIOS")
            with self.boot(disk, "--bios") as machine:
                if machine.run("cat /etc/ssh/ssh_host_*.pub /etc/machine-id") != keys:
                    raise Failure("a reboot changed the keys or the name of the machine")
                self.say("the same machine")
                self.look_around(machine)
                self.check_after_the_cut(machine, repository)
                machine.run("distri-fetch install ballast", COMPILE)
                self.check(machine, "stat -L -c %s /ro/share/ballast/noise", str(BALLAST))
                self.verify(machine, repository, 4)
                machine.leave("systemctl poweroff")
            self.say("off")
            self.check_disk(disk)
        finally:
            repository.stop()
        self.write_log()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--debs", type=pathlib.Path)
    parser.add_argument("tools", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    folder = options.folder.resolve()
    test = ServerTest(options.tools.resolve(), folder, (options.debs or folder / "debs").resolve())
    main("server.py", test.run_quickly if options.quick else test.run)
