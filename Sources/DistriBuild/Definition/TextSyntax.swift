// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The tree of a proto text file, with the place of everything, so that a part can be replaced without touching the rest.
package struct TextMessage: Sendable, Hashable {
  package var fields: [TextField] = []
}

/// `name: value`.
package struct TextField: Sendable, Hashable {
  /// As written.
  package var name: String
  /// Byte offset of the name.
  package var offset: Int
  package var value: TextValue
  /// The bytes of the value, comments inside included.
  package var range: Range<Int>
}

package enum TextValue: Sendable, Hashable {
  /// One or more adjacent literals, unescaped.
  case string([UInt8])
  /// `true`, `1`, `-3.5`: not looked into.
  case scalar(String)
  /// `{…}` or `<…>`.
  case message(TextMessage)

  package var kind: String {
    switch self {
    case .string: "a string"
    case .scalar(let text): "«\(text.printable)»"
    case .message: "a message"
    }
  }
}

/// What is wrong with a text, and where.
package struct TextDefect: Error, Hashable {
  package var offset: Int
  package var reason: String

  package init(offset: Int, reason: String) {
    self.offset = offset
    self.reason = reason
  }

  /// Line and column of the place, both from 1, the column in bytes.
  package func position(in bytes: [UInt8]) -> (line: Int, column: Int) {
    let before = bytes.prefix(offset)
    let lineStart = (before.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
    return (before.count { $0 == UInt8(ascii: "\n") } + 1, before.count - lineStart + 1)
  }
}

/// A parser of proto2's text format: comments, both kinds of braces, optional colons and separators, lists, adjacent literals,
/// all escapes. Knows no schema.
package struct TextParser {
  /// The largest text that is read, in bytes. The original's definitions are below 4 KiB.
  package static let maximumByteCount = 1 << 20
  /// How deep messages may nest; those of definitions nest twice.
  static let maximumDepth = 16

  private let bytes: [UInt8]
  private var position = 0

  package static func parse(_ bytes: [UInt8]) throws(TextDefect) -> TextMessage {
    guard bytes.count <= maximumByteCount else {
      throw TextDefect(offset: 0, reason: "larger than \(maximumByteCount) bytes")
    }
    var parser = TextParser(bytes: bytes)
    return try parser.message(until: nil, depth: 0)
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipSpace() {
    while let byte = current {
      if byte == UInt8(ascii: "#") {
        while let next = current, next != UInt8(ascii: "\n") { position += 1 }
      } else if byte == 0x20 || (0x09...0x0d).contains(byte) {
        position += 1
      } else {
        return
      }
    }
  }

  private mutating func accept(_ character: Unicode.Scalar) -> Bool {
    guard current == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private func defect(_ reason: String, at offset: Int? = nil) -> TextDefect {
    TextDefect(offset: offset ?? position, reason: reason)
  }

  private mutating func message(until close: UInt8?, depth: Int) throws(TextDefect) -> TextMessage {
    guard depth <= Self.maximumDepth else { throw defect("messages nest deeper than \(Self.maximumDepth)") }
    let start = position
    var message = TextMessage()
    while true {
      skipSpace()
      guard let byte = current else {
        if close == nil { return message }
        throw defect("the message that starts here is not closed", at: max(start - 1, 0))
      }
      if byte == close {
        position += 1
        return message
      }
      try field(into: &message, depth: depth)
      skipSpace()
      if !accept(",") { _ = accept(";") }
    }
  }

  private mutating func field(into message: inout TextMessage, depth: Int) throws(TextDefect) {
    let offset = position
    let name = try identifier()
    skipSpace()
    let hasColon = accept(":")
    skipSpace()
    guard accept("[") else {
      message.fields.append(try value(of: name, at: offset, hasColon: hasColon, depth: depth))
      return
    }
    let start = position - 1
    skipSpace()
    if accept("]") { return }
    while true {
      skipSpace()
      message.fields.append(try value(of: name, at: offset, hasColon: hasColon, depth: depth))
      skipSpace()
      if accept("]") { return }
      guard accept(",") else {
        throw current == nil ? defect("the list that starts here is not closed", at: start) : defect("expected , or ] in a list")
      }
    }
  }

  private mutating func value(
    of name: String, at offset: Int, hasColon: Bool, depth: Int
  ) throws(TextDefect) -> TextField {
    let start = position
    let value: TextValue
    if accept("{") {
      value = .message(try message(until: UInt8(ascii: "}"), depth: depth + 1))
    } else if accept("<") {
      value = .message(try message(until: UInt8(ascii: ">"), depth: depth + 1))
    } else if !hasColon {
      throw defect("expected : after \(name)")
    } else if current == UInt8(ascii: "\"") || current == UInt8(ascii: "'") {
      value = .string(try strings())
    } else {
      value = .scalar(try scalar())
    }
    return TextField(name: name, offset: offset, value: value, range: start..<position)
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
      UInt8(ascii: "_"):
      true
    default: false
    }
  }

  private mutating func identifier() throws(TextDefect) -> String {
    let start = position
    while let byte = current, Self.isWord(byte) { position += 1 }
    guard position > start, !(0x30...0x39).contains(bytes[start]) else {
      throw defect("expected the name of a field", at: start)
    }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private mutating func scalar() throws(TextDefect) -> String {
    let start = position
    while let byte = current,
      Self.isWord(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+") || byte == UInt8(ascii: ".")
    { position += 1 }
    guard position > start else { throw defect("expected a value") }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  /// Adjacent literals; leaves the position right behind the last one.
  private mutating func strings() throws(TextDefect) -> [UInt8] {
    var result: [UInt8] = []
    var end = position
    while let quote = current, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
      try literal(quote, into: &result)
      end = position
      skipSpace()
    }
    position = end
    return result
  }

  private mutating func literal(_ quote: UInt8, into result: inout [UInt8]) throws(TextDefect) {
    let start = position
    position += 1
    while let byte = current {
      position += 1
      switch byte {
      case quote: return
      case UInt8(ascii: "\\"): try escape(into: &result)
      case UInt8(ascii: "\n"), 0: throw defect("the string that starts here is not closed on its line", at: start)
      default: result.append(byte)
      }
    }
    throw defect("the string that starts here is not closed", at: start)
  }

  private static let simpleEscapes: [UInt8: UInt8] = [
    UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "t"): 9, UInt8(ascii: "n"): 10, UInt8(ascii: "v"): 11,
    UInt8(ascii: "f"): 12, UInt8(ascii: "r"): 13, UInt8(ascii: "\\"): 0x5c, UInt8(ascii: "'"): 0x27,
    UInt8(ascii: "\""): 0x22, UInt8(ascii: "?"): 0x3f,
  ]

  private mutating func escape(into result: inout [UInt8]) throws(TextDefect) {
    let start = position - 1
    guard let byte = current else { throw defect("a lone \\", at: start) }
    if let simple = Self.simpleEscapes[byte] {
      position += 1
      result.append(simple)
      return
    }
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "7"):
      let value = digits(radix: 8, atMost: 3)
      guard let value, value <= 255 else { throw defect("an octal escape above \\377", at: start) }
      result.append(UInt8(value))
    case UInt8(ascii: "x"), UInt8(ascii: "X"):
      position += 1
      guard let value = digits(radix: 16, atMost: 2) else { throw defect("\\x without hexadecimal digits", at: start) }
      result.append(UInt8(value))
    case UInt8(ascii: "u"), UInt8(ascii: "U"):
      position += 1
      let count = byte == UInt8(ascii: "u") ? 4 : 8, first = position
      guard let value = digits(radix: 16, atMost: count), position - first == count, let scalar = Unicode.Scalar(value) else {
        throw defect("not \(count) hexadecimal digits of a character", at: start)
      }
      result += Array(String(scalar).utf8)
    default:
      throw defect("an unknown escape", at: start)
    }
  }

  private mutating func digits(radix: UInt32, atMost count: Int) -> UInt32? {
    let start = position
    var value: UInt32 = 0
    while position - start < count, let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue,
      byte < 0x80, digit < radix
    {
      // At most eight hexadecimal digits: no overflow.
      value = value &* radix &+ UInt32(digit)
      position += 1
    }
    return position > start ? value : nil
  }
}

/// Writes a string as a literal that every reader of the format takes.
func textLiteral(_ string: String) -> String {
  var result = "\""
  for scalar in string.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case "\n": result += "\\n"
    case "\t": result += "\\t"
    default:
      if scalar.value < 0x20 || scalar.value == 0x7f {
        result += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
  }
  return result + "\""
}
