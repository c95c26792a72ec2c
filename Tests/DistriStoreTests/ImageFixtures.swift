// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import DistriStore
import Foundation
import Glibc
import SystemPackage
import TestSupport

/// What two trees are compared by.
struct FileRecord: Equatable, CustomStringConvertible {
  var mode: UInt32
  var userID: UInt32
  var groupID: UInt32
  var modificationTime: Int64
  var linkCount: UInt32
  var byteCount: UInt64
  var inodeNumber: UInt64
  var device: String
  var target: [UInt8] = []
  var content: [UInt8] = []
  var attributes: [String: [UInt8]] = [:]

  var description: String {
    "mode \(String(mode, radix: 8)) owner \(userID):\(groupID) time \(modificationTime) links \(linkCount) size \(byteCount) "
      + "inode \(inodeNumber) device \(device) target of \(target.count) content of \(content.count) attributes "
      + attributes.map { "\($0.key) of \($0.value.count)" }.sorted().joined(separator: ", ")
  }
}

/// A whole tree by path. Names need not be UTF-8, so a key has a character a byte.
typealias Snapshot = [String: FileRecord]

/// A name for a path of any bytes.
func key(_ bytes: some Sequence<UInt8>) -> String { String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) })) }

/// What differs, a line an entry; nothing when the trees are the same.
func differences(_ a: Snapshot, _ b: Snapshot, ignoring: (inout FileRecord) -> Void = { _ in }) -> [String] {
  Set(a.keys).union(b.keys).sorted().compactMap { path in
    guard var left = a[path], var right = b[path] else {
      return "\(path) is only in \(a[path] == nil ? "the second" : "the first")"
    }
    ignoring(&left)
    ignoring(&right)
    return left == right ? nil : "\(path): \(left) | \(right)"
  }
}

/// Inode numbers and the sizes of listings belong to a file system, not to a tree.
func ignoreFileSystem(_ record: inout FileRecord) {
  record.inodeNumber = 0
  if record.mode & S_IFMT == S_IFDIR { record.byteCount = 0 }
}

/// Contents up to this size are part of a snapshot.
let snapshotLimit: UInt64 = 8 << 20

/// The tree below a folder, as the kernel tells it.
func snapshot(of folder: FilePath) throws -> Snapshot {
  var result: Snapshot = [:]
  var pending: [[UInt8]] = [[]]
  while let path = pending.popLast() {
    let full = Array(folder.string.utf8) + (path.isEmpty ? [] : [UInt8(ascii: "/")] + path)
    let name = full.map { CChar(bitPattern: $0) } + [0]
    var status = stat()
    guard lstat(name, &status) == 0 else { throw Errno(rawValue: errno) }
    var record = FileRecord(
      mode: status.st_mode, userID: status.st_uid, groupID: status.st_gid, modificationTime: Int64(status.st_mtim.tv_sec),
      linkCount: UInt32(status.st_nlink), byteCount: UInt64(status.st_size), inodeNumber: UInt64(status.st_ino),
      device: "\(clinux_major(UInt64(status.st_rdev))):\(clinux_minor(UInt64(status.st_rdev)))")
    switch status.st_mode & S_IFMT {
    case S_IFDIR: pending += try names(in: name).map { path.isEmpty ? $0 : path + [UInt8(ascii: "/")] + $0 }
    case S_IFLNK:
      var buffer = [UInt8](repeating: 0, count: 8192)
      let count = buffer.withUnsafeMutableBytes { bytes in
        bytes.bindMemory(to: CChar.self).baseAddress.map { readlink(name, $0, bytes.count) } ?? -1
      }
      guard count >= 0 else { throw Errno(rawValue: errno) }
      record.target = Array(buffer[..<count])
    case S_IFREG where UInt64(status.st_size) <= snapshotLimit: record.content = try bytes(of: name)
    default: break
    }
    record.attributes = try attributes(of: name)
    result[key(path)] = record
  }
  return result
}

