# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""What is measured: stores below the work directory, made once and kept. Each is complete when its stamp is there."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFINITIONS = HERE.parents[2] / "Examples/definitions"
PLAIN = ["-noI", "-noD", "-noF", "-noX", "-no-fragments"]
FIXED = ["-no-xattrs", "-all-root", "-noappend", "-no-progress", "-quiet", "-mkfs-time", "0", "-all-time", "0"]
# What a shell and a Python need to start from one image.
BUNDLE = """bash libc6 libtinfo6 python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib zlib1g libexpat1 libffi8 libssl3
    libbz2-1.0 liblzma5 libreadline8 libncursesw6 libcrypt1""".split()
LIBRARIES = "out/lib/x86_64-linux-gnu"


def run(*command, **options):
    """Runs a program quietly; its complaints are the error's text."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:6]))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@dataclass
class Dataset:
    """A store, and the same as a file of `memory-server pack`."""

    name: str
    store: Path
    pack: Path

    @property
    def packages(self):
        return sorted(path.name.removesuffix(".squashfs") for path in self.store.glob("*.squashfs"))

    @property
    def files(self):
        """Everything that may be read from the disk when the store is shown."""
        return [path for path in self.store.rglob("*") if path.is_file() and not path.is_symlink()]


class Data:
    def __init__(self, work: Path, tools: Path):
        self.work, self.tools = work, tools
        for part in ("bin", "stamps", "trees", "packs", "mnt"):
            (work / part).mkdir(parents=True, exist_ok=True)
        self.probe = self.compile("probe.c", [])
        self.memory_server = self.compile("memory-server.c", run("pkg-config", "--cflags", "--libs", "fuse3").split())

    def compile(self, source, flags):
        program = self.work / "bin" / source.removesuffix(".c")
        run("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, HERE / source, *flags)
        return program

    def get(self, name):
        """The data set of that name, made now if it is not there."""
        dataset = Dataset(name, self.work / name, self.work / "packs" / name)
        stamp = self.work / "stamps" / name
        if not stamp.exists():
            print(f"view: making «{name}» below {self.work} …", file=sys.stderr, flush=True)
            if name != "real":  # What was imported before is not imported again.
                shutil.rmtree(dataset.store, ignore_errors=True)
            dataset.store.mkdir(exist_ok=True)
            if name.startswith("small"):
                self.make_small(dataset.store, int(name.removeprefix("small")))
            else:
                getattr(self, "make_" + name)(dataset)
            stamp.touch()
        return dataset

    def make_real(self, dataset):
        definition, lock = DEFINITIONS / "bootstrap.import.textproto", self.work / "real.lock"
        shutil.copy(DEFINITIONS / "bootstrap.import.lock", lock)
        run(self.tools / "distri-build", "import", "--store", dataset.store, "--debs", self.work / "debs",
            "--definition", definition, "--lock", lock, "--update-lock")
        if len(dataset.packages) < 60:
            raise RuntimeError(f"{definition} makes {len(dataset.packages)} packages only")

    def make_bundle(self, dataset):
        self.get("real")  # for its debs
        tree = self.fresh_tree("bundle")
        for name in BUNDLE:
            (deb,) = (self.work / "debs").glob(f"{name}_*.deb")
            unpacked = self.fresh_tree("deb")
            run("dpkg-deb", "-x", deb, unpacked)
            for part in (unpacked, unpacked / "usr"):
                for top in ("bin", "lib", "share"):
                    if (part / top).is_dir():
                        shutil.copytree(part / top, tree / "out" / top, symlinks=True, dirs_exist_ok=True)
        # As the maintainer script does. The host's Python is the same version, else it compiles for itself and is harmless.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", tree / "out/lib/python3.11"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pack(dataset, tree, PLAIN)

    def make_big(self, dataset):
        tree = self.fresh_tree("big")
        with open(tree / "out/big.bin", "wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        self.pack(dataset, tree, PLAIN)

    def make_many(self, dataset):
        tree = self.fresh_tree("many")
        self.small_files(tree / "out/many")
        self.pack(dataset, tree, PLAIN)

    def make_zstd(self, dataset):
        tree = self.fresh_tree("zstd")
        self.small_files(tree / "out/many")
        with open(tree / "out/big.bin", "wb") as file:
            file.write(self.text(64 << 20))
        self.pack(dataset, tree, ["-comp", "zstd", "-Xcompression-level", "9"])

    def fresh_tree(self, name):
        tree = self.work / "trees" / name
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "out").mkdir(parents=True)
        return tree

    def text(self, count):
        """Programs and sources: compresses as packages do."""
        self.get("bundle")
        text = bytearray()
        paths = sorted(path for path in (self.work / "trees/bundle").rglob("*") if path.is_file() and not path.is_symlink())
        while len(text) < count:
            for path in paths:
                text += path.read_bytes()
        return bytes(text[:count])

    def small_files(self, folder):
        """20,000 files of 100 to 6,000 bytes in 200 directories."""
        text, position, number = self.text(80 << 20), 0, 1
        for directory in range(200):
            (folder / f"dir{directory:03}").mkdir(parents=True)
            for file in range(100):
                number = number * 48271 % 0x7FFFFFFF
                size = 100 + number % 5901
                (folder / f"dir{directory:03}/file{file:03}").write_bytes(text[position : position + size])
                position += size

    def pack(self, dataset, tree, options):
        package = f"{dataset.name}-amd64-1-1"
        run("mksquashfs", tree, dataset.store / f"{package}.squashfs", *options, *FIXED)
        (dataset.store / f"{package}.meta.textproto").write_text(f'source_pkg: "{dataset.name}"\nversion: "1-1"\n')
        parent = self.work / "trees" / f"of-{dataset.name}"
        parent.mkdir(exist_ok=True)
        tree.rename(parent / package)
        run(self.memory_server, "pack", parent, dataset.pack)
        (parent / package).rename(tree)

    def make_small(self, store, count):
        """Packages of about 20 files. mksquashfs makes four of them; the others are copies with another number in all names, which keeps
        their order, since images are not compressed."""
        number = b"00000"
        templates = []
        for variant in range(4):
            tree = self.fresh_tree("small")
            name = f"syn{number.decode()}"

            def file(path, text):
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_text(text)

            def link(path, target):
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).symlink_to(target)

            for program in range(1 + variant):
                file(f"out/bin/{name}-{program}", "#!/bin/sh\nexit 0\n" * 5)
                link(f"bin/{name}-{program}", f"../out/bin/{name}-{program}")
            file(f"out/lib/lib{name}.so.1.{variant}", "x" * 5000)
            link(f"out/lib/lib{name}.so.1", f"lib{name}.so.1.{variant}")
            link(f"out/lib/lib{name}.so", f"lib{name}.so.1.{variant}")
            file(f"out/lib/pkgconfig/{name}.pc", f"Name: {name}\n" * 8)
            for header in range(2 + variant):
                file(f"out/include/{name}/h{header}.h", "/* h */\n" * 50)
            file(f"out/share/man/man1/{name}.1", "man\n" * 200)
            file(f"out/share/doc/{name}/README", "readme\n" * 100)
            file(f"out/share/locale/de/LC_MESSAGES/{name}.mo", "mo" * 300)
            image = self.work / "trees/small.squashfs"
            run("mksquashfs", tree, image, *PLAIN, *FIXED)
            templates.append(image.read_bytes())

        def version(i):
            return f"1.{i % 7}.{i % 3}-{1 + i % 4}"

        for i in range(count):
            full = f"syn{i:05}-amd64-{version(i)}"
            needs = "".join(f'runtime_dep: "syn{j:05}-amd64-{version(j)}"\n' for j in range(max(0, i - 5), i))
            image = templates[i % 4].replace(b"syn" + number, f"syn{i:05}".encode())
            (store / f"{full}.squashfs").write_bytes(image)
            (store / f"{full}.meta.textproto").write_text(f'{needs}source_pkg: "syn{i:05}"\nversion: "{version(i)}"\n')
