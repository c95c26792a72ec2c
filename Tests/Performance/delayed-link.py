# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""delayed-link.py MILLISECONDS MEGABITS SERVER -- CLIENT…: runs a client behind a slow line.

SERVER is a shell command that serves on 10.9.0.1, CLIENT a command that asks it; they live in network namespaces of their own, and every
packet between them takes so many milliseconds each way, at so many megabits a second. What `tc netem` does where the kernel has it: packets
of the size that loopback has, between two TUN devices. Ends with the client's status. Needs root and ip.
"""

import collections
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
MTU = 65535


def tun(namespace, address):
    """A TUN device in a new network namespace, and the namespace's file."""
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    os.setns(there) if hasattr(os, "setns") else setns(there)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"line", IFF_TUN | IFF_NO_PI))
    for command in (["addr", "add", f"{address}/24", "dev", "line"], ["link", "set", "line", "mtu", str(MTU), "up"],
                    ["link", "set", "line", "txqueuelen", "10000"], ["link", "set", "lo", "up"]):
        subprocess.run(["ip", *command], check=True)
    setns(own)
    os.close(own)
    os.close(there)
    return device


def setns(descriptor):
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def carry(devices, delay, rate, ended):
    """Moves packets between the devices until the client has ended."""
    queues = [collections.deque(), collections.deque()]
    free = [0.0, 0.0]
    while not ended():
        now = time.monotonic()
        due = min((queue[0][0] for queue in queues if queue), default=now + 0.05)
        ready, _, _ = select.select(devices, [], [], max(0, min(due - now, 0.05)))
        now = time.monotonic()
        for side in (0, 1):
            if devices[side] in ready:
                try:
                    while True:
                        packet = os.read(devices[side], MTU + 64)
                        free[side] = max(free[side], now) + len(packet) / rate
                        queues[side].append((free[side] + delay, packet))
                except BlockingIOError:
                    pass
            while queues[side] and queues[side][0][0] <= now:
                try:
                    os.write(devices[1 - side], queues[side].popleft()[1])
                except OSError:
                    pass  # The network is going away.


def main():
    split = sys.argv.index("--")
    milliseconds, megabits, server = sys.argv[1:split]
    client = sys.argv[split + 1:]
    names = [f"distri-{os.getpid()}-{side}" for side in ("client", "server")]
    processes = []
    try:
        devices = [tun(names[0], "10.9.0.2"), tun(names[1], "10.9.0.1")]
        processes.append(subprocess.Popen(["ip", "netns", "exec", names[1], "sh", "-c", server], start_new_session=True))
        time.sleep(0.5)
        processes.append(subprocess.Popen(["ip", "netns", "exec", names[0], *client]))
        carry(devices, float(milliseconds) / 1000, float(megabits) * 125_000, lambda: processes[1].poll() is not None)
        return processes[1].returncode
    finally:
        if processes and processes[0].poll() is None:
            os.killpg(processes[0].pid, signal.SIGTERM)
            processes[0].wait()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


sys.exit(main())
