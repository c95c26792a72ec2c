// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import Synchronization
import SystemPackage
import ToolSupport

struct Install: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Install packages and what they need, all or nothing.",
    discussion: """
      The newest version over all repositories is taken, fetched in parallel, verified by size and SHA-256, and appears in
      <root>/roimg in one step, together with the generation that selects it; generations and rollback tell about the way back. Files of
      the packages' etc/ are copied to <root>/etc where nothing is yet. The names of what was installed go to standard output.

        distri-fetch install nano less-amd64-530-17 --root /mnt --repo https://repo.example.org/distri
        distri-fetch install --set desktop
      """)

  @Argument(help: ArgumentHelp("Packages: nano, nano-amd64 or nano-amd64-7.2-3.", valueName: "package"))
  var packages: [String] = []

  @Option(help: ArgumentHelp("Follow the package set of /etc/distri/pkgset.d/<name>.pkgset. May be repeated.", valueName: "name"))
  var set: [String] = []

  @Option(name: .long, help: ArgumentHelp("The root directory of the machine to install to.", valueName: "dir"))
  var root: String = "/"

  @OptionGroup var repositories: RepositoryOptions

  @Option(name: .shortAndLong, help: "How many packages are fetched at the same time.")
  var jobs = 16

  @Flag(name: [.customShort("n"), .long], help: "Only say what would be installed.")
  var dryRun = false

  @Flag(help: "Print what was installed as JSON.")
  var json = false

  func validate() throws {
    if packages.isEmpty, set.isEmpty { throw ValidationError("name a package") }
    if !set.isEmpty, repositories.section != .packages { throw ValidationError("sets are of the section pkg") }
    if jobs < 1 { throw ValidationError("--jobs starts at 1") }
  }

  func run() async throws {
    let clock = ContinuousClock()
    let start = clock.now
    let queries = try packages.map { try PackageQuery(parsing: $0) }
    let progress = InstallProgress()
    let sources = try await repositories.open({ MeteredTransport($0) { progress.add($0) } }, onReused: { progress.addReused($0) })
    let store = try openStore()
    let before = (try? store.selection())?.packages ?? []
    let installer = Installer(repositories: sources, store: store, maximumDownloads: jobs, isOffline: repositories.transfer.offline)
    let sets = try Set(set).sorted().map { try Generation.PackageSet(named: $0, in: Making.configuration) }
    let plan = try await installer.plan(queries + sets.flatMap(\.members))
    var result = InstallResult()
    if !dryRun {
      progress.begin(plan)
      defer { progress.finish() }
      let change = repositories.section == .packages ? Self.selecting(queries, sets, plan.requested) : nil
      result = try await installer.install(
        plan, defaultsBelow: FilePath(root), onFetched: { _ in progress.addPackage() }, making: change)
    }
    try await result.finish(below: root)
    if let generation = result.generation {
      let difference = SelectionDifference(from: before, to: generation.selection.packages)
      try await difference.applyUnits(below: root, in: store)
    }
    try report(plan, result.generation, reused: progress.reusedByteCount, after: clock.now - start)
  }

  /// Asks for packages and sets, beside what was asked for before.
  private static func selecting(
    _ queries: [PackageQuery], _ sets: [Generation.PackageSet], _ requested: [PackageID]
  ) -> GenerationMaker {
    let (time, command) = (Making.time, Making.command)
    return { context in
      var selection = context.selection
      for query in queries { selection.want(query) }
      for set in sets {
        selection.sets.removeAll { $0.name == set.name }
        selection.sets.append(set)
      }
      return GenerationChange(selection: try context.resolve(selection, with: requested), time: time, command: command)
    }
  }

  /// The root is made where it is missing, unless nothing is to be changed.
  private func openStore() throws -> LocalStore {
    let root = FilePath(root)
    if !dryRun { try Files.makeDirectories(root) }
    return try LocalStore(path: root.appending("roimg"), section: repositories.section)
  }

  private func report(_ plan: InstallPlan, _ generation: Generation?, reused: UInt64, after time: Duration) throws {
    if json { return try printJSON(Summary(plan, generation?.number, reused: reused, isDryRun: dryRun)) }
    for item in plan.missing { Terminal.standardOutput.write("\(item.id)\n") }
    let saved = reused == 0 ? "" : ", of which \(ProgressDisplay.megabytes(reused)) did not have to be transferred"
    let count = "\(plan.missing.count) packages, \(ProgressDisplay.megabytes(plan.byteCount))\(saved)"
    let requested = plan.requested.map(\.description).joined(separator: ", ")
    Terminal.standardError.write(
      plan.missing.isEmpty && generation == nil
        ? "\(requested): nothing to do, \(plan.present.count) packages are there\n"
        : dryRun
          ? "would install \(count)\n"
          : "installed \(count), in \(time.formatted) s\(generation.map { "; generation \($0.number)" } ?? "")\n")
  }

  private struct Summary: Encodable {
    var requested: [PackageID]
    var installed: [PackageID]
    var present: [PackageID]
    var bytes: UInt64
    /// Those of them that were there, or came compressed.
    var reusedBytes: UInt64
    /// The one that is current now; nil when nothing is selected that was not.
    var generation: UInt64?
    var dryRun: Bool

    init(_ plan: InstallPlan, _ generation: UInt64?, reused: UInt64, isDryRun: Bool) {
      reusedBytes = reused
      self.generation = generation
      requested = plan.requested
      installed = plan.missing.map(\.id)
      present = plan.present
      bytes = plan.byteCount
      dryRun = isDryRun
    }
  }
}

extension Duration {
  /// Seconds with two digits.
  fileprivate var formatted: String {
    let hundredths = components.seconds * 100 + components.attoseconds / 10_000_000_000_000_000
    return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
  }
}

/// The display of bytes and packages; bytes that come before the plan is known do not count.
private final class InstallProgress: Sendable {
  private struct State {
    var display: ProgressDisplay?
    var packages = 0
    var total = 0
    var reusedByteCount: UInt64 = 0
  }

  private let state = Mutex(State())

  func begin(_ plan: InstallPlan) {
    state.withLock {
      $0.display = ProgressDisplay("installing", total: plan.byteCount, unit: .bytes)
      $0.total = plan.missing.count
    }
  }

  func add(_ byteCount: Int64) {
    state.withLock { $0.display?.advance(by: UInt64(bitPattern: byteCount), detail: "\($0.packages)/\($0.total) packages") }
  }

  func addReused(_ byteCount: UInt64) {
    state.withLock { $0.reusedByteCount += byteCount }
    add(Int64(clamping: byteCount))
  }

  var reusedByteCount: UInt64 { state.withLock { $0.reusedByteCount } }

  func addPackage() { state.withLock { $0.packages += 1 } }

  func finish() { state.withLock { $0.display?.finish() } }
}
