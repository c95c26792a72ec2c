# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""What is measured and what has to be reached.

cold: mounted afresh, then all caches dropped.  hot: the same, then programs and images read into the page cache: nothing comes from the disk,
but the kernel and the daemon know nothing yet.  warm: the same operation once more.
"""

import statistics
from dataclasses import dataclass, field

import machine
from implementations import DistriFuse, Kernel, MemoryServer, Squashfuse, probe

OURS, SQUASHFUSE, KERNEL, MEMORY = DistriFuse.name, Squashfuse.name, Kernel.name, MemoryServer.name
EMPTY_ENVIRONMENT = {"PATH": "/nowhere", "LC_ALL": "C"}


@dataclass(frozen=True)
class Target:
    """`limit` times the value of another, or a value of the metric's unit."""

    limit: float
    implementation: str = ""
    metric: str = ""


@dataclass
class Metric:
    name: str
    unit: str
    less_is_better: bool = False
    targets: list = field(default_factory=list)


def rate(name, unit, *targets):
    return Metric(name, unit, False, list(targets))


def cost(name, unit, *targets):
    return Metric(name, unit, True, list(targets))


WALK_COLD = "walk + stat of all packages, cold"
NAMES = 2000
METRICS = [
    cost("ready, 1,000 packages, hot", "ms", Target(25)),
    cost("ready, 1,000 packages, cold", "ms", Target(80)),
    cost("ready, 10,000 packages, hot", "ms", Target(4, OURS, "ready, 1,000 packages, hot")),
    cost("ready, 10,000 packages, cold", "ms", Target(4, OURS, "ready, 1,000 packages, cold")),
    cost("ready, all real packages, hot", "ms"),
    cost("ready, all real packages, cold", "ms"),
    rate(WALK_COLD, "entries/s", Target(2, SQUASHFUSE), Target(0.6, KERNEL)),
    rate("walk + stat of all packages, warm", "entries/s", Target(0.8, KERNEL)),
    rate("exchange directories, walk + stat + readlink, cold", "entries/s", Target(3.1, SQUASHFUSE, WALK_COLD)),
    rate("exchange directories, walk + stat + readlink, warm", "entries/s", Target(4, SQUASHFUSE, WALK_COLD)),
    rate("absent names, first time", "names/s"),
    rate("absent names, second time", "names/s"),
    cost(f"absent names, requests the second time, of {NAMES}", "", Target(NAMES / 100)),
    rate("256 MiB file, cold", "MB/s", Target(1.2, SQUASHFUSE)),
    rate("256 MiB file, warm", "MB/s", Target(0.95, KERNEL)),
    rate("random 4 KiB, hot", "reads/s", Target(1, KERNEL)),
    rate("20,000 small files, cold", "files/s", Target(1, KERNEL)),
    rate("20,000 small files, warm", "files/s", Target(3, SQUASHFUSE)),
    cost("bash -c true, cold", "ms", Target(1.1, KERNEL)),
    cost("bash -c true, warm", "ms", Target(1.05, KERNEL)),
    cost("python3 -c 'import json', cold", "ms", Target(1.1, KERNEL)),
    cost("python3 -c 'import json', warm", "ms", Target(1.05, KERNEL)),
    cost("RssAnon, real packages, all walked and read", "MB", Target(25)),
    cost("RssAnon, 10,000 packages, all walked", "MB", Target(60)),
    rate("zstd, walk + stat, cold", "entries/s", Target(1, SQUASHFUSE)),
    rate("zstd, 20,000 small files, cold", "files/s", Target(1, SQUASHFUSE)),
    rate("zstd, 64 MiB file, cold", "MB/s", Target(1, SQUASHFUSE)),
]


