// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Brings packages and what they need from repositories into a store, all of them in one transaction.
public struct Installer: Sendable {
  private let repositories: [Repository]
  private let store: LocalStore
  private let maximumDownloads: Int

  /// Makes an installer.
  ///
  /// - Parameters:
  ///   - repositories: where packages come from; of two that have the same package, the first gives it.
  ///   - store: where they go; made by the first installation if its parent directory is there.
  ///   - maximumDownloads: packages that are fetched at the same time.
  public init(repositories: [Repository], store: LocalStore, maximumDownloads: Int = 16) {
    self.repositories = repositories
    self.store = store
    self.maximumDownloads = max(1, maximumDownloads)
  }

  /// Finds out what would be installed, without changing anything.
  ///
  /// - Throws: as ``Resolver/resolve(_:architecture:)``; what `LocalStore.packages()` throws.
  public func plan(_ queries: [PackageQuery], architecture: Architecture = .host) async throws -> InstallPlan {
    let present = try packagesPresent()
    let resolver = Resolver(repositories, installed: present)
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

  /// Installs what is missing: all of it appears in the store, or nothing.
  ///
  /// - Parameters:
  ///   - root: below its `etc`, the packages' defaults are put where nothing is yet, before the packages appear. Nil: nowhere.
  ///   - onFetched: called for each package that came, in any order.
  /// - Throws: what ``Repository/fetch(_:to:)`` and `LocalStore.transaction` throw; ``RepositoryError/system(operation:path:_:)``.
  public func install(
    _ plan: InstallPlan, defaultsBelow root: FilePath? = nil, onFetched: @escaping @Sendable (PackageID) -> Void = { _ in }
  ) async throws {
    guard !plan.missing.isEmpty else { return }
    try await store.transaction { area in
      // Another process may have been faster.
      let present = try packagesPresent()
      // The largest first: none of them is left over at the end, when the line would be idle beside it.
      let packages = plan.missing.filter { !present.contains($0.id) }.sorted { ($0.byteCount ?? 0) > ($1.byteCount ?? 0) }.map(\.id)
      let files = packages.map { area.files(of: $0) }
      try await fetch(zip(packages, files), onFetched)
      // An `etc` among sources is not the machine's.
      if let root, store.section == .packages {
        let defaults = try ConfigurationDefaults(root: root)
        for files in files { try defaults.copy(from: try PackageImage(path: files.image)) }
      }
    }
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
