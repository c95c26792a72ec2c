// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

@Suite struct SourceEditTests {
  private struct NoFetcher: SourceFetcher {
    func fetch(_ source: SourceReference, to path: FilePath) async throws { throw Errno.noSuchFileOrDirectory }
  }

  private func write(_ text: String, to path: String) throws {
    try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: path))
  }

  @Test func `a change becomes a patch that gives the change again, on top of the patches before`() async throws {
    let folder = try TemporaryDirectory()
    let home = "\(folder.path)/pkgs/sample"
    try write("one\ntwo\nthree\n", to: "\(home)/tree/a.txt")
    try write("gone\n", to: "\(home)/tree/old.txt")
    try write("--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n", to: "\(home)/first.patch")
    try write(
      "source: \"tree\"\nversion: \"1-1\"\ncherry_pick: \"first.patch\"  # why\nbuild_step: { argv: \"x\" }",
      to: "\(home)/build.textproto")
    var file = try DefinitionFile(directory: FilePath(home))
    let edit = SourceEdit(file, fetcher: NoFetcher(), directory: folder.path.appending("edit"))
    try await edit.prepare()
    #expect(try await edit.difference() == [])
    #expect(try String(contentsOfFile: "\(edit.changed)/a.txt", encoding: .utf8) == "one\nTWO\nthree\n")
    try write("one\nTWO\nthree\nfour\n", to: "\(edit.changed)/a.txt")
    try write("new\n", to: "\(edit.changed)/sub/new.txt")
    try FileManager.default.removeItem(atPath: "\(edit.changed)/old.txt")
    let patch = String(decoding: try await edit.difference(), as: UTF8.self)
    #expect(
      patch == """
        --- a/a.txt
        +++ b/a.txt
        @@ -1,3 +1,4 @@
         one
         TWO
         three
        +four
        --- a/old.txt
        +++ /dev/null
        @@ -1 +0,0 @@
        -gone
        --- /dev/null
        +++ b/sub/new.txt
        @@ -0,0 +1 @@
        +new

        """)
    try edit.remove()

    try write(patch, to: "\(home)/second.patch")
    try file.addPatch("second.patch")
    #expect(
      String(decoding: file.bytes, as: UTF8.self)
        == "source: \"tree\"\nversion: \"1-1\"\ncherry_pick: \"first.patch\"  # why\ncherry_pick: \"second.patch\"\nbuild_step: { argv: \"x\" }"
    )
    let again = SourceEdit(file, fetcher: NoFetcher(), directory: folder.path.appending("again"))
    try await again.prepare()
    #expect(try String(contentsOfFile: "\(again.changed)/sub/new.txt", encoding: .utf8) == "new\n")
    #expect(!FileManager.default.fileExists(atPath: "\(again.changed)/old.txt"))
    #expect(try await again.difference() == [])
  }

  @Test func `a changed program is no patch, and a patch that does not apply says so`() async throws {
    let folder = try TemporaryDirectory()
    let home = "\(folder.path)/pkgs/sample"
    try write("a\0b", to: "\(home)/tree/data")
    try write("source: \"tree\"\nversion: \"1-1\"\nbuild_step: { argv: \"x\" }\n", to: "\(home)/build.textproto")
    let file = try DefinitionFile(directory: FilePath(home))
    let edit = SourceEdit(file, fetcher: NoFetcher(), directory: folder.path.appending("edit"))
    try await edit.prepare()
    try write("a\0c", to: "\(edit.changed)/data")
    await #expect {
      try await edit.difference()
    } throws: { error in
      if case .source("sample", let reason) = error as? BuildError { reason.contains("extra_file") } else { false }
    }
    try write("--- a/none\n+++ b/none\n@@ -1 +1 @@\n-x\n+y\n", to: "\(home)/bad.patch")
    try write(
      "source: \"tree\"\nversion: \"1-1\"\ncherry_pick: \"bad.patch\"\nbuild_step: { argv: \"x\" }\n", to: "\(home)/build.textproto"
    )
    let bad = SourceEdit(
      try DefinitionFile(directory: FilePath(home)), fetcher: NoFetcher(), directory: folder.path.appending("bad"))
    await #expect {
      try await bad.prepare()
    } throws: { error in
      if case .tool("patch", _) = error as? BuildError { true } else { false }
    }
  }
}
