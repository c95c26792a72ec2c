// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Bytes of an index, and what keeps them alive. All numbers are little-endian. Reading past the end gives zeros: what is read has been
/// checked by checksum, and nothing may trap.
///
/// `@unchecked Sendable`: the memory is never written once a value of this type exists.
@safe package struct IndexBytes: @unchecked Sendable {
  /// How many there are.
  package let count: Int
  private let owner: AnyObject
  private let start: UnsafeRawPointer

  /// `start` must stay valid and unchanged while `owner` lives.
  @unsafe package init(owner: AnyObject, start: UnsafeRawPointer, count: Int) {
    self.owner = owner
    unsafe self.start = unsafe start
    self.count = count
  }

  /// A copy of an array.
  package init(_ array: [UInt8]) {
    let block = HeapBlock(capacity: array.count)
    unsafe array.withUnsafeBytes { unsafe block.memory.copyMemory(from: $0) }
    owner = block
    // A block has at least one byte.
    unsafe start = UnsafeRawPointer(block.memory.baseAddress.unsafelyUnwrapped)
    count = array.count
  }

  /// No bytes.
  package static let none = IndexBytes([])

  private func integer<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _ type: T.Type) -> T {
    guard offset >= 0, offset <= count &- MemoryLayout<T>.size else { return 0 }
    return T(littleEndian: unsafe start.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// The number at an offset.
  package func u16(_ offset: Int) -> UInt16 { integer(offset, UInt16.self) }
  /// The number at an offset.
  package func u32(_ offset: Int) -> UInt32 { integer(offset, UInt32.self) }
  /// The number at an offset.
  package func u64(_ offset: Int) -> UInt64 { integer(offset, UInt64.self) }

  /// A part, not copied, cut to what is there.
  package func slice(_ offset: Int, _ length: Int) -> IndexBytes {
    let offset = min(max(offset, 0), count)
    return unsafe IndexBytes(owner: owner, start: start + offset, count: min(max(length, 0), count - offset))
  }

  /// A copy.
  package var array: [UInt8] { unsafe Array(UnsafeRawBufferPointer(start: start, count: count)) }

  /// A copy of a part, cut to what is there.
  package func array(_ offset: Int, _ length: Int) -> [UInt8] {
    unsafe withUnsafeBytes(offset, length) { unsafe Array($0) }
  }

  /// Calls the closure with a part of the memory, cut to what is there.
  @unsafe package func withUnsafeBytes<R, E: Error>(
    _ offset: Int, _ length: Int, _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    let offset = min(max(offset, 0), count)
    defer { withExtendedLifetime(owner) {} }
    return try unsafe body(UnsafeRawBufferPointer(start: start + offset, count: min(max(length, 0), count - offset)))
  }

  /// Less than, equal to or greater than zero as a part sorts, bytewise, before, with or after the other bytes.
  package func compare(_ offset: Int, _ length: Int, with other: [UInt8]) -> Int {
    unsafe withUnsafeBytes(offset, length) { part in
      let order = unsafe other.withUnsafeBytes { other -> Int32 in
        guard let a = part.baseAddress, let b = other.baseAddress else { return 0 }
        return unsafe memcmp(a, b, min(part.count, other.count))
      }
      return order == 0 ? part.count - other.count : Int(order)
    }
  }

  /// Whether it is the same memory, so that a look at the bytes is not needed.
  package func isSameMemory(as other: IndexBytes) -> Bool { unsafe start == other.start && count == other.count }

  /// A checksum of all bytes: finds what storage loses, not what an attacker forges.
  package var checksum: UInt64 { unsafe withUnsafeBytes(0, count) { unsafe mix($0) } }
}

/// 64 bits that depend on all bytes and on their number: words of eight bytes, each folded in by a multiplication of full width.
package func mix(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
  let multiplier: UInt64 = 0x9e37_79b9_7f4a_7c15
  var state: UInt64 = 0x2545_f491_4f6c_dd1d ^ UInt64(truncatingIfNeeded: bytes.count)
  func fold(_ word: UInt64) {
    let product = (state ^ word).multipliedFullWidth(by: multiplier)
    state = product.high ^ product.low ^ (word >> 32 | word << 32)
  }
  var offset = 0
  while bytes.count - offset >= 8 {
    fold(UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
    offset += 8
  }
  var last: UInt64 = 0
  while offset < bytes.count {
    last = last << 8 | UInt64(unsafe bytes[offset])
    offset += 1
  }
  fold(last)
  fold(multiplier)
  return state
}

extension [UInt8] {
  /// Appends a number, little-endian.
  package mutating func append<T: FixedWidthInteger>(number: T) {
    unsafe Swift.withUnsafeBytes(of: number.littleEndian) { unsafe append(contentsOf: $0) }
  }

  /// Appends a part of an index.
  package mutating func append(_ bytes: IndexBytes, _ offset: Int, _ length: Int) {
    unsafe bytes.withUnsafeBytes(offset, length) { unsafe append(contentsOf: $0) }
  }
}
