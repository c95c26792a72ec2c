// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSquashFS
import Synchronization

/// Decompresses blocks. Any number of threads may use it; each use has a decompressor object of its own, which are kept
/// for the next use.
final class DecompressorPool: Sendable {
  private let compression: UInt16
  private let blockSize: UInt32
  private let idle = Mutex<[Decompressor]>([])

  /// libsquashfs cannot LZO.
  private static let lzo: UInt16 = 3

  init(compression: UInt16, blockSize: UInt32) {
    self.compression = compression
    self.blockSize = blockSize
  }

  /// The decompressed bytes, at most `limit`; nil when the input is no such stream or longer than that.
  func decompress(_ input: Bytes, limit: Int) -> Bytes? {
    if compression == DecompressorPool.lzo {
      return LZO.decompress(input.array, limit: limit).map { Bytes($0) }
    }
    let block = HeapBlock(capacity: limit, isZeroed: false)
    let count = unsafe decompress(input, into: block.memory, limit: limit)
    return count > 0 && count <= limit ? block.bytes(count: count) : nil
  }

  /// Decompresses a whole block of so many bytes to the end of the output, which has room for it; false when it has another length.
  func decompress(_ input: Bytes, appending count: Int, to output: inout OutputRawSpan) -> Bool {
    if compression == DecompressorPool.lzo {
      guard let bytes = decompress(input, limit: count), bytes.count == count else { return false }
      bytes.append(0..<count, to: &output)
      return true
    }
    return unsafe output.withUnsafeMutableBytes { buffer, initialized in
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[initialized...])
      guard rest.count >= count, unsafe decompress(input, into: rest, limit: count) == count else { return false }
      initialized += count
      return true
    }
  }

  private func decompress(_ input: Bytes, into output: UnsafeMutableRawBufferPointer, limit: Int) -> Int {
    guard let decompressor = idle.withLock({ $0.popLast() }) ?? Decompressor(compression, blockSize) else { return 0 }
    defer { idle.withLock { if $0.count < 8 { $0.append(decompressor) } } }
    return unsafe decompressor.run(input, into: output, limit: limit)
  }
}

/// One decompressor object of libsquashfs.
///
/// Sendable is right although the object may be used by one thread at a time only: the pool hands it to one user at a
/// time.
@safe private final class Decompressor: @unchecked Sendable {
  private let object: UnsafeMutablePointer<sqfs_compressor_t>

  init?(_ compression: UInt16, _ blockSize: UInt32) {
    var configuration = sqfs_compressor_config_t()
    let flags = UInt16(SQFS_COMP_FLAG_UNCOMPRESS.rawValue)
    let identifier = SQFS_COMPRESSOR(rawValue: UInt32(compression))
    guard unsafe sqfs_compressor_config_init(&configuration, identifier, Int(blockSize), flags) == 0 else { return nil }
    var object: UnsafeMutablePointer<sqfs_compressor_t>?
    guard unsafe sqfs_compressor_create(&configuration, &object) == 0, let object = unsafe object else { return nil }
    unsafe self.object = object
  }

  deinit { unsafe sqfs_destroy(object) }

  func run(_ input: Bytes, into output: UnsafeMutableRawBufferPointer, limit: Int) -> Int {
    unsafe input.withUnsafeBytes { input in
      let source = unsafe input.baseAddress?.assumingMemoryBound(to: UInt8.self)
      let target = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self)
      return Int(unsafe object.pointee.do_block(object, source, UInt32(input.count), target, UInt32(limit)))
    }
  }
}
