// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What a kernel module says of itself: the section `.modinfo` of its ELF file, which holds `key=value` texts.
///
/// Read from the module itself rather than from `modules.dep`: Debian's kernel packages do not carry that file, depmod writes it
/// on the machine.
struct ModuleInfo: Equatable {
  /// The modules that must be loaded before; names with `_` for `-`.
  let dependencies: [String]
  /// Modules that should be loaded before where they exist (`softdep: pre`).
  let wishes: [String]
  /// What the hardware that it is for says it is, as fnmatch(3) has patterns.
  let aliases: [String]
  /// Files below `lib/firmware` that it may ask for.
  let firmware: [String]

  /// - Throws: ``MkimageError/unusableModule(_:reason:)`` when the bytes are no 64-bit little-endian module.
  init(_ bytes: [UInt8], name: String) throws(MkimageError) {
    let section = try Self.section(".modinfo", of: bytes, name: name)
    var dependencies: [String] = []
    var wishes: [String] = []
    var aliases: [String] = []
    var firmware: [String] = []
    for text in section.split(separator: 0) {
      guard let equals = text.firstIndex(of: UInt8(ascii: "=")) else { continue }
      let key = String(decoding: text[..<equals], as: UTF8.self)
      let value = String(decoding: text[(equals + 1)...], as: UTF8.self)
      switch key {
      case "depends": dependencies += value.split(separator: ",").map { Self.canonical($0) }
      case "softdep":
        var isBefore = false
        for word in value.split(separator: " ") {
          if word.hasSuffix(":") { isBefore = word == "pre:" } else if isBefore { wishes.append(Self.canonical(word)) }
        }
      // Those of hardware name its bus first.
      case "alias" where value.contains(":") && !value.contains(where: \.isWhitespace): aliases.append(value)
      case "firmware": firmware.append(value)
      default: break
      }
    }
    self.dependencies = dependencies
    self.wishes = wishes
    self.aliases = aliases
    self.firmware = firmware
  }

  /// A module's name as the kernel knows it: `-` and `_` are the same.
  static func canonical(_ name: some StringProtocol) -> String { String(name.map { $0 == "-" ? "_" : $0 }) }

  private static func section(_ wanted: String, of bytes: [UInt8], name: String) throws(MkimageError) -> ArraySlice<UInt8> {
    func number(_ offset: Int, _ count: Int) -> Int? {
      guard offset >= 0, count <= bytes.count, offset <= bytes.count - count else { return nil }
      let value = bytes[offset..<offset + count].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return Int(exactly: value)
    }
    func range(_ header: Int) -> Range<Int>? {
      guard let start = number(header + 0x18, 8), let count = number(header + 0x20, 8) else { return nil }
      let (end, overflow) = start.addingReportingOverflow(count)
      return overflow || end > bytes.count ? nil : start..<end
    }
    guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]) else {
      throw .unusableModule(name, reason: "it is no 64-bit little-endian ELF file")
    }
    let damaged = MkimageError.unusableModule(name, reason: "its section table is damaged")
    guard let table = number(0x28, 8), let size = number(0x3a, 2), size >= 64, let count = number(0x3c, 2),
      let namesIndex = number(0x3e, 2), namesIndex < count, table <= bytes.count, count * size <= bytes.count - table,
      let names = range(table + namesIndex * size)
    else { throw damaged }
    for index in 0..<count {
      let header = table + index * size
      guard let offset = number(header, 4), offset <= names.count else { throw damaged }
      guard bytes[(names.lowerBound + offset)..<names.upperBound].prefix(while: { $0 != 0 }).elementsEqual(wanted.utf8) else {
        continue
      }
      guard let found = range(header) else { throw damaged }
      return bytes[found]
    }
    throw .unusableModule(name, reason: "it has no section \(wanted)")
  }
}
