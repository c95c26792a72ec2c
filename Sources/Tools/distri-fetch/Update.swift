// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

struct Update: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Install newer versions of what was asked for.",
    discussion: """
      Newest is the highest revision over all repositories; pinned versions stay. The packages that were used up to now stay in the store,
      so that rollback is instant, until gc removes them. Files below <root>/etc that nobody has changed become the new defaults; beside
      others the new default is put as <file>.new. Services that run in an older version are started anew. A record is + or - or =, a package, and what it replaces.

        distri-fetch update
        distri-fetch update nano --root /mnt --repo https://repo.example.org/distri
        distri-fetch update --set desktop
      """)

  @Argument(help: ArgumentHelp("Packages; all that were asked for by default.", valueName: "package"))
  var packages: [String] = []

  @Option(help: ArgumentHelp("Follow the package set of /etc/distri/pkgset.d/<name>.pkgset. May be repeated.", valueName: "name"))
  var set: [String] = []

  @OptionGroup var machine: RootOptions
  @OptionGroup var repositories: RepositoryOptions

  @Option(name: .shortAndLong, help: "How many packages are fetched at the same time.")
  var jobs = 16

  @Flag(name: [.customShort("n"), .long], help: "Only say what would change.")
  var dryRun = false

  @Flag(help: "Print what changed as JSON.")
  var json = false

  func validate() throws {
    if jobs < 1 { throw ValidationError("--jobs starts at 1") }
    if repositories.section != .packages { throw ValidationError("only the section pkg is updated") }
  }

  func run() async throws {
    let queries = try packages.map { try PackageQuery(parsing: $0) }
    let store = try machine.store()
    let before = try store.selection()
    for query in queries where !before.allWants.contains(where: { $0.meansSamePackage(as: query) }) {
      throw SelectionError.notSelected(query.description)
    }
    var wanted = before
    wanted.sets = try followed(before.sets)
    let sources = try await repositories.open()
    let installer = Installer(repositories: sources, store: store, maximumDownloads: jobs, isOffline: repositories.transfer.offline)
    let plan = try await installer.planUpdate(of: wanted, only: queries)
    if dryRun { return try report(try await planned(wanted, plan, sources, before), nil) }
    let (sets, requested, time, command) = (wanted.sets, plan.requested, Making.time, Making.command)
    let result = try await installer.install(
      plan, defaultsBelow: FilePath(machine.root),
      making: { context in
        var selection = context.selection
        selection.sets = sets
        return GenerationChange(selection: try context.resolve(selection, with: requested), time: time, command: command)
      })
    try await result.finish(below: machine.root)
    let difference = SelectionDifference(from: before.packages, to: result.generation?.selection.packages ?? before.packages)
    try await difference.applyUnits(below: machine.root, in: store)
    try report(difference, result.generation?.number)
  }

  /// The sets that are followed, as their files are now. One whose file is gone stays as it was, unless it is named.
  private func followed(_ sets: [Generation.PackageSet]) throws -> [Generation.PackageSet] {
    var result: [Generation.PackageSet] = []
    for old in sets where !set.contains(old.name) {
      do { result.append(try Generation.PackageSet(named: old.name, in: Making.configuration)) } catch RepositoryError.notFound {
        result.append(old)
      }
    }
    return try result + Set(set).sorted().map { try Generation.PackageSet(named: $0, in: Making.configuration) }
  }

  private func planned(
    _ wanted: Generation.Selection, _ plan: InstallPlan, _ sources: [Repository], _ before: Generation.Selection
  ) async throws -> SelectionDifference {
    let resolver = Resolver(sources)
    var metadata: [PackageID: PackageMetadata] = [:]
    for package in plan.requested { metadata[package] = try await resolver.repository(of: package)?.metadata(of: package) }
    let after = try wanted.resolved(with: plan.requested) { [store = try machine.store()] package throws(StoreError) in
      if let known = metadata[package] { return known }
      return try store.metadata(of: package)
    }
    return SelectionDifference(from: before.packages, to: after.packages)
  }

  private func report(_ difference: SelectionDifference, _ generation: UInt64?) throws {
    try ChangeReport(difference: difference, generation: generation, dryRun: dryRun).print(json: json)
  }
}

/// What a command has changed, or would change.
struct ChangeReport: Encodable {
  var difference: SelectionDifference
  /// The generation that is current now; nil when nothing has changed.
  var generation: UInt64?
  var dryRun: Bool

  func print(json: Bool) throws {
    if json { return try printJSON(self) }
    Terminal.standardOutput.write(difference.text)
    if let generation {
      Terminal.standardError.write("generation \(generation): \(difference.summary)\n")
    } else {
      Terminal.standardError.write(dryRun ? "would change: \(difference.summary)\n" : "nothing to do\n")
    }
  }
}

extension InstallResult {
  /// Does what is left once the packages are there, and names files that want a look.
  func finish(below root: String) async throws {
    for path in newDefaults {
      Terminal.standardError.write(
        "/\(path): the new default; /\(path.dropLast(4)) has been changed here and stays: compare the two\n")
    }
    // Only warnings: what went well is of no interest.
    let environment = ProcessInfo.processInfo.environment.merging(["SYSTEMD_LOG_LEVEL": "warning"]) { $1 }.map { "\($0)=\($1)" }
    for declaration in declarations {
      do {
        try await declaration.apply(below: FilePath(root), environment: environment)
      } catch let error as RepositoryError {
        Terminal.standardError.write("distri-fetch: \(error)\n")
      }
    }
  }
}
