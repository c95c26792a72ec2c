// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore

/// What texts of a description may be, so that none of them becomes a second line or field of the file that it ends up in.
enum TextRule {
  static func line(_ text: String) throws(InvalidText) {
    guard !text.isEmpty, text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
      throw InvalidText(reason: "is not one line of text")
    }
  }

  static func hostname(_ text: String) throws(InvalidText) {
    let labels = text.split(separator: ".", omittingEmptySubsequences: false)
    let isName = labels.allSatisfy { label in
      (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-" && label.utf8.allSatisfy(isNameByte)
        && !label.contains("_")
    }
    guard isName, text.utf8.count <= 64 else { throw InvalidText(reason: "is no host name") }
  }

  static func label(_ text: String) throws(InvalidText) {
    guard (1...16).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != 0x22 }) else {
      throw InvalidText(reason: "is no label: 1 to 16 printable characters without blanks and quotes")
    }
  }

  /// The name of a user or group, as useradd(8) takes it.
  static func account(_ text: String) throws(InvalidText) {
    guard let first = text.utf8.first, text.utf8.count <= 31, text.utf8.allSatisfy(isNameByte),
      first == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first)
    else { throw InvalidText(reason: "is no name of a user or group") }
  }

  /// A name, or a number for what the image has no name for.
  static func owner(_ text: String) throws(InvalidText) {
    if UInt32(text) == nil { try account(text) }
  }

  static func accountField(_ text: String) throws(InvalidText) {
    guard !text.contains(":"), text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f }) else {
      throw InvalidText(reason: "contains a colon or a control character")
    }
  }

  static func accountPath(_ text: String) throws(InvalidText) {
    try accountField(text)
    guard text.hasPrefix("/") else { throw InvalidText(reason: "is no absolute path") }
  }

  /// What crypt(5) makes; never a password itself.
  static func passwordHash(_ text: String) throws(InvalidText) {
    try accountField(text)
    guard text.hasPrefix("$"), text.split(separator: "$").count >= 3, !text.contains(" ") else {
      throw InvalidText(reason: "is no hash such as `openssl passwd -6` makes")
    }
  }

  static func path(_ text: String) throws(InvalidText) {
    try line(text)
    guard text.hasPrefix("/"), let path = try? TreePath(parsing: text), !path.isRoot else {
      throw InvalidText(reason: "is no absolute path without ..")
    }
  }

  /// The name of a keymap, which is that of a file without its ending.
  static func keymap(_ text: String) throws(InvalidText) {
    guard (1...64).contains(text.utf8.count), text.utf8.allSatisfy({ isNameByte($0) || $0 == UInt8(ascii: ".") }), text.first != "."
    else { throw InvalidText(reason: "is no keymap such as de-latin1") }
  }

  /// The name of a unit of systemd.
  static func unit(_ text: String) throws(InvalidText) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let isName = text.utf8.allSatisfy { isNameByte($0) || [".", "@", ":", "\\"].contains(Unicode.Scalar($0)) }
    guard isName, parts.count >= 2, text.utf8.count <= 255, !parts[0].isEmpty, let type = parts.last,
      unitTypes.contains(String(type))
    else { throw InvalidText(reason: "is no unit such as ssh.service") }
  }

  private static let unitTypes: Set = [
    "service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope",
  ]

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch Unicode.Scalar(byte) {
    case "a"..."z", "A"..."Z", "0"..."9", "-", "_": true
    default: false
    }
  }
}
