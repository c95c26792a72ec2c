// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

private func id(_ text: String) throws -> PackageID { try PackageID(parsing: text) }

extension LocalStore {
  /// Adds a package of a tree.
  fileprivate func add(_ package: PackageID, _ tree: PackageTree = PackageTree(), _ metadata: PackageMetadata) async throws {
    try await transaction { staging in
      var stream = tree.stream()
      try staging.stage(&stream, of: package)
      try staging.stage(metadata, of: package)
    }
  }
}

@Suite struct ReasonTests {
  @Test func `what many files need is one reason that names the first of them`() throws {
    var reasons = DependencyReasons([try id("a-amd64-1-1")], "named in the definition")
    for path in ["out/bin/z", "out/bin/b", "out/lib/c"] {
      reasons.add(try id("libc-amd64-1-1"), "library libc.so.6", of: try TreePath(parsing: path))
    }
    var other = DependencyReasons()
    other.add(try id("libc-amd64-1-1"), "library libc.so.6", of: try TreePath(parsing: "out/bin/a"))
    reasons.formUnion(other)
    #expect(reasons.reasons(for: try id("libc-amd64-1-1")) == ["library libc.so.6 of out/bin/a and 3 more"])
    #expect(
      reasons.metadata.map { "\($0.package) \($0.reasons)" } == [
        "a-amd64-1-1 [\"named in the definition\"]", "libc-amd64-1-1 [\"library libc.so.6 of out/bin/a and 3 more\"]",
      ])
  }

  @Test func `a build stores a reason for each package that it needs by itself`() async throws {
    let bench = try Bench(programs: [
      "install": { _, destination, _ in
        let prefix = "\(destination)/ro/sample-amd64-1-1/out"
        for (path, text) in [("bin/s", "#!/bin/sh\n"), ("lib/pkgconfig/s.pc", "Requires: zlib\n")] {
          let file = "\(prefix)/\(path)"
          try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
          try Data(text.utf8).write(to: URL(filePath: file))
          try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file)
        }
        try FileManager.default.createSymbolicLink(
          atPath: "\(prefix)/lib/link", withDestinationPath: "/ro/linked-amd64-1-1/out/x")
        return 0
      }
    ])
    try await bench.add("bash-amd64-1-1", ["out/bin/sh", "bin/sh"])
    try await bench.add("zlib-amd64-1-1", ["out/lib/pkgconfig/zlib.pc"], runtimeDependencies: ["deep-amd64-1-1"])
    for name in ["linked-amd64-1-1", "named-amd64-1-1", "deep-amd64-1-1"] { try await bench.add(name, ["out/x"]) }
    let package = try #require(
      try await bench.build(
        "source: \"empty://\" version: \"1-1\" build_step: { argv: \"install\" } dep: \"bash\" dep: \"zlib\" dep: \"linked\""
          + " runtime_dep: \"named\" license: \"MIT\" summary: \"A sample\" homepage: \"https://example.org\""
      ).first)
    let metadata = try bench.store.metadata(of: package)
    #expect(
      metadata.dependencyReasons.map { "\($0.package.name): \($0.reasons.joined(separator: "; "))" } == [
        "bash: interpreter of out/bin/s", "linked: target of out/lib/link", "named: named in the definition",
        "zlib: required module zlib of out/lib/pkgconfig/s.pc",
      ])
    #expect(metadata.runtimeDependencies.map(\.name) == ["bash", "deep", "linked", "named", "zlib"])
    #expect(metadata.buildDependencies.map(\.name) == ["bash", "deep", "linked", "zlib"])
    #expect(metadata.license == "MIT" && metadata.summary == "A sample" && metadata.homepage == "https://example.org")
    #expect(metadata.sourceURL == "empty://")
    // The script's first line is pinned.
    let image = try bench.store.image(of: package)
    let script = try #require(try image.node(at: TreePath(parsing: "out/bin/s")))
    #expect(String(decoding: try image.contents(of: script, limit: 100), as: UTF8.self) == "#!/ro/bash-amd64-1-1/bin/sh\n")
  }

  @Test func `the shortest chains are found, with what metadata or files tell`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path.appending("store"))
    let (a, b, c, d, e) = (
      try id("a-amd64-1-1"), try id("b-amd64-1-1"), try id("c-amd64-1-1"), try id("d-amd64-1-1"), try id("e-amd64-1-1")
    )
    func reason(_ package: PackageID, _ text: String) -> PackageMetadata.DependencyReason {
      .init(package: package, reasons: [text])
    }
    try await store.add(
      a, .init(), PackageMetadata(runtimeDependencies: [b, c, d, e], dependencyReasons: [reason(b, "1"), reason(c, "2")]))
    try await store.add(b, .init(), PackageMetadata(runtimeDependencies: [d, e], dependencyReasons: [reason(d, "3")]))
    // Metadata of c do not tell; its files do.
    var tree = PackageTree()
    tree.insertLink(try TreePath(parsing: "out/link"), to: "/ro/d-amd64-1-1/out/x")
    try await store.add(c, tree, PackageMetadata(runtimeDependencies: [d, e]))
    // Nothing tells why d needs e.
    try await store.add(d, .init(), PackageMetadata(runtimeDependencies: [e]))
    try await store.add(e, .init(), PackageMetadata())
    func chains(_ from: PackageID, _ to: PackageID) async throws -> [String] {
      try await DependencyChains(from: from, to: to, in: store).chains.map { chain in
        chain.map { "\($0.package.name) \($0.dependency.name) \($0.reasons)" }.joined(separator: ", ")
      }
    }
    #expect(try await chains(a, b) == ["a b [\"1\"]"])
    #expect(try await chains(a, d) == ["a b [\"1\"], b d [\"3\"]", "a c [\"2\"], c d [\"target of out/link\"]"])
    #expect(try await chains(a, e).first == "a b [\"1\"], b d [\"3\"], d e []")
    await #expect(throws: BuildError.self) { _ = try await chains(b, c) }
  }

  @Test func `programs of an image tell whose library and loader they need`() async throws {
    let folder = try TemporaryDirectory()
    let program = "\(folder.path)/program"
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/gcc")
    process.arguments = ["-x", "c", "-", "-o", program, "-Wl,--dynamic-linker=/ro/glibc-amd64-1-1/out/lib/ld.so"]
    let input = Pipe()
    process.standardInput = input
    try process.run()
    input.fileHandleForWriting.write(Data("int main(void) { return 0; }\n".utf8))
    try input.fileHandleForWriting.close()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    var tree = PackageTree()
    tree.insertFile(try TreePath(parsing: "out/bin/p"), Array(try Data(contentsOf: URL(filePath: program))), permissions: 0o755)
    tree.insertFile(try TreePath(parsing: "out/bin/s"), Array("#!/ro/bash-amd64-1-1/bin/sh\n".utf8), permissions: 0o755)
    tree.insertLink(try TreePath(parsing: "lib/libc.so.6"), to: "/ro/libc-amd64-1-1/out/lib/libc.so.6")
    let store = try LocalStore(path: folder.path.appending("store"))
    let own = try id("own-amd64-1-1")
    try await store.add(own, tree, PackageMetadata())
    let found = try DependencyReasons(of: own, in: store.image(of: own))
    #expect(
      found.metadata.map { "\($0.package.name): \($0.reasons.joined())" } == [
        "bash: interpreter of out/bin/s", "glibc: program loader of out/bin/p", "libc: library libc.so.6 of out/bin/p",
      ])
  }
}

