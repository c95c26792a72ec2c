// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The directory `lib/` of a package: one link per shared library that any of its ELF files needs, with exact versions.
///
/// `/ro/<package>/lib` is the RUNPATH of all of the package's ELF files, so that the loader looks into one directory. Making the
/// farm also finds the run-time dependencies that libraries are.
public struct LibraryFarm: Sendable {
  /// A file that the loader loads.
  public struct Object: Sendable {
    /// Inside the package.
    public let path: TreePath
    /// Its headers.
    public let elf: ELFFile
  }

  /// The links by name.
  public private(set) var links: [EntryName: PackageSet.Location] = [:]
  /// Directories that some files must search before the farm, because they need another library of a name that is in the farm.
  public private(set) var directoriesBeforeFarm: [TreePath: [String]] = [:]
  /// The packages whose libraries are needed, and by which files.
  public private(set) var reasons = DependencyReasons()

  private let package: PackageID
  private let tree: PackageTree
  private let dependencies: PackageSet

  /// Finds every file of the tree that the loader loads: dynamic programs and libraries, no relocatable files, no debug symbols.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for a damaged ELF file; ``BuildError/system(operation:path:_:)``.
  public static func objects(in tree: PackageTree) throws(BuildError) -> [Object] {
    var result: [Object] = []
    for node in tree.sortedNodes {
      guard let contents = node.contents, !PackageLayout.holdsDebugSymbols(node.entry.path) else { continue }
      let name = node.entry.path.description
      let elf: ELFFile? =
        switch contents {
        case .bytes(let bytes): try ELFFile(bytes, named: name)
        case .file(let path): try ELFFile(path: path, named: name)
        }
      if let elf, elf.isDynamic, elf.kind == .shared || elf.kind == .executable {
        result.append(Object(path: node.entry.path, elf: elf))
      }
    }
    return result
  }

  /// Finds the library for every name that the objects need.
  ///
  /// Searched are, as the loader would: the file's own RUNPATH, with paths of `/usr` and `/lib` taken as paths of packages; the
  /// package's directories of libraries; those of the dependencies. Last comes any directory of the package itself: a plug-in may
  /// need what its program has loaded by then.
  ///
  /// - Parameter optional: names that need not be found.
  /// - Throws: ``BuildError/missingDependency(_:of:)`` that names library and file; what reading the dependencies throws.
  public init(
    of package: PackageID, tree: PackageTree, objects: [Object], dependencies: PackageSet, optional: Set<String> = []
  ) throws {
    self.package = package
    self.tree = tree
    self.dependencies = dependencies
    var privateLibraries: [EntryName: TreePath]?
    for object in objects {
      for library in object.elf.needed {
        guard let name = try? EntryName(library) else {
          throw BuildError.invalidPackage(
            "\(package): \(object.path)", pass: "library farm", reason: "needs a library named «\(library.printable)»")
        }
        var found =
          try inSearchPath(name, of: object) ?? own(name, for: object.elf) ?? dependencies.library(named: name, for: object.elf)
        if found == nil {
          let known = privateLibraries ?? Dictionary(objects.map { ($0.path.name ?? name, $0.path) }) { first, _ in first }
          privateLibraries = known
          found = known[name].map { PackageSet.Location(package: package, path: $0) }
        }
        guard let found else {
          if optional.contains(library) { continue }
          throw BuildError.missingDependency(library, of: "\(package): \(object.path)")
        }
        add(name, found, for: object)
      }
    }
    reasons.remove(package)
  }

  /// The packages that the libraries are in, without the package itself.
  public var runtimeDependencies: Set<PackageID> { reasons.packages }

  /// How a reason begins that is a library.
  static func reason(_ library: String) -> String { "library \(library)" }

  /// Puts the links into the package's tree.
  public func insert(into tree: inout PackageTree) {
    for (name, location) in links { tree.insertLink(PackageLayout.lib.appending(name), to: location.inView) }
  }

  private mutating func add(_ name: EntryName, _ location: PackageSet.Location, for object: Object) {
    reasons.add(location.package, Self.reason(name.description), of: object.path)
    guard let other = links.updateValue(links[name] ?? location, forKey: name), other != location else { return }
    let directory = PackageLayout.inView(location.path.parent, of: location.package)
    if directoriesBeforeFarm[object.path]?.contains(directory) != true {
      directoriesBeforeFarm[object.path, default: []].append(directory)
    }
  }

  private func own(_ name: EntryName, for elf: ELFFile) -> PackageSet.Location? {
    for directory in PackageLayout.libraryDirectories(machine: elf.machine, is64Bit: elf.is64Bit) {
      let path = directory.appending(name)
      if tree.kind(of: path) != nil { return PackageSet.Location(package: package, path: path) }
    }
    return nil
  }

  private func inSearchPath(_ name: EntryName, of object: Object) throws -> PackageSet.Location? {
    for directory in object.elf.searchPath {
      guard let location = PackageLayout.location(ofSearchDirectory: directory, for: object.path, of: package),
        location.path != PackageLayout.lib  // a farm has links only, to what is found without it
      else { continue }
      let path = location.path.appending(name)
      if location.package == package {
        if tree.kind(of: path) != nil { return PackageSet.Location(package: package, path: path) }
        // A path of the file system at large may be in any package.
        if directory.hasPrefix("/ro/") || directory.hasPrefix("$") { continue }
        if let found = try dependencies.location(of: path) { return found }
      } else if try dependencies[location.package]?.kind(of: path) != nil {
        return PackageSet.Location(package: location.package, path: path)
      }
    }
    return nil
  }
}
