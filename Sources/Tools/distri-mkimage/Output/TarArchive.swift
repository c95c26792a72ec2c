// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Writes a tar archive of what a file system shall contain (POSIX.1-2001, «pax Interchange Format»), owners and modes from the plan.
///
/// A header of 512 bytes a file, numbers in octal; the data, padded to a multiple of 512. What has no room in the header is in a header
/// of its own before it, as lines `<length> <key>=<value>`. Two sectors of zeros are the end.
struct TarArchive {
  let contents: Contents
  /// Seconds since 1970, of everything.
  let time: Int64

  private static let sector = 512
  /// Octal digits of a size in the header.
  private static let largestSize: UInt64 = 0o77_777_777_777

  /// Writes the archive to a file, which must not exist.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a file that has changed its size.
  func write(to path: FilePath) throws {
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    for (path, node) in contents.entries {
      let source: Contents.Source
      if case .regular(let regular) = node.kind { source = regular } else { source = .bytes([]) }
      try file.writeAll(headers(for: path.bytes, node, byteCount: source.byteCount))
      try source.copy(to: file)
      try file.writeAll(Self.padding(after: source.byteCount))
    }
    try file.writeAll([UInt8](repeating: 0, count: 2 * Self.sector))
  }

  /// The header of a file, and before it that of what has no room there.
  private func headers(for path: [UInt8], _ node: Contents.Node, byteCount: UInt64) -> [UInt8] {
    var name = path, target: [UInt8] = [], device: (UInt32, UInt32) = (0, 0)
    let type: Unicode.Scalar
    switch node.kind {
    case .directory:
      type = "5"
      name.append(UInt8(ascii: "/"))
    case .regular: type = "0"
    case .symbolicLink(let to): (type, target) = ("2", to)
    case .characterDevice(let major, let minor): (type, device) = ("3", (major, minor))
    }
    var records: [UInt8] = []
    if name.count > 100 { records += Self.record("path", name) }
    if target.count > 100 { records += Self.record("linkpath", target) }
    if byteCount > Self.largestSize { records += Self.record("size", Array("\(byteCount)".utf8)) }
    for (key, number) in [("uid", node.userID), ("gid", node.groupID)] where number > 0o7_777_777 {
      records += Self.record(key, Array("\(number)".utf8))
    }
    var bytes: [UInt8] = []
    if !records.isEmpty {
      let plain = Contents.Node(kind: .regular(.bytes(records)), permissions: 0o644)
      bytes = header(Array("././@PaxHeader".utf8), plain, "x", [], (0, 0), byteCount: UInt64(records.count)) + records
      bytes += Self.padding(after: UInt64(records.count))
    }
    return bytes + header(name, node, type, target, device, byteCount: byteCount)
  }

  private func header(
    _ name: [UInt8], _ node: Contents.Node, _ type: Unicode.Scalar, _ target: [UInt8], _ device: (UInt32, UInt32), byteCount: UInt64
  ) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: Self.sector)
    func put(_ bytes: some Collection<UInt8>, at offset: Int) { header.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
    func put(_ number: UInt64, at offset: Int, digits: Int) {
      let text = String(number, radix: 8)
      // What is larger is in the header before this one.
      guard text.utf8.count <= digits else { return put(repeatElement(UInt8(ascii: "7"), count: digits), at: offset) }
      put(Array(String(repeating: "0", count: digits - text.utf8.count).utf8) + Array(text.utf8), at: offset)
    }
    put(name.prefix(100), at: 0)
    put(UInt64(node.permissions), at: 100, digits: 7)
    put(UInt64(node.userID), at: 108, digits: 7)
    put(UInt64(node.groupID), at: 116, digits: 7)
    put(byteCount, at: 124, digits: 11)
    put(UInt64(max(time, 0)), at: 136, digits: 11)
    put([UInt8](repeating: UInt8(ascii: " "), count: 8), at: 148)
    put([UInt8(ascii: type)], at: 156)
    put(target.prefix(100), at: 157)
    put(Array("ustar\u{0}00".utf8), at: 257)
    put(UInt64(device.0), at: 329, digits: 7)
    put(UInt64(device.1), at: 337, digits: 7)
    // The sum of all bytes, its own field taken for blanks: six digits, a NUL, a blank.
    put(header.reduce(UInt64(0)) { $0 + UInt64($1) }, at: 148, digits: 6)
    put([0], at: 154)
    return header
  }

  /// The length counts itself.
  private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
    let rest = Array(" \(key)=".utf8) + value + [UInt8(ascii: "\n")]
    var length = rest.count
    while "\(length)".utf8.count + rest.count != length { length = "\(length)".utf8.count + rest.count }
    return Array("\(length)".utf8) + rest
  }

  private static func padding(after count: UInt64) -> [UInt8] {
    [UInt8](repeating: 0, count: Int((UInt64(sector) - count % UInt64(sector)) % UInt64(sector)))
  }
}
