// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import SystemPackage
import ToolSupport

struct Remove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Stop selecting packages, and what only they need.",
    discussion: """
      A new generation without them becomes current. They stay in the store, so that rollback is instant, until gc removes them. Works
      offline. A record is a minus sign and a package.

        distri-fetch remove nano
        distri-fetch remove --set desktop --dry-run
      """)

  @Argument(help: ArgumentHelp("Packages that were asked for.", valueName: "package"))
  var packages: [String] = []

  @Option(help: ArgumentHelp("Follow the package set no more. May be repeated.", valueName: "name"))
  var set: [String] = []

  @OptionGroup var machine: RootOptions

  @Flag(name: [.customShort("n"), .long], help: "Only say what would change.")
  var dryRun = false

  @Flag(help: "Print what changed as JSON.")
  var json = false

  func validate() throws {
    if packages.isEmpty, set.isEmpty { throw ValidationError("name a package, or a set") }
  }

  func run() async throws {
    let store = try machine.store()
    let queries = try packages.map { try PackageQuery(parsing: $0) }
    let before = try store.selection()
    let report = { (after: [PackageID], generation: UInt64?) in
      try ChangeReport(
        difference: SelectionDifference(from: before.packages, to: after), generation: generation, dryRun: dryRun
      ).print(json: json)
    }
    if dryRun {
      let after = try store.resolve(try Self.without(queries, set, before) { try? store.metadata(of: $0) })
      return try report(after.packages, nil)
    }
    let (sets, time, command) = (set, Making.time, Making.command)
    let generation = try await store.makeGeneration { context in
      let selection = try Self.without(queries, sets, context.selection) { try? context.metadata(of: $0) }
      return GenerationChange(selection: try context.resolve(selection), time: time, command: command)
    }
    try report(generation?.selection.packages ?? before.packages, generation?.number)
  }

  private static func without(
    _ queries: [PackageQuery], _ sets: [String], _ selection: Generation.Selection, metadata: (PackageID) -> PackageMetadata?
  ) throws -> Generation.Selection {
    var result = selection
    for name in sets {
      guard result.sets.contains(where: { $0.name == name }) else { throw SelectionError.noSet(name) }
      result.sets.removeAll { $0.name == name }
    }
    for query in queries {
      let isMeant = { (want: PackageQuery) in want.meansSamePackage(as: query) }
      guard result.wants.contains(where: isMeant) else {
        if let set = result.sets.first(where: { $0.members.contains(where: isMeant) }) {
          throw SelectionError.inSet(query.description, set: set.name)
        }
        guard let package = query.newest(of: result.packages) else { throw SelectionError.notSelected(query.description) }
        throw SelectionError.needed(package, by: selection.dependents(of: package, metadata))
      }
      result.wants.removeAll(where: isMeant)
      result.pins.removeAll { query.name == $0.name && query.architecture ?? .host == $0.architecture }
    }
    return result
  }
}

extension Generation.Selection {
  /// What of the packages that were asked for needs a package; sorted.
  func dependents(of package: PackageID, _ metadata: (PackageID) -> PackageMetadata?) -> [PackageID] {
    Set(allWants.compactMap { choice(for: $0) }).filter { metadata($0)?.runtimeDependencies.contains(package) == true }.sorted()
  }
}
