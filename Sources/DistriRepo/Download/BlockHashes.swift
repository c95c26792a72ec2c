// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Short hashes of all blocks of an image, by which a client finds those that it has in another version of it: the content of
/// `<image>.blocks`.
///
/// Files lie in our images at multiples of a block, uncompressed, so that what did not change is found by comparing whole blocks, wherever they lie
/// now. The hashes prove nothing: two different blocks with the same one cost a download of the whole image, no more.
///
/// Format: FORMATS section 5, `docs/formats.md`. Little-endian.
public struct BlockHashes: Sendable, Hashable {
  /// The size of a block, in bytes. A shorter one at the end of the file has no hash.
  public static let blockByteCount = 4096
  /// The largest file of hashes that is read or made, in bytes: that of an image of almost 8 GiB.
  public static let maximumByteCount = 16 << 20
  /// What the name of an image's file of hashes ends with.
  public static let fileSuffix = ".blocks"

  private static let maximumFileByteCount = UInt64((maximumByteCount - headerByteCount) / 8 * blockByteCount)
  private static let magic = Array("distriBL".utf8)
  private static let headerByteCount = 16

  /// The size of the image, in bytes.
  public let fileByteCount: UInt64
  /// The first eight bytes of each block's SHA-256, little-endian.
  public let hashes: [UInt64]

  /// Hashes an image.
  ///
  /// - Returns: nil for one that is too large.
  /// - Throws: ``RepositoryError/system(operation:path:_:)``.
  init?(of path: FilePath) throws {
    let file = try Files.open(reading: path)
    defer { try? file.close() }
    do { guard try Files.status(of: file).byteCount <= Self.maximumFileByteCount else { return nil } } catch {
      throw RepositoryError.system(operation: "stat", path: path, error)
    }
    var hashes: [UInt64] = []
    var byteCount: UInt64 = 0
    var buffer: [UInt8] = []
    repeat {
      try Task.checkCancellation()
      do { try buffer.refill(from: file, at: byteCount, upTo: 1 << 20) } catch {
        throw RepositoryError.system(operation: "read", path: path, error)
      }
      hashes += Digester.shortHashes(ofBlocks: buffer, byteCount: Self.blockByteCount)
      byteCount += UInt64(buffer.count)
    } while !buffer.isEmpty
    fileByteCount = byteCount
    self.hashes = hashes
  }

  /// Parses the content of a file.
  ///
  /// - Parameter subject: the file, for errors.
  /// - Throws: `StoreError.invalidMetadata`.
  public init(serialized bytes: [UInt8], subject: String) throws(StoreError) {
    func refuse(_ reason: String) -> StoreError { .invalidMetadata(of: subject, line: nil, reason: reason) }
    guard bytes.count <= Self.maximumByteCount else { throw refuse("larger than \(Self.maximumByteCount) bytes") }
    guard bytes.starts(with: Self.magic), bytes.count >= Self.headerByteCount else { throw refuse("no hashes of blocks") }
    fileByteCount = Self.number(bytes, at: Self.magic.count)
    let count = (bytes.count - Self.headerByteCount) / 8
    guard Self.byteCount(ofHashes: count) == bytes.count, UInt64(count) == fileByteCount / UInt64(Self.blockByteCount) else {
      throw refuse("\(bytes.count) bytes of hashes do not belong to an image of \(fileByteCount) bytes")
    }
    hashes = (0..<count).map { Self.number(bytes, at: Self.headerByteCount + 8 * $0) }
  }

  /// The content of the file.
  public var serialized: [UInt8] {
    var bytes = Self.magic
    bytes.reserveCapacity(Self.byteCount(ofHashes: hashes.count))
    for number in [fileByteCount] + hashes {
      for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }
    return bytes
  }

  private static func byteCount(ofHashes count: Int) -> Int { headerByteCount + 8 * count }

  private static func number(_ bytes: [UInt8], at offset: Int) -> UInt64 {
    bytes[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
