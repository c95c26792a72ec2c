// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import SystemPackage
import ToolSupport

struct Why: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tell why a package is installed.",
    discussion: """
      A record is the package, and «requested» with the query, «set» with the name of the set, or «needed» with a package that was asked for. Works
      offline.

        distri-fetch why glibc
      """)

  @Argument(help: ArgumentHelp("The package: nano, nano-amd64 or nano-amd64-7.2-3.", valueName: "package"))
  var package: String

  @OptionGroup var machine: RootOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let store = try machine.store()
    let selection = try store.selection()
    let query = try PackageQuery(parsing: package)
    let packages = selection.packages.filter { query.matches($0) }
    if packages.isEmpty { throw SelectionError.notSelected(package) }
    let metadata = { (package: PackageID) in try? store.metadata(of: package) }
    var records: [Reason] = []
    for package in packages {
      for want in selection.wants where selection.choice(for: want) == package {
        records.append(Reason(package: package, reason: "requested", subject: want.description))
      }
      for set in selection.sets where set.members.contains(where: { selection.choice(for: $0) == package }) {
        records.append(Reason(package: package, reason: "set", subject: set.name))
      }
      for dependent in selection.dependents(of: package, metadata) {
        records.append(Reason(package: package, reason: "needed", subject: dependent.description))
      }
      if selection.pins.contains(package) { records.append(Reason(package: package, reason: "pinned", subject: "")) }
    }
    if json { return try printJSON(records) }
    for record in records {
      Terminal.standardOutput.write(
        "\(record.package)\t\(record.reason)\(record.subject.isEmpty ? "" : "\t\(record.subject)")\n")
    }
  }

  private struct Reason: Encodable {
    var package: PackageID
    var reason: String
    var subject: String
  }
}
