// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Dispatch
import Glibc

/// What happens when the process is told to end.
enum Interruption {
  /// Cancels the task on SIGINT, SIGTERM and SIGHUP, so that nothing stays mounted, says what there is to say and ends with status 130.
  static func cancelling<R: Sendable>(_ task: Task<R, any Error>, whenCancelled say: () -> Void) async throws -> R {
    let sources = [SIGINT, SIGTERM, SIGHUP].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { task.cancel() }
      source.resume()
      return source
    }
    defer { for source in sources { source.cancel() } }
    do {
      return try await task.value
    } catch is CancellationError {
      say()
      throw ExitCode(130)
    }
  }
}
