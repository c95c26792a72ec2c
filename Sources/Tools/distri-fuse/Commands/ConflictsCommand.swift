// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import DistriStore
import SystemPackage
import ToolSupport

struct ConflictsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conflicts",
    abstract: "List the names that more than one package claims.",
    discussion: """
      A line for each: the name, the package whose file is shown, and the others, separated by tabs.

        distri-fuse conflicts /roimg | grep ^bin/
      """)

  @Argument(help: ArgumentHelp("The store: a directory of images and metadata.", valueName: "store"))
  var store: String

  @Flag(help: "Print a JSON array.")
  var json = false

  private struct Record: Encodable {
    var path: String
    var winner: PackageID
    var losers: [PackageID]
  }

  func run() throws {
    let conflicts = try PackageFileSystem(store: try LocalStore(path: FilePath(store))).conflicts
    if json { return try printJSON(conflicts.map { Record(path: $0.path.description, winner: $0.winner, losers: $0.losers) }) }
    for conflict in conflicts {
      let fields = [conflict.path.description.printable, conflict.winner.description] + conflict.losers.map(\.description)
      Terminal.standardOutput.write(fields.joined(separator: "\t") + "\n")
    }
  }
}
