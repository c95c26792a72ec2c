// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Brings packages and what they need from repositories into a store, all of them in one transaction.
public struct Installer: Sendable {
  private let repositories: [Repository]
  private let store: LocalStore
  private let maximumDownloads: Int
  private let isOffline: Bool

  /// Makes an installer.
  ///
  /// - Parameters:
  ///   - repositories: where packages come from; of two that have the same package, the first gives it.
  ///   - store: where they go; made by the first installation if its parent directory is there.
  ///   - maximumDownloads: packages that are fetched at the same time.
  ///   - isOffline: whether a query may mean what the store has, and no repository, since not all of them can be asked.
  public init(repositories: [Repository], store: LocalStore, maximumDownloads: Int = 16, isOffline: Bool = false) {
    self.repositories = repositories
    self.store = store
    self.maximumDownloads = max(1, maximumDownloads)
    self.isOffline = isOffline
  }

  /// Finds out what would be installed, without changing anything.
  ///
  /// - Throws: as ``Resolver/resolve(_:architecture:)``; what `LocalStore.packages()` throws.
  public func plan(_ queries: [PackageQuery], architecture: Architecture = .host) async throws -> InstallPlan {
    let present = try packagesPresent()
    let resolver = Resolver(repositories, installed: present, store: isOffline ? store : nil)
    let resolution = try await resolver.resolve(queries, architecture: architecture)
    var plan = InstallPlan(requested: resolution.requested, present: [], missing: [])
    for package in resolution.closure {
      if present.contains(package) {
        plan.present.append(package)
      } else {
        let entry = resolver.repository(of: package)?.entry(of: package)
        let size = entry?.image.map { $0.byteCount &+ (entry?.metadata?.byteCount ?? 0) }
        plan.missing.append(.init(id: package, byteCount: size))
      }
    }
    return plan
  }

  /// Finds out what an update would bring: of what is asked for, the newest versions over all repositories, none older than what is
  /// selected. Pinned packages stay.
  ///
  /// - Parameters:
  ///   - selection: what is asked for, and selected.
  ///   - only: these packages alone; empty for all.
  /// - Throws: as ``plan(_:architecture:)``.
  public func planUpdate(
    of selection: Generation.Selection, only: [PackageQuery] = [], architecture: Architecture = .host
  ) async throws -> InstallPlan {
    let offered = Dictionary(grouping: Set(repositories.flatMap { $0.packages() }), by: \.name)
    var changes: [PackageQuery] = []
    for want in selection.allWants where selection.pin(for: want) == nil {
      let choice = selection.choice(for: want)
      // What has no version yet, a new member of a set, is wanted in any case.
      guard choice == nil || only.isEmpty || only.contains(where: { $0.meansSamePackage(as: want) }) else { continue }
      let candidates = (offered[want.name] ?? []) + (choice.map { [$0] } ?? [])
      guard let newest = want.newest(of: candidates, defaultArchitecture: architecture) else {
        throw RepositoryError.unresolved(want.description, neededBy: nil, repositories: repositories.map(\.root))
      }
      if newest != choice { changes.append(try PackageQuery(parsing: newest.description)) }
    }
    return try await plan(changes, architecture: architecture)
  }

  /// Installs what is missing: all of it appears in the store, or nothing.
  ///
  /// - Parameters:
  ///   - root: below its `etc`, the packages' defaults are put where nothing is yet, before the packages appear; defaults of earlier versions
  ///     that nobody has changed are replaced, and beside others the new ones are put as `.new`. Nil: nowhere.
  ///   - onFetched: called for each package that came, in any order.
  ///   - change: says what the generation names that becomes current with the packages; nil to make none.
  /// - Throws: what ``Repository/fetch(_:to:)`` and `LocalStore.transaction` throw; ``RepositoryError/system(operation:path:_:)``.
  @discardableResult
  public func install(
    _ plan: InstallPlan, defaultsBelow root: FilePath? = nil,
    onFetched: @escaping @Sendable (PackageID) -> Void = { _ in }, making change: GenerationMaker? = nil
  ) async throws -> InstallResult {
    var result = InstallResult()
    guard !plan.missing.isEmpty || change != nil else { return result }
    var whole: (partials: PartialFiles, packages: [PackageID])?
    result.generation = try await store.transaction(making: change) { area in
      // What is there is kept from collectors from here on. Another process may have been faster, with either.
      let missing = Set(try await store.reserve(plan.present + plan.missing.map(\.id), in: area))
      let items = plan.missing + plan.present.map { InstallPlan.Item(id: $0, byteCount: nil) }
      // The largest first: none of them is left over at the end, when the line would be idle beside it.
      let packages = items.filter { missing.contains($0.id) }.sorted { ($0.byteCount ?? 0) > ($1.byteCount ?? 0) }.map(\.id)
      let versions = Dictionary(grouping: try packagesPresent(), by: \.unversioned)
      let files = packages.map { package in
        var files = area.files(of: package)
        files.base = versions[package.unversioned]?.newest().map { store.path.appending($0.imageFileName) }
        return files
      }
      whole = (area.partials, packages)
      try await fetch(zip(packages, files), onFetched)
      // An `etc` among sources is not the machine's.
      if let root, store.section == .packages {
        let selected = Set(try store.generations.current()?.selection.packages ?? plan.present)
        let images =
          try zip(packages, files).map { ($0, try PackageImage(path: $1.image)) }
          + plan.present.filter { !selected.contains($0) }.map { ($0, try store.image(of: $0)) }
        result.newDefaults = try placeDefaults(of: images, selected, below: root)
        result.declarations = try SystemDeclaration.all(of: images)
      }
    }
    // Up to here, what had come was worth keeping, whatever happened.
    let resolver = Resolver(repositories)
    for package in whole?.packages ?? [] {
      let entry = resolver.repository(of: package)?.entry(of: package)
      for file in [entry?.image, entry?.compressed] { if let file { whole?.partials.remove(file.sha256) } }
    }
    return result
  }

