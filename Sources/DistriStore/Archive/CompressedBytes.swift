// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Bytes that may be compressed with gzip, bzip2, xz, lzma, lzip, zstd, lz4 or compress, such as the index of an archive.
public enum CompressedBytes {
  /// What was compressed; bytes that are not compressed are given back as they are.
  ///
  /// - Parameters:
  ///   - limit: the most bytes that may come out.
  ///   - subject: what the bytes are, for errors.
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for damage, and for more than the limit.
  public static func contents(of bytes: [UInt8], limit: Int, subject: FilePath) throws(StoreError) -> [UInt8] {
    let reader = try ArchiveReader(compressed: bytes, path: subject)
    guard try reader.nextHeader() else { return [] }
    return try reader.remainingContents(limit: limit)
  }

  /// Decompresses a file that is compressed with zstd, piece by piece.
  ///
  /// - Parameters:
  ///   - byteCount: as many bytes come out, or an error.
  ///   - body: is given the pieces in order.
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for damage, and for more or fewer bytes; what the body throws.
  package static func decompressZstd(_ path: FilePath, byteCount: UInt64, _ body: ([UInt8]) throws -> Void) throws {
    let file = try OwnedDescriptor(reading: path)
    let size = try file.descriptor.status().byteCount
    let reader = try ArchiveReader(zstd: file, range: 0..<size, path: path)
    guard try reader.nextHeader() else { throw reader.failure("it has no contents") }
    var rest = byteCount
    repeat {
      let piece = try [UInt8](capacity: Int(min(max(rest, 1), 1 << 20))) { output throws(StoreError) in
        try reader.readContents(into: &output, byteCount: byteCount)
      }
      rest -= UInt64(piece.count)
      try body(piece)
    } while rest > 0
  }
}
