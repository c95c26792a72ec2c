// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct TreeExtractorTests {
  @Test func `an extracted archive is the tree that was packed`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(ArchiveTreeTests.plain, in: folder.path)
    try await shell(ArchiveTreeTests.rich, in: folder.path)
    try await shell(
      """
      chown 7:8 tree/dir tree/pipe && chown -h 9:9 tree/dir/link && chmod 6755 tree/program && chmod 1700 tree/dir/sub
      setcap cap_net_raw+ep tree/program && chmod 500 tree && find tree -exec touch -h -d @1600000000 {} +
      tar --format=pax --xattrs --xattrs-include='*' -S -cf archive -C tree .
      """, in: folder.path)
    var tree = try ArchiveTree(path: folder.path.appending("archive"))
    let target = folder.path.appending("out")
    let summary = try TreeExtractor.extract(&tree, into: target, options: .init(devices: .create))
    let original = try TreeSnapshot(directory: folder.path.appending("tree"))
    let extracted = try TreeSnapshot(directory: target)
    #expect(extracted == original, "\(extracted.differences(from: original))")
    #expect(summary.entryCount == original.items.count)
    #expect(summary.skipped.isEmpty)
    // Holes stay holes: five megabytes take less than one.
    try await shell("test $(du -k out/sparse | cut -f1) -lt 1000 && test $(du -k out/hole | cut -f1) -lt 100", in: folder.path)
  }

  @Test func `a tree of a directory is extracted like any other`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(ArchiveTreeTests.plain, in: folder.path)
    try await shell(ArchiveTreeTests.rich, in: folder.path)
    var tree = try DirectoryTree(path: folder.path.appending("tree"))
    let summary = try TreeExtractor.extract(&tree, into: folder.path.appending("out"), options: .init(devices: .skip))
    #expect(summary.skipped.map(\.description) == ["null"])
    var original = try TreeSnapshot(directory: folder.path.appending("tree"))
    original.items["null"] = nil
    #expect(try TreeSnapshot(directory: folder.path.appending("out")) == original)
  }

  @Test func `owners, attributes and devices only when asked for`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(
      """
      mkdir tree && printf x > tree/f && chown 5:6 tree/f && setfattr -n user.a -v b tree/f
      tar --format=pax --xattrs -cf archive tree && mknod tree/null c 1 3 && tar -cf devices tree
      """, in: folder.path)
    var tree = try ArchiveTree(path: folder.path.appending("archive"), strippingComponents: 1)
    let options = TreeExtractor.Options(keepsOwners: false, keepsExtendedAttributes: false)
    try TreeExtractor.extract(&tree, into: folder.path.appending("out"), options: options)
    let entry = try #require(try TreeSnapshot(directory: folder.path.appending("out"))["f"]?.entry)
    #expect(entry.userID == 0 && entry.groupID == 0 && entry.extendedAttributes.isEmpty)

    var devices = try ArchiveTree(path: folder.path.appending("devices"), strippingComponents: 1)
    let error = #expect(throws: StoreError.self) {
      try TreeExtractor.extract(&devices, into: folder.path.appending("out2"))
    }
    #expect(error?.description.contains("«null»") == true)
  }

  @Test func `directories that an archive leaves out or names late are made`() throws {
    let folder = try TemporaryDirectory()
    var tar = TarBuilder()
    tar.file("a/b/c", "c")
    tar.file("a/d", "d")
    tar.directory("a/", mode: 0o1700)
    try write(tar.finished, to: folder.path.appending("archive"))
    var tree = try ArchiveTree(path: folder.path.appending("archive"))
    try TreeExtractor.extract(&tree, into: folder.path.appending("out"))
    let out = try TreeSnapshot(directory: folder.path.appending("out"))
    #expect(out.order.map(\.description) == [".", "a", "a/b", "a/b/c", "a/d"])
    #expect(out["a"]?.entry.permissions == 0o1700 && out["a/b"]?.entry.permissions == 0o755)
    #expect(out["a/b"]?.entry.modificationTime == 1_700_000_000)
  }

  /// Each wants to change `outside/secret`, beside the directory that is extracted into.
  struct Attack: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var fails: Bool
    var archive: [UInt8]

    init(_ description: String, fails: Bool = true, _ build: (inout TarBuilder) -> Void) {
      testDescription = description
      self.fails = fails
      var tar = TarBuilder()
      build(&tar)
      archive = tar.finished
    }

    static let all = [
      Attack("a file through a link") { tar in
        tar.symbolicLink("l", to: "../outside")
        tar.file("l/secret", "x")
      },
      Attack("a file through an absolute link") { tar in
        tar.symbolicLink("l", to: "/")
        tar.file("l/tmp/distri-escaped", "x")
      },
      Attack("a file through a link to a directory that is inside") { tar in
        tar.directory("d")
        tar.symbolicLink("l", to: "d")
        tar.file("l/f", "x")
      },
      Attack("a directory over a link") { tar in
        tar.symbolicLink("l", to: "../outside")
        tar.directory("l")
        tar.file("l/secret", "x")
      },
      Attack("a link over a directory") { tar in
        tar.directory("d")
        tar.symbolicLink("d", to: "../outside")
        tar.file("d/secret", "x")
      },
      Attack("a deeper link over a directory that was used just now") { tar in
        tar.file("d/e/f", "x")
        tar.symbolicLink("d/e", to: "../../outside")
        tar.file("d/e/secret", "x")
      },
      Attack("a hard link out") { $0.hardLink("h", to: "../outside/secret") },
      Attack("a hard link to a link that leads out, then a file over it") { tar in
        tar.symbolicLink("l", to: "../outside/secret")
        tar.hardLink("h", to: "l")
        tar.file("h", "x")
      },
      Attack("a hard link through a link") { tar in
        tar.symbolicLink("l", to: "../outside")
        tar.hardLink("h", to: "l/secret")
      },
      Attack("a hard link to what was there before") { $0.hardLink("h", to: "already") },
      Attack("a hard link to a directory") { tar in
        tar.directory("d")
        tar.hardLink("h", to: "d")
      },
      Attack("a file over a link", fails: false) { tar in
        tar.symbolicLink("l", to: "../outside/secret")
        tar.file("l", "x", mode: 0o777)
      },
      Attack("a pipe over a link", fails: false) { tar in
        tar.symbolicLink("l", to: "../outside/secret")
        tar.fifo("l")
      },
      Attack("a file over a hard link's other name", fails: false) { tar in
        tar.file("a", "1")
        tar.hardLink("b", to: "a")
        tar.file("a", "2")
        tar.hardLink("b", to: "b")
      },
      Attack("a link out alone", fails: false) { $0.symbolicLink("l", to: "../outside/secret") },
      Attack("a link that was there before") { $0.file("linked/secret", "x") },
      Attack("a file over a link that was there before", fails: false) { $0.file("linked", "x") },
      Attack("a device") { $0.device("sda") },
      Attack("a file over a directory") { tar in
        tar.directory("d")
        tar.file("d", "x")
      },
      Attack("a file below a file") { tar in
        tar.file("f", "x")
        tar.file("f/g", "x")
      },
    ]
  }

  @Test(arguments: Attack.all) func `nothing outside is touched`(attack: Attack) async throws {
    let folder = try TemporaryDirectory()
    try await shell(
      """
      mkdir outside out && printf secret > outside/secret && chmod 640 outside/secret
      printf before > out/already && ln -s ../outside out/linked
      find outside out -exec touch -h -d @1500000000 {} +
      """, in: folder.path)
    let before = try TreeSnapshot(directory: folder.path.appending("outside"))
    let hostLinks = try await ToolProcess.run("stat", ["-c", "%h", "\(folder.path)/outside/secret", "\(folder.path)/out/already"])
      .output
    try write(attack.archive, to: folder.path.appending("archive"))
    var failed = false
    do {
      var tree = try ArchiveTree(path: folder.path.appending("archive"))
      try TreeExtractor.extract(&tree, into: folder.path.appending("out"))
    } catch let error as StoreError {
      failed = true
      guard case .invalidArchive(_, .some, _) = error else { throw error }
    }
    #expect(failed == attack.fails)
    #expect(try TreeSnapshot(directory: folder.path.appending("outside")) == before)
    #expect(try bytes(of: folder.path.appending("out/already")) == Array("before".utf8))
    let links = try await ToolProcess.run("stat", ["-c", "%h", "\(folder.path)/outside/secret", "\(folder.path)/out/already"])
      .output
    #expect(links == hostLinks)
    #expect(throws: Errno.noSuchFileOrDirectory) { try FileDescriptor.open("/tmp/distri-escaped", .readOnly) }
  }

  @Test func `limits hold while extracting`() throws {
    let folder = try TemporaryDirectory()
    var tar = TarBuilder()
    for index in 0..<10 { tar.file("f\(index)", "12345") }
    try write(tar.finished, to: folder.path.appending("archive"))
    for options in [TreeExtractor.Options(maximumEntryCount: 9), TreeExtractor.Options(maximumByteCount: 49)] {
      var tree = try ArchiveTree(path: folder.path.appending("archive"))
      #expect(throws: StoreError.self) { try TreeExtractor.extract(&tree, into: folder.path.appending("out"), options: options) }
    }
  }
}
