// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build bump`: definitions whose inputs have changed get new revisions.
struct BumpCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bump",
    abstract: "Find the definitions that need a new revision, and give it to them.",
    discussion: """
      A package never changes once it is in the store. When its definition, its patches or anything that it is built of has changed since it
      was built, its definition needs a new revision; and so does all that is built of it. The new revision is the next that is free in
      the store. Only the version in build.textproto changes; every other byte stays.

        distri-build bump pkgs --store /roimg --bootstrap-toolchain
        distri-build bump pkgs --store /roimg --bootstrap-toolchain --write

      Prints a line each: the definition, its version, its new version, and the definitions it needs that change, separated by commas.
      """)

  @OptionGroup var set: SetOptions

  @Flag(help: "Write the new versions into the definitions.")
  var write = false

  func run() async throws {
    let store = try LocalStore(path: set.storeOptions.storePath)
    let files = try set.files()
    let graph = try set.graph(files, try store.packages())
    var changes = try await Revisions(graph, in: store).changes
    if let selection = try set.selection(in: graph) { changes.removeAll { !selection.contains($0.node) } }
    for change in changes {
      let causes = change.causes.map { graph.nodes[$0].name }.joined(separator: ",")
      let line = [graph.nodes[change.node].name, change.old.version, change.new.version, causes].filter { !$0.isEmpty }
      Terminal.standardOutput.write(line.joined(separator: " ") + "\n")
    }
    if write { try await Self.write((graph, changes), in: files) }
    let number = changes.count == 1 ? "1 definition needs a new revision" : "\(changes.count) definitions need new revisions"
    Terminal.standardError.write(number + (write || changes.isEmpty ? "\n" : "; --write writes them\n"))
  }

  /// Writes the new versions.
  static func write(_ plan: (graph: BuildGraph, changes: [Revisions.Change]), in files: [DefinitionFile]) async throws {
    for change in plan.changes {
      var file = plan.graph.nodes[change.node].file
      try file.replace(.version, with: change.new.version)
      try Data(file.bytes).write(to: URL(filePath: file.path.string), options: .atomic)
    }
  }
}
