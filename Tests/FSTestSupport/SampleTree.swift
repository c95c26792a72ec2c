// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import DistriStore
import Foundation
import SystemPackage
import TestSupport

/// A tree with everything that a package may hold.
package enum SampleTree {
  /// Makes the tree on disk. Needs root: for devices, owners and `security` attributes.
  package static func make(at root: FilePath) throws {
    try directory(root)
    for name in ["out/bin", "out/lib/deep/er", "out/share/empty", "etc", "out/many"] { try directory(root.appending(name)) }
    try file(root.appending("out/bin/hello"), "#!/bin/sh\necho hello\n", mode: 0o755)
    try file(root.appending("out/bin/suid"), "s", mode: 0o4754)
    try file(root.appending("out/empty"), "", mode: 0o600)
    try file(root.appending("out/lib/deep/er/file"), String(repeating: "0123456789abcdef", count: 40_000))
    try file(root.appending("out/odd"), String(repeating: "x", count: 131_073))
    try sparse(root.appending("out/sparse"))
    for index in 0..<600 { try file(root.appending("out/many/file-\(index)"), "\(index)") }
    try check(symlink("hello", root.appending("out/bin/alias").string))
    try check(symlink("/ro/elsewhere", root.appending("out/absolute").string))
    try check(link(root.appending("out/bin/hello").string, root.appending("out/hard").string))
    try check(mkfifo(root.appending("out/fifo").string, 0o640))
    try check(mknod(root.appending("out/null").string, S_IFCHR | 0o666, 0x103))
    try check(mknod(root.appending("out/disk").string, S_IFBLK | 0o660, 0x801))
    try check(chown(root.appending("out/odd").string, 1000, 1001))
    try check(chmod(root.appending("etc").string, 0o1770))
    let value: [UInt8] = [1, 2, 3, 0, 255]
    try check(setxattr(root.appending("out/odd").string, "user.test", value, value.count, 0))
    try check(setxattr(root.appending("out/lib").string, "user.of.a.directory", value, value.count, 0))
    // What setcap writes for cap_net_raw=ep.
    let capability: [UInt8] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    try check(setxattr(root.appending("out/bin/suid").string, "security.capability", capability, capability.count, 0))
  }

  private static func directory(_ path: FilePath) throws {
    try FileManager.default.createDirectory(atPath: path.string, withIntermediateDirectories: true)
  }

  private static func file(_ path: FilePath, _ contents: String, mode: mode_t = 0o644) throws {
    try Data(contents.utf8).write(to: URL(fileURLWithPath: path.string))
    try check(chmod(path.string, mode))
  }

  /// Three MiB, the middle one a hole.
  private static func sparse(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .writeOnly, options: .create, permissions: FilePermissions(rawValue: 0o644))
    defer { try? file.close() }
    let page = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 / 251) }
    let block = Array(repeatElement(page, count: 256).joined())
    try file.writeAll(block)
    try file.seek(offset: 2 << 20, from: .start)
    try file.writeAll(block)
  }

  private static func check(_ status: Int32) throws {
    if status != 0 { throw Errno(rawValue: errno) }
  }
}
