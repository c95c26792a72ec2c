// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

extension PackagingSystemTests {
  @Test func `gdb finds symbols and source of a program that is nowhere but in a repository`() async throws {
    let bench = try await Bench()
    try bench.write("tree/main.c", Self.source)
    try bench.define(Self.script.replacingOccurrences(of: "$DISTRI_SOURCE", with: "${DISTRI_SOURCEDIR}"))
    let build = try await bench.build()
    try #require(build.status == 0, "\(build.errors.suffix(3000))")
    let (repository, keys, trust) = ("\(bench.folder.path)/repository", "\(bench.folder.path)/keys", "\(bench.folder.path)/trust")
    try FileManager.default.createDirectory(atPath: repository, withIntermediateDirectories: true)
    let server = try RepositoryServer(FilePath(repository))
    defer { server.stop() }
    for arguments in [
      ["keys", "generate", "--out", keys], ["publish", bench.store.string, "--out", repository, "--keys", keys],
      ["trust", "init", repository + "/tuf/root.json", "--repo", server.root, "--trust", trust],
    ] {
      let outcome = try await ToolProcess.run("distri-fetch", arguments)
      try #require(outcome.status == 0, "\(outcome.errors)")
    }

    var points: [String] = []
    for section in ["pkg", "debug", "src"] {
      let point = "\(bench.folder.path)/mount-\(section)"
      try FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
      let mount = try await ToolProcess.run(
        "distri-fuse",
        ["mount", "--remote", server.root, "--trust", trust, "--cache", "\(bench.folder.path)/cache", "--section", section, point])
      try #require(mount.status == 0, "\(mount.errors)")
      points.append(point)
    }
    // As a distri system has them, beside Debian's gdb.
    let debugged = try await ToolProcess.run(
      "bash",
      [
        "-euc",
        """
        echo 'set debug-file-directory /ro-dbg/debug' > "$4"
        exec bwrap --tmpfs / --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
          --dev /dev --proc /proc --tmpfs /tmp --chdir /tmp --dir /etc/gdb --ro-bind "$4" /etc/gdb/gdbinit \
          --ro-bind "$1" /ro --ro-bind "$2" /ro-dbg --ro-bind "$3" /usr/src \
          gdb -batch -ex 'break generated' -ex run -ex backtrace -ex 'frame 1' -ex 'info source' /ro/sample-amd64-1-1/out/bin/sample
        """, "-",
      ] + points + ["\(bench.folder.path)/gdbinit"], environment: ["DEBUGINFOD_URLS": ""])
    for point in points { _ = try await ToolProcess.run("distri-fuse", ["unmount", point]) }
    let said = debugged.output
    #expect(said.contains("#0  generated (a=a@entry=41) at table.c:1\n"), "\(said)\(debugged.errors)")
    #expect(said.contains("1\tint generated(int a) { return a + 1; }"), "\(said)")
    #expect(said.contains("4\t  printf(\"%d\\n\", generated(41));"), "\(said)")
    #expect(said.contains("Located in /usr/src/sample-amd64-1-1/main.c"), "\(said)")
    // The repository has compilers, and a C library of 27 MB.
    let fetched = server.given(".squashfs").reduce(0, +)
    #expect(fetched > 100_000 && fetched < 8_000_000, "\(fetched)")
  }
}
