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
  ///   - limit: the most bytes that may come out.
  ///   - body: is given the pieces in order, of damaged and cut files those before the damage.
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for damage, and for more bytes; what the body throws.
  package static func decompressZstd(_ path: FilePath, limit: UInt64, _ body: ([UInt8]) throws -> Void) throws {
    let file = try OwnedDescriptor(reading: path)
    let size = try file.descriptor.status().byteCount
    let reader = try ArchiveReader(zstd: file, range: 0..<size, path: path)
    guard try reader.nextHeader() else { throw reader.failure("it has no contents") }
    while let piece = try reader.nextPiece(limit: limit) { try body(piece) }
  }
}
