// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Why bytes are no JSON that is accepted, and where.
public struct JSONFailure: Error, Sendable, Equatable {
  /// In bytes from the start.
  public var offset: Int
  /// The rest of a sentence.
  public var reason: String
}

extension JSONValue {
  /// The deepest nesting that is accepted.
  public static let maximumDepth = 64
  /// The most values that a file may have, so that a short text cannot become much memory.
  public static let maximumValueCount = 1 << 21

  /// Parses RFC 8259's JSON, strictly: UTF-8 without byte order mark, no name twice in an object, no number but whole ones of 64 bits.
  public init(parsing bytes: [UInt8]) throws(JSONFailure) {
    var parser = JSONParser(bytes: bytes)
    self = try parser.parseFile()
  }
}

private struct JSONParser {
  let bytes: [UInt8]
  var position = 0
  var valueCount = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func parseFile() throws(JSONFailure) -> JSONValue {
    let value = try parseValue(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw failure("something follows the value") }
    return value
  }

  private mutating func parseValue(depth: Int) throws(JSONFailure) -> JSONValue {
    skipSpace()
    valueCount += 1
    guard valueCount <= JSONValue.maximumValueCount else { throw failure("more than \(JSONValue.maximumValueCount) values") }
    guard let byte = current else { throw failure("the file ends where a value is expected") }
    switch byte {
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      guard depth < JSONValue.maximumDepth else { throw failure("nested more than \(JSONValue.maximumDepth) deep") }
      position += 1
      return byte == UInt8(ascii: "{") ? .object(try parseMembers(depth: depth)) : .array(try parseElements(depth: depth))
    case UInt8(ascii: "\""): return .string(try parseString())
    case UInt8(ascii: "t"): return try parseWord("true", .boolean(true))
    case UInt8(ascii: "f"): return try parseWord("false", .boolean(false))
    case UInt8(ascii: "n"): return try parseWord("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .integer(try parseInteger())
    default: throw failure("not a value")
    }
  }

  private mutating func parseElements(depth: Int) throws(JSONFailure) -> [JSONValue] {
    var values: [JSONValue] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return values }
    while true {
      values.append(try parseValue(depth: depth + 1))
      skipSpace()
      if take(UInt8(ascii: "]")) { return values }
      guard take(UInt8(ascii: ",")) else { throw failure("«,» or «]» is missing") }
    }
  }

  private mutating func parseMembers(depth: Int) throws(JSONFailure) -> JSONObject {
    let start = position - 1
    var members: [JSONObject.Member] = []
    skipSpace()
    if take(UInt8(ascii: "}")) { return JSONObject() }
    while true {
      skipSpace()
      guard current == UInt8(ascii: "\"") else { throw failure("a name in quotes is missing") }
      let name = try parseString()
      skipSpace()
      guard take(UInt8(ascii: ":")) else { throw failure("«:» is missing") }
      members.append(.init(name: name, value: try parseValue(depth: depth + 1)))
      skipSpace()
      if take(UInt8(ascii: "}")) { break }
      guard take(UInt8(ascii: ",")) else { throw failure("«,» or «}» is missing") }
    }
    guard let object = JSONObject(sorting: members) else {
      throw JSONFailure(offset: start, reason: "a name occurs twice in this object")
    }
    return object
  }

  private mutating func parseWord(_ word: String, _ value: JSONValue) throws(JSONFailure) -> JSONValue {
    guard bytes[position...].starts(with: word.utf8) else { throw failure("not a value") }
    position += word.utf8.count
    return value
  }

  private mutating func parseInteger() throws(JSONFailure) -> Int64 {
    let start = position
    let isNegative = take(UInt8(ascii: "-"))
    let digits = position
    var value: Int64 = 0
    while let byte = current, case UInt8(ascii: "0")...UInt8(ascii: "9") = byte {
      // Downwards, since the smallest number has no positive counterpart.
      let (product, isTooLarge) = value.multipliedReportingOverflow(by: 10)
      let (difference, isTooSmall) = product.subtractingReportingOverflow(Int64(byte - UInt8(ascii: "0")))
      guard !isTooLarge, !isTooSmall else { throw JSONFailure(offset: start, reason: "a number of more than 64 bits") }
      value = difference
      position += 1
    }
    guard position > digits, position == digits + 1 || bytes[digits] != UInt8(ascii: "0") else {
      throw JSONFailure(offset: start, reason: "not a number")
    }
    if let byte = current, [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(byte) {
      throw JSONFailure(offset: start, reason: "a number that is not written as a whole one")
    }
    if isNegative { return value }
    guard value != .min else { throw JSONFailure(offset: start, reason: "a number of more than 64 bits") }
    return -value
  }

  /// The text behind a quote, up to and with the next one.
  private mutating func parseString() throws(JSONFailure) -> String {
    let start = position
    position += 1
    var text: [UInt8] = []
    var run = position
    while true {
      guard let byte = current else { throw JSONFailure(offset: start, reason: "a text without end") }
      switch byte {
      case UInt8(ascii: "\""):
        text.append(contentsOf: bytes[run..<position])
        position += 1
        guard let result = String(validating: text, as: UTF8.self) else {
          throw JSONFailure(offset: start, reason: "a text that is not UTF-8")
        }
        return result
      case UInt8(ascii: "\\"):
        text.append(contentsOf: bytes[run..<position])
        position += 1
        text.append(contentsOf: try parseEscape())
        run = position
      case 0..<0x20: throw failure("a control character that is not escaped")
      default: position += 1
      }
    }
  }

  private mutating func parseEscape() throws(JSONFailure) -> [UInt8] {
    guard let byte = current else { throw failure("a text without end") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "f"): return [0x0c]
    case UInt8(ascii: "n"): return [0x0a]
    case UInt8(ascii: "r"): return [0x0d]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "u"): break
    default: throw failure("no such escape")
    }
    var code = try parseUnit()
    if case 0xd800..<0xdc00 = code {
      guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw failure("half of a surrogate pair") }
      let low = try parseUnit()
      guard case 0xdc00..<0xe000 = low else { throw failure("half of a surrogate pair") }
      code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw failure("half of a surrogate pair") }
    return Array(String(Character(scalar)).utf8)
  }

  private mutating func parseUnit() throws(JSONFailure) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = current?.hexadecimalValue else { throw failure("«\\u» needs four hexadecimal digits") }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }

  private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard current == byte else { return false }
    position += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
  }

  private func failure(_ reason: String) -> JSONFailure { JSONFailure(offset: position, reason: reason) }
}
