// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

/// How long to wait before a call is tried again: twice as long each time, by chance up to half less, so that clients that lost the
/// same server do not come back at once.
struct RetryPolicy: Sendable {
  /// Before the second try.
  var first = Duration.milliseconds(100)
  /// At most, between two tries.
  var longest = Duration.seconds(5)
  /// No try starts after so much time without success.
  var limit: Duration

  /// What to wait after so many failures, at least one; nil to give up.
  ///
  /// - Parameter chance: from 0 to 1.
  func delay(afterFailures count: Int, elapsed: Duration, chance: Double = .random(in: 0...1)) -> Duration? {
    let whole = min(longest, first * (1 << min(count - 1, 20)))
    let delay = whole * (1 - chance / 2)
    return elapsed + delay <= limit ? delay : nil
  }
}

#endif
