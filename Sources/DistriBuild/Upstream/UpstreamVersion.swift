// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A version as upstream writes it, for the one question that is asked of it: which of several is the newest.
///
/// Versions of packages are never compared by this; their revision alone counts.
public struct UpstreamVersion: Sendable, Hashable, CustomStringConvertible {
  /// As it is written.
  public let text: String
  private let parts: [Part]
  private let semantic: Semantic?

  /// Longer ones are no versions.
  static let maximumByteCount = 128

  /// Takes any text.
  public init(_ text: String) {
    self.text = text
    parts = Self.parts(of: text)
    semantic = Semantic(text)
  }

  /// The text.
  public var description: String { text }

  /// Whether upstream means it as something before a release: `2.0-rc1`, `3.12.0a1`, `1.0-SNAPSHOT`.
  public var isPrerelease: Bool { parts.contains { if case .early = $0 { true } else { false } } }

  /// The newest of several that is newer than the present one; nil when there is none.
  ///
  /// Something before a release counts only where the present version is one. Versions that are semantic all are compared as such, others
  /// by their numbers and words.
  ///
  /// - Parameter forcesSemantic: whether what is no semantic version (as Go has it, which takes `v1.2` too) is passed over.
  public static func newest(of texts: some Sequence<String>, after present: String, forcesSemantic: Bool = false) -> String? {
    let present = UpstreamVersion(present)
    var versions = texts.filter { !$0.isEmpty && $0.utf8.count <= maximumByteCount }.map(UpstreamVersion.init)
    if forcesSemantic { versions.removeAll { $0.semantic == nil } }
    let isSemantic = forcesSemantic || (versions + [present]).allSatisfy { $0.semantic?.isWhole == true && !$0.isOddlySemantic }
    let takesEarly = present.isPrerelease(isSemantic)
    let order: (UpstreamVersion, UpstreamVersion) -> Bool = { first, second in
      if isSemantic, let first = first.semantic, let second = second.semantic { return first < second }
      return first.parts.lexicographicallyPrecedes(second.parts)
    }
    let candidates = versions.filter { takesEarly || !$0.isPrerelease(isSemantic) }
    guard let newest = candidates.max(by: order), order(present, newest) else { return nil }
    return newest.text
  }

  /// Whether this looks like another version of the same thing, not like a word behind one (`7.2-docs`) or the date of a snapshot among
  /// releases.
  func resembles(_ present: UpstreamVersion) -> Bool {
    let known = Set(present.words).union(Self.usualWords)
    return words.allSatisfy { $0.utf8.count == 1 || known.contains($0) } && (firstDigitCount < 6 || present.firstDigitCount >= 6)
  }

  private static let usualWords: Set<String> = ["post", "patch", "final", "release"]

  private var words: [String] { parts.compactMap { if case .word(let word) = $0 { word } else { nil } } }

  private var firstDigitCount: Int {
    if case .number(let digits) = parts.first { digits.text.utf8.count } else { 0 }
  }

  /// `2.1.12-stable` is a semantic version before a release only to the letter.
  private var isOddlySemantic: Bool {
    guard let first = semantic?.early.first, first.utf8.first.map({ (0x30...0x39).contains($0) }) == false else { return false }
    return !isPrerelease
  }

  private func isPrerelease(_ isSemantic: Bool) -> Bool {
    if isSemantic, let semantic { return !semantic.early.isEmpty }
    return isPrerelease
  }
}

extension UpstreamVersion {
  /// In the order of versions: what comes before a release, the end of the version, a word, a number.
  private enum Part: Sendable, Hashable, Comparable {
    case early(Int)
    case end
    case word(String)
    case number(Digits)

    static func < (first: Part, second: Part) -> Bool {
      switch (first, second) {
      case (.early(let first), .early(let second)): first < second
      case (.word(let first), .word(let second)): first < second
      case (.number(let first), .number(let second)): first < second
      default: first.rank < second.rank
      }
    }

    private var rank: Int {
      switch self {
      case .early: 0
      case .end: 1
      case .word: 2
      case .number: 3
      }
    }
  }

  /// A number of any length.
  fileprivate struct Digits: Sendable, Hashable, Comparable {
    let text: String

    init(_ digits: some Collection<UInt8>) { text = String(decoding: digits.drop { $0 == 0x30 }, as: UTF8.self) }

    static func < (first: Digits, second: Digits) -> Bool {
      (first.text.utf8.count, first.text) < (second.text.utf8.count, second.text)
    }
  }

