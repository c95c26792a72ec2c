#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""desktop.py [--debs DIR] [--picture] BIN DIR: builds Examples/images/desktop twice, boots it, and looks at its screen.

As server.py. The screen must look like docs/desktop.png; --picture takes a new one. Writes what it found to Examples/images/desktop/LOG.md.
"""

import argparse
import json
import pathlib
import socket
import time

from image import EXAMPLES, ImageTest, main
from machine import BOOT, Failure, Machine, run, wait_until
from screen import difference, fields, read_png, write_png

PICTURE = EXAMPLES.parents[1] / "docs/desktop.png"
# A clock and the identifiers in the terminal change. Were the terminal empty, it would be 5; without the browser 19; a console 220.
TOLERANCE = 3


class DesktopTest(ImageTest):
    def __init__(self, tools, folder, debs, takes_picture):
        super().__init__(tools, folder, "desktop")
        self.debs, self.takes_picture = debs, takes_picture

    def windows(self, machine):
        """The classes of the windows that i3 manages."""
        tree = json.loads(machine.run("i3-msg -s /run/user/1000/i3/ipc-socket.* -t get_tree"))
        found, pending = [], [tree]
        while pending:
            node = pending.pop()
            found += [node["window_properties"]["class"]] if node.get("window_properties") else []
            pending += node["nodes"] + node["floating_nodes"]
        return sorted(found)

    def take_picture(self, machine, name):
        path = self.work / name
        path.unlink(missing_ok=True)
        machine.monitor(f"screendump {path} -f png")
        wait_until(lambda: path.exists() and path.read_bytes()[-8:-4] == b"IEND", "a picture of the screen", 60)
        return path

    def wait_for_windows(self, machine):
        def both():
            try:
                return {"XTerm", "Netsurf"} <= set(self.windows(machine))
            except Failure:
                return False

        wait_until(both, "a terminal and a browser in i3", BOOT, pause=2)

    def compare(self, machine):
        """Waits until the screen looks as it should; the console of the start must not look like that."""
        expected = fields(PICTURE)
        seen = []

        def looks_right():
            seen.append(difference(fields(self.take_picture(machine, "screen.png")), expected))
            return seen[-1] <= TOLERANCE

        try:
            wait_until(looks_right, "a screen like docs/desktop.png", 120, pause=3)
        except Failure as failure:
            raise Failure(f"{failure}; {self.work / 'screen.png'} differs by {seen[-1]:.1f}, {TOLERANCE} is allowed") from None
        self.say(f"difference of the screen and docs/desktop.png, of at most {TOLERANCE}", f"{seen[-1]:.1f}")
        before = difference(fields(self.work / "start.png"), expected)
        black = difference([(0, 0, 0)] * len(expected), expected)
        if min(before, black) < 2 * TOLERANCE:
            raise Failure(f"docs/desktop.png looks like the console ({before:.1f}) or an empty screen ({black:.1f})")
        self.say("difference of the screen at the start, and of a black one", f"{before:.1f}, {black:.1f}")

    def run(self):
        imported, store = self.import_packages(self.debs, "desktop")
        self.say("packages", len(imported.split()))
        image = self.make_image(imported, store, "--authorized-keys", self.key.with_suffix(".pub"))
        disk = self.work / "disk.img"
        run("cp", "--sparse=always", "--reflink=auto", image, disk)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        started = time.monotonic()
        with Machine(self.tools, disk, self.work, self.key, "--vnc", str(port), "--memory", "2048", name="desktop") as machine:
            machine.wait_for_console("distri")
            self.take_picture(machine, "start.png")
            machine.wait_for_login()
            self.wait_for_windows(machine)
            self.say("from power on to a terminal and a browser on the screen, seconds", round(time.monotonic() - started))
            self.look_around(machine)
            self.check(machine, "systemctl is-active desktop", "active")
            self.check(machine, "loginctl list-sessions --no-legend | grep seat0", "user")
            self.check(machine, "ps -o user= -C Xorg", "user")
            self.say("windows", " ".join(self.windows(machine)))
            if self.takes_picture:
                write_png(PICTURE, *read_png(self.take_picture(machine, "screen.png")))
            self.compare(machine)
            machine.leave("systemctl poweroff")
        self.check_disk(disk)
        self.write_log()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--debs", type=pathlib.Path)
    parser.add_argument("--picture", action="store_true")
    parser.add_argument("tools", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    folder = options.folder.resolve()
    test = DesktopTest(options.tools.resolve(), folder, (options.debs or folder / "debs").resolve(), options.picture)
    main("desktop.py", test.run)
