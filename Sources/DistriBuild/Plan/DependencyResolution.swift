// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Chooses the packages that a build sees.
struct DependencyResolution {
  let definition: Definition
  let architecture: Architecture
  let catalog: any PackageCatalog
  /// All packages of the catalog.
  let packages: [PackageID]

  /// Packages that were chosen by somebody else, by the names that definitions use.
  let choices: [String: PackageID]

  init(
    _ definition: Definition, for architecture: Architecture, in catalog: any PackageCatalog, choices: [String: PackageID] = [:]
  ) async throws {
    self.definition = definition
    self.architecture = architecture
    self.catalog = catalog
    self.choices = choices
    packages = try await catalog.packages()
  }

  /// What the definition and its builder ask for, and all that those need to run.
  ///
  /// - Throws: ``BuildError/missingDependency(_:of:)`` that names the definition.
  func buildDependencies() async throws -> [PackageID] {
    try await closure(of: direct(definition.needs(for: architecture, only: .build)))
  }

  /// The packages that decide what the build becomes: those that the definition and its builder ask for. What these need to run follows
  /// from them.
  ///
  /// - Throws: as ``buildDependencies()``.
  func inputs() throws -> [PackageID] { try direct(definition.needs(for: architecture)).sorted() }

  /// What stands for the names that the definition and its builder use; names that nothing stands for are left out.
  func chosen() -> [String: PackageID] {
    var result: [String: PackageID] = [:]
    for need in definition.needs(for: architecture) { result[need.name] = newest(need.name) }
    return result
  }

  /// All packages of ``inputs()``, and all that those need to run.
  ///
  /// - Throws: as ``buildDependencies()``.
  func allDependencies() async throws -> [PackageID] { try await closure(of: Set(inputs())) }

  private func direct(_ needs: [BuildDependency]) throws(BuildError) -> Set<PackageID> {
    var result: Set<PackageID> = []
    for need in needs {
      if let package = newest(need.name) {
        result.insert(package)
      } else if need.isRequired {
        throw .missingDependency(need.name, of: definition.name)
      }
    }
    return result
  }

  /// Packages by the names that definitions use, newest version each.
  ///
  /// - Throws: ``BuildError/missingDependency(_:of:)``.
  func resolve(_ names: [String]) throws(BuildError) -> Set<PackageID> {
    var result: Set<PackageID> = []
    for name in names {
      guard let package = newest(name) else { throw .missingDependency(name, of: definition.name) }
      result.insert(package)
    }
    return result
  }

  private func newest(_ name: String) -> PackageID? {
    if let choice = choices[name] { return packages.contains(choice) ? choice : nil }
    return (try? PackageQuery(parsing: name))?.newest(of: packages, defaultArchitecture: architecture)
  }

  private func closure(of direct: Set<PackageID>) async throws -> [PackageID] {
    let known = Set(packages)
    var result = direct
    for package in direct {
      for dependency in try await catalog.metadata(of: package).runtimeDependencies {
        guard known.contains(dependency) else { throw BuildError.missingDependency("\(dependency)", of: "\(package)") }
        result.insert(dependency)
      }
    }
    return result.sorted()
  }
}

/// When a package is needed.
enum NeedTime {
  /// While the steps run.
  case build
  /// At any time.
  case any
}

extension Definition {
  /// What the definition and its builder ask for by name, each once: first what the builder implies.
  func needs(for architecture: Architecture, only time: NeedTime = .any) -> [BuildDependency] {
    var needs = buildSystem().implicitDependencies(of: self, for: architecture)
    needs += namedNeeds(time).map { BuildDependency($0) }
    var seen: [String: Int] = [:]
    var result: [BuildDependency] = []
    for need in needs {
      if let index = seen[need.name] {
        // What is named is needed, even where the builder could do without.
        if need.isRequired { result[index].isRequired = true }
      } else {
        seen[need.name] = result.count
        result.append(need)
      }
    }
    return result
  }

  /// What the definition itself asks for.
  func namedNeeds(_ time: NeedTime) -> [String] {
    // Patches are applied by the store's own program, in the sandbox.
    let build = dependencies + (patches.isEmpty ? [] : ["patch"])
    if time == .build { return build }
    let siblings = Set(splitPackages.map(\.name) + [name])
    let runtime = runtimeDependencies + splitPackages.flatMap(\.runtimeDependencies)
    return build + runtime.filter { !siblings.contains($0) } + runtimeUnions.map(\.package)
  }
}
