// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import SystemPackage
import ToolSupport

struct GarbageCollection: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc",
    abstract: "Remove old generations, and packages that nobody needs any more.",
    discussion: """
      What stays: the packages of the current generation, of the newest ones and of those of the last days, pinned versions, what running programs use, and what unfinished installations and
      builds have reserved; each with all that it needs. A record is a section and a package.

        distri-fetch gc --dry-run
        distri-fetch gc --keep 3 --keep-days 0
      """)

  @Option(help: "How many of the newest generations stay, whatever their age.")
  var keep = 5

  @Option(help: "Generations of so many days stay, whatever their number.")
  var keepDays = 7

  @OptionGroup var machine: RootOptions

  @Flag(name: [.customShort("n"), .long], help: "Only say what would be removed.")
  var dryRun = false

  @Flag(help: "Print what was removed as JSON.")
  var json = false

  func validate() throws {
    if keep < 1 { throw ValidationError("--keep starts at 1: the current generation stays") }
    if keepDays < 0 || keepDays > 100_000 { throw ValidationError("--keep-days is between 0 and 100000") }
  }

  func run() async throws {
    let oldest = keepDays == 0 ? Int64.max : Making.time - Int64(keepDays) * 86_400
    let collector = Collector(try machine.store(), keeping: .init(count: keep, oldestTime: oldest))
    let report = try await dryRun ? collector.plan() : collector.collect()
    if json { return try printJSON(Summary(report, isDryRun: dryRun)) }
    for removal in report.removals { Terminal.standardOutput.write("\(removal.section.rawValue)\t\(removal.package)\n") }
    if report.unknownProcessCount > 0 {
      Terminal.standardError.write(
        "\(report.unknownProcessCount) processes of other users: what they use is not known; root can look\n")
    }
    Terminal.standardError.write(
      """
      \(dryRun ? "would remove" : "removed") \(report.removals.count) packages, \(ProgressDisplay.megabytes(report.byteCount)), and \
      \(report.removedGenerations.count) generations; \(report.keptGenerations.count) stay\
      \(report.used.isEmpty ? "" : ", and \(report.used.count) packages that are in use")\n
      """)
  }

  private struct Summary: Encodable {
    struct Removal: Encodable {
      var section: String
      var package: PackageID
      var bytes: UInt64
    }

    var removed: [Removal]
    var bytes: UInt64
    var keptGenerations: [UInt64]
    var removedGenerations: [UInt64]
    var inUse: [PackageID]
    var unknownProcesses: Int
    var dryRun: Bool

    init(_ report: Collector.Report, isDryRun: Bool) {
      removed = report.removals.map { Removal(section: $0.section.rawValue, package: $0.package, bytes: $0.byteCount) }
      bytes = report.byteCount
      keptGenerations = report.keptGenerations
      removedGenerations = report.removedGenerations
      inUse = report.used
      unknownProcesses = report.unknownProcessCount
      dryRun = isDryRun
    }
  }
}
