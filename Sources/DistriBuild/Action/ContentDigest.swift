// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import SystemPackage

/// What names bytes wherever they lie: their SHA-256 and their number, as content-addressed storages have it.
public struct ContentDigest: Sendable, Hashable {
  /// In lower-case hexadecimal digits.
  public var sha256: String
  /// How many bytes there are.
  public var byteCount: UInt64

  /// Makes a digest of its parts.
  public init(sha256: String, byteCount: UInt64) {
    self.sha256 = sha256
    self.byteCount = byteCount
  }

  /// Of bytes in memory.
  public init(of bytes: [UInt8]) {
    self.init(sha256: hexadecimal(SHA256.hash(data: bytes)), byteCount: UInt64(bytes.count))
  }

  /// Of a file; reads all of it.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``; `EBUSY` when the file changes meanwhile.
  public init(of path: FilePath) throws(BuildError) {
    let before = try path.byteCount()
    let sha256 = try Checksum.sha256(of: path)
    guard try path.byteCount() == before else { throw .system(operation: "read", path: path, .resourceBusy) }
    self.init(sha256: sha256, byteCount: before)
  }
}

extension ContentDigest: CustomStringConvertible {
  /// The digits, a slash and the number of bytes.
  public var description: String { "\(sha256)/\(byteCount)" }
}
