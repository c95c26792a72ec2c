// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Crypto
import SystemPackage

extension [UInt8] {
  /// Appends a copy of the bytes.
  mutating func append(_ bytes: RawSpan) {
    unsafe bytes.withUnsafeBytes { unsafe append(contentsOf: $0) }
  }

  /// Offers all bytes to the sink.
  func offer(to sink: some TransferSink) throws -> Flow { try sink.consume(unsafe span.bytes) }

  /// Replaces the content by up to `limit` bytes of the file, in its own memory; empty at the end of the file.
  mutating func refill(from file: FileDescriptor, at offset: UInt64, upTo limit: Int) throws(Errno) {
    if count != limit { self = Array(repeating: 0, count: limit) }
    var filled = 0
    while filled < limit {
      let got = try Self.read(file, at: Int64(clamping: offset) + Int64(filled), into: &self, from: filled)
      if got == 0 { break }
      filled += got
    }
    removeLast(limit - filled)
  }

  private static func read(
    _ file: FileDescriptor, at offset: Int64, into bytes: inout [UInt8], from start: Int
  ) throws(Errno) -> Int {
    do {
      return try unsafe bytes.withUnsafeMutableBytes {
        try unsafe file.read(fromAbsoluteOffset: offset, into: .init(rebasing: $0[start...]))
      }
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}

extension FileDescriptor {
  /// Starts to write a range out to the medium, without waiting. A hint: failures show when the file is synchronised.
  func startWriteback(from offset: Int64, byteCount: Int64) { _ = clinux_start_writeback(rawValue, offset, byteCount) }
}

/// SHA-256 of bytes that come in pieces.
struct Digester {
  private var hash = SHA256()

  mutating func update(_ bytes: [UInt8]) {
    unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
  }

  /// 32 bytes.
  func finish() -> [UInt8] { Array(hash.finalize()) }
}

extension Digester {
  /// 64 bytes.
  static func sha512(of bytes: [UInt8]) -> [UInt8] {
    var hash = SHA512()
    unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
    return Array(hash.finalize())
  }
}

extension Digester {
  /// The first eight bytes of SHA-256, little-endian, of each whole block of the bytes.
  static func shortHashes(ofBlocks bytes: [UInt8], byteCount: Int) -> [UInt64] {
    unsafe bytes.withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count - bytes.count % byteCount, by: byteCount).map { start in
        var hash = SHA256()
        unsafe hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes[start..<start + byteCount]))
        return unsafe hash.finalize().withUnsafeBytes { unsafe UInt64(littleEndian: $0.load(as: UInt64.self)) }
      }
    }
  }
}
