// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

private let id = try? PackageID(parsing: "sample-amd64-1-1")

/// Carries out the instructions of a definition on files that are there.
private func install(_ text: String, on files: [String], source: FilePath = "/") throws -> PackageTree {
  var tree = try package(files)
  let package = try #require(id)
  let installation = Installation(
    package: package, instructions: try parse("install: { \(text) }").install,
    variables: Variables(layout: BuildLayout(package: package, definition: "/d", below: "/w"), dependencies: []), source: source)
  try installation.apply(to: &tree)
  try installation.applyCapabilities(to: &tree)
  return tree
}

extension PackageTree {
  fileprivate func entry(_ path: String) throws -> TreeEntry? { self[try TreePath(parsing: path)]?.entry }
}

@Suite struct InstallationTests {
  @Test func `delete removes files and directories`() throws {
    let tree = try install("delete: \"share/info\" delete: \"bin/a\"", on: ["out/share/info/dir", "out/bin/a", "out/bin/b"])
    #expect(try tree.entry("out/share/info") == nil && tree.entry("out/share/info/dir") == nil && tree.entry("out/bin/a") == nil)
    #expect(try tree.entry("out/bin/b") != nil)
  }

  @Test func `systemd_unit and file copy from the source`() throws {
    let source = try TemporaryDirectory()
    for (name, mode) in [("a.service", 0o600), ("run.sh", 0o755)] {
      let file = "\(source.path)/\(name)"
      try Data(name.utf8).write(to: URL(filePath: file))
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file)
    }
    let tree = try install(
      "systemd_unit: \"a.service\" file: { srcpath: \"run.sh\" destpath: \"libexec/run\" }", on: [], source: source.path)
    let unit = try #require(try tree.entry("out/lib/systemd/system/a.service"))
    #expect(unit.permissions == 0o644 && unit.kind == .regular(byteCount: 9))
    #expect(try tree.entry("out/libexec/run")?.permissions == 0o755)
    #expect(throws: BuildError.self) { try install("systemd_unit: \"b.service\"", on: [], source: source.path) }
    #expect(throws: BuildError.self) {
      try install("file: { srcpath: \"../../etc/passwd\" destpath: \"x\" }", on: [], source: source.path)
    }
  }

  @Test func `a link of the source is not followed out of it`() throws {
    let source = try TemporaryDirectory()
    try FileManager.default.createSymbolicLink(atPath: "\(source.path)/conf", withDestinationPath: "/etc")
    try FileManager.default.createSymbolicLink(atPath: "\(source.path)/passwd", withDestinationPath: "/etc/passwd")
    for path in ["conf/passwd", "passwd"] {
      #expect(throws: BuildError.self) {
        try install("file: { srcpath: \"\(path)\" destpath: \"x\" }", on: [], source: source.path)
      }
    }
  }

  @Test func `symlink, empty_dir and chmod`() throws {
    let text = """
      symlink: { oldname: "gcc" newname: "bin/cc" } empty_dir: "share/empty" chmod: { setuid: true name: "bin/gcc" }
      """
    let tree = try install(text, on: ["out/bin/gcc"])
    #expect(try tree.entry("out/bin/cc")?.kind == .symbolicLink(target: Array("gcc".utf8)))
    #expect(try tree.entry("out/share/empty")?.kind == .directory)
    #expect(try tree.entry("out/bin/gcc")?.permissions == 0o4644)
  }

  @Test func `rename moves directories with what is in them and keeps hard links`() throws {
    var tree = try package(["out/a/x/file"])
    tree.insert(
      .init(
        entry: TreeEntry(
          path: try TreePath(parsing: "out/link"), kind: .hardLink(to: try TreePath(parsing: "out/a/x/file")), permissions: 0o644)))
    tree.move(try TreePath(parsing: "out/a"), to: try TreePath(parsing: "out/b/c"))
    #expect(try tree.entry("out/a") == nil && tree.entry("out/b/c/x/file") != nil)
    #expect(try tree.entry("out/link")?.kind == .hardLink(to: TreePath(parsing: "out/b/c/x/file")))
    #expect(try install("rename: { oldname: \"bin/a\" newname: \"bin/b\" }", on: ["out/bin/a"]).entry("out/bin/b") != nil)
  }

  @Test func `capability becomes the attribute that the kernel reads`() throws {
    let tree = try install(
      "capability: { filename: \"bin/ping\" capability: \"cap_net_raw,cap_net_admin=ep\" }", on: ["out/bin/ping"])
    let attributes = try #require(try tree.entry("out/bin/ping")?.extendedAttributes)
    #expect(attributes.map { String(decoding: $0.name, as: UTF8.self) } == ["security.capability"])
    // Bits 12 and 13, permitted, with the effective flag of revision 2.
    #expect(attributes[0].value == [1, 0, 0, 2, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    #expect(
      FileCapabilities(parsing: "cap_bpf+i")?.attribute.value == [0, 0, 0, 2] + [UInt8](repeating: 0, count: 12) + [0x80, 0, 0, 0])
    for wrong in ["", "cap_nothing=ep", "cap_chown", "cap_chown=x", "=ep"] { #expect(FileCapabilities(parsing: wrong) == nil) }
  }

  @Test(arguments: [
    "delete: \"none\"", "chmod: { name: \"none\" }", "capability: { filename: \"none\" capability: \"cap_chown=p\" }",
    "rename: { oldname: \"none\" newname: \"x\" }", "rename: { oldname: \"bin\" newname: \"bin/x\" }",
    "rename: { oldname: \"bin/a\" newname: \"bin/b\" }", "symlink: { oldname: \"x\" newname: \"bin/a\" }", "delete: \"../etc\"",
    "delete: \"/\"", "empty_dir: \"a/../../b\"", "capability: { filename: \"bin/a\" capability: \"cap_x=p\" }",
  ])
  func `an instruction that cannot be carried out is an error that names the package and the pass`(text: String) {
    #expect {
      try install(text, on: ["out/bin/a", "out/bin/b"])
    } throws: { error in
      guard case .invalidPackage("sample-amd64-1-1", "install instructions", _) = error as? BuildError else { return false }
      return true
    }
  }
}

