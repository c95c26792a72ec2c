// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import DistriRepo

/// JSON, times and patterns of metadata.
@Suite struct FormatTests {
  private func parse(_ text: String) throws -> JSONValue { try JSONValue(parsing: Array(text.utf8)) }

  private func canonical(_ text: String) throws -> String { String(decoding: try parse(text).canonical, as: UTF8.self) }

  @Test(arguments: [
    (#" { "b" : [ 1 , -2 , 0 ] , "a" : { } } "#, #"{"a":{},"b":[1,-2,0]}"#),
    (#"["\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\"]"#, "[\"é😀/\u{8}\u{c}\n\r\t\\\"\\\\\"]"),
    ("[true,false,null,-0]", "[true,false,null,0]"),
    ("9223372036854775807", "9223372036854775807"), ("-9223372036854775808", "-9223372036854775808"),
    // By bytes: upper case first, and what is composed of two code points is another name than the one of one.
    (
      #"{"é":1,"e\u0301":2,"Z":3,"a":4,"":5,"\ue000":6,"\ud800\udc00":7}"#,
      "{\"\":5,\"Z\":3,\"a\":4,\"e\u{301}\":2,\"é\":1,\"\u{e000}\":6,\"\u{10000}\":7}"
    ),
  ])
  func `the canonical form is OLPC's`(text: String, expected: String) throws {
    #expect(Array(try canonical(text).utf8) == Array(expected.utf8))
  }

  @Test(arguments: [
    "", " ", "{", "[1", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "{\"a\":1,\"a\":1}",
    "{\"e\\u0301\":1,\"e\u{301}\":2}", "1.0", "1e3", "01", "-", "+1", "9223372036854775808", "-9223372036854775809", "tru", "nulll",
    "[1] 2", "\"a", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\u{feff}1", "NaN",
    "\"a\\",
    "//\n1",
  ])
  func `what is not strict JSON is refused`(text: String) throws {
    #expect(throws: JSONFailure.self) { try parse(text) }
  }

  @Test(arguments: [
    [0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xe2, 0x82, 0x22], [0xff], [0x00],
  ])
  func `what is not UTF-8 is refused`(bytes: [UInt8]) throws {
    #expect(throws: JSONFailure.self) { try JSONValue(parsing: bytes) }
  }

  @Test func `depth and number of values are bounded, and errors name the place`() throws {
    let deepest = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
    #expect(try canonical(deepest) == deepest)
    let error = #expect(throws: JSONFailure.self) { try parse("[\(deepest)]") }
    #expect(error == JSONFailure(offset: 64, reason: "nested more than 64 deep"))
    #expect(throws: JSONFailure.self) { try parse(String(repeating: "[", count: 5_000_000)) }
    let many = "[" + String(repeating: "1,", count: JSONValue.maximumValueCount) + "1]"
    #expect(throws: JSONFailure.self) { try parse(many) }
  }

  /// Values of any shape, the same in each run.
  private struct Generator {
    var state: UInt64

    mutating func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }

    mutating func text() -> String {
      let scalars: [Unicode.Scalar] = ["a", "b", "\"", "\\", "\n", "\0", "é", "\u{301}", "😀", "/", "\u{7f}", "\u{ffff}"]
      return (0..<next(6)).reduce(into: "") { text, _ in text.unicodeScalars.append(scalars[next(scalars.count)]) }
    }

    mutating func value(depth: Int) -> JSONValue {
      switch next(depth > 4 ? 4 : 6) {
      case 0: return .null
      case 1: return .boolean(next(2) == 0)
      case 2: return .integer(Int64(truncatingIfNeeded: Int64(next(1 << 31)) &* Int64(next(1 << 31)) &* (next(2) == 0 ? 3 : -3)))
      case 3: return .string(text())
      case 4: return .array((0..<next(5)).map { _ in value(depth: depth + 1) })
      default:
        var object = JSONObject()
        for _ in 0..<next(5) { object[text()] = value(depth: depth + 1) }
        return .object(object)
      }
    }
  }

  @Test func `what is written is read as it was`() throws {
    var generator = Generator(state: 1)
    for _ in 0..<2000 {
      let value = generator.value(depth: 0)
      let again = try JSONValue(parsing: value.serialized)
      #expect(again.canonical == value.canonical)
      #expect(again.serialized == value.serialized)
    }
  }

  @Test func `Foundation reads the same out of what is written`() throws {
    var generator = Generator(state: 7)
    for _ in 0..<300 {
      let value = generator.value(depth: 0)
      let foundation = try JSONSerialization.jsonObject(with: Data(value.serialized), options: .fragmentsAllowed)
      let text = try JSONSerialization.data(withJSONObject: foundation, options: .fragmentsAllowed)
      #expect(try JSONValue(parsing: Array(text)).canonical == value.canonical)
    }
  }

  @Test(arguments: [
    ("1970-01-01T00:00:00Z", 0), ("2000-02-29T23:59:59Z", 951_868_799), ("2026-11-26T15:15:54Z", 1_795_706_154),
    ("2100-03-01T00:00:00Z", 4_107_542_400), ("9999-12-31T23:59:59Z", 253_402_300_799),
  ])
  func `times are read and written`(text: String, seconds: Int64) throws {
    #expect(UTCTime(text)?.seconds == seconds)
    #expect(UTCTime(seconds: seconds).description == text)
  }

  @Test(arguments: [
    "", "2026-11-26", "2026-11-26T15:15:54", "2026-11-26T15:15:54+00:00", "2026-11-26 15:15:54Z", "2026-13-01T00:00:00Z",
    "2026-02-29T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:60Z", "1969-12-31T23:59:59Z", "2026-01-01T00:00:0aZ", "+026-01-01T00:00:00Z", "2026-01-01T00:00:00.0Z",
  ])
  func `what is no time is refused`(text: String) { #expect(UTCTime(text) == nil) }

  @Test func `every day of four centuries comes back as it was`() {
    var seconds: Int64 = 12_345
    while seconds < 12_700_000_000 {
      #expect(UTCTime(UTCTime(seconds: seconds).description)?.seconds == seconds)
      seconds += 86_400 * 7
    }
  }

  @Test(arguments: [
    ("*", "a", true), ("*", "", true), ("*", "a/b", false), ("pkg/*", "pkg/nano.squashfs", true), ("pkg/*", "pkg/a/b", false),
    ("pkg/*", "pkg/", true), ("*/*", "pkg/x", true), ("a?c", "abc", true), ("a?c", "a/c", false), ("?", "é", true),
    ("?", "e\u{301}", false),
    ("*.tgz", "foo.tgz", true), ("*.tgz", "foo.tgz.asc", false), ("foo-version-?.tgz", "foo-version-a.tgz", true),
    ("[a-c]x", "bx", true), ("[!a-c]x", "bx", false), ("[!a-c]x", "dx", true), ("[]]x", "]x", true), ("[", "[", true),
    ("[ab", "[ab", true),
    ("[c-a]", "b", false), ("[a-]", "-", true), ("a*b*c", "aXbYbZc", true), ("a*b*c", "aXc", false), ("**", "x", true),
    ("a**b", "ab", true),
    ("", "", true), ("", "a", false), ("é", "e\u{301}", false),
  ])
  func `patterns match as a shell's`(pattern: String, path: String, expected: Bool) {
    #expect(PathPattern(pattern).matches(path) == expected)
  }

  @Test func `a pattern full of stars takes no time without end`() {
    let pattern = PathPattern(String(repeating: "a*", count: 500) + "b")
    let start = ContinuousClock.now
    #expect(!pattern.matches(String(repeating: "a", count: 4000)))
    #expect(ContinuousClock.now - start < .seconds(20))
  }

  @Test func `Base64 is read and written as base64 does`() throws {
    for count in 0..<70 {
      let bytes = noise(count, seed: UInt64(count))
      #expect(bytes.base64 == Array(Data(bytes).base64EncodedData()))
      #expect([UInt8](base64: bytes.base64) == bytes)
    }
    for text in ["A", "AA", "AA=", "AB==", "AAB=", "A===", "====", "AA*=", "=AAA"] {
      #expect([UInt8](base64: Array(text.utf8)) == nil)
    }
  }
}
