// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What an expression consists of.
indirect enum RegularNode: Sendable {
  case empty
  case set(ScalarSet)
  case assertion(RegularAssertion)
  case sequence([RegularNode])
  case choice([RegularNode])
  case repetition(RegularNode, atLeast: Int, atMost: Int?, isGreedy: Bool)
  case group(Int, RegularNode)
}

extension RegularNode {
  /// Whether it matches without a scalar.
  fileprivate var mayBeEmpty: Bool {
    switch self {
    case .empty, .assertion: true
    case .set: false
    case .sequence(let nodes): nodes.allSatisfy(\.mayBeEmpty)
    case .choice(let nodes): nodes.contains(where: \.mayBeEmpty)
    case .repetition(let node, let least, _, _): least == 0 || node.mayBeEmpty
    case .group(_, let node): node.mayBeEmpty
    }
  }
}

/// An expression as its parser leaves it.
struct RegularSyntax: Sendable {
  var root: RegularNode
  var groupCount: Int
  var names: [String: Int]
}

/// Characters, by ranges.
struct ScalarSet: Sendable, Hashable {
  var ranges: [ClosedRange<Unicode.Scalar>] = []
  var isNegated = false

  init(_ ranges: ClosedRange<Unicode.Scalar>..., negated: Bool = false) {
    self.ranges = ranges
    isNegated = negated
  }

  func contains(_ scalar: Unicode.Scalar) -> Bool { ranges.contains { $0.contains(scalar) } != isNegated }

  /// All that are not in this one, as ranges.
  var complement: [ClosedRange<Unicode.Scalar>] {
    var result: [ClosedRange<Unicode.Scalar>] = []
    var start: UInt32 = 0
    func add(_ end: UInt32) {
      // Surrogates are no scalars.
      for (low, high) in [(start, min(end, 0xd7ff)), (max(start, 0xe000), end)] where low <= high {
        if let low = Unicode.Scalar(low), let high = Unicode.Scalar(high) { result.append(low...high) }
      }
    }
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if range.lowerBound.value > start { add(range.lowerBound.value - 1) }
      start = max(start, range.upperBound.value + 1)
    }
    if start <= 0x10ffff { add(0x10ffff) }
    return result
  }

  /// With both cases of each letter of ASCII that is in it.
  var foldingCase: ScalarSet {
    var result = self
    for (low, high, offset) in [(0x41, 0x5a, 32), (0x61, 0x7a, -32)] as [(UInt32, UInt32, Int)] {
      for range in ranges {
        let start = max(range.lowerBound.value, low), end = min(range.upperBound.value, high)
        guard start <= end, let first = Unicode.Scalar(UInt32(Int(start) + offset)),
          let last = Unicode.Scalar(UInt32(Int(end) + offset))
        else { continue }
        result.ranges.append(first...last)
      }
    }
    return result
  }
}

/// What holds between two scalars.
enum RegularAssertion: Sendable, Hashable {
  case startOfText, endOfText, startOfLine, endOfLine, wordBoundary, noWordBoundary

  func holds(before: Unicode.Scalar?, after: Unicode.Scalar?) -> Bool {
    switch self {
    case .startOfText: before == nil
    case .endOfText: after == nil
    case .startOfLine: before == nil || before == "\n"
    case .endOfLine: after == nil || after == "\n"
    case .wordBoundary: Self.isWord(before) != Self.isWord(after)
    case .noWordBoundary: Self.isWord(before) == Self.isWord(after)
    }
  }

  private static func isWord(_ scalar: Unicode.Scalar?) -> Bool { scalar.map(RegularExpressionParser.isWord) ?? false }
}

/// An expression as instructions for threads.
struct RegularProgram: Sendable {
  enum Instruction: Sendable {
    case scalar(Unicode.Scalar)
    case set(ScalarSet)
    case save(Int)
    case split(Int, Int)
    case jump(Int)
    case assertion(RegularAssertion)
    case match

    func takes(_ scalar: Unicode.Scalar) -> Bool {
      switch self {
      case .scalar(let other): scalar == other
      case .set(let set): set.contains(scalar)
      default: false
      }
    }
  }

