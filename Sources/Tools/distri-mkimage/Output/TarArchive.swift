// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Writes a tar archive (POSIX.1-2001, «pax Interchange Format»), entry by entry.
///
/// A header of 512 bytes a file, numbers in octal; the data, padded to a multiple of 512. What has no room in the header is in a header
/// of its own before it, as lines `<length> <key>=<value>`; extended attributes are there as GNU tar and libarchive have them,
/// `SCHILY.xattr.<name>`. Two sectors of zeros are the end.
struct TarArchive: ~Copyable {
  private let file: FileDescriptor

  private static let sector = 512
  /// Octal digits of a size in the header.
  private static let largestSize: UInt64 = 0o77_777_777_777
  /// How much of a file is in memory, in bytes.
  private static let pieceByteCount = 1 << 20

  /// Starts an archive in a file, which must not exist.
  private init(creating path: FilePath) throws {
    file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
  }

  deinit { try? file.close() }

  /// Makes an archive of what the body appends, in a file, which must not exist.
  ///
  /// - Throws: what the body throws; `Errno`.
  static func write(to path: FilePath, _ body: (borrowing TarArchive) throws -> Void) throws {
    let archive = try TarArchive(creating: path)
    try body(archive)
    try archive.file.writeAll([UInt8](repeating: 0, count: 2 * sector))
  }

  /// Appends what a file system shall contain, owners and modes from the plan.
  ///
  /// - Parameter time: seconds since 1970, of everything.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a file that has changed its size.
  func append(_ contents: Contents, time: Int64) throws {
    for (path, node) in contents.entries {
      var source = Contents.Source.bytes([])
      let kind: TreeEntry.Kind
      switch node.kind {
      case .directory: kind = .directory
      case .symbolicLink(let target): kind = .symbolicLink(target: target)
      case .characterDevice(let major, let minor): kind = .characterDevice(major: major, minor: minor)
      case .regular(let regular):
        source = regular
        kind = .regular(byteCount: regular.byteCount)
      }
      try appendHeader(
        TreeEntry(
          path: path, kind: kind, permissions: node.permissions, userID: node.userID, groupID: node.groupID, modificationTime: time)
      )
      try source.copy(to: file)
      try file.writeAll(Self.padding(after: source.byteCount))
    }
  }

  /// Appends a package's files below a directory, as they are in its image. There are no sockets in a tar: they are left out.
  ///
  /// - Parameter check: is told of each entry, and throws for one that may not be there.
  /// - Throws: `StoreError.damagedImage`; ``MkimageError/unusableFile(_:reason:)``; what `check` throws.
  func append(_ image: PackageImage, at place: TreePath, check: (TreePath) throws -> Void) throws {
    var tree = ImageTree(image)
    while var entry = try tree.next() {
      entry.path = TreePath(components: place.components + entry.path.components)
      try check(entry.path)
      if entry.kind == .socket { continue }
      if case .hardLink(let first) = entry.kind {
        entry.kind = .hardLink(to: TreePath(components: place.components + first.components))
      }
      try appendHeader(entry)
      guard case .regular(let byteCount) = entry.kind else { continue }
      var rest = byteCount
      while rest > 0 {
        let piece = try tree.readContents(limit: Int(min(rest, UInt64(Self.pieceByteCount))))
        guard !piece.isEmpty else { throw MkimageError.unusableFile("\(image.path)", reason: "\(entry.path) ends too early") }
        try file.writeAll(piece)
        rest -= UInt64(piece.count)
      }
      try file.writeAll(Self.padding(after: byteCount))
    }
  }

  /// Appends a directory.
  func appendDirectory(_ path: TreePath) throws { try appendHeader(TreeEntry(path: path, kind: .directory, permissions: 0o755)) }

  private func appendHeader(_ entry: TreeEntry) throws {
    let fields = Fields(entry)
    var records: [UInt8] = []
    if fields.name.count > 100 { records += Self.record("path", fields.name) }
    if fields.target.count > 100 { records += Self.record("linkpath", fields.target) }
    if fields.byteCount > Self.largestSize { records += Self.record("size", Array("\(fields.byteCount)".utf8)) }
    for (key, number) in [("uid", entry.userID), ("gid", entry.groupID)] where number > 0o7_777_777 {
      records += Self.record(key, Array("\(number)".utf8))
    }
    for attribute in entry.extendedAttributes {
      guard let name = String(validating: attribute.name, as: UTF8.self), !name.contains("=") else {
        throw MkimageError.unusableFile("/\(entry.path)", reason: "a tar cannot hold the name of an extended attribute of it")
      }
      records += Self.record("SCHILY.xattr.\(name)", attribute.value)
    }
    if !records.isEmpty {
      let extra = TreeEntry(
        path: .root, kind: .regular(byteCount: UInt64(records.count)), permissions: 0o644, modificationTime: entry.modificationTime)
      var header = Fields(extra)
      (header.name, header.type) = (Array("././@PaxHeader".utf8), "x")
      try file.writeAll(Self.header(header, extra) + records + Self.padding(after: UInt64(records.count)))
    }
    try file.writeAll(Self.header(fields, entry))
  }

  /// What differs between kinds of files.
  private struct Fields {
    var name: [UInt8]
    var target: [UInt8] = []
    var type: Unicode.Scalar
    var device: (major: UInt32, minor: UInt32) = (0, 0)
    var byteCount: UInt64 = 0

    init(_ entry: TreeEntry) {
      name = entry.path.bytes
      switch entry.kind {
      case .regular(let count): (type, byteCount) = ("0", count)
      case .hardLink(let first): (type, target) = ("1", first.bytes)
      case .symbolicLink(let to): (type, target) = ("2", to)
      case .characterDevice(let major, let minor): (type, device) = ("3", (major, minor))
      case .blockDevice(let major, let minor): (type, device) = ("4", (major, minor))
      case .directory:
        type = "5"
        name.append(UInt8(ascii: "/"))
      case .fifo, .socket: type = "6"
      }
    }
  }

  private static func header(_ fields: Fields, _ entry: TreeEntry) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: Self.sector)
    func put(_ bytes: some Collection<UInt8>, at offset: Int) { header.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
    func put(_ number: UInt64, at offset: Int, digits: Int) {
      let text = String(number, radix: 8)
      // What is larger is in the header before this one.
      guard text.utf8.count <= digits else { return put(repeatElement(UInt8(ascii: "7"), count: digits), at: offset) }
      put(Array(String(repeating: "0", count: digits - text.utf8.count).utf8) + Array(text.utf8), at: offset)
    }
    put(fields.name.prefix(100), at: 0)
    put(UInt64(entry.permissions), at: 100, digits: 7)
    put(UInt64(entry.userID), at: 108, digits: 7)
    put(UInt64(entry.groupID), at: 116, digits: 7)
    put(fields.byteCount, at: 124, digits: 11)
    put(UInt64(max(entry.modificationTime, 0)), at: 136, digits: 11)
    put([UInt8](repeating: UInt8(ascii: " "), count: 8), at: 148)
    put([UInt8(ascii: fields.type)], at: 156)
    put(fields.target.prefix(100), at: 157)
    put(Array("ustar\u{0}00".utf8), at: 257)
    put(UInt64(fields.device.major), at: 329, digits: 7)
    put(UInt64(fields.device.minor), at: 337, digits: 7)
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
