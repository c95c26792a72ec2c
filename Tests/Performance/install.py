# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""install.py BIN [STORE DEBS [RUNS]]: what installing costs, beside the tools that move the same bytes or the same software.

STORE and DEBS are what Examples/definitions/bootstrap.import.textproto imports, and from what; without them, both are made below $DISTRI_BENCH. The repository is
signed, and served by nginx. Before each run the page cache is dropped and the server's files are read again: the client is cold, the
server is not. Needs nginx, curl, dpkg, ip and root; about four times the store's size below $DISTRI_BENCH.
"""

import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFINITIONS = HERE.parent.parent / "Examples/definitions"
PORT = 8970
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, **options)


def without_scripts(deb, target):
    """A copy of a package that has no script to run before it is unpacked: those need a system around them."""
    data, offset, members = deb.read_bytes(), 8, []
    while offset < len(data):
        name, size = data[offset:offset + 16].decode().strip().rstrip("/"), int(data[offset + 48:offset + 58])
        members.append((name, data[offset + 60:offset + 60 + size]))
        offset += 60 + size + size % 2
    out = io.BytesIO(b"!<arch>\n")
    out.seek(0, io.SEEK_END)
    for name, body in members:
        if name.startswith("control.tar"):
            # zstd is what Debian 12's packages do not use for this member.
            new = io.BytesIO()
            with tarfile.open(fileobj=io.BytesIO(body)) as old, tarfile.open(fileobj=new, mode="w") as tar:
                for member in old:
                    if member.name.lstrip("./") != "preinst":
                        tar.addfile(member, old.extractfile(member) if member.isfile() else None)
            name, body = "control.tar", new.getvalue()
        out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2))
    target.write_bytes(out.getvalue())


class Bench:
    def __init__(self, tools, work, store, debs, runs):
        self.tools, self.work, self.runs = tools, work, runs
        self.imported, self.store, self.repo, self.root = store, work / "all", work / "repo", work / "machine"
        self.debs = work / "debs"
        self.debs.mkdir()
        for deb in debs.glob("*.deb"):
            without_scripts(deb, self.debs / deb.name)
        self.trust = work / "trust"
        run(self.fetch, "keys", "generate", "--out", work / "keys", **QUIET)
        self.closure_of_all()
        self.publish(self.store, self.repo)
        self.packages = sorted(file.name.removesuffix(".squashfs") for file in self.store.glob("*.squashfs"))
        self.files = [self.repo / "pkg" / f"{name}{ending}" for name in self.packages for ending in (".squashfs", ".meta.textproto")]
        self.bytes = sum(file.stat().st_size for file in self.files)
        (work / "urls").write_text("".join(f'url = "http://127.0.0.1:{PORT}/pkg/{file.name}"\nremote-name\n' for file in self.files))
        (work / "nginx.conf").write_text(
            f"user root; worker_processes 1; pid {work}/nginx.pid; error_log {work}/error.log; daemon off; events {{}}\n"
            f"http {{ sendfile on; access_log off; keepalive_requests 100000; client_body_temp_path {work}/b; proxy_temp_path {work}/p;\n"
            f"fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; server {{ listen {PORT}; root {self.repo}; }} }}\n")
        self.nginx = ["nginx", "-c", str(work / "nginx.conf"), "-e", str(work / "error.log")]

    def closure_of_all(self):
        """The imported packages, and one that needs them all."""
        self.store.mkdir()
        tree = self.work / "empty"
        tree.mkdir()
        names = sorted(file.name.removesuffix(".squashfs") for file in self.imported.glob("*.squashfs"))
        for name in names:
            for ending in (".squashfs", ".meta.textproto"):
                os.link(self.imported / f"{name}{ending}", self.store / f"{name}{ending}")
        run("mksquashfs", tree, self.store / "everything-amd64-1-1.squashfs", "-quiet", "-no-progress", **QUIET)
        (self.store / "everything-amd64-1-1.meta.textproto").write_text(
            "".join(f'runtime_dep: "{name}"\n' for name in names) + 'version: "1-1"\n')

    @property
    def fetch(self):
        return self.tools / "distri-fetch"

    def publish(self, store, repo):
        run(self.fetch, "publish", store, "--out", repo, "--keys", self.work / "keys", **QUIET)

    def trust_init(self, url):
        run(self.fetch, "trust", "init", self.repo / "tuf/root.json", "--repo", url, "--trust", self.trust, **QUIET)

    def install(self, *packages, url=f"http://127.0.0.1:{PORT}"):
        return [self.fetch, "install", *packages, "--root", self.root, "--repo", url, "--trust", self.trust]

    def start(self):
        """An empty machine, whose client has read nothing, and a server that has."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        for file in self.files:
            file.read_bytes()

    def timed(self, command, **options):
        start = time.monotonic()
        run(*command, **QUIET, **options)
        middle = time.monotonic()
        os.sync()
        return middle - start, time.monotonic() - start

    def closure(self):
        self.trust_init(f"http://127.0.0.1:{PORT}")
        dpkg = self.root / "var/lib/dpkg"

        def unpack():
            for folder in ("updates", "info"):
                (dpkg / folder).mkdir(parents=True)
            (dpkg / "status").touch()
            return ["dpkg", f"--root={self.root}", "--unpack", "--force-all", "--no-triggers", *sorted(self.debs.glob("*.deb"))]

        ways = {
            "curl --parallel, then sync": lambda: (["curl", "-sZ", "--parallel-max", "16", "-K", self.work / "urls"], {"cwd": self.root}),
            "distri-fetch install": lambda: (self.install("everything"), {}),
            "cp, then sync": lambda: (["cp", *self.files, self.root], {}),
            "dpkg --unpack, then sync": lambda: (unpack(), {}),
        }
        times = {name: [] for name in ways}
        for _ in range(self.runs):
            for name, way in ways.items():
                self.start()
                command, options = way()
                times[name].append(self.timed(command, **options))
        base = statistics.median(t[1] for t in times["curl --parallel, then sync"])
        print(f"{len(self.packages)} packages, {self.bytes / 1e6:.0f} MB; medians of {self.runs}\n")
        print("| | seconds until it returns | with everything on the medium | MB/s | speed beside curl |\n|---|---|---|---|---|")
        for name, values in times.items():
            first, durable = (statistics.median(value[i] for value in values) for i in (0, 1))
            # What we install is on the medium when the command returns; sync finds what else has been written.
            print(f"| {name} | {first:.2f} | {durable:.2f} | {self.bytes / durable / 1e6:.0f} | {base / durable:.2f} |", flush=True)

    def small(self):
        """One small package whose closure is there."""
        store = self.work / "small"
        tree = self.work / "tree"
        (tree / "out/share/doc").mkdir(parents=True)
        (tree / "out/share/doc/README").write_text("x" * 3000)
        store.mkdir()
        for file in self.files:
            os.link(file, store / file.name)
        for number in range(21):
            run("mksquashfs", tree, store / f"small{number}-amd64-1-1.squashfs", "-quiet", "-no-progress", **QUIET)
            (store / f"small{number}-amd64-1-1.meta.textproto").write_text(
                "".join(f'runtime_dep: "{package}"\n' for package in self.packages[:20]) + 'version: "1-1"\n')
        self.publish(store, self.repo)
        self.start()
        run(*self.install("everything"), **QUIET)
        times = []
        for number in range(21):
            start = time.monotonic()
            run(*self.install(f"small{number}"), **QUIET)
            times.append((time.monotonic() - start) * 1000)
        print(f"\nOne small package whose closure is there, of a signed repository: {statistics.median(times[1:]):.0f} ms, "
              f"the least {min(times):.0f} (whole process, median of 20)")

    def slow_line(self, milliseconds=20, megabits=1000):
        url = f"http://10.9.0.1:{PORT}"
        self.trust_init(url)
        urls = (self.work / "urls").read_text().replace("127.0.0.1", "10.9.0.1")
        (self.work / "slow-urls").write_text(urls)
        line = [sys.executable, HERE / "delayed-link.py", milliseconds, megabits, "exec " + " ".join(self.nginx), "--"]
        ways = {
            "curl --parallel, then sync": ["sh", "-c", f"cd {self.root} && curl -sZ --parallel-max 16 -K {self.work}/slow-urls && sync"],
            "distri-fetch install": self.install("everything", url=url),
        }
        # The line's own start and end do not count.
        ideal = self.bytes / (megabits * 125_000) + 4 * milliseconds / 1000
        print(f"\nBehind a line of {milliseconds} ms each way and {megabits} Mbit/s: at best {ideal:.2f} s (bandwidth and two round trips)\n")
        print("| | seconds | beside the best |\n|---|---|---|")
        for name, command in ways.items():
            times = []
            for _ in range(self.runs):
                self.start()
                clock = self.work / "clock"
                timed = ["sh", "-c", 'a=$(date +%s%N); "$@" >/dev/null 2>&1; s=$?; echo $(($(date +%s%N) - a)) >"$0"; exit $s', clock, *command]
                run(*line, *timed, **QUIET)
                times.append(int(clock.read_text()) / 1e9)
            print(f"| {name} | {statistics.median(times):.2f} | {statistics.median(times) / ideal:.2f} |", flush=True)


def main():
    tools = Path(sys.argv[1]).resolve()
    base = Path(os.environ.get("DISTRI_BENCH", "/var/tmp"))
    work = Path(tempfile.mkdtemp(prefix="distri-install-", dir=base))
    server = None
    try:
        if len(sys.argv) > 3:
            store, debs = (Path(word).resolve() for word in sys.argv[2:4])
        else:
            store, debs = work / "store", work / "imported"
            store.mkdir()
            shutil.copy(DEFINITIONS / "bootstrap.import.lock", work)
            run(tools / "distri-build", "import", "--store", store, "--debs", debs, "--definition",
                DEFINITIONS / "bootstrap.import.textproto", "--lock", work / "bootstrap.import.lock", "--update-lock", **QUIET)
        bench = Bench(tools, work, store, debs, int(sys.argv[4]) if len(sys.argv) > 4 else 5)
        print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
        bench.slow_line()
        server = subprocess.Popen(bench.nginx, **QUIET)
        bench.closure()
        bench.small()
    finally:
        if server:
            server.terminate()
            server.wait()
        shutil.rmtree(work)


main()
