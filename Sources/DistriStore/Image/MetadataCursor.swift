// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A position in a stream of metadata blocks: inodes, listings, tables. Reads in order, over the borders of blocks,
/// never outside its region.
struct MetadataCursor {
  private let image: PackageImage
  private let place: Place
  private let region: Range<UInt64>
  private var bytes: Bytes
  private var offset: Int
  private var next: UInt64

  /// Which table, for errors.
  enum Place: String {
    case inodes = "inode table"
    case directories = "directory table"
    case owners = "owner table"
    case fragments = "fragment table"
    case attributes = "attribute table"
  }

  /// - Parameters:
  ///   - address: of the first block, in bytes from the start of the image.
  ///   - offset: into the uncompressed block.
  init(
    _ image: PackageImage, _ place: Place, region: Range<UInt64>, address: UInt64, offset: Int
  ) throws(StoreError) {
    self.image = image
    self.place = place
    self.region = region
    self.offset = offset
    (bytes, next) = try image.metadataBlock(at: address, within: region, of: place)
    guard offset < bytes.count else {
      throw image.damaged(place.rawValue, "offset \(offset) past the block at \(address)")
    }
  }

  /// Where the next block starts and how much of this one is left: enough to come back by `seek`.
  var position: (next: UInt64, left: Int) { (next, bytes.count - offset) }

  /// Goes on to the next block when this one is used up. Only the last block of a stream may be short.
  private mutating func advance() throws(StoreError) {
    guard bytes.count == Superblock.metadataBlockSize else {
      throw image.damaged(place.rawValue, "a record goes on after the last block")
    }
    (bytes, next) = try image.metadataBlock(at: next, within: region, of: place)
    offset = 0
  }

  private mutating func number<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(StoreError) -> T {
    if let value = bytes.integer(at: offset, as: T.self) {
      offset += MemoryLayout<T>.size
      return value
    }
    var value: T = 0
    for index in 0..<MemoryLayout<T>.size {
      if offset >= bytes.count { try advance() }
      value |= T(truncatingIfNeeded: bytes.integer(at: offset, as: UInt8.self) ?? 0) << T(index * 8)
      offset += 1
    }
    return value
  }

  mutating func u16() throws(StoreError) -> UInt16 { try number(UInt16.self) }
  mutating func u32() throws(StoreError) -> UInt32 { try number(UInt32.self) }
  mutating func u64() throws(StoreError) -> UInt64 { try number(UInt64.self) }

  /// The next bytes, copied only where they cross into another block. The caller bounds the count.
  mutating func take(_ count: Int) throws(StoreError) -> Bytes {
    if let slice = bytes.slice(at: offset, count: count) {
      offset += count
      return slice
    }
    var collected: [UInt8] = []
    while collected.count < count {
      if offset >= bytes.count { try advance() }
      let length = min(count - collected.count, bytes.count - offset)
      collected += bytes.slice(at: offset, count: length)?.array ?? []
      offset += length
    }
    return Bytes(collected)
  }

  /// Skips bytes. Whole blocks on the way are stepped over by their headers, not decompressed.
  mutating func skip(_ count: UInt64) throws(StoreError) {
    var rest = count
    let left = UInt64(bytes.count - offset)
    if rest <= left {
      offset += Int(rest)
      return
    }
    rest -= left
    guard bytes.count == Superblock.metadataBlockSize else {
      throw image.damaged(place.rawValue, "a record goes on after the last block")
    }
    while rest > UInt64(Superblock.metadataBlockSize) {
      next = try image.metadataBlockEnd(at: next, within: region, of: place)
      rest -= UInt64(Superblock.metadataBlockSize)
    }
    (bytes, next) = try image.metadataBlock(at: next, within: region, of: place)
    guard rest <= UInt64(bytes.count) else {
      throw image.damaged(place.rawValue, "a record goes on after the last block")
    }
    offset = Int(rest)
  }
}
