// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A key as text: Base64 between two lines that say what it is (RFC 7468).
struct PEM {
  var label: String
  var contents: [UInt8]

  /// No key is longer, in bytes.
  static let maximumByteCount = 16 << 10

  init(label: String, contents: [UInt8]) {
    self.label = label
    self.contents = contents
  }

  /// The first one of a text; nil when there is none, or it is damaged.
  init?(_ text: String) {
    guard text.utf8.count <= Self.maximumByteCount else { return nil }
    var label: String?
    var encoded: [UInt8] = []
    for line in text.split(whereSeparator: \.isNewline) {
      let words = String(line.drop(while: \.isWhitespace))
      if let open = label {
        if words.hasPrefix("-----END \(open)-----") {
          guard let contents = [UInt8](base64: encoded) else { return nil }
          self.init(label: open, contents: contents)
          return
        }
        encoded += words.utf8.filter { $0 > 0x20 }
      } else if words.hasPrefix("-----BEGIN "), let end = words.dropFirst(11).firstIndex(of: "-") {
        label = String(words.dropFirst(11)[..<end])
      }
    }
    return nil
  }

  /// With lines of 64 characters, each with its end.
  var text: String {
    var lines = "-----BEGIN \(label)-----\n"
    var rest = contents.base64[...]
    while !rest.isEmpty {
      lines += String(decoding: rest.prefix(64), as: UTF8.self) + "\n"
      rest = rest.dropFirst(64)
    }
    return lines + "-----END \(label)-----\n"
  }
}

extension [UInt8] {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// Four characters for three bytes, the last ones filled up with `=`.
  var base64: [UInt8] {
    var result: [UInt8] = []
    for start in stride(from: 0, to: count, by: 3) {
      let group = self[start..<Swift.min(start + 3, count)]
      let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
      for position in 0..<4 {
        result.append(position > group.count ? UInt8(ascii: "=") : Self.alphabet[bits >> (18 - 6 * position) & 63])
      }
    }
    return result
  }

  /// Nil when it is not what ``base64`` makes.
  init?(base64 text: [UInt8]) {
    guard text.count % 4 == 0 else { return nil }
    self = []
    let digits = text.reversed().drop { $0 == UInt8(ascii: "=") }.reversed()
    guard text.count - digits.count < 3 else { return nil }
    var (bits, bitCount) = (0, 0)
    for digit in digits {
      guard let value = Self.alphabet.firstIndex(of: digit) else { return nil }
      bits = bits << 6 | value
      bitCount += 6
      guard bitCount >= 8 else { continue }
      bitCount -= 8
      append(UInt8(truncatingIfNeeded: bits >> bitCount))
      bits &= 1 << bitCount - 1
    }
    guard bits == 0 else { return nil }
  }

  /// Nil unless the text is pairs of hexadecimal digits.
  init?(hexadecimal text: String) {
    let digits = Array(text.utf8)
    guard digits.count.isMultiple(of: 2) else { return nil }
    self = []
    reserveCapacity(digits.count / 2)
    for start in stride(from: 0, to: digits.count, by: 2) {
      guard let high = digits[start].hexadecimalValue, let low = digits[start + 1].hexadecimalValue else { return nil }
      append(high << 4 | low)
    }
  }
}
