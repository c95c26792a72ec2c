// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The packages that a package refers to by path, beside those that its libraries come from.
public struct RuntimeDependencies: Sendable {
  private let package: PackageID
  private let tree: PackageTree

  /// Looks at the files of a package.
  public init(of package: PackageID, tree: PackageTree) {
    self.package = package
    self.tree = tree
  }

  /// The packages of interpreters: of scripts, by their first line, and of programs.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public func interpreters(of objects: [LibraryFarm.Object]) throws(BuildError) -> DependencyReasons {
    var result = DependencyReasons()
    for object in objects {
      guard let loader = object.elf.interpreter.flatMap(Self.package(inView:)) else { continue }
      result.add(loader, Self.loaderReason, of: object.path)
    }
    for node in tree.sortedNodes where node.entry.permissions & 0o111 != 0 {
      guard let script = try Script(of: node, in: tree) else { continue }
      for package in Self.packages(of: script) { result.add(package, Self.scriptReason, of: node.entry.path) }
    }
    result.remove(package)
    return result
  }

  /// The packages that absolute symbolic links lead to.
  public func linkTargets() -> DependencyReasons {
    var result = DependencyReasons()
    for node in tree.sortedNodes where !node.entry.path.components.starts(with: PackageLayout.lib.components) {
      guard case .symbolicLink(let target) = node.entry.kind,
        let owner = Self.package(inView: String(decoding: target, as: UTF8.self))
      else { continue }
      result.add(owner, Self.linkReason, of: node.entry.path)
    }
    result.remove(package)
    return result
  }

  /// How the reasons begin.
  static let loaderReason = "program loader"
  static let scriptReason = "interpreter"
  static let linkReason = "target"

  /// The packages that a script's first line names.
  static func packages(of script: Script) -> Set<PackageID> {
    Set(([script.interpreter] + script.argument.split(separator: " ").map(String.init)).compactMap(package(inView:)))
  }

  /// The packages that have the modules which this package's `.pc` files require (`Requires`, `Requires.private`).
  ///
  /// - Throws: what reading the dependencies throws; ``BuildError/system(operation:path:_:)``.
  public func pkgConfigRequirements(in dependencies: PackageSet) throws -> DependencyReasons {
    var result = DependencyReasons()
    for node in tree.sortedNodes where node.entry.path.parent.name?.description == "pkgconfig" {
      guard case .regular = node.entry.kind, node.entry.path.description.hasSuffix(".pc") else { continue }
      let text = String(decoding: try tree.contents(of: node, limit: 1 << 20), as: UTF8.self)
      for module in Self.requirements(ofPkgConfig: text) {
        guard let name = try? EntryName("\(module).pc") else { continue }
        for directory in Self.pkgConfigDirectories {
          if let found = try dependencies.location(of: directory.appending(name)) {
            result.add(found.package, "required module \(module)", of: node.entry.path)
            break
          }
        }
      }
    }
    result.remove(package)
    return result
  }

  /// The transitive closure of run-time dependencies, sorted, without the package itself.
  ///
  /// - Parameter metadata: what a package in the store says of itself; its own closure is taken as complete.
  public static func closure(
    of direct: Set<PackageID>, without package: PackageID, metadata: (PackageID) async throws -> PackageMetadata
  ) async throws -> [PackageID] {
    var result = direct
    for dependency in direct { result.formUnion(try await metadata(dependency).runtimeDependencies) }
    return result.subtracting([package]).sorted()
  }

  private static let pkgConfigDirectories = [
    "out/lib/pkgconfig", "out/share/pkgconfig", "out/lib64/pkgconfig", "out/lib/x86_64-linux-gnu/pkgconfig",
    "out/lib/aarch64-linux-gnu/pkgconfig", "out/lib/i386-linux-gnu/pkgconfig",
  ].map(PackageLayout.path)

  /// Names of modules, without the versions that may follow them.
  static func requirements(ofPkgConfig text: String) -> [String] {
    var result: [String] = []
    for line in text.split(whereSeparator: \.isNewline) {
      guard let colon = line.firstIndex(of: ":"), ["Requires", "Requires.private"].contains(line[..<colon]) else { continue }
      var expectsVersion = false
      for word in line[line.index(after: colon)...].split(whereSeparator: { $0 == " " || $0 == "," || $0 == "\t" }) {
        if ["=", "<", ">", "<=", ">=", "!="].contains(word) {
          expectsVersion = true
        } else if expectsVersion {
          expectsVersion = false
        } else {
          result.append(String(word))
        }
      }
    }
    return result
  }

  /// The package that a path of the view is in.
  static func package(inView path: String) -> PackageID? {
    guard path.hasPrefix("/ro/") else { return nil }
    return path.dropFirst(4).split(separator: "/").first.flatMap { try? PackageID(parsing: $0) }
  }
}
