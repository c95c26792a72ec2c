// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import SystemPackage
import ToolSupport

struct Publish: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a repository of a store.",
    discussion: """
      Images are hard links of the store's where both lie on one file system. The index is replaced last: readers see the old
      repository or the new one. Run it again after each change of the store.

        distri-fetch publish /roimg --out /srv/distri
      """)

  @Argument(help: ArgumentHelp("The store's directory.", valueName: "store"))
  var store: String

  @Option(name: .long, help: ArgumentHelp("The repository's directory; made if it is missing.", valueName: "dir"))
  var out: String

  @Option(name: .shortAndLong, help: "How many packages are hashed at the same time.")
  var jobs = 4

  @Flag(help: "Print what was published as JSON.")
  var json = false

  func run() async throws {
    let progress = ProgressDisplay("publishing", total: 0)
    let publisher = Publisher(store: FilePath(store), output: FilePath(out), maximumTasks: jobs)
    let reports = try await publisher.publish { progress.advance(detail: $0.description) }
    progress.finish()
    if json { return try printJSON(reports) }
    for report in reports {
      let size = ProgressDisplay.megabytes(report.byteCount)
      Terminal.standardOutput.write(
        "\(report.section)\t\(report.packageCount) packages\t\(report.newPackages.count) new\t\(size)\n")
    }
  }
}
