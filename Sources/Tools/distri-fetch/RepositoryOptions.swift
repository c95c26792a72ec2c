// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import FoundationEssentials
import RepositorySupport
import Synchronization
import SystemPackage
import ToolSupport

/// The options that say where repositories are.
struct AddressOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("A repository: URL or directory. May be repeated.", valueName: "url"))
  var repo: [String] = []

  @Option(
    help: ArgumentHelp(
      "Who has the same files as --repo, and is asked when that does not answer, is slow, or gives wrong ones. May be repeated.",
      valueName: "url"))
  var mirror: [String] = []

  func validate() throws {
    if !mirror.isEmpty, repo.count != 1 {
      throw ValidationError("--mirror belongs to one --repo; name those of several behind them, in repos.d/<name>.repo")
    }
  }

  /// The repositories given, or those that the machine is configured for.
  ///
  /// - Parameter mayBeNone: whether there is something to do without any.
  func entries(mayBeNone: Bool = false) throws -> [RepositoryConfiguration.Entry] {
    guard repo.isEmpty else { return repo.map { .init(root: $0, mirrors: mirror) } }
    let directory = ProcessInfo.processInfo.environment["DISTRICFG"] ?? "/etc/distri"
    let entries = try RepositoryConfiguration(directory: FilePath(directory)).entries
    guard mayBeNone || !entries.isEmpty else {
      throw ValidationError("no repository: give --repo, or name one in \(directory)/repos.d/<name>.repo")
    }
    return entries
  }
}

extension MirrorSet {
  /// The places of a repository; each failure of one is said once.
  convenience init(_ entry: RepositoryConfiguration.Entry) {
    let said = Mutex<Set<String>>([])
    self.init(entry.root, mirrors: entry.mirrors) { _, error in
      let text = "distri-fetch: \(error); the next mirror is asked\n"
      if said.withLock({ $0.insert(text).inserted }) { Terminal.standardError.write(text) }
    }
  }
}

/// The options that say where packages come from.
struct RepositoryOptions: ParsableArguments {
  @OptionGroup var addresses: AddressOptions

  @Option(name: .long, help: ArgumentHelp("The section: pkg, debug or src.", valueName: "section"))
  var section: LocalStore.Section = .packages

  @OptionGroup var trust: TrustOptions

  @Flag(help: "Accept repositories that this machine trusts no root of: nothing proves their packages. Said each time, never kept.")
  var insecureUnsigned = false

  @Flag(
    help: "Accept packages that an unsigned repository's index has no SHA-256 for, as those of the original distri.")
  var allowUnverified = false

  @OptionGroup var transfer: TransferOptions

  /// Those that were given.
  var repo: [String] { addresses.repo }

  /// Those given, or those that the machine is configured for; their metadata is brought up to date.
  ///
  /// - Parameters:
  ///   - wrap: puts something around the transport.
  ///   - onReused: called with bytes of images that need not be transferred.
  func open(
    _ wrap: (any Transport) -> any Transport = { $0 }, onReused: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) async throws -> [Repository] {
    let entries = try addresses.entries(mayBeNone: transfer.offline)
    let transport = wrap(try transfer.transport(forMirrors: entries.contains { !$0.mirrors.isEmpty }))
    var repositories: [Repository] = []
    for entry in entries where transfer.mayAsk(entry.root) {
      var options = Repository.Options()
      options.allowsUnverifiedPackages = allowUnverified
      options.allowsUnsignedIndex = insecureUnsigned
      options.compression = transfer.compressed
      options.reusesBlocks = !transfer.noDelta
      options.onReused = onReused
      options.onDetour = { Terminal.standardError.write("distri-fetch: \($0): \($1); another way is taken\n") }
      let mirrors = MirrorSet(entry)
      let trusted = try await mirrors.firstGood { try await trust.refresh(mirrors.root, at: $0, through: transport) }
      repositories.append(
        try await Repository(at: mirrors, section: section, trust: trusted, transport: transport, options: options))
      if trusted == nil { Terminal.standardError.write("distri-fetch: not verified: \(entry.root) (--insecure-unsigned)\n") }
    }
    return repositories
  }
}

extension LocalStore.Section: ExpressibleByArgument {}
