// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Finds definitions whose packages are in the store with other inputs than they have now, and gives them new revisions.
public struct Revisions: Sendable {
  /// A definition that gets a new revision.
  public struct Change: Sendable, Hashable {
    /// The definition's index in the graph.
    public var node: Int
    /// The package as it is called now.
    public var old: PackageID
    /// The package as it is to be called: with the next revision that is free.
    public var new: PackageID
    /// The definitions whose packages change and that this one needs; empty where its own files have changed, or a package of the store
    /// that it needs.
    public var causes: [Int]
  }

  /// In the order of building.
  public let changes: [Change]

  /// Compares definitions with a store, and goes on with what changes by that.
  ///
  /// - Throws: what reading the store's metadata and the definitions' files throws.
  public init(_ graph: BuildGraph, in store: any PackageCatalog & ImageSource) async throws {
    var inputs = try await SetInputs(graph, in: store)
    let packages = try await store.packages()
    var changes: [Change] = []
    var changed: Set<Int> = []
    for index in graph.order {
      let package = graph.nodes[index].package
      guard let recorded = inputs.recorded(package), try await inputs.digest(of: index) != recorded else { continue }
      let newest = packages.filter { $0.unversioned == package.unversioned }.newest()?.revision ?? 0
      let new = try PackageID(
        name: package.name, architecture: package.architecture, upstream: package.upstream,
        revision: max(newest, package.revision) + 1)
      changes.append(
        Change(node: index, old: package, new: new, causes: graph.dependencies[index].filter(changed.contains)))
      changed.insert(index)
      try await inputs.rename(index, to: new)
    }
    self.changes = changes
  }
}
