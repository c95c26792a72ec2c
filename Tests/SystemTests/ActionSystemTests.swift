// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// `distri-build action`: builds in a sandbox that is nothing but the input root, as workers of a cluster make one.
@Suite(.serialized) struct ActionSystemTests {
  /// Writes the action of a definition of the bench; the lines that say what is in it.
  private static func write(_ name: String, of bench: DefinitionBench) async throws -> [String] {
    let outcome = try await ToolProcess.run(
      "distri-build",
      [
        "action", "write", "--definitions", "\(bench.path)/pkgs", "--store", "\(bench.path)/store", "--sources",
        "\(bench.path)/sources", name, "--out", "\(bench.path)/root",
      ])
    try #require(outcome.status == 0, "\(outcome.errors)")
    return outcome.output.split(separator: "\n").map(String.init)
  }

  /// Runs the action as buildbox-run does for `unixUID=1000`: as an ordinary user of a user namespace, without network, HOME and anything of this
  /// machine but a few devices. The store may not even be written.
  private static func work(_ bench: DefinitionBench, _ options: [String] = []) async throws -> ToolProcess.Outcome {
    let root = "\(bench.path)/root"
    let device = options.contains("without /dev/fuse") ? [] : ["--dev-bind", "/dev/fuse", "/dev/fuse"]
    return try await ToolProcess.run(
      "bwrap",
      ["--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-ipc"]
        + ["--die-with-parent", "--bind", root, "/", "--ro-bind", "\(root)/store", "/store", "--dev", "/dev"] + device
        + ["--proc", "/proc", "--tmpfs", "/tmp", "--chdir", "/", "--clearenv"] + options.filter { $0.hasPrefix("--") }
        + ["--", "tool/lib/ld.so", "--library-path", "tool/lib", "tool/distri-build", "action", "run", "--jobs", "2"])
  }

  /// A program of which there are debug symbols and source, and which patchelf has to touch, since no linker flags of ours are used.
  private static let program = """
    version: "1-1"
    source: "https://example.org/greet-1.tar.gz"
    hash: "HASH"
    cherry_pick: "louder.patch"
    extra_file: "name.h"
    dep: "bash" dep: "coreutils" dep: "gcc" dep: "binutils" dep: "glibc" dep: "linux" dep: "patch"
    build_step: {
      argv: "bash" argv: "-euc"
      argv: "mkdir -p ${DISTRI_DESTDIR}${DISTRI_PREFIX}/bin; LDFLAGS= gcc -g ${DISTRI_SOURCEDIR}/greet.c -o ${DISTRI_DESTDIR}${DISTRI_PREFIX}/bin/greet"
    }

    """

