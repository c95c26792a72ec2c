// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// A definition with files beside it.
private final class Sample {
  let folder: TemporaryDirectory
  var text = """
    # A comment.
    source: "https://example.org/sample-1.tar.gz"
    hash: "00"
    version: "1-1"
    cherry_pick: "fix.patch"
    extra_file: "extra"
    dep: "a"
    dep: "b"
    build_step: { argv: "make" argv: "install" }
    """
  var dependencies = ["glibc-amd64-2.36-1": "sha256-aa", "bash-amd64-5.2-1": "sha256-bb"]

  init() throws {
    folder = try TemporaryDirectory()
    try write("fix.patch", "--- a\n")
    try write("extra", "extra\n")
    try write("wrappers/prog", "#!/bin/sh\n", mode: 0o755)
  }

  func write(_ name: String, _ contents: String, mode: Int = 0o644) throws {
    let path = "\(folder.path)/sample/\(name)"
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(contents.utf8).write(to: URL(filePath: path))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
  }

  func digest(for architecture: Architecture = .amd64) throws -> String {
    try write("build.textproto", text)
    return try InputDigest(
      definition: DefinitionFile(directory: folder.path.appending("sample")),
      dependencies: dependencies.map { .init(package: try PackageID(parsing: $0.key), digest: $0.value) },
      architecture: architecture
    ).text
  }
}

@Suite struct InputDigestTests {
  @Test func `the encoding is the one that is documented`() throws {
    // Whoever changes this value changes the digests of all packages: raise builderVersion.
    let digest = try Sample().digest()
    #expect(digest == "sha256-07c02a0b3ac26cefdee0a80918cbb574560df3ea26db7f470977ef4940077bbf")
  }

  @Test func `comments, formatting, the order of fields, pull and false flags do not count`() throws {
    let sample = try Sample()
    let digest = try sample.digest()
    sample.text = """
      build_step < argv: 'make', argv: "inst" "all" >   # the same
      version: "1-\\x31" in_tree_build: false
      dep: "a" hash: "00" dep: "b" extra_file: "extra" cherry_pick: "fix.patch"
      source: "https://example.org/sample-1.tar.gz"
      pull: { debian_packages: "sample" }
      """
    #expect(try sample.digest() == digest)
  }

  @Test func `everything that decides what comes out counts`() throws {
    let digest = try Sample().digest()
    var seen: Set<String> = [digest]
    func check(_ what: String, architecture: Architecture = .amd64, _ change: (Sample) throws -> Void) throws {
      let sample = try Sample()
      try change(sample)
      #expect(seen.insert(try sample.digest(for: architecture)).inserted, "\(what) does not count")
    }
    try check("the version") { $0.text.replace("1-1", with: "1-2") }
    try check("the source's hash") { $0.text.replace("\"00\"", with: "\"01\"") }
    try check("the order of dependencies") { $0.text.replace("dep: \"a\"\ndep: \"b\"", with: "dep: \"b\"\ndep: \"a\"") }
    try check("where an argument ends") { $0.text.replace("argv: \"make\" argv: \"install\"", with: "argv: \"make install\"") }
    try check("another field") { $0.text += "\nwritable_sourcedir: true" }
    try check("a patch") { try $0.write("fix.patch", "--- b\n") }
    try check("an extra file") { try $0.write("extra", "other\n") }
    try check("a wrapper's bytes") { try $0.write("wrappers/prog", "#!/bin/bash\n", mode: 0o755) }
    try check("a wrapper's mode") { try $0.write("wrappers/prog", "#!/bin/sh\n", mode: 0o644) }
    try check("a further wrapper") { try $0.write("wrappers/other", "", mode: 0o755) }
    try check("a dependency's digest") { $0.dependencies["glibc-amd64-2.36-1"] = "sha256-ab" }
    try check("a further dependency") { $0.dependencies["zlib-amd64-1-1"] = "sha256-cc" }
    try check("the architecture", architecture: .arm64) { _ in }
    let again = try Sample()
    try again.write("wrappers/prog", "#!/bin/sh\n", mode: 0o775)
    try again.write("unused", "")
    #expect(try again.digest() == digest, "a umask or a file that is not used counts")
  }

  @Test func `of a source that is a directory, all files count`() throws {
    let sample = try Sample()
    sample.text = "source: \"tree\" version: \"1-1\" build_step: { argv: \"true\" }"
    let time = [FileAttributeKey.modificationDate: Date(timeIntervalSince1970: 1_000_000_000)]
    func digest(_ contents: String) throws -> String {
      try sample.write("tree/deep/file", contents)
      try FileManager.default.setAttributes(time, ofItemAtPath: "\(sample.folder.path)/sample/tree/deep/file")
      return try sample.digest()
    }
    let first = try digest("a")
    #expect(try digest("b") != first)
    #expect(try digest("a") == first)
  }

  @Test func `a source that is taken from another definition counts with that one's patches`() throws {
    let sample = try Sample()
    sample.text = "source: \"distri+source://other\" version: \"1-1\" build_step: { argv: \"true\" }"
    try sample.write("../other/build.textproto", "source: \"empty://\" version: \"1-1\" cherry_pick: \"a.patch\"")
    try sample.write("../other/a.patch", "a")
    let first = try sample.digest()
    try sample.write("../other/a.patch", "b")
    #expect(try sample.digest() != first)
    try sample.write("../other/build.textproto", "source: \"distri+source://other\" version: \"1-1\"")
    #expect(throws: BuildError.self) { try sample.digest() }
  }

  @Test func `a file that is missing is named`() throws {
    let sample = try Sample()
    sample.text.replace("fix.patch", with: "none.patch")
    #expect {
      try sample.digest()
    } throws: {
      "\($0)".contains("none.patch")
    }
  }

  @Test func `a build stores the digest that can be computed before it, and dependencies without one count by their content`()
    async throws
  {
    let programs: [String: ScriptedSandbox.Program] = [
      "install": { _, destination, _ in
        let file = "\(destination)/ro/sample-amd64-1-1/out/share/a"
        try FileManager.default.createDirectory(
          atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data("a".utf8).write(to: URL(filePath: file))
        return 0
      }
    ]
    let text = "source: \"empty://\" version: \"1-1\" build_step: { argv: \"install\" } dep: \"tool\" runtime_dep: \"data\""
    func digest(data: [String]) async throws -> String {
      let bench = try Bench(programs: programs)
      try await bench.add("tool-amd64-1-1", ["out/bin/tool"])
      try await bench.add("data-amd64-1-1", data)
      let package = try #require(try await bench.build(text).first)
      let stored = try bench.store.metadata(of: package).inputDigest
      let file = try DefinitionFile(directory: bench.folder.path.appending("pkgs/sample"))
      #expect(try await InputDigest(definition: file, in: bench.store).text == stored)
      return stored
    }
    let first = try await digest(data: ["out/a"])
    #expect(first.hasPrefix("sha256-") && first.utf8.count == 71)
    #expect(try await digest(data: ["out/a"]) == first)
    #expect(try await digest(data: ["out/b"]) != first)
  }
}
