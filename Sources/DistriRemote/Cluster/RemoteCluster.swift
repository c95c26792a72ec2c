// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import SystemPackage

/// Servers of the Remote Execution API that share a storage: each may execute any action, and has what all have made.
///
/// Any number of tasks may use it.
public struct RemoteCluster: Sendable {
  /// What happens to an action, for whoever watches.
  public enum Event: Sendable, Hashable {
    /// So many bytes are sent that the server has not.
    case uploading(UInt64, RemoteEndpoint)
    /// The server has taken the action, and other actions come first.
    case queued(RemoteEndpoint)
    /// It is being executed.
    case executing(RemoteEndpoint)
    /// The server has failed, and the action is executed anew; why.
    case lost(RemoteEndpoint, String)
  }

  /// What an action came to.
  public struct Execution: Sendable {
    /// The server.
    public var endpoint: RemoteEndpoint
    /// The files that it has made; after a failure perhaps only some.
    public var result: ActionResult
    /// The command's exit status, 0 for success.
    public var status: Int
    /// What the command wrote to standard output, then to standard error; empty where that is larger than a message.
    public var output: [UInt8]
    /// Whether nothing was executed, since the result was known.
    public var isCached: Bool
  }

  private let servers: [RemoteServer]
  private let slots: ActionSlots
  let executions = SharedExecutions()
  private let options: RemoteOptions

  /// How often an action is executed before it is given up.
  private static let executionLimit = 8
  /// For how long a lost server is looked for while there are others.
  private static let impatience = Duration.seconds(3)

  /// Runs the body with connections to servers, which are made when they are needed and closed at the end.
  ///
  /// - Parameter endpoints: at least one.
  /// - Throws: ``RemoteError/invalidEndpoint(_:reason:)`` for none; ``RemoteError/invalidCredentials(_:reason:)``; what the body throws.
  public static func with<R: Sendable>(
    _ endpoints: [RemoteEndpoint], _ options: RemoteOptions = RemoteOptions(), _ body: (RemoteCluster) async throws -> R
  ) async throws -> R {
    guard !endpoints.isEmpty else { throw RemoteError.invalidEndpoint("a cluster", reason: "has no servers") }
    let servers = try endpoints.map { RemoteServer(try Connection(to: $0, options)) }
    // Not in a task group: who is cancelled still tells the servers.
    let connections = servers.map { server in Task { await server.connection.run() } }
    defer { for connection in connections { connection.cancel() } }
    return try await body(RemoteCluster(servers, options))
  }

  private init(_ servers: [RemoteServer], _ options: RemoteOptions) {
    self.servers = servers
    self.options = options
    slots = ActionSlots(servers: servers.count, limit: options.actionsPerEndpoint)
  }

  // MARK: Results

  /// What is known to come of an action; nil where it is not known.
  ///
  /// - Throws: ``RemoteError``; `CancellationError`.
  public func result(of action: Action) async throws -> ActionResult? {
    let messages = try ActionMessages(action)
    return try await eachServer { blobs in
      try await ActionCache(connection: blobs.connection).result(of: action, digest: messages.digest)
    }
  }

  /// Tells the servers what has come of an action on this machine.
  ///
  /// - Parameter contents: where the result's files are.
  /// - Throws: ``RemoteError/unsupported(_:feature:)`` where clients may not; ``RemoteError``; `CancellationError`.
  public func add(_ result: ActionResult, of action: Action, contents: [TreePath: FilePath]) async throws {
    let messages = try ActionMessages(action)
    try await eachServer { blobs in
      guard blobs.capabilities.takesResults else {
        throw RemoteError.unsupported(blobs.endpoint, feature: "takes no results from clients")
      }
      var sent = messages.blobs.filter { $0.value.content != .elsewhere }
      for (path, digest) in result.files {
        if let file = contents[path] { sent[digest] = Blob(digest: digest, content: .file(file)) }
      }
      let missing = try await blobs.missing(of: sent.keys)
      try await blobs.upload(missing.compactMap { sent[$0] })
      try await ActionCache(connection: blobs.connection).store(result, of: messages.digest)
    }
  }

  /// What names the action.
  ///
  /// - Throws: ``RemoteError/invalidAction(_:reason:)``.
  public func digest(of action: Action) throws(RemoteError) -> ContentDigest { try ActionMessages(action).digest }

  // MARK: Execution

  /// Has an action executed, by whichever server has room, again by another where one is lost or cannot. The same action asked for twice at a time is
  /// executed once. A command that fails is a result. Cancelled, it is cancelled on the server.
  ///
  /// - Parameter skipsCache: executes it even when the result is known.
  /// - Throws: ``RemoteError``; `CancellationError`.
  public func execute(
    _ action: Action, skipsCache: Bool = false, report: @escaping @Sendable (Event) -> Void = { _ in }
  ) async throws -> Execution {
    let messages = try ActionMessages(action)
    return try await executions.run(messages.digest) {
      try await execute(action, messages, skipsCache: skipsCache, report)
    }
  }

