// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

private func image(_ tree: PackageTree, in folder: FilePath, _ name: String, time: Int64? = nil) throws -> PackageImage {
  let path = folder.appending(name)
  let file = try FileDescriptor.open(path, .readWrite, options: [.create], permissions: .ownerReadWrite)
  defer { try? file.close() }
  var stream = tree.stream()
  _ = try ImageWriter(options: .init(modificationTime: time)).write(&stream, to: file, path: path)
  return try PackageImage(path: path)
}

@Suite struct ImageComparisonTests {
  private func tree() throws -> PackageTree {
    var tree = PackageTree()
    tree.insertFile(try TreePath(parsing: "out/bin/a"), Array(repeating: 7, count: 3_000_000), permissions: 0o755)
    tree.insertFile(try TreePath(parsing: "out/share/b"), Array("text\n".utf8))
    tree.insertLink(try TreePath(parsing: "out/lib"), to: "share")
    return tree
  }

  /// What a change of the tree is called.
  private func differences(_ change: (inout PackageTree) throws -> Void) throws -> [String] {
    let folder = try TemporaryDirectory()
    var other = try tree()
    try change(&other)
    return try ImageComparison(image(tree(), in: folder.path, "1"), image(other, in: folder.path, "2")).differences.map(
      \.description)
  }

  private func node(_ tree: PackageTree, _ path: String) throws -> PackageTree.Node {
    try #require(tree[try TreePath(parsing: path)])
  }

  @Test func `equal images have no differences`() throws {
    #expect(try differences { _ in } == [])
  }

  @Test func `each difference is named with its file and place`() throws {
    let a = "out/bin/a", b = "out/share/b"
    #expect(
      try differences { tree in
        var bytes = [UInt8](repeating: 7, count: 3_000_000)
        bytes[2_500_001] = 8
        tree.insertFile(try TreePath(parsing: a), bytes, permissions: 0o755)
      } == ["out/bin/a: differs from byte 2500001 on"])
    #expect(
      try differences { $0.insertFile(try TreePath(parsing: b), Array("text\nmore".utf8)) }
        == ["out/share/b: differs from byte 5 on; 5 bytes, then 9"])
    #expect(
      try differences { tree in
        var node = try node(tree, b)
        node.entry.permissions = 0o4755
        node.entry.userID = 5
        node.entry.modificationTime = 99
        node.entry.extendedAttributes = [.init(name: Array("user.x".utf8), value: [1])]
        tree.insert(node)
      } == [
        "out/share/b: mode 0644, then 04755", "out/share/b: owner 0:0, then 5:0", "out/share/b: time 0, then 99",
        "out/share/b: extended attributes: user.x",
      ])
    #expect(
      try differences { tree in
        tree.remove(try TreePath(parsing: b))
        tree.insertFile(try TreePath(parsing: "out/share/c"), [])
      } == ["out/share/b: only in the first", "out/share/c: only in the second"])
    #expect(
      try differences { $0.insertLink(try TreePath(parsing: "out/lib"), to: "bin") } == ["out/lib: leads to share, then to bin"])
    #expect(try differences { $0.insertLink(try TreePath(parsing: b), to: "bin") } == ["out/share/b: regular, then symbolicLink"])
  }

  @Test func `images that differ in no file are still told apart`() throws {
    let folder = try TemporaryDirectory()
    let found = try ImageComparison(
      image(tree(), in: folder.path, "1", time: 5), image(tree(), in: folder.path, "2", time: 6)
    ).differences
    #expect(found.count == 1 && "\(found)".contains("the image: all files are the same, but the bytes differ from offset 8 on"))
  }
}

