// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// How an image is put together of blocks of another one, and of ranges that have to be fetched.
struct BlockPlan: Sendable, Hashable {
  /// Bytes that the other image has.
  struct Copy: Sendable, Hashable {
    var source: UInt64
    var target: Range<UInt64>
  }

  /// Ascending by target.
  private(set) var copies: [Copy] = []
  /// What the other image has not; ascending, apart from one another.
  private(set) var missing: [Range<UInt64>] = []

  /// What has to be fetched, in bytes.
  var missingByteCount: UInt64 { missing.reduce(0) { $0 + $1.byteCount } }

  /// More requests than this are not made: ranges are joined, with what lies between them, until they are so few.
  static let maximumRangeCount = 256
  /// Ranges that are as close are one: a request costs as much.
  private static let smallestGap: UInt64 = 4096

  /// - Parameters:
  ///   - target: of the image that is wanted.
  ///   - base: of the image that is there. Read once, block by block.
  init(for target: BlockHashes, from base: FileDescriptor) throws(Errno) {
    let sources = try Self.sources(of: target.hashes, in: base)
    let size = UInt64(BlockHashes.blockByteCount)
    var fetched: [Range<UInt64>] = []
    for (block, source) in sources.enumerated() {
      let place = UInt64(block) * size..<UInt64(block + 1) * size
      guard source != Self.none else {
        Self.append(place, to: &fetched, gap: 0)
        continue
      }
      let offset = UInt64(source) * size
      if let last = copies.last, last.target.upperBound == place.lowerBound, last.source + last.target.byteCount == offset {
        copies[copies.count - 1].target = last.target.lowerBound..<place.upperBound
      } else {
        copies.append(Copy(source: offset, target: place))
      }
    }
    let end = UInt64(target.hashes.count) * size
    if end < target.fileByteCount { Self.append(end..<target.fileByteCount, to: &fetched, gap: 0) }
    missing = Self.joined(fetched)
  }

  private static let none = UInt32.max

  /// For each block that is wanted, a block of the base with the same hash, or ``none``. As many steps as there are blocks, whatever the hashes.
  private static func sources(of hashes: [UInt64], in base: FileDescriptor) throws(Errno) -> [UInt32] {
    var sources = [UInt32](repeating: none, count: hashes.count)
    // Blocks by their hashes; those of one side by side.
    let sorted = (0..<UInt32(hashes.count)).sorted { hashes[Int($0)] < hashes[Int($1)] }
    let chunk = 256 * BlockHashes.blockByteCount
    var buffer: [UInt8] = []
    var block: UInt32 = 0
    while block < none - UInt32(256) {
      try buffer.refill(from: base, at: UInt64(block) * UInt64(BlockHashes.blockByteCount), upTo: chunk)
      let found = Digester.shortHashes(ofBlocks: buffer, byteCount: BlockHashes.blockByteCount)
      for hash in found {
        var position = sorted.partitionPoint { hashes[Int($0)] >= hash }
        // What has a source has one for all of its kind.
        while position < sorted.count, hashes[Int(sorted[position])] == hash, sources[Int(sorted[position])] == none {
          sources[Int(sorted[position])] = block
          position += 1
        }
        block += 1
      }
      if buffer.count < chunk { break }
    }
    return sources
  }

  /// Few enough.
  private static func joined(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
    var gap = smallestGap
    var result = ranges
    repeat {
      var joined: [Range<UInt64>] = []
      for range in result { append(range, to: &joined, gap: gap) }
      result = joined
      gap *= 2
    } while result.count > maximumRangeCount
    return result
  }

  private static func append(_ range: Range<UInt64>, to ranges: inout [Range<UInt64>], gap: UInt64) {
    if let last = ranges.last, range.lowerBound - last.upperBound <= gap {
      ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
    } else {
      ranges.append(range)
    }
  }
}

extension Array {
  /// The first index whose element is in the second part of an array that has all others before it.
  fileprivate func partitionPoint(_ isInSecondPart: (Element) -> Bool) -> Int {
    var range = startIndex..<endIndex
    while !range.isEmpty {
      let middle = range.lowerBound + range.count / 2
      range = isInSecondPart(self[middle]) ? range.lowerBound..<middle : middle + 1..<range.upperBound
    }
    return range.lowerBound
  }
}
