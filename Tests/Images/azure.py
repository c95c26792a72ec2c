# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""What Azure wants of a disk, looked up in the disk itself; and that it boots."""

import json
import struct
import subprocess
import time

from image import ADMINISTRATION
from machine import COMMAND, Failure, Machine, output_of, run

# Files of the root, and a line that must be in each.
FILES = {
    "/etc/shadow": "root:*:",
    "/etc/ssh/sshd_config": "PasswordAuthentication no",
    "/etc/systemd/network/80-ethernet.network": "DHCP=yes",
}


def check_azure(test, store):
    """Builds the image of a test with --azure, and checks the disk."""
    disk, key = test.work / "azure.vhd", test.key.with_suffix(".pub")
    command = [test.tools / "distri-mkimage", "build", test.description, "--store", store, "--azure", "-o", disk]
    refused = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=COMMAND)
    if refused.returncode != 64 or "nobody could log in" not in refused.stderr:
        raise Failure(f"--azure without a key ended with {refused.returncode}: {refused.stderr}")
    run(*command, "--authorized-keys", key)
    check_footer(disk)
    root = test.root_of(disk)
    for path, line in {**FILES, "/root/.ssh/authorized_keys": key.read_text().strip()}.items():
        contents = output_of("debugfs", "-R", f"cat {path}", root, env=ADMINISTRATION, stderr=subprocess.DEVNULL, timeout=COMMAND)
        if line not in contents:
            raise Failure(f"{path} of the disk for Azure does not have «{line}»: {contents}")
    getty = "/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"
    if "symlink" not in output_of("debugfs", "-R", f"stat {getty}", root, env=ADMINISTRATION, stderr=subprocess.DEVNULL, timeout=COMMAND):
        raise Failure(f"the disk for Azure has no login on the serial port: {getty} is no link")
    entries = json.dumps(json.loads(output_of(test.tools / "distri-mkimage", "inspect", "--json", disk, timeout=COMMAND)))
    if "console=ttyS0" not in entries:
        raise Failure("the kernel of the disk for Azure says nothing on the serial port")
    test.say("for Azure: whole MiB and a footer, a key, no password, DHCP, the serial port")
    boot(test, disk)
    disk.unlink()


def boot(test, disk):
    """Starts the disk as it is, as machines of the second generation with NVMe do: qemu has neither Hyper-V's disks nor its network."""
    started = time.monotonic()
    with Machine(test.tools, disk, test.work, test.key, "--disk", "nvme", writes=False) as machine:
        machine.wait_for_login()
        test.say("for Azure: from power on to a login by SSH with emulated processors, seconds", round(time.monotonic() - started))
        test.check(machine, "ip route show default", "proto dhcp")
        test.check(machine, "systemctl is-system-running --wait", "running", 600)
        machine.leave("systemctl poweroff")


def check_footer(disk):
    """Virtual Hard Disk Image Format Specification: big-endian, at the end of a fixed disk."""
    size = disk.stat().st_size
    with open(disk, "rb") as file:
        file.seek(size - 512)
        footer = file.read(512)
    (current,), (kind,) = struct.unpack_from(">Q", footer, 48), struct.unpack_from(">I", footer, 60)
    if footer[:8] != b"conectix" or kind != 2 or current != size - 512 or current % (1 << 20):
        raise Failure(f"the disk for Azure has {size} bytes, and a footer {footer[:8]!r} of kind {kind} that says {current}")
