// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import GRPCCore
import Synchronization

/// One execution of an action on one server: begun, followed over lost connections, and cancelled with the task.
struct ActionExecution: Sendable {
  let connection: Connection
  let digest: ContentDigest
  /// Whether it is executed even when the action cache has a result.
  let skipsCache: Bool

  /// How often a server may forget the same action.
  private static let executionLimit = 8

  /// Executes the action.
  ///
  /// - Throws: ``RemoteError/callFailed(_:call:status:message:)`` when the server is lost, or refuses; `CancellationError`.
  func run(stage: @escaping @Sendable (ExecutionProgress.Stage) -> Void) async throws -> REAPI_ExecuteResponse {
    let progress = ExecutionProgress()
    let deadline = ContinuousClock.now + connection.options.actionTimeout
    do {
      return try await connection.retrying(progress: { progress.state.withLock { $0.updates } }) {
        let operation = progress.state.withLock { $0.operation }
        do {
          return try await follow(operation, until: deadline, progress, stage)
        } catch let error as CallError where error.code == .notFound && !operation.isEmpty {
          // The server was replaced by one that knows nothing of it.
          progress.state.withLock { $0.operation = "" }
          throw CallError(endpoint: error.endpoint, call: error.call, RPCError(code: .unavailable, message: error.message))
        }
      }
    } catch {
      let operation = progress.state.withLock { $0.operation }
      if Task.isCancelled || error is RemoteError, !operation.isEmpty { await cancel(operation) }
      throw error
    }
  }

  private func follow(
    _ operation: String, until deadline: ContinuousClock.Instant, _ progress: ExecutionProgress,
    _ stage: @escaping @Sendable (ExecutionProgress.Stage) -> Void
  ) async throws -> REAPI_ExecuteResponse {
    let rest = deadline - .now
    guard rest > .zero else {
      throw RemoteError.callFailed(
        connection.endpoint, call: "Execute", status: "deadlineExceeded",
        message: "the action took longer than \(connection.options.actionTimeout)")
    }
    let take: @Sendable (RPCAsyncSequence<Google_Longrunning_Operation, any Error>) async throws -> REAPI_ExecuteResponse = {
      updates in
      for try await update in updates {
        if let response = try progress.take(update, from: connection.endpoint, report: stage) { return response }
      }
      throw CallError(
        endpoint: connection.endpoint, call: "Execute",
        RPCError(code: .unavailable, message: "the server stopped telling of the action"))
    }
    if !operation.isEmpty {
      return try await connection.receive(RemoteMethods.waitExecution, .with { $0.name = operation }, timeout: rest, take)
    }
    let count = progress.state.withLock { state in
      state.executions += 1
      return state.executions
    }
    guard count <= Self.executionLimit else {
      throw RemoteError.invalidAnswer(
        connection.endpoint, call: "WaitExecution", reason: "it forgot the action \(count - 1) times")
    }
    let request = REAPI_ExecuteRequest.with {
      $0.instanceName = connection.endpoint.instance
      $0.actionDigest = REAPI_Digest(digest)
      $0.skipCacheLookup = skipsCache
      $0.digestFunction = .sha256
    }
    return try await connection.receive(RemoteMethods.execute, request, timeout: rest, take)
  }

  /// Tells the server that nobody wants the result. Those who cannot cancel see that the stream has ended.
  private func cancel(_ operation: String) async {
    await Task {
      _ = try? await connection.call(RemoteMethods.cancelOperation, .with { $0.name = operation }, timeout: .seconds(2))
    }.value
  }
}

#endif
