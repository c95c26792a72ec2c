// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// The image file that is being written, front to back. Small pieces are collected here; a thread in the background writes them, while
/// the next ones are read.
@safe final class ImageOutput {
  let descriptor: FileDescriptor
  let path: FilePath
  /// Where the next byte goes, from the start of the file.
  private(set) var position: UInt64 = 0
  private let writer: BackgroundWriter
  private var chunk: Chunk
  private var filled = 0

  static let page = 4096

  init(_ descriptor: FileDescriptor, path: FilePath) throws(StoreError) {
    self.descriptor = descriptor
    self.path = path
    writer = BackgroundWriter(descriptor, path: path)
    chunk = writer.nextChunk()
    // Whatever was there must not shine through the holes.
    try check(ftruncate(descriptor.rawValue, 0), "truncate")
  }

  private func check(_ result: Int32, _ operation: String) throws(StoreError) {
    if result != 0 { throw .system(operation: operation, path: path, Errno(rawValue: errno)) }
  }

  /// Goes on at the next multiple of a page.
  func align() throws(StoreError) {
    let gap = (ImageOutput.page - Int(position % UInt64(ImageOutput.page))) % ImageOutput.page
    if gap > Chunk.capacity - filled { try flush() }
    for offset in filled..<filled + gap { unsafe chunk.memory[offset] = 0 }
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
    if filled == Chunk.capacity { try flush() }
    let end = min(filled + min(count, Chunk.capacity), Chunk.capacity)
    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: chunk.memory[filled..<end])
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

  /// Appends a file's first bytes. The kernel copies them, or lets both files share them; holes stay holes.
  func copy(from source: FileDescriptor, byteCount: UInt64) throws(StoreError) {
    try flush()
    var status = stat()
    try check(unsafe fstat(source.rawValue, &status), "examine a file for")
    guard status.st_size >= 0, UInt64(status.st_size) >= byteCount else {
      throw .system(operation: "pack a file that shrinks into", path: path, .ioError)
    }
    try writer.copy(source, byteCount: Int64(byteCount), to: Int64(position))
    position += byteCount
  }

  /// Hands on what was collected.
  private func flush() throws(StoreError) {
    try writer.check()
    guard filled > 0 else { return }
    writer.write(chunk, count: filled, at: Int64(position) - Int64(filled))
    chunk = writer.nextChunk()
    filled = 0
  }

  /// Returns when everything is written.
  func complete() throws(StoreError) {
    try flush()
    writer.wait()
    try writer.check()
  }

  /// Returns when nobody writes any more, whether or not it went well.
  func wait() { writer.wait() }
}
