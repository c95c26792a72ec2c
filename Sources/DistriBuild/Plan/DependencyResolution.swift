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

  init(_ definition: Definition, for architecture: Architecture, in catalog: any PackageCatalog) async throws {
    self.definition = definition
    self.architecture = architecture
    self.catalog = catalog
    packages = try await catalog.packages()
  }

  /// What the definition and its builder ask for, in the newest version each, and all that those need to run.
  ///
  /// - Throws: ``BuildError/missingDependency(_:of:)`` that names the definition.
  func buildDependencies() async throws -> [PackageID] {
    var wanted = definition.buildSystem().implicitDependencies(of: definition, for: architecture)
    wanted += definition.dependencies.map { BuildDependency($0) }
    // Patches are applied by the store's own program, in the sandbox.
    if !definition.patches.isEmpty { wanted.append(BuildDependency("patch")) }
    var direct: Set<PackageID> = []
    for dependency in wanted {
      if let package = newest(dependency.name) {
        direct.insert(package)
      } else if dependency.isRequired {
        throw BuildError.missingDependency(dependency.name, of: definition.name)
      }
    }
    return try await closure(of: direct)
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
    (try? PackageQuery(parsing: name))?.newest(of: packages, defaultArchitecture: architecture)
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
