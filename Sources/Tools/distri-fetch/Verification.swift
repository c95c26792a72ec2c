// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import SystemPackage
import ToolSupport

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read every byte of the store, and name what is damaged.",
    discussion: """
      Images are read completely: directories, links, attributes and contents; metadata and generations are parsed, and generations have to
      have their packages. With --repo, images and metadata are compared with the SHA-256 of the repositories' indexes, too. A record
      is a package or another part of the store, and what is wrong. «distri-fetch repair» brings damaged packages anew.

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
    let result = try await StoreCheck(store: store, sources: sources, jobs: jobs).run()
    if json {
      try printJSON(result)
    } else {
      for finding in result.findings { Terminal.standardOutput.write(finding.text) }
      Terminal.standardError.write("\(result.packages) packages, \(result.compared) of them compared with a repository\n")
    }
    if !result.findings.isEmpty { throw SelectionError.damaged(result.findings.count) }
  }
}

struct Repair: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Find what is damaged in the store, and bring it anew.",
    discussion: """
      Looks at everything as verify does, and compares it with the indexes of the repositories. Damaged
      packages, and those that a generation names and that are gone, are fetched, verified, and take
      their places in one step; programs that run go on with what they have open. A record is a package
      that was brought. What no repository has is named, and the status is 65.

        distri-fetch repair --dry-run
        distri-fetch repair --root /mnt --repo https://repo.example.org/distri
      """)

  @OptionGroup var machine: RootOptions
  @OptionGroup var repositories: RepositoryOptions

  @Option(name: .shortAndLong, help: "How many packages are read or fetched at the same time.")
  var jobs = 4

  @Flag(name: [.customShort("n"), .long], help: "Only say what would be brought anew.")
  var dryRun = false

  @Flag(help: "Print what was wrong, and what was brought, as JSON.")
  var json = false

  func validate() throws {
    if jobs < 1 { throw ValidationError("--jobs starts at 1") }
  }

  func run() async throws {
    let store = try machine.store(repositories.section)
    let sources = try await repositories.open()
    let result = try await StoreCheck(store: store, sources: sources, jobs: jobs).run()
    let damaged = Set(result.findings.compactMap(\.remedy))
    let available = damaged.filter { Resolver(sources).repository(of: $0) != nil }
    if !dryRun, !available.isEmpty {
      try await Installer(repositories: sources, store: store, maximumDownloads: jobs).repair(available)
    }
    let left = result.findings.filter { $0.remedy.map { !available.contains($0) } ?? true }
    if json {
      try printJSON(Summary(repaired: available.sorted(), left: left, dryRun: dryRun))
    } else {
      for package in available.sorted() { Terminal.standardOutput.write("\(package)\n") }
      for finding in left { Terminal.standardError.write("not repaired: \(finding.text)") }
      let verb = dryRun ? "would bring" : "brought"
      Terminal.standardError.write(
        result.findings.isEmpty ? "nothing is damaged\n" : "\(verb) \(available.count) packages anew\n")
    }
    if !left.isEmpty { throw SelectionError.damaged(left.count) }
  }

  private struct Summary: Encodable {
    var repaired: [PackageID]
    var left: [Verifier.Finding]
    var dryRun: Bool
  }
}

/// A look at a whole store, several packages at the same time.
struct StoreCheck {
  let store: LocalStore
  /// Whose digests the packages are compared with, as far as they list them.
  let sources: [Repository]
  let jobs: Int

  struct Result: Encodable {
    var packages: Int
    var compared = 0
    var findings: [Verifier.Finding]
  }

  func run() async throws -> Result {
    let verifier = Verifier(store)
    let packages = try store.packages()
    var result = Result(packages: packages.count, findings: try verifier.findings())
    let progress = ProgressDisplay("verifying", total: UInt64(packages.count))
    defer { progress.finish() }
    try await withThrowingTaskGroup(of: (findings: [Verifier.Finding], isCompared: Bool).self) { group in
      var next = packages.makeIterator()
      var running = 0
      while true {
        while running < jobs, let package = next.next() {
          group.addTask { try look(at: package, verifier) }
          running += 1
        }
        guard let one = try await group.next() else { break }
        running -= 1
        result.findings += one.findings
        if one.isCompared { result.compared += 1 }
        progress.advance()
      }
    }
    result.findings.sort { ($0.subject, $0.reason) < ($1.subject, $1.reason) }
    return result
  }

  private func look(at package: PackageID, _ verifier: Verifier) throws -> (findings: [Verifier.Finding], isCompared: Bool) {
    var findings: [Verifier.Finding] = []
    do { try verifier.verify(package) } catch let error as StoreError {
      findings.append(.init(subject: package.description, reason: "\(error)", remedy: package))
    }
    guard let entry = sources.lazy.compactMap({ $0.entry(of: package) }).first, entry.image != nil else { return (findings, false) }
    for (name, expected) in [(package.imageFileName, entry.image), (package.metadataFileName, entry.metadata)] {
      guard let expected else { continue }
      if try RepositoryIndex.FileDigest(of: store.path.appending(name)) != expected {
        findings.append(
          .init(
            subject: package.description, reason: "\(name) is not the file of the repository: its SHA-256 differs", remedy: package)
        )
      }
    }
    return (findings, true)
  }
}

extension Verifier.Finding: Encodable {
  private enum CodingKeys: CodingKey { case subject, reason }

  /// Subject and reason.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(subject, forKey: .subject)
    try container.encode(reason, forKey: .reason)
  }

  /// A record.
  fileprivate var text: String { "\(subject)\t\(reason)\n" }
}
