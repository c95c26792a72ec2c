// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A regular expression as Go's `regexp` has it, since definitions are written for that: RE2's syntax, the leftmost match, of several the one
/// that a backtracking matcher finds first.
///
/// Definition and page may both be hostile. All threads of the expression go over the text side by side, so that there is nothing that
/// takes exponential time; expression, program and steps are limited. What RE2 has and this has not is an error: `\p{…}`, `\C`, the flag U,
/// and letters of `(?i)` beyond ASCII are compared as they are.
public struct RegularExpression: Sendable {
  /// What is wrong with an expression, or with looking for it, as the rest of a sentence.
  public struct Defect: Error, Sendable, Hashable, CustomStringConvertible {
    /// Such as «has a ( without )».
    public let reason: String
    /// The reason.
    public var description: String { reason }
  }

  /// The longest expression, in bytes.
  public static let maximumByteCount = 1024
  /// The most matches that are looked for in a text.
  public static let maximumMatchCount = 20_000
  /// How many steps looking for all matches in a text may take: enough for some megabytes and an ordinary expression.
  public static let maximumStepCount = 1 << 26

  private let program: RegularProgram

  /// Reads an expression.
  ///
  /// - Throws: ``Defect``.
  public init(_ pattern: String) throws(Defect) {
    guard pattern.utf8.count <= Self.maximumByteCount else {
      throw Defect(reason: "is longer than \(Self.maximumByteCount) bytes")
    }
    var parser = RegularExpressionParser(pattern)
    program = try RegularProgram(try parser.parse())
  }

  /// What each match takes of a text: the whole match, then each group, nil where it took no part. No two matches overlap.
  ///
  /// - Throws: ``Defect`` when that takes too many steps or matches.
  public func matches(in text: String, stepLimit: Int = maximumStepCount) throws(Defect) -> [[String?]] {
    let scalars = Array(text.unicodeScalars)
    return try ranges(in: scalars, stepLimit: stepLimit).map { slots in
      stride(from: 0, to: slots.count, by: 2).map { index in
        slots[index] >= 0 && slots[index + 1] >= 0 ? Self.text(scalars[slots[index]..<slots[index + 1]]) : nil
      }
    }
  }

  /// The text with each match replaced. In the replacement `$1`, `${1}` and `${name}` stand for groups, and `$$` for a dollar, as in Go.
  ///
  /// - Throws: as ``matches(in:stepLimit:)``; for a result that is longer than 64 KiB.
  public func replacingMatches(
    in text: String, with replacement: String, stepLimit: Int = maximumStepCount
  ) throws(Defect) -> String {
    let scalars = Array(text.unicodeScalars)
    let template = Array(replacement.unicodeScalars)
    var result = String.UnicodeScalarView()
    var end = 0
    for slots in try ranges(in: scalars, stepLimit: stepLimit) {
      result.append(contentsOf: scalars[end..<slots[0]])
      expand(template, slots, of: scalars, into: &result)
      end = slots[1]
      guard result.count <= 1 << 16 else { throw Defect(reason: "makes more than 64 KiB of what was found") }
    }
    result.append(contentsOf: scalars[end...])
    return String(result)
  }