  private static let earlyWords = [
    "git": 0, "snapshot": 0, "nightly": 0, "dev": 1, "devel": 1, "alpha": 2, "beta": 3, "pre": 4, "preview": 4, "prerelease": 4,
    "test": 4, "rc": 5,
  ]

  private static func parts(of text: String) -> [Part] {
    var rest = Array(text.utf8.prefix(maximumByteCount + 1))[...]
    // `v1.2` is 1.2.
    if rest.first == UInt8(ascii: "v"), rest.dropFirst().first.map(isDigit) == true { rest.removeFirst() }
    var result: [Part] = []
    while let byte = rest.first {
      if isDigit(byte) {
        let digits = rest.prefix(while: isDigit)
        rest = rest.dropFirst(digits.count)
        result.append(.number(Digits(digits)))
      } else if isLetter(byte) {
        let letters = rest.prefix(while: isLetter)
        let followsDigit = result.last.map { if case .number = $0 { true } else { false } } == true
        rest = rest.dropFirst(letters.count)
        let word = String(decoding: letters, as: UTF8.self).lowercased()
        // As Python has them: 3.12.0a1. A letter with nothing behind it comes after a release.
        let isNumbered = followsDigit && rest.first.map(isDigit) == true
        if let rank = earlyWords[word] ?? (isNumbered ? ["a": 2, "b": 3][word] : nil) {
          result.append(.early(rank))
        } else {
          result.append(.word(word))
        }
      } else {
        rest.removeFirst()
      }
    }
    return result + [.end]
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  private static func isLetter(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) }
}

extension UpstreamVersion {
  /// A semantic version: https://semver.org, with the shorter forms that Go takes.
  private struct Semantic: Sendable, Hashable, Comparable {
    /// One to three.
    let numbers: [Digits]
    /// What stands behind the `-`.
    let early: [String]

    /// Whether all three numbers are there.
    var isWhole: Bool { numbers.count == 3 }

    init?(_ text: String) {
      var rest = text[...]
      guard text.utf8.count <= maximumByteCount else { return nil }
      if rest.first == "v" { rest.removeFirst() }
      if let plus = rest.firstIndex(of: "+") {
        guard Self.areIdentifiers(rest[rest.index(after: plus)...]) else { return nil }
        rest = rest[..<plus]
      }
      let dash = rest.firstIndex(of: "-")
      let core = rest[..<(dash ?? rest.endIndex)].split(separator: ".", omittingEmptySubsequences: false)
      guard (1...3).contains(core.count), core.allSatisfy(Self.isNumber) else { return nil }
      numbers = core.map { Digits(Array($0.utf8)) }
      guard let dash else {
        early = []
        return
      }
      let identifiers = rest[rest.index(after: dash)...]
      guard core.count == 3, Self.areIdentifiers(identifiers) else { return nil }
      early = identifiers.split(separator: ".").map(String.init)
    }

    private static func isNumber(_ text: Substring) -> Bool {
      !text.isEmpty && text.utf8.allSatisfy(isDigit) && (text == "0" || text.first != "0")
    }

    private static func areIdentifiers(_ text: Substring) -> Bool {
      text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy {
        !$0.isEmpty && $0.utf8.allSatisfy { isDigit($0) || isLetter($0) || $0 == UInt8(ascii: "-") }
      }
    }

    static func < (first: Semantic, second: Semantic) -> Bool {
      for index in 0..<3 {
        let one = index < first.numbers.count ? first.numbers[index] : Digits([])
        let other = index < second.numbers.count ? second.numbers[index] : Digits([])
        if one != other { return one < other }
      }
      if first.early.isEmpty || second.early.isEmpty { return !first.early.isEmpty && second.early.isEmpty }
      for (one, other) in zip(first.early, second.early) where one != other {
        switch (isNumber(one[...]), isNumber(other[...])) {
        case (true, true): return Digits(Array(one.utf8)) < Digits(Array(other.utf8))
        case (let isNumber, let isOther) where isNumber != isOther: return isNumber
        default: return one < other
        }
      }
      return first.early.count < second.early.count
    }
  }
}
