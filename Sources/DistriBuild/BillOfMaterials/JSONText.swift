// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A JSON value whose members keep their order, so that the same value is always the same text.
enum JSONText {
  case string(String)
  case flag(Bool)
  case list([JSONText])
  case object([(name: String, value: JSONText)])

  /// An object without the members that are nil.
  static func object(_ members: (String, JSONText?)...) -> JSONText {
    .object(members.compactMap { name, value in value.map { (name, $0) } })
  }

  /// Indented by two blanks a level, with a newline at the end of all.
  var text: String {
    var result = ""
    write(to: &result, indent: "\n")
    return result + "\n"
  }

  /// A string as JSON has it, without a newline.
  static func quoted(_ value: String) -> String {
    var result = ""
    write(value, to: &result)
    return result
  }

  private func write(to text: inout String, indent: String) {
    switch self {
    case .string(let value): Self.write(value, to: &text)
    case .flag(let value): text += value ? "true" : "false"
    case .list(let values):
      Self.write(values, "[", "]", to: &text, indent: indent) { value, text, inner in value.write(to: &text, indent: inner) }
    case .object(let members):
      Self.write(members, "{", "}", to: &text, indent: indent) { member, text, inner in
        Self.write(member.name, to: &text)
        text += ": "
        member.value.write(to: &text, indent: inner)
      }
    }
  }

  private static func write<Item>(
    _ items: [Item], _ start: String, _ end: String, to text: inout String, indent: String,
    _ body: (Item, inout String, String) -> Void
  ) {
    text += start
    for (index, item) in items.enumerated() {
      text += (index == 0 ? "" : ",") + indent + "  "
      body(item, &text, indent + "  ")
    }
    text += items.isEmpty ? end : indent + end
  }

  private static func write(_ value: String, to text: inout String) {
    text += "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
