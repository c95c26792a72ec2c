// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The digests of a set's inputs, each computed once: of what is not built yet from what it will be built of.
struct SetInputs {
  private let graph: BuildGraph
  private let store: any PackageCatalog & ImageSource
  /// What the metadata of the store's packages say.
  private let recordedDigests: [PackageID: String]
  private var packages: [[PackageID]]
  private var files: [DefinitionFile]
  private var computed: [Int: String] = [:]
  private var ofStore: [PackageID: String] = [:]

  init(_ graph: BuildGraph, in store: any PackageCatalog & ImageSource) async throws {
    self.graph = graph
    self.store = store
    packages = graph.nodes.map(\.packages)
    files = graph.nodes.map(\.file)
    let there = Set(try await store.packages())
    var recorded: [PackageID: String] = [:]
    for package in packages.flatMap(\.self) where there.contains(package) {
      recorded[package] = try await store.metadata(of: package).inputDigest
    }
    recordedDigests = recorded
  }

  /// The digest that the store's package of this name was built with, empty where that is unknown; nil for one that is not there.
  func recorded(_ package: PackageID) -> String? { recordedDigests[package] }

  /// The definition's package gets another version.
  mutating func rename(_ index: Int, to package: PackageID) async throws {
    try files[index].replace(.version, with: package.version)
    packages[index] = try files[index].packages(for: package.architecture)
    computed[index] = nil
  }

  /// The digest of a definition's inputs; definitions that it needs come first.
  ///
  /// - Throws: what reading the store and the definition's files throws.
  mutating func digest(of index: Int) async throws -> String {
    if let known = computed[index] { return known }
    var dependencies: [InputDigest.Dependency] = []
    for need in graph.nodes[index].needs { dependencies.append(try await dependency(need)) }
    let digest = try InputDigest(
      definition: files[index], dependencies: dependencies, architecture: packages[index][0].architecture
    ).text
    computed[index] = digest
    return digest
  }

  private mutating func dependency(_ need: BuildGraph.Need) async throws -> InputDigest.Dependency {
    guard let node = need.node else {
      if let known = ofStore[need.package] { return .init(package: need.package, digest: known) }
      let dependency = try await InputDigest.Dependency(need.package, in: store)
      ofStore[need.package] = dependency.digest
      return dependency
    }
    // By place: the names of split packages stay when a revision changes.
    let place = graph.nodes[node].packages.firstIndex(of: need.package) ?? 0
    let package = packages[node][place]
    let digest = if let recorded = recorded(package), !recorded.isEmpty { recorded } else { try await digest(of: node) }
    return .init(package: package, digest: digest)
  }
}
