// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import TestSupport
import Testing

@testable import DistriBuild

/// What Go's `filepath.Match` says of these, checked with go 1.19. Ours cleans patterns as paths are cleaned (`out//lib/./x`), and refuses those
/// that no path can match because of a `/` in brackets or behind a backslash.
@Suite struct GlobTests {
  @Test(arguments: [
    ("abc", "abc", true), ("*", "abc", true), ("*c", "abc", true), ("a*", "a", true), ("a*", "abc", true), ("a*/b", "abc/b", true),
    ("a*/b", "a/c/b", false), ("*", "a/b", false), ("?", "a", true), ("?", "é", true), ("a?b", "a/b", false),
    ("a??b", "aéb", false),
    ("ab[c]", "abc", true), ("ab[b-d]", "abc", true), ("ab[e-g]", "abc", false), ("ab[^c]", "abc", false),
    ("ab[^b-d]", "abc", false),
    ("ab[^e-g]", "abc", true), ("a[^b]c", "ac", false), ("[z-a]", "m", false), ("[z-ab]", "b", true), ("a[!b]", "a!", true),
    (#"a\*b"#, "a*b", true), (#"a\*b"#, "ab", false), (#"a\?b"#, "axb", false), (#"[\]a]"#, "]", true), (#"[\-]"#, "-", true),
    (#"[x\-]"#, "-", true), (#"[x\-]"#, "z", false), (#"\a"#, "a", true), ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
    ("a*b?c*x", "abxbbxdbxebxczzx", true), ("a*b?c*x", "abxbbxdbxebxczzy", false), ("*x", "xxx", true), ("*.so*", ".so", true),
    ("out//lib/./x", "out/lib/x", true), ("lib", "lib/x", false), ("[*]", "*", true), ("[*]", "a", false), ("{a,b}", "a", false),
  ])
  func `a pattern takes what it takes in Go`(pattern: String, path: String, expected: Bool) throws {
    #expect(try Glob(pattern).matches(TreePath(parsing: path)) == expected)
  }

  @Test(arguments: [
    ("[", "without ]"), ("[^", "without ]"), ("[a", "without ]"), ("[a-", "without ]"), ("a[", "without ]"), ("[]", "write \\]"),
    ("[]a]", "write \\]"), ("[-]", "write \\-"), ("[x-]", "write \\]"), ("[-x]", "write \\-"), ("[a-b-c]", "write \\-"),
    (#"a\"#, "nothing behind it"), (#"[a\"#, "nothing behind it"), ("[a/b]", "without ]"), (#"a\/b"#, "nothing behind it"),
  ])
  func `what Go refuses is refused, with the place in the definition`(pattern: String, reason: String) {
    #expect {
      try Glob(pattern)
    } throws: {
      ($0 as? Glob.Defect)?.reason.contains(reason) == true
    }
    let text = "split_package: {\n  claim: { glob: '\(pattern.replacing("\\", with: #"\\"#))' }\n}"
    #expect {
      try parse(text)
    } throws: { error in
      guard case .invalidDefinition(_, line: 2, column: 18, let found) = error as? BuildError else { return false }
      return found.hasPrefix("glob «") && found.contains(reason)
    }
  }

  @Test func `a hostile pattern takes no time`() throws {
    let pattern = try Glob(String(repeating: "a*", count: 2000) + "b")
    #expect(try !pattern.matches(TreePath(parsing: String(repeating: "a", count: 250))))
    #expect(throws: Glob.Defect.self) { try Glob(String(repeating: "*", count: 5000)) }
  }
}
