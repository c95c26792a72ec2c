// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Reads from debug symbols which source files they name: the file tables of the line programs (DWARF 2 to 5).
///
/// Reads are bounded, and what is damaged or unknown ends the reading of its unit: debuggers fare no better.
public struct DebugLineReader: Sendable {
  /// Larger sections are not read, in bytes.
  private static let maximumByteCount: UInt64 = 512 << 20
  /// More directories or files than a unit of any real program has.
  private static let maximumCount: UInt64 = 1 << 20

  private let lines: [UInt8]
  private let lineTexts: [UInt8]
  private let texts: [UInt8]

  /// Reads the sections of a file that are there as they are, not compressed.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public init(path: FilePath) throws(BuildError) {
    try self.init { offset, count throws(BuildError) in try path.bytes(at: offset, atMost: count) }
  }

  /// Reads the sections of a file that is in memory.
  public init(_ bytes: [UInt8]) throws(BuildError) {
    try self.init { offset, count throws(BuildError) in
      guard offset < UInt64(bytes.count) else { return [] }
      let start = Int(offset)
      return Array(bytes[start..<start + min(count, bytes.count - start)])
    }
  }

  private init(read: (UInt64, Int) throws(BuildError) -> [UInt8]) throws(BuildError) {
    let sections = try ELFSections(read: read)
    func bytes(_ name: String) throws(BuildError) -> [UInt8] {
      guard let section = sections[name], section.isPlain, section.byteCount <= Self.maximumByteCount else { return [] }
      return try read(section.offset, Int(section.byteCount))
    }
    self.init(lines: try bytes(".debug_line"), lineTexts: try bytes(".debug_line_str"), texts: try bytes(".debug_str"))
  }

  /// Takes the contents of `.debug_line`, `.debug_line_str` and `.debug_str`.
  public init(lines: [UInt8], lineTexts: [UInt8], texts: [UInt8]) {
    self.lines = lines
    self.lineTexts = lineTexts
    self.texts = texts
  }

  /// The paths of source files as the symbols have them: absolute, or relative to a directory that is not told.
  public func fileNames() -> Set<String> {
    var result: Set<String> = []
    var position = 0
    while position < lines.count {
      var unit = Cursor(bytes: lines, position: position)
      guard let (byteCount, isWide) = unit.length(), byteCount <= UInt64(lines.count - unit.position) else { break }
      let end = unit.position + Int(byteCount)
      unit.end = end
      readUnit(&unit, isWide: isWide, into: &result)
      position = end
    }
    return result
  }

  private func readUnit(_ unit: inout Cursor, isWide: Bool, into result: inout Set<String>) {
    guard let version = unit.number(2), (2...5).contains(version) else { return }
    // Sizes of addresses and segment selectors.
    if version == 5 { unit.skip(2) }
    // The header's length, minimum instruction length, (maximum operations,) default_is_stmt, line base and range.
    unit.skip((isWide ? 8 : 4) + (version >= 4 ? 5 : 4))
    guard let firstSpecial = unit.number(1) else { return }
    unit.skip(max(0, Int(firstSpecial) - 1))
    if version == 5 {
      let directories = table(&unit, isWide: isWide).map(\.path)
      for file in table(&unit, isWide: isWide) {
        let directory = file.directory < UInt64(directories.count) ? directories[Int(file.directory)] : ""
        result.insert(Self.join([directories.first ?? "", directory, file.path]))
      }
    } else {
      var directories = [""]
      while let directory = unit.text(), !directory.isEmpty, directories.count < Self.maximumCount { directories.append(directory) }
      while let name = unit.text(), !name.isEmpty {
        guard let index = unit.leb128(), unit.leb128() != nil, unit.leb128() != nil else { return }
        result.insert(Self.join([index < UInt64(directories.count) ? directories[Int(index)] : "", name]))
      }
    }
  }

  /// A table of DWARF 5: descriptions of its columns, then its rows.
  private func table(_ unit: inout Cursor, isWide: Bool) -> [(path: String, directory: UInt64)] {
    guard let columnCount = unit.number(1) else { return [] }
    var columns: [(content: UInt64, form: UInt64)] = []
    for _ in 0..<columnCount {
      guard let content = unit.leb128(), let form = unit.leb128() else { return [] }
      columns.append((content, form))
    }
    guard let count = unit.leb128(), count <= Self.maximumCount, !columns.isEmpty else { return [] }
    var result: [(path: String, directory: UInt64)] = []
    for _ in 0..<count {
      var row = (path: "", directory: UInt64(0))
      for column in columns {
        guard let value = value(&unit, form: column.form, isWide: isWide) else {
          // Where the rest of the table lies can no longer be told.
          unit.position = unit.end
          return result
        }
        switch (column.content, value) {
        case (1, .text(let text)): row.path = text
        case (2, .number(let number)): row.directory = number
        default: break
        }
      }
      result.append(row)
    }
    return result
  }

  private enum Value {
    case number(UInt64)
    case text(String)
    case other
  }

  /// A value in one of the forms that tables of files use.
  private func value(_ unit: inout Cursor, form: UInt64, isWide: Bool) -> Value? {
    switch form {
    case 0x08: return unit.text().map(Value.text)
    case 0x1f: return unit.number(isWide ? 8 : 4).flatMap { Self.text(at: $0, in: lineTexts) }.map(Value.text)
    case 0x0e: return unit.number(isWide ? 8 : 4).flatMap { Self.text(at: $0, in: texts) }.map(Value.text)
    case 0x0b: return unit.number(1).map(Value.number)
    case 0x05: return unit.number(2).map(Value.number)
    case 0x06: return unit.number(4).map(Value.number)
    case 0x07: return unit.number(8).map(Value.number)
    case 0x0f: return unit.leb128().map(Value.number)
    case 0x1e: return unit.skip(16) ? .other : nil
    case 0x09: return unit.leb128().flatMap { Int(exactly: $0) }.flatMap { unit.skip($0) ? .other : nil }
    default: return nil
    }
  }

  private static func text(at offset: UInt64, in bytes: [UInt8]) -> String? {
    guard offset < UInt64(bytes.count) else { return nil }
    return String(decoding: bytes[Int(offset)...].prefix { $0 != 0 }, as: UTF8.self)
  }

  /// The last absolute part and what follows it.
  private static func join(_ parts: [String]) -> String {
    parts.reduce("") { path, part in part.hasPrefix("/") || path.isEmpty ? part : part.isEmpty ? path : "\(path)/\(part)" }
  }
}

