// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Testing

@Suite struct MetadataTests {
  @Test func `metadata of the original is read`() throws {
    let text = """
      # a comment
      runtime_dep: "glibc-amd64-2.31-4"
      runtime_dep: "ncurses-amd64-6.2-8"
      source_pkg: "nano"
      version: "4.9.3-9"
      runtime_union: <dir: "lib/gio" pkg: "glib-amd64-2.64-3">
      some_later_field: 7
      """
    let metadata = try PackageMetadata(textproto: Array(text.utf8), subject: "nano")
    #expect(metadata.runtimeDependencies.map(\.description) == ["glibc-amd64-2.31-4", "ncurses-amd64-6.2-8"])
    #expect(metadata.sourcePackage == "nano")
    #expect(metadata.version == "4.9.3-9")
    #expect(metadata.runtimeUnions.map(\.directory.description) == ["lib/gio"])
    #expect(try PackageMetadata(textproto: Array(metadata.textproto.utf8), subject: "again") == metadata)
  }

  @Test func `what we add to metadata is written in the order of the fields and read back`() throws {
    let (a, b) = (try PackageID(parsing: "a-amd64-1-1"), try PackageID(parsing: "b-amd64-1-1"))
    let metadata = PackageMetadata(
      version: "1-1", license: "MIT", summary: "One line", homepage: "https://example.org",
      dependencyReasons: [.init(package: b, reasons: ["x", "y"]), .init(package: a, reasons: ["library «z»"])],
      sourceURL: "https://example.org/a.tar.gz", sourceHash: "ab", buildDependencies: [b, a, b])
    let text = """
      version: "1-1"
      license: "MIT"
      summary: "One line"
      homepage: "https://example.org"
      dep_reason {
        pkg: "a-amd64-1-1"
        reason: "library «z»"
      }
      dep_reason {
        pkg: "b-amd64-1-1"
        reason: "x"
        reason: "y"
      }
      source_url: "https://example.org/a.tar.gz"
      source_hash: "ab"
      build_dep: "a-amd64-1-1"
      build_dep: "b-amd64-1-1"

      """
    #expect(metadata.textproto == text)
    let read = try PackageMetadata(textproto: Array(text.utf8), subject: "a")
    #expect(read.textproto == text && read.dependencyReasons.map(\.package) == [a, b])
    // By number, as other tools may write it.
    let numbered = try PackageMetadata(textproto: Array("1003 { 1: \"a-amd64-1-1\" 2: \"x\" } 1004: \"u\"".utf8), subject: "a")
    #expect(numbered.dependencyReasons == [.init(package: a, reasons: ["x"])] && numbered.sourceURL == "u")
  }

  @Test(arguments: [
    "runtime_dep: \"../../etc-amd64-1-1\"", "runtime_dep: \"nano\"", "runtime_union: <dir: \"../x\" pkg: \"a-amd64-1-1\">", "}{",
    "runtime_dep: \"a",
  ])
  func `hostile metadata is a typed error`(text: String) {
    #expect(throws: StoreError.self) { try PackageMetadata(textproto: Array(text.utf8), subject: "x") }
  }

  @Test func `metadata nested without end is a typed error`() {
    let text = String(repeating: "runtime_union: <", count: 10_000)
    #expect(throws: StoreError.self) { try PackageMetadata(textproto: Array(text.utf8), subject: "x") }
  }

  @Test func `an index is written deterministically and read back`() throws {
    let a = RepositoryIndex.Package(
      id: try PackageID(parsing: "a-amd64-1-1"), wellKnownPaths: ["bin/b", "bin/a"],
      image: .init(byteCount: 4096, sha256: Array(repeating: 7, count: 32)), treeRoot: Array(repeating: 9, count: 32),
      imageTime: 300)
    let b = RepositoryIndex.Package(id: try PackageID(parsing: "b-amd64-1-1"))
    let bytes = try RepositoryIndex(packages: [b, a]).serialized()
    #expect(try RepositoryIndex(packages: [a, b]).serialized() == bytes)
    let read = try RepositoryIndex(serialized: bytes, subject: "x")
    #expect(read.packages.map(\.id) == [a.id, b.id])
    #expect(read.packages[0].image == a.image)
    #expect(read.packages[0].treeRoot == a.treeRoot && read.packages[0].imageTime == 300)
    #expect(read.packages[1].treeRoot == nil && read.packages[1].imageTime == nil)
    // Fields 1010 and 1011, as protocol buffers write them: bytes, and a number.
    let fields: [UInt8] = [0x92, 0x3f, 32] + Array(repeating: 9, count: 32) + [0x98, 0x3f, 0xac, 0x02]
    #expect(bytes.indices.contains { bytes[$0...].starts(with: fields) })
    let short = try RepositoryIndex(packages: [.init(id: a.id, treeRoot: [1, 2, 3])]).serialized()
    #expect(throws: StoreError.self) { try RepositoryIndex(serialized: short, subject: "x") }
    #expect(read.packages[0].wellKnownPaths == ["bin/a", "bin/b"])
    #expect(throws: StoreError.self) { try RepositoryIndex(serialized: Array(bytes.dropLast(3)), subject: "x") }
  }
}
