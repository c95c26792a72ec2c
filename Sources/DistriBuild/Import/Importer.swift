// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriArchive
import DistriStore
import SystemPackage

/// Makes packages of Debian's binary packages, as hermetic as packages that were built.
///
/// Nothing of a Debian package is ever run. What its maintainer scripts would do for links of `update-alternatives` is read from
/// their text; what must exist at run time is written to a `tmpfiles.d` file.
public struct Importer: Sendable {
  /// How far an import has come.
  public enum Event: Sendable {
    /// apt's solver is at work.
    case solving
    /// So many debs of so many bytes have to be fetched.
    case fetching(count: Int, byteCount: UInt64)
    /// A deb has come.
    case fetched(String, byteCount: UInt64)
    /// So many packages have to be made.
    case making(count: Int)
    /// The files of a package lie unpacked.
    case unpacked(String)
    /// A package's image is written.
    case made(PackageID, byteCount: UInt64)
    /// A package is in the store already.
    case present(PackageID)
  }

  /// What an import left behind.
  public struct Outcome: Sendable {
    /// The packages that were asked for and all that they need.
    public var packages: [PackageID]
    /// Those that were not in the store before.
    public var made: [PackageID]
    /// The lock that describes them.
    public var lock: ImportLock
  }

  /// Where packages go.
  public var store: LocalStore
  /// Which package is made of what.
  public var definition: ImportDefinition
  /// What the last import made; nil where nobody keeps track.
  public var lock: ImportLock?
  /// Takes what the archive has today and gives changed packages their next revision, instead of insisting on the lock.
  public var updatesLock: Bool
  /// Holds debs; they stay for the next time.
  public var debs: FilePath
  /// An empty directory for the work; the caller removes it.
  public var workDirectory: FilePath
  /// Further configuration of apt.
  public var aptOptions: [String]
  /// How images are written.
  public var imageOptions: ImageWriter.Options
  /// What the packages are for.
  public var architecture: Architecture
  /// Is told how far the work has come, from any thread.
  public var progress: @Sendable (Event) -> Void

  /// Makes an importer.
  public init(
    store: LocalStore, definition: ImportDefinition = .init(), lock: ImportLock? = nil, updatesLock: Bool = false, debs: FilePath,
    workDirectory: FilePath, aptOptions: [String] = [], imageOptions: ImageWriter.Options = .init(),
    architecture: Architecture = .host, progress: @escaping @Sendable (Event) -> Void = { _ in }
  ) {
    self.store = store
    self.definition = definition
    self.lock = lock
    self.updatesLock = updatesLock
    self.debs = debs
    self.workDirectory = workDirectory
    self.aptOptions = aptOptions
    self.imageOptions = imageOptions
    self.architecture = architecture
    self.progress = progress
  }

  /// Imports packages and all that they need, in one transaction of the store.
  ///
  /// - Parameter requests: names of the definition's packages or of Debian's; none for all that the definition names.
  /// - Throws: ``BuildError/tool(_:reason:)`` for apt and patchelf; ``BuildError/source(_:reason:)`` for a deb that is not what index
  ///   or lock say, or a lock that the archive has outrun; ``BuildError/missingDependency(_:of:)`` for a library that no package has;
  ///   ``BuildError/invalidPackage(_:pass:reason:)``; ``StoreError``.
  public func run(_ requests: [String] = []) async throws -> Outcome {
    let requests = requests.isEmpty ? definition.everything : requests
    let archive = try AptArchive(directory: workDirectory.appending("apt"), options: aptOptions)
    let locked = updatesLock ? nil : try lock.map { try Self.entries(of: $0, for: requests, definition) }
    if let locked, let present = try presentPackages(locked) { return present }
    let plan = try await plan(requests, locked: locked, from: archive)
    let packages = try await unpack(plan)
    let resolved = try await resolve(packages, locked: locked)
    return try await make(resolved)
  }

  // MARK: What to import

