// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// The frame of every index file: a header, then sections, each with a checksum. `docs/formats.md` has the layout.
///
/// An index is derived and may be deleted at any time; one that does not check is as good as none.
package final class IndexFile: Sendable {
  /// What kind of index, and its version.
  package struct Format: Sendable {
    /// Eight characters.
    package let magic: UInt64
    /// Raised with every change: an index of another version is made anew.
    package let version: UInt32
    package let sectionCount: Int

    package init(magic: StaticString, version: UInt32, sectionCount: Int) {
      self.magic = magic.withUTF8Buffer { unsafe $0.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) } }
      self.version = version
      self.sectionCount = sectionCount
    }
  }

  /// How many numbers say what the index belongs to.
  package static let bindingCount = 6
  private static let headerByteCount = 16 + 8 * bindingCount + 8

  package let mapping: MappedFile
  /// What the index belongs to; the formats say in which words.
  package let binding: [UInt64]
  private let sections: [(bytes: IndexBytes, checksum: UInt64)]

  /// Checks the header and the bounds of the sections; nil when they do not check, or for another format.
  package init?(_ mapping: MappedFile, _ format: Format) {
    let bytes = mapping.indexBytes
    let tableEnd = Self.headerByteCount + 24 * format.sectionCount
    guard bytes.count >= tableEnd, bytes.u64(0) == format.magic, bytes.u32(8) == format.version,
      bytes.u32(12) == UInt32(format.sectionCount)
    else { return nil }
    var header = bytes.array(0, tableEnd)
    Self.seal(&header, headerByteCount: tableEnd)
    guard IndexBytes(header).u64(Self.headerByteCount - 8) == bytes.u64(Self.headerByteCount - 8) else { return nil }
    var sections: [(bytes: IndexBytes, checksum: UInt64)] = []
    for index in 0..<format.sectionCount {
      let record = Self.headerByteCount + 24 * index
      let (offset, length) = (bytes.u64(record), bytes.u64(record + 8))
      guard offset <= UInt64(bytes.count), length <= UInt64(bytes.count) - offset else { return nil }
      sections.append((bytes.slice(Int(offset), Int(length)), bytes.u64(record + 16)))
    }
    self.mapping = mapping
    self.sections = sections
    binding = (0..<Self.bindingCount).map { bytes.u64(16 + 8 * $0) }
  }

  /// A section, unchecked.
  package func section(_ index: Int) -> IndexBytes { index < sections.count ? sections[index].bytes : .none }

  /// Whether a section is what was written.
  package func isIntact(_ index: Int) -> Bool {
    index < sections.count && sections[index].bytes.checksum == sections[index].checksum
  }

  /// The bytes of the same index, bound to something else.
  package func bytes(boundTo binding: [UInt64]) -> [UInt8] {
    var result = mapping.indexBytes.array
    for index in 0..<Self.bindingCount { Self.set(index < binding.count ? binding[index] : 0, at: 16 + 8 * index, in: &result) }
    Self.seal(&result, headerByteCount: Self.headerByteCount + 24 * sections.count)
    return result
  }

  private static func set(_ number: UInt64, at offset: Int, in bytes: inout [UInt8]) {
    unsafe withUnsafeBytes(of: number.littleEndian) { unsafe bytes.replaceSubrange(offset..<(offset + 8), with: $0) }
  }

  /// Puts the checksum of the header, and of the table that follows it, into its place.
  private static func seal(_ bytes: inout [UInt8], headerByteCount count: Int) {
    set(0, at: Self.headerByteCount - 8, in: &bytes)
    let checksum = unsafe bytes.withUnsafeBytes { unsafe mix(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    set(checksum, at: Self.headerByteCount - 8, in: &bytes)
  }

  /// The bytes of a file. Sections start at multiples of eight.
  package static func bytes(_ format: Format, binding: [UInt64], sections: [[UInt8]]) -> [UInt8] {
    var result: [UInt8] = []
    let start = headerByteCount + 24 * sections.count
    result.reserveCapacity(sections.reduce(start + 64) { $0 + $1.count })
    result.append(number: format.magic)
    result.append(number: format.version)
    result.append(number: UInt32(sections.count))
    for index in 0..<bindingCount { result.append(number: index < binding.count ? binding[index] : 0) }
    result.append(number: UInt64(0))
    var offset = start
    for section in sections {
      result.append(number: UInt64(offset))
      result.append(number: UInt64(section.count))
      result.append(number: unsafe section.withUnsafeBytes { unsafe mix($0) })
      offset += (section.count + 7) & ~7
    }
    seal(&result, headerByteCount: result.count)
    for section in sections {
      result += section
      result += repeatElement(0, count: (8 - section.count & 7) & 7)
    }
    return result
  }
}
