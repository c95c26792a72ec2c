// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A pattern of an import definition, in which `*` stands for any number of characters, also `/`, and `?` for one; everything else stands for
/// itself.
struct Wildcard: Sendable, Hashable {
  private let pattern: [UInt8]

  init(_ pattern: String) { self.pattern = Array(pattern.utf8) }

  /// Whether the whole text matches.
  func matches(_ text: String) -> Bool {
    DistriBuild.matches(
      pattern, Array(text.utf8), isStar: { $0 == UInt8(ascii: "*") }, takes: { $0 == UInt8(ascii: "?") || $0 == $1 })
  }
}
