#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""server.py BIN DIR: builds Examples/images/server twice, boots it, and uses it as people do.

BIN holds the tools. Everything happens below DIR; what is there already (debs, packages, an image of the same inputs) is used again, so that a
run that was stopped goes on. Needs qemu-system-x86_64, ssh and mksquashfs, no root. Writes what it found to Examples/images/server/LOG.md.
"""

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parents[2] / "Examples/images/server"
# Seconds. The machine is emulated: everything takes ten times as long as on a real one.
BOOT, COMMAND, COMPILE, HALT = 600, 180, 1200, 240


def run(*command, timeout=1800, **options):
    return subprocess.run([str(word) for word in command], check=True, timeout=timeout, **options)


def output_of(*command, **options):
    return run(*command, stdout=subprocess.PIPE, text=True, **options).stdout


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Failure(Exception):
    pass


class Machine:
    """A virtual machine of `distri-mkimage boot`, its console in a file, and its sshd at a port of ours."""

    def __init__(self, tools, disk, folder, key, *flags):
        self.key, self.console = key, folder / "console.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # A group of its own, so that what it starts ends with it.
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(
                [tools / "distri-mkimage", "boot", disk, "--write", "--ssh", str(self.port), *flags],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)  # fmt: skip

    def wait_for_login(self):
        """Waits until the console asks for a name, and sshd lets us in."""
        deadline = time.monotonic() + BOOT
        while b"server login: " not in self.console.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"no login on the console; the end of {self.console}:\n{self.last_words()}")
            time.sleep(0.5)
        while subprocess.run(self.ssh("true"), stderr=subprocess.DEVNULL, timeout=COMMAND).returncode != 0:
            if time.monotonic() > deadline:
                raise Failure("sshd does not answer")
            time.sleep(1)

    def last_words(self):
        return self.console.read_bytes()[-3000:].decode(errors="replace")

    def ssh(self, command):
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=30", "BatchMode=yes"]
        words = [word for option in options for word in ("-o", option)]
        return ["ssh", "-i", str(self.key), "-p", str(self.port), *words, "root@127.0.0.1", command]

    def run(self, command, timeout=COMMAND, **options):
        done = subprocess.run(
            self.ssh(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **options)
        if done.returncode != 0:
            raise Failure(f"«{command}» ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def leave(self, command):
        """Reboots or turns off: the connection may go before the command ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(self.ssh(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=COMMAND)

    def wait_for_end(self):
        try:
            status = self.process.wait(HALT)
        except subprocess.TimeoutExpired:
            raise Failure(f"the machine does not turn itself off:\n{self.last_words()}") from None
        if status != 0:
            raise Failure(f"distri-mkimage boot ended with {status}:\n{self.last_words()}")
        if "FAILED" in self.last_words():
            raise Failure(f"not all ended as it should:\n{self.last_words()}")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


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
        deadline = time.monotonic() + 30
        while not (folder / "port").exists() or not (folder / "port").read_text().strip():
            if time.monotonic() > deadline or self.server.poll() is not None:
                raise Failure("distri-fetch serve does not start")
            time.sleep(0.1)
        # What qemu calls the host.
        self.address = f"http://10.0.2.2:{(folder / 'port').read_text().strip()}"

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
        name = f"greet-amd64-{version}.0-{version}"
        image = self.folder / "store" / f"{name}.squashfs"
        run("mksquashfs", tree, image, "-all-root", "-quiet", "-no-progress", "-noI", "-noD", "-noF", "-noX", stdout=subprocess.DEVNULL)
        (self.folder / "store" / f"{name}.meta.textproto").write_text(f'version: "{version}.0-{version}"\n')
        run(self.tools / "distri-fetch", "publish", self.folder / "store", "--out", self.folder / "repo", "--keys",
            self.folder / "keys", stdout=subprocess.DEVNULL)  # fmt: skip

    def stop(self):
        self.server.terminate()
        self.server.wait(30)


class Test:
    def __init__(self, tools, folder):
        self.tools, self.folder, self.log = tools, folder, []
        for part in ("store", "debs", "run"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self.key = folder / "key"
        if not self.key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", self.key)

    def say(self, what, result=""):
        lines = str(result).strip().splitlines()
        self.log.append((what, lines))
        print(f"{what}: {lines[0] if lines else 'yes'}{' …' if len(lines) > 1 else ''}", flush=True)

    def check(self, machine, command, expected, timeout=COMMAND):
        result = machine.run(command, timeout)
        if expected not in result:
            raise Failure(f"«{command}» says «{result.strip()}», without «{expected}»")
        self.say(f"`{command}`", result)

    def make_image(self):
        """Imports what is missing, and builds the image twice unless the images of the same inputs are there."""
        lock = self.folder / "server.import.lock"
        if not lock.exists():
            shutil.copy(HERE / lock.name, lock)
        # The first time, what the archive has today: it may have dropped what the committed lock names.
        imported = output_of(
            self.tools / "distri-build", "import", "--store", self.folder / "store", "--debs", self.folder / "debs",
            "--definition", HERE / "server.import.textproto", "--lock", lock,
            *([] if (self.folder / "imported").exists() else ["--update-lock"]))  # fmt: skip
        (self.folder / "imported").write_text(imported)
        self.say("packages", len(imported.split()))
        inputs = hashlib.sha256((HERE / "image.textproto").read_bytes() + imported.encode() + self.key.with_suffix(".pub").read_bytes())
        for tool in ("distri-mkimage", "distri-fuse", "distri-fetch", "distri-init"):
            inputs.update(digest(self.tools / tool).encode())
        state = self.folder / "built.json"
        if state.exists() and json.loads(state.read_text())["inputs"] == inputs.hexdigest():
            built = json.loads(state.read_text())
        else:
            built = {"inputs": inputs.hexdigest(), "digests": []}
            for place in ("second.img", "server.img"):
                started = time.monotonic()
                run(self.tools / "distri-mkimage", "build", HERE / "image.textproto", "--store", self.folder / "store",
                    "--authorized-keys", self.key.with_suffix(".pub"), "-o", self.folder / place)  # fmt: skip
                built["seconds"] = round(time.monotonic() - started, 1)
                built["digests"].append(digest(self.folder / place))
            (self.folder / "second.img").unlink()
            state.write_text(json.dumps(built))
        first, second = built["digests"]
        if first != second:
            raise Failure(f"two builds of the same packages differ: {first} {second}")
        self.say("the second build of the image, seconds", built["seconds"])
        self.say("SHA-256 of the disk with the key of this test, both builds", first)

    def look_around(self, machine):
        self.check(machine, "hostnamectl", "Operating System: distri")
        self.check(machine, "systemctl is-system-running --wait", "running", BOOT)
        if machine.run("systemctl --failed --plain --no-legend").strip():
            raise Failure("units failed: " + machine.run("systemctl --failed"))
        self.say("no unit has failed")
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

    def compile(self, machine):
        machine.run("mkdir -p /root/hello; cat > /root/hello/hello.go", input='package main\n\nfunc main() { println("hello from go") }\n')
        self.check(machine, "cd /root/hello && HOME=/root go run hello.go 2>&1", "hello from go", COMPILE)

    def run(self):
        self.make_image()
        folder = self.folder / "run"
        disk = folder / "server.img"
        run("cp", "--sparse=always", "--reflink=auto", self.folder / "server.img", disk)
        # Larger than what the image is made for.
        os.truncate(disk, disk.stat().st_size + (2 << 30))
        machine = repository = None
        try:
            repository = Repository(self.tools, folder / "repository")
            started = time.monotonic()
            machine = Machine(self.tools, disk, folder, self.key)
            machine.wait_for_login()
            self.say("on UEFI, from power on to a login by SSH with emulated processors, seconds", round(time.monotonic() - started))
            self.look_around(machine)
            self.check(machine, "df -BG --output=size / | tail -n 1", "10G")
            self.use_packages(machine, repository)
            self.check(machine, "docker info 2>/dev/null | grep -E 'Storage Driver|Cgroup Version'", "overlay2")
            self.compile(machine)
            keys = machine.run("cat /etc/ssh/ssh_host_*.pub /etc/machine-id")
            machine.leave("systemctl reboot")
            machine.wait_for_end()
            machine = Machine(self.tools, disk, folder, self.key, "--bios")
            machine.wait_for_login()
            if machine.run("cat /etc/ssh/ssh_host_*.pub /etc/machine-id") != keys:
                raise Failure("a reboot changed the keys or the name of the machine")
            self.say("the same machine after a reboot, on a BIOS")
            self.look_around(machine)
            self.check(machine, "greet", "version 1")
            machine.leave("systemctl poweroff")
            machine.wait_for_end()
            self.say("off")
            self.check_disk(disk)
        finally:
            for part in (machine, repository):
                if part:
                    part.stop()

    def check_disk(self, disk):
        tools = {**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}
        table = json.loads(output_of("sfdisk", "--json", disk, env=tools, timeout=COMMAND))["partitiontable"]
        root = max(table["partitions"], key=lambda partition: partition["size"])
        name = f"{disk}?offset={root['start'] * table.get('sectorsize', 512)}"
        checked = subprocess.run(["e2fsck", "-fn", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=COMMAND, env=tools)
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
        (HERE / "LOG.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    test = Test(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve())
    try:
        test.run()
    except (Failure, subprocess.SubprocessError) as failure:
        sys.exit(f"server.py: {failure}")
    test.write_log()
