// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

/// What a server says that it can.
struct Capabilities: Sendable, Hashable {
  /// The most bytes of content in one message.
  var batchLimit: Int
  /// Whether files may be sent and taken compressed with zstd.
  var hasZstd: Bool
  /// Whether it executes actions.
  var executes: Bool
  /// Whether clients may add results to its action cache.
  var takesResults: Bool

  /// Room for what is around the contents in a message.
  private static let messageOverhead = 64 << 10

  /// Asks the server, again while it cannot be reached.
  ///
  /// - Throws: ``RemoteError/unsupported(_:feature:)`` for a server that speaks another version, or names contents otherwise;
  ///   ``RemoteError/callFailed(_:call:status:message:)``.
  init(of connection: Connection) async throws {
    let endpoint = connection.endpoint
    let answer = try await connection.retrying {
      try await connection.call(RemoteMethods.getCapabilities, .with { $0.instanceName = endpoint.instance })
    }
    try self.init(answer, of: endpoint)
  }

  init(_ answer: REAPI_ServerCapabilities, of endpoint: RemoteEndpoint) throws(RemoteError) {
    // A server that says nothing is from before there were versions, of which 2 was the first.
    guard !answer.hasLowApiVersion || answer.lowApiVersion.major <= 2,
      !answer.hasHighApiVersion || answer.highApiVersion.major >= 2
    else {
      throw .unsupported(endpoint, feature: "does not speak version 2 of the Remote Execution API")
    }
    guard answer.hasCacheCapabilities, answer.cacheCapabilities.digestFunctions.contains(.sha256) else {
      throw .unsupported(endpoint, feature: "does not name contents by their SHA-256")
    }
    let cache = answer.cacheCapabilities
    let most = Connection.messageLimit - Self.messageOverhead
    // 0 means that there is no limit but that of messages.
    batchLimit = cache.maxBatchTotalSizeBytes > 0 ? Int(min(cache.maxBatchTotalSizeBytes, Int64(most))) : most
    hasZstd = cache.supportedCompressors.contains(.zstd)
    takesResults = cache.actionCacheUpdateCapabilities.updateEnabled
    let execution = answer.executionCapabilities
    executes =
      answer.hasExecutionCapabilities && execution.execEnabled
      && (execution.digestFunction == .sha256 || execution.digestFunctions.contains(.sha256))
  }
}

#endif