  private static func text(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  private func ranges(in text: [Unicode.Scalar], stepLimit: Int) throws(Defect) -> [[Int]] {
    var matcher = RegularMatcher(program: program, text: text, steps: stepLimit)
    var result: [[Int]] = []
    var start = 0, lastEnd = -1
    while start <= text.count, let slots = try matcher.match(from: start) {
      if slots[0] < slots[1] || slots[0] != lastEnd {
        result.append(slots)
        guard result.count <= Self.maximumMatchCount else {
          throw Defect(reason: "matches more than \(Self.maximumMatchCount) times")
        }
      }
      lastEnd = slots[1]
      start = max(slots[1], slots[0] < slots[1] ? 0 : slots[1] + 1)
    }
    return result
  }

  private func expand(
    _ template: [Unicode.Scalar], _ slots: [Int], of text: [Unicode.Scalar], into result: inout String.UnicodeScalarView
  ) {
    var rest = template[...]
    while let scalar = rest.popFirst() {
      guard scalar == "$" else {
        result.append(scalar)
        continue
      }
      if rest.first == "$" {
        rest.removeFirst()
        result.append("$")
        continue
      }
      let isBraced = rest.first == "{"
      let name = (isBraced ? rest.dropFirst() : rest).prefix { RegularExpressionParser.isWord($0) }
      let after = (isBraced ? rest.dropFirst() : rest).dropFirst(name.count)
      guard !name.isEmpty, !isBraced || after.first == "}" else {
        // Go drops a dollar without a name.
        continue
      }
      rest = isBraced ? after.dropFirst() : after
      let word = Self.text(name)
      guard let group = Int(word) ?? program.names[word], group * 2 + 1 < slots.count, slots[group * 2] >= 0 else { continue }
      result.append(contentsOf: text[slots[group * 2]..<slots[group * 2 + 1]])
    }
  }
}

/// Runs a program over a text: every thread of it one scalar at a time, the preferred first.
private struct RegularMatcher {
  let program: RegularProgram
  let text: [Unicode.Scalar]
  /// How many are left.
  var steps: Int

  private var current: RegularThreads
  private var next: RegularThreads
  private var round = 0

  init(program: RegularProgram, text: [Unicode.Scalar], steps: Int) {
    self.program = program
    self.text = text
    self.steps = steps
    current = RegularThreads(count: program.instructions.count)
    next = current
  }

  /// The first match that starts at an offset or behind it: the start and end of each group, -1 for what took no part.
  mutating func match(from start: Int) throws(RegularExpression.Defect) -> [Int]? {
    var found: [Int]?
    var index = start
    let none = Array(repeating: -1, count: program.slotCount)
    current.list.removeAll(keepingCapacity: true)
    round += 1
    while true {
      if found == nil {
        if current.list.isEmpty, let first = program.firstScalar {
          guard let place = text[index...].firstIndex(of: first) else { return nil }
          index = place
        }
        // In the round in which the others came here, so that none is there twice.
        try current.add(0, at: index, none, (program, text, round), &steps)
      }
      if current.list.isEmpty, found != nil { return found }
      round += 1
      next.list.removeAll(keepingCapacity: true)
      for thread in current.list {
        if case .match = program.instructions[thread.position] {
          found = thread.slots
          break
        }
        if index < text.count, program.instructions[thread.position].takes(text[index]) {
          try next.add(thread.position + 1, at: index + 1, thread.slots, (program, text, round), &steps)
        }
      }
      swap(&current, &next)
      guard index < text.count else { return found }
      index += 1
    }
  }
}

/// Where in the program a text may be.
private struct RegularThreads {
  struct Thread {
    let position: Int
    let slots: [Int]
  }

  var list: [Thread] = []
  /// For each instruction the round in which a thread came to it last.
  private var rounds: [Int]

  init(count: Int) { rounds = Array(repeating: -1, count: count) }

  typealias Context = (program: RegularProgram, text: [Unicode.Scalar], round: Int)

  /// Follows what takes no scalar. As deep as the program is long.
  mutating func add(
    _ position: Int, at index: Int, _ slots: [Int], _ context: Context, _ steps: inout Int
  ) throws(RegularExpression.Defect) {
    steps -= 1
    if steps < 0 { throw .init(reason: "takes too many steps on this text; make it simpler") }
    guard rounds[position] != context.round else { return }
    rounds[position] = context.round
    switch context.program.instructions[position] {
    case .jump(let target): try add(target, at: index, slots, context, &steps)
    case .split(let preferred, let other):
      try add(preferred, at: index, slots, context, &steps)
      try add(other, at: index, slots, context, &steps)
    case .save(let slot):
      var slots = slots
      slots[slot] = index
      try add(position + 1, at: index, slots, context, &steps)
    case .assertion(let assertion):
      let text = context.text
      if assertion.holds(before: index > 0 ? text[index - 1] : nil, after: index < text.count ? text[index] : nil) {
        try add(position + 1, at: index, slots, context, &steps)
      }
    default: list.append(Thread(position: position, slots: slots))
    }
  }
}
