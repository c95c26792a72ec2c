// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import FoundationEssentials
import SystemPackage
import ToolSupport

/// Where a machine keeps what it trusts of repositories.
struct TrustOptions: ParsableArguments {
  @Option(
    name: .customLong("trust"),
    help: ArgumentHelp(
      "The directory of what this machine trusts of repositories; by default DISTRITRUST or /var/lib/distri/trust.",
      valueName: "dir"))
  var directory: String?

  /// The place for one repository: its address, as a file's name.
  func store(of root: String) -> TrustStore {
    let base = directory ?? ProcessInfo.processInfo.environment["DISTRITRUST"] ?? "/var/lib/distri/trust"
    return TrustStore(path: FilePath(base).appending(Self.name(of: root)))
  }

  /// Brings a repository's metadata up to date, from one of its mirrors; nil when no root of it is trusted.
  func refresh(_ root: String, at mirror: String, through transport: any Transport) async throws -> TrustedRepository? {
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
