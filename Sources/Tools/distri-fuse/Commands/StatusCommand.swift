// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import SystemPackage
import ToolSupport

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Say what a view shows, and what is wrong with it.",
    discussion: """
      The first line says where the view is, what it shows and how many packages; each further line names a problem: a package, a tab, the
      reason. The exit status is 69 when the view does not answer.

        distri-fuse status /ro
      """)

  @Argument(help: ArgumentHelp("Where the view is.", valueName: "mount point"))
  var mountPoint: String

  @Flag(help: "Print JSON.")
  var json = false

  private struct Record: Encodable {
    var mountPoint: String
    var store: String
    var isAlive: Bool
    var packages: Int
    var problems: [MountStatus.Problem]
  }

  func run() throws {
    let status = try MountStatus(of: FilePath(mountPoint))
    if json {
      try printJSON(
        Record(
          mountPoint: status.mountPoint.string, store: status.source, isAlive: status.isAlive, packages: status.packageCount,
          problems: status.problems))
    } else {
      let state = status.isAlive ? "\(status.packageCount) packages" : "dead; mount it again"
      Terminal.standardOutput.write("\(status.mountPoint): \(status.source), \(state)\n")
      for problem in status.problems { Terminal.standardOutput.write("\(problem.subject)\t\(problem.reason)\n") }
    }
    if !status.isAlive { throw ExitStatus.unavailable }
  }
}
