// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Which packages are made of a set of Debian packages, and what Debian says they need of each other.
public struct ImportPlan: Sendable, Hashable {
  /// One package to make.
  public struct Group: Sendable, Hashable {
    /// What it is and how it is made.
    public var definition: ImportDefinition.Package
    /// What it is made of, in the definition's order; the first one gives the version.
    public var records: [DebianRecord]
    /// The names of the packages that Debian's relations lead to, without itself.
    public var relations: Set<String>

    /// The package's name.
    public var name: String { definition.name }
  }

  /// By name; the requested ones and what they need.
  public private(set) var groups: [String: Group] = [:]

  /// Groups Debian packages and keeps what the requests lead to.
  ///
  /// - Parameters:
  ///   - records: a complete set: apt's solution, or what a lock names.
  ///   - requests: names of the definition's packages or of Debian's.
  /// - Throws: ``BuildError/missingDependency(_:of:)`` when the set lacks a request or something that is needed.
  public init(definition: ImportDefinition, records: [DebianRecord], requests: [String]) throws(BuildError) {
    var all: [String: Group] = [:]
    for record in records.sorted(by: { $0.name < $1.name }) {
      let package = definition.package(for: record.name)
      all[package.name, default: Group(definition: package, records: [], relations: [])].records.append(record)
    }
    let names = Self.names(of: all)
    for name in all.keys.sorted() {
      guard var group = all[name] else { continue }
      group.records = Self.inOrder(group.records, of: group.definition)
      let ignored = definition.ignoredDependencies.union(group.definition.ignoredDependencies)
      for record in group.records {
        for relation in record.dependencies where !relation.contains(where: ignored.contains) {
          guard let needed = relation.lazy.compactMap({ names[$0] }).first else {
            throw .missingDependency(relation.joined(separator: " or "), of: record.name)
          }
          if needed != name { group.relations.insert(needed) }
        }
      }
      all[name] = group
    }
    var pending = requests.map { request in definition.package(for: definition.debianPackages(for: request).first ?? request).name }
    while let name = pending.popLast() {
      guard groups[name] == nil else { continue }
      guard let group = all[name] else { throw .missingDependency(name, of: "the import") }
      groups[name] = group
      pending += group.relations
    }
  }

  /// The group of each Debian package, and of each name that one provides and none has.
  private static func names(of groups: [String: Group]) -> [String: String] {
    var result: [String: String] = [:]
    for group in groups.values.sorted(by: { $0.name < $1.name }) {
      for name in group.records.flatMap(\.provides) where result[name] == nil { result[name] = group.name }
    }
    for group in groups.values { for record in group.records { result[record.name] = group.name } }
    return result
  }

  private static func inOrder(_ records: [DebianRecord], of definition: ImportDefinition.Package) -> [DebianRecord] {
    func rank(_ record: DebianRecord) -> Int {
      definition.debian.firstIndex { $0 == record.name } ?? definition.debian.firstIndex {
        $0.contains("*") && Wildcard($0).matches(record.name)
      }
        ?? definition.debian.count
    }
    return records.sorted { (rank($0), $0.name) < (rank($1), $1.name) }
  }

  /// All Debian packages that are needed.
  public var records: [DebianRecord] { groups.values.sorted { $0.name < $1.name }.flatMap(\.records) }

  /// The transitive closure of each name's direct needs, without the name itself.
  static func closures(of direct: [String: Set<String>]) -> [String: Set<String>] {
    direct.mapValues { $0 }.reduce(into: [:]) { result, item in
      var closure: Set<String> = [], pending = Array(item.value)
      while let name = pending.popLast() {
        if closure.insert(name).inserted { pending += direct[name] ?? [] }
      }
      closure.remove(item.key)
      result[item.key] = closure
    }
  }
}
