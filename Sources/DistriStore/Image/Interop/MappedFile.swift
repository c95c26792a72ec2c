// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// A file's bytes, mapped read-only for as long as this object lives.
///
/// The file must not shrink while it is mapped: packages are immutable, and what a transaction replaces is renamed
/// over, not truncated. Where that is not sure, ``FaultGuard`` turns the signal into ``hasFaulted``.
///
/// Sendable is right although it holds a pointer: the memory is never written and is unmapped only in `deinit`.
@safe package final class MappedFile: ByteSource, @unchecked Sendable {
  /// How many bytes are mapped.
  package let byteCount: UInt64
  private let start: UnsafeMutableRawPointer?
  /// The number in the guard's table, -1 for none.
  private let guardNumber: Int32

  /// Maps the whole file. The descriptor may be closed afterwards.
  package init(descriptor: FileDescriptor) throws(Errno) {
    var status = stat()
    guard unsafe fstat(descriptor.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .invalidArgument }
    byteCount = UInt64(max(status.st_size, 0))
    guard byteCount > 0 else {
      unsafe start = nil
      guardNumber = -1
      return
    }
    let address = unsafe mmap(nil, Int(byteCount), PROT_READ, MAP_SHARED, descriptor.rawValue, 0)
    guard unsafe address != MAP_FAILED else { throw Errno(rawValue: errno) }
    unsafe start = address
    guardNumber = unsafe clinux_guard_add(address, Int(byteCount))
  }

  /// Maps a copy of the bytes that lies in memory only.
  package convenience init(copying bytes: [UInt8]) throws(Errno) {
    let memory = try Self.anonymousFile(bytes)
    defer { try? memory.close() }
    try self.init(descriptor: memory)
  }

  /// A file without name that lies in memory only.
  package static func anonymousFile(_ bytes: [UInt8]) throws(Errno) -> FileDescriptor {
    let memory = unsafe FileDescriptor(rawValue: clinux_memfd("distri"))
    guard memory.rawValue >= 0 else { throw Errno(rawValue: errno) }
    do {
      _ = try memory.writeAll(bytes)
      return memory
    } catch {
      try? memory.close()
      throw error as? Errno ?? .ioError
    }
  }

  /// Whether the file was found shorter than when it was mapped, or unreadable, while ``FaultGuard`` was installed: from then on a part of
  /// the mapping reads as zeros, and nothing that was read since is to be believed.
  package var hasFaulted: Bool { clinux_guard_has_faulted(guardNumber) != 0 }

  deinit {
    clinux_guard_remove(guardNumber)
    if let start = unsafe start { unsafe munmap(start, Int(byteCount)) }
  }

  /// The mapped memory; valid while this object lives.
  @unsafe package var unsafeBytes: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: start, count: Int(byteCount))
  }

  /// Says that only ranges that are asked for by ``populate(_:ahead:)`` are to be read: elsewhere the kernel reads far around each page.
  package func expectRandomAccess() {
    if let start = unsafe start { _ = unsafe clinux_random_access(start, Int(byteCount)) }
  }

  /// Starts to read the whole file.
  package func prefetch() {
    if let start = unsafe start { _ = unsafe clinux_will_need(start, Int(byteCount)) }
  }

  /// Makes the range, in bytes, resident, so that nothing that reads it now waits for the disk or is killed by a
  /// failing one.
  ///
  /// - Parameter ahead: so many bytes behind the range are about to be wanted, too: they are read without waiting for them.
  /// - Throws: `EFAULT` or `EIO` where the file is shorter than when it was mapped or cannot be read.
  package func populate(_ range: Range<UInt64>, ahead: UInt64 = 0) throws(Errno) {
    guard range.upperBound <= byteCount, !hasFaulted, let start = unsafe start else { throw .ioError }
    let page: UInt64 = 4096
    let first = range.lowerBound & ~(page - 1)
    // In one go: page by page, each would be waited for.
    let end = min(byteCount, range.upperBound + ahead)
    if end - first > page { _ = unsafe clinux_will_need(start + Int(first), Int(end - first)) }
    guard unsafe clinux_populate_read(start + Int(first), Int(range.upperBound - first)) == 0 else {
      throw Errno(rawValue: errno)
    }
  }

  /// All bytes, as an index.
  package var indexBytes: IndexBytes {
    guard let start = unsafe start else { return .none }
    return unsafe IndexBytes(owner: self, start: UnsafeRawPointer(start), count: Int(byteCount))
  }

  /// The bytes of a range, not copied; nil when it reaches past the end, or when the file has been found damaged.
  func bytes(at offset: UInt64, count: UInt64) -> Bytes? {
    guard offset <= byteCount, count <= byteCount - offset, !hasFaulted, let start = unsafe start else { return nil }
    return unsafe Bytes(owner: self, start: UnsafeRawPointer(start) + Int(offset), count: Int(count))
  }

  /// Fills all of the output's free capacity from the offset on.
  package func read(into output: inout OutputRawSpan, at offset: UInt64) throws(Errno) {
    guard let bytes = bytes(at: offset, count: UInt64(output.freeCapacity)) else { throw .ioError }
    bytes.append(0..<bytes.count, to: &output)
    if hasFaulted { throw .ioError }
  }
}