@Suite struct ReproducibilityTests {
  /// A builder whose step writes what the closure gives; the closure gets the number of the build and its jobs.
  private func bench(_ contents: @escaping @Sendable (_ build: Int, _ plan: SandboxPlan) -> String) throws -> Bench {
    let notes = Notes()
    return try Bench(programs: [
      "install": { arguments, destination, plan in
        notes.add("\(arguments[1]) \(destination)")
        let directory = "\(destination)/ro/sample-amd64-1-1/out/share"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try Data("the same".utf8).write(to: URL(filePath: "\(directory)/good"))
        try Data(contents(notes.lines.count, plan).utf8).write(to: URL(filePath: "\(directory)/suspect"))
        #expect(Set(notes.lines.suffix(2)).count == min(notes.lines.count, 2), "two builds with the same jobs in the same place")
        return 0
      }
    ])
  }

  private let text = "source: \"empty://\" version: \"1-1\" build_step: { argv: \"install\" argv: \"${DISTRI_JOBS}\" }"

  private func check(_ bench: Bench) async throws -> ReproducibilityCheck.Outcome {
    let path = "\(bench.folder.path)/pkgs/sample/build.textproto"
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: path))
    let file = try DefinitionFile(directory: bench.folder.path.appending("pkgs/sample"))
    let scratch = bench.folder.path.appending("scratch")
    let outcome = try await ReproducibilityCheck(builder: bench.builder, store: bench.store, scratch: scratch).run(file)
    #expect(!FileManager.default.fileExists(atPath: scratch.string))
    return outcome
  }

  @Test func `a reproducible build gets into the store, and is checked against it the next time`() async throws {
    let bench = try bench { build, _ in build < 3 ? "one" : "two" }
    let outcome = try await check(bench)
    #expect(outcome.differences.isEmpty)
    #expect(outcome.packages == [try PackageID(parsing: "sample-amd64-1-1")])
    #expect(try bench.store.packages() == outcome.packages)
    let again = try await check(bench)
    #expect(again.differences.map(\.other) == [.store])
    #expect(again.differences.first?.differences == ["out/share/suspect: differs from byte 0 on"])
  }

  @Test func `what differs is named, and nothing gets into the store`() async throws {
    let bench = try bench { build, _ in "build \(build)" }
    let outcome = try await check(bench)
    let finding = try #require(outcome.differences.first)
    #expect(outcome.differences.count == 1 && finding.section == .packages && finding.other == .secondBuild)
    #expect(finding.differences == ["out/share/suspect: differs from byte 6 on"])
    #expect(try bench.store.packages().isEmpty)
  }
}

@Suite struct BillOfMaterialsTests {
  private struct Document: Decodable {
    struct Checksum: Decodable {
      var algorithm: String
      var checksumValue: String
    }
    struct Package: Decodable {
      var name: String
      var SPDXID: String
      var versionInfo: String
      var downloadLocation: String
      var filesAnalyzed: Bool
      var licenseDeclared: String
      var licenseComments: String?
      var checksums: [Checksum]?
      var externalRefs: [[String: String]]
      var packageVerificationCode: [String: String]?
    }
    struct File: Decodable {
      var fileName: String
      var SPDXID: String
      var checksums: [Checksum]
    }
    struct Creation: Decodable {
      var created: String
      var creators: [String]
    }
    struct Relationship: Decodable {
      var spdxElementId: String
      var relationshipType: String
      var relatedSpdxElement: String
      var comment: String?
    }
    var spdxVersion: String
    var SPDXID: String
    var creationInfo: Creation
    var packages: [Package]
    var files: [File]
    var relationships: [Relationship]
  }

