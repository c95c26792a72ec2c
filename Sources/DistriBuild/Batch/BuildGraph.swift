// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The definitions of a set and what each of them needs: from another definition, or from the store.
///
/// A definition that is built again must not find what it found by accident of the hour. So a package that a definition of the set makes is
/// either that definition's, which is then built first, or the newest of the store that is older: see ``Bootstrap``.
public struct BuildGraph: Sendable {
  /// Which needs do not wait for a definition of the set, but take what the store has.
  public struct Bootstrap: Sendable, Hashable {
    /// Needs of these packages, by name.
    public var packages: Set<String> = []
    /// Needs of what builders imply and the definition does not name itself (shell, compiler and so on), where they would make a circle: what
    /// a tool of the set needs is built by an older one of that tool, and all else by the set's own.
    public var breaksImpliedCircles = false

    /// Nothing: all that is in the set is built first.
    public init(packages: Set<String> = [], breaksImpliedCircles: Bool = false) {
      self.packages = packages
      self.breaksImpliedCircles = breaksImpliedCircles
    }
  }

  /// One package that a definition asks for.
  public struct Need: Sendable, Hashable {
    /// As the definition or its builder has it.
    public var name: String
    /// The package that it stands for.
    public var package: PackageID
    /// The definition that makes the package; nil for one of the store. An index of ``nodes``.
    public var node: Int?
  }

  /// A definition of the set.
  public struct Node: Sendable {
    /// The definition.
    public var file: DefinitionFile
    /// What it builds: the main package, then those split from it.
    public var packages: [PackageID]
    /// What it asks for, in the order of its asking.
    public var needs: [Need] = []

    /// The definition's name.
    public var name: String { file.definition.name }
    /// The main package.
    public var package: PackageID { packages[0] }
  }

  /// Sorted by name.
  public private(set) var nodes: [Node]
  /// By each definition, those that are built before it, without repetition.
  public let dependencies: [[Int]]

  /// Makes the graph.
  ///
  /// - Parameter packages: what the store has.
  /// - Throws: ``BuildError/missingDependency(_:of:)`` for what is neither in the set nor in the store;
  ///   ``BuildError/dependencyCycles(_:)``; ``BuildError/invalidDefinition(_:line:column:reason:)`` for a version that is none, or a
  ///   package that two definitions make.
  public init(
    _ files: [DefinitionFile], for architecture: Architecture, store packages: [PackageID], bootstrap: Bootstrap = Bootstrap()
  ) throws {
    nodes = try files.sorted { $0.definition.name < $1.definition.name }.map { file in
      Node(file: file, packages: try file.packages(for: architecture))
    }
    var resolution = try Resolution(nodes, packages, bootstrap, architecture)
    if bootstrap.breaksImpliedCircles { resolution.breakImpliedCircles() }
    for index in nodes.indices { nodes[index].needs = try resolution.needs(of: index) }
    dependencies = nodes.map { node in Set(node.needs.compactMap(\.node)).sorted() }
    let cycles = DependencyCycles(in: dependencies).found
    if !cycles.isEmpty { throw BuildError.dependencyCycles(cycles.map { cycle in cycle.map { nodes[$0].name } }) }
  }

  /// The definition of a name.
  public func index(of name: String) -> Int? { nodes.firstIndex { $0.name == name } }

  /// The definitions and all that they need.
  public func closure(of indices: some Sequence<Int>) -> Set<Int> {
    var result: Set<Int> = []
    var open = Array(indices)
    while let index = open.popLast() {
      if result.insert(index).inserted { open += dependencies[index] }
    }
    return result
  }

  /// All definitions, each after those that it needs; the same order for the same set.
  public var order: [Int] {
    var open = dependencies.map(\.count)
    var ready = Set(nodes.indices.filter { open[$0] == 0 })
    var result: [Int] = []
    let dependants = self.dependants
    while let next = ready.min() {
      ready.remove(next)
      result.append(next)
      for dependant in dependants[next] {
        open[dependant] -= 1
        if open[dependant] == 0 { ready.insert(dependant) }
      }
    }
    return result
  }

  /// By each definition, those that wait for it.
  public var dependants: [[Int]] {
    var result = [[Int]](repeating: [], count: nodes.count)
    for (index, needs) in dependencies.enumerated() { for need in needs { result[need].append(index) } }
    return result
  }
}

extension DefinitionFile {
  /// What the definition builds: the main package, then those split from it.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)`` for a name or version that cannot be one.
  public func packages(for architecture: Architecture) throws(BuildError) -> [PackageID] {
    var field = "version"
    do {
      let package = try definition.package(for: architecture)
      guard package.revision > 0 else { throw error(at: field, "the version ends with no -<revision>, as in 7.2-1") }
      field = "split_package"
      return try [package] + definition.splitPackages.map { try definition.splitPackage($0, for: architecture) }
    } catch let error as BuildError {
      throw error
    } catch {
      throw self.error(at: field, "\(error)")
    }
  }
}

/// Finds for each name the package that it stands for.
private struct Resolution {
  let nodes: [BuildGraph.Node]
  let bootstrap: BuildGraph.Bootstrap
  let architecture: Architecture
  /// Which definition makes a package, by `name-architecture`.
  private var makers: [String: (node: Int, package: PackageID)] = [:]
  /// What there is without the set, by `name-architecture`, oldest first.
  private var older: [String: [PackageID]] = [:]
  /// Definitions for which an implied tool is not the one that a definition of the set makes, by the latter.
  private var builtWithOlder: [Int: Set<Int>] = [:]

