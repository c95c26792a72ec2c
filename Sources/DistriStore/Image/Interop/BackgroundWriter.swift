// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Dispatch
import Glibc
import Synchronization
import SystemPackage

/// Memory for bytes that wait to be written.
///
/// Sendable is right although it is filled on one thread and written on another: only one of them has it at a time.
@safe final class Chunk: @unchecked Sendable {
  static let capacity = 1 << 20

  @unsafe let memory: UnsafeMutableRawBufferPointer

  init() { unsafe memory = .allocate(byteCount: Chunk.capacity, alignment: ImageOutput.page) }

  deinit { unsafe memory.deallocate() }

  /// Whether a part that is not empty has nothing but zeros.
  func isZero(_ start: Int, _ count: Int) -> Bool {
    guard let base = unsafe memory.baseAddress else { return true }
    let bytes = unsafe base + start
    return unsafe bytes.load(as: UInt8.self) == 0 && memcmp(bytes, bytes + 1, count - 1) == 0
  }
}

/// Writes to a file in the background, in order. What fails is told by the next `check()`.
final class BackgroundWriter: Sendable {
  private let descriptor: FileDescriptor
  private let path: FilePath
  private let queue = DispatchQueue(label: "distri.image-output")
  private let failure = Mutex<StoreError?>(nil)
  private let free = Mutex<[Chunk]>([])
  /// Bounds what waits, and so the memory.
  private let room = DispatchSemaphore(value: 4)

  /// Shorter runs of zeros are written: a hole costs a system call and a fragment.
  private static let smallestHole = 16 * ImageOutput.page

  init(_ descriptor: FileDescriptor, path: FilePath) {
    self.descriptor = descriptor
    self.path = path
  }

  func nextChunk() -> Chunk { free.withLock { $0.popLast() } ?? Chunk() }

  /// - Throws: what went wrong first.
  func check() throws(StoreError) {
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  /// Returns when nothing waits any more.
  func wait() { queue.sync {} }

  private func enqueue(_ work: @escaping @Sendable () throws(StoreError) -> Void) {
    room.wait()
    queue.async { [self] in
      if failure.withLock({ $0 == nil }) {
        do throws(StoreError) { try work() } catch { failure.withLock { $0 = error } }
      }
      room.signal()
    }
  }

  /// Takes the chunk and writes its first bytes, with holes for longer runs of zeros.
  func write(_ chunk: Chunk, count: Int, at offset: Int64) {
    enqueue { [self] () throws(StoreError) in
      try write(chunk, count, offset)
      free.withLock { $0.append(chunk) }
    }
  }

  /// Copies a file's first bytes, with its holes. The descriptor may be closed afterwards.
  func copy(_ source: FileDescriptor, byteCount: Int64, to target: Int64) throws(StoreError) {
    let own = fcntl(source.rawValue, F_DUPFD_CLOEXEC, 0)
    guard own >= 0 else { throw .system(operation: "open a file for", path: path, Errno(rawValue: errno)) }
    enqueue { [self] () throws(StoreError) in
      defer { close(own) }
      var offset: Int64 = 0
      while offset < byteCount, let data = extent(own, from: offset, byteCount) {
        try copy(own, data, to: target + data.lowerBound)
        offset = data.upperBound
      }
    }
  }
}

extension BackgroundWriter {
  private func write(_ chunk: Chunk, _ count: Int, _ offset: Int64) throws(StoreError) {
    var start = 0
    while start < count {
      var end = start
      var zeros = 0
      while end < count, zeros < BackgroundWriter.smallestHole {
        let length = min(ImageOutput.page, count - end)
        zeros = chunk.isZero(end, length) ? zeros + length : 0
        end += length
      }
      let dataEnd = zeros < BackgroundWriter.smallestHole ? end : end - zeros
      try unsafe write(UnsafeRawBufferPointer(rebasing: chunk.memory[start..<dataEnd]), at: offset + Int64(start))
      start = end
      while start < count, chunk.isZero(start, min(ImageOutput.page, count - start)) {
        start += min(ImageOutput.page, count - start)
      }
    }
  }

  @unsafe private func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(StoreError) {
    var done = 0
    while done < bytes.count {
      let start = unsafe bytes.baseAddress.map { unsafe $0 + done }
      let count = unsafe pwrite(descriptor.rawValue, start, bytes.count - done, Int(offset) + done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw .system(operation: "write", path: path, count < 0 ? Errno(rawValue: errno) : .ioError) }
      done += count
    }
  }

  /// The next range that is no hole; nil when there is none before the end.
  private func extent(_ source: Int32, from offset: Int64, _ end: Int64) -> Range<Int64>? {
    // SEEK_DATA and SEEK_HOLE of the kernel's interface: Swift's Glibc module lacks them.
    let (seekData, seekHole): (Int32, Int32) = (3, 4)
    let start = lseek(source, Int(offset), seekData)
    if start < 0 { return errno == ENXIO ? nil : offset..<end }
    guard start < end else { return nil }
    let hole = lseek(source, start, seekHole)
    return Int64(start)..<(hole > start ? min(Int64(hole), end) : end)
  }

  private func copy(_ source: Int32, _ range: Range<Int64>, to target: Int64) throws(StoreError) {
    var done: Int64 = 0
    while done < Int64(range.count) {
      let rest = Int(min(Int64(range.count) - done, 1 << 30))
      let count = clinux_copy_file_range(source, range.lowerBound + done, descriptor.rawValue, target + done, rest)
      if count > 0 {
        done += Int64(count)
      } else if count < 0, errno == EINTR {
        continue
      } else if count < 0, ![EXDEV, EINVAL, EOPNOTSUPP, ENOSYS, EPERM].contains(errno) {
        throw .system(operation: "copy a file into", path: path, Errno(rawValue: errno))
      } else {
        // Some file systems give 0 or refuse although there are bytes: copy them ourselves.
        done += try copyBuffered(source, from: range.lowerBound + done, to: target + done, atMost: rest)
      }
    }
  }

  private func copyBuffered(
    _ source: Int32, from offset: Int64, to target: Int64, atMost count: Int
  ) throws(StoreError) -> Int64 {
    let chunk = nextChunk()
    defer { free.withLock { $0.append(chunk) } }
    let read = unsafe pread(source, chunk.memory.baseAddress, min(count, Chunk.capacity), Int(offset))
    if read < 0 && errno == EINTR { return 0 }
    guard read > 0 else {
      throw .system(operation: "read a file for", path: path, read < 0 ? Errno(rawValue: errno) : .ioError)
    }
    try write(chunk, read, target)
    return Int64(read)
  }
}
