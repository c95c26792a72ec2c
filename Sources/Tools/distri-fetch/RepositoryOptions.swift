// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import FoundationEssentials
import RepositorySupport
import SystemPackage
import ToolSupport

/// The options that say where packages come from.
struct RepositoryOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("A repository: URL or directory. May be repeated.", valueName: "url"))
  var repo: [String] = []

  @Option(name: .long, help: ArgumentHelp("The section: pkg, debug or src.", valueName: "section"))
  var section: LocalStore.Section = .packages

  @OptionGroup var trust: TrustOptions

  @Flag(help: "Accept repositories that this machine trusts no root of: nothing proves their packages. Said each time, never kept.")
  var insecureUnsigned = false

  @Flag(
    help: "Accept packages that an unsigned repository's index has no SHA-256 for, as those of the original distri.")
  var allowUnverified = false

  /// Those given, or those that the machine is configured for; their metadata is brought up to date.
  func open(through transport: any Transport) async throws -> [Repository] {
    var repositories: [Repository] = []
    for root in try Self.roots(repo) {
      var options = Repository.Options()
      options.allowsUnverifiedPackages = allowUnverified
      options.allowsUnsignedIndex = insecureUnsigned
      let trusted = try await trust.refresh(root, through: transport)
      repositories.append(
        try await Repository(at: root, section: section, trust: trusted, transport: transport, options: options))
      if trusted == nil { Terminal.standardError.write("distri-fetch: not verified: \(root) (--insecure-unsigned)\n") }
    }
    return repositories
  }

  /// The repositories given, or those that the machine is configured for.
  static func roots(_ given: [String]) throws -> [String] {
    guard given.isEmpty else { return given }
    let directory = ProcessInfo.processInfo.environment["DISTRICFG"] ?? "/etc/distri"
    let roots = try RepositoryConfiguration(directory: FilePath(directory)).roots
    guard !roots.isEmpty else {
      throw ValidationError("no repository: give --repo, or name one in \(directory)/repos.d/<name>.repo")
    }
    return roots
  }

  /// HTTP with the proxy of the environment, and directories.
  static func transport() throws -> StandardTransport {
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    return try StandardTransport(options: options)
  }
}

extension LocalStore.Section: ExpressibleByArgument {}
