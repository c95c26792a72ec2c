// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A pattern of paths, as Go's `filepath.Match` and `filepath.Glob` have it: that is what definitions of the original are written for.
///
/// `*` stands for any number of characters but `/`, `?` for one, `[a-z]` for one of a set, `[^a-z]` for one that is not in it; `\` takes the
/// next character as it is. A leading dot is a character like others.
struct Glob: Sendable, Hashable {
  private enum Part: Sendable, Hashable {
    case literal(Unicode.Scalar)
    case any
    case oneOf([Bounds], negated: Bool)
    case run
  }

  /// Backwards, as in `[z-a]`, they take nothing.
  private struct Bounds: Sendable, Hashable {
    let low: Unicode.Scalar
    let high: Unicode.Scalar
  }

  /// What is wrong with a pattern, as the rest of a sentence.
  struct Defect: Error, Hashable { let reason: String }

  /// A pattern a component of the path.
  private let components: [[Part]]

  /// Longer ones are no patterns that a person wrote.
  static let maximumByteCount = 4096

  /// - Throws: ``Defect`` for an open set, a set without characters, a range without end, a `\` at the end of a component.
  init(_ pattern: String) throws(Defect) {
    guard pattern.utf8.count <= Self.maximumByteCount else { throw Defect(reason: "is longer than \(Self.maximumByteCount) bytes") }
    var rest = Substring(pattern).unicodeScalars
    var components: [[Part]] = [[]]
    while let scalar = rest.popFirst() {
      var part = Part.literal(scalar)
      switch scalar {
      case "/":
        components.append([])
        continue
      case "*": part = .run
      case "?": part = .any
      case "[": part = try Self.set(&rest)
      case "\\": part = .literal(try Self.escaped(&rest))
      default: break
      }
      components[components.count - 1].append(part)
    }
    self.components = components.filter { !$0.isEmpty && $0 != [.literal(".")] }
  }

  /// Whether the whole path matches, component by component.
  func matches(_ path: TreePath) -> Bool {
    path.components.count == components.count
      && zip(components, path.components).allSatisfy { pattern, name in
        DistriBuild.matches(pattern, Array(name.description.unicodeScalars), isStar: { $0 == .run }, takes: Self.takes)
      }
  }

  private static func takes(_ part: Part, _ scalar: Unicode.Scalar) -> Bool {
    switch part {
    case .literal(let other): scalar == other
    case .any: true
    case .oneOf(let ranges, let negated): ranges.contains { $0.low <= scalar && scalar <= $0.high } != negated
    case .run: false
    }
  }

  /// The rest of a set, behind its `[`.
  private static func set(_ rest: inout Substring.UnicodeScalarView) throws(Defect) -> Part {
    var ranges: [Bounds] = []
    let negated = rest.first == "^"
    if negated { rest.removeFirst() }
    while true {
      if rest.first == "]", !ranges.isEmpty {
        rest.removeFirst()
        return .oneOf(ranges, negated: negated)
      }
      let low = try bound(&rest)
      guard rest.first == "-" else {
        ranges.append(Bounds(low: low, high: low))
        continue
      }
      rest.removeFirst()
      ranges.append(Bounds(low: low, high: try bound(&rest)))
    }
  }

  private static func bound(_ rest: inout Substring.UnicodeScalarView) throws(Defect) -> Unicode.Scalar {
    guard let scalar = rest.popFirst(), scalar != "/" else { throw Defect(reason: "has a [ without ]") }
    switch scalar {
    case "]", "-": throw Defect(reason: "has a set in which \(scalar) is in a place where a character has to be; write \\\(scalar)")
    case "\\": return try escaped(&rest)
    default: return scalar
    }
  }

  private static func escaped(_ rest: inout Substring.UnicodeScalarView) throws(Defect) -> Unicode.Scalar {
    guard let scalar = rest.popFirst(), scalar != "/" else { throw Defect(reason: "has a \\ with nothing behind it") }
    return scalar
  }
}
