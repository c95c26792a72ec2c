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
    var closure: Set<PackageID> = []
    for query in queries {
      guard let package = query.newest(of: all, defaultArchitecture: architecture), let repository = repository(of: package) else {
        throw unresolved(query.description, neededBy: nil)
      }
      guard !requested.contains(package) else { continue }
      requested.append(package)
      closure.insert(package)
      for dependency in try await repository.metadata(of: package).runtimeDependencies {
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

  private func unresolved(_ what: String, neededBy dependent: PackageID?) -> RepositoryError {
    .unresolved(what, neededBy: dependent, repositories: repositories.map(\.root))
  }
}
