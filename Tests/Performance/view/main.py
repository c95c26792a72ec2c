# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""The view of a store beside squashfuse_ll, the kernel's squashfs on loop devices, and a minimal FUSE server that answers from memory: on the
same packages, in turns, on one core. Prints a Markdown table with what must be reached; writes all values as JSON.

Data lies below $DISTRI_BENCH (/var/tmp/distri-bench), about 2.5 GB, and is made the first time: real packages are imported from Debian, so that
apt's lists must be fresh (`apt-get update`).
"""

import argparse
import atexit
import datetime
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import implementations
import machine
import report
from data import Data
from rows import METRICS, OURS, ROWS, Bench


def arguments():
    parser = argparse.ArgumentParser(prog="view.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=Path, help="where distri-fuse and distri-build are")
    parser.add_argument("runs", type=int, nargs="?", help="default 7, with --quick 3")
    parser.add_argument("--quick", action="store_true", help="fewer runs, without what takes long")
    parser.add_argument("--rows", default="", help=f"names or parts of names, with commas, of: {' '.join(row.name for row in ROWS)}")
    parser.add_argument("--only", default="", help="names or parts of names of implementations, with commas")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="where client and daemons run; default %(default)s")
    parser.add_argument("--json", type=Path, help="default: result.json in the work directory")
    parser.add_argument("--profile", action="store_true", help="a second table: processor time, requests and disk of each operation")
    parser.add_argument("--patience", type=float, default=180, help="seconds to wait for a quiet machine, in all; default %(default)g")
    parser.add_argument("--minutes", type=float, default=11, help="no run is begun that would end later than this; default %(default)g")
    parser.add_argument("--nice", type=int, default=0, help="priority of all that is measured, such as -20 beside other work; what the kernel's "
                        "loop devices do stays at 0, so that cold values of the kernel's squashfs look worse than they are")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a target is missed")
    return parser.parse_args()


def chosen(words, names):
    """Names that contain one of the words; all without words."""
    parts = [word for word in words.split(",") if word]
    unknown = [word for word in parts if not any(word in name for name in names)]
    if unknown:
        sys.exit(f"view: nothing is called {' or '.join(unknown)}; there are: {', '.join(names)}")
    return [name for name in names if not parts or name in parts or any(word in name for word in parts if word not in names)]


def clean(folder, forced):
    stuck = machine.unmount_below(folder, forced)
    left = machine.end_daemons(2.0 if forced else 10.0)
    if stuck or left:
        print(f"view: had to detach {stuck} and to end {left}", file=sys.stderr)


def prepare(data, bench, rows, ours):
    """Makes all data, and mounts each store once: so every index is there."""
    needed = {"ready-1000": ["small1000"], "ready-10000": ["small10000"], "memory-10000": ["small10000"], "big": ["big"], "random": ["big"],
              "files": ["many"], "start": ["bundle"], "zstd": ["zstd"]}
    for name in dict.fromkeys(name for row in rows for name in needed.get(row.name, ["real"])):
        dataset = data.get(name)
        with ours.show(dataset):
            machine.wait_until_idle()
            if name == "real" and not dataset.pack.exists():
                subprocess.run([data.memory_server, "pack", ours.point, dataset.pack, "--no-contents"], check=True, stdout=subprocess.DEVNULL)
    os.sync()


def revision():
    try:
        done = subprocess.run(["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"], capture_output=True, text=True)
        return done.stdout.strip() or "unknown"
    except OSError:
        return "unknown"


def main():
    options = arguments()
    if os.geteuid():
        sys.exit("view: run this as root: it mounts, and drops the kernel's caches")
    tools = options.bin.resolve()
    for tool in ("distri-fuse", "distri-build"):
        if not os.access(tools / tool, os.X_OK):
            sys.exit(f"view: no {tool} in {tools}; `make release` builds it")
    names = chosen(options.only, [kind.name for kind in implementations.ALL])
    rows = [row for row in ROWS if row.name in chosen(options.rows, [row.name for row in ROWS])]
    if options.quick and not options.rows:
        print("view: --quick leaves out " + ", ".join(row.name for row in rows if row.slow), file=sys.stderr)
        rows = [row for row in rows if not row.slow]
    runs = options.runs or (3 if options.quick else 7)

    work = Path(os.environ.get("DISTRI_BENCH", "/var/tmp/distri-bench")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    lock = os.open(work / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"view: another run uses {work}; set DISTRI_BENCH to another directory")
    machine.adopt_daemons()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, frame: sys.exit(128 + number))
    # What a run that was killed has left; and what this one leaves if it ends early.
    clean(work / "mnt", forced=True)
    atexit.register(clean, work / "mnt", True)

    data = Data(work, tools)
    bench = Bench(data, options.quick)
    everyone = {kind.name: kind(data) for kind in implementations.ALL}
    load, start = os.getloadavg(), time.time()
    prepare(data, bench, rows, everyone[OURS])
    os.sched_setaffinity(0, {options.core})
    os.setpriority(os.PRIO_PROCESS, 0, options.nice)

    patience, errors, begun, done = machine.Patience(options.patience), [], time.time(), 0
    for run in range(runs):
        if done and (time.time() - begun) * (done + 1) / done > options.minutes * 60:
            print(f"view: stops after {done} of {runs} runs: the machine is too slow for more in {options.minutes:g} minutes", file=sys.stderr)
            runs = done
            break
        for row in rows:
            if row.once and run:
                continue
            who = [name for name in row.implementations if name in names]
            for name in who if run % 2 == 0 else who[::-1]:
                patience.wait()
                try:
                    row.action(bench, everyone[name])
                except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                    errors.append(f"{row.name}, {name}, run {run + 1}: {error}")
                    print(f"view: {errors[-1]}", file=sys.stderr, flush=True)
                    clean(work / "mnt", forced=True)
        done += 1
        print(f"view: run {done} of {runs}, {time.time() - start:.0f} s", file=sys.stderr, flush=True)

    checks = list(report.verdicts(bench.values))
    missed = [metric.name for metric, _, _, _, passed in checks if passed is False]
    result = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "revision": revision(), "runs": runs,
        "seconds": round(time.time() - start), "core": options.core, "nice": options.nice, "load_before": load, "load_after": os.getloadavg(),
        "idle_before": sorted(patience.idle),
        "machine": machine.description(), "packages": {name: len(data.get(name).packages) for name in ("real",) if (work / "stamps" / name).exists()},
        "units": {metric.name: metric.unit for metric in METRICS}, "values": bench.values, "errors": errors, "profiles": bench.profiles,
        "targets": [{"metric": metric.name, "target": words, "reached": reached, "passed": passed}
                    for metric, _, words, reached, passed in checks],
    }
    path = options.json or work / "result.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False))

    facts = result["machine"]
    quiet = sum(idle >= 0.85 for idle in patience.idle) / max(1, len(patience.idle))
    print(f"{facts['processor']}, core {options.core} of {facts['processors']}, Linux {facts['kernel']}; {result['date']}, {result['revision']}; "
          f"medians of {runs} runs{f', nice {options.nice}' if options.nice else ''}; load {load[0]:.1f} before, {result['load_after'][0]:.1f} after, "
          f"processors idle before {quiet:.0%} of the measurements; {result['packages'].get('real', 'no')} real packages.\n")
    print(report.table(bench.values, names))
    if beside := report.beside_memory(bench.values):
        print("\n" + beside)
    if options.profile:
        print("\n" + report.profile_table(bench.profiles))
    measured = [passed for *_, passed in checks if passed is not None]
    print(f"\n{sum(measured)} of {len(measured)} targets reached; all values: {path}")
    for error in errors:
        print(f"failed: {error}")
    if quiet < 0.8:
        print("The machine was busy with other work: trust counts, not this run's times.")
    if errors or options.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
