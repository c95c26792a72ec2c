// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What the headers of an ELF file say: how it is loaded and which shared libraries it needs.
///
/// Reads program headers, dynamic section and notes of 32-bit and 64-bit little-endian files, by bounded reads: no size that
/// the file states is trusted, nothing of the file is executed.
public struct ELFFile: Sendable, Hashable {
  /// What the file is for.
  public enum Kind: Sendable, Hashable {
    /// A `.o` file or a kernel module: input of a linker.
    case relocatable
    /// A program with fixed addresses.
    case executable
    /// A shared library, or a position-independent program.
    case shared
    /// A memory dump.
    case core
    /// Any other number of `e_type`.
    case other(UInt16)
  }

  /// What kind of file it is.
  public let kind: Kind
  /// Whether addresses are 64 bits wide.
  public let is64Bit: Bool
  /// The number of `e_machine`: 62 is x86-64, 3 is x86, 183 is AArch64.
  public let machine: UInt16
  /// The program that loads this one, such as `/lib64/ld-linux-x86-64.so.2`.
  public private(set) var interpreter: String?
  /// Whether there is a dynamic section. Static programs and relocatable files have none.
  public private(set) var isDynamic = false
  /// The libraries needed, in the file's order (`DT_NEEDED`).
  public private(set) var needed: [String] = []
  /// The name under which others need this library (`DT_SONAME`).
  public private(set) var soname: String?
  /// Directories to search before the environment's (`DT_RPATH`), joined by `:`.
  public private(set) var rpath: String?
  /// Directories to search (`DT_RUNPATH`), joined by `:`.
  public private(set) var runpath: String?
  /// The build id, empty where there is none.
  public private(set) var buildID: [UInt8] = []
  /// Whether Go's linker has made it.
  public private(set) var isGo = false

  /// The architecture of our packages that the file is for.
  public var architecture: Architecture? {
    switch (machine, is64Bit) {
    case (62, true): .amd64
    case (3, false): .i686
    case (183, true): .arm64
    default: nil
    }
  }

  /// The directories of `DT_RUNPATH`, or where there is none of `DT_RPATH`, as the loader would read them.
  public var searchPath: [String] {
    (runpath ?? rpath ?? "").split(separator: ":").map(String.init)
  }

  /// Reads the headers of a file.
  ///
  /// - Parameter name: names the file in errors, where its path would say little.
  /// - Returns: nil for anything but little-endian ELF.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)``; ``BuildError/system(operation:path:_:)``.
  public init?(path: FilePath, named name: String? = nil) throws(BuildError) {
    let file: FileDescriptor
    do {
      file = try .open(path, .readOnly, options: [.closeOnExec, .noFollow])
    } catch {
      throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
    }
    defer { try? file.close() }
    try self.init(named: name ?? path.string) { offset, count throws(BuildError) in
      do throws(Errno) {
        return try file.bytes(at: offset, atMost: count)
      } catch {
        throw .system(operation: "read", path: path, error)
      }
    }
  }

  /// Reads the headers of a file that is in memory.
  ///
  /// - Parameter name: names the file in errors.
  /// - Returns: nil for anything but little-endian ELF.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)``.
  public init?(_ bytes: [UInt8], named name: String) throws(BuildError) {
    try self.init(named: name) { offset, count throws(BuildError) in
      guard offset < UInt64(bytes.count) else { return [] }
      let start = Int(offset)
      return Array(bytes[start..<start + min(count, bytes.count - start)])
    }
  }

