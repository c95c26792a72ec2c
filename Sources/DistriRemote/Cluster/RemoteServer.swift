// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import GRPCCore
import Synchronization

/// A server of a cluster: its connection, and what it can, once it was asked.
final class RemoteServer: Sendable {
  let connection: Connection
  private let capabilities = Mutex<Capabilities?>(nil)

  /// For how long a server is looked for that has never answered: more likely than that it is about to be back, its name is wrong.
  private static let introduction = Duration.seconds(10)
  /// How often a server may lose inputs between their upload and the execution.
  private static let uploadLimit = 3

  init(_ connection: Connection) { self.connection = connection }

  /// The server's storage.
  ///
  /// - Parameter patience: for how long a failing call is tried again; nil as the options say.
  /// - Throws: as ``Capabilities/init(of:)``.
  func blobs(patience: Duration? = nil) async throws -> BlobStore {
    var connection = connection
    if let patience { connection.options.retryTimeout = patience }
    if let known = capabilities.withLock({ $0 }) { return BlobStore(connection: connection, capabilities: known) }
    var stranger = connection
    stranger.options.retryTimeout = min(connection.options.retryTimeout, Self.introduction)
    let found = try await Capabilities(of: stranger)
    capabilities.withLock { $0 = found }
    return BlobStore(connection: connection, capabilities: found)
  }

  /// Has the server execute an action, with all that it lacks.
  ///
  /// - Throws: ``RemoteError``; `CancellationError`.
  func execute(
    _ messages: ActionMessages, skipsCache: Bool, patience: Duration, report: @escaping @Sendable (RemoteCluster.Event) -> Void
  ) async throws -> REAPI_ExecuteResponse {
    let blobs = try await blobs(patience: patience)
    let endpoint = connection.endpoint
    guard blobs.capabilities.executes else {
      throw RemoteError.unsupported(endpoint, feature: "executes nothing; it is a cache only")
    }
    let execution = ActionExecution(connection: blobs.connection, digest: messages.digest, skipsCache: skipsCache)
    for _ in 0..<Self.uploadLimit {
      try await upload(messages.blobs, to: blobs, report: report)
      do {
        let response = try await execution.run { report($0 == .queued ? .queued(endpoint) : .executing(endpoint)) }
        guard let code = response.status.rpcCode else { return response }
        throw RemoteError.callFailed(endpoint, call: "Execute", status: "\(code)", message: response.status.message)
      } catch RemoteError.callFailed(_, _, "failedPrecondition", _) {
        continue
      }
    }
    throw RemoteError.callFailed(
      endpoint, call: "Execute", status: "failedPrecondition",
      message: "the server lost inputs of the action \(Self.uploadLimit) times")
  }

  private func upload(
    _ contents: [ContentDigest: Blob], to blobs: BlobStore, report: @Sendable (RemoteCluster.Event) -> Void
  ) async throws {
    let missing = try await blobs.missing(of: contents.keys)
    let sent = missing.compactMap { contents[$0] }
    if let blob = sent.first(where: { $0.content == .elsewhere }) {
      throw RemoteError.missingContent(connection.endpoint, blob.digest)
    }
    if sent.isEmpty { return }
    report(.uploading(sent.reduce(0) { $0 + $1.digest.byteCount }, connection.endpoint))
    try await blobs.upload(sent)
  }
}

#endif
