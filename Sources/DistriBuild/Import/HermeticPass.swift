// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Makes the files of an imported package refer to exact versions: links, first lines of scripts, linker scripts, pkg-config files,
/// libraries and interpreters of ELF files.
struct HermeticPass {
  let package: PackageID
  let definition: ImportDefinition.Package
  /// All packages that are imported together, and this one.
  let others: PackageSet

  /// What the pass makes of a tree.
  struct Result {
    var tree: PackageTree
    var dependencies: Set<PackageID> = []
    var farm: LibraryFarm
    /// What patchelf has to do, by path in the tree.
    var rewrites: [TreePath: (interpreter: String?, runpath: String?, libraries: [String: String])] = [:]
  }

  /// - Parameter objects: the tree's files that the loader loads.
  /// - Throws: ``BuildError/missingDependency(_:of:)`` for a library or interpreter that no package has; what reading contents throws.
  func run(_ original: PackageTree, objects: [LibraryFarm.Object]) throws -> Result {
    var tree = original
    var dependencies: Set<PackageID> = []
    for node in original.sortedNodes {
      switch node.entry.kind {
      case .symbolicLink(let target):
        guard let (new, owner) = try relink(target, at: node.entry.path, in: original) else { continue }
        var node = node
        node.entry.kind = .symbolicLink(target: new)
        tree.insert(node)
        dependencies.formUnion(owner.map { [$0] } ?? [])
      case .regular(let byteCount):
        guard let (bytes, owners) = try rewrite(node, byteCount: byteCount, in: original) else { continue }
        var node = node
        node.entry.kind = .regular(byteCount: UInt64(bytes.count))
        node.contents = .bytes(bytes)
        tree.insert(node)
        dependencies.formUnion(owners)
      default: continue
      }
    }
    let farm = try LibraryFarm(
      of: package, tree: original, objects: objects, dependencies: others, optional: definition.optionalLibraries)
    farm.insert(into: &tree)
    var result = Result(tree: tree, dependencies: dependencies.union(farm.runtimeDependencies), farm: farm)
    for object in objects where !Self.isLoaderItself(object.elf) {
      let interpreter = try interpreter(of: object, dependencies: &result.dependencies)
      let libraries = ELFRewriter.libraries(of: object, in: package)
      let runpath = object.elf.needed.isEmpty || !libraries.isEmpty ? nil : try runpath(of: object, farm: farm, in: original)
      if interpreter != nil || runpath != nil || !libraries.isEmpty {
        result.rewrites[object.path] = (interpreter, runpath, libraries)
      }
    }
    result.dependencies.remove(package)
    return result
  }

  // MARK: Places

  /// The package that has a path of the file system at large: this one, if it has it.
  private func owner(of path: TreePath, in tree: PackageTree) throws -> PackageSet.Location? {
    if tree.kind(of: path) != nil { return .init(package: package, path: path) }
    return try others.location(of: path)
  }

  /// A path such as `/usr/lib/x` in the view, with its package.
  private func inView(_ absolute: some StringProtocol, in tree: PackageTree) throws -> PackageSet.Location? {
    guard let path = (try? TreePath(parsing: String(absolute))).flatMap(PackageLayout.inPackage) else { return nil }
    return try owner(of: path, in: tree)
  }

  // MARK: Links

  /// The new target of a link and the package it leads to; nil to leave it.
  private func relink(_ target: [UInt8], at path: TreePath, in tree: PackageTree) throws -> ([UInt8], PackageID?)? {
    // What is in etc is copied to /etc, where a link must follow newer versions.
    guard path.components.first == PackageLayout.out.components.first else { return nil }
    let destination: TreePath
    if target.first == UInt8(ascii: "/") {
      guard let parsed = try? TreePath(parsing: target), parsed.components.first?.bytes != Array("etc".utf8),
        let inside = PackageLayout.inPackage(parsed)
      else { return nil }
      destination = inside
    } else {
      guard let inside = PackageLayout.inside(target, at: path.parent.components, of: package) else { return nil }
      destination = TreePath(components: inside)
    }
    guard let found = try owner(of: destination, in: tree) else { return nil }
    if found.package == package {
      let relative = PackageLayout.relative(from: path.parent, to: destination)
      return relative == target ? nil : (relative, nil)
    }
    // Documentation is often a link to another package's: it works in the view, and is no reason to depend on that package.
    if path.components.count > 2, ["doc", "man"].contains(path.components[2].description) { return nil }
    return (Array(found.inView.utf8), found.package)
  }

  // MARK: Texts

  /// No text that has to be changed is larger.
  private static let maximumTextByteCount: UInt64 = 16 << 20

