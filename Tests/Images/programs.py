# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Programs from elsewhere, which know nothing of distri: a vendor's binary, and one that wants a library at Debian's place."""

import sys
import zipfile

from machine import run

VENDOR = "ninja==1.11.1.1"
SOURCE = """
#include <dlfcn.h>
#include <stdio.h>

int main(void) {
  void *library = dlopen("/usr/lib/x86_64-linux-gnu/libz.so.1", RTLD_NOW);
  const char *(*version)(void) = library ? dlsym(library, "zlibVersion") : 0;
  if (!version) return fprintf(stderr, "%s\\n", dlerror()), 1;
  return printf("zlib %s\\n", version()) < 0;
}
"""


def vendor_binary(folder):
    """A dynamically linked program of a wheel, as its vendor built it for any Linux."""
    program = folder / "ninja"
    if not program.exists():
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--platform", "manylinux2014_x86_64",
            "--dest", folder, VENDOR)  # fmt: skip
        (wheel,) = folder.glob("ninja-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            program.write_bytes(archive.read("ninja/data/bin/ninja"))
    return program


def debian_binary(folder):
    """A program that was linked on Debian: its run path and a name in its text are Debian's."""
    source, program = folder / "zlib.c", folder / "zlib-version"
    source.write_text(SOURCE)
    run("gcc", "-o", program, source, "-Wl,--enable-new-dtags,-rpath,/usr/lib/x86_64-linux-gnu", "-Wl,--no-as-needed", "-l:libz.so.1")
    return program
