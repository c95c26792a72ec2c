// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// When the next server is started: at once, since everything that uses the mount waits, but a server that dies again and again must not
/// burn a processor. Times are milliseconds.
struct Backoff {
  /// How many starts are free now, and how they grow again.
  private var credit = 30.0
  private static let limit = 30.0
  private static let perMillisecond = 0.02
  private var before: Int64
  private var failedStarts = 0

  init(now: Int64) { before = now }

  /// - Parameter hadServed: whether the server that died had come as far as to serve.
  /// - Returns: how long to wait.
  mutating func delay(now: Int64, hadServed: Bool) -> Int64 {
    credit = min(Self.limit, credit + Double(max(0, now - before)) * Self.perMillisecond)
    before = now
    failedStarts = hadServed ? 0 : failedStarts + 1
    // A server that cannot even start: three at once, then 10, 20, 40 … milliseconds, at most five seconds.
    if failedStarts > 3 { return min(5000, 10 << Int64(min(failedStarts - 4, 10))) }
    if credit >= 1 {
      credit -= 1
      return 0
    }
    return 50
  }
}
