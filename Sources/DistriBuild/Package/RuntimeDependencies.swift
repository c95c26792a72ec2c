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
  public func interpreters(of objects: [LibraryFarm.Object]) throws(BuildError) -> Set<PackageID> {
    var result = Set(objects.compactMap { $0.elf.interpreter }.compactMap(Self.package(inView:)))
    for node in tree.sortedNodes where node.entry.permissions & 0o111 != 0 {
      guard let script = try Script(of: node, in: tree) else { continue }
      for path in [script.interpreter] + script.argument.split(separator: " ").map(String.init) {
        if let package = Self.package(inView: path) { result.insert(package) }
      }
    }
    return result.subtracting([package])
  }

  /// The packages that absolute symbolic links lead to.
  public func linkTargets() -> Set<PackageID> {
    let targets = tree.sortedNodes.compactMap { node -> PackageID? in
      guard case .symbolicLink(let target) = node.entry.kind else { return nil }
      return Self.package(inView: String(decoding: target, as: UTF8.self))
    }
    return Set(targets).subtracting([package])
  }

  /// The packages that have the modules which this package's `.pc` files require (`Requires`, `Requires.private`).
  ///
  /// - Throws: what reading the dependencies throws; ``BuildError/system(operation:path:_:)``.
  public func pkgConfigRequirements(in dependencies: PackageSet) throws -> Set<PackageID> {
    var result: Set<PackageID> = []
    for node in tree.sortedNodes where node.entry.path.parent.name?.description == "pkgconfig" {
      guard case .regular = node.entry.kind, node.entry.path.description.hasSuffix(".pc") else { continue }
      let text = String(decoding: try tree.contents(of: node, limit: 1 << 20), as: UTF8.self)
      for module in Self.requirements(ofPkgConfig: text) {
        guard let name = try? EntryName("\(module).pc") else { continue }
        for directory in Self.pkgConfigDirectories {
          if let found = try dependencies.location(of: directory.appending(name)) {
            result.insert(found.package)
            break
          }
        }
      }
    }
    return result.subtracting([package])
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
