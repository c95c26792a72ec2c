// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

@Suite struct Ext4Tests {
  private func makeImage(of files: [String: FilePath], at path: FilePath, work: FilePath, room: UInt64 = 64 << 20) throws {
    var contents = Contents()
    for (name, file) in files { try contents.addFile(TreePath(parsing: name), file.asSource(), permissions: 0o640) }
    let image = Ext4Image(contents: contents, uuid: [UInt8](repeating: 7, count: 16), label: "test", time: 1_600_000_000)
    try image.write(to: path, byteCount: ((image.neededByteCount + room) >> 20) << 20, work: work)
    // Cleaned up by the test's directory; a second image needs it empty.
    for entry in try FileManager.default.contentsOfDirectory(atPath: work.string) {
      try FileManager.default.removeItem(atPath: work.appending(entry).string)
    }
  }

  /// What the kernel reads is what was written; debugfs would not tell blocks that nobody has written from zeros.
  private func expectSame(_ files: [String: FilePath], in image: FilePath, _ folder: borrowing TemporaryDirectory) async throws {
    let checked = try await ToolProcess.run("/sbin/e2fsck", ["-fn", image.string])
    #expect(checked.status == 0, "\(checked.output)")
    let point = folder.path.appending("mounted").string
    try FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
    let mounted = try await ToolProcess.run("mount", ["-o", "loop,ro,noload", image.string, point])
    try #require(mounted.status == 0, "\(mounted.errors)")
    for (name, file) in files {
      let compared = try await ToolProcess.run("cmp", [file.string, "\(point)/\(name)"])
      #expect(compared.status == 0, "\(name): \(compared.output)\(compared.errors)")
      let mode = try await ToolProcess.run("stat", ["-c", "%a %s %h", "\(point)/\(name)"]).output
      #expect(mode.hasPrefix("640 "), "\(name): \(mode)")
    }
    #expect(try await ToolProcess.run("umount", [point]).status == 0)
  }

  @Test func `files of every size are in an image as the kernel reads it, and twice in the same way`() async throws {
    let folder = try TemporaryDirectory()
    let work = folder.path.appending("work")
    try FileManager.default.createDirectory(atPath: work.string, withIntermediateDirectories: false)
    var files: [String: FilePath] = [:]
    let random = try FileHandle(forReadingFrom: URL(filePath: "/dev/urandom"))
    for size in [0, 1, 4096, 65_535, 65_536, 65_537, 8 << 20, (140 << 20) + 5] {
      let path = folder.path.appending("of-\(size)")
      try (size == 0 ? Data() : #require(try random.read(upToCount: size))).write(to: URL(filePath: path.string))
      files["a \"quoted\" name/\(size)"] = path
    }
    let (one, other) = (folder.path.appending("one"), folder.path.appending("other"))
    try makeImage(of: files, at: one, work: work)
    try makeImage(of: files, at: other, work: work)
    // The packages' indexes in an image rely on it.
    var contents = Contents()
    for (name, file) in files { try contents.addFile(TreePath(parsing: name), file.asSource()) }
    for (path, inode) in Ext4Image.inodes(of: contents) {
      let quoted = "\(path)".replacing("\"", with: "\"\"")
      let said = try await ToolProcess.run("/sbin/debugfs", ["-R", "stat \"/\(quoted)\"", one.string]).output
      #expect(said.hasPrefix("Inode: \(inode) "), "\(path): \(said.prefix(20))")
    }
    #expect(FileManager.default.contentsEqual(atPath: one.string, andPath: other.string))
    try await expectSame(files, in: one, folder)
  }

  /// One to four parts are listed in the inode, more are not. Each has at most 128 MiB, and where it ends depends on the groups of blocks.
  @Test(arguments: [200, 300, 380, 450, 700])
  func `a file in many parts is whole, too`(megabytes: Int64) async throws {
    let folder = try TemporaryDirectory()
    let work = folder.path.appending("work")
    try FileManager.default.createDirectory(atPath: work.string, withIntermediateDirectories: false)
    // Nearly all of it is a hole, so that it costs little.
    let large = folder.path.appending("large")
    let file = try FileDescriptor.open(large, .readWrite, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
    try file.resize(to: megabytes << 20)
    for offset: Int64 in [0, 150 << 20, (megabytes << 20) - 3] { try file.writeAll(toAbsoluteOffset: offset, Array("abc".utf8)) }
    try file.close()
    let image = folder.path.appending("image")
    try makeImage(of: ["large": large], at: image, work: work)
    try await expectSame(["large": large], in: image, folder)
  }

  @Test func `what debugfs says of extents is read`() throws {
    let listing = """
      debugfs: dump_extents "/Level 1"
      Level Entries       Logical        Physical Length Flags
       0/ 0   1/  2     0 - 24280   8487 -  32767  24281 Uninit
       0/ 0   2/  2 24281 - 25022 4294967297 - 4294968038    742 Uninit
      debugfs: dump_extents /deep
      Level Entries       Logical              Physical Length Flags
       0/ 1   1/  1     0 -     9  33025                10
       1/ 1   1/  1     0 -     9   4096 -   4105     10 Uninit
      """
    let files = Ext4Data.parse(Array(listing.utf8))
    #expect(
      files.map(\.extents) == [
        [.init(logical: 0, physical: 8487, count: 24281), .init(logical: 24281, physical: 4_294_967_297, count: 742)],
        [.init(logical: 0, physical: 4096, count: 10)],
      ])
    #expect(files.map(\.fitsInode) == [true, false])
    #expect(files[0].covers(blocks: 25023) && !files[0].covers(blocks: 25022) && !files[0].covers(blocks: 25024))
    #expect(files[0].writtenWords.map(\.place) == ["4", "7"])
    #expect(files[0].writtenWords.map(\.value) == [24281, 742 | 1 << 16])
    #expect(Ext4Data.parse(Array("words\nLevel \n 0/ 0 1/ 1 18446744073709551616 - 9 9 - 9 9".utf8)).map(\.extents) == [[]])
  }
}