/// Reads numbers and texts one after the other; at the end of the bytes there are none.
private struct Cursor {
  let bytes: [UInt8]
  var position: Int
  var end: Int

  init(bytes: [UInt8], position: Int) {
    self.bytes = bytes
    self.position = position
    end = bytes.count
  }

  mutating func number(_ count: Int) -> UInt64? {
    guard position <= end - count else { return nil }
    defer { position += count }
    return bytes[position..<position + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// The length of a unit, and whether its offsets are 64 bits wide.
  mutating func length() -> (UInt64, Bool)? {
    guard let short = number(4) else { return nil }
    if short == 0xffff_ffff { return number(8).map { ($0, true) } }
    return short < 0xffff_fff0 ? (short, false) : nil
  }

  /// A number of seven bits a byte.
  mutating func leb128() -> UInt64? {
    var result: UInt64 = 0, shift: UInt64 = 0
    while let byte = number(1) {
      if shift < 64 { result |= (byte & 0x7f) << shift }
      if byte & 0x80 == 0 { return result }
      shift += 7
    }
    return nil
  }

  mutating func text() -> String? {
    guard position < end, let stop = bytes[position..<end].firstIndex(of: 0) else { return nil }
    defer { position = stop + 1 }
    return String(decoding: bytes[position..<stop], as: UTF8.self)
  }

  @discardableResult mutating func skip(_ count: Int) -> Bool {
    guard count >= 0, count <= end - position else {
      position = end
      return false
    }
    position += count
    return true
  }
}