  private static func write(program bench: DefinitionBench) async throws {
    let outcome = try await ToolProcess.run(
      "bash",
      [
        "-euc",
        """
        mkdir -p greet-1 sources pkgs/greet
        printf '#include <stdio.h>\\n#include "name.h"\\nint main(void) { puts("hello, " NAME); return 0; }\\n' > greet-1/greet.c
        touch -d @1700000000 greet-1/greet.c
        tar -czf sources/greet-1.tar.gz greet-1
        sed 's/hello/HELLO/' greet-1/greet.c > b.c
        diff -u --label a/greet.c --label b/greet.c greet-1/greet.c b.c > pkgs/greet/louder.patch || true
        echo '#define NAME "cluster"' > pkgs/greet/name.h
        sha256sum sources/greet-1.tar.gz
        """,
      ], in: bench.folder.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let text = program.replacing("HASH", with: outcome.output.prefix(64))
    try Data(text.utf8).write(to: URL(filePath: "\(bench.path)/pkgs/greet/build.textproto"))
  }

  private static func isSame(_ one: String, _ other: String) throws -> Bool {
    try Data(contentsOf: URL(filePath: one)) == Data(contentsOf: URL(filePath: other))
  }

  @Test func `an action builds the same bytes from its files alone as a build on this machine`() async throws {
    let bench = try await DefinitionBench([:])
    try await Self.write(program: bench)
    let lines = try await Self.write("greet", of: bench)
    let outcome = try await Self.work(bench)
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.output == "greet-amd64-1-1\n")

    let local = try await ToolProcess.run(
      "distri-build",
      [
        "build", "--definitions", "\(bench.path)/pkgs", "--store", "\(bench.path)/store", "--sources", "\(bench.path)/sources",
        "greet",
      ])
    try #require(local.status == 0, "\(local.errors)")
    let image = "greet-amd64-1-1.squashfs"
    for file in [image, "greet-amd64-1-1.meta.textproto", "debug/\(image)", "src/\(image)"] {
      #expect(try Self.isSame("\(bench.path)/store/\(file)", "\(bench.path)/root/out/\(file)"), "\(file) differs")
    }
    let bill = try await ToolProcess.run("distri-build", ["sbom", "--store", "\(bench.path)/store", "greet"])
    #expect(try bench.text("root/out/greet-amd64-1-1.spdx.json") == bill.output)
    #expect(try bench.text("root/out/build.log").contains("louder.patch") || bench.text("root/out/build.log").contains("greet.c"))
    let greeting = try await ToolProcess.run(
      "distri-fuse", ["run", "--store", "\(bench.path)/store", "--", "/ro/greet-amd64-1-1/bin/greet"])
    #expect(greeting.output == "HELLO, cluster\n", "\(greeting.errors)")

    // What it was made of is as it was, and there is nothing but that and what was made.
    let files = lines.dropLast().map { $0.split(separator: " ", maxSplits: 3).map(String.init) }
    let sums = try await ToolProcess.run(
      "sha256sum", ["--check", "--quiet"], input: files.map { "\($0[0])  \($0[3])\n" }.joined(),
      in: bench.folder.path.appending("root"))
    #expect(sums.status == 0, "\(sums.output)")
    let names = try FileManager.default.contentsOfDirectory(atPath: "\(bench.path)/root").filter {
      !["dev", "proc", "tmp"].contains($0)
    }
    #expect(names.sorted() == ["definitions", "order.textproto", "out", "sources", "store", "tool", "work"])
    #expect(
      Set(try FileManager.default.contentsOfDirectory(atPath: "\(bench.path)/root/store"))
        == Set(
          files.map { $0[3] }.filter { $0.hasPrefix("store/") }.map { String($0.dropFirst(6)) }))

    // The same once more, from another folder: the same action.
    try FileManager.default.removeItem(atPath: "\(bench.path)/root")
    for file in ["greet-amd64-1-1.squashfs", "greet-amd64-1-1.meta.textproto", "greet-amd64.meta.textproto"] {
      try FileManager.default.removeItem(atPath: "\(bench.path)/store/\(file)")
    }
    #expect(try await Self.write("greet", of: bench) == lines)
  }

  @Test func `whose turn it is after a failure, the status says`() async throws {
    let bench = try await DefinitionBench(["a": DefinitionBench.step("echo THE REASON; exit 3")])
    _ = try await Self.write("a", of: bench)
    let failed = try await Self.work(bench)
    #expect(failed.status == 1 && failed.errors.contains("THE REASON"), "\(failed.errors)")
    #expect(try bench.text("root/out/build.log").contains("THE REASON"))
    let device = try await Self.work(bench, ["without /dev/fuse"])
    #expect(device.status == 69 && device.errors.contains("--bind-mount=/dev/fuse"), "\(device.errors)")
    let namespaces = try await Self.work(bench, ["--disable-userns"])
    #expect(namespaces.status == 69 && namespaces.errors.contains("max_*_namespaces"), "\(namespaces.errors)")
    let order = try bench.text("root/order.textproto").replacing("\"a\"", with: "\"lost\"")
    try Data(order.utf8).write(to: URL(filePath: "\(bench.path)/root/order.textproto"))
    let lost = try await Self.work(bench)
    #expect(lost.status == 65 && lost.errors.contains("definitions/lost/build.textproto"), "\(lost.errors)")
    try Data("definition: 7".utf8).write(to: URL(filePath: "\(bench.path)/root/order.textproto"))
    let broken = try await Self.work(bench)
    #expect(broken.status == 65 && broken.errors.contains("order.textproto:1:13"), "\(broken.errors)")
  }
}
