// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Finds what a query means, and what that needs: the metadata names the whole closure, no solver runs.
public struct Resolver: Sendable {
  /// What was found.
  public struct Resolution: Sendable, Hashable {
    /// What the queries mean, in their order, each once.
    public var requested: [PackageID]
    /// That and everything it needs, in ``PackageID``'s order.
    public var closure: [PackageID]
  }

  private let repositories: [Repository]
  private let installed: Set<PackageID>
  private let store: LocalStore?

  /// Makes a resolver.
  ///
  /// - Parameters:
  ///   - repositories: where packages come from. Of two that have the same package, the first gives it.
  ///   - installed: packages that no repository needs to have.
  ///   - store: what has the installed packages, if a query may mean one that no repository has; nil if it may not.
  public init(_ repositories: [Repository], installed: some Sequence<PackageID> = [], store: LocalStore? = nil) {
    self.repositories = repositories
    self.installed = Set(installed)
    self.store = store
  }

  /// The newest packages that the queries match, over all repositories, and their closures.
  ///
  /// - Throws: ``RepositoryError/unresolved(_:neededBy:repositories:)``; what ``Repository/metadata(of:)`` and
  ///   `LocalStore.metadata(of:)` throw.
  public func resolve(_ queries: [PackageQuery], architecture: Architecture = .host) async throws -> Resolution {
    let all = Set(repositories.flatMap { $0.packages() }).union(store == nil ? [] : installed)
    var requested: [PackageID] = []
    for query in queries {
      guard let package = query.newest(of: all, defaultArchitecture: architecture) else {
        throw unresolved(query.description, neededBy: nil)
      }
      if !requested.contains(package) { requested.append(package) }
    }
    var closure = Set(requested)
    for (package, metadata) in zip(requested, try await metadata(of: requested)) {
      for dependency in metadata.runtimeDependencies {
        guard all.contains(dependency) || installed.contains(dependency) else {
          throw unresolved(dependency.description, neededBy: package)
        }
        closure.insert(dependency)
      }
    }
    return Resolution(requested: requested, closure: closure.sorted())
  }

  /// The first repository that has the package.
  public func repository(of package: PackageID) -> Repository? { repositories.first { $0.entry(of: package) != nil } }

  /// Of several packages: a distant server answers them together.
  private func metadata(of packages: [PackageID]) async throws -> [PackageMetadata] {
    try await withThrowingTaskGroup(of: (Int, PackageMetadata).self) { group in
      var results = [PackageMetadata?](repeating: nil, count: packages.count)
      for (position, package) in packages.enumerated() {
        if position >= Self.maximumRequests, let (done, metadata) = try await group.next() { results[done] = metadata }
        group.addTask { (position, try await metadata(of: package)) }
      }
      for try await (done, metadata) in group { results[done] = metadata }
      return results.compactMap(\.self)
    }
  }

  private static let maximumRequests = 32

  private func metadata(of package: PackageID) async throws -> PackageMetadata {
    if let store, installed.contains(package) { return try store.metadata(of: package) }
    guard let repository = repository(of: package) else { throw StoreError.notFound(package.description) }
    return try await repository.metadata(of: package)
  }

  private func unresolved(_ what: String, neededBy dependent: PackageID?) -> RepositoryError {
    .unresolved(what, neededBy: dependent, repositories: repositories.map(\.root) + (store.map { [$0.path.string] } ?? []))
  }
}
