// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import GRPCCore
import Synchronization

/// How far an execution is, as its server tells.
final class ExecutionProgress: Sendable {
  /// What becomes of an action on a server.
  enum Stage: Sendable, Hashable {
    case queued
    case executing
  }

  struct State {
    /// The server's name for what it does; empty before it has one, and when it is done.
    var operation = ""
    var updates: UInt64 = 0
    var executions = 0
    fileprivate var stage: Stage?
  }

  let state = Mutex(State())

  private static let nameLimit = 4096

  /// Takes news, and reports a new stage.
  ///
  /// - Returns: the response of an operation that is done; nil for one that goes on.
  /// - Throws: ``RemoteError/invalidAnswer(_:call:reason:)``; `CallError` for an operation that failed.
  func take(_ update: Google_Longrunning_Operation, from endpoint: RemoteEndpoint, report: (Stage) -> Void) throws
    -> REAPI_ExecuteResponse?
  {
    let stage: Stage? =
      switch try? REAPI_ExecuteOperationMetadata(unpackingAny: update.metadata).stage {
      case .queued: .queued
      case .executing: .executing
      default: nil
      }
    let isNew = state.withLock { state in
      if !update.name.isEmpty, update.name.utf8.count <= Self.nameLimit { state.operation = update.name }
      defer { if let stage { state.stage = stage } }
      // Only news counts as progress: a server cannot keep a client by repeating itself.
      guard let stage, stage != state.stage else { return false }
      state.updates += 1
      return true
    }
    if isNew, let stage { report(stage) }
    guard update.done else { return nil }
    state.withLock { $0.operation = "" }
    func refuse(_ reason: String) -> RemoteError { .invalidAnswer(endpoint, call: "Execute", reason: reason) }
    switch update.result {
    case .error(let status):
      throw CallError(endpoint: endpoint, call: "Execute", RPCError(code: status.rpcCode ?? .unknown, message: status.message))
    case .response(let any):
      guard let response = try? REAPI_ExecuteResponse(unpackingAny: any) else {
        throw refuse("it is no response to an execution")
      }
      return response
    case nil: throw refuse("it has neither a response nor an error")
    }
  }
}

#endif
