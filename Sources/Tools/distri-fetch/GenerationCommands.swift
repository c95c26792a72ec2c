// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import SystemPackage
import ToolSupport

struct ListGenerations: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generations",
    abstract: "List the generations, or what one of them changed.",
    discussion: """
      A record is a star for the current one, the number, the time, how many packages came, went and changed, and the command that made it.
      Of one generation: what it changed, a record a package.

        distri-fetch generations
        distri-fetch generations 7 --root /mnt
      """)

  @Argument(help: ArgumentHelp("A generation.", valueName: "number"))
  var number: UInt64?

  @OptionGroup var machine: RootOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let store = try machine.store()
    let generations = store.generations
    let current = try generations.currentNumber()
    if let number {
      let difference = try difference(try generations.generation(number), in: generations)
      if json { return try printJSON(difference) }
      return Terminal.standardOutput.write(difference.text)
    }
    var records: [Record] = []
    for number in try generations.numbers() {
      let generation = try generations.generation(number)
      records.append(Record(generation, try difference(generation, in: generations), isCurrent: number == current))
    }
    if records.isEmpty { throw StoreError.noGeneration(nil, in: store.path) }
    if json { return try printJSON(records) }
    for record in records { Terminal.standardOutput.write(record.text) }
  }

  /// To the one that it was made of. Where that was collected, all that it has came.
  private func difference(_ generation: Generation, in generations: Generations) throws -> SelectionDifference {
    let parent = generation.parent.flatMap { try? generations.generation($0) }
    return SelectionDifference(from: parent?.selection.packages ?? [], to: generation.selection.packages)
  }

  private struct Record: Encodable {
    var number: UInt64
    var parent: UInt64?
    var current: Bool
    var time: String
    var command: String
    var packages: Int
    var wants: [String]
    var sets: [String]
    var pins: [PackageID]
    var added: Int
    var removed: Int
    var replaced: Int

    init(_ generation: Generation, _ difference: SelectionDifference, isCurrent: Bool) {
      number = generation.number
      parent = generation.parent
      current = isCurrent
      time = Making.text(of: generation.time)
      command = generation.command
      packages = generation.selection.packages.count
      wants = generation.selection.wants.map(\.description)
      sets = generation.selection.sets.map(\.name)
      pins = generation.selection.pins
      added = difference.added.count
      removed = difference.removed.count
      replaced = difference.replaced.count
    }

    var text: String { "\(current ? "*" : "-")\t\(number)\t\(time)\t+\(added) -\(removed) =\(replaced)\t\(command)\n" }
  }
}

struct Rollback: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make an earlier generation current again, or a later one.",
    discussion: """
      Instant and offline: one link is replaced, and /ro shows the packages of that generation. Files below /etc stay as they are.
      Without a number, the generation that the current one was made of is meant. A record is + or - or =, a package, and what it replaces.

        distri-fetch rollback
        distri-fetch rollback 7 --dry-run
      """)

  @Argument(help: ArgumentHelp("A generation.", valueName: "number"))
  var number: UInt64?

  @OptionGroup var options: ChangeOptions

  func run() async throws {
    let store = try options.machine.store()
    // Damage of what is current is no reason not to leave it.
    let before = (try? store.generations.current())?.selection.packages ?? []
    let target = try options.dryRun ? store.target(number) : await store.switchGeneration(to: number)
    let difference = SelectionDifference(from: before, to: target.selection.packages)
    if !options.dryRun { try await difference.applyUnits(below: options.machine.root, in: store) }
    try ChangeReport(
      difference: difference,
      generation: options.dryRun ? nil : target.number,
      dryRun: options.dryRun
    ).print(json: options.json)
  }
}

struct Pin: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Keep a version of a package: updates leave it alone, gc keeps it.",
    discussion: """
      Without a version, the one that is selected is meant. Another one is selected if the store has it. Without packages, what is pinned is listed.

        distri-fetch pin nano
        distri-fetch pin nano-amd64-7.1-2
      """)

  @Argument(help: ArgumentHelp("Packages that were asked for.", valueName: "package"))
  var packages: [String] = []

  @OptionGroup var options: ChangeOptions

  func run() async throws {
    let store = try options.machine.store()
    let queries = try packages.map { try PackageQuery(parsing: $0) }
    let before = try store.selection()
    if queries.isEmpty {
      if options.json { return try printJSON(before.pins) }
      for pin in before.pins { Terminal.standardOutput.write("\(pin)\n") }
      return
    }
    let change = { @Sendable (selection: Generation.Selection) throws -> Generation.Selection in
      var result = selection
      for query in queries { try result.pin(query) }
      return result
    }
    try await changePins(of: store, from: before, dryRun: options.dryRun, json: options.json, change)
  }
}

struct Unpin: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let updates have their way with packages again.",
    discussion: """
        distri-fetch unpin nano
      """)

  @Argument(help: ArgumentHelp("Packages that are pinned.", valueName: "package"))
  var packages: [String]

  @OptionGroup var options: ChangeOptions

  func run() async throws {
    let store = try options.machine.store()
    let queries = try packages.map { try PackageQuery(parsing: $0) }
    let change = { @Sendable (selection: Generation.Selection) throws -> Generation.Selection in
      var result = selection
      for query in queries {
        guard result.pins.contains(where: { query.matches($0) }) else { throw SelectionError.notPinned(query.description) }
        result.pins.removeAll { query.matches($0) }
      }
      return result
    }
    try await changePins(of: store, from: try store.selection(), dryRun: options.dryRun, json: options.json, change)
  }
}

extension Generation.Selection {
  /// Pins the version that a query means, in place of another.
  fileprivate mutating func pin(_ query: PackageQuery) throws {
    guard allWants.contains(where: { $0.meansSamePackage(as: query) }) else {
      guard query.newest(of: packages) != nil else { throw SelectionError.notSelected(query.description) }
      // Who asks for it by name can have it pinned; what needs it names its version already.
      want(try PackageQuery(parsing: query.architecture.map { "\(query.name)-\($0)" } ?? query.name))
      return try pin(query)
    }
    let selected = allWants.first { $0.meansSamePackage(as: query) }.flatMap { choice(for: $0) }
    guard let version = query.exact ?? selected else { throw SelectionError.notSelected(query.description) }
    pins.removeAll { $0.unversioned == version.unversioned }
    pins.append(version)
    // A query for another version would not be met by this one.
    for index in wants.indices where wants[index].meansSamePackage(as: query) && !wants[index].matches(version) {
      wants[index] = try PackageQuery(parsing: version.unversioned)
    }
  }
}

private func changePins(
  of store: LocalStore, from before: Generation.Selection, dryRun: Bool, json: Bool,
  _ change: @escaping @Sendable (Generation.Selection) throws -> Generation.Selection
) async throws {
  let (time, command) = (Making.time, Making.command)
  var after: Generation.Selection
  var number: UInt64?
  if dryRun {
    after = try store.resolve(try change(before))
  } else {
    let generation = try await store.makeGeneration { context in
      GenerationChange(selection: try context.resolve(try change(context.selection)), time: time, command: command)
    }
    after = generation?.selection ?? before
    number = generation?.number
  }
  try ChangeReport(
    difference: SelectionDifference(from: before.packages, to: after.packages), generation: number, dryRun: dryRun
  ).print(json: json)
}
