// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import SystemPackage

/// What goes wrong with other machines.
public enum RemoteError: Error, Sendable, Hashable {
  /// The text names no server.
  case invalidEndpoint(String, reason: String)
  /// A token, a certificate or a key cannot be used.
  case invalidCredentials(FilePath, reason: String)
  /// A call failed; the server's status (in gRPC's words), and what it says about it.
  case callFailed(RemoteEndpoint, call: String, status: String, message: String)
  /// The server cannot do what is needed.
  case unsupported(RemoteEndpoint, feature: String)
  /// The server answers what the protocol does not allow.
  case invalidAnswer(RemoteEndpoint, call: String, reason: String)
  /// The server has not what it was asked for, or promised to have.
  case missingContent(RemoteEndpoint, ContentDigest)
  /// A local file is not what it was when its digest was made.
  case changedFile(FilePath)
  /// A build's command ended with this status; what it wrote at last, and where the log is, if there is one.
  case actionFailed(PackageID, RemoteEndpoint, status: Int, output: [String], log: FilePath?)
  /// The action cache has no result, and nothing may be built.
  case notCached(PackageID, action: ContentDigest)
  /// An action that no server could take.
  case invalidAction(PackageID?, reason: String)
  /// A system call failed.
  case system(operation: String, path: FilePath, Errno)
}

extension RemoteError: CustomStringConvertible {
  /// What is wrong, and what to do about it.
  public var description: String {
    switch self {
    case .invalidEndpoint(let text, let reason):
      "\(text) \(reason); a server is named as grpc://host:port, or grpcs://host:port with TLS"
    case .invalidCredentials(let path, let reason): "\(path): \(reason)"
    case .callFailed(let endpoint, let call, let status, let message):
      "\(endpoint): \(call) failed: \(Self.printable(message)) (\(status))\(Self.hint(for: status, endpoint))"
    case .unsupported(let endpoint, let feature): "\(endpoint) \(feature)"
    case .invalidAnswer(let endpoint, let call, let reason):
      "\(endpoint): the answer to \(call) is refused: \(Self.printable(reason))"
    case .missingContent(let endpoint, let digest): "\(endpoint) has no content \(digest); it may have been removed to make room"
    case .changedFile(let path): "\(path) changed while it was sent; run the same command again"
    case .actionFailed(let package, let endpoint, let status, let output, let log):
      (["\(package): the build on \(endpoint) ended with status \(status)\(log.map { ", log in \($0)" } ?? "")"]
        + output.map(Self.printable)).joined(separator: "\n")
    case .notCached(let package, let action):
      "\(package) is not in the action cache (action \(action)), or was made with another --builder or --platform; without --cache-only it would be built"
    case .invalidAction(let package, let reason): "\(package.map { "\($0)" } ?? "an action") cannot be built elsewhere: \(reason)"
    case .system(let operation, let path, let errno): "\(operation) \(path): \(errno)"
    }
  }

  private static func hint(for status: String, _ endpoint: RemoteEndpoint) -> String {
    switch status {
    case "unauthenticated", "permissionDenied": "; --remote-token-file names a file with a token"
    case "unavailable": "; is it running, and does it speak gRPC there, \(endpoint.isSecure ? "with" : "without") TLS?"
    default: ""
    }
  }

  /// A server's words, without what would move a terminal's cursor.
  static func printable(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(2000) {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator: result += " "
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

#endif
