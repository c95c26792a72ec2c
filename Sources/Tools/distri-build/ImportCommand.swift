// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build import`: packages of Debian become packages of ours.
struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Make packages of Debian's binary packages.",
    discussion: """
      The closure comes from apt's solver and this machine's sources and lists; what is installed here plays no part, and nothing of a
      Debian package is run. An import definition says which package is made of which Debian packages; without one, each becomes a
      package of its own name. With --lock, exactly the debs that the lock names are taken; --update-lock takes what the archive has
      today, gives what changed its next revision, and writes the lock anew.

        distri-build import --store demo/store --definition bootstrap.import.textproto --lock bootstrap.import.lock
        distri-build import --store demo/store nano strace

      Prints the full name of every package that was asked for or is needed, a line each.
      """)

  @OptionGroup var storeOptions: StoreOptions

  @Option(help: ArgumentHelp("Says which package is made of which Debian packages.", valueName: "file"))
  var definition: String?

  @Option(help: ArgumentHelp("Names the debs to take and the revisions they got.", valueName: "file"))
  var lock: String?

  @Flag(help: "Take what the archive has today, and write the lock.")
  var updateLock = false

  @Option(help: ArgumentHelp("Keeps the debs for the next time; without it they are fetched each time.", valueName: "dir"))
  var debs: String?

  @Option(help: ArgumentHelp("Configuration of apt, such as Dir::Etc::sourcelist=FILE.", valueName: "key=value"))
  var aptOption: [String] = []

  @Flag(help: "Print a JSON object instead of lines.")
  var json = false

  @Argument(help: "Names of the definition's packages or of Debian's; none for all that the definition names.")
  var packages: [String] = []

  func validate() throws {
    if packages.isEmpty && definition == nil { throw ValidationError("Name packages, or a definition that does.") }
    if updateLock && lock == nil { throw ValidationError("--update-lock needs --lock.") }
  }

  func run() async throws {
    let lockPath = lock.map { FilePath($0) }
    let work = try TemporaryFolder()
    defer { work.remove() }
    let report = ImportReport()
    let importer = Importer(
      store: try LocalStore(path: storeOptions.storePath),
      definition: try definition.map { try ImportDefinition(path: FilePath($0)) } ?? ImportDefinition(),
      lock: try lockPath.map { try ImportLock(path: $0) }, updatesLock: updateLock,
      debs: debs.map { FilePath($0) } ?? work.path.appending("debs"), workDirectory: work.path.appending("work"),
      aptOptions: aptOption, progress: report.handle)
    let outcome = try await importer.run(packages)
    report.finish()
    if updateLock, let lockPath { try outcome.lock.write(to: lockPath) }
    try printPackages(of: outcome)
  }

  private func printPackages(of outcome: Importer.Outcome) throws {
    guard json else {
      Terminal.standardOutput.write(outcome.packages.map { "\($0)\n" }.joined())
      return
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    let object = ["packages": outcome.packages, "made": outcome.made]
    Terminal.standardOutput.write(String(decoding: try encoder.encode(object), as: UTF8.self) + "\n")
  }
}

/// Shows how far an import has come.
private final class ImportReport: Sendable {
  private let download = ProgressDisplay("fetching", total: 0, unit: .bytes)
  private let work = ProgressDisplay("importing", total: 0)

  @Sendable func handle(_ event: Importer.Event) {
    switch event {
    case .solving: work.note("asking apt for what is needed")
    case .fetching(let count, let byteCount):
      work.note("fetching \(count) debs\(byteCount > 0 ? ", \(ProgressDisplay.megabytes(byteCount))" : "")")
      download.setTotal(byteCount)
    case .fetched(let name, let byteCount): download.advance(by: byteCount, detail: name)
    case .making(let count):
      download.finish()
      // Each package is unpacked and made.
      work.setTotal(UInt64(2 * count))
    case .unpacked(let name): work.advance(detail: name)
    case .made(let package, let byteCount):
      work.note("\(package)  \(ProgressDisplay.megabytes(byteCount))")
      work.advance(detail: package.name)
    case .present(let package):
      work.note("\(package)  is there")
      work.advance(detail: package.name)
    }
  }

  func finish() {
    download.finish()
    work.finish()
  }
}

/// A folder below `TMPDIR` that goes away with the command.
private struct TemporaryFolder {
  let path: FilePath

  init() throws {
    let base = FileManager.default.temporaryDirectory
    let folder = base.appending(path: "distri-import-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    path = FilePath(folder.path)
  }

  func remove() { try? FileManager.default.removeItem(atPath: path.string) }
}
