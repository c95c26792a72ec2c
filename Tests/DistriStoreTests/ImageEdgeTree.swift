// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// A folder with everything that is hard about images. Needs root, for devices and owners.
struct EdgeTree {
  private let path: FilePath
  private var generator = SeededGenerator(state: 7)

  /// Made once, read by many tests, removed when the tests end.
  static func shared() throws -> FilePath { try result.get() }

  private static let base = FilePath(ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp")
    .appending("distri-edge-tree-\(getpid())")

  private static let result = Result {
    atexit { try? FileManager.default.removeItem(atPath: EdgeTree.base.string) }
    var tree = EdgeTree(path: base.appending("tree"))
    try tree.build()
    return tree.path
  }

  private init(path: FilePath) { self.path = path }

  private mutating func build() throws {
    try folder("")
    try contents()
    try names()
    try links()
    try specialFiles()
    try modesAndOwners()
    try attributes()
    try times()
  }

  private func full(_ name: String) -> String { name.isEmpty ? path.string : path.string + "/" + name }

  private func folder(_ name: String) throws {
    try FileManager.default.createDirectory(atPath: full(name), withIntermediateDirectories: true)
  }

  private func file(_ name: String, _ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: full(name))) }
  }

  private func check(_ result: Int32) throws {
    if result != 0 { throw Errno(rawValue: errno) }
  }

  private mutating func contents() throws {
    try folder("contents")
    try file("contents/empty", [])
    try file("contents/one", [1])
    try file("contents/exactly-two-blocks", generator.bytes(262144))
    try file("contents/random", generator.bytes(700_001))
    try file("contents/text", Array((0..<60_000).map { "line \($0 % 977) of a file that compresses\n" }.joined().utf8))
    let block = [UInt8](repeating: 0, count: 131072)
    try file("contents/zero-block", generator.bytes(131072) + block + generator.bytes(131072) + Array("tail".utf8))
    try file("contents/only-zeros", block + block + block[..<1000])
    try file("contents/zeros-at-the-end", generator.bytes(5000) + block + block)
    for index in 0..<40 { try file("contents/small-\(index)", generator.bytes(37 * index)) }
    let sparse = full("contents/sparse")
    try file("contents/sparse", generator.bytes(200_000))
    try check(truncate(sparse, 3_000_000))
    let handle = try #require(FileHandle(forWritingAtPath: sparse))
    try handle.seek(toOffset: 2_000_000)
    try handle.write(contentsOf: Data(generator.bytes(100_000)))
    try handle.close()
  }

  private func names() throws {
    try folder("names/empty")
    try file("names/utf8-\u{e9}\u{4e2d}.txt", [1])
    let raw = Array((full("names/bad") + "\0").utf8)
    let bad = raw.dropLast() + [0xff, 0xfe, 0]
    let descriptor = bad.map { CChar(bitPattern: $0) }.withUnsafeBufferPointer {
      $0.baseAddress.map { open($0, O_CREAT | O_WRONLY, 0o644) } ?? -1
    }
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    close(descriptor)
    try file("names/" + String(repeating: "n", count: 255), [2])
    for (folder, count) in [("names/256", 256), ("names/257", 257), ("names/6000", 6000)] {
      try self.folder(folder)
      for index in 0..<count { try file("\(folder)/a-file-with-a-rather-long-name-\(index)", []) }
    }
    try folder("names/" + Array(repeating: "deep", count: 60).joined(separator: "/"))
  }

  private func links() throws {
    try folder("links/sub")
    for (name, target) in [
      ("long", String(repeating: "x", count: 3000)), ("folder", "sub"), ("dangling", "nowhere"), ("up", "../contents/one"),
    ] { try check(symlink(target, full("links/\(name)"))) }
    try file("links/first", Array("hard".utf8))
    try check(link(full("links/first"), full("links/second")))
    try check(link(full("links/first"), full("links/sub/third")))
    try check(link(full("contents/zero-block"), full("links/zero-block")))
  }

  private func specialFiles() throws {
    try folder("special")
    try check(mknod(full("special/fifo"), S_IFIFO | 0o600, 0))
    try check(mknod(full("special/socket"), S_IFSOCK | 0o755, 0))
    try check(mknod(full("special/null"), S_IFCHR | 0o666, UInt(clinux_makedev(1, 3))))
    try check(mknod(full("special/disk"), S_IFBLK | 0o660, UInt(clinux_makedev(259, 70_000))))
    try check(link(full("special/fifo"), full("special/fifo-again")))
    try check(link(full("special/null"), full("special/null-again")))
  }

  private func modesAndOwners() throws {
    try folder("modes")
    for mode in [0o000, 0o400, 0o4755, 0o2755, 0o6711, 0o644] as [mode_t] {
      try file("modes/file-\(mode)", [3])
      try check(chmod(full("modes/file-\(mode)"), mode))
    }
    for mode in [0o700, 0o1777, 0o2775] as [mode_t] {
      try folder("modes/folder-\(mode)")
      try check(chmod(full("modes/folder-\(mode)"), mode))
    }
    for (index, owner) in [(1000, 1001), (65534, 65534), (70_000, 4_294_967_294)].enumerated()
      as EnumeratedSequence<[(UInt32, UInt32)]>
    {
      try file("modes/owner-\(index)", [4])
      try check(chown(full("modes/owner-\(index)"), owner.0, owner.1))
    }
    try check(lchown(full("links/dangling"), 12, 34))
  }

  private mutating func attributes() throws {
    func set(_ name: String, _ attribute: String, _ value: [UInt8]) throws {
      try check(lsetxattr(full(name), attribute, value, value.count, 0))
    }
    // VFS_CAP_REVISION_2, cap_net_raw permitted, effective.
    let capability: [UInt8] = [1, 0, 0, 2, 0, 0x20, 0, 0] + [UInt8](repeating: 0, count: 12)
    let large = generator.bytes(3000)
    try folder("attributes/folder")
    for name in ["attributes/a", "attributes/b", "attributes/c"] {
      try file(name, [5])
      try set(name, "user.one", [1])
      try set(name, "user.empty", [])
      try set(name, "trusted.large", large)
    }
    try set("attributes/a", "security.capability", capability)
    try set("attributes/b", "user.other", generator.bytes(500))
    try set("attributes/folder", "user.folder", [6])
    for name in ["special/fifo", "special/null", "special/socket", "special/disk", "links/long", "names/6000", "contents/sparse"] {
      try set(name, "trusted.special", Array(name.utf8))
    }
  }

  private func times() throws {
    for (name, seconds) in [
      ("contents/one", 0), ("contents/text", 4_000_000_000), ("links/dangling", 1_234_567), ("names/empty", 86400),
    ] {
      let time = timespec(tv_sec: seconds, tv_nsec: 0)
      try check(utimensat(AT_FDCWD, full(name), [time, time], AT_SYMLINK_NOFOLLOW))
    }
  }
}