  /// The lock's entries for the requests and what they need.
  static func entries(
    of lock: ImportLock, for requests: [String], _ definition: ImportDefinition
  ) throws(BuildError) -> [ImportLock.Entry] {
    var names: Set<String> = []
    for request in requests {
      let name = definition.package(for: definition.debianPackages(for: request).first ?? request).name
      guard let entry = lock.entries[name] else {
        throw .source(name, reason: "is not in the lock; use --update-lock to take it from the archive as it is today")
      }
      names.formUnion([name] + entry.needs)
    }
    var result: [ImportLock.Entry] = []
    for name in names.sorted() {
      guard let entry = lock.entries[name] else {
        throw .source(name, reason: "is needed and not in the lock; use --update-lock")
      }
      result.append(entry)
    }
    return result
  }

  /// The outcome when the store has everything that the lock names.
  private func presentPackages(_ entries: [ImportLock.Entry]) throws -> Outcome? {
    let packages = entries.map(\.package).sorted()
    let present = Set(try existingPackages())
    guard packages.allSatisfy(present.contains), let lock else { return nil }
    packages.forEach { progress(.present($0)) }
    return Outcome(packages: packages, made: [], lock: lock)
  }

  func existingPackages() throws -> [PackageID] { store.path.exists ? try store.packages() : [] }

  private func plan(_ requests: [String], locked: [ImportLock.Entry]?, from archive: AptArchive) async throws -> ImportPlan {
    try debs.makeDirectories()
    let cache = DebCache(directory: debs)
    let records: [DebianRecord]
    if let locked {
      records = locked.flatMap(\.debs).compactMap { deb in
        var record = DebianRecord(fields: ["Package": deb.name, "Version": deb.version, "Architecture": deb.architecture])
        record?.sha256 = deb.sha256
        return record
      }
      do {
        try await fetch(records, into: cache, from: archive)
      } catch BuildError.tool("apt-get", let reason) {
        throw BuildError.source(
          "the lock",
          reason: "names packages that the archive does not have any more; use --update-lock to take today's (apt-get: \(reason))")
      }
      return try ImportPlan(definition: definition, records: try described(records, in: cache), requests: requests)
    }
    progress(.solving)
    records = try await solve(requests, with: archive)
    let plan = try ImportPlan(definition: definition, records: records, requests: requests)
    try await fetch(plan.records, into: cache, from: archive)
    // As with a lock: what a package says of itself must not depend on the way it came.
    return try ImportPlan(definition: definition, records: try described(plan.records, in: cache), requests: requests)
  }

  /// Solves again until each package that has one of its Debian packages has all of them: its content must not depend on the request.
  private func solve(_ requests: [String], with archive: AptArchive) async throws -> [DebianRecord] {
    var wanted = Set(requests.flatMap(definition.debianPackages(for:)))
    while true {
      let records = try await archive.closure(of: wanted.sorted())
      let members = records.flatMap { record in definition.package(for: record.name).debian.filter { !$0.contains("*") } }
      let missing = Set(members).subtracting(records.map(\.name)).subtracting(wanted)
      if missing.isEmpty { return records }
      wanted.formUnion(missing)
    }
  }

  private func fetch(_ records: [DebianRecord], into cache: DebCache, from archive: AptArchive) async throws {
    let missing = try await cache.missing(records)
    guard !missing.isEmpty else { return }
    progress(.fetching(count: missing.count, byteCount: missing.reduce(0) { $0 + $1.byteCount }))
    try await cache.fetch(missing, from: archive) { progress(.fetched($0.name, byteCount: $0.byteCount)) }
  }

  /// Records with all that the debs themselves say.
  private func described(_ records: [DebianRecord], in cache: DebCache) throws -> [DebianRecord] {
    try records.map { record in
      guard var full = DebianRecord(fields: try DebianArchive(path: cache.path(of: record)).control),
        full.name == record.name, full.version == record.version
      else { throw BuildError.source(cache.path(of: record).string, reason: "is not \(record.name) \(record.version)") }
      full.sha256 = record.sha256
      return full
    }
  }
}
