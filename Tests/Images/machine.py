# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""What the tests of images share: processes, and a virtual machine that is used over SSH and through qemu's monitor."""

import contextlib
import os
import signal
import socket
import subprocess
import time

# Seconds. The machine is emulated: everything takes ten times as long as on a real one.
BOOT, COMMAND, COMPILE, HALT = 600, 180, 1200, 240


class Failure(Exception):
    pass


def run(*command, timeout=1800, **options):
    return subprocess.run([str(word) for word in command], check=True, timeout=timeout, **options)


def output_of(*command, **options):
    return run(*command, stdout=subprocess.PIPE, text=True, **options).stdout


def wait_until(condition, what, seconds, pause=0.2):
    """Polls until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not after {seconds} s")
        time.sleep(pause)


class Machine:
    """A virtual machine of `distri-mkimage boot`, its console in a file, and its sshd at a port of ours.

    As a context it is stopped at the end, and a failure comes with the end of what the console says.
    """

    def __init__(self, tools, disk, folder, key, *flags, name="server", user="root", writes=True):
        self.key, self.console, self.name, self.user = key, folder / "console.log", name, user
        self.typed = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [tools / "distri-mkimage", "boot", disk, *(["--write"] if writes else []), "--ssh", str(self.port), *flags]
        # A group of its own, so that what it starts ends with it.
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=console, stderr=console, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.stop()
        if isinstance(error, (Failure, subprocess.SubprocessError)):
            raise Failure(f"{error}\nthe end of {self.console}:\n{self.last_words()}") from error

    def wait_for_console(self, text):
        """Waits until the console has said something since something was typed there."""

        def says():
            if text.encode() in self.console.read_bytes()[self.typed :]:
                return True
            if self.process.poll() is not None:
                raise Failure(f"the machine stopped before the console said «{text}»")
            return False

        wait_until(says, f"«{text}» on the console", BOOT)

    def wait_for_login(self):
        """Waits until the console asks for a name, and sshd lets us in."""
        self.wait_for_console(f"{self.name} login: ")
        attempt = self.ssh("true")
        wait_until(
            lambda: subprocess.run(attempt, stderr=subprocess.DEVNULL, timeout=COMMAND).returncode == 0, "an answer of sshd", BOOT)

    def last_words(self):
        return self.console.read_bytes()[-3000:].decode(errors="replace")

    def ssh(self, command):
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=30", "BatchMode=yes"]
        words = [word for option in options for word in ("-o", option)]
        return ["ssh", "-i", str(self.key), "-p", str(self.port), *words, f"{self.user}@127.0.0.1", command]

    def run(self, command, timeout=COMMAND, **options):
        done = subprocess.run(
            self.ssh(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **options)
        if done.returncode != 0:
            raise Failure(f"«{command}» ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def send(self, path, place):
        """Puts a file of ours into the machine."""
        with open(path, "rb") as file:
            done = subprocess.run(self.ssh(f"cat > '{place}'"), stdin=file, stderr=subprocess.PIPE, text=True, timeout=COMMAND)
        if done.returncode != 0:
            raise Failure(f"{path} does not get to {place}: {done.stderr}")

    def type(self, text):
        """Types on the console."""
        self.typed = self.console.stat().st_size
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def monitor(self, command):
        """Gives qemu's monitor a command; Ctrl-A C leads to it and back."""
        self.type(f"\x01c{command}\n\x01c")

    def pull_the_plug(self):
        """Ends the machine at once: what it has not written is lost."""
        with contextlib.suppress(BrokenPipeError):
            self.monitor("quit")
        self.process.wait(HALT)

    def leave(self, command):
        """Reboots or turns off, and waits for that. The connection may go before the command ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(self.ssh(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=COMMAND)
        self.wait_for_end()

    def wait_for_end(self):
        try:
            status = self.process.wait(HALT)
        except subprocess.TimeoutExpired:
            raise Failure("the machine does not turn itself off") from None
        if status != 0:
            raise Failure(f"distri-mkimage boot ended with {status}")
        if "FAILED" in self.last_words():
            raise Failure("not all ended as it should")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
