// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A pattern of target paths as a shell has them: `*`, `?` and `[a-z]`, `[!a-z]` match within one directory only.
struct PathPattern: Sendable {
  let text: String

  init(_ text: String) { self.text = text }

  /// Takes time in proportion to the product of both lengths, whatever they hold.
  func matches(_ path: String) -> Bool {
    let patterns = text.unicodeScalars.split(separator: "/", omittingEmptySubsequences: false)
    let parts = path.unicodeScalars.split(separator: "/", omittingEmptySubsequences: false)
    guard patterns.count == parts.count else { return false }
    return zip(patterns, parts).allSatisfy { Self.matches(Self.tokens($0), Array($1)) }
  }

  private enum Token {
    case any
    case one
    case scalar(Unicode.Scalar)
    case set([ClosedRange<UInt32>], isNegated: Bool)

    func matches(_ scalar: Unicode.Scalar) -> Bool {
      switch self {
      case .any: false
      case .one: true
      case .scalar(let expected): scalar == expected
      case .set(let ranges, let isNegated): ranges.contains { $0.contains(scalar.value) } != isNegated
      }
    }
  }

  private static func tokens(_ pattern: Substring.UnicodeScalarView) -> [Token] {
    var tokens: [Token] = []
    var rest = Array(pattern)[...]
    while let scalar = rest.popFirst() {
      switch scalar {
      case "*": tokens.append(.any)
      case "?": tokens.append(.one)
      case "[": tokens.append(set(&rest) ?? .scalar("["))
      default: tokens.append(.scalar(scalar))
      }
    }
    return tokens
  }

  /// What stands behind `[`, up to `]`; nil when there is no end, which makes it an ordinary character.
  private static func set(_ rest: inout ArraySlice<Unicode.Scalar>) -> Token? {
    var body = rest
    let isNegated = body.first == "!"
    if isNegated { body.removeFirst() }
    // The first one may be `]` itself.
    guard let end = body.dropFirst().firstIndex(of: "]") else { return nil }
    var ranges: [ClosedRange<UInt32>] = []
    rest = body[(end + 1)...]
    body = body[..<end]
    while let low = body.popFirst() {
      var high = low
      if body.count > 1, body.first == "-" {
        body.removeFirst()
        high = body.removeFirst()
      }
      if low <= high { ranges.append(low.value...high.value) }
    }
    return .set(ranges, isNegated: isNegated)
  }

  /// Goes back to the last `*` only: what earlier ones took cannot matter any more.
  private static func matches(_ tokens: [Token], _ text: [Unicode.Scalar]) -> Bool {
    var (token, position) = (0, 0)
    var retry: (token: Int, position: Int)?
    while position < text.count {
      if token < tokens.count, case .any = tokens[token] {
        token += 1
        retry = (token, position)
      } else if token < tokens.count, tokens[token].matches(text[position]) {
        token += 1
        position += 1
      } else if let (next, start) = retry {
        (token, position) = (next, start + 1)
        retry = (next, start + 1)
      } else {
        return false
      }
    }
    return tokens[token...].allSatisfy { if case .any = $0 { true } else { false } }
  }
}
