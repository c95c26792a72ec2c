// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import GRPCCore

/// The action cache of a server: what actions have made.
struct ActionCache: Sendable {
  let connection: Connection

  /// The result of an action; nil when the server has none, or one of a failure.
  ///
  /// - Throws: ``RemoteError``; `CancellationError`.
  func result(of action: Action, digest: ContentDigest) async throws -> ActionResult? {
    let call = RemoteMethods.getActionResult
    let answer: REAPI_ActionResult
    do {
      answer = try await connection.retrying {
        try await connection.call(
          call,
          .with {
            $0.instanceName = connection.endpoint.instance
            $0.actionDigest = REAPI_Digest(digest)
            $0.digestFunction = .sha256
          })
      }
    } catch RemoteError.callFailed(_, _, "notFound", _) {
      return nil
    }
    guard answer.exitCode == 0 else { return nil }
    return try ActionResult(answer, of: action, from: connection.endpoint, call: call.descriptor.method)
  }

  /// Gives the server a result, whose contents it has.
  ///
  /// - Throws: ``RemoteError``; `CancellationError`.
  func store(_ result: ActionResult, of digest: ContentDigest) async throws {
    let message = REAPI_ActionResult.with {
      $0.outputFiles = result.files.sorted { $0.key.description < $1.key.description }.map { path, digest in
        .with {
          $0.path = path.description
          $0.digest = REAPI_Digest(digest)
        }
      }
    }
    _ = try await connection.retrying {
      try await connection.call(
        RemoteMethods.updateActionResult,
        .with {
          $0.instanceName = connection.endpoint.instance
          $0.actionDigest = REAPI_Digest(digest)
          $0.actionResult = message
          $0.digestFunction = .sha256
        })
    }
  }
}

extension ActionResult {
  /// Takes what a server says that an action has made.
  ///
  /// - Throws: ``RemoteError/invalidAnswer(_:call:reason:)`` for anything but the action's outputs.
  init(_ message: REAPI_ActionResult, of action: Action, from endpoint: RemoteEndpoint, call: String) throws(RemoteError) {
    func refuse(_ reason: String) -> RemoteError { .invalidAnswer(endpoint, call: call, reason: reason) }
    let expected = Dictionary(action.outputs.map { ($0.path.description, $0) }) { first, _ in first }
    guard message.outputDirectories.isEmpty, message.outputSymlinks.isEmpty, message.outputFileSymlinks.isEmpty,
      message.outputDirectorySymlinks.isEmpty
    else { throw refuse("files are links or directories") }
    self.init(files: [:])
    for file in message.outputFiles {
      guard let output = expected[file.path] else { throw refuse("it has a file that is no output of the action: \(file.path)") }
      guard let digest = file.digest.contentDigest else { throw refuse("\(file.path) has no digest") }
      guard files.updateValue(digest, forKey: output.path) == nil else { throw refuse("it has \(file.path) twice") }
    }
    guard message.exitCode == 0 else { return }
    if let output = action.outputs.first(where: { $0.isRequired && files[$0.path] == nil }) {
      throw refuse("it has no \(output.path)")
    }
  }
}

#endif
