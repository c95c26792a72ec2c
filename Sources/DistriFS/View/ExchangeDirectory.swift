// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A directory of the view that several packages fill: a block of bytes, the same in memory and in the view's file, read in place.
///
/// Entries are sorted by the hash of their names: a position in a listing is a hash, and so survives every change. Of an entry, all packages
/// are known that claim its name, whoever wins: when the winner goes, the next one's link takes its place. Format: `docs/formats.md`.
struct ExchangeDirectory: Sendable {
  static let headerByteCount = 32
  static let entryByteCount = 32
  static let claimByteCount = 16

  let block: IndexBytes
  /// Of entries.
  let count: Int
  private let claimStart: Int
  private let claimCount: Int
  private let textStart: Int

  init(_ block: IndexBytes) {
    self.block = block
    // Never more than there is room for, whatever the block says.
    count = min(Int(block.u32(4)), max(0, block.count - Self.headerByteCount) / Self.entryByteCount)
    claimStart = Self.headerByteCount + count * Self.entryByteCount
    claimCount = min(Int(block.u32(20)), max(0, block.count - claimStart) / Self.claimByteCount)
    textStart = claimStart + claimCount * Self.claimByteCount
  }

  /// What stands behind a name.
  enum Kind: UInt8 {
    /// A link into a package.
    case link = 0
    /// An exchange directory.
    case directory = 1
    /// A package's own directory.
    case package = 2
  }

  /// A name of the directory.
  struct Entry {
    /// From 1 to 2^62 - 1; also the position in listings.
    var hash: UInt64
    var nameOffset: Int
    var nameLength: Int
    var claims: Range<Int>
    var kind: Kind
    /// The directory's number, the package's number, or how long the link's target is.
    var detail: UInt32
  }

  /// What a package says of a name.
  struct Claim: Equatable {
    var package: UInt32
    /// Unique within the package.
    var number: UInt32
    var kind: Kind
    /// Of a link that is shown as it is in the package; a length of 0 means a link into the package.
    var targetOffset: Int
    var targetLength: Int
  }

  /// Its number within the view.
  var number: UInt32 { block.u32(0) }
  /// When the contents changed last, in seconds since 1970.
  var modificationTime: Int64 { Int64(bitPattern: block.u64(8)) }
  /// How many of the entries are directories.
  var directoryCount: UInt32 { block.u32(16) }
  /// How many directories below the root: 0 for the root.
  var depth: Int { Int(block.u16(24)) }
  /// Below the view's root, such as `share/man`.
  var path: [UInt8] { block.array(textStart, Int(block.u16(26))) }
  /// Where it lies in a package, such as `out/share/man`.
  var source: [UInt8] { block.array(textStart + Int(block.u16(26)), Int(block.u16(28))) }

  /// An entry by its position.
  func entry(at index: Int) -> Entry {
    let offset = Self.headerByteCount + index * Self.entryByteCount
    let first = min(Int(block.u32(offset + 12)), claimCount)
    return Entry(
      hash: block.u64(offset), nameOffset: Int(block.u32(offset + 8)), nameLength: Int(block.u16(offset + 24)),
      claims: first..<min(claimCount, first + Int(block.u32(offset + 16))),
      kind: Kind(rawValue: UInt8(truncatingIfNeeded: block.u16(offset + 26))) ?? .link,
      detail: block.u32(offset + 20))
  }

  /// The position of the first entry whose hash is not less.
  func position(from hash: UInt64) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if block.u64(Self.headerByteCount + middle * Self.entryByteCount) < hash { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// The entry of a name.
  func entry(named name: [UInt8]) -> Entry? {
    let hash = nameHash(name)
    let position = position(from: hash)
    guard position < count else { return nil }
    let entry = entry(at: position)
    return entry.hash == hash && block.compare(textStart + entry.nameOffset, entry.nameLength, with: name) == 0 ? entry : nil
  }

  /// The entry that shows or hides a claim.
  ///
  /// - Parameter prefix: the upper half of the hash of its name.
  func entry(of package: UInt32, claim: UInt32, prefix: UInt32) -> (entry: Entry, claim: Claim)? {
    var position = position(from: UInt64(prefix) << 32)
    while position < count {
      let entry = entry(at: position)
      if UInt32(truncatingIfNeeded: entry.hash >> 32) != prefix { return nil }
      for index in entry.claims {
        let found = self.claim(at: index)
        if found.package == package, found.number == claim { return (entry, found) }
      }
      position += 1
    }
    return nil
  }

  /// A claim by its position.
  func claim(at index: Int) -> Claim {
    let offset = claimStart + index * Self.claimByteCount
    return Claim(
      package: block.u32(offset), number: block.u32(offset + 4),
      kind: Kind(rawValue: UInt8(truncatingIfNeeded: block.u16(offset + 14))) ?? .link,
      targetOffset: Int(block.u32(offset + 8)), targetLength: Int(block.u16(offset + 12)))
  }

  /// The bytes of an entry's name.
  func name(of entry: Entry) -> [UInt8] { text(entry.nameOffset, entry.nameLength) }

  /// Names and targets.
  func text(_ offset: Int, _ length: Int) -> [UInt8] { block.array(textStart + offset, length) }

  /// Where a link points that shows a claim of a package.
  func target(of entry: Entry, _ claim: Claim, package: IndexBytes) -> [UInt8] {
    if claim.targetLength > 0 { return text(claim.targetOffset, claim.targetLength) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(entry.detail))
    for _ in 0..<depth { bytes += [UInt8(ascii: "."), UInt8(ascii: "."), UInt8(ascii: "/")] }
    bytes.append(package, 0, package.count)
    bytes.append(UInt8(ascii: "/"))
    bytes.append(block, textStart + Int(block.u16(26)), Int(block.u16(28)))
    bytes.append(UInt8(ascii: "/"))
    bytes.append(block, textStart + entry.nameOffset, entry.nameLength)
    return bytes
  }

  /// How long the target is of a link into a package.
  static func targetLength(depth: Int, package: Int, source: Int, name: Int) -> Int { 3 * depth + package + 1 + source + 1 + name }
}

/// The hash by which entries of exchange directories are sorted; above 0, below 2^62.
func nameHash(_ name: [UInt8]) -> UInt64 { max(1, unsafe name.withUnsafeBytes { unsafe mix($0) } >> 2) }