  init(
    _ nodes: [BuildGraph.Node], _ packages: [PackageID], _ bootstrap: BuildGraph.Bootstrap, _ architecture: Architecture
  ) throws {
    self.nodes = nodes
    self.bootstrap = bootstrap
    self.architecture = architecture
    for (index, node) in nodes.enumerated() {
      for package in node.packages {
        guard let other = makers.updateValue((index, package), forKey: package.unversioned) else { continue }
        throw node.file.error(
          at: "split_package", "\(package.unversioned) is made by \(nodes[other.node].name) and by \(node.name)")
      }
    }
    for package in packages.sorted() {
      if let maker = makers[package.unversioned], package.revision >= maker.package.revision { continue }
      older[package.unversioned, default: []].append(package)
    }
  }

  /// Decides tool by tool, in the order in which builders name them: whatever the tool needs itself gets an older one, with the tools decided
  /// before it taken into account; everything else may wait for it, since nothing of that is needed by the tool.
  mutating func breakImpliedCircles() {
    var edges = [Set<Int>](repeating: [], count: nodes.count)
    var users: [Int: [Int]] = [:]
    var tools: [Int] = []
    for index in nodes.indices {
      for (need, isImplied) in requests(of: index) {
        guard let maker = find(need.name, for: index)?.node else { continue }
        if !isImplied {
          edges[index].insert(maker)
        } else if need.isRequired {
          if users[maker] == nil { tools.append(maker) }
          users[maker, default: []].append(index)
        }
      }
    }
    for tool in tools {
      var needed: Set<Int> = []
      var open = [tool]
      while let index = open.popLast() {
        if needed.insert(index).inserted { open += edges[index] }
      }
      builtWithOlder[tool] = needed
      for user in users[tool] ?? [] where !needed.contains(user) { edges[user].insert(tool) }
    }
  }

  /// What a definition asks for, and whether only its builder does.
  private func requests(of index: Int) -> [(need: BuildDependency, isImplied: Bool)] {
    let definition = nodes[index].file.definition
    let named = Set(definition.namedNeeds(.any))
    return definition.needs(for: architecture).map { ($0, !named.contains($0.name)) }
  }

  func needs(of index: Int) throws -> [BuildGraph.Need] {
    var result: [BuildGraph.Need] = []
    for (need, isImplied) in requests(of: index) {
      // What is only a convenience is nothing to wait for.
      let isOptional = isImplied && !need.isRequired && bootstrap.breaksImpliedCircles
      if let found = find(need.name, for: index, isImplied: isImplied, isOlder: isOptional) {
        result.append(found)
      } else if need.isRequired {
        throw BuildError.missingDependency(need.name, of: nodes[index].name)
      }
    }
    return result
  }

  private func find(_ name: String, for index: Int, isImplied: Bool = false, isOlder: Bool = false) -> BuildGraph.Need? {
    guard let query = try? PackageQuery(parsing: name) else { return nil }
    let key = "\(query.name)-\(query.architecture ?? architecture)"
    // A definition that needs its own package takes an older one.
    if let maker = makers[key], !isOlder, maker.node != index, query.exact.map({ $0 == maker.package }) ?? true,
      !bootstrap.packages.contains(query.name), !(isImplied && builtWithOlder[maker.node]?.contains(index) == true)
    {
      return BuildGraph.Need(name: name, package: maker.package, node: maker.node)
    }
    guard let package = query.newest(of: older[key] ?? [], defaultArchitecture: architecture) else { return nil }
    return BuildGraph.Need(name: name, package: package)
  }
}

/// The ways in circles of a graph: of each strongly connected part, a shortest one through its first node.
struct DependencyCycles {
  private(set) var found: [[Int]] = []

  /// - Parameter edges: by each node, those that it needs.
  init(in edges: [[Int]]) {
    // Whatever is left when all that can be built is taken away is in a circle or needs one; the other way round, too.
    var rest = Set(edges.indices)
    for direction in [edges, Self.reversed(edges)] {
      var isShrinking = true
      while isShrinking {
        let free = rest.filter { node in !direction[node].contains(where: rest.contains) }
        rest.subtract(free)
        isShrinking = !free.isEmpty
      }
    }
    var seen: Set<Int> = []
    for start in rest.sorted() where !seen.contains(start) {
      guard let cycle = Self.shortest(from: start, in: edges, among: rest) else { continue }
      found.append(cycle)
      // Its strongly connected part.
      seen.formUnion(
        Self.reachable(from: start, in: edges, among: rest)
          .intersection(Self.reachable(from: start, in: Self.reversed(edges), among: rest)))
    }
  }

  private static func reversed(_ edges: [[Int]]) -> [[Int]] {
    var result = [[Int]](repeating: [], count: edges.count)
    for (node, needs) in edges.enumerated() { for need in needs { result[need].append(node) } }
    return result
  }

  private static func reachable(from start: Int, in edges: [[Int]], among nodes: Set<Int>) -> Set<Int> {
    var result: Set<Int> = []
    var open = [start]
    while let node = open.popLast() {
      if result.insert(node).inserted { open += edges[node].filter(nodes.contains) }
    }
    return result
  }

  /// By breadth: the first way back is a shortest one.
  private static func shortest(from start: Int, in edges: [[Int]], among nodes: Set<Int>) -> [Int]? {
    var parent: [Int: Int] = [:]
    var open = [start]
    var next = 0
    while next < open.count {
      let node = open[next]
      next += 1
      for need in edges[node] where nodes.contains(need) {
        if need == start {
          var way = [node]
          while let last = way.last, last != start, let before = parent[last] { way.append(before) }
          return way.reversed() + [start]
        }
        if parent[need] == nil {
          parent[need] = node
          open.append(need)
        }
      }
    }
    return nil
  }
}
