// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// The option that says which machine is meant.
struct RootOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("The root directory of the machine that is meant.", valueName: "dir"))
  var root: String = "/"

  /// The machine's store.
  func store(_ section: LocalStore.Section = .packages) throws -> LocalStore {
    try LocalStore(path: FilePath(root).appending("roimg"), section: section)
  }
}

/// What generations say of their making.
enum Making {
  /// Now, in seconds since 1970.
  static var time: Int64 { Int64(Date().timeIntervalSince1970) }

  /// The command line, without passwords in it.
  static var command: String {
    (["distri-fetch"] + CommandLine.arguments.dropFirst().map(\.withoutCredentials)).joined(separator: " ")
  }

  /// `/etc/distri`, or what `DISTRICFG` names.
  static var configuration: FilePath { FilePath(ProcessInfo.processInfo.environment["DISTRICFG"] ?? "/etc/distri") }

  /// A time for people, in UTC.
  static func text(of time: Int64) -> String {
    Date(timeIntervalSince1970: TimeInterval(time)).formatted(.iso8601)
  }
}

/// What is wrong with what was asked for.
enum SelectionError: Error, ExitStatusProviding, CustomStringConvertible {
  /// Nobody asked for the package, but others need it.
  case needed(PackageID, by: [PackageID])
  /// The package is selected by a set.
  case inSet(String, set: String)
  /// Nothing of that name is selected.
  case notSelected(String)
  /// No such set is followed.
  case noSet(String)
  /// No version of the package is pinned.
  case notPinned(String)
  /// This many images or generations are damaged; which ones, has been said.
  case damaged(Int)

  var exitStatus: ExitCode {
    switch self {
    case .needed, .inSet: ExitStatus.usage
    case .notSelected, .noSet, .notPinned: ExitStatus.notFound
    case .damaged: ExitStatus.badData
    }
  }

  var description: String {
    switch self {
    case .needed(let package, let dependents):
      """
      \(package) was not asked for: it is there since \(dependents.prefix(3).map(\.description).joined(separator: ", "))\
      \(dependents.count > 3 ? " and \(dependents.count - 3) more" : "") need\(dependents.count == 1 ? "s" : "") it
      """
    case .inSet(let package, let set):
      "\(package) belongs to the set «\(set)»: take it out of its file and run distri-fetch update, or remove --set \(set)"
    case .notSelected(let package): "«\(package.printable)» is not installed"
    case .noSet(let name): "the set «\(name.printable)» is not followed"
    case .notPinned(let package): "no version of «\(package.printable)» is pinned"
    case .damaged(let count): "\(count) of them \(count == 1 ? "is" : "are") damaged"
    }
  }
}

/// What two selections differ in.
struct SelectionDifference: Encodable {
  struct Replacement: Encodable {
    var from: PackageID
    var to: PackageID
  }

  var added: [PackageID] = []
  var removed: [PackageID] = []
  var replaced: [Replacement] = []

  /// Of a package of which one version goes and another one comes, the one replaces the other.
  init(from old: [PackageID], to new: [PackageID]) {
    let (before, after) = (Set(old), Set(new))
    var gone = Dictionary(grouping: before.subtracting(after), by: \.unversioned).mapValues { $0.sorted() }
    for package in after.subtracting(before).sorted() {
      if let last = gone[package.unversioned]?.popLast() {
        replaced.append(Replacement(from: last, to: package))
      } else {
        added.append(package)
      }
    }
    removed = gone.values.flatMap(\.self).sorted()
  }

  var isEmpty: Bool { added.isEmpty && removed.isEmpty && replaced.isEmpty }

  /// Has the systemd of a machine that runs take the units that have changed; what fails is said.
  func applyUnits(below root: String, in store: LocalStore) async throws {
    // Another root is not that of the running systemd.
    guard !isEmpty, FilePath(root).lexicallyNormalized() == "/" else { return }
    do {
      let units = try ServiceUnits(added: added, removed: removed, replacements: replaced.map(\.to), in: store)
      try await units.apply(environment: ProcessInfo.processInfo.environment.map { "\($0)=\($1)" })
    } catch let error as RepositoryError {
      Terminal.standardError.write("distri-fetch: \(error)\n")
    }
  }

  /// A record a line: what happens to a package, the package, and what it replaces.
  var text: String {
    (added.map { "+\t\($0)\n" } + removed.map { "-\t\($0)\n" } + replaced.map { "=\t\($0.to)\t\($0.from)\n" }).joined()
  }

  /// For people.
  var summary: String { "\(added.count) come, \(removed.count) go, \(replaced.count) change" }
}

extension GenerationContext {
  /// What is asked for, resolved with packages that have come.
  func resolve(_ selection: Generation.Selection, with new: [PackageID] = []) throws -> Generation.Selection {
    try selection.resolved(with: new) { package throws(StoreError) in try metadata(of: package) }
  }
}

extension LocalStore {
  /// What is asked for, resolved offline.
  func resolve(_ selection: Generation.Selection) throws -> Generation.Selection {
    try selection.resolved { package throws(StoreError) in try metadata(of: package) }
  }
}

/// The options of what changes a machine's selection and nothing else.
struct ChangeOptions: ParsableArguments {
  @OptionGroup var machine: RootOptions

  @Flag(name: [.customShort("n"), .long], help: "Only say what would change.")
  var dryRun = false

  @Flag(help: "Print what changed as JSON.")
  var json = false
}
