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
  private var order: [PackageID] = []
  /// What lies in the directories that the loader searches; asked for every library of every file.
  private var libraries: [TreePath: [PackageID]] = [:]

  /// Makes an empty set.
  public init() {}

  /// Makes a set of a package's dependencies.
  ///
  /// - Throws: what the source of images throws.
  public init(_ packages: some Sequence<PackageID>, in source: some ImageSource) async throws {
    for package in packages { try insert(package, try await source.image(of: package)) }
  }

  /// Adds a package. Of two that have the same file, the one with the lower name is found, of its versions the newest.
  ///
  /// - Throws: what listing the package's directories of libraries throws.
  public mutating func insert(_ package: PackageID, _ contents: any PackageContents) throws {
    guard self.contents.updateValue(contents, forKey: package) == nil else { return }
    order.insert(package, at: order.firstIndex { Self.precedes(package, $0) } ?? order.endIndex)
    for directory in PackageLayout.allLibraryDirectories {
      for name in try contents.names(in: directory) {
        var owners = libraries[directory.appending(name)] ?? []
        owners.insert(package, at: owners.firstIndex { Self.precedes(package, $0) } ?? owners.endIndex)
        libraries[directory.appending(name)] = owners
      }
    }
  }

  private static func precedes(_ a: PackageID, _ b: PackageID) -> Bool { a.unversioned == b.unversioned ? b < a : a < b }

  /// The packages, lower names first, of each the newest version first.
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
    var result: Location?
    for directory in PackageLayout.libraryDirectories(machine: file.machine, is64Bit: file.is64Bit) {
      let path = directory.appending(name)
      // The package decides before the directory: a newer version may have its libraries elsewhere.
      if let package = libraries[path]?.first, result.map({ Self.precedes(package, $0.package) }) ?? true {
        result = Location(package: package, path: path)
      }
    }
    return result
  }
}
