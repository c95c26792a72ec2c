// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The first 96 bytes of an image, and what must hold for everything else to be worth reading.
struct Superblock: Sendable {
  let inodeCount: UInt32
  /// When the image was made, in seconds since 1970.
  let time: UInt32
  let blockSize: UInt32
  let fragmentCount: UInt32
  let compression: UInt16
  let flags: UInt16
  let identifierCount: UInt16
  let rootReference: UInt64
  /// The image without padding; nothing lies behind it.
  let bytesUsed: UInt64
  let identifierTable: UInt64
  let attributeTable: UInt64?
  let inodeTable: Range<UInt64>
  let directoryTable: Range<UInt64>
  let fragmentTable: UInt64?

  static let byteCount: UInt64 = 96
  static let metadataBlockSize = 8192
  /// A flag: files are not compressed.
  static let uncompressedData: UInt16 = 2
  /// «Not there» in the fields of the format.
  static let absent32 = UInt32.max
  static let absent64 = UInt64.max

  /// What is wrong with a superblock.
  struct Defect: Error { let reason: String }

  /// - Parameter byteCount: how many bytes the file really has.
  init(_ bytes: Bytes, byteCount: UInt64) throws(Defect) {
    func u16(_ offset: Int) throws(Defect) -> UInt16 { try Superblock.number(bytes, offset) }
    func u32(_ offset: Int) throws(Defect) -> UInt32 { try Superblock.number(bytes, offset) }
    func u64(_ offset: Int) throws(Defect) -> UInt64 { try Superblock.number(bytes, offset) }
    func require(_ condition: Bool, _ reason: String) throws(Defect) {
      if !condition { throw Defect(reason: reason) }
    }
    try require(try u32(0) == 0x7371_7368, "no SquashFS image")
    let (major, minor) = (try u16(28), try u16(30))
    try require(major == 4 && minor == 0, "SquashFS \(major).\(minor) is not supported, only 4.0")
    inodeCount = try u32(4)
    time = try u32(8)
    blockSize = try u32(12)
    fragmentCount = try u32(16)
    compression = try u16(20)
    flags = try u16(24)
    identifierCount = try u16(26)
    rootReference = try u64(32)
    bytesUsed = try u64(40)
    identifierTable = try u64(48)
    let attributes = try u64(56)
    let inodes = try u64(64)
    let directories = try u64(72)
    let fragments = try u64(80)
    let exports = try u64(88)

    let (size, logarithm) = (blockSize, try u16(22))
    try require(
      (12...20).contains(logarithm) && size == 1 << UInt32(logarithm), "block size \(size), logarithm \(logarithm)")
    try require((1...6).contains(compression), "unknown compression \(compression)")
    let used = bytesUsed
    try require(used >= Superblock.byteCount && used <= byteCount, "says \(used) bytes, the file has \(byteCount)")
    try require(inodeCount > 0, "no inodes")

    // A table that is there ends where the first one after it starts at the latest; the format orders them, we need
    // not.
    let hasFragments = fragmentCount > 0
    let others = [identifierTable, attributes, exports, fragments].filter {
      $0 != Superblock.absent64 && $0 > directories
    }
    let directoryEnd = min(others.min() ?? used, used)
    try require(
      inodes >= Superblock.byteCount && inodes < directories && directories <= directoryEnd, "tables out of order")
    inodeTable = inodes..<directories
    directoryTable = directories..<directoryEnd

    try require(identifierCount > 0, "no owners")
    try Superblock.check(table: identifierTable, entries: UInt64(identifierCount), entrySize: 4, used, "owner table")
    if hasFragments {
      try Superblock.check(table: fragments, entries: UInt64(fragmentCount), entrySize: 16, used, "fragment table")
    }
    fragmentTable = hasFragments ? fragments : nil
    if attributes != Superblock.absent64 {
      try require(attributes <= used && used - attributes >= 16, "attribute table past the end")
    }
    attributeTable = attributes == Superblock.absent64 ? nil : attributes
  }

  private static func number<T: FixedWidthInteger & BitwiseCopyable>(_ bytes: Bytes, _ offset: Int) throws(Defect) -> T {
    guard let value: T = bytes.integer(at: offset) else { throw Defect(reason: "the file ends within it") }
    return value
  }

  /// Whether the block pointers of a two-level table lie within the image.
  private static func check(
    table: UInt64, entries: UInt64, entrySize: UInt64, _ used: UInt64, _ name: String
  ) throws(Defect) {
    let blocks = (entries * entrySize + UInt64(metadataBlockSize) - 1) / UInt64(metadataBlockSize)
    guard table >= byteCount, table <= used, blocks * 8 <= used - table else {
      throw Defect(reason: "\(name) of \(entries) entries past the end")
    }
  }
}
