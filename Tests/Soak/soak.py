# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""A view under load while its store changes: every change is seen soon, every byte is right, memory and descriptors stay flat.

soak.py BIN      BIN holds the tools. SOAK_SECONDS (3600) is how long, SOAK_SEED (1) what happens. Needs root.

The end is a line for each fact and the exit status 0, or 1 after a line for each thing that was not as it should be.
"""

import hashlib
import multiprocessing
import os
import queue
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import load  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
# In seconds: of a hundred changes ninety-nine are seen within the first, all within the second, which is for a machine that is busy with
# something else.
SOON, AT_LAST = 0.1, 2.0
# How many kilobytes more than early the daemon may have late, and how many parts of what it had.
SPARE_KILOBYTES, SPARE_SHARE = 4096, 0.15

PROGRAM = """
import sys
print("ready", flush=True)
sys.stdin.readline()
import hashlib, json, re, socket, subprocess, zlib
print(hashlib.sha256(open("/proc/self/exe", "rb").read()).hexdigest(), sum(range(100000)), zlib.crc32(b"x"), flush=True)
"""


class Soak:
    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder
        self.random = random.Random(SEED)
        self.store, self.view, self.images = (os.path.join(folder, name) for name in ("root/roimg", "ro", "images"))
        for path in (self.store, self.view, self.images):
            os.makedirs(path)
        self.errors, self.latencies, self.counts, self.samples = [], [], {}, []
        self.expected, self.there = {}, set()
        self.daemon = None

    # Preparation

    def pack(self, package, files, options, programs=()):
        tree = tempfile.mkdtemp(dir=self.folder)
        for name, data in files.items():
            path = os.path.join(tree, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        for name, source in programs:
            os.makedirs(os.path.join(tree, os.path.dirname(name)), exist_ok=True)
            shutil.copy(os.path.realpath(source), os.path.join(tree, name))
        image = os.path.join(self.images, package + ".squashfs")
        subprocess.run(["mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", *options], check=True)
        with open(os.path.join(self.images, package + ".meta.textproto"), "w") as file:
            file.write(f'version: "{package.split("-amd64-")[1]}"\n')
        shutil.rmtree(tree)

    def prepare(self):
        plain = ["-noI", "-noD", "-noF", "-noX", "-no-fragments"]
        kinds = [plain, ["-comp", "zstd"], plain, ["-comp", "lz4"], ["-comp", "gzip", "-b", "16K"]]
        for index in range(5):
            package = f"keep{index}-amd64-1-1"
            files = {f"out/lib/keep{index}/f{n}": self.random.randbytes(self.random.choice([0, 1, 5000, 70_000, 900_000])) for n in range(30)}
            files[f"bin/keep{index}"] = b"keep"
            self.pack(package, files, kinds[index])
            for name, data in files.items():
                self.expected[f"{package}/{name}"] = hashlib.sha256(data).hexdigest()
                self.expected[name.removeprefix("out/")] = hashlib.sha256(data).hexdigest()
            self.add(package)
        for index in range(12):
            for revision in (1, 2):
                text = f"package {index} {revision}\n".encode()
                self.pack(
                    f"come{index}-amd64-1-{revision}",
                    {f"bin/come{index}": text, f"out/share/doc/come{index}/text": text * 5000, f"out/lib/come{index}.so": text}, kinds[index % 5])
        self.pack("copied-amd64-1-1", {"bin/copied": b"copied\n", "out/share/copied/data": self.random.randbytes(3_000_000)}, plain)
        self.pack("running-amd64-1-1", {}, plain, [("bin/running", "/usr/bin/python3")])
        # A repository of one package, which is installed and removed.
        self.pack("fetched-amd64-1-1", {"bin/fetched": b"fetched\n", "out/lib/fetched.so": b"fetched\n"}, plain)
        source, self.repository = os.path.join(self.folder, "source"), os.path.join(self.folder, "repository")
        os.makedirs(source)
        for suffix in (".meta.textproto", ".squashfs"):
            shutil.copy(os.path.join(self.images, "fetched-amd64-1-1" + suffix), source)
        self.tool("distri-fetch", "publish", source, "--out", self.repository)

    def tool(self, name, *arguments):
        done = subprocess.run([os.path.join(self.binaries, name), *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            self.errors.append(f"{name} {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    # Changes

    def add(self, package):
        """As a transaction does: metadata first, then the image, each by renaming."""
        for suffix in (".meta.textproto", ".squashfs"):
            temporary = os.path.join(self.store, "." + package + suffix)
            shutil.copyfile(os.path.join(self.images, package + suffix), temporary)
            start = time.monotonic()
            os.rename(temporary, os.path.join(self.store, package + suffix))
        self.there.add(package)
        return start

    def copy(self, package):
        """As a person does: cp, under the last name from the first byte on."""
        for suffix in (".meta.textproto", ".squashfs"):
            subprocess.run(["cp", os.path.join(self.images, package + suffix), self.store], check=True)
        self.there.add(package)
        return time.monotonic()

    def remove(self, package):
        start = time.monotonic()
        os.unlink(os.path.join(self.store, package + ".squashfs"))
        self.there.discard(package)
        try:
            os.unlink(os.path.join(self.store, package + ".meta.textproto"))
        except FileNotFoundError:
            pass
        return start

    def winner(self, name):
        versions = sorted(package for package in self.there if package.startswith(name + "-"))
        return versions[-1] if versions else None

    def is_seen(self, package, name):
        """Whether the view shows what the store has: the package, its link, and the listing of where the link is."""
        folder, link = os.path.join(self.view, package), os.path.join(self.view, "bin", name)
        winner = self.winner(name)
        if os.path.lexists(folder) != (package in self.there) or (name in os.listdir(os.path.join(self.view, "bin"))) != bool(winner):
            return False
        if not winner:
            return not os.path.lexists(link)
        try:
            if os.readlink(link) != f"../{winner}/bin/{name}":
                return False
            paths = [link] + ([os.path.join(folder, "bin", name)] if package in self.there else [])
            for path in paths:
                with open(path, "rb") as file:
                    if not file.read(1):
                        return False
            return True
        except OSError:
            return False

    def await_change(self, what, start, package):
        name = package.split("-amd64-")[0]
        while not self.is_seen(package, name):
            if time.monotonic() - start > AT_LAST + 8:
                self.errors.append(f"{what} {package} is not seen after {time.monotonic() - start:.1f} s")
                return
            time.sleep(0.0005)
        self.latencies.append((time.monotonic() - start, f"{what} {package}"))
        self.count(what)

    def count(self, what, number=1):
        self.counts[what] = self.counts.get(what, 0) + number

    def change(self):
        choice = self.random.random()
        if choice < 0.08:
            package = "copied-amd64-1-1"
            if package in self.there:
                self.await_change("rm of", self.remove(package), package)
            else:
                self.await_change("cp of", self.copy(package), package)
        elif choice < 0.14:
            package = "fetched-amd64-1-1"
            if package in self.there:
                self.await_change("rm of", self.remove(package), package)
            else:
                self.tool("distri-fetch", "install", "fetched", "--insecure-unsigned", "--root", os.path.join(self.folder, "root"), "--repo", self.repository)
                self.there.add(package)
                self.await_change("installation of", time.monotonic(), package)
                self.forget_generations()
        elif choice < 0.18:
            self.run_program()
        else:
            package = f"come{self.random.randrange(12)}-amd64-1-{self.random.choice([1, 2])}"
            if package in self.there:
                self.await_change("rm of", self.remove(package), package)
            else:
                self.await_change("mv of", self.add(package), package)

    def forget_generations(self):
        """The installation has selected what was there; without generations, the view shows whatever comes."""
        start = time.monotonic()
        os.rename(os.path.join(self.store, ".generations"), os.path.join(self.folder, "generations"))
        shutil.rmtree(os.path.join(self.folder, "generations"))
        for package in sorted(self.there):
            if package.startswith("come"):
                self.await_change("unselected", start, package)

    def run_program(self):
        """A program of a package goes on when the package has gone, and reads itself to the end."""
        package = "running-amd64-1-1"
        self.await_change("mv of", self.add(package), package)
        with open("/usr/bin/python3", "rb") as file:
            wanted = hashlib.sha256(file.read()).hexdigest()
        with subprocess.Popen(
                [os.path.join(self.view, "bin/running"), "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            program.stdout.readline()
            self.await_change("rm of", self.remove(package), package)
            output, _ = program.communicate("go on\n")
        if program.returncode != 0 or not output.startswith(wanted):
            self.errors.append(f"a program of a package that has gone ended with {program.returncode}: {output!r}")
        self.count("programs that outlived their package")

    # The daemon

    def start(self):
        reader, writer = os.pipe()
        self.daemon = subprocess.Popen(
            [os.path.join(self.binaries, "distri-fuse"), "mount", "--foreground", "--readiness-fd", str(writer), self.store, self.view],
            pass_fds=[writer], env={**os.environ, "SWIFT_BACKTRACE": "enable=no"})
        os.close(writer)
        with open(reader, "rb") as pipe:
            if not pipe.readline():
                sys.exit(f"distri-fuse mount ended with {self.daemon.wait()}")

    def servers(self):
        """The processes that a supervisor has started; none where the daemon itself serves."""
        found = subprocess.run(["pgrep", "-P", str(self.daemon.pid)], capture_output=True, text=True)
        return [int(number) for number in found.stdout.split()]

    def settle(self):
        """When changes pause, everything of packages that have gone is let go: only images of packages that are there stay open."""
        # The daemon looks for what somebody was in the middle of after a second, and twice as long each time, up to 64 s.
        end = time.monotonic() + 150
        allowed = self.idle_descriptors + 2 * len(self.there) + 4
        while (descriptors := self.usage()[1]) > allowed:
            if time.monotonic() > end:
                self.errors.append(f"{descriptors} descriptors are open for {len(self.there)} packages, at most {allowed} are needed")
                return
            time.sleep(0.1)

    def usage(self):
        """Kilobytes and descriptors of the daemon's processes; more than there can be of both when one ended meanwhile."""
        resident = descriptors = 0
        for process in [self.daemon.pid, *self.servers()]:
            try:
                with open(f"/proc/{process}/status") as file:
                    resident += next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
                descriptors += len(os.listdir(f"/proc/{process}/fd"))
            except (OSError, StopIteration):
                return 1 << 40, 1 << 40
        return resident, descriptors

    def sample(self, start):
        resident, descriptors = self.usage()
        if descriptors < 1 << 40:
            self.samples.append((time.monotonic() - start, resident, descriptors))

    def run(self):
        self.prepare()
        self.start()
        is_supervised = bool(self.servers())
        self.idle_descriptors = self.usage()[1]
        stop, report = multiprocessing.Event(), multiprocessing.Queue()
        changing = ["come", "copied", "running", "fetched"]
        users = [multiprocessing.Process(target=load.read, args=(self.view, self.expected, stop, report, n)) for n in range(2)]
        users.append(multiprocessing.Process(target=load.walk, args=(self.view, changing, stop, report)))
        for user in users:
            user.start()
        start = time.monotonic()
        next_kill, next_sample, has_settled = SECONDS * 0.75, 0.0, False
        while (now := time.monotonic() - start) < SECONDS and len(self.errors) < 20:
            self.change()
            if now > next_sample:
                self.sample(start)
                next_sample = now + max(0.2, SECONDS / 2000)
            if now > SECONDS * 0.75 and not has_settled:
                self.settle()
                has_settled = True
                start += time.monotonic() - start - now
                continue
            # Kills come last: memory is compared before them.
            if is_supervised and now > next_kill:
                for server in self.servers():
                    os.kill(server, 9)
                    self.count("servers killed")
                next_kill = now + max(1.0, SECONDS / 400)
            if self.daemon.poll() is not None:
                self.errors.append(f"the daemon ended with {self.daemon.returncode}")
                break
            time.sleep(0.005)
        stop.set()
        self.collect(users, report)
        status = self.tool("distri-fuse", "status", self.view)
        if len(status.splitlines()) != 1:
            self.errors.append(f"the view finds damage in sound images: {status}")
        self.tool("distri-fuse", "unmount", self.view)
        try:
            if self.daemon.wait(timeout=20) != 0:
                self.errors.append(f"the daemon ended with {self.daemon.returncode}")
        except subprocess.TimeoutExpired:
            self.errors.append("the daemon does not end after it was unmounted")
        if os.environ.get("SOAK_SAMPLES"):
            print("\n".join(f"{time:.1f} s: {memory} kB, {files} descriptors" for time, memory, files in self.samples))
        self.judge(SECONDS * (0.75 if is_supervised else 1))
        if not is_supervised:
            print("no supervisor: no server was killed")

    def collect(self, users, report):
        end = time.monotonic() + 60
        while any(user.is_alive() for user in users) or not report.empty():
            try:
                kind, value = report.get(timeout=0.1)
            except queue.Empty:
                if time.monotonic() > end:
                    self.errors.append("a reader does not end: a request is unanswered")
                    for user in users:
                        user.kill()
                    break
                continue
            if kind == "error":
                self.errors.append(value)
            elif kind == "count":
                self.count(*value)
            else:
                print(f"the longest time for {value[0]}: {value[1] * 1000:.0f} ms")

    # The verdict

    def judge(self, until):
        for what, number in sorted(self.counts.items()):
            print(f"{what}: {number}")
        times = sorted(self.latencies)
        if len(times) < 20:
            self.errors.append(f"only {len(times)} changes were seen")
            return
        late = [entry for entry in times if entry[0] > SOON]
        print(
            f"{len(times)} changes seen after a median of {times[len(times) // 2][0] * 1000:.1f} ms, "
            f"99 of 100 within {times[len(times) * 99 // 100][0] * 1000:.1f} ms, the worst {times[-1][0] * 1000:.1f} ms: {times[-1][1]}")
        if len(late) * 100 > len(times) or times[-1][0] > AT_LAST:
            self.errors.append(f"{len(late)} of {len(times)} changes are seen after more than {SOON * 1000:.0f} ms, the worst: {times[-1]}")
        early = [sample for sample in self.samples if until / 4 < sample[0] < until / 2]
        last = [sample for sample in self.samples if until * 3 / 4 < sample[0] < until]
        if not early or not last:
            self.errors.append("too few samples of the daemon's memory: run for longer")
            return
        (memory, later), (files, later_files) = (
            [statistics.median(sample[field] for sample in part) for part in (early, last)] for field in (1, 2))
        # Under load, packages wait to be let go; settle() has judged what is left of that.
        print(f"RssAnon: {memory:.0f} kB early, {later:.0f} kB late; descriptors: {files:.0f} early, {later_files:.0f} late")
        if later > memory + max(SPARE_KILOBYTES, memory * SPARE_SHARE):
            self.errors.append(f"the daemon's memory grows: {memory:.0f} kB early, {later:.0f} kB late")


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    folder = tempfile.mkdtemp(prefix="distri-soak-")
    soak = Soak(os.path.abspath(sys.argv[1]), folder)
    print(f"{SECONDS:.0f} s, seed {SEED}", flush=True)
    try:
        soak.run()
    finally:
        if soak.daemon and soak.daemon.poll() is None:
            soak.daemon.terminate()
            try:
                soak.daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                soak.daemon.kill()
        if os.path.ismount(soak.view):
            subprocess.run(["umount", "-l", soak.view])
        shutil.rmtree(folder, ignore_errors=True)
    for error in soak.errors[:40]:
        print(f"error: {error}")
    print("soak: " + ("all is well" if not soak.errors else f"{len(soak.errors)} errors; SOAK_SEED={SEED} repeats what happened"))
    sys.exit(1 if soak.errors else 0)


if __name__ == "__main__":
    main()