  /// Brings packages anew, in the place of damaged files or of nothing: all of them, or nothing changes.
  ///
  /// - Throws: what ``Repository/fetch(_:to:)`` and `LocalStore.repair` throw; `StoreError.notFound` for one that no repository has.
  public func repair(_ packages: Set<PackageID>) async throws {
    try await store.repair(packages) { area in
      try await fetch(packages.sorted().map { ($0, area.files(of: $0)) }) { _ in }
    }
  }

  /// Puts the defaults of packages that have come, or that are there and are going to be selected.
  private func placeDefaults(
    of images: [(PackageID, PackageImage)], _ selected: Set<PackageID>, below root: FilePath
  ) throws -> [String] {
    let versions = Dictionary(grouping: try packagesPresent(), by: \.unversioned)
    let defaults = try ConfigurationDefaults(root: root)
    var new: [String] = []
    for (package, image) in images {
      let others = try (versions[package.unversioned] ?? []).filter { $0 != package }.sorted().map {
        ConfigurationDefaults.Version(image: try store.image(of: $0), isSelected: selected.contains($0))
      }
      new += try defaults.copy(from: image, after: others)
    }
    return new.sorted()
  }

  private func fetch(
    _ packages: some Sequence<(PackageID, StagedFiles)>, _ onFetched: @escaping @Sendable (PackageID) -> Void
  ) async throws {
    let resolver = Resolver(repositories)
    try await withThrowingTaskGroup(of: Void.self) { group in
      var running = 0
      for (package, files) in packages {
        guard let repository = resolver.repository(of: package) else { throw StoreError.notFound(package.description) }
        if running == maximumDownloads {
          try await group.next()
          running -= 1
        }
        group.addTask {
          try await repository.fetch(package, to: files)
          onFetched(package)
        }
        running += 1
      }
      try await group.waitForAll()
    }
  }

  private func packagesPresent() throws(StoreError) -> Set<PackageID> {
    do {
      return Set(try store.packages())
    } catch .system(_, store.path, .noSuchFileOrDirectory) {
      return []
    }
  }
}

/// What an installation has done beside bringing packages.
public struct InstallResult: Sendable {
  /// The generation that was made; nil when nothing is selected that was not.
  public var generation: Generation?
  /// Defaults that lie beside files that somebody has changed: paths below the root, such as `etc/nano.conf.new`; sorted.
  public var newDefaults: [String] = []
  /// What the packages that came declare of the machine, users before files; for ``SystemDeclaration/apply(below:environment:)`` now that they are there.
  public var declarations: [SystemDeclaration] = []

  /// Nothing was done.
  public init() {}
}

/// What an installation would do.
public struct InstallPlan: Sendable, Hashable {
  /// A package to fetch.
  public struct Item: Sendable, Hashable {
    /// Its full name.
    public var id: PackageID
    /// Its image and metadata in bytes; nil where the index does not say.
    public var byteCount: UInt64?
  }

  /// What was asked for.
  public var requested: [PackageID]
  /// What of the closure is in the store, in ``DistriStore/PackageID``'s order.
  public var present: [PackageID]
  /// What is to be fetched, in ``DistriStore/PackageID``'s order.
  public var missing: [Item]

  /// Everything that is to be fetched, in bytes, as far as that is known.
  public var byteCount: UInt64 { missing.reduce(0) { $0 &+ ($1.byteCount ?? 0) } }
}
