// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Immutable bytes and what keeps them alive. Every access is checked; nothing traps.
///
/// Sendable is right although it holds a pointer: the memory is never written once a value of this type exists.
@safe struct Bytes: @unchecked Sendable {
  /// How many there are.
  let count: Int
  private let owner: AnyObject
  private let start: UnsafeRawPointer

  /// `start` must stay valid and unchanged while `owner` lives.
  @unsafe init(owner: AnyObject, start: UnsafeRawPointer, count: Int) {
    self.owner = owner
    unsafe self.start = unsafe start
    self.count = count
  }

  /// A copy of an array's bytes.
  init(_ array: [UInt8]) {
    let block = HeapBlock(capacity: array.count)
    unsafe array.withUnsafeBytes { unsafe block.memory.copyMemory(from: $0) }
    self = block.bytes(count: array.count)
  }

  /// A little-endian number; nil when it reaches past the end.
  func integer<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: T.Type = T.self) -> T? {
    guard offset >= 0, offset <= count, count - offset >= MemoryLayout<T>.size else { return nil }
    return T(littleEndian: unsafe start.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// A part, not copied; nil when it reaches past the end.
  func slice(at offset: Int, count length: Int) -> Bytes? {
    guard offset >= 0, length >= 0, offset <= count, length <= count - offset else { return nil }
    return unsafe Bytes(owner: owner, start: start + offset, count: length)
  }

  /// A copy.
  var array: [UInt8] { unsafe Array(UnsafeRawBufferPointer(start: start, count: count)) }

  /// Less than, equal to or greater than zero as these bytes sort before, with or after the other ones.
  func compare(_ other: [UInt8]) -> Int {
    let order = unsafe other.withUnsafeBytes { other in
      guard let otherStart = other.baseAddress else { return Int32(0) }
      return unsafe memcmp(start, otherStart, min(count, other.count))
    }
    return order == 0 ? count - other.count : Int(order)
  }

  /// Whether there is nothing but zeros.
  var isZero: Bool { unsafe count == 0 || start.load(as: UInt8.self) == 0 && memcmp(start, start + 1, count - 1) == 0 }

  /// Appends a part that must lie within the bytes, or as much of it as has room.
  func append(_ range: Range<Int>, to output: inout OutputRawSpan) {
    let range = range.clamped(to: 0..<count)
    unsafe output.withUnsafeMutableBytes { buffer, initialized in
      let length = min(range.count, buffer.count - initialized)
      guard length > 0, let target = buffer.baseAddress else { return }
      unsafe memcpy(target + initialized, start + range.lowerBound, length)
      initialized += length
    }
  }

  /// Calls the closure with the memory.
  @unsafe func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    withExtendedLifetime(owner) { unsafe body(UnsafeRawBufferPointer(start: start, count: count)) }
  }
}

/// Appends zeros, or as many as have room.
func appendZeros(_ count: Int, to output: inout OutputRawSpan) {
  unsafe output.withUnsafeMutableBytes { buffer, initialized in
    let length = min(count, buffer.count - initialized)
    guard length > 0, let target = buffer.baseAddress else { return }
    unsafe memset(target + initialized, 0, length)
    initialized += length
  }
}

/// Memory that is filled once and then only read.
///
/// Sendable is right although it can be written: only its maker does that, before handing out `bytes(count:)`.
@safe final class HeapBlock: @unchecked Sendable {
  /// The memory; zeroed at first, unless its maker fills it.
  @unsafe let memory: UnsafeMutableRawBufferPointer

  init(capacity: Int, isZeroed: Bool = true) {
    unsafe memory = .allocate(byteCount: max(capacity, 1), alignment: 16)
    if isZeroed { unsafe memory.initializeMemory(as: UInt8.self, repeating: 0) }
  }

  deinit { unsafe memory.deallocate() }

  /// The first bytes, to be read from now on.
  func bytes(count: Int) -> Bytes {
    guard let start = unsafe memory.baseAddress else { return Bytes.none }
    return unsafe Bytes(owner: self, start: UnsafeRawPointer(start), count: min(count, memory.count))
  }
}

extension Bytes {
  /// No bytes.
  static let none = HeapBlock(capacity: 1).bytes(count: 0)
}

/// An array of what the closure appends, at most so many bytes.
func readBytes(capacity: Int, _ body: (inout OutputRawSpan) -> Void) -> [UInt8] {
  unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
    let memory = UnsafeMutableRawBufferPointer(buffer)
    var output = unsafe OutputRawSpan(buffer: memory, initializedCount: 0)
    body(&output)
    count = unsafe output.finalize(for: memory)
  }
}
