// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import FoundationEssentials
import SystemPackage

/// The options that say where packages come from.
struct RepositoryOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("A repository: URL or directory. May be repeated.", valueName: "url"))
  var repo: [String] = []

  @Option(name: .long, help: ArgumentHelp("The section: pkg, debug or src.", valueName: "section"))
  var section: LocalStore.Section = .packages

  @Flag(help: "Accept packages that the repository's index has no SHA-256 for, as repositories of the original distri.")
  var allowUnverified = false

  /// Those given, or those that the machine is configured for.
  func open(through transport: any Transport) async throws -> [Repository] {
    var roots = repo
    if roots.isEmpty {
      let directory = ProcessInfo.processInfo.environment["DISTRICFG"] ?? "/etc/distri"
      roots = try RepositoryConfiguration(directory: FilePath(directory)).roots
      guard !roots.isEmpty else {
        throw ValidationError("no repository: give --repo, or name one in \(directory)/repos.d/<name>.repo")
      }
    }
    var options = Repository.Options()
    options.allowsUnverifiedPackages = allowUnverified
    var repositories: [Repository] = []
    for root in roots {
      repositories.append(try await Repository(at: root, section: section, transport: transport, options: options))
    }
    return repositories
  }

  /// HTTP with the proxy of the environment, and directories.
  static func transport() throws -> StandardTransport {
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    return try StandardTransport(options: options)
  }
}

extension LocalStore.Section: ExpressibleByArgument {}