  private func execute(
    _ action: Action, _ messages: ActionMessages, skipsCache: Bool, _ report: @escaping @Sendable (Event) -> Void
  ) async throws -> Execution {
    let policy = RetryPolicy(limit: options.retryTimeout)
    var start = ContinuousClock.now
    var failures = 0
    var unable = 0
    var attempts = 0
    while true {
      attempts += 1
      let begin = ContinuousClock.now
      let (endpoint, attempt): (RemoteEndpoint, Result<Execution, RemoteError>) = try await slots.withSlot { index in
        let server = servers[index]
        let endpoint = server.connection.endpoint
        do {
          let patience = servers.count == 1 ? options.retryTimeout : min(options.retryTimeout, Self.impatience)
          var response = try await server.execute(messages, skipsCache: skipsCache, patience: patience, report: report)
          // Some servers keep failures, too, and what was missing may be there now.
          if response.cachedResult, response.result.exitCode != 0 {
            response = try await server.execute(messages, skipsCache: true, patience: patience, report: report)
          }
          slots.trust(index)
          return (endpoint, .success(try await execution(of: action, response, on: server)))
        } catch let error as RemoteError where error.mayPassElsewhere {
          slots.avoid(index)
          return (endpoint, .failure(error))
        }
      }
      switch attempt {
      case .success(let execution):
        // A machine that cannot run builds, or was being shut down: another one may do better, once each.
        guard [.machineUnable, .killed].contains(ActionEnd(status: Int32(clamping: execution.status))) else { return execution }
        unable += 1
        if unable >= servers.count { return execution }
        if let index = servers.firstIndex(where: { $0.connection.endpoint == execution.endpoint }) { slots.avoid(index) }
        report(.lost(execution.endpoint, "the command ended with status \(execution.status)"))
      case .failure(let error):
        // One that was lost after hours has not been failing for hours.
        if ContinuousClock.now - begin > options.retryTimeout { (start, failures) = (.now, 0) }
        failures += 1
        // All have their turn, whatever time that takes; then it is waited for the first that is back.
        if failures < servers.count, attempts < Self.executionLimit + servers.count {
          report(.lost(endpoint, "\(error)"))
          continue
        }
        guard error.mayPass, attempts < Self.executionLimit + servers.count,
          let delay = policy.delay(afterFailures: failures, elapsed: ContinuousClock.now - start)
        else {
          throw error
        }
        report(.lost(endpoint, "\(error)"))
        try await Task.sleep(for: delay)
      }
    }
  }

  private func execution(of action: Action, _ response: REAPI_ExecuteResponse, on server: RemoteServer) async throws -> Execution {
    let endpoint = server.connection.endpoint
    let result = response.result
    let files = try ActionResult(result, of: action, from: endpoint, call: "Execute")
    var output: [UInt8] = []
    if result.exitCode != 0 {
      let blobs = try await server.blobs()
      for (raw, digest) in [([UInt8](result.stdoutRaw), result.stdoutDigest), ([UInt8](result.stderrRaw), result.stderrDigest)] {
        if !raw.isEmpty {
          output += raw
        } else if let digest = digest.contentDigest, digest.byteCount <= UInt64(blobs.capabilities.batchLimit) {
          output += try await blobs.contents(of: digest, limit: blobs.capabilities.batchLimit)
        }
      }
    }
    return Execution(
      endpoint: endpoint, result: files, status: Int(result.exitCode), output: output, isCached: response.cachedResult)
  }

  /// Asks servers one after the other until one answers.
  private func eachServer<R>(_ body: (BlobStore) async throws -> R) async throws -> R {
    let order = slots.order
    for index in order.dropLast() {
      do {
        return try await body(try await servers[index].blobs(patience: Self.impatience))
      } catch RemoteError.missingContent {
        continue
      } catch let error as RemoteError where error.mayPassElsewhere {
        slots.avoid(index)
      }
    }
    return try await body(try await servers[order[order.count - 1]].blobs())
  }
}

extension RemoteCluster: ContentFetcher {
  /// Brings a file from whichever server has it, verified.
  ///
  /// - Throws: ``RemoteError/missingContent(_:_:)`` and the others; `CancellationError`.
  public func fetch(_ digest: ContentDigest, to path: FilePath) async throws {
    try await eachServer { try await $0.fetch(digest, to: path) }
  }
}

extension RemoteError {
  /// Whether the same may succeed a little later.
  var mayPass: Bool {
    guard case .callFailed(_, _, let status, _) = self else { return false }
    return [
      "cancelled", "unknown", "deadlineExceeded", "resourceExhausted", "aborted", "internalError", "unavailable",
      "failedPrecondition",
    ].contains(status)
  }

  /// Whether another server may do better.
  var mayPassElsewhere: Bool {
    switch self {
    case .missingContent, .invalidAnswer, .unsupported: true
    default: mayPass
    }
  }
}

#endif