@Suite struct SplitPackageTests {
  private func split(_ text: String, _ tree: inout PackageTree) throws -> [(PackageID, PackageTree)] {
    let definition = try parse("version: \"1-1\" \(text)")
    return try SplitPackages(package: definition.package(for: .amd64), splits: definition.splitPackages).split(&tree)
  }

  @Test func `a claimed file moves and leaves a link behind`() throws {
    var tree = try package([
      "out/lib/libudev.so.1", "out/lib/libudev.so", "out/lib/udev/rules", "out/lib/other.so", "out/lib/crt1.o",
    ])
    let text = """
      split_package: { name: "libudev" claim: { glob: "out/lib/libudev.so*" } claim: { glob: "out/lib/crt?.o" dir: "out/lib64" } }
      split_package: { name: "udev" claim: { glob: "out/lib/udev" } }
      """
    let parts = try split(text, &tree)
    #expect(parts.map(\.0.description) == ["libudev-amd64-1-1", "udev-amd64-1-1"])
    #expect(
      parts[0].1.sortedNodes.map(\.entry.path.description) == [
        "out", "out/lib", "out/lib/libudev.so", "out/lib/libudev.so.1", "out/lib64", "out/lib64/crt1.o",
      ])
    #expect(try parts[1].1.entry("out/lib/udev/rules") != nil)
    #expect(
      try tree.entry("out/lib/libudev.so.1")?.kind
        == .symbolicLink(target: Array("/ro/libudev-amd64-1-1/out/lib/libudev.so.1".utf8)))
    #expect(
      try tree.entry("out/lib/crt1.o")?.kind == .symbolicLink(target: Array("/ro/libudev-amd64-1-1/out/lib64/crt1.o".utf8)))
    #expect(try tree.entry("out/lib/udev")?.kind == .symbolicLink(target: Array("/ro/udev-amd64-1-1/out/lib/udev".utf8)))
    if case .regular = try tree.entry("out/lib/other.so")?.kind {} else { Issue.record("other.so is gone") }
  }

  @Test func `further names of a claimed file keep its bytes`() throws {
    var tree = PackageTree()
    tree.insertFile(try TreePath(parsing: "out/bin/a"), [1, 2, 3])
    for name in ["b", "c"] {
      tree.insert(
        .init(
          entry: TreeEntry(
            path: try TreePath(parsing: "out/bin/\(name)"), kind: .hardLink(to: try TreePath(parsing: "out/bin/a")),
            permissions: 0o644)))
    }
    let parts = try split("split_package: { name: \"x\" claim: { glob: \"out/bin/a\" } }", &tree)
    #expect(try tree.entry("out/bin/b")?.kind == .regular(byteCount: 3))
    #expect(try tree.entry("out/bin/c")?.kind == .hardLink(to: TreePath(parsing: "out/bin/b")))
    #expect(try parts[0].1.entry("out/bin/a")?.kind == .regular(byteCount: 3))
  }

  @Test(arguments: [
    "split_package: { name: \"x\" claim: { glob: \"out/none*\" } }", "split_package: { name: \"sample\" }",
    "split_package: { name: \"../x\" }", "split_package: { name: \"x\" } split_package: { name: \"x\" }",
    "split_package: { name: \"x\" claim: { glob: \"out/lib/a\" dir: \"../..\" } }",
  ])
  func `a claim that makes no sense is an error`(text: String) throws {
    var tree = try package(["out/lib/a"])
    #expect(throws: (any Error).self) { try split(text, &tree) }
  }
}

