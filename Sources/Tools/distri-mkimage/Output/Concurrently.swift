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
