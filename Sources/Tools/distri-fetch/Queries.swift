// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

struct List: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the packages of repositories, the newest of each, or those that are installed.",
    discussion: """
        distri-fetch list --installed
        distri-fetch list --repo https://repo.example.org/distri | grep nano
      """)

  @OptionGroup var machine: RootOptions
  @OptionGroup var repositories: RepositoryOptions

  @Flag(help: "List what the machine's current generation selects; with --all, all packages of its store. Works offline.")
  var installed = false

  @Flag(help: "List all versions.")
  var all = false

  @Flag(help: "Print a JSON array.")
  var json = false

  func run() async throws {
    if installed { return try listInstalled() }
    let sources = try await repositories.open()
    var packages = Set(sources.flatMap { $0.packages() }).sorted()
    if !all { packages = Dictionary(grouping: packages, by: \.unversioned).values.compactMap { $0.newest() }.sorted() }
    if json { return try printJSON(packages) }
    for package in packages { Terminal.standardOutput.write("\(package)\n") }
  }

  private func listInstalled() throws {
    let store = try machine.store(repositories.section)
    let packages = try all || store.section != .packages ? store.packages() : store.selection().packages
    if json { return try printJSON(packages) }
    for package in packages { Terminal.standardOutput.write("\(package)\n") }
  }
}

struct Info: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what a package says of itself.",
    discussion: """
        distri-fetch info nano --repo https://repo.example.org/distri
        distri-fetch info nano --installed
      """)

  @Argument(help: ArgumentHelp("The package: nano, nano-amd64 or nano-amd64-7.2-3.", valueName: "package"))
  var package: String

  @OptionGroup var machine: RootOptions
  @OptionGroup var repositories: RepositoryOptions

  @Flag(help: "Show the package that the machine has: the version that is selected, if one is. Works offline.")
  var installed = false

  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    if installed { return try showInstalled() }
    let sources = try await repositories.open()
    let query = try PackageQuery(parsing: package)
    guard let id = query.newest(of: sources.flatMap { $0.packages() }),
      let repository = Resolver(sources).repository(of: id)
    else {
      throw RepositoryError.unresolved(package, neededBy: nil, repositories: sources.map(\.root))
    }
    let metadata = try await repository.metadata(of: id)
    let record = Record(id, metadata, in: repository)
    if json { return try printJSON(record) }
    Terminal.standardOutput.write(record.text)
  }

  private func showInstalled() throws {
    let store = try machine.store(repositories.section)
    let query = try PackageQuery(parsing: package)
    let selected = try store.selection()
    guard let id = try selected.choice(for: query) ?? store.newest(query) else { throw SelectionError.notSelected(package) }
    let record = Record(id, try store.metadata(of: id), in: store)
    if json { return try printJSON(record) }
    Terminal.standardOutput.write(record.text)
  }

  private struct Record: Encodable {
    var package: PackageID
    var repository: String
    var source: String
    var summary: String
    var license: String
    var homepage: String
    var bytes: UInt64?
    var sha256: String?
    var files: Int
    var needs: [PackageID]

    init(_ id: PackageID, _ metadata: PackageMetadata, in repository: Repository) {
      let entry = repository.entry(of: id)
      package = id
      self.repository = repository.root
      source = metadata.sourcePackage
      summary = metadata.summary
      license = metadata.license
      homepage = metadata.homepage
      bytes = entry?.image?.byteCount
      sha256 = entry?.image?.sha256.hexadecimal
      files = entry?.wellKnownPaths.count ?? 0
      needs = metadata.runtimeDependencies
    }

    init(_ id: PackageID, _ metadata: PackageMetadata, in store: LocalStore) {
      package = id
      repository = ""
      source = metadata.sourcePackage
      summary = metadata.summary
      license = metadata.license
      homepage = metadata.homepage
      let path = store.path.appending(id.imageFileName).string
      bytes = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int).map(UInt64.init)
      files = 0
      needs = metadata.runtimeDependencies
    }

    var text: String {
      let fields = [
        ("package", package.description), ("repository", repository), ("source", source), ("summary", summary),
        ("license", license), ("homepage", homepage), ("bytes", bytes.map(String.init) ?? ""), ("sha256", sha256 ?? ""),
        ("needs", needs.map(\.description).joined(separator: " ")),
      ]
      return fields.filter { !$0.1.isEmpty }.map { "\($0.0)\t\($0.1)\n" }.joined()
    }
  }
}

struct Search: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Find packages by name, by what they are, or by a program, library or other file that they bring.",
    discussion: """
      A record is a package, and the file that was found in it, or what it says that it is. Files are
      those of the directories that packages share: programs, libraries, headers and so on.

        distri-fetch search libz.so.1 --repo https://repo.example.org/distri
        distri-fetch search --file bin/nano
      """)

  @Argument(help: ArgumentHelp("Part of a package's name or summary, or the whole name of a file.", valueName: "name"))
  var name: String

  @OptionGroup var repositories: RepositoryOptions

  @Flag(name: .customLong("file"), help: "Look for files only: a name, or the end of a path such as bin/nano.")
  var onlyFiles = false

  @Flag(help: "Print a JSON array.")
  var json = false

  func run() async throws {
    let sources = try await repositories.open()
    var records: [Record] = []
    let words = name.lowercased()
    var path = name[...]
    while path.first == "/" { path.removeFirst() }
    for package in sources.flatMap(\.index.packages) {
      if !onlyFiles, package.id.name.contains(name) || package.summary.lowercased().contains(words) {
        records.append(Record(package: package.id, summary: package.summary))
      }
      let paths = package.wellKnownPaths.filter { $0 == path || $0.hasSuffix("/\(path)") }
      records += paths.map { Record(package: package.id, file: $0, summary: package.summary) }
    }
    if records.isEmpty { throw RepositoryError.unresolved(name, neededBy: nil, repositories: sources.map(\.root)) }
    if json { return try printJSON(records) }
    for record in records {
      let found = record.file ?? (record.summary.isEmpty ? nil : record.summary.printable)
      Terminal.standardOutput.write("\(record.package)\(found.map { "\t\($0)" } ?? "")\n")
    }
  }

  private struct Record: Encodable {
    var package: PackageID
    var file: String?
    var summary: String
  }
}
