// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Explains why a package needs another: the shortest chains of packages that need one another, with the reasons for each link.
public struct DependencyChains: Sendable, Hashable {
  /// One package that needs another by itself.
  public struct Link: Sendable, Hashable {
    /// Which needs.
    public var package: PackageID
    /// Which is needed.
    public var dependency: PackageID
    /// Why; a sentence each. Empty when metadata say that it is needed, and nothing in the package tells why.
    public var reasons: [String]
  }

  /// The package that was asked about.
  public let package: PackageID
  /// The package that it needs.
  public let dependency: PackageID
  /// The chains, all of the same length, sorted.
  public let chains: [[Link]]

  /// No more chains than these are listed.
  public static let maximumCount = 16

  /// Looks for the shortest chains in the package's run-time closure.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` when the package does not need the other; ``StoreError``.
  public init(from package: PackageID, to dependency: PackageID, in store: some PackageCatalog & ImageSource) async throws {
    let closure = Set(try await store.metadata(of: package).runtimeDependencies)
    guard closure.contains(dependency) else {
      throw BuildError.invalidPackage("\(package)", pass: "why", reason: "it does not need \(dependency)")
    }
    self.package = package
    self.dependency = dependency
    var links: [PackageID: [PackageID: [String]]] = [:]
    var level: Set<PackageID> = [package], seen: Set<PackageID> = [package]
    while !level.isEmpty, !level.contains(dependency) {
      var next: Set<PackageID> = []
      for needing in level {
        let direct = try await Self.direct(of: needing, in: store).filter { closure.contains($0.key) }
        links[needing] = direct
        next.formUnion(direct.keys)
      }
      level = next.subtracting(seen)
      seen.formUnion(next)
    }
    // Metadata name it, but no file leads there: then the closure itself is all that can be said.
    if !seen.contains(dependency) { links[package, default: [:]][dependency] = [] }
    chains = Self.chains(from: package, to: dependency, links)
  }

  /// What a package needs by itself: by its metadata, else by its files.
  private static func direct(
    of package: PackageID, in store: some PackageCatalog & ImageSource
  ) async throws -> [PackageID: [String]] {
    let metadata = try await store.metadata(of: package)
    if !metadata.dependencyReasons.isEmpty || metadata.runtimeDependencies.isEmpty {
      return Dictionary(metadata.dependencyReasons.map { ($0.package, $0.reasons) }) { $0 + $1 }
    }
    let image = try await store.image(of: package)
    let found = try await onThread { try DependencyReasons(of: package, in: image) }
    // What no file tells of, and what is needed does not need either, only the metadata know.
    var rest = Set(metadata.runtimeDependencies).subtracting(found.packages)
    for other in found.packages where !rest.isEmpty {
      rest.subtract((try? await store.metadata(of: other))?.runtimeDependencies ?? [])
    }
    var result = Dictionary(uniqueKeysWithValues: found.packages.map { ($0, found.reasons(for: $0)) })
    for package in rest { result[package] = [] }
    return result
  }

  /// Walks breadth first, so that the first chains to arrive are the shortest.
  private static func chains(
    from package: PackageID, to dependency: PackageID, _ links: [PackageID: [PackageID: [String]]]
  ) -> [[Link]] {
    var distance = [package: 0], order = [package], index = 0
    while index < order.count {
      let needing = order[index]
      index += 1
      for needed in (links[needing] ?? [:]).keys.sorted() where distance[needed] == nil {
        distance[needed] = (distance[needing] ?? 0) + 1
        order.append(needed)
      }
    }
    guard let goal = distance[dependency] else { return [] }
    // Backwards from the goal: only what lies on a shortest chain is walked.
    var needers: [PackageID: [PackageID]] = [:]
    for (needing, direct) in links {
      for needed in direct.keys where distance[needed] == (distance[needing] ?? .max - 1) + 1 {
        needers[needed, default: []].append(needing)
      }
    }
    var result: [[PackageID]] = [[dependency]]
    for _ in 0..<goal {
      result = Array(result.flatMap { chain in (needers[chain[0]] ?? []).sorted().map { [$0] + chain } }.prefix(maximumCount))
    }
    return result.map { chain in
      zip(chain, chain.dropFirst()).map { needing, needed in
        Link(package: needing, dependency: needed, reasons: links[needing]?[needed] ?? [])
      }
    }.sorted { $0.map(\.package).lexicographicallyPrecedes($1.map(\.package)) }
  }
}
