// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Reads a GUID partition table (UEFI Specification, «GUID Partition Table Disk Layout»; numbers are little-endian, sectors have 512 bytes). The
/// disk may be anybody's: every number is checked.
struct PartitionReader {
  struct Partition: Equatable, Encodable {
    /// From 1, as in the names of devices.
    let number: Int
    let name: String
    /// Upper-case, as tools write it.
    let type: String
    let uuid: String
    /// Of the first byte, in bytes.
    let offset: UInt64
    let byteCount: UInt64
  }

  let file: FileDescriptor
  /// Bytes of the disk.
  let byteCount: UInt64

  private static let sector: UInt64 = 512
  private static let mostEntries: UInt32 = 1024

  /// The partitions in the order of the table; nil where there is no table.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a table that contradicts itself or the disk.
  func partitions(path: FilePath) throws -> [Partition]? {
    func damaged(_ reason: String) -> MkimageError {
      .unusableFile(path.string, reason: "its partition table is damaged: \(reason)")
    }
    guard let header = try bytes(at: Self.sector, count: 512), header.starts(with: Array("EFI PART".utf8)) else { return nil }
    guard let start = header.load(UInt64.self, at: 72), let count = header.load(UInt32.self, at: 80),
      let size = header.load(UInt32.self, at: 84), (128...512).contains(size), count <= Self.mostEntries,
      start < byteCount / Self.sector, let table = try bytes(at: start * Self.sector, count: Int(count * size))
    else { throw damaged("its header names a place that is not on the disk") }
    var partitions: [Partition] = []
    for index in 0..<Int(count) {
      let entry = Array(table[index * Int(size)..<(index + 1) * Int(size)])
      guard entry[..<16].contains(where: { $0 != 0 }) else { continue }
      guard let first = entry.load(UInt64.self, at: 32), let last = entry.load(UInt64.self, at: 40), first <= last,
        last < byteCount / Self.sector
      else { throw damaged("partition \(index + 1) does not lie on the disk") }
      let units = stride(from: 56, to: 128, by: 2).compactMap { entry.load(UInt16.self, at: $0) }.prefix { $0 != 0 }
      partitions.append(
        Partition(
          number: index + 1, name: String(decoding: units, as: UTF16.self), type: Self.identifier(entry[..<16]),
          uuid: Self.identifier(entry[16..<32]), offset: first * Self.sector, byteCount: (last - first + 1) * Self.sector))
    }
    return partitions
  }

  /// The first three parts of an identifier are numbers, the rest are bytes.
  private static func identifier(_ bytes: ArraySlice<UInt8>) -> String {
    let raw = Array(bytes)
    let order = [3, 2, 1, 0, 5, 4, 7, 6] + Array(8..<16)
    return text(ofUUID: order.map { raw[$0] }).uppercased()
  }

  /// Nil when they are not all on the disk.
  private func bytes(at offset: UInt64, count: Int) throws -> [UInt8]? {
    guard offset <= byteCount, UInt64(count) <= byteCount - offset else { return nil }
    var buffer = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
      let got = try buffer.withUnsafeMutableBytes {
        try file.read(
          fromAbsoluteOffset: Int64(offset) + Int64(filled), into: UnsafeMutableRawBufferPointer(rebasing: $0[filled...]))
      }
      guard got > 0 else { return nil }
      filled += got
    }
    return buffer
  }
}