  /// Reads the headers through a closure that gives up to so many bytes at an offset, fewer at the end of the file only.
  ///
  /// - Returns: nil for anything but little-endian ELF.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)``, and what the closure throws.
  public init?(named name: String, read: @escaping (UInt64, Int) throws(BuildError) -> [UInt8]) throws(BuildError) {
    let start = try read(0, 64)
    guard start.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { return nil }
    guard start.count >= 52, start[4] == 1 || start[4] == 2 else {
      throw .invalidPackage(name, pass: "ELF headers", reason: "the file header is cut off or of unknown class")
    }
    guard start[5] == 1 else { return nil }
    is64Bit = start[4] == 2
    guard !is64Bit || start.count == 64 else {
      throw .invalidPackage(name, pass: "ELF headers", reason: "the file header is cut off")
    }
    let header = Words(start, is64Bit: is64Bit)
    machine = UInt16(truncatingIfNeeded: header.half(18))
    kind =
      switch header.half(16) {
      case 1: .relocatable
      case 2: .executable
      case 3: .shared
      case 4: .core
      case let number: .other(UInt16(truncatingIfNeeded: number))
      }
    var reader = ELFReader(name: name, is64Bit: is64Bit, read: read)
    try reader.readSegments(header: header)
    interpreter = try reader.interpreter()
    buildID = try reader.note(3, of: "GNU\0")
    isGo = try !reader.note(4, of: "Go\0\0").isEmpty
    if let dynamic = try reader.dynamicEntries() {
      isDynamic = true
      needed = try reader.strings(of: 1, in: dynamic)
      soname = try reader.strings(of: 14, in: dynamic).first
      rpath = try reader.strings(of: 15, in: dynamic).first
      runpath = try reader.strings(of: 29, in: dynamic).first
    }
  }
}

/// Little-endian numbers at offsets of a buffer; what lies past its end reads as 0, so that no offset can trap.
struct Words {
  let bytes: [UInt8]
  let is64Bit: Bool

  init(_ bytes: [UInt8], is64Bit: Bool) {
    self.bytes = bytes
    self.is64Bit = is64Bit
  }

  private func number(_ offset: Int, _ count: Int) -> UInt64 {
    guard offset >= 0, offset <= bytes.count - count else { return 0 }
    return bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  func half(_ offset: Int) -> UInt64 { number(offset, 2) }
  func word(_ offset: Int) -> UInt64 { number(offset, 4) }
  /// A number as wide as an address.
  func address(_ offset: Int) -> UInt64 { is64Bit ? number(offset, 8) : number(offset, 4) }
}

/// Walks from the file header to what ``ELFFile`` wants to know.
private struct ELFReader {
  let name: String
  let is64Bit: Bool
  let read: (UInt64, Int) throws(BuildError) -> [UInt8]
  private var segments: [Segment] = []

  struct Segment {
    var type: UInt64
    var offset: UInt64
    var address: UInt64
    var byteCount: UInt64
  }

  /// More segments, dynamic entries or bytes of a string than any real file has.
  private static let maximumSegments = 1024
  private static let maximumDynamicEntries = 65536
  private static let maximumStringByteCount = 4096
  private static let maximumNotesByteCount = 65536

  init(name: String, is64Bit: Bool, read: @escaping (UInt64, Int) throws(BuildError) -> [UInt8]) {
    self.name = name
    self.is64Bit = is64Bit
    self.read = read
  }

  private func exactly(_ count: Int, at offset: UInt64, _ what: String) throws(BuildError) -> [UInt8] {
    let bytes = try read(offset, count)
    guard bytes.count == count else {
      throw .invalidPackage(name, pass: "ELF headers", reason: "\(what) lies past the end of the file")
    }
    return bytes
  }

  mutating func readSegments(header: Words) throws(BuildError) {
    let table = header.address(is64Bit ? 32 : 28)
    let entrySize = Int(header.half(is64Bit ? 54 : 42))
    let count = Int(header.half(is64Bit ? 56 : 44))
    guard count > 0 else { return }
    guard count <= Self.maximumSegments, entrySize == (is64Bit ? 56 : 32) else {
      throw .invalidPackage(name, pass: "ELF headers", reason: "\(count) program headers of \(entrySize) bytes")
    }
    let words = Words(try exactly(count * entrySize, at: table, "the program header table"), is64Bit: is64Bit)
    segments = (0..<count).map { index in
      let base = index * entrySize
      return Segment(
        type: words.word(base), offset: words.address(base + (is64Bit ? 8 : 4)),
        address: words.address(base + (is64Bit ? 16 : 8)), byteCount: words.address(base + (is64Bit ? 32 : 16)))
    }
  }

