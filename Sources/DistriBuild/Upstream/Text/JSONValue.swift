// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A JSON value that was read.
enum JSONValue: Sendable, Hashable {
  case null
  case flag(Bool)
  /// As it is written.
  case number(String)
  case string(String)
  case list([JSONValue])
  /// Of members with one name the last counts.
  case object([String: JSONValue])

  /// How deep values may nest.
  static let maximumDepth = 64

  /// Reads a whole text.
  ///
  /// - Throws: ``TextDefect``.
  init(_ bytes: [UInt8]) throws(TextDefect) {
    var parser = JSONParser(bytes: bytes)
    self = try parser.document()
  }

  subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members[name]
  }

  var string: String? { if case .string(let text) = self { text } else { nil } }
  var list: [JSONValue]? { if case .list(let values) = self { values } else { nil } }
  var members: [String: JSONValue]? { if case .object(let members) = self { members } else { nil } }
  /// Whether it is neither null nor false nor an empty text.
  var isSet: Bool { self != .null && self != .flag(false) && self != .string("") }
}

private struct JSONParser {
  let bytes: [UInt8]
  private var position = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func defect(_ reason: String) -> TextDefect { TextDefect(offset: position, reason: reason) }

  private mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
  }

  private mutating func accept(_ character: Unicode.Scalar) -> Bool {
    guard current == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  mutating func document() throws(TextDefect) -> JSONValue {
    let value = try value(depth: 0)
    skipSpace()
    guard current == nil else { throw defect("something follows the JSON value") }
    return value
  }

  private mutating func value(depth: Int) throws(TextDefect) -> JSONValue {
    guard depth <= JSONValue.maximumDepth else { throw defect("values nest deeper than \(JSONValue.maximumDepth)") }
    skipSpace()
    switch current {
    case UInt8(ascii: "{"): return .object(try object(depth: depth))
    case UInt8(ascii: "["): return .list(try list(depth: depth))
    case UInt8(ascii: "\""): return .string(try string())
    default: return try word()
    }
  }

  private mutating func object(depth: Int) throws(TextDefect) -> [String: JSONValue] {
    position += 1
    var members: [String: JSONValue] = [:]
    skipSpace()
    if accept("}") { return members }
    while true {
      skipSpace()
      guard current == UInt8(ascii: "\"") else { throw defect("expected the name of a member") }
      let name = try string()
      skipSpace()
      guard accept(":") else { throw defect("expected : behind the name of a member") }
      members[name] = try value(depth: depth + 1)
      skipSpace()
      if accept("}") { return members }
      guard accept(",") else { throw defect("expected , or } in an object") }
    }
  }

  private mutating func list(depth: Int) throws(TextDefect) -> [JSONValue] {
    position += 1
    var values: [JSONValue] = []
    skipSpace()
    if accept("]") { return values }
    while true {
      values.append(try value(depth: depth + 1))
      skipSpace()
      if accept("]") { return values }
      guard accept(",") else { throw defect("expected , or ] in a list") }
    }
  }

  private mutating func word() throws(TextDefect) -> JSONValue {
    let start = position
    while let byte = current,
      (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || "+-.".utf8.contains(byte)
    {
      position += 1
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    switch text {
    case "null": return .null
    case "true": return .flag(true)
    case "false": return .flag(false)
    case _ where text.utf8.first.map { (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") } == true: return .number(text)
    default:
      position = start
      throw defect("expected a JSON value")
    }
  }

  private mutating func string() throws(TextDefect) -> String {
    let start = position
    position += 1
    var result: [UInt8] = []
    while let byte = current {
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: result, as: UTF8.self) else {
          throw TextDefect(offset: start, reason: "the string that starts here is not UTF-8")
        }
        return text
      case UInt8(ascii: "\\"): result += try escape()
      case ..<0x20: throw TextDefect(offset: position - 1, reason: "a control character in a string")
      default: result.append(byte)
      }
    }
    throw TextDefect(offset: start, reason: "the string that starts here is not closed")
  }

  private static let escapes: [UInt8: UInt8] = [
    UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5c, UInt8(ascii: "/"): 0x2f, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12,
    UInt8(ascii: "n"): 10, UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9,
  ]

  private mutating func escape() throws(TextDefect) -> [UInt8] {
    guard let byte = current else { throw defect("a lone \\") }
    position += 1
    if let simple = Self.escapes[byte] { return [simple] }
    guard byte == UInt8(ascii: "u"), var value = unit() else { throw defect("an unknown escape") }
    if (0xd800..<0xdc00).contains(value), bytes[position...].starts(with: [0x5c, 0x75]) {
      position += 2
      guard let low = unit(), (0xdc00..<0xe000).contains(low) else { throw defect("half of a surrogate pair") }
      value = 0x10000 + (value - 0xd800) << 10 + (low - 0xdc00)
    }
    guard let scalar = Unicode.Scalar(value) else { throw defect("half of a surrogate pair") }
    return Array(String(scalar).utf8)
  }

  /// Four hexadecimal digits.
  private mutating func unit() -> UInt32? {
    let digits = bytes[position...].prefix(4)
    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit && $0 < 0x80 }) else { return nil }
    position += 4
    return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
  }
}
