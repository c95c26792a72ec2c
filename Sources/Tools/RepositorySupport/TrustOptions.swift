// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import FoundationEssentials
import SystemPackage
import ToolSupport

/// Where a machine keeps what it trusts of repositories.
public struct TrustOptions: ParsableArguments {
  /// The directory of what is trusted of repositories; nil for the default.
  @Option(
    name: .customLong("trust"),
    help: ArgumentHelp(
      "The directory of what this machine trusts of repositories; by default DISTRITRUST or /var/lib/distri/trust.",
      valueName: "dir"))
  public var directory: String?

  /// Makes the options with their defaults.
  public init() {}

  /// The directory when none is given.
  public static var defaultDirectory: String { ProcessInfo.processInfo.environment["DISTRITRUST"] ?? "/var/lib/distri/trust" }

  /// The place for one repository: its address, as a file's name.
  public func store(of root: String) -> TrustStore {
    TrustStore(path: FilePath(directory ?? Self.defaultDirectory).appending(Self.name(of: root)))
  }

  /// Brings a repository's metadata up to date, from one of its mirrors; nil when no root of it is trusted.
  public func refresh(_ root: String, at mirror: String, through transport: any Transport) async throws -> TrustedRepository? {
    let store = store(of: root)
    guard try store.isInitialized else { return nil }
    var options = TUFClient.Options()
    // Everybody may look for packages, but only the machine's administrator goes on with what it trusts.
    options.isReadOnly = !FileManager.default.isWritableFile(atPath: store.path.string)
    let metadata = (mirror.hasSuffix("/") ? String(mirror.dropLast()) : mirror) + "/" + MetadataPublisher.directoryName
    return try await TUFClient(store: store, metadata: metadata, transport: transport, options: options).refresh()
  }

  private static func name(of root: String) -> String {
    var text = root
    while text.utf8.count > 1, text.hasSuffix("/") { text.removeLast() }
    // A directory is trusted wherever one stands.
    if !text.contains("://") && !text.hasPrefix("/") { text = FileManager.default.currentDirectoryPath + "/" + text }
    return text.trustName
  }
}
