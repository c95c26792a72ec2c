// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import FoundationEssentials
import RepositorySupport
import SystemPackage
import ToolSupport

struct Trust: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say which repositories this machine trusts, and why.",
    discussion: """
      A repository is trusted by its root: a small file that names the keys of its publisher. Get it on a way that you trust,
      once; from then on, new roots, new keys and all packages are verified by what is trusted already.

        distri-fetch trust init root.json --repo https://repo.example.org/distri
        distri-fetch trust refresh
        distri-fetch trust show
      """,
    subcommands: [InitializeTrust.self, RefreshTrust.self, ShowTrust.self])
}

struct InitializeTrust: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Trust a repository by its root.",
    discussion: """
      Nothing is asked of the network. The key ids of the root go to standard output: compare them with what the publisher says.

        distri-fetch trust init root.json --repo https://repo.example.org/distri
      """)

  @Argument(
    help: ArgumentHelp("The root: a file of TUF metadata, such as tuf/root.json of the repository.", valueName: "root.json"))
  var root: String

  @OptionGroup var trust: TrustOptions

  @Option(name: .long, help: ArgumentHelp("The repository: URL or directory.", valueName: "url"))
  var repo: String

  @Flag(help: "Replace the root that is trusted now.")
  var force = false

  func run() async throws {
    guard let bytes = FileManager.default.contents(atPath: root) else {
      throw RepositoryError.system(operation: "read", path: FilePath(root), .noSuchFileOrDirectory)
    }
    let metadata = try await trust.store(of: repo).initialize(root: Array(bytes), file: root, replacing: force)
    for keyID in metadata.role("root").keyIDs { Terminal.standardOutput.write("\(keyID)\n") }
    Terminal.standardError.write("trusts version \(metadata.head.version) of the root of \(repo)\n")
  }
}

struct RefreshTrust: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "refresh",
    abstract: "Bring the metadata of trusted repositories up to date.",
    discussion: """
      Installing does the same by itself; this finds out early whether a repository is in order. A line is a role, its version
      and its expiry.

        distri-fetch trust refresh --repo https://repo.example.org/distri
      """)

  @OptionGroup var trust: TrustOptions
  @OptionGroup var addresses: AddressOptions
  @OptionGroup var transfer: TransferOptions

  func run() async throws {
    let entries = try addresses.entries()
    let transport = try transfer.transport(forMirrors: entries.contains { !$0.mirrors.isEmpty })
    for entry in entries {
      let (root, mirrors) = (entry.root, MirrorSet(entry))
      guard let repository = try await mirrors.firstGood({ try await trust.refresh(root, at: $0, through: transport) }) else {
        throw RepositoryError.unsigned(repository: root)
      }
      for (role, head) in repository.heads {
        Terminal.standardOutput.write("\(root)\t\(role)\tversion \(head.version)\tuntil \(head.expires)\n")
      }
    }
  }
}

struct ShowTrust: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show the trusted root of repositories: which keys may sign what.",
    discussion: """
      Nothing is asked of the network.

        distri-fetch trust show --repo https://repo.example.org/distri
      """)

  @OptionGroup var trust: TrustOptions

  @OptionGroup var addresses: AddressOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    var reports: [Report] = []
    for root in try addresses.entries().map(\.root) {
      let store = trust.store(of: root)
      guard try store.isInitialized else {
        guard addresses.repo.isEmpty else { throw RepositoryError.unsigned(repository: root) }
        reports.append(Report(repository: root, directory: store.path.string))
        continue
      }
      reports.append(Report(repository: root, directory: store.path.string, root: try store.root()))
    }
    if json { return try printJSON(reports) }
    for report in reports { Terminal.standardOutput.write(report.text) }
  }

  private struct Report: Encodable {
    struct Role: Encodable {
      var name: String
      var threshold: Int
      var keyIDs: [String]
    }

    var repository: String
    var directory: String
    var rootVersion: Int64?
    var rootExpires: String?
    var roles: [Role] = []

    init(repository: String, directory: String, root: RootMetadata? = nil) {
      self.repository = repository
      self.directory = directory
      rootVersion = root?.head.version
      rootExpires = root?.head.expires.description
      roles = (root?.roles ?? []).map { Role(name: $0.name, threshold: $0.threshold, keyIDs: $0.keyIDs) }
    }

    var text: String {
      guard let rootVersion, let rootExpires else { return "\(repository)\tnot trusted: no root is known\n" }
      return "\(repository)\troot version \(rootVersion)\tuntil \(rootExpires)\t\(directory)\n"
        + roles.map { role in
          "\(repository)\t\(role.name)\t\(role.threshold) of \(role.keyIDs.count)\t\(role.keyIDs.joined(separator: " "))\n"
        }.joined()
    }
  }
}
