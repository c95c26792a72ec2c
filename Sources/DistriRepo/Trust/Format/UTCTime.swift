// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A second of Universal Time in the years 1970 to 9999, written `2026-11-26T15:04:05Z`.
public struct UTCTime: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// Since the start of 1970, without leap seconds.
  public let seconds: Int64

  private static let secondsPerDay: Int64 = 86_400
  private static let limit = daysBefore(10_000) * secondsPerDay

  /// Times outside the range become its ends.
  public init(seconds: Int64) { self.seconds = min(max(0, seconds), Self.limit - 1) }

  /// Parses exactly the form that is written.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count == 20, Self.punctuation.allSatisfy({ bytes[$0.0] == $0.1 }) else { return nil }
    func number(_ range: Range<Int>) -> Int64? {
      bytes[range].reduce(0) { (value: Int64?, byte) in
        guard let value, case UInt8(ascii: "0")...UInt8(ascii: "9") = byte else { return nil }
        return value * 10 + Int64(byte - UInt8(ascii: "0"))
      }
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
      let minute = number(14..<16), let second = number(17..<19),
      year >= 1970, 1...12 ~= month, 1...Self.length(of: month, in: year) ~= day, hour < 24, minute < 60, second < 60
    else { return nil }
    let days = Self.daysBefore(year) + (1..<month).reduce(0) { $0 + Self.length(of: $1, in: year) } + day - 1
    seconds = days * Self.secondsPerDay + hour * 3600 + minute * 60 + second
  }

  private static let punctuation: [(Int, UInt8)] = [
    (4, UInt8(ascii: "-")), (7, UInt8(ascii: "-")), (10, UInt8(ascii: "T")), (13, UInt8(ascii: ":")), (16, UInt8(ascii: ":")),
    (19, UInt8(ascii: "Z")),
  ]

  /// What the system's clock says.
  public static var now: UTCTime { UTCTime(seconds: Int64(time(nil))) }

  /// So many seconds later.
  public func advanced(by seconds: Int64) -> UTCTime { UTCTime(seconds: self.seconds + min(max(seconds, -Self.limit), Self.limit)) }

  /// The earlier one is smaller.
  public static func < (a: UTCTime, b: UTCTime) -> Bool { a.seconds < b.seconds }

  /// `2026-11-26T15:04:05Z`.
  public var description: String {
    var rest = seconds / Self.secondsPerDay
    var year = 1970 + rest / 366
    while Self.daysBefore(year + 1) <= rest { year += 1 }
    rest -= Self.daysBefore(year)
    var month: Int64 = 1
    while rest >= Self.length(of: month, in: year) {
      rest -= Self.length(of: month, in: year)
      month += 1
    }
    func padded(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let time = seconds % Self.secondsPerDay
    return "\(year)-\(padded(month))-\(padded(rest + 1))T"
      + "\(padded(time / 3600)):\(padded(time / 60 % 60)):\(padded(time % 60))Z"
  }

  private static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  private static func length(of month: Int64, in year: Int64) -> Int64 {
    switch month {
    case 2: isLeap(year) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// Days from the start of 1970 to that of the year.
  private static func daysBefore(_ year: Int64) -> Int64 {
    func leapYears(_ last: Int64) -> Int64 { last / 4 - last / 100 + last / 400 }
    return (year - 1970) * 365 + leapYears(year - 1) - leapYears(1969)
  }
}
