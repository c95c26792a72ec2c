// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The links of an HTML page: what is between `<a` and `>`, nothing else is looked at.
struct PageLinks: Sequence, IteratorProtocol {
  struct Link: Sendable, Hashable {
    /// As written, with references such as `&amp;` replaced.
    var reference: String
    /// Attributes beside `href`, lower case.
    var attributes: Set<String>
  }

  /// More than any listing has.
  static let maximumCount = 200_000

  private var rest: ArraySlice<UInt8>
  private var count = 0

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  /// Looks at every byte once.
  mutating func next() -> Link? {
    while count < Self.maximumCount, let start = rest.firstIndex(of: UInt8(ascii: "<")) {
      rest = rest[(start + 1)...]
      if rest.starts(with: Array("!--".utf8)) {
        skipComment()
      } else if let first = rest.first, first | 0x20 == UInt8(ascii: "a"), rest.dropFirst().first.map(Self.isSpace) == true {
        rest = rest.dropFirst()
        count += 1
        if let link = attributes() { return link }
      }
    }
    return nil
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }

  private mutating func skipComment() {
    while let dash = rest.firstIndex(of: UInt8(ascii: "-")) {
      rest = rest[(dash + 1)...]
      if rest.starts(with: Array("->".utf8)) { return }
    }
    rest = []
  }

  /// Up to the `>`; nil where there is no `href`.
  private mutating func attributes() -> Link? {
    var link = Link(reference: "", attributes: [])
    var hasReference = false
    while true {
      rest = rest.drop(while: Self.isSpace)
      guard let byte = rest.first, byte != UInt8(ascii: ">"), byte != UInt8(ascii: "<") else { break }
      let name = rest.prefix { !Self.isSpace($0) && !"=><".utf8.contains($0) }
      rest = rest.dropFirst(Swift.max(name.count, 1)).drop(while: Self.isSpace)
      let word = name.count <= 64 ? String(decoding: name, as: UTF8.self).lowercased() : ""
      var value: ArraySlice<UInt8> = []
      if rest.first == UInt8(ascii: "="), !name.isEmpty {
        rest = rest.dropFirst().drop(while: Self.isSpace)
        value = self.value()
      }
      if word != "href" {
        link.attributes.insert(word)
      } else if value.count <= WebAddress.maximumByteCount {
        hasReference = true
        link.reference = Self.unescaped(value)
      }
    }
    return hasReference ? link : nil
  }

  private mutating func value() -> ArraySlice<UInt8> {
    if let quote = rest.first, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
      let value = rest.dropFirst().prefix { $0 != quote }
      rest = rest.dropFirst(value.count + 2)
      return value
    }
    let value = rest.prefix { !Self.isSpace($0) && $0 != UInt8(ascii: ">") }
    rest = rest.dropFirst(value.count)
    return value
  }

  private static let references: [String: String] = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'"]

  private static func unescaped(_ bytes: ArraySlice<UInt8>) -> String {
    let text = String(decoding: bytes, as: UTF8.self)
    guard text.utf8.contains(UInt8(ascii: "&")) else { return text }
    var rest = text[...], result = ""
    while let sign = rest.firstIndex(of: "&") {
      result += rest[..<sign]
      rest = rest[sign...]
      let name = rest.dropFirst().prefix(8).prefix { $0 != ";" }
      let after = rest.dropFirst(name.count + 1)
      guard after.first == ";", let character = character(String(name)) else {
        result += "&"
        rest.removeFirst()
        continue
      }
      result += character
      rest = after.dropFirst()
    }
    return result + rest
  }

  private static func character(_ name: String) -> String? {
    guard name.hasPrefix("#") else { return references[name] }
    let digits = name.dropFirst()
    let value = digits.first.map { "xX".contains($0) } == true ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
    return value.flatMap(Unicode.Scalar.init).map { String($0) }
  }
}
