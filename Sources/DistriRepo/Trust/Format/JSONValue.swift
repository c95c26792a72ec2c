// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A JSON value as signed metadata has them: numbers are whole, the members of an object are in the order of their names' bytes, and
/// no name occurs twice.
public enum JSONValue: Sendable {
  /// `null`.
  case null
  /// `true` or `false`.
  case boolean(Bool)
  /// A whole number.
  case integer(Int64)
  /// A text. Two are the same when their bytes are, however they look.
  case string(String)
  /// `[…]`
  case array([JSONValue])
  /// `{…}`
  case object(JSONObject)

  /// The bytes that are hashed and signed: OLPC's canonical JSON, in which only `"` and `\` of a text are escaped.
  ///
  /// Not always JSON by itself: line ends and other control characters of a text stand as they are.
  public var canonical: [UInt8] { written(escapingControls: false) }

  /// The same without spaces, as JSON that every reader takes.
  public var serialized: [UInt8] { written(escapingControls: true) }

  private func written(escapingControls: Bool) -> [UInt8] {
    var writer = JSONWriter(escapesControls: escapingControls)
    writer.write(self)
    return writer.bytes
  }
}

/// The members of a JSON object, in the order of their names' bytes.
public struct JSONObject: Sendable, ExpressibleByDictionaryLiteral {
  /// A name and its value.
  public struct Member: Sendable {
    /// Any text.
    public var name: String
    /// What stands behind it.
    public var value: JSONValue
  }

  /// All members, each name once.
  public private(set) var members: [Member]

  /// Without members.
  public init() { members = [] }

  /// The members in any order; of a name that occurs twice, the last.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self.init()
    for (name, value) in elements { self[name] = value }
  }

  /// Sorts the members.
  ///
  /// - Returns: nil when a name occurs twice.
  init?(sorting members: [Member]) {
    self.members = members
    // What others wrote is mostly sorted.
    if !isInOrder { self.members.sort { $0.name.precedesInBytes($1.name) } }
    guard isInOrder else { return nil }
  }

  private var isInOrder: Bool {
    members.indices.dropFirst().allSatisfy { members[$0 - 1].name.precedesInBytes(members[$0].name) }
  }

  /// The value of a name; setting nil removes it.
  public subscript(name: String) -> JSONValue? {
    get {
      let position = position(of: name)
      return holds(name, at: position) ? members[position].value : nil
    }
    set {
      let position = position(of: name)
      switch (newValue, holds(name, at: position)) {
      case (let value?, true): members[position].value = value
      case (let value?, false): members.insert(Member(name: name, value: value), at: position)
      case (nil, true): members.remove(at: position)
      case (nil, false): break
      }
    }
  }

  private func holds(_ name: String, at position: Int) -> Bool {
    position < members.count && members[position].name.hasSameBytes(as: name)
  }

  /// Where the name is, or would be.
  private func position(of name: String) -> Int {
    var (low, high) = (0, members.count)
    while low < high {
      let middle = (low + high) / 2
      if members[middle].name.precedesInBytes(name) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

/// Writes JSON without spaces.
private struct JSONWriter {
  let escapesControls: Bool
  var bytes: [UInt8] = []

  mutating func write(_ value: JSONValue) {
    switch value {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .boolean(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
    case .integer(let value): bytes.append(contentsOf: String(value).utf8)
    case .string(let text): write(text)
    case .array(let values):
      bytes.append(UInt8(ascii: "["))
      for (position, value) in values.enumerated() {
        if position > 0 { bytes.append(UInt8(ascii: ",")) }
        write(value)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let object):
      bytes.append(UInt8(ascii: "{"))
      for (position, member) in object.members.enumerated() {
        if position > 0 { bytes.append(UInt8(ascii: ",")) }
        write(member.name)
        bytes.append(UInt8(ascii: ":"))
        write(member.value)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private mutating func write(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0..<0x20 where escapesControls:
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(contentsOf: [byte].hexadecimal.utf8)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}

extension String {
  /// Swift compares texts by how they look; names in metadata are what their bytes are.
  func hasSameBytes(as other: String) -> Bool {
    utf8.count == other.utf8.count && utf8.elementsEqual(other.utf8)
  }

  /// The order of code points, which is that of the bytes of UTF-8.
  func precedesInBytes(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}
