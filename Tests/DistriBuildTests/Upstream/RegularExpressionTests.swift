// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import Testing

/// What is expected here is what Go's `regexp` says.
@Suite struct RegularExpressionTests {
  private func matches(_ pattern: String, _ text: String) throws -> [[String?]] { try RegularExpression(pattern).matches(in: text) }

  @Test(arguments: [
    // The rules of real definitions.
    ("NSS_([0-9]+_[0-9]+(?:_[0-9]+)?)_RTM", "<a>NSS_3_51_RTM</a> NSS_3_51_1_RTM NSS_x_RTM", ["3_51", "3_51_1"]),
    ("PulseAudio ([^ ]+)</a> has been released", "PulseAudio 13.0</a> has been released, PulseAudio 12</a> was", ["13.0"]),
    ("Download Latest Stable Source \\(([^)]+)\\)", "Download Latest Stable Source (5.30.2)", ["5.30.2"]),
    ("v([0-9.a-z-]+)\\.tar\\.gz", "v1.0.0-rc9.tar.gz", ["1.0.0-rc9"]),
    (
      "stable</a> release is\\s*<a href=\\\"/dist/sudo-([^\\\"]+)\\.tar",
      "stable</a> release is\n <a href=\"/dist/sudo-1.9p1.tar.gz\"", ["1.9p1"]
    ),
    // Greedy and not, choices in their order, repetitions.
    ("(a|ab)(?:c|bcd)?", "abcd", ["a"]), ("(ab|a)", "ab", ["ab"]), ("<(.+)>", "<a><b>", ["a><b"]),
    ("<(.+?)>", "<a><b>", ["a", "b"]),
    ("(a{2,3})", "aaaaaa", ["aaa", "aaa"]), ("(a{2,3}?)", "aaaa", ["aa", "aa"]), ("(a{2})", "aaaaa", ["aa", "aa"]),
    ("(a{,2})", "a{,2}", ["a{,2}"]), ("x(a*)", "xaax", ["aa", ""]),
    ("((?:|a)*)b?", "aab", ["", "", ""]), ("((?:a??)+b)", "aab", ["aab"]), ("((?:a|)+)", "aab", ["aa", ""]),
    // Classes and escapes.
    ("(\\d+)\\D", "12a3", ["12"]), ("([[:alpha:]_]+)", "a_b1c", ["a_b", "c"]), ("([^[:digit:]]+)", "ab1", ["ab"]),
    ("([]a]+)", "a]b", ["a]"]),
    ("([a\\-z]+)", "a-zb", ["a-z"]), ("([\\w.-]+)", "a.b-c d", ["a.b-c", "d"]), ("(\\x41\\x{42})", "AB", ["AB"]),
    ("(\\Qa.b\\E+)", "a.bb", ["a.bb"]),
    ("(\\S+)", " é ü", ["é", "ü"]), ("([^a]+)", "aéa", ["é"]),
    // Flags and assertions.
    ("(?i)(ABC)", "aBc", ["aBc"]), ("(?i:(a))b", "AB Ab", ["A"]), ("(?s)a(.)b", "a\nb", ["\n"]), ("a(.)b", "a\nb", []),
    ("(?m)^(\\w)$", "a\nb\ncd", ["a", "b"]), ("^(a)", "aa", ["a"]), ("(a)$", "aa", ["a"]), ("\\b(a)\\b", "a ba ab a", ["a", "a"]),
    ("\\B(a)", "a ba", ["a"]), ("(?P<x>a)(?<y>b)", "ab", ["a"]),
  ])
  func `the first group is what Go's is`(pattern: String, text: String, expected: [String]) throws {
    #expect(try matches(pattern, text).compactMap { $0[1] } == expected)
  }

  @Test func `empty matches come between others, not behind them`() throws {
    #expect(try matches("a*", "baac").map { $0[0] } == ["", "aa", ""])
    #expect(try matches("", "ab").count == 3)
    #expect(try matches("x", "").isEmpty)
    #expect(try matches("(a)|b", "b") == [["b", nil]])
  }

  @Test(arguments: [
    ("_", ".", "1_69_0", "1.69.0"), ("^v(\\d+)-(\\d+)$", "$1.${2}", "v1-2", "1.2"), ("(?P<a>x)", "[${a}]$$", "x", "[x]$"),
    ("x", "$1", "x", ""), ("a*", "-", "baac", "-b-c-"), ("(a)(b)?", "$2$1", "ab a", "ba a"),
  ])
  func `matches are replaced as Go does`(pattern: String, replacement: String, text: String, expected: String) throws {
    #expect(try RegularExpression(pattern).replacingMatches(in: text, with: replacement) == expected)
  }

  @Test(arguments: [
    "(", ")", "a**", "*a", "[a", "[b-a]", "[[:x:]]", "\\", "\\1", "\\pL", "(?=a)", "(?<!a)", "(?P<a>b)(?P<a>c)", "a{1001}",
    "a{3,2}", "\\x4",
    String(repeating: "(", count: 40) + String(repeating: ")", count: 40), String(repeating: "a", count: 2000),
    "((a{100}){100}){100}",
    "((((){1000}){1000}){1000}){1000}", "a(?i", "(?z)a",
  ])
  func `what RE2 does not take, or what is too large, is refused`(pattern: String) {
    #expect(throws: RegularExpression.Defect.self) { try RegularExpression(pattern) }
  }

  /// A backtracking matcher needs 2 to the power of 5,000 steps for these.
  @Test(arguments: ["(a*)*b", "(a+a+)+b", "(a|a)*b", "(a|aa)+b", "(?:a?){50}a{50}b", "(.*)(.*)(.*)(.*)b", "^(([a-z])+.)+[A-Z]b$"])
  func `no expression takes exponential time`(pattern: String) throws {
    let text = String(repeating: "a", count: 2000)
    // Where a search starts anew at each letter, that is the square of the length at most.
    let result = Result { try matches(pattern, text) }
    if case .success(let found) = result { #expect(found.isEmpty) }
    #expect(throws: RegularExpression.Defect.self) { try RegularExpression(pattern).matches(in: text, stepLimit: 1000) }
  }
}