  /// The new contents of a file and the packages it refers to; nil to leave it.
  private func rewrite(_ node: PackageTree.Node, byteCount: UInt64, in tree: PackageTree) throws -> ([UInt8], Set<PackageID>)? {
    guard byteCount <= Self.maximumTextByteCount else { return nil }
    let path = node.entry.path, name = path.name?.description ?? ""
    if node.entry.permissions & 0o111 != 0, let script = try Script(of: node, in: tree) {
      return try rewrite(script, of: node, in: tree)
    }
    if name.hasSuffix(".pc"), path.parent.name?.description == "pkgconfig" {
      let text = String(decoding: try tree.contents(of: node, limit: Int(byteCount)), as: UTF8.self)
      let new = Self.replacingPrefix(in: text, with: PackageLayout.inView(PackageLayout.out, of: package))
      return new == text ? nil : (Array(new.utf8), [])
    }
    if byteCount < 4096, name.hasSuffix(".so") || name.hasSuffix(".a"),
      path.components.starts(with: PackageLayout.path("out/lib").components)
    {
      let text = String(decoding: try tree.contents(of: node, limit: Int(byteCount)), as: UTF8.self)
      guard ["GROUP", "INPUT", "OUTPUT_FORMAT", "/* GNU ld"].contains(where: text.hasPrefix) else { return nil }
      return try rewriteLinkerScript(text, in: tree)
    }
    return nil
  }

  private func rewrite(_ script: Script, of node: PackageTree.Node, in tree: PackageTree) throws -> ([UInt8], Set<PackageID>)? {
    let path = node.entry.path
    if definition.keptInterpreters.contains(where: { Wildcard($0).matches(path.description) }) { return nil }
    let wanted = script.programForEnv.map { "/usr/bin/\($0)" } ?? script.interpreter
    guard let found = try program(wanted, in: tree), let limit = Int(exactly: Self.maximumTextByteCount) else { return nil }
    var line = "#!" + found.inView
    if script.programForEnv == nil, !script.argument.isEmpty { line += " " + script.argument }
    // A line that the kernel would cut off starts another program than the one meant.
    guard line.utf8.count < Script.maximumByteCount else { return nil }
    return (Array(line.utf8) + (try tree.contents(of: node, limit: limit)).dropFirst(script.byteCount), [found.package])
  }

  /// The wrapper of a program that is named by a path such as `/usr/bin/perl`.
  private func program(_ absolute: String, in tree: PackageTree) throws -> PackageSet.Location? {
    guard let found = try inView(absolute, in: tree) else { return nil }
    guard ["out/bin", "out/sbin"].contains(found.path.parent.description), let name = found.path.name else { return found }
    return .init(package: found.package, path: PackageLayout.bin.appending(name))
  }

  private func rewriteLinkerScript(_ text: String, in tree: PackageTree) throws -> ([UInt8], Set<PackageID>)? {
    var result = "", owners: Set<PackageID> = [], rest = text[...]
    while let start = rest.firstIndex(of: "/") {
      let word = rest[start...].prefix { !$0.isWhitespace && $0 != ")" && $0 != "," }
      result += rest[..<start]
      if let found = try inView(word, in: tree) {
        result += found.inView
        owners.insert(found.package)
      } else {
        result += word
      }
      rest = rest[word.endIndex...]
    }
    return (Array((result + rest).utf8), owners)
  }

  /// Replaces `/usr` where it starts a path: after `=`, a blank, `-I` or `-L`, and before `/` or the end of a word.
  static func replacingPrefix(in text: String, with prefix: String) -> String {
    var result = "", previous: Character = "\n", rest = text[...]
    while let character = rest.first {
      let after = rest.dropFirst(4).first
      if rest.hasPrefix("/usr"), previous == "=" || previous == "I" || previous == "L" || previous.isWhitespace,
        after == nil || after == "/" || after?.isWhitespace == true
      {
        result += prefix
        rest = rest.dropFirst(4)
        previous = "r"
      } else {
        result.append(character)
        previous = character
        rest = rest.dropFirst()
      }
    }
    return result
  }

  // MARK: ELF files

  /// The loader and the C library find each other without our help, and do not bear to be changed.
  private static func isLoaderItself(_ elf: ELFFile) -> Bool {
    guard let soname = elf.soname else { return false }
    return soname.hasPrefix("ld-") || soname == "libc.so.6" || soname == "libc.so"
  }

  private func interpreter(of object: LibraryFarm.Object, dependencies: inout Set<PackageID>) throws -> String? {
    guard let interpreter = object.elf.interpreter, !interpreter.hasPrefix("/ro/") else { return nil }
    guard let path = (try? TreePath(parsing: interpreter)).flatMap(PackageLayout.inPackage), let name = path.name else {
      return nil
    }
    let candidates = [PackageLayout.path("out/lib").appending(name), path]
    for path in candidates {
      if let found = try others.location(of: path) {
        dependencies.insert(found.package)
        return found.inView
      }
    }
    if definition.optionalLibraries.contains(name.description) { return nil }
    throw BuildError.missingDependency(interpreter, of: "\(package): \(object.path)")
  }

  private func runpath(of object: LibraryFarm.Object, farm: LibraryFarm, in tree: PackageTree) throws -> String {
    var directories = farm.directoriesBeforeFarm[object.path] ?? []
    directories.append(PackageLayout.inView(PackageLayout.lib, of: package))
    // What a file loads by itself while it runs, it looks for where it always did.
    for directory in object.elf.searchPath {
      if directory.hasPrefix("$") || directory.hasPrefix("/ro/") {
        directories.append(directory)
      } else if let found = try inView(directory, in: tree), found.path.components.count > 2 {
        directories.append(found.inView)
      }
    }
    var seen: Set<String> = []
    return directories.filter { seen.insert($0).inserted }.joined(separator: ":")
  }
}
