// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// Runs a body for each number below the count, on as many threads as there are processors, and returns when all have ended.
///
/// - Throws: of the errors that it has thrown, that of the lowest number.
func concurrently(_ count: Int, _ body: @Sendable (Int) throws -> Void) throws {
  let failures = Mutex<[Int: any Error]>([:])
  DispatchQueue.concurrentPerform(iterations: count) { index in
    do {
      try body(index)
    } catch {
      failures.withLock { $0[index] = error }
    }
  }
  if let first = failures.withLock({ $0.min { $0.key < $1.key } }) { throw first.value }
}

/// Runs both bodies at once and returns when both have ended.
///
/// - Throws: as ``concurrently(_:_:)``.
func concurrently<First: Sendable, Second: Sendable>(
  _ first: @Sendable () throws -> First, _ second: @Sendable () throws -> Second
) throws -> (First, Second) {
  let results = Mutex<(First?, Second?)>((nil, nil))
  try concurrently(2) { index in
    if index == 0 {
      let made = try first()
      results.withLock { $0.0 = made }
    } else {
      let made = try second()
      results.withLock { $0.1 = made }
    }
  }
  guard case (let first?, let second?) = results.withLock(\.self) else { throw CancellationError() }
  return (first, second)
}
