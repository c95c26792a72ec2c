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

  /// Makes a resolver.
  ///
  /// - Parameters:
  ///   - repositories: where packages come from. Of two that have the same package, the first gives it.
  ///   - installed: packages that no repository needs to have.
  public init(_ repositories: [Repository], installed: some Sequence<PackageID> = []) {
    self.repositories = repositories
    self.installed = Set(installed)
  }

  /// The newest packages that the queries match, over all repositories, and their closures.
  ///
  /// - Throws: ``RepositoryError/unresolved(_:neededBy:repositories:)``; what ``Repository/metadata(of:)`` throws.
  public func resolve(_ queries: [PackageQuery], architecture: Architecture = .host) async throws -> Resolution {
    let all = Set(repositories.flatMap { $0.packages() })
    var requested: [PackageID] = []
    var sources: [Repository] = []
    for query in queries {
      guard let package = query.newest(of: all, defaultArchitecture: architecture), let repository = repository(of: package) else {
        throw unresolved(query.description, neededBy: nil)
      }
      guard !requested.contains(package) else { continue }
      requested.append(package)
      sources.append(repository)
    }
    var closure = Set(requested)
    for (package, metadata) in zip(requested, try await metadata(of: requested, from: sources)) {
      for dependency in metadata.runtimeDependencies {
        guard all.contains(dependency) || installed.contains(dependency) else {
          throw unresolved(dependency.description, neededBy: package)
        }
        closure.insert(dependency)
      }
    }
    return Resolution(requested: requested, closure: closure.sorted())
  }

  /// Metadata of several packages: a distant server answers them together.
  private func metadata(of packages: [PackageID], from sources: [Repository]) async throws -> [PackageMetadata] {
    try await withThrowingTaskGroup(of: (Int, PackageMetadata).self) { group in
      var results = [PackageMetadata?](repeating: nil, count: packages.count)
      for (position, (package, source)) in zip(packages, sources).enumerated() {
        if position >= Self.maximumRequests, let (done, metadata) = try await group.next() { results[done] = metadata }
        group.addTask { (position, try await source.metadata(of: package)) }
      }
      for try await (done, metadata) in group { results[done] = metadata }
      return results.compactMap(\.self)
    }
  }

  private static let maximumRequests = 32

  /// The first repository that has the package.
  public func repository(of package: PackageID) -> Repository? { repositories.first { $0.entry(of: package) != nil } }

  private func unresolved(_ what: String, neededBy dependent: PackageID?) -> RepositoryError {
    .unresolved(what, neededBy: dependent, repositories: repositories.map(\.root))
  }
}
