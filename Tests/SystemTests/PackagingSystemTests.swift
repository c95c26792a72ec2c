// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// What becomes of a real build: debug symbols, source, reasons, bill of materials, and the same bytes again. Compiler and shell are
/// packages that were imported from Debian.
@Suite(.serialized) struct PackagingSystemTests {
  /// A store of imported packages that a test may add to, and definitions.
  final class Bench {
    let folder: TemporaryDirectory
    var store: FilePath { folder.path.appending("store") }

    init() async throws {
      folder = try TemporaryDirectory()
      let copy = try await ToolProcess.run("cp", ["-a", "--link", PackagingSystemTests.imported().string, store.string])
      try #require(copy.status == 0, "\(copy.errors)")
      // Another test's packages may be there.
      for name in try FileManager.default.contentsOfDirectory(atPath: store.string) where name.hasPrefix("sample-") {
        try FileManager.default.removeItem(atPath: store.appending(name).string)
      }
    }

    func write(_ name: String, _ text: String) throws {
      let path = "\(folder.path)/pkgs/sample/\(name)"
      try FileManager.default.createDirectory(
        atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(filePath: path))
      try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSince1970: 1_500_000_000)], ofItemAtPath: path)
    }

    func define(_ script: String, _ rest: String = "") throws {
      let dependencies = ["bash", "coreutils", "gcc", "binutils", "glibc", "linux"].map { "dep: \"\($0)\"\n" }.joined()
      try write(
        "build.textproto",
        "source: \"tree\"\nversion: \"1-1\"\n\(dependencies)\(rest)\nbuild_step: { argv: \"sh\" argv: \"-euc\" argv: '\(script.replacingOccurrences(of: "\n", with: "\\n"))' }\n"
      )
    }

    func build(_ options: [String] = []) async throws -> ToolProcess.Outcome {
      try await ToolProcess.run(
        "distri-build",
        ["build", "--definitions", "\(folder.path)/pkgs", "--store", store.string, "--work", "\(folder.path)/_build"] + options
          + ["sample"])
    }
  }

  /// The store of the whole life's test, or where that has not run, one of what a compiler needs.
  private static func imported() async throws -> FilePath {
    let whole = WholeLifeTests.folder.appending("store")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: whole.string)) ?? []
    if ["gcc-", "binutils-", "bash-"].allSatisfy({ start in names.contains { $0.hasPrefix(start) } }) { return whole }
    let own = WholeLifeTests.folder.appending("compiler/store")
    let definitions = WholeLifeTests.checkout.appending("Examples/definitions")
    let made = try await ToolProcess.run(
      "distri-build",
      [
        "import", "--store", own.string, "--debs", WholeLifeTests.folder.appending("debs").string, "--definition",
        definitions.appending("bootstrap.import.textproto").string, "bash", "coreutils", "gcc", "binutils", "linux", "glibc",
      ])
    try #require(made.status == 0, "\(made.errors.suffix(3000))")
    return own
  }

  static let script = """
    printf "int generated(int a) { return a + 1; }\\n" > table.c
    gcc $CFLAGS $LDFLAGS -o sample $DISTRI_SOURCE/main.c table.c
    mkdir -p /dest/tmp/ro/sample-amd64-1-1/out/bin
    cp sample /dest/tmp/ro/sample-amd64-1-1/out/bin/
    """

  static let source = """
    #include <stdio.h>
    int generated(int);
    int main(void) {
      printf("%d\\n", generated(41));
      return 0;
    }
    """

  @Test func `a program's addresses lead to lines of the source package, its dependencies to their reasons`() async throws {
    let bench = try await Bench()
    try bench.write("tree/main.c", Self.source)
    try bench.define(Self.script.replacingOccurrences(of: "$DISTRI_SOURCE", with: "${DISTRI_SOURCEDIR}"), "license: \"MIT\"")
    let build = try await bench.build()
    try #require(build.status == 0, "\(build.errors.suffix(3000))")

    // The program works without its symbols, and leads to them.
    let run = try await ToolProcess.run("distri-fuse", ["run", "--store", bench.store.string, "--", "sample"])
    #expect(run.output == "42\n", "\(run.errors)")
    let mounts = try ["debug", "src"].map { section in
      let point = bench.folder.path.appending("mount-\(section)")
      try FileManager.default.createDirectory(atPath: point.string, withIntermediateDirectories: true)
      return (section, point)
    }
    for (section, point) in mounts {
      let mount = try await ToolProcess.run(
        "distri-fuse", ["mount", "--privileged", "--section", section, bench.store.string, point.string])
      try #require(mount.status == 0, "\(mount.errors)")
    }
    let found = try await ToolProcess.run(
      "bash",
      [
        "-euc",
        """
        symbols=$(echo "$1"/sample-amd64-1-1/debug/.build-id/*/*.debug)
        for name in main generated; do
          addr2line -e "$symbols" "$(nm "$symbols" | awk -v n=$name '$3 == n { print $1 }')"
        done
        """, "-", mounts[0].1.string,
      ])
    let sources = try ["main.c", "table.c"].map { name in
      try String(contentsOfFile: "\(mounts[1].1)/sample-amd64-1-1/\(name)", encoding: .utf8)
    }
    for (_, point) in mounts { _ = try await ToolProcess.run("distri-fuse", ["unmount", point.string]) }
    #expect(found.output == "/usr/src/sample-amd64-1-1/main.c:3\n/usr/src/sample-amd64-1-1/table.c:1\n", "\(found.errors)")
    #expect(sources[0] == Self.source && sources[1].hasPrefix("int generated"))

    let why = try await ToolProcess.run("distri-build", ["why", "--store", bench.store.string, "sample", "glibc"])
    #expect(why.status == 0 && why.output.contains("library libc.so.6 of out/bin/sample"), "\(why.output)\(why.errors)")
    let whyNot = try await ToolProcess.run("distri-build", ["why", "--store", bench.store.string, "sample", "gcc"])
    #expect(whyNot.status == 1 && whyNot.errors.contains("does not need"))
    let bill = try await ToolProcess.run("distri-build", ["sbom", "--store", bench.store.string, "sample"])
    #expect(bill.output.contains("\"licenseDeclared\": \"MIT\"") && bill.output.contains("\"BUILD_DEPENDENCY_OF\""))
    #expect(bill.output.contains("./out/bin/sample"))
  }

  @Test func `a build that gives the same bytes passes the check, and one that does not names the file`() async throws {
    let bench = try await Bench()
    try bench.write("tree/main.c", Self.source)
    let script = Self.script.replacingOccurrences(of: "$DISTRI_SOURCE", with: "${DISTRI_SOURCEDIR}")
    try bench.define(script + "\ndate +%N$RANDOM > /dest/tmp/ro/sample-amd64-1-1/out/stamp")
    let bad = try await bench.build(["--check"])
    #expect(bad.status == 1 && bad.errors.contains("  out/stamp: differs from byte "), "\(bad.errors.suffix(2000))")
    #expect(!bad.errors.contains("  out/bin/sample"))
    #expect(!FileManager.default.fileExists(atPath: bench.store.appending("sample-amd64-1-1.squashfs").string))
    try bench.define(script + "\ndate -d @$SOURCE_DATE_EPOCH > /dest/tmp/ro/sample-amd64-1-1/out/stamp")
    let good = try await bench.build(["--check"])
    #expect(good.status == 0 && good.output == "sample-amd64-1-1\n", "\(good.errors.suffix(2000))")
    for name in ["", "debug/", "src/"] {
      #expect(FileManager.default.fileExists(atPath: "\(bench.store)/\(name)sample-amd64-1-1.squashfs"))
    }
  }

  @Test func `a program without symbols is refused with its name`() async throws {
    let bench = try await Bench()
    try bench.write("tree/main.c", Self.source)
    let script = Self.script.replacingOccurrences(of: "$DISTRI_SOURCE", with: "${DISTRI_SOURCEDIR}")
    try bench.define(script.replacingOccurrences(of: "$CFLAGS", with: "-s"))
    let build = try await bench.build()
    #expect(build.status == 65 && build.errors.contains("sample-amd64-1-1: out/bin/sample: debug symbols"), "\(build.errors)")
  }
}
