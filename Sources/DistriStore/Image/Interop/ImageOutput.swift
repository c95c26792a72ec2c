// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// The image file that is being written, front to back: small pieces are collected, runs of zeros become holes.
@safe final class ImageOutput {
  let descriptor: FileDescriptor
  let path: FilePath
  /// Where the next byte goes, from the start of the file.
  private(set) var position: UInt64 = 0
  private let buffer: UnsafeMutableRawBufferPointer
  private var filled = 0

  private static let capacity = 1 << 20
  static let page = 4096
  /// Shorter runs of zeros are written: a hole costs a system call and a fragment.
  private static let smallestHole = 16 * page

  init(_ descriptor: FileDescriptor, path: FilePath) throws(StoreError) {
    self.descriptor = descriptor
    self.path = path
    unsafe buffer = .allocate(byteCount: ImageOutput.capacity, alignment: ImageOutput.page)
    // Whatever was there must not shine through the holes.
    try check(ftruncate(descriptor.rawValue, 0), "truncate")
  }

  deinit { unsafe buffer.deallocate() }

  private func check(_ result: Int32, _ operation: String) throws(StoreError) {
    if result != 0 { throw .system(operation: operation, path: path, Errno(rawValue: errno)) }
  }

  /// Goes on at the next multiple of a page.
  func align() throws(StoreError) {
    let gap = (ImageOutput.page - Int(position % UInt64(ImageOutput.page))) % ImageOutput.page
    if gap > ImageOutput.capacity - filled { try flush() }
    for offset in filled..<filled + gap { unsafe buffer[offset] = 0 }
    filled += gap
    position += UInt64(gap)
  }

  /// Gives the file its final size.
  func finish(at end: UInt64) throws(StoreError) {
    try check(ftruncate(descriptor.rawValue, Int(end)), "extend")
  }

  /// Starts here instead of at 0; what lies before is written by others.
  func begin(at start: UInt64) { position = start }

  /// Lets the closure append, and returns how many bytes it did.
  func append(atMost count: Int, _ fill: (inout OutputRawSpan) throws -> Void) throws -> Int {
    if filled == ImageOutput.capacity { try flush() }
    let end = min(filled + min(count, ImageOutput.capacity), ImageOutput.capacity)
    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<end])
    var span = unsafe OutputRawSpan(buffer: room, initializedCount: 0)
    try fill(&span)
    let appended = unsafe span.finalize(for: room)
    filled += appended
    position += UInt64(appended)
    return appended
  }

  /// Appends bytes.
  func append(_ bytes: Bytes) throws {
    var start = 0
    while start < bytes.count {
      start += try append(atMost: bytes.count - start) { bytes.append(start..<bytes.count, to: &$0) }
    }
  }

  /// Writes what was collected.
  func flush() throws(StoreError) {
    let base = position - UInt64(filled)
    var start = 0
    while start < filled {
      var end = start
      var zeros = 0
      while end < filled, zeros < ImageOutput.smallestHole {
        let length = min(ImageOutput.page, filled - end)
        zeros = isZero(end, length) ? zeros + length : 0
        end += length
      }
      let dataEnd = zeros < ImageOutput.smallestHole ? end : end - zeros
      try unsafe write(UnsafeRawBufferPointer(rebasing: buffer[start..<dataEnd]), at: base + UInt64(start))
      start = end
      while start < filled, isZero(start, min(ImageOutput.page, filled - start)) {
        start += min(ImageOutput.page, filled - start)
      }
    }
    filled = 0
  }

  private func isZero(_ start: Int, _ count: Int) -> Bool {
    guard let base = unsafe buffer.baseAddress else { return true }
    let bytes = unsafe base + start
    return unsafe bytes.load(as: UInt8.self) == 0 && memcmp(bytes, bytes + 1, count - 1) == 0
  }

  @unsafe private func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(StoreError) {
    var done = 0
    while done < bytes.count {
      let count = unsafe pwrite(
        descriptor.rawValue, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done, Int(offset) + done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw .system(operation: "write", path: path, count < 0 ? Errno(rawValue: errno) : .ioError) }
      done += count
    }
  }
}

extension ImageOutput {
  /// Appends a file's first bytes. The kernel copies them, or lets both files share them; holes stay holes.
  func copy(from source: FileDescriptor, byteCount: UInt64) throws(StoreError) {
    try flush()
    var status = stat()
    try check(unsafe fstat(source.rawValue, &status), "examine a file for")
    guard status.st_size >= 0, UInt64(status.st_size) >= byteCount else {
      throw .system(operation: "pack a file that shrinks into", path: path, .ioError)
    }
    var offset: Int64 = 0
    let end = Int64(byteCount)
    while offset < end {
      guard let data = extent(source, from: offset, end) else { break }
      try copy(source, data, to: Int64(position) + data.lowerBound)
      offset = data.upperBound
    }
    position += byteCount
  }

  /// The next range that is no hole; nil when there is none before the end.
  private func extent(_ source: FileDescriptor, from offset: Int64, _ end: Int64) -> Range<Int64>? {
    // SEEK_DATA and SEEK_HOLE of the kernel's interface: Swift's Glibc module lacks them.
    let (seekData, seekHole): (Int32, Int32) = (3, 4)
    let start = lseek(source.rawValue, Int(offset), seekData)
    if start < 0 { return errno == ENXIO ? nil : offset..<end }
    guard start < end else { return nil }
    let hole = lseek(source.rawValue, start, seekHole)
    return Int64(start)..<(hole > start ? min(Int64(hole), end) : end)
  }

  private func copy(_ source: FileDescriptor, _ range: Range<Int64>, to target: Int64) throws(StoreError) {
    var done: Int64 = 0
    while done < Int64(range.count) {
      let rest = Int(min(Int64(range.count) - done, 1 << 30))
      let count = clinux_copy_file_range(
        source.rawValue, range.lowerBound + done, descriptor.rawValue, target + done, rest)
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
    _ source: FileDescriptor, from offset: Int64, to target: Int64, atMost count: Int
  ) throws(StoreError) -> Int64 {
    let length = min(count, ImageOutput.capacity)
    let read = unsafe pread(source.rawValue, buffer.baseAddress, length, Int(offset))
    if read < 0 && errno == EINTR { return 0 }
    guard read > 0 else {
      throw .system(operation: "read a file for", path: path, read < 0 ? Errno(rawValue: errno) : .ioError)
    }
    unsafe try write(UnsafeRawBufferPointer(rebasing: buffer[0..<read]), at: UInt64(target))
    return Int64(read)
  }
}
