// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage

/// The bytes of a reply, collected without copying where they lie in memory already.
public struct ReplyBuffer: ~Copyable {
  private enum Segment {
    /// A range of a mapped file, which the segment keeps mapped.
    case mapped(MappedFile, Range<UInt64>)
    case bytes([UInt8])
    case zeros(Int)
  }

  private var segments: [Segment] = []
  /// How many bytes there are so far.
  public private(set) var byteCount = 0

  /// Makes an empty buffer.
  public init() {}

  /// Appends a copy.
  public mutating func append(_ bytes: [UInt8]) {
    segments.append(.bytes(bytes))
    byteCount += bytes.count
  }

  /// Appends so many zeros, without storing them.
  public mutating func append(zeros count: Int) {
    segments.append(.zeros(count))
    byteCount += count
  }

  /// Appends what the body writes, at most `count` bytes.
  public mutating func append<Failure: Error>(
    upTo count: Int, _ body: (inout OutputRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    var failure: Failure?
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: max(count, 0)) { buffer, initializedCount in
      var output = unsafe OutputRawSpan(buffer: UnsafeMutableRawBufferPointer(buffer), initializedCount: 0)
      do throws(Failure) {
        try body(&output)
      } catch {
        failure = error
      }
      initializedCount = unsafe output.finalize(for: UnsafeMutableRawBufferPointer(buffer))
    }
    if let failure { throw failure }
    append(bytes)
  }

  /// Appends a range of a mapped file. It is made resident first: the kernel copies it without waiting for the disk, and a disk that
  /// fails is this error.
  ///
  /// - Parameter ahead: so many bytes behind the range are about to be wanted, too.
  package mutating func append(_ file: MappedFile, _ range: Range<UInt64>, ahead: UInt64 = 0) throws(Errno) {
    if range.isEmpty { return }
    try file.populate(range, ahead: ahead)
    segments.append(.mapped(file, range))
    byteCount += Int(range.upperBound - range.lowerBound)
  }

  /// Whether all bytes lie in mapped files.
  var isMapped: Bool {
    segments.allSatisfy { segment in
      if case .mapped = segment { return true }
      return false
    }
  }

  /// All bytes, copied.
  public var bytes: [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(byteCount)
    for segment in segments {
      switch segment {
      case .bytes(let bytes): result += bytes
      case .zeros(let count): result += repeatElement(0, count: count)
      case .mapped(let file, let range): unsafe result += file.unsafeBytes[Int(range.lowerBound)..<Int(range.upperBound)]
      }
    }
    return result
  }

  /// Gives the segments to the body as a gathered write wants them; valid during the call.
  func withVectors<R>(_ body: (UnsafeBufferPointer<iovec>) -> R) -> R {
    var vectors = unsafe [iovec]()
    return unsafe collect(from: 0, into: &vectors, body)
  }

  private func collect<R>(from index: Int, into vectors: inout [iovec], _ body: (UnsafeBufferPointer<iovec>) -> R) -> R {
    guard index < segments.count else { return unsafe vectors.withUnsafeBufferPointer(body) }
    switch segments[index] {
    case .bytes(let bytes):
      return unsafe bytes.withUnsafeBytes { buffer in
        unsafe vectors.append(iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count))
        return unsafe collect(from: index + 1, into: &vectors, body)
      }
    case .mapped(let file, let range):
      unsafe vectors.append(
        iovec(
          iov_base: UnsafeMutableRawPointer(mutating: file.unsafeBytes.baseAddress.map { unsafe $0 + Int(range.lowerBound) }),
          iov_len: Int(range.upperBound - range.lowerBound)))
      return withExtendedLifetime(file) { unsafe collect(from: index + 1, into: &vectors, body) }
    case .zeros(let count):
      return unsafe [UInt8](repeating: 0, count: count).withUnsafeBytes { buffer in
        unsafe vectors.append(iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count))
        return unsafe collect(from: index + 1, into: &vectors, body)
      }
    }
  }
}
