#!/usr/bin/env python3
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""boot.py BIN STORE WORK [RUNS]: how long Examples/images/server takes to boot, beside a plain Debian 12 with the same services.

STORE has the packages of the server, as `make test-images` leaves them in `.build/images/server/store`; it is best on the day of the import, so that both have
the same kernel. Makes both images below WORK, unless they are there, and boots them in turn in the same emulated machine. Debian's is
made by mmdebstrap (which has to be installed) and has its own initramfs, of initramfs-tools. Measured are, in seconds: the
kernel's clock when systemd, the first process of the root, speaks for the first time; from the start of the emulator to a login on the serial console.
Prints medians as a Markdown table. Root only, for the sake of Debian's image.
"""

import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import uuid

DESCRIPTION = pathlib.Path(__file__).resolve().parents[2] / "Examples/images/server/image.textproto"
PACKAGES = [
    "systemd-sysv", "udev", "dbus", "systemd-resolved", "systemd-timesyncd", "libnss-systemd", "libpam-systemd", "openssh-server", "docker.io", "iptables",
    "python3", "perl", "golang-go", "nano", "curl", "git", "iproute2", "kmod", "initramfs-tools", "linux-image-cloud-amd64", "ca-certificates",
]  # fmt: skip
FIRST = re.compile(rb"\[ *([0-9.]+)\] systemd\[1\]: ")
# Seconds after which a machine that says nothing is stopped.
PATIENCE = 600


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def make_ours(tools, store, image):
    run(tools / "distri-mkimage", "build", DESCRIPTION, "--store", store, "--layout", "direct", "-o", image)


def make_debian(image):
    tree = image.with_name("tree")
    shutil.rmtree(tree, ignore_errors=True)
    # From where this machine has its packages.
    sources = sorted(pathlib.Path("/etc/apt").glob("sources.list")) + sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*.sources"))
    run("mmdebstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), "bookworm", tree, *sources)
    (tree / "etc/hostname").write_text("debian\n")
    (tree / "etc/systemd/network/80-ethernet.network").write_text("[Match]\nType=ether\n\n[Network]\nDHCP=yes\n")
    run("systemctl", f"--root={tree}", "enable", "systemd-networkd", "systemd-resolved")
    unfinished = image.with_name("debian.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name, kind in (("vmlinuz", "vmlinuz-*"), ("initramfs", "initrd.img-*")):
        (file,) = (tree / "boot").glob(kind)
        shutil.copy(file, unfinished / name)
    identity = str(uuid.uuid4())
    (tree / "etc/fstab").write_text(f"UUID={identity} / ext4 defaults 0 1\n")
    (unfinished / "cmdline").write_text(f"root=UUID={identity} rw console=ttyS0\n")
    run("mke2fs", "-q", "-t", "ext4", "-U", identity, "-d", tree, unfinished / "disk.img", "8G")
    shutil.rmtree(tree)
    unfinished.rename(image)


def boot(tools, image):
    """One boot; the two times."""
    command = [tools / "distri-mkimage", "boot", image, "--timeout", str(PATIENCE), "--append", "loglevel=7"]
    started = time.monotonic()
    machine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    said = b""
    try:
        while b" login: " not in said:
            chunk = os.read(machine.stdout.fileno(), 65536)
            if not chunk:
                sys.exit(f"{image} does not boot:\n{said[-3000:].decode(errors='replace')}")
            said += chunk
        login = time.monotonic() - started
    finally:
        os.killpg(machine.pid, signal.SIGKILL)
        machine.wait()
    first = FIRST.search(said)
    if not first:
        sys.exit(f"{image}: systemd does not say when it began")
    return float(first[1]), login


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    tools, store, work = (pathlib.Path(word).resolve() for word in sys.argv[1:4])
    runs = int((sys.argv + ["3"])[4])
    work.mkdir(parents=True, exist_ok=True)
    images = {"distri": work / "ours", "Debian 12": work / "debian"}
    if not images["distri"].exists():
        make_ours(tools, store, images["distri"])
    if not images["Debian 12"].exists():
        make_debian(images["Debian 12"])
    # Nothing of a boot stays: each is a first one.
    results = {name: [] for name in images}
    for _ in range(runs):
        for name, image in images.items():
            results[name].append(boot(tools, image))
            print(f"{name}: {results[name][-1]}", file=sys.stderr, flush=True)
    medians = {name: [statistics.median(times) for times in zip(*rows)] for name, rows in results.items()}
    base = medians["Debian 12"]
    print("| | first process of the root, s | | login, s | |\n|---|---:|---:|---:|---:|")
    for name, (first, login) in medians.items():
        print(f"| {name} | {first:.1f} | {first / base[0]:.2f} | {login:.1f} | {login / base[1]:.2f} |")


if __name__ == "__main__":
    main()
