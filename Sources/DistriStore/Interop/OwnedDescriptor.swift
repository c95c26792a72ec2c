// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// A file descriptor that is closed with its last reference.
package final class OwnedDescriptor: Sendable {
  package let descriptor: FileDescriptor

  /// Takes the descriptor over.
  package init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }

  deinit { try? descriptor.close() }

  /// Opens a file for reading, without waiting for the writer of a FIFO; a link in the last component is followed.
  package convenience init(reading path: FilePath) throws(StoreError) {
    do {
      self.init(try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking]))
    } catch {
      throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
    }
  }
}

extension FileDescriptor {
  /// Appends up to `limit` bytes from an offset, fewer only at the end of the file or when the output is full.
  package func readAppending(at offset: UInt64, limit: UInt64, to output: inout OutputRawSpan) throws(Errno) -> Int {
    let wanted = Int(min(limit, UInt64(output.freeCapacity)))
    guard let start = Int64(exactly: offset) else { throw .invalidArgument }
    return try unsafe output.withUnsafeMutableBytes { buffer, initialized throws(Errno) in
      var done = 0
      while done < wanted {
        let free = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[(initialized)..<(initialized + wanted - done)])
        let count = unsafe Glibc.pread(rawValue, free.baseAddress, free.count, off_t(start &+ Int64(done)))
        if count < 0 {
          let failure = Errno(rawValue: errno)
          if failure == .interrupted { continue }
          throw failure
        }
        if count == 0 { break }
        done += count
        initialized += count
      }
      return done
    }
  }

  /// What `fstat` says.
  package func status() throws(Errno) -> FileStatus {
    var status = Glibc.stat()
    guard unsafe Glibc.fstat(rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    return FileStatus(status)
  }

  /// Returns when data and metadata are on the medium.
  func synchronize() throws(Errno) {
    while fsync(rawValue) != 0 {
      let failure = Errno(rawValue: errno)
      if failure != .interrupted { throw failure }
    }
  }
}

/// A buffer of a fixed size, filled and read through spans.
@safe package final class TransferBuffer {
  private let memory: UnsafeMutableRawBufferPointer
  package private(set) var count = 0

  package init(byteCount: Int) { unsafe memory = .allocate(byteCount: byteCount, alignment: 4096) }

  deinit { unsafe memory.deallocate() }

  /// Empties the buffer, then lets the body append to it.
  package func fill<E: Error>(_ body: (inout OutputRawSpan) throws(E) -> Void) throws(E) {
    var output = unsafe OutputRawSpan(buffer: memory, initializedCount: 0)
    count = 0
    try body(&output)
    count = unsafe output.finalize(for: memory)
  }

  /// What was filled in.
  package var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(rebasing: memory[..<count]) }

  /// Whether all of the bytes are zero.
  var isZero: Bool {
    let bytes = unsafe bytes
    guard let start = bytes.baseAddress, count > 0 else { return true }
    // All equal to the next one, and the first is zero: one pass at memory speed.
    return unsafe bytes[0] == 0 && memcmp(start, start + 1, count - 1) == 0
  }

  /// Writes all of the bytes at an offset.
  func write(to file: FileDescriptor, at offset: UInt64) throws(Errno) {
    var done = 0
    while done < count {
      guard let start = Int64(exactly: offset), let base = unsafe bytes.baseAddress else { throw .invalidArgument }
      let written = unsafe Glibc.pwrite(file.rawValue, base + done, count - done, off_t(start &+ Int64(done)))
      if written < 0 {
        let failure = Errno(rawValue: errno)
        if failure == .interrupted { continue }
        throw failure
      }
      done += written
    }
  }

  /// Whether the other buffer holds the same bytes.
  func equals(_ other: TransferBuffer) -> Bool {
    guard count == other.count else { return false }
    guard let a = unsafe bytes.baseAddress, let b = unsafe other.bytes.baseAddress, count > 0 else { return true }
    return unsafe memcmp(a, b, count) == 0
  }
}

extension [UInt8] {
  /// An array whose bytes the body appends, at most `capacity` of them.
  package init<E: Error>(capacity: Int, appending body: (inout OutputRawSpan) throws(E) -> Void) throws(E) {
    let buffer = TransferBuffer(byteCount: capacity)
    try buffer.fill(body)
    self = unsafe Array(buffer.bytes)
  }
}

extension OwnedDescriptor {
  /// The contents from the start, at most `limit` bytes; memory follows what is there.
  func contents(limit: Int, path: FilePath) throws(StoreError) -> [UInt8] {
    var result: [UInt8] = []
    do {
      while result.count < limit {
        let piece = try [UInt8](capacity: min(limit - result.count, 64 << 10)) { output throws(Errno) in
          _ = try descriptor.readAppending(at: UInt64(result.count), limit: .max, to: &output)
        }
        if piece.isEmpty { break }
        result += piece
      }
    } catch {
      throw .system(operation: "read", path: path, error)
    }
    return result
  }
}
