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

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read every byte of the store, and name what is damaged.",
    discussion: """
      Images are read completely: directories, links, attributes and contents; metadata and generations are parsed, and generations have to
      have their packages. With --repo, images and metadata are compared with the SHA-256 of the repositories' indexes, too. A record
      is a package or another part of the store, and what is wrong.

        distri-fetch verify
        distri-fetch verify --root /mnt --repo https://repo.example.org/distri
      """)

  @OptionGroup var machine: RootOptions
  @OptionGroup var repositories: RepositoryOptions

  @Option(name: .shortAndLong, help: "How many packages are read at the same time.")
  var jobs = 4

  @Flag(help: "Print what is wrong as JSON.")
  var json = false

  func validate() throws {
    if jobs < 1 { throw ValidationError("--jobs starts at 1") }
  }

  func run() async throws {
    let store = try machine.store(repositories.section)
    let sources = repositories.repo.isEmpty ? [] : try await repositories.open()
    let verifier = Verifier(store)
    var findings = try verifier.findings()
    let packages = try store.packages()
    let progress = ProgressDisplay("verifying", total: UInt64(packages.count))
    var compared = 0
    try await withThrowingTaskGroup(of: (findings: [Verifier.Finding], isCompared: Bool).self) { group in
      var next = packages.makeIterator()
      var running = 0
      while true {
        while running < jobs, let package = next.next() {
          group.addTask { try Self.look(at: package, verifier, store, sources) }
          running += 1
        }
        guard let result = try await group.next() else { break }
        running -= 1
        findings += result.findings
        if result.isCompared { compared += 1 }
        progress.advance()
      }
    }
    progress.finish()
    findings.sort { ($0.subject, $0.reason) < ($1.subject, $1.reason) }
    if json {
      try printJSON(Summary(packages: packages.count, compared: compared, findings: findings))
    } else {
      for finding in findings { Terminal.standardOutput.write("\(finding.subject)\t\(finding.reason)\n") }
      Terminal.standardError.write("\(packages.count) packages, \(compared) of them compared with a repository\n")
    }
    if !findings.isEmpty { throw SelectionError.damaged(findings.count) }
  }

  private static func look(
    at package: PackageID, _ verifier: Verifier, _ store: LocalStore, _ sources: [Repository]
  ) throws -> (findings: [Verifier.Finding], isCompared: Bool) {
    var findings: [Verifier.Finding] = []
    do { try verifier.verify(package) } catch let error as StoreError {
      findings.append(.init(subject: package.description, reason: "\(error)"))
    }
    guard let entry = sources.lazy.compactMap({ $0.entry(of: package) }).first, entry.image != nil else { return (findings, false) }
    for (name, expected) in [(package.imageFileName, entry.image), (package.metadataFileName, entry.metadata)] {
      guard let expected else { continue }
      if try RepositoryIndex.FileDigest(of: store.path.appending(name)) != expected {
        findings.append(
          .init(subject: package.description, reason: "\(name) is not the file of the repository: its SHA-256 differs"))
      }
    }
    return (findings, true)
  }

  private struct Summary: Encodable {
    struct Finding: Encodable {
      var subject: String
      var reason: String
    }

    var packages: Int
    var compared: Int
    var findings: [Finding]

    init(packages: Int, compared: Int, findings: [Verifier.Finding]) {
      self.packages = packages
      self.compared = compared
      self.findings = findings.map { Finding(subject: $0.subject, reason: $0.reason) }
    }
  }
}