  func interpreter() throws(BuildError) -> String? {
    guard let segment = segments.first(where: { $0.type == 3 }) else { return nil }
    guard segment.byteCount > 1, segment.byteCount <= UInt64(Self.maximumStringByteCount) else {
      throw .invalidPackage(name, pass: "ELF headers", reason: "an interpreter's path of \(segment.byteCount) bytes")
    }
    let bytes = try exactly(Int(segment.byteCount), at: segment.offset, "the interpreter's path")
    return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// Tags and values of the dynamic section up to `DT_NULL`; nil where there is no section.
  func dynamicEntries() throws(BuildError) -> [(tag: UInt64, value: UInt64)]? {
    guard let segment = segments.first(where: { $0.type == 2 }) else { return nil }
    let size = is64Bit ? 16 : 8
    guard segment.byteCount / UInt64(size) <= UInt64(Self.maximumDynamicEntries) else {
      throw .invalidPackage(name, pass: "ELF headers", reason: "a dynamic section of \(segment.byteCount) bytes")
    }
    // The section of a file that only carries debug symbols has no bytes in the file.
    let words = Words(try read(segment.offset, Int(segment.byteCount)), is64Bit: is64Bit)
    var entries: [(UInt64, UInt64)] = []
    for offset in stride(from: 0, to: words.bytes.count - size + 1, by: size) {
      let tag = words.address(offset)
      if tag == 0 { break }
      entries.append((tag, words.address(offset + size / 2)))
    }
    return entries
  }

  func strings(of tag: UInt64, in entries: [(tag: UInt64, value: UInt64)]) throws(BuildError) -> [String] {
    let wanted = entries.filter { $0.tag == tag }
    guard !wanted.isEmpty else { return [] }
    guard let address = entries.first(where: { $0.tag == 5 })?.value, let table = fileOffset(of: address) else {
      throw .invalidPackage(name, pass: "ELF headers", reason: "the dynamic string table is not in any segment")
    }
    guard wanted.count <= 4096 else { throw .invalidPackage(name, pass: "ELF headers", reason: "\(wanted.count) needed libraries") }
    let tableByteCount = entries.first { $0.tag == 10 }?.value ?? .max
    var result: [String] = []
    for entry in wanted {
      let (offset, overflow) = table.addingReportingOverflow(entry.value)
      guard !overflow, entry.value < tableByteCount else {
        throw .invalidPackage(name, pass: "ELF headers", reason: "a string lies past the end of its table")
      }
      let bytes = try read(offset, Self.maximumStringByteCount)
      guard let end = bytes.firstIndex(of: 0) else {
        throw .invalidPackage(name, pass: "ELF headers", reason: "a string without an end")
      }
      result.append(String(decoding: bytes[..<end], as: UTF8.self))
    }
    return result
  }

  private func fileOffset(of address: UInt64) -> UInt64? {
    for segment in segments where segment.type == 1 && address >= segment.address {
      let distance = address - segment.address
      guard distance < segment.byteCount else { continue }
      let (offset, overflow) = segment.offset.addingReportingOverflow(distance)
      return overflow ? nil : offset
    }
    return nil
  }

  /// The value of the first note of a kind; empty without one. Damaged notes are no reason to refuse a file: nothing depends on them.
  func note(_ type: UInt32, of owner: StaticString) throws(BuildError) -> [UInt8] {
    for segment in segments where segment.type == 4 && segment.byteCount <= UInt64(Self.maximumNotesByteCount) {
      let words = Words(try read(segment.offset, Int(segment.byteCount)), is64Bit: is64Bit)
      var offset = 0
      while offset + 12 <= words.bytes.count {
        let nameCount = Int(words.word(offset)), valueCount = Int(words.word(offset + 4))
        let name = offset + 12
        let value = name + (nameCount + 3) & ~3
        let end = value + valueCount
        guard end <= words.bytes.count else { break }
        if words.word(offset + 8) == type, words.bytes[name..<name + nameCount].elementsEqual(owner.description.utf8) {
          return Array(words.bytes[value..<end])
        }
        offset = value + (valueCount + 3) & ~3
      }
    }
    return []
  }
}
