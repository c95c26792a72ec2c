// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// What the steps may leave, and what not.
@Suite struct InstalledFilesTests {
  private let layout: BuildLayout

  init() throws {
    layout = BuildLayout(package: try PackageID(parsing: "sample-amd64-1-1"), definition: "/d/sample", below: "/work")
  }

  private func entry(_ path: String, _ kind: TreeEntry.Kind, permissions: UInt16 = 0o644) throws -> TreeEntry {
    TreeEntry(path: try TreePath(parsing: path), kind: kind, permissions: permissions)
  }

  private func tree(_ entries: [TreeEntry]) -> PackageTree {
    var tree = PackageTree()
    for entry in entries {
      var contents: PackageTree.Contents?
      if case .regular = entry.kind { contents = .bytes([]) }
      tree.insert(.init(entry: entry, contents: contents))
    }
    return tree
  }

  private func refusal(_ tree: PackageTree, _ install: InstallInstructions = InstallInstructions()) -> String? {
    var tree = tree
    do {
      _ = try InstalledFiles(layout: layout, install: install).clean(&tree)
      return nil
    } catch {
      return "\(error)"
    }
  }

  @Test func `devices, pipes and sockets are refused by name, unless the definition deletes them`() throws {
    let tree = tree([
      try entry("out/a/disk", .blockDevice(major: 8, minor: 0)), try entry("out/null", .characterDevice(major: 1, minor: 3)),
      try entry("out/run/pipe", .fifo), try entry("out/run/socket", .socket), try entry("out/fine", .regular(byteCount: 0)),
    ])
    let words = try #require(refusal(tree))
    #expect(words.hasPrefix("sample-amd64-1-1: installed files: out/a/disk is a device; out/null is a device; "))
    #expect(words.contains("out/run/pipe is a named pipe; out/run/socket is a socket; change that"))
    var install = InstallInstructions()
    install.deletions = ["a", "${DISTRI_PREFIX}/null", "run"]
    #expect(refusal(tree, install) == nil)
  }

  @Test(arguments: [
    "b", "../lib/b", "/ro/sample-amd64-1-1/out/lib/b", "/ro/other-amd64-1-1/out/b", "/etc/passwd", "/usr/share/zoneinfo/UTC",
    "/dev/null", "../../../../etc/hosts", "/usr/src/linux", "/proc/self/mounts", "/run/x", "/", ".",
  ])
  func `links to places of a running system stay`(target: String) throws {
    var tree = tree([try entry("out/bin/a", .symbolicLink(target: Array(target.utf8)))])
    let before = tree.sortedNodes
    #expect(try InstalledFiles(layout: layout, install: InstallInstructions()).clean(&tree) == [])
    #expect(tree.sortedNodes == before)
  }

  @Test(arguments: [
    "/build/x", "/usr/src/sample-amd64-1-1/x", "/tmp/x", "/root/.profile", "/home/me/x", "/work/x", "../../../../tmp/x",
    "/usr/../build/x", "/dest", "../../../../../../../home",
  ])
  func `links to places of the build or of nobody are refused`(target: String) throws {
    let words = refusal(tree([try entry("out/bin/a", .symbolicLink(target: Array(target.utf8)))]))
    #expect(words?.contains("out/bin/a is a link to \(target), which is in no running system") == true)
  }

  @Test func `DESTDIR is taken off links`() throws {
    var tree = tree([
      try entry("out/bin/a", .symbolicLink(target: Array("/dest/tmp/ro/sample-amd64-1-1/out/lib/b".utf8)))
    ])
    let changes = try InstalledFiles(layout: layout, install: InstallInstructions()).clean(&tree)
    #expect(changes == ["out/bin/a: its target began with DESTDIR"])
    #expect(
      tree[try TreePath(parsing: "out/bin/a")]?.entry.kind
        == .symbolicLink(target: Array("/ro/sample-amd64-1-1/out/lib/b".utf8)))
  }

  @Test func `what was not declared is taken away and reported`() throws {
    var owned = try entry("out/share/owned", .regular(byteCount: 0))
    owned.userID = 1000
    owned.groupID = 5
    var capable = try entry("out/bin/capable", .regular(byteCount: 0), permissions: 0o755)
    capable.extendedAttributes = ["security.capability", "security.selinux", "user.note"].map {
      ExtendedAttribute(name: Array($0.utf8), value: [1])
    }
    var tree = tree([
      try entry("out/bin/su", .regular(byteCount: 0), permissions: 0o6755),
      try entry("out/bin/ping", .regular(byteCount: 0), permissions: 0o4755),
      try entry("out/share/shared", .directory, permissions: 0o2775), owned, capable,
    ])
    var install = InstallInstructions()
    install.modes = [.init(setsUserID: true, name: "bin/ping")]
    let changes = try InstalledFiles(layout: layout, install: install).clean(&tree)
    #expect(
      changes == [
        "out/bin/capable: capabilities cleared; install { capability { … } } gives them",
        "out/bin/su: setuid bit cleared; install { chmod { setuid: true name: \"…\" } } keeps it", "out/bin/su: setgid bit cleared",
        "out/share/owned: owner 1000:5 changed to root",
      ])
    func left(_ path: String) throws -> TreeEntry { try #require(tree[try TreePath(parsing: path)]).entry }
    #expect(try left("out/bin/su").permissions == 0o755)
    #expect(try left("out/bin/ping").permissions == 0o4755)
    #expect(try left("out/share/shared").permissions == 0o775)
    #expect(try left("out/share/owned").userID == 0 && left("out/share/owned").groupID == 0)
    #expect(try left("out/bin/capable").extendedAttributes.map { String(decoding: $0.name, as: UTF8.self) } == ["user.note"])
  }

  @Test func `a further name outside of the package is refused, one inside is not`() throws {
    let folder = try TemporaryDirectory()
    let out = folder.path.appending("package/out")
    try FileManager.default.createDirectory(atPath: out.string, withIntermediateDirectories: true)
    for name in ["inside", "outside"] { try Data("x".utf8).write(to: URL(filePath: out.appending(name).string)) }
    #expect(link(out.appending("inside").string, out.appending("again").string) == 0)
    let package = folder.path.appending("package")
    #expect(refusal(try PackageTree(directory: package)) == nil)
    #expect(link(out.appending("outside").string, folder.path.appending("victim").string) == 0)
    #expect(refusal(try PackageTree(directory: package))?.contains("out/outside is a hard link to a file outside") == true)
  }
}