private func names(in folder: [CChar]) throws -> [[UInt8]] {
  guard let stream = opendir(folder) else { throw Errno(rawValue: errno) }
  defer { closedir(stream) }
  var result: [[UInt8]] = []
  while let entry = readdir(stream) {
    let name = withUnsafeBytes(of: entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
    if name != Array(".".utf8) && name != Array("..".utf8) { result.append(name) }
  }
  return result
}

private func bytes(of path: [CChar]) throws -> [UInt8] {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { throw Errno(rawValue: errno) }
  defer { close(file) }
  var result: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 20)
  while true {
    let count = read(file, &buffer, buffer.count)
    guard count >= 0 else { throw Errno(rawValue: errno) }
    if count == 0 { return result }
    result += buffer[..<count]
  }
}

private func attributes(of path: [CChar]) throws -> [String: [UInt8]] {
  var list = [CChar](repeating: 0, count: 65536)
  let count = llistxattr(path, &list, list.count)
  guard count >= 0 else { throw Errno(rawValue: errno) }
  var result: [String: [UInt8]] = [:]
  for name in list[..<count].split(separator: 0) {
    var value = [UInt8](repeating: 0, count: 65536)
    let length = lgetxattr(path, Array(name) + [0], &value, value.count)
    guard length >= 0 else { throw Errno(rawValue: errno) }
    result[key(name.map { UInt8(bitPattern: $0) })] = Array(value[..<length])
  }
  return result
}

/// The tree of an image, as our reader tells it. Every directory is listed, every entry also looked up by its name.
func snapshot(of image: PackageImage) throws -> Snapshot {
  var result: Snapshot = [:]
  var pending: [(path: [UInt8], node: PackageImage.Node)] = [([], image.root)]
  while let (path, node) = pending.popLast() {
    let attributes = try image.attributes(of: node)
    var record = FileRecord(
      mode: UInt32(attributes.permissions) | attributes.kind.type, userID: attributes.userID, groupID: attributes.groupID,
      modificationTime: attributes.modificationTime, linkCount: attributes.linkCount, byteCount: attributes.byteCount,
      inodeNumber: UInt64(attributes.inodeNumber), device: "\(attributes.device.major):\(attributes.device.minor)")
    switch attributes.kind {
    case .directory:
      for entry in try image.entries(of: node) {
        guard try image.lookUp(entry.name, in: node) == entry.node else { throw Errno.noSuchFileOrDirectory }
        let inner = try image.attributes(of: entry.node)
        guard inner.inodeNumber == entry.inodeNumber, inner.kind == entry.kind else { throw Errno.invalidArgument }
        pending.append((path.isEmpty ? entry.name.bytes : path + [UInt8(ascii: "/")] + entry.name.bytes, entry.node))
      }
    case .symbolicLink: record.target = try image.symbolicLinkTarget(of: node)
    case .regular where attributes.byteCount <= snapshotLimit:
      record.content = try image.contents(of: node, limit: Int(snapshotLimit))
    default: break
    }
    for attribute in try image.extendedAttributes(of: node) { record.attributes[key(attribute.name)] = attribute.value }
    result[key(path)] = record
  }
  return result
}

extension PackageImage.Kind {
  /// The type bits of a mode.
  var type: UInt32 {
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

/// A program that must succeed.
func run(_ program: String, _ arguments: [String]) async throws {
  let outcome = try await ToolProcess.run(program, arguments)
  guard outcome.status == 0 else { throw ProgramFailure(program: program, outcome: outcome) }
}

struct ProgramFailure: Error, CustomStringConvertible {
  let program: String
  let outcome: ToolProcess.Outcome
  var description: String { "\(program) ended with \(outcome.status): \(outcome.errors)\(outcome.output)" }
}

/// The kernel's mount of an image; unmounted when the closure ends, also by an error.
func withKernelMount<R>(of image: FilePath, _ body: (FilePath) async throws -> R) async throws -> R {
  let folder = try TemporaryDirectory()
  try await run("mount", ["-t", "squashfs", "-o", "loop,ro", image.string, folder.path.string])
  do {
    let result = try await body(folder.path)
    try await run("umount", [folder.path.string])
    return result
  } catch {
    try? await run("umount", [folder.path.string])
    throw error
  }
}

/// Numbers that look random and are the same every time.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(count + 8)
    while result.count < count { withUnsafeBytes(of: next()) { result += $0 } }
    return Array(result[..<count])
  }
}