@Suite struct ScriptInterpreterTests {
  @Test func `first lines name packages, own programs first; what nobody has stays and is told`() throws {
    var tree = PackageTree()
    let scripts = [
      "out/bin/by-env": "#!/usr/bin/env python3\nprint()\n", "out/bin/options": "#!/usr/bin/perl -w\n",
      "out/libexec/own": "#!/bin/tool\n", "out/share/x": "#! /usr/local/bin/sh  -e\n", "out/bin/none": "#!/usr/bin/tclsh\n",
      "etc/init": "#!/ro/bin/sh\n", "out/bin/pinned": "#!/ro/perl-amd64-1-1/bin/perl\n",
      "out/bin/split": "#!/usr/bin/env -S python3 -u\n", "out/lib/private": "#!/usr/lib/helper/run\n",
    ]
    for (path, text) in scripts { tree.insertFile(try TreePath(parsing: path), Array(text.utf8), permissions: 0o755) }
    tree.insertFile(try TreePath(parsing: "out/share/data"), Array("#!/bin/sh\n".utf8), permissions: 0o644)
    tree.insertFile(try TreePath(parsing: "out/bin/tool"), Array("program".utf8), permissions: 0o755)
    var others = PackageSet()
    for (name, files) in [
      ("python3-amd64-1-1", ["bin/python3"]), ("perl-amd64-1-1", ["bin/perl"]), ("bash-amd64-1-1", ["bin/sh"]),
      ("bash-amd64-1-2", ["bin/sh"]), ("coreutils-amd64-1-1", ["bin/env"]), ("helper-amd64-1-1", ["out/lib/helper/run"]),
    ] {
      var other = PackageTree()
      for file in files { other.insertFile(try TreePath(parsing: file), [], permissions: 0o755) }
      try others.insert(try id(name), other)
    }
    let unresolved = try ScriptInterpreters(package: try id("own-amd64-1-1"), dependencies: others).pin(in: &tree)
    func line(_ path: String) throws -> String {
      let node = try #require(tree[try TreePath(parsing: path)])
      return String(decoding: try tree.contents(of: node, limit: 1000), as: UTF8.self)
    }
    #expect(try line("out/bin/by-env") == "#!/ro/python3-amd64-1-1/bin/python3\nprint()\n")
    #expect(try line("out/bin/options") == "#!/ro/perl-amd64-1-1/bin/perl -w\n")
    #expect(try line("out/libexec/own") == "#!/ro/own-amd64-1-1/bin/tool\n")
    #expect(try line("out/share/x") == "#!/ro/bash-amd64-1-2/bin/sh -e\n")
    #expect(try line("etc/init") == "#!/ro/bash-amd64-1-2/bin/sh\n")
    #expect(try line("out/bin/split") == "#!/ro/coreutils-amd64-1-1/bin/env -S python3 -u\n")
    #expect(try line("out/lib/private") == "#!/ro/helper-amd64-1-1/out/lib/helper/run\n")
    for path in ["out/bin/pinned", "out/bin/none"] { #expect(try line(path) == scripts[path]) }
    #expect(try line("out/share/data") == "#!/bin/sh\n")
    #expect(unresolved.map { "\($0.path) \($0.interpreter)" } == ["out/bin/none /usr/bin/tclsh"])
  }
}
