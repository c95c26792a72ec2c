# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""An image on an encrypted root that systemd runs: it is opened by a passphrase on the serial console, grows, and is closed at the end."""

import os
import time

from machine import COMPILE, Failure, Machine, run

PASSPHRASE = "correct horse"


def check_encrypted(test, store):
    """Builds the image of a test with --encrypt, and starts it twice."""
    disk, secret = test.work / "encrypted.img", test.work / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    run(test.tools / "distri-mkimage", "build", test.description, "--store", store, "--encrypt", "--passphrase-file", secret,
        "--authorized-keys", test.key.with_suffix(".pub"), "-o", disk)  # fmt: skip
    os.truncate(disk, disk.stat().st_size + (2 << 30))
    test.say("on an encrypted root")
    for verb in ("reboot", "poweroff"):
        started = time.monotonic()
        with Machine(test.tools, disk, test.work, test.key) as machine:
            machine.wait_for_console("Passphrase for ")
            machine.type(PASSPHRASE + "\n")
            machine.wait_for_login()
            test.say("from power on to a login by SSH with emulated processors, seconds", round(time.monotonic() - started))
            test.check(machine, "findmnt -no SOURCE /", "/dev/dm-0")
            test.check(machine, "systemctl is-system-running --wait", "running", 600)
            # Its partition and the device on that have grown with the disk.
            test.check(machine, "df -BG --output=size / | tail -n 1", "10G")
            if "recovery" in machine.run("dmesg | grep 'EXT4-fs (dm-0)'"):
                raise Failure("the file system was not unmounted before")
            if verb == "reboot":
                # The next start is with an initramfs that the machine has made.
                test.check(machine, "distri-mkimage boot-entry --force && cat /boot/loader/loader.conf", "default distri-", COMPILE)
            machine.leave(f"systemctl {verb}")
            words = [line for line in machine.last_words().splitlines() if "distri-init:" in line]
            if len(words) != 1 or not words[0].endswith(" is closed"):
                raise Failure(f"the end of the machine was not as it should be: {words}")
        test.say(f"the device was closed at `systemctl {verb}`")
    disk.unlink()
