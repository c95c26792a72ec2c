// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import DistriFS
import DistriStore
import Foundation
import SystemPackage

/// What can be seen of a file, in a form that can be compared: through the protocol, or through system calls.
package struct TreeRecord: Equatable, Sendable, CustomStringConvertible {
  package var mode: UInt32
  package var userID: UInt32
  package var groupID: UInt32
  package var linkCount: UInt64
  /// Of regular files and links; directories differ between file systems.
  package var byteCount: UInt64?
  package var modificationTime: Int64
  package var device: UInt64
  /// A digest of the contents, or the target of a link.
  package var contents: String
  package var extendedAttributes: [String: [UInt8]]

  package var description: String {
    "mode \(String(mode, radix: 8)) owner \(userID):\(groupID) links \(linkCount) size \(byteCount ?? 0) time \(modificationTime) "
      + "device \(device) contents \(contents) attributes \(extendedAttributes)"
  }

  /// All files below a directory by their paths, `.` for itself.
  package typealias Tree = [String: TreeRecord]

  /// Through system calls.
  package static func tree(at root: FilePath) throws -> Tree {
    var tree: Tree = [:]
    try add(root, ".", to: &tree)
    return tree
  }

  private static func add(_ path: FilePath, _ name: String, to tree: inout Tree) throws {
    var status = stat()
    guard lstat(path.string, &status) == 0 else { throw Failure(path: path.string, errno: errno) }
    var record = TreeRecord(
      mode: status.st_mode, userID: status.st_uid, groupID: status.st_gid, linkCount: UInt64(status.st_nlink), byteCount: nil,
      modificationTime: Int64(status.st_mtim.tv_sec), device: UInt64(status.st_rdev), contents: "",
      extendedAttributes: try attributes(of: path))
    switch status.st_mode & S_IFMT {
    case S_IFREG:
      record.byteCount = UInt64(status.st_size)
      record.contents = digest(try bytes(of: path))
    case S_IFLNK:
      record.byteCount = UInt64(status.st_size)
      var buffer = [CChar](repeating: 0, count: 4096)
      let count = readlink(path.string, &buffer, buffer.count)
      record.contents = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    case S_IFDIR:
      for entry in try names(in: path) {
        try add(path.appending(entry), name == "." ? entry : "\(name)/\(entry)", to: &tree)
      }
    default: break
    }
    tree[name] = record
  }

  /// The names in a directory, as the kernel lists them.
  package static func names(in path: FilePath) throws -> [String] {
    guard let stream = opendir(path.string) else { throw Failure(path: path.string, errno: errno) }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else {
        if errno != 0 { throw Failure(path: path.string, errno: errno) }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
  }

  /// All bytes of a file.
  package static func bytes(of path: FilePath) throws -> [UInt8] {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    var result: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = try buffer.withUnsafeMutableBytes { try file.read(into: $0) }
      if count == 0 { return result }
      result += buffer[..<count]
    }
  }

  private static func attributes(of path: FilePath) throws -> [String: [UInt8]] {
    var names = [CChar](repeating: 0, count: 64 << 10)
    let count = llistxattr(path.string, &names, names.count)
    guard count >= 0 else { throw Failure(path: path.string, errno: errno) }
    var result: [String: [UInt8]] = [:]
    for name in names.prefix(count).split(separator: 0) {
      let name = String(decoding: name.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if name == PackageFileSystem.statusAttribute { continue }
      var value = [UInt8](repeating: 0, count: 64 << 10)
      let length = lgetxattr(path.string, name, &value, value.count)
      guard length >= 0 else { throw Failure(path: "\(path) \(name)", errno: errno) }
      result[name] = Array(value.prefix(length))
    }
    return result
  }

  /// Through the protocol.
  package static func tree(of fileSystem: any FileSystem, at root: NodeID = .root) throws -> Tree {
    var tree: Tree = [:]
    try add(try fileSystem.attributes(of: root), ".", fileSystem, to: &tree)
    return tree
  }

  private static func add(
    _ attributes: Attributes, _ name: String, _ fileSystem: any FileSystem, to tree: inout Tree
  ) throws {
    var record = TreeRecord(
      mode: attributes.kind.format | UInt32(attributes.permissions), userID: attributes.userID, groupID: attributes.groupID,
      linkCount: UInt64(attributes.linkCount), byteCount: nil, modificationTime: attributes.modificationTime,
      device: UInt64(attributes.device.major) << 8 | UInt64(attributes.device.minor), contents: "", extendedAttributes: [:])
    for attribute in try fileSystem.extendedAttributes(of: attributes.inode) {
      let name = String(decoding: attribute.name, as: UTF8.self)
      if name != PackageFileSystem.statusAttribute { record.extendedAttributes[name] = attribute.value }
    }
    var buffer = ReplyBuffer()
    switch attributes.kind {
    case .regular:
      record.byteCount = attributes.byteCount
      while UInt64(buffer.byteCount) < attributes.byteCount {
        let before = buffer.byteCount
        try fileSystem.read(attributes.inode, at: UInt64(before), count: 100_000, into: &buffer)
        if buffer.byteCount == before { break }
      }
      record.contents = digest(buffer.bytes)
    case .symbolicLink:
      record.byteCount = attributes.byteCount
      try fileSystem.symbolicLinkTarget(of: attributes.inode, into: &buffer)
      record.contents = String(decoding: buffer.bytes, as: UTF8.self)
    case .directory:
      var children: [(EntryName, Attributes)] = []
      try fileSystem.entries(of: attributes.inode, after: 0) { entry, attributes, _ in
        children.append((entry, attributes))
        return true
      }
      for (entry, child) in children { try add(child, name == "." ? "\(entry)" : "\(name)/\(entry)", fileSystem, to: &tree) }
    default: break
    }
    tree[name] = record
  }

  /// The length and a hash, the same within a process: enough to tell different files apart.
  package static func digest(_ bytes: [UInt8]) -> String {
    var hasher = Hasher()
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    return "\(bytes.count):\(String(UInt(bitPattern: hasher.finalize()), radix: 16))"
  }

  /// The lines in which two trees differ.
  package static func differences(_ a: Tree, _ b: Tree) -> [String] {
    Set(a.keys).union(b.keys).sorted().compactMap { path in
      a[path] == b[path] ? nil : "\(path): \(a[path]?.description ?? "absent") ≠ \(b[path]?.description ?? "absent")"
    }
  }

  /// A system call that failed.
  package struct Failure: Error, CustomStringConvertible {
    package var path: String
    package var errno: Int32
    package var description: String { "\(path): \(Errno(rawValue: errno))" }
  }
}

extension PackageImage.Kind {
  /// The type bits of a mode.
  package var format: UInt32 {
    switch self {
    case .directory: S_IFDIR
    case .regular: S_IFREG
    case .symbolicLink: S_IFLNK
    case .characterDevice: S_IFCHR
    case .blockDevice: S_IFBLK
    case .fifo: S_IFIFO
    case .socket: S_IFSOCK
    }
  }
}

/// Runs what may block for long, or on a mount of this process, on a thread of its own.
package func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
  try await withCheckedThrowingContinuation { continuation in
    Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
  }
}

/// Asks again and again, with a pause that only lets others run, until the answer is yes or the time is up.
package func eventually(within limit: Duration = .seconds(20), _ isTrue: @escaping @Sendable () throws -> Bool) async throws -> Bool
{
  let end = ContinuousClock.now + limit
  while true {
    if try await onThread(isTrue) { return true }
    if ContinuousClock.now > end { return false }
    try await Task.sleep(for: .milliseconds(5))
  }
}
