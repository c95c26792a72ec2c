// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Removes from a store what no generation that is kept, and nobody who is running, has a use for.
///
/// Everything is decided and removed while the store is locked. What an unfinished transaction of another process is about to name survives:
/// its writer has reserved that, under the same lock, before it relied on it. Packages that were added by a transaction without a
/// generation, and that none names, go.
public struct Collector: Sendable {
  /// Which generations are kept. The current one always is, and the one with the highest number, so that no number is given twice.
  public struct Policy: Sendable, Hashable {
    /// The newest ones, so many, whatever their age.
    public var count: Int
    /// Those made at this time or later, in seconds since 1970, whatever their number.
    public var oldestTime: Int64

    /// Makes a policy.
    public init(count: Int, oldestTime: Int64 = .max) {
      self.count = count
      self.oldestTime = oldestTime
    }
  }

  /// A file that was removed, or would be.
  public struct Removal: Sendable, Hashable {
    /// Which part of the store it was in.
    public var section: LocalStore.Section
    /// The package.
    public var package: PackageID
    /// Its image, in bytes.
    public var byteCount: UInt64
  }

  /// What a collection has done, or would do.
  public struct Report: Sendable, Hashable {
    /// The generations that are kept, ascending.
    public var keptGenerations: [UInt64] = []
    /// The generations that went, ascending.
    public var removedGenerations: [UInt64] = []
    /// Images that went, sorted by package, sections other than that of packages first.
    public var removals: [Removal] = []
    /// Packages that no kept generation names, and that stay since somebody uses or has reserved them; sorted.
    public var used: [PackageID] = []
    /// Processes of others at which we may not look: what they use is not known.
    public var unknownProcessCount = 0

    /// All that went, in bytes.
    public var byteCount: UInt64 { removals.reduce(0) { $0 &+ $1.byteCount } }
  }

  private let store: LocalStore
  private let policy: Policy
  private let users: @Sendable ([PackageID]) -> PackageUsers

  /// Makes a collector for a store.
  public init(_ store: LocalStore, keeping policy: Policy) {
    self.init(store, keeping: policy) { PackageUsers(of: $0) }
  }

  /// The same, with another look at who uses packages.
  init(_ store: LocalStore, keeping policy: Policy, users: @escaping @Sendable ([PackageID]) -> PackageUsers) {
    self.store = store
    self.policy = policy
    self.users = users
  }

  /// Says what ``collect()`` would remove; changes nothing, and takes no lock.
  ///
  /// - Throws: ``StoreError/noGeneration(_:in:)`` when the store has none; ``StoreError/invalidMetadata(of:line:reason:)`` for a generation that cannot be read;
  ///   ``StoreError/system(operation:path:_:)``.
  public func plan() async throws -> Report {
    try await blocking {
      let writer = try? StoreWriter(existing: store.path)
      return try decide(reserved: try writer?.reservations() ?? [])
    }
  }

  /// Removes downloads that broke off and generations first, then images that belong to packages, then packages. A kill in between leaves only what the next one removes.
  ///
  /// - Throws: as ``plan()``, and then nothing was removed; ``StoreError/locked(_:holder:)``.
  public func collect() async throws -> Report {
    let writer = try await store.openForWriting()
    let lock = try await writer.lock(patience: store.patience)
    let report = try await blocking {
      try writer.recover()
      try writer.partials.removeAll()
      let report = try decide(reserved: try writer.reservations())
      try writer.removeGenerations(report.removedGenerations)
      return report
    }
    for section in LocalStore.Section.allCases where section != .packages {
      let packages = report.removals.filter { $0.section == section }.map(\.package)
      if packages.isEmpty { continue }
      // Not for others to see that they have gone meanwhile: nobody else removes while the packages' section is locked.
      try await LocalStore(path: store.path, section: section, patience: store.patience).remove(packages)
    }
    let packages = report.removals.filter { $0.section == .packages }.map(\.package)
    try await blocking {
      if packages.isEmpty { return }
      try writer.remove(packages)
      for package in packages { IndexDirectory(store).remove(IndexDirectory.fileName(of: package.description)) }
    }
    lock.release()
    return report
  }

  // MARK: Deciding

  private func decide(reserved: Set<PackageID>) throws(StoreError) -> Report {
    var report = Report()
    let generations = try keptGenerations(&report)
    let all = try store.packages()
    let present = Set(all)
    var roots = Set(generations.flatMap(\.selection.packages))
    roots.formUnion(generations.flatMap(\.selection.pins))
    let named = withNeeds(roots, present)
    let users = users(all)
    report.unknownProcessCount = users.unknownProcessCount
    let used = withNeeds(users.packages.union(reserved), present)
    report.used = used.subtracting(named).intersection(present).sorted()
    let garbage = all.filter { !named.contains($0) && !used.contains($0) }
    report.removals = try belongings(of: Set(garbage), present) + removals(of: garbage, in: store)
    return report
  }

  private func keptGenerations(_ report: inout Report) throws(StoreError) -> [Generation] {
    guard let current = try store.generations.currentNumber() else { throw .noGeneration(nil, in: store.path) }
    let numbers = try store.generations.numbers()
    var kept: [Generation] = []
    for (index, number) in numbers.enumerated() {
      // All are read: the time of one that cannot be is not known, nor what it needs.
      let generation = try store.generations.generation(number)
      let isNew = numbers.count - index <= max(1, policy.count)
      if number == current || isNew || generation.time >= policy.oldestTime { kept.append(generation) }
    }
    guard kept.contains(where: { $0.number == current }) else { throw .noGeneration(current, in: store.path) }
    report.keptGenerations = kept.map(\.number)
    report.removedGenerations = numbers.filter { number in !kept.contains { $0.number == number } }
    return kept
  }

  /// With the closures of those that are there: a program that runs may still open a library.
  private func withNeeds(_ packages: Set<PackageID>, _ present: Set<PackageID>) -> Set<PackageID> {
    var result = packages
    for package in packages where present.contains(package) {
      result.formUnion((try? store.metadata(of: package))?.runtimeDependencies ?? [])
    }
    return result
  }

  /// Debug symbols and sources of packages that go. Images that belong to no package of the store stay: they appear before it.
  private func belongings(of garbage: Set<PackageID>, _ present: Set<PackageID>) throws(StoreError) -> [Removal] {
    if garbage.isEmpty { return [] }
    var owners = garbage
    for package in garbage { if let source = source(of: package) { owners.insert(source) } }
    for package in present.subtracting(garbage) {
      owners.remove(package)
      if let source = source(of: package) { owners.remove(source) }
    }
    var result: [Removal] = []
    for section in LocalStore.Section.allCases where section != .packages {
      let other = try LocalStore(path: store.path, section: section)
      result += removals(of: try other.packages().filter { owners.contains($0) }, in: other)
    }
    return result
  }

  /// What the source of a package that was split from another is named after.
  private func source(of package: PackageID) -> PackageID? {
    guard let name = (try? store.metadata(of: package))?.sourcePackage, !name.isEmpty else { return nil }
    return try? PackageID(
      name: name, architecture: package.architecture, upstream: package.upstream, revision: package.revision)
  }

  private func removals(of packages: [PackageID], in store: LocalStore) -> [Removal] {
    packages.map { package in
      let file = try? OwnedDescriptor(reading: store.path.appending(package.imageFileName))
      let byteCount = withExtendedLifetime(file) { (try? file?.descriptor.status().byteCount) ?? 0 }
      return Removal(section: store.section, package: package, byteCount: byteCount)
    }
  }
}
