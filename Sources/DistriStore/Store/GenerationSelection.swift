// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

extension Generation.Selection {
  /// All that was asked for: by name, and by sets.
  public var allWants: [PackageQuery] { wants + sets.flatMap(\.members) }

  /// The version that an update leaves alone.
  public func pin(for want: PackageQuery) -> PackageID? { want.newest(of: pins) }

  /// What a query stands for: the pinned version, or the newest that is selected.
  public func choice(for want: PackageQuery) -> PackageID? { pin(for: want) ?? want.newest(of: packages) }

  /// Asks for a package, in place of an earlier query for the same one.
  public mutating func want(_ query: PackageQuery) {
    wants.removeAll { $0.meansSamePackage(as: query) }
    wants.append(query)
  }

  /// The selection of what is asked for: each query's pinned or newest version, of those that are selected already and of new ones, with
  /// its closure. What nobody needs any more is left out.
  ///
  /// - Parameters:
  ///   - new: packages that may be chosen beside those that are selected.
  ///   - metadata: what a chosen package says of itself.
  /// - Throws: ``StoreError/notFound(_:)`` for a query that nothing matches; what `metadata` throws.
  public func resolved(
    with new: [PackageID] = [], metadata: (PackageID) throws(StoreError) -> PackageMetadata
  ) throws(StoreError) -> Generation.Selection {
    let candidates = Dictionary(grouping: packages + new, by: \.name)
    var chosen: Set<PackageID> = []
    for want in allWants {
      guard let choice = pin(for: want) ?? want.newest(of: candidates[want.name] ?? []) else {
        throw .notFound(want.description)
      }
      chosen.insert(choice)
    }
    var result = self
    var all = chosen
    for package in chosen { all.formUnion(try metadata(package).runtimeDependencies) }
    result.packages = all.sorted()
    return result
  }

  /// What a store shows that has no generation yet: all of its packages. What none of the newest versions needs counts as asked for.
  ///
  /// - Parameter metadata: what a package says of itself; nil where that is not known.
  public init(adopting packages: [PackageID], metadata: (PackageID) -> PackageMetadata?) {
    self.init()
    self.packages = packages.sorted()
    let newest = Dictionary(grouping: packages, by: \.unversioned).compactMapValues { $0.newest() }
    let needs = newest.mapValues { Set(metadata($0)?.runtimeDependencies ?? []) }
    var needed: Set<String> = []
    for (name, package) in newest {
      // Circles keep their members asked for: better one too many than all gone.
      for other in Set((needs[name] ?? []).map(\.unversioned)) where needs[other]?.contains(package) == false {
        needed.insert(other)
      }
    }
    wants = newest.keys.filter { !needed.contains($0) }.sorted().compactMap { try? PackageQuery(parsing: $0) }
  }
}

extension PackageQuery {
  /// Whether both ask for a version of the same package.
  public func meansSamePackage(as other: PackageQuery, defaultArchitecture: Architecture = .host) -> Bool {
    name == other.name && (architecture ?? defaultArchitecture) == (other.architecture ?? defaultArchitecture)
  }
}
