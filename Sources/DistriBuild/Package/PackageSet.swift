// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The packages at hand while one package is made: where its libraries, interpreters and data may come from.
public struct PackageSet: Sendable {
  /// A file of a package.
  public struct Location: Sendable, Hashable {
    /// The package.
    public var package: PackageID
    /// Inside it.
    public var path: TreePath

    /// The path in the view.
    public var inView: String { PackageLayout.inView(path, of: package) }
  }

  private var contents: [PackageID: any PackageContents] = [:]
  /// Those that somebody asked for; the others came along because these need them.
  private var named: Set<PackageID> = []
  private var order: [PackageID] = []
  /// What lies in the directories that the loader searches; asked for every library of every file.
  private var libraries: [TreePath: [PackageID]] = [:]

  /// Makes an empty set.
  public init() {}

  /// Makes a set of a package's dependencies.
  ///
  /// - Parameter named: those among them that the package or its builder asks for.
  /// - Throws: what the source of images throws.
  public init(_ packages: some Sequence<PackageID>, named: Set<PackageID> = [], in source: some ImageSource) async throws {
    for package in packages { try insert(package, try await source.image(of: package), isNamed: named.contains(package)) }
  }

  /// Adds a package. Of two that have the same file, one that was asked for is found; of such the one with the lower name, of its
  /// versions the newest.
  ///
  /// - Throws: what listing the package's directories of libraries throws.
  public mutating func insert(_ package: PackageID, _ contents: any PackageContents, isNamed: Bool = false) throws {
    guard self.contents.updateValue(contents, forKey: package) == nil else { return }
    if isNamed { named.insert(package) }
    order.insert(package, at: order.firstIndex { precedes(package, $0) } ?? order.endIndex)
    for directory in PackageLayout.allLibraryDirectories {
      for name in try contents.names(in: directory) {
        var owners = libraries[directory.appending(name)] ?? []
        owners.insert(package, at: owners.firstIndex { precedes(package, $0) } ?? owners.endIndex)
        libraries[directory.appending(name)] = owners
      }
    }
  }

  private func precedes(_ a: PackageID, _ b: PackageID) -> Bool {
    if named.contains(a) != named.contains(b) { return named.contains(a) }
    return a.unversioned == b.unversioned ? b < a : a < b
  }

  /// The packages, those asked for first, then lower names first, of each the newest version first.
  public var packages: [PackageID] { order }

  /// What is in a package; nil for one that is not in the set.
  public subscript(_ package: PackageID) -> (any PackageContents)? { contents[package] }

  /// The first package that has something at the path.
  public func location(of path: TreePath) throws -> Location? {
    for package in order where try contents[package]?.kind(of: path) != nil { return Location(package: package, path: path) }
    return nil
  }

  /// The library that the loader would find under a name in its own directories.
  public func library(named name: EntryName, for file: ELFFile) -> Location? {
    library(named: name, in: PackageLayout.libraryDirectories(machine: file.machine, is64Bit: file.is64Bit))
  }

  /// All that have the names of shared libraries and that the loader would find in its own directories, by name.
  ///
  /// Those of C libraries are left out: each comes with a loader that knows where it is, and fits no other.
  public func sharedLibraries(of architecture: Architecture) -> [EntryName: Location] {
    let directories = PackageLayout.libraryDirectories(of: architecture)
    var result: [EntryName: Location] = [:]
    for path in libraries.keys where directories.contains(path.parent) {
      guard let name = path.name, Self.isSharedLibrary(name), let found = library(named: name, in: directories) else { continue }
      if !["glibc", "musl"].contains(found.package.name) { result[name] = found }
    }
    return result
  }

  private static func isSharedLibrary(_ name: EntryName) -> Bool {
    guard let name = String(validating: name.bytes, as: UTF8.self) else { return false }
    return name.hasSuffix(".so") || name.contains(".so.")
  }

  private func library(named name: EntryName, in directories: [TreePath]) -> Location? {
    var result: Location?
    for directory in directories {
      let path = directory.appending(name)
      // The package decides before the directory: a newer version may have its libraries elsewhere.
      if let package = libraries[path]?.first, result.map({ precedes(package, $0.package) }) ?? true {
        result = Location(package: package, path: path)
      }
    }
    return result
  }
}
