// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Writes a cpio archive in the «new ASCII» format (`070701`), which the kernel unpacks as initramfs.
///
/// A header of 110 characters a file: magic, then 13 numbers of 8 hexadecimal digits; then the name with a NUL, then the data, each
/// padded to a multiple of 4 bytes. The end is a file named `TRAILER!!!`.
struct CpioArchive {
  let contents: Contents
  /// Seconds since 1970, of everything.
  let time: Int64

  /// Writes the archive to a file, which must not exist.
  ///
  /// - Throws: as ``write(to:)-(FileDescriptor)``.
  func write(to path: FilePath) throws {
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    try write(to: file)
  }

  /// Appends the archive to a file.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a file that has changed its size or is too large for the format (4 GiB).
  func write(to file: FileDescriptor) throws {
    for (index, entry) in contents.entries.enumerated() {
      var header = Header(inode: UInt32(index + 1), time: UInt32(clamping: time))
      let permissions = UInt32(entry.node.permissions)
      header.userID = entry.node.userID
      header.groupID = entry.node.groupID
      switch entry.node.kind {
      case .directory:
        header.mode = 0o040000 | permissions
        header.links = 2
        try append(header, name: entry.path.bytes, data: [], to: file)
      case .symbolicLink(let target):
        header.mode = 0o120777
        try append(header, name: entry.path.bytes, data: target, to: file)
      case .characterDevice(let major, let minor):
        header.mode = 0o020000 | permissions
        header.device = (major, minor)
        try append(header, name: entry.path.bytes, data: [], to: file)
      case .regular(.bytes(let bytes)):
        header.mode = 0o100000 | permissions
        try append(header, name: entry.path.bytes, data: bytes, to: file)
      case .regular(.file(let source, let count)):
        header.mode = 0o100000 | permissions
        try append(header, name: entry.path.bytes, byteCount: count, to: file)
        try copy(source, byteCount: count, to: file)
      }
    }
    try append(Header(inode: 0, time: 0), name: Array("TRAILER!!!".utf8), data: [], to: file)
  }

  private struct Header {
    let inode: UInt32
    let time: UInt32
    var mode: UInt32 = 0
    var userID: UInt32 = 0
    var groupID: UInt32 = 0
    var links: UInt32 = 1
    var device: (major: UInt32, minor: UInt32) = (0, 0)

    init(inode: UInt32, time: UInt32) {
      self.inode = inode
      self.time = time
    }

    func bytes(byteCount: UInt32, nameCount: UInt32) -> [UInt8] {
      let fields = [
        inode, mode, userID, groupID, links, time, byteCount, 0, 0, device.major, device.minor, nameCount, 0,
      ]
      return fields.reduce(into: Array("070701".utf8)) { bytes, field in
        let digits = String(field, radix: 16, uppercase: true)
        bytes += Array(String(repeating: "0", count: 8 - digits.count).utf8) + Array(digits.utf8)
      }
    }
  }

  private func append(_ header: Header, name: [UInt8], data: [UInt8], to file: FileDescriptor) throws {
    try append(header, name: name, byteCount: UInt64(data.count), to: file)
    try file.writeAll(data + Self.padding(after: UInt64(data.count)))
  }

  private func append(_ header: Header, name: [UInt8], byteCount: UInt64, to file: FileDescriptor) throws {
    guard let count = UInt32(exactly: byteCount) else {
      throw MkimageError.unusableFile(String(decoding: name, as: UTF8.self), reason: "an initramfs holds files below 4 GiB only")
    }
    let start = header.bytes(byteCount: count, nameCount: UInt32(name.count + 1)) + name + [0]
    try file.writeAll(start + Self.padding(after: UInt64(start.count)))
  }

  private func copy(_ source: FilePath, byteCount: UInt64, to file: FileDescriptor) throws {
    let input = try FileDescriptor.open(source, .readOnly, options: .closeOnExec)
    defer { try? input.close() }
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var rest = byteCount
    while rest > 0 {
      let wanted = Int(min(rest, UInt64(buffer.count)))
      let count = try buffer.withUnsafeMutableBytes { try input.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[..<wanted])) }
      guard count > 0 else { throw MkimageError.unusableFile(source.string, reason: "it shrank while it was being copied") }
      try file.writeAll(buffer[..<count])
      rest -= UInt64(count)
    }
    try file.writeAll(Self.padding(after: byteCount))
  }

  private static func padding(after count: UInt64) -> [UInt8] { [UInt8](repeating: 0, count: Int((4 - count % 4) % 4)) }
}
