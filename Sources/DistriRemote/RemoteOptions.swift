// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import SystemPackage

/// How servers are spoken with.
public struct RemoteOptions: Sendable {
  /// A file with a bearer token, which is read anew for each call, since tokens are replaced. It is sent over TLS and to this machine only.
  public var tokenFile: FilePath?
  /// Certificates (PEM) of the authorities that may vouch for a server; nil for the system's.
  public var authorities: FilePath?
  /// A certificate (PEM) by which the server knows the client, and its key; both or none.
  public var certificate: FilePath?
  /// The key (PEM) of ``certificate``.
  public var key: FilePath?
  /// How many actions may be under way on each server at once, at least 1.
  public var actionsPerEndpoint = 1
  /// How long a call may take, without the bytes of files.
  public var callTimeout = Duration.seconds(60)
  /// For how long a call that fails for a reason that passes is tried again.
  public var retryTimeout = Duration.seconds(60)
  /// How long an action may take, waiting included.
  public var actionTimeout = Duration.seconds(24 * 3600)
  /// When files are compressed on the way, where the server can.
  public enum Compression: Sendable, Hashable {
    /// Always.
    case always
    /// Not on the way to this machine itself.
    case automatic
    /// Never.
    case never
  }

  /// When files are compressed on the way, where the server can.
  public var compression = Compression.automatic

  /// The options that need nothing.
  public init() {}
}

#endif