  private(set) var instructions: [Instruction] = []
  let names: [String: Int]
  /// Two a group, the whole match included.
  let slotCount: Int
  /// What every match starts with, where that is one scalar.
  private(set) var firstScalar: Unicode.Scalar?

  /// Counted repetitions are written out.
  static let maximumInstructionCount = 2000
  private static let maximumVisitCount = 20_000
  private var visitCount = 0

  init(_ syntax: RegularSyntax) throws(RegularExpression.Defect) {
    names = syntax.names
    slotCount = 2 * (syntax.groupCount + 1)
    try emit(.save(0))
    try write(syntax.root)
    try emit(.save(1))
    try emit(.match)
    let first = instructions.first { if case .save = $0 { false } else { true } }
    if case .scalar(let scalar) = first { firstScalar = scalar }
  }

  private mutating func emit(_ instruction: Instruction) throws(RegularExpression.Defect) {
    guard instructions.count < Self.maximumInstructionCount else {
      throw .init(reason: "is too large once its repetitions are written out")
    }
    instructions.append(instruction)
  }

  private mutating func write(_ node: RegularNode) throws(RegularExpression.Defect) {
    visitCount += 1
    guard visitCount <= Self.maximumVisitCount else { throw .init(reason: "repeats repetitions too often") }
    switch node {
    case .empty: break
    case .set(let set):
      if set.ranges.count == 1, !set.isNegated, set.ranges[0].lowerBound == set.ranges[0].upperBound {
        try emit(.scalar(set.ranges[0].lowerBound))
      } else {
        try emit(.set(set))
      }
    case .assertion(let assertion): try emit(.assertion(assertion))
    case .sequence(let nodes): for node in nodes { try write(node) }
    case .choice(let nodes): try writeChoice(nodes)
    case .repetition(let node, let least, let most, let isGreedy):
      try writeRepetition(of: node, least, most, isGreedy)
    case .group(let number, let node):
      try emit(.save(2 * number))
      try write(node)
      try emit(.save(2 * number + 1))
    }
  }

  private mutating func writeChoice(_ nodes: [RegularNode]) throws(RegularExpression.Defect) {
    var ends: [Int] = []
    for (index, node) in nodes.enumerated() {
      guard index < nodes.count - 1 else {
        try write(node)
        break
      }
      let split = instructions.count
      try emit(.split(split + 1, 0))
      try write(node)
      ends.append(instructions.count)
      try emit(.jump(0))
      instructions[split] = .split(split + 1, instructions.count)
    }
    for end in ends { instructions[end] = .jump(instructions.count) }
  }

  private mutating func writeRepetition(
    of node: RegularNode, _ least: Int, _ most: Int?, _ isGreedy: Bool
  ) throws(RegularExpression.Defect) {
    func split(_ inside: Int, _ behind: Int) -> Instruction { isGreedy ? .split(inside, behind) : .split(behind, inside) }
    guard let most else { return try writeLoop(of: node, least, split) }
    for _ in 0..<least { try write(node) }
    var splits: [Int] = []
    for _ in 0..<max(0, most - least) {
      splits.append(instructions.count)
      try emit(.split(0, 0))
      try write(node)
    }
    for place in splits { instructions[place] = split(place + 1, instructions.count) }
  }

  /// So often and more. What may be empty is tried once before the choice to go on, since a thread that comes to the same place again without
  /// a scalar ends: `(|a)*` takes nothing, as in Go.
  private mutating func writeLoop(
    of node: RegularNode, _ least: Int, _ split: (Int, Int) -> Instruction
  ) throws(RegularExpression.Defect) {
    for _ in 0..<max(0, least - 1) { try write(node) }
    let choice = instructions.count
    if least == 0 { try emit(.split(0, 0)) }
    let start = instructions.count
    try write(node)
    if least == 0, !node.mayBeEmpty {
      try emit(.jump(choice))
    } else {
      try emit(.split(0, 0))
      instructions[instructions.count - 1] = split(start, instructions.count)
    }
    if least == 0 { instructions[choice] = split(start, instructions.count) }
  }
}
