// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The section table of an ELF file: what linkers and debuggers read, and loaders do not.
///
/// Reads are bounded. A damaged table is as good as none: nothing that runs depends on it.
struct ELFSections: Sendable, Hashable {
  /// One section.
  struct Section: Sendable, Hashable {
    var name: String
    /// `sh_type`; 8 means that the file has no bytes of it.
    var type: UInt64
    /// `sh_flags`; 0x800 means compressed.
    var flags: UInt64
    /// In bytes from the start of the file.
    var offset: UInt64
    /// In bytes.
    var byteCount: UInt64

    /// Whether the file has the section's bytes as they are.
    var isPlain: Bool { type != 8 && flags & 0x800 == 0 }
  }

  /// In the file's order.
  let sections: [Section]

  private static let maximumCount = 65536
  private static let maximumNamesByteCount = 4 << 20

  /// - Returns: without sections for what has none, or is no little-endian ELF file.
  /// - Throws: what the closure throws.
  init(read: (UInt64, Int) throws(BuildError) -> [UInt8]) throws(BuildError) { sections = try Self.sections(read) }

  private static func sections(_ read: (UInt64, Int) throws(BuildError) -> [UInt8]) throws(BuildError) -> [Section] {
    let start = try read(0, 64)
    guard start.count == 64, start.starts(with: [0x7f, 0x45, 0x4c, 0x46]), start[4] == 1 || start[4] == 2, start[5] == 1 else {
      return []
    }
    let is64Bit = start[4] == 2
    let header = Words(start, is64Bit: is64Bit)
    let table = header.address(is64Bit ? 40 : 32)
    let size = is64Bit ? 64 : 40
    guard table != 0, header.half(is64Bit ? 58 : 46) == UInt64(size) else { return [] }
    let first = Words(try read(table, size), is64Bit: is64Bit)
    guard first.bytes.count == size else { return [] }
    // Where a number does not fit into the header, the first section has it.
    let shortCount = header.half(is64Bit ? 60 : 48), shortNames = header.half(is64Bit ? 62 : 50)
    let count = shortCount == 0 ? first.address(is64Bit ? 32 : 20) : shortCount
    let names = shortNames == 0xffff ? first.word(is64Bit ? 40 : 24) : shortNames
    guard count <= UInt64(maximumCount), names < count else { return [] }
    let words = Words(try read(table, Int(count) * size), is64Bit: is64Bit)
    guard words.bytes.count == Int(count) * size else { return [] }
    func section(_ index: Int) -> (name: UInt64, section: Section) {
      let base = index * size
      let section = Section(
        name: "", type: words.word(base + 4), flags: words.address(base + 8),
        offset: words.address(base + (is64Bit ? 24 : 16)), byteCount: words.address(base + (is64Bit ? 32 : 20)))
      return (words.word(base), section)
    }
    let namesSection = section(Int(names)).section
    let texts = try read(namesSection.offset, Int(min(namesSection.byteCount, UInt64(maximumNamesByteCount))))
    return (0..<Int(count)).map { index in
      var (name, section) = section(index)
      if name < UInt64(texts.count) { section.name = String(decoding: texts[Int(name)...].prefix { $0 != 0 }, as: UTF8.self) }
      return section
    }
  }

  /// Reads the table of a file.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  init(path: FilePath) throws(BuildError) {
    try self.init { offset, count throws(BuildError) in try path.bytes(at: offset, atMost: count) }
  }

  /// The first section of a name.
  subscript(_ name: String) -> Section? { sections.first { $0.name == name } }

  /// Whether there is information for debuggers (DWARF).
  var hasDebugInformation: Bool {
    [".debug_info", ".zdebug_info"].contains { (self[$0].map { $0.type != 8 ? $0.byteCount : 0 } ?? 0) > 0 }
  }
}
