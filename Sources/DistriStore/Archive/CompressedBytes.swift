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
}