@Suite struct SourceTests {
  @Test(arguments: [
    ("https://example.org/hello-2.10.tar.gz", "hello", "2.10"), ("https://x/nano_7.2.orig.tar.xz", "nano", "7.2"),
    ("https://x/o/systemd/archive/v245.tar.gz", "systemd", "245"),
    ("https://x/zlib_1.2.13.dfsg.orig.tar.bz2", "zlib", "1.2.13.dfsg"),
    ("https://x/gtk+-3.0-rc1.zip?download=1#x", "gtk+", "3.0-rc1"), ("https://x/libfoo-v1.2.tgz", "libfoo", "1.2"),
    ("https://x/a/Linux_Pam-1.3.1.tar", "linux-pam", "1.3.1"),
  ])
  func `name and version come from the URL`(url: String, name: String, version: String) throws {
    let upstream = try UpstreamArchive(url: url)
    #expect(upstream.name == name && upstream.version == version)
  }

  @Test(arguments: ["", "https://", "https://example.org/", "https://x/file.tar.gz", "https://x/..", "https://x/-1.tar.gz"])
  func `a URL that does not tell is an error`(url: String) {
    #expect(throws: BuildError.self) { try UpstreamArchive(url: url) }
  }

  @Test func `a first definition parses`() throws {
    for builder in ["cbuilder", nil] {
      var draft = DefinitionDraft(package: "a", version: "1", source: "https://x/a\"b.tar", hash: "00")
      draft.builder = builder
      let definition = try parse(draft.text(revision: 1))
      #expect(definition.source == "https://x/a\"b.tar" && definition.hash == "00" && definition.version == "1-1")
      #expect((definition.builder == nil) == (builder == nil))
    }
  }

  @Test func `SHA-256 is that of the file, and a difference names both`() throws {
    let directory = try TemporaryDirectory()
    let file = directory.path.appending("abc")
    try Data("abc".utf8).write(to: URL(filePath: file.string))
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    #expect(try Checksum.sha256(of: file) == hash)
    try Checksum.verify(file, is: SourceReference(url: "https://x/abc", hash: hash.uppercased()))
    #expect {
      try Checksum.verify(file, is: SourceReference(url: "https://x/abc", hash: "00"))
    } throws: { error in
      "\(error)".contains(hash) && "\(error)".contains("the definition says 00")
    }
  }
}
