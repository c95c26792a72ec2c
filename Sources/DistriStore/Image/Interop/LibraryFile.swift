// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSquashFS
import Glibc
import SystemPackage

/// An object of libsquashfs, destroyed when this is.
@safe final class LibraryObject {
  let pointer: OpaquePointer

  /// - Throws: `ENOMEM` when there is none.
  init(_ pointer: OpaquePointer?, _ path: FilePath) throws(StoreError) {
    guard let pointer = unsafe pointer else { throw .system(operation: "write tables of", path: path, .noMemory) }
    unsafe self.pointer = pointer
  }

  deinit { unsafe sqfs_destroy(UnsafeMutableRawPointer(pointer)) }
}

/// The file that libsquashfs writes its tables to, and the compressor that it stores blocks with.
@safe final class LibraryFile {
  let path: FilePath
  let blockSize: UInt32
  private let output: UnsafeMutablePointer<csquashfs_output>
  private let store: UnsafeMutablePointer<csquashfs_compressor>
  private let compressor: Compressor?

  /// - Parameter compressor: nil to store blocks as they are.
  init(_ descriptor: FileDescriptor, path: FilePath, blockSize: UInt32, compressor: Compressor?) {
    self.path = path
    self.blockSize = blockSize
    self.compressor = compressor
    unsafe output = .allocate(capacity: 1)
    unsafe store = .allocate(capacity: 1)
    unsafe output.initialize(to: csquashfs_output())
    unsafe store.initialize(to: csquashfs_compressor())
    unsafe output.pointee.descriptor = descriptor.rawValue
    unsafe output.pointee.file.get_size = { file in unsafe LibraryFile.state(file)?.pointee.size ?? 0 }
    unsafe output.pointee.file.write_at = { file, offset, bytes, count in
      unsafe LibraryFile.write(file, offset, bytes, count)
    }
    // libsquashfs stores a block as it is when its compressor gives 0. Its LZ4 gives more bytes than it got for small
    // blocks, which unsquashfs takes for damage.
    unsafe store.pointee.inner = compressor?.object
    unsafe store.pointee.base.do_block = { this, input, count, output, room in
      guard let inner = unsafe LibraryFile.inner(this) else { return 0 }
      let result = unsafe inner.pointee.do_block(inner, input, count, output, room)
      return result < Int32(clamping: count) ? result : 0
    }
  }

  deinit {
    unsafe output.deallocate()
    unsafe store.deallocate()
  }

  /// For the functions of libsquashfs; valid while this object lives.
  @unsafe var file: UnsafeMutablePointer<sqfs_file_t> {
    unsafe UnsafeMutableRawPointer(output).assumingMemoryBound(to: sqfs_file_t.self)
  }

  /// For the functions of libsquashfs; valid while this object lives.
  @unsafe var blockCompressor: UnsafeMutablePointer<sqfs_compressor_t> {
    unsafe UnsafeMutableRawPointer(store).assumingMemoryBound(to: sqfs_compressor_t.self)
  }

  /// Where libsquashfs appends, in bytes.
  var size: UInt64 {
    get { unsafe output.pointee.size }
    set { unsafe output.pointee.size = newValue }
  }

  /// Turns a negative result of libsquashfs into an error.
  func check(_ result: Int32) throws(StoreError) {
    guard result < 0 else { return }
    let failure = unsafe output.pointee.error
    let errno: Errno =
      switch result {
      case SQFS_ERROR_IO.rawValue where failure != 0: Errno(rawValue: failure)
      case SQFS_ERROR_ALLOC.rawValue: .noMemory
      case SQFS_ERROR_OVERFLOW.rawValue: .fileTooLarge
      default: .ioError
      }
    throw .system(operation: "write tables of", path: path, errno)
  }

  @unsafe private static func inner(_ compressor: UnsafeRawPointer?) -> UnsafeMutablePointer<sqfs_compressor_t>? {
    unsafe compressor?.assumingMemoryBound(to: csquashfs_compressor.self).pointee.inner
  }

  @unsafe private static func state(_ file: UnsafeRawPointer?) -> UnsafeMutablePointer<csquashfs_output>? {
    unsafe UnsafeMutableRawPointer(mutating: file)?.assumingMemoryBound(to: csquashfs_output.self)
  }

  @unsafe private static func write(
    _ file: UnsafeRawPointer?, _ offset: UInt64, _ bytes: UnsafeRawPointer?, _ count: Int
  ) -> Int32 {
    guard let state = unsafe state(file), let bytes = unsafe bytes else { return SQFS_ERROR_INTERNAL.rawValue }
    var done = 0
    while done < count {
      let written = unsafe pwrite(state.pointee.descriptor, bytes + done, count - done, Int(offset) + done)
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else {
        unsafe state.pointee.error = written < 0 ? errno : EIO
        return SQFS_ERROR_IO.rawValue
      }
      done += written
    }
    unsafe state.pointee.size = max(state.pointee.size, offset + UInt64(count))
    return 0
  }
}