  @Test func `the document has package, source, files and relationships, and is always the same`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path.appending("store"))
    let own = try PackageID(parsing: "own-amd64-1.0+x~1-2"), run = try PackageID(parsing: "run-amd64-1-1"),
      build = try PackageID(parsing: "build-amd64-1-1")
    let hash = String(repeating: "ab", count: 32)
    var tree = PackageTree(modificationTime: 1_520_139_967)
    tree.insertFile(try TreePath(parsing: "out/bin/b"), Array("abc".utf8), permissions: 0o755)
    tree.insertFile(try TreePath(parsing: "out/bin/a\"\u{1}"), [])
    tree.insertLink(try TreePath(parsing: "bin/b"), to: "../out/bin/b")
    let metadata = PackageMetadata(
      runtimeDependencies: [run], version: own.version, license: "GPL-3.0-or-later AND (MIT OR Zlib)",
      dependencyReasons: [.init(package: run, reasons: ["library x of out/bin/b"])], sourceURL: "https://example.org/own.tar.gz",
      sourceHash: hash, buildDependencies: [build, run])
    try await store.transaction { staging in
      var stream = tree.stream()
      try staging.stage(&stream, of: own)
      try staging.stage(metadata, of: own)
    }
    let text = try await BillOfMaterials(of: own, in: store).json
    #expect(try await BillOfMaterials(of: own, in: store).json == text)
    let document = try JSONDecoder().decode(Document.self, from: Data(text.utf8))
    #expect(document.spdxVersion == "SPDX-2.3" && document.creationInfo.created == "2018-03-04T05:06:07Z")
    let package = try #require(document.packages.first)
    #expect(package.name == "own" && package.versionInfo == "1.0+x~1-2" && package.filesAnalyzed)
    #expect(package.downloadLocation == "https://example.org/own.tar.gz" && package.checksums?.first?.checksumValue == hash)
    #expect(package.licenseDeclared == "GPL-3.0-or-later AND (MIT OR Zlib)")
    #expect(
      package.externalRefs.first?["referenceLocator"]
        == "pkg:generic/own@1.0%2Bx~1-2?arch=amd64&checksum=sha256:\(hash)&download_url=https%3A%2F%2Fexample.org%2Fown.tar.gz")
    // SHA-1 of the two files' SHA-1s, sorted.
    #expect(package.packageVerificationCode?.values.first == "29d0dbdfff975c93e2d75e5024fe8b650ec847af")
    #expect(document.files.map(\.fileName).last == "./out/bin/b" && document.files.count == 2)
    #expect(
      document.files.last?.checksums.map(\.checksumValue) == [
        "a9993e364706816aba3e25717850c26c9cd0d89d", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      ])
    let all = document.packages.map(\.SPDXID) + document.files.map(\.SPDXID) + ["SPDXRef-DOCUMENT"]
    #expect(Set(all).count == all.count)
    let idCharacters = try Regex("SPDXRef-[A-Za-z0-9.-]+")
    for id in all { #expect(try idCharacters.wholeMatch(in: id) != nil, "\(id)") }
    for relationship in document.relationships {
      #expect(all.contains(relationship.spdxElementId) && all.contains(relationship.relatedSpdxElement))
    }
    let types = document.relationships.map(\.relationshipType)
    #expect(types == ["DESCRIBES", "CONTAINS", "CONTAINS", "DEPENDS_ON", "BUILD_DEPENDENCY_OF", "BUILD_DEPENDENCY_OF"])
    #expect(document.relationships[3].comment == "library x of out/bin/b")
  }

  @Test func `a licence in words that are no expression is a comment`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path.appending("store"))
    let own = try PackageID(parsing: "own-amd64-1-1")
    for (revision, license) in ["public domain", "MIT AND", "(MIT", "AND", "MIT)"].enumerated() {
      let own = try PackageID(parsing: "own-amd64-1-\(revision + 2)")
      try await store.transaction { staging in
        var stream = PackageTree().stream()
        try staging.stage(&stream, of: own)
        try staging.stage(PackageMetadata(license: license), of: own)
      }
      let text = try await BillOfMaterials(of: own, in: store).json
      let package = try #require(try JSONDecoder().decode(Document.self, from: Data(text.utf8)).packages.first)
      #expect(package.licenseDeclared == "NOASSERTION" && package.licenseComments == "The package says: \(license)")
      #expect(package.downloadLocation == "NOASSERTION" && !package.filesAnalyzed)
    }
    await #expect(throws: StoreError.self) { _ = try await BillOfMaterials(of: own, in: store) }
  }
}
