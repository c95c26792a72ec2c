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

extension OutputRawSpan {
  /// Appends a copy of the bytes, or as many as have room.
  mutating func append(_ bytes: ArraySlice<UInt8>) {
    unsafe withUnsafeMutableBytes { buffer, initialized in
      let count = min(bytes.count, buffer.count - initialized)
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[initialized..<(initialized + count)])
      unsafe bytes.prefix(count).withUnsafeBytes { unsafe target.copyMemory(from: $0) }
      initialized += count
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

  /// Begins with a few bytes.
  init(_ prefix: [UInt8] = []) { update(prefix) }

  mutating func update(_ bytes: [UInt8]) { update(bytes[...]) }

  mutating func update(_ bytes: ArraySlice<UInt8>) {
    unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
  }

  /// 32 bytes, of some bytes behind a prefix.
  static func hash(_ prefix: [UInt8], _ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var digester = Digester(prefix)
    digester.update(bytes)
    return digester.finish()
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
