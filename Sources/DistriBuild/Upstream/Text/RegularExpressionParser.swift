// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Reads RE2's syntax.
struct RegularExpressionParser {
  typealias Defect = RegularExpression.Defect

  private struct Flags {
    var ignoresCase = false
    var isMultiline = false
    var dotTakesNewline = false
  }

  /// How deep groups may nest.
  private static let maximumDepth = 32
  private static let maximumGroupCount = 32
  private static let maximumRepetition = 1000

  private var rest: ArraySlice<Unicode.Scalar>
  private var flags = Flags()
  private var groupCount = 0
  private var names: [String: Int] = [:]

  init(_ pattern: String) { rest = Array(pattern.unicodeScalars)[...] }

  static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "_": true
    default: false
    }
  }

  mutating func parse() throws(Defect) -> RegularSyntax {
    let root = try choice(depth: 0)
    guard rest.isEmpty else { throw Defect(reason: "has a ) without (") }
    return RegularSyntax(root: root, groupCount: groupCount, names: names)
  }

  private mutating func accept(_ scalar: Unicode.Scalar) -> Bool {
    guard rest.first == scalar else { return false }
    rest.removeFirst()
    return true
  }

  private mutating func choice(depth: Int) throws(Defect) -> RegularNode {
    guard depth <= Self.maximumDepth else { throw Defect(reason: "has groups that nest deeper than \(Self.maximumDepth)") }
    // Flags set inside a group end with it.
    let outer = flags
    defer { flags = outer }
    var branches = [try sequence(depth: depth)]
    while accept("|") { branches.append(try sequence(depth: depth)) }
    return branches.count == 1 ? branches[0] : .choice(branches)
  }

  private mutating func sequence(depth: Int) throws(Defect) -> RegularNode {
    var nodes: [RegularNode] = []
    while let scalar = rest.first, scalar != "|", scalar != ")" {
      if rest.starts(with: ["\\", "Q"]) {
        var quoted = quoted()
        // What follows repeats the last of them.
        if let last = quoted.popLast() { quoted.append(try repeated(last)) }
        nodes += quoted
        continue
      }
      guard let atom = try atom(depth: depth) else { continue }
      nodes.append(try repeated(atom))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  private mutating func repeated(_ atom: RegularNode) throws(Defect) -> RegularNode {
    guard let (least, most) = try repetition() else { return atom }
    let isGreedy = !accept("?")
    guard try repetition() == nil else { throw Defect(reason: "repeats a repetition; put it into (?:…)") }
    return .repetition(atom, atLeast: least, atMost: most, isGreedy: isGreedy)
  }

  /// `*`, `+`, `?`, `{2}`, `{2,}`, `{2,5}`; braces that are none of these stand for themselves.
  private mutating func repetition() throws(Defect) -> (Int, Int?)? {
    switch rest.first {
    case "*":
      rest.removeFirst()
      return (0, nil)
    case "+":
      rest.removeFirst()
      return (1, nil)
    case "?":
      rest.removeFirst()
      return (0, 1)
    case "{": break
    default: return nil
    }
    guard let close = rest.prefix(16).firstIndex(of: "}") else { return nil }
    let parts = rest[(rest.startIndex + 1)..<close].split(separator: ",", omittingEmptySubsequences: false)
      .map { $0.reduce(into: "") { $0.unicodeScalars.append($1) } }
    guard (1...2).contains(parts.count), parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
      let least = Int(parts[0])
    else { return nil }
    let most = parts.count == 1 ? least : parts[1].isEmpty ? nil : Int(parts[1])
    guard least <= Self.maximumRepetition, most ?? least <= Self.maximumRepetition, most ?? least >= least else {
      throw Defect(reason: "has a repetition that is not between 0 and \(Self.maximumRepetition)")
    }
    rest = rest[(close + 1)...]
    return (least, most)
  }

  /// Nil for flags, which are no part of the expression.
  private mutating func atom(depth: Int) throws(Defect) -> RegularNode? {
    guard let scalar = rest.popFirst() else { return .empty }
    switch scalar {
    case "(": return try group(depth: depth)
    case "[": return .set(folded(try set()))
    case ".": return .set(flags.dotTakesNewline ? ScalarSet(negated: true) : ScalarSet("\n"..."\n", negated: true))
    case "^": return .assertion(flags.isMultiline ? .startOfLine : .startOfText)
    case "$": return .assertion(flags.isMultiline ? .endOfLine : .endOfText)
    case "*", "+", "?": throw Defect(reason: "has a \(scalar) with nothing in front of it")
    case "\\": return try escape()
    default: return .set(folded(ScalarSet(scalar...scalar)))
    }
  }

  private func folded(_ set: ScalarSet) -> ScalarSet { flags.ignoresCase ? set.foldingCase : set }

  /// `\Q…\E`, or to the end.
  private mutating func quoted() -> [RegularNode] {
    rest = rest.dropFirst(2)
    var nodes: [RegularNode] = []
    while let scalar = rest.first {
      if rest.starts(with: ["\\", "E"]) {
        rest = rest.dropFirst(2)
        break
      }
      rest.removeFirst()
      nodes.append(.set(folded(ScalarSet(scalar...scalar))))
    }
    return nodes
  }

  /// Behind a `(`.
  private mutating func group(depth: Int) throws(Defect) -> RegularNode? {
    guard accept("?") else { return try capture(named: nil, depth: depth) }
    if rest.starts(with: ["P", "<"]) || rest.starts(with: ["<"]) {
      rest = rest.dropFirst(rest.first == "P" ? 2 : 1)
      let name = rest.prefix { Self.isWord($0) }.reduce(into: "") { $0.unicodeScalars.append($1) }
      rest = rest.dropFirst(name.unicodeScalars.count)
      guard !name.isEmpty, accept(">"), names[name] == nil else {
        throw Defect(reason: "has a group whose name is empty, not closed, or there twice; RE2 knows no look-behind")
      }
      return try capture(named: name, depth: depth)
    }
    let outer = flags
    var isOn = true
    while let flag = rest.popFirst() {
      switch flag {
      case "i": flags.ignoresCase = isOn
      case "m": flags.isMultiline = isOn
      case "s": flags.dotTakesNewline = isOn
      case "-": isOn = false
      case ")": return nil
      case ":":
        let node = try choice(depth: depth + 1)
        guard accept(")") else { throw Defect(reason: "has a ( without )") }
        flags = outer
        return node
      default: throw Defect(reason: "has (?\(flag), which is none of RE2's groups, or none that is known here")
      }
    }
    throw Defect(reason: "has a ( without )")
  }

  private mutating func capture(named name: String?, depth: Int) throws(Defect) -> RegularNode {
    groupCount += 1
    guard groupCount <= Self.maximumGroupCount else { throw Defect(reason: "has more than \(Self.maximumGroupCount) groups") }
    let number = groupCount
    if let name { names[name] = number }
    let node = try choice(depth: depth + 1)
    guard accept(")") else { throw Defect(reason: "has a ( without )") }
    return .group(number, node)
  }

  private mutating func escape() throws(Defect) -> RegularNode {
    switch rest.first {
    case "A", "z", "b", "B":
      let letter = rest.removeFirst()
      return .assertion(letter == "A" ? .startOfText : letter == "z" ? .endOfText : letter == "b" ? .wordBoundary : .noWordBoundary)
    default: return .set(folded(try escapedSet()))
    }
  }

  private static let classes: [Unicode.Scalar: ScalarSet] = [
    "d": ScalarSet("0"..."9"), "w": ScalarSet("a"..."z", "A"..."Z", "0"..."9", "_"..."_"),
    "s": ScalarSet("\t"..."\n", "\u{c}"..."\r", " "..." "),
  ]

  private static let controls: [Unicode.Scalar: Unicode.Scalar] = [
    "a": "\u{7}", "f": "\u{c}", "t": "\t", "n": "\n", "r": "\r", "v": "\u{b}",
  ]

  /// Behind a `\`.
  private mutating func escapedSet() throws(Defect) -> ScalarSet {
    guard let scalar = rest.popFirst() else { throw Defect(reason: "ends with a \\") }
    if let set = Self.classes[scalar] { return set }
    if let upper = Self.classes[scalar.properties.lowercaseMapping.unicodeScalars.first ?? scalar], scalar.value < 0x80 {
      return ScalarSet(ranges: upper.complement)
    }
    if let control = Self.controls[scalar] { return ScalarSet(control...control) }
    if scalar == "x" {
      let value = try hexadecimal()
      return ScalarSet(value...value)
    }
    guard scalar.value < 0x80, !Self.isWord(scalar) || scalar == "_" else {
      throw Defect(reason: "has \\\(scalar), which RE2 does not know, or which is not known here")
    }
    return ScalarSet(scalar...scalar)
  }

  /// `41` or `{1F600}`.
  private mutating func hexadecimal() throws(Defect) -> Unicode.Scalar {
    let isBraced = accept("{")
    let digits = rest.prefix(isBraced ? 6 : 2).prefix { $0.properties.isASCIIHexDigit }
    rest = rest.dropFirst(digits.count)
    let text = digits.reduce(into: "") { $0.unicodeScalars.append($1) }
    guard isBraced ? accept("}") : digits.count == 2, let value = UInt32(text, radix: 16), let scalar = Unicode.Scalar(value) else {
      throw Defect(reason: "has a \\x without the number of a character")
    }
    return scalar
  }

  /// Behind a `[`.
  private mutating func set() throws(Defect) -> ScalarSet {
    var result = ScalarSet()
    result.isNegated = accept("^")
    var isFirst = true
    while let scalar = rest.popFirst() {
      if scalar == "]", !isFirst { return result }
      isFirst = false
      if scalar == "[", rest.first == ":" {
        result.ranges += try namedClass()
        continue
      }
      let low = scalar == "\\" ? try escapedSet() : ScalarSet(scalar...scalar)
      guard rest.first == "-", rest.dropFirst().first != "]", let start = low.single else {
        result.ranges += low.ranges
        continue
      }
      rest.removeFirst()
      guard let next = rest.popFirst() else { break }
      let high = next == "\\" ? try escapedSet() : ScalarSet(next...next)
      guard let end = high.single, start <= end else {
        throw Defect(reason: "has a range in a set that goes backwards or has no end")
      }
      result.ranges.append(start...end)
    }
    throw Defect(reason: "has a [ without ]")
  }

  private static let named: [String: ScalarSet] = [
    "alnum": ScalarSet("a"..."z", "A"..."Z", "0"..."9"), "alpha": ScalarSet("a"..."z", "A"..."Z"), "digit": ScalarSet("0"..."9"),
    "lower": ScalarSet("a"..."z"), "upper": ScalarSet("A"..."Z"), "space": ScalarSet("\t"..."\r", " "..." "),
    "xdigit": ScalarSet("0"..."9", "a"..."f", "A"..."F"), "word": ScalarSet("a"..."z", "A"..."Z", "0"..."9", "_"..."_"),
    "punct": ScalarSet("!"..."/", ":"..."@", "["..."`", "{"..."~"), "blank": ScalarSet("\t"..."\t", " "..." "),
  ]

  /// `:alpha:]`, behind the bracket.
  private mutating func namedClass() throws(Defect) -> [ClosedRange<Unicode.Scalar>] {
    rest.removeFirst()
    let isNegated = accept("^")
    let name = rest.prefix { Self.isWord($0) }.reduce(into: "") { $0.unicodeScalars.append($1) }
    rest = rest.dropFirst(name.unicodeScalars.count)
    guard let set = Self.named[name], accept(":"), accept("]") else {
      throw Defect(reason: "has a [: without the name of a class and :]")
    }
    return isNegated ? set.complement : set.ranges
  }
}

extension ScalarSet {
  init(ranges: [ClosedRange<Unicode.Scalar>]) { self.ranges = ranges }

  /// The only scalar of a set.
  fileprivate var single: Unicode.Scalar? {
    guard ranges.count == 1, ranges[0].lowerBound == ranges[0].upperBound, !isNegated else { return nil }
    return ranges[0].lowerBound
  }
}
