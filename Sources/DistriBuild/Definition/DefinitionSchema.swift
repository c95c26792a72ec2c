// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Why a text cannot be the value of a field, as the rest of a sentence.
package struct InvalidText: Error {
  package let reason: String

  package init(reason: String) { self.reason = reason }
}

/// The fields of a message and where they go. A table, so that the parser, the checks and the hints of errors agree.
package struct MessageSchema<Value> {
  /// What a field does with a value of the text.
  package enum Action {
    case string(repeated: Bool, (inout Value, String) throws(InvalidText) -> Void)
    case flag((inout Value, Bool) -> Void)
    /// A number or the name of a choice; `kind` says which, for errors.
    case word(kind: String, repeated: Bool, (inout Value, String) throws(InvalidText) -> Void)
    case message(repeated: Bool, (inout Value, TextMessage, inout DefinitionReader) throws(TextDefect) -> Void)

    var isRepeated: Bool {
      switch self {
      case .string(let repeated, _), .message(let repeated, _), .word(_, let repeated, _): repeated
      case .flag: false
      }
    }
  }

  package let name: String
  let fields: [String: Action]

  package init(_ name: String, _ fields: [String: Action]) {
    self.name = name
    self.fields = fields
  }
}

extension MessageSchema.Action {
  package static func text(_ path: WritableKeyPath<Value, String>) -> Self { .string(repeated: false) { $0[keyPath: path] = $1 } }

  /// A text that has to be a pattern.
  static func pattern(_ path: WritableKeyPath<Value, String>) -> Self {
    .string(repeated: false) { value, text throws(InvalidText) in
      do throws(Glob.Defect) { _ = try Glob(text) } catch { throw InvalidText(reason: error.reason) }
      value[keyPath: path] = text
    }
  }

  package static func texts(_ path: WritableKeyPath<Value, [String]>) -> Self {
    .string(repeated: true) { $0[keyPath: path].append($1) }
  }

  package static func bool(_ path: WritableKeyPath<Value, Bool>) -> Self { .flag { $0[keyPath: path] = $1 } }

  package static func items<Item>(
    _ path: WritableKeyPath<Value, [Item]>, _ empty: @autoclosure @escaping () -> Item,
    _ schema: @autoclosure @escaping () -> MessageSchema<Item>
  ) -> Self {
    .message(repeated: true) { value, message, reader throws(TextDefect) in
      var item = empty()
      try reader.read(message, into: &item, schema())
      value[keyPath: path].append(item)
    }
  }

  /// Repeated in the text means merged, as proto2 has it for messages.
  package static func part<Part>(
    _ path: WritableKeyPath<Value, Part>, _ schema: @autoclosure @escaping () -> MessageSchema<Part>
  ) -> Self {
    .message(repeated: true) { value, message, reader throws(TextDefect) in
      try reader.read(message, into: &value[keyPath: path], schema())
    }
  }
}

/// Walks over a tree and fills a value by a schema.
package struct DefinitionReader {
  package init() {}

  /// A field that appears although it may not: where, and why.
  package mutating func read<Value>(_ message: TextMessage, into value: inout Value, _ schema: MessageSchema<Value>)
    throws(TextDefect)
  {
    var seen: Set<String> = []
    for field in message.fields {
      guard let action = schema.fields[field.name] else {
        let hint = Self.nearest(field.name, among: schema.fields.keys).map { "; did you mean \($0)?" } ?? ""
        throw TextDefect(offset: field.offset, reason: "\(schema.name) has no field «\(field.name.printable)»\(hint)")
      }
      if !action.isRepeated, !seen.insert(field.name).inserted {
        throw TextDefect(offset: field.offset, reason: "\(field.name) appears a second time")
      }
      switch (action, field.value) {
      case (.string(_, let store), .string(let bytes)):
        let text = try Self.text(bytes, of: field)
        do throws(InvalidText) { try store(&value, text) } catch {
          throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) «\(text.printable)» \(error.reason)")
        }
      case (.flag(let store), .scalar(let word)):
        guard let flag = Self.flags[word] else {
          throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) is true or false, not \(field.value.kind)")
        }
        store(&value, flag)
      case (.word(_, _, let store), .scalar(let word)):
        do throws(InvalidText) { try store(&value, word) } catch {
          throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) «\(word.printable)» \(error.reason)")
        }
      case (.message(_, let store), .message(let inner)):
        try store(&value, inner, &self)
      case (.string, _):
        throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) is a string, not \(field.value.kind)")
      case (.flag, _):
        throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) is true or false, not \(field.value.kind)")
      case (.word(let kind, _, _), _):
        throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) is \(kind), not \(field.value.kind)")
      case (.message, _):
        throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) is a message in braces, not \(field.value.kind)")
      }
    }
  }

  static let flags = [
    "true": true, "True": true, "t": true, "1": true, "false": false, "False": false, "f": false, "0": false,
  ]

  private static func text(_ bytes: [UInt8], of field: TextField) throws(TextDefect) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) is not UTF-8")
    }
    guard !bytes.contains(0) else {
      throw TextDefect(offset: field.range.lowerBound, reason: "\(field.name) contains a NUL, which would end it")
    }
    return text
  }

  /// The known name with the fewest changes, when that is few enough to be a slip.
  static func nearest(_ name: String, among names: some Sequence<String>) -> String? {
    let distances = names.map { (distance(name, $0), $0) }.sorted { $0 < $1 }
    guard let best = distances.first, best.0 <= max(2, name.utf8.count / 3) else { return nil }
    return best.1
  }

  /// Levenshtein's distance in bytes; names longer than 64 bytes are no slips.
  private static func distance(_ a: String, _ b: String) -> Int {
    let a = Array(a.utf8.prefix(64)), b = Array(b.utf8.prefix(64))
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, y) in b.enumerated() {
        let substitution = diagonal + (x == y ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substitution, row[j] + 1, diagonal + 1)
      }
    }
    return row[b.count]
  }
}