class Bench:
    """Runs rows and keeps what they give."""

    def __init__(self, data, quick):
        self.data, self.quick = data, quick
        self.values = {}  # metric → implementation → values, one a run
        self.profiles = []  # of each timed operation
        self.nowhere = data.work / "empty"
        self.nowhere.mkdir(exist_ok=True)

    def keep(self, metric, implementation, value):
        assert any(known.name == metric for known in METRICS), metric
        self.values.setdefault(metric, {}).setdefault(implementation.name, []).append(value)

    def chill(self):
        """Drops the caches, and reads back what the measuring itself needs."""
        machine.drop_caches()
        probe(self.data, "walk", self.nowhere)
        probe(self.data, "spawn", 1, "/bin/true")

    def timed(self, metric, shown, *words, environment=None):
        """Runs the probe: its count and its seconds."""
        before = machine.usage()
        count, nanoseconds = probe(self.data, *words, environment=environment)
        after = machine.usage()
        self.profiles.append({"metric": metric, "implementation": shown.implementation.name, "count": count, "ns": nanoseconds}
                             | {key: after[key] - before[key] for key in before})
        return count, nanoseconds / 1e9

    def rate(self, metric, shown, *words, per=1.0):
        count, seconds = self.timed(metric, shown, *words)
        self.keep(metric, shown.implementation, count / per / seconds)

    # --- rows: one run of one implementation

    def ready(self, implementation, name, dataset):
        dataset = self.data.get(dataset)
        self.chill()
        with implementation.show(dataset) as shown:
            self.keep(f"ready, {name}, cold", implementation, shown.seconds * 1e3)
            shown.heat()
        with implementation.show(dataset) as shown:
            self.keep(f"ready, {name}, hot", implementation, shown.seconds * 1e3)

    def ready_1000(self, implementation):
        self.ready(implementation, "1,000 packages", "small1000")

    def ready_10000(self, implementation):
        self.ready(implementation, "10,000 packages", "small10000")

    def ready_real(self, implementation):
        self.ready(implementation, "all real packages", "real")

    def walk(self, implementation):
        with implementation.show(self.data.get("real")) as shown:
            self.chill()
            self.rate(WALK_COLD, shown, "walk", *shown.roots)
            self.rate("walk + stat of all packages, warm", shown, "walk", *shown.roots)

    def exchange(self, implementation):
        metric = "exchange directories, walk + stat + readlink"
        with implementation.show(self.data.get("real")) as shown:
            directories = shown.exchange
            self.chill()
            self.rate(f"{metric}, cold", shown, "links", *directories)
            self.rate(f"{metric}, warm", shown, "links", *directories)

    def absent(self, implementation):
        real = self.data.get("real")
        bash = next(package for package in real.packages if package.startswith("bash-"))
        with implementation.show(real, None if implementation.whole_store else [bash]) as shown:
            folder = shown.root(bash) / "out"
            places = [implementation.point, implementation.point / "bin", folder, folder / "bin"]
            places = places if implementation.whole_store else [folder, folder / "bin", folder / "share", folder / "share/doc"]
            for time in ("first", "second"):
                before = machine.usage()
                seconds = sum(self.timed(f"absent names, {time} time", shown, "absent", place, NAMES // 4)[1] for place in places)
                self.keep(f"absent names, {time} time", implementation, NAMES / seconds)
                if time == "second":
                    after = machine.usage()
                    requests = max(after[key] - before[key] for key in ("reads", "writes", "waits"))
                    self.keep(f"absent names, requests the second time, of {NAMES}", implementation, requests)

    def big(self, implementation):
        big = self.data.get("big")
        with implementation.show(big) as shown:
            file = shown.root(big.packages[0]) / "out/big.bin"
            self.chill()
            self.rate("256 MiB file, cold", shown, "read", file, per=1e6)
            probes = [self.timed("256 MiB file, warm", shown, "read", file) for _ in range(3)]
            self.keep("256 MiB file, warm", implementation, statistics.median(count / 1e6 / seconds for count, seconds in probes))

    def random(self, implementation):
        big = self.data.get("big")
        with implementation.show(big) as shown:
            file = shown.root(big.packages[0]) / "out/big.bin"
            self.chill()
            shown.heat()
            self.rate("random 4 KiB, hot", shown, "random", file, 10000)

    def files(self, implementation):
        many = self.data.get("many")
        with implementation.show(many) as shown:
            self.chill()
            self.rate("20,000 small files, cold", shown, "files", *shown.roots)
            self.rate("20,000 small files, warm", shown, "files", *shown.roots)

    def start(self, implementation):
        bundle = self.data.get("bundle")
        with implementation.show(bundle) as shown:
            out = shown.root(bundle.packages[0]) / "out"
            libraries = out / "lib/x86_64-linux-gnu"
            loader = [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries]
            python = EMPTY_ENVIRONMENT | {"PYTHONHOME": str(out), "PYTHONDONTWRITEBYTECODE": "1"}
            for name, environment, command in (
                ("bash -c true", EMPTY_ENVIRONMENT, [out / "bin/bash", "-c", "true"]),
                ("python3 -c 'import json'", python, [out / "bin/python3.11", "-c", "import json"]),
            ):
                self.chill()
                for state, count in (("cold", 1), ("warm", 31)):
                    words = ["spawn", count, *loader, *command]
                    _, seconds = self.timed(f"{name}, {state}", shown, *words, environment=environment)
                    self.keep(f"{name}, {state}", implementation, seconds * 1e3)

    def memory(self, implementation):
        with implementation.show(self.data.get("real")) as shown:
            probe(self.data, "walk", *shown.roots)
            probe(self.data, "files", *shown.roots)
            if implementation.whole_store:
                probe(self.data, "links", *shown.exchange)
                probe(self.data, "absent", implementation.point, NAMES)
            self.keep("RssAnon, real packages, all walked and read", implementation, machine.anonymous_memory())

    def memory_10000(self, implementation):
        with implementation.show(self.data.get("small10000")) as shown:
            probe(self.data, "links", implementation.point)
            self.keep("RssAnon, 10,000 packages, all walked", implementation, machine.anonymous_memory())

    def zstd(self, implementation):
        zstd = self.data.get("zstd")
        with implementation.show(zstd) as shown:
            out = shown.root(zstd.packages[0]) / "out"
            for metric, verb, path, per in (
                ("zstd, walk + stat, cold", "walk", out, 1.0),
                ("zstd, 20,000 small files, cold", "files", out / "many", 1.0),
                ("zstd, 64 MiB file, cold", "read", out / "big.bin", 1e6),
            ):
                self.chill()
                self.rate(metric, shown, verb, path, per=per)


@dataclass
class Row:
    name: str
    action: object
    implementations: list
    once: bool = False  # the value does not vary
    slow: bool = False  # not part of --quick


EVERYONE = [OURS, SQUASHFUSE, KERNEL, MEMORY]
ROWS = [
    Row("ready-1000", Bench.ready_1000, [OURS]),
    Row("ready-10000", Bench.ready_10000, [OURS], slow=True),
    Row("ready-real", Bench.ready_real, [OURS, SQUASHFUSE, KERNEL], slow=True),
    Row("walk", Bench.walk, EVERYONE),
    Row("exchange", Bench.exchange, [OURS, MEMORY]),
    Row("absent", Bench.absent, EVERYONE),
    Row("big", Bench.big, EVERYONE),
    Row("random", Bench.random, EVERYONE),
    Row("files", Bench.files, EVERYONE),
    Row("start", Bench.start, EVERYONE),
    Row("memory", Bench.memory, [OURS, SQUASHFUSE], once=True),
    Row("memory-10000", Bench.memory_10000, [OURS], once=True, slow=True),
    Row("zstd", Bench.zstd, EVERYONE),
]
