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

  /// Replaces the content by up to `limit` bytes of the file, in its own memory if it has as many; empty at the end of the file.
  mutating func refill(from file: FileDescriptor, at offset: UInt64, upTo limit: Int) throws(Errno) {
    do {
      if count == limit {
        let filled = try unsafe withUnsafeMutableBytes { try unsafe Self.read(file, at: offset, into: $0) }
        removeLast(limit - filled)
      } else {
        // Only what is read is touched: a file may be far smaller than it is allowed to be.
        self = try unsafe Array(unsafeUninitializedCapacity: limit) { buffer, count in
          count = try unsafe Self.read(file, at: offset, into: UnsafeMutableRawBufferPointer(buffer))
        }
      }
    } catch {
      throw error as? Errno ?? .ioError
    }
  }

  /// All of a file; one byte more than `limit` where it is larger. Memory follows what is there, not the limit.
  init(contentsOf file: FileDescriptor, upTo limit: Int) throws(Errno) {
    self = []
    var wanted = try Int(clamping: Files.status(of: file).byteCount)
    repeat {
      // One more, to see the end; some files do not say how long they are, and others grow.
      wanted = Swift.min(limit, Swift.max(2 * count, wanted, 4095)) + 1
      try refill(from: file, at: 0, upTo: wanted)
    } while count == wanted && wanted <= limit
  }

  /// How many bytes there were, fewer than there is room for only at the end of the file.
  private static func read(_ file: FileDescriptor, at offset: UInt64, into memory: UnsafeMutableRawBufferPointer) throws -> Int {
    var filled = 0
    while filled < memory.count {
      let got = try unsafe file.read(
        fromAbsoluteOffset: Int64(clamping: offset) + Int64(filled), into: .init(rebasing: memory[filled...]))
      if got == 0 { break }
      filled += got
    }
    return filled
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
