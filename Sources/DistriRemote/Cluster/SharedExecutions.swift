// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import Synchronization

/// Executes what several tasks want at a time once. It is cancelled with the last of them.
final class SharedExecutions: Sendable {
  private struct Running {
    var id: UInt64
    var task: Task<RemoteCluster.Execution, any Error>
    var waiterCount: Int
  }

  private struct State {
    var running: [ContentDigest: Running] = [:]
    var nextID: UInt64 = 0
  }

  private let state = Mutex(State())

  /// What the body gives, of whoever was first.
  func run(
    _ digest: ContentDigest, _ body: @escaping @Sendable () async throws -> RemoteCluster.Execution
  ) async throws -> RemoteCluster.Execution {
    let (id, task) = state.withLock { state in
      if var running = state.running[digest], !running.task.isCancelled {
        running.waiterCount += 1
        state.running[digest] = running
        return (running.id, running.task)
      }
      state.nextID += 1
      let task = Task { try await body() }
      state.running[digest] = Running(id: state.nextID, task: task, waiterCount: 1)
      return (state.nextID, task)
    }
    defer { leave(digest, id, cancels: false) }
    return try await withTaskCancellationHandler {
      let result = await task.result
      try Task.checkCancellation()
      return try result.get()
    } onCancel: {
      leave(digest, id, cancels: true)
    }
  }

  /// How many tasks wait for an execution.
  func waiterCount(of digest: ContentDigest) -> Int { state.withLock { $0.running[digest]?.waiterCount ?? 0 } }

  /// One task fewer waits.
  private func leave(_ digest: ContentDigest, _ id: UInt64, cancels: Bool) {
    let cancelled = state.withLock { state -> Task<RemoteCluster.Execution, any Error>? in
      guard var running = state.running[digest], running.id == id else { return nil }
      if !cancels {
        state.running[digest] = nil
        return nil
      }
      running.waiterCount -= 1
      state.running[digest] = running.waiterCount > 0 ? running : nil
      return running.waiterCount > 0 ? nil : running.task
    }
    cancelled?.cancel()
  }
}

#endif
