// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What debuggers show of a package's source: the source as it was when the steps began, and the generated files that the debug
/// symbols name. It is mounted on `/usr/src/<package>`, where the build had it.
struct SourcePackage {
  let layout: BuildLayout
  /// What was in the source before the steps, which may write there; nil when they may not.
  let original: Set<TreePath>?

  /// Remembers what is in a source.
  ///
  /// - Throws: what ``DirectoryTree`` throws.
  static func paths(in source: FilePath) throws -> Set<TreePath> {
    var result: Set<TreePath> = []
    var tree = try DirectoryTree(path: source)
    while let entry = try tree.next() { result.insert(entry.path) }
    return result
  }

  /// The files for an image. All of them belong to root and are of one time.
  ///
  /// - Parameter symbols: files of debug symbols.
  /// - Throws: ``BuildError/system(operation:path:_:)``; what ``DirectoryTree`` throws.
  func tree(for symbols: DebugSymbols, modificationTime: Int64) throws -> PackageTree {
    var result = PackageTree(modificationTime: modificationTime)
    let source = try PackageTree(directory: layout.source)
    for node in source.sortedNodes where original?.contains(node.entry.path) ?? true {
      insert(node, from: source, into: &result)
    }
    // Generated files lie in the build directory, or in the source where that is the same.
    let places = try [source] + (layout.buildsInTree ? [] : [PackageTree(directory: layout.build)])
    for path in try named(by: symbols) where result.kind(of: path) == nil {
      guard let place = places.first(where: { $0.file(at: path) != nil }), let node = place[path] else { continue }
      insert(node, from: place, into: &result)
    }
    return result
  }

  /// Of a file with several names only those are there that are wanted: each is a file of its own.
  private func insert(_ node: PackageTree.Node, from tree: PackageTree, into result: inout PackageTree) {
    var node = node
    if case .hardLink(let first) = node.entry.kind {
      guard let file = tree[first] else { return }
      node.entry.kind = file.entry.kind
      node.contents = file.contents
    }
    switch node.entry.kind {
    case .regular: node.entry.permissions = node.entry.permissions & 0o100 == 0 ? 0o644 : 0o755
    case .directory: node.entry.permissions = 0o755
    case .symbolicLink: break
    default: return
    }
    node.entry.userID = 0
    node.entry.groupID = 0
    node.entry.modificationTime = result.modificationTime
    node.entry.extendedAttributes = []
    result.insert(node)
  }

  /// Paths below the source or the build directory.
  private func named(by symbols: DebugSymbols) throws -> [TreePath] {
    var result: Set<TreePath> = []
    for (_, file) in symbols.files {
      for name in try DebugLineReader(path: file).fileNames() {
        if let path = inside(name) { result.insert(path) }
      }
    }
    return result.sorted { $0.components.lexicographicallyPrecedes($1.components) }
  }

  /// The compiler was told to call the build directory as it will be seen in the end. Assemblers and others were not.
  private func inside(_ name: String) -> TreePath? {
    var components: [EntryName] = []
    for part in name.split(separator: "/") where part != "." {
      if part == ".." {
        if components.isEmpty { return nil }
        components.removeLast()
      } else {
        guard let component = try? EntryName(String(part)) else { return nil }
        components.append(component)
      }
    }
    guard name.hasPrefix("/") else { return components.isEmpty ? nil : TreePath(components: components) }
    for root in [layout.insideSource, layout.insideBuild] {
      let start = root.components.map { Array($0.string.utf8) }
      if components.count > start.count, zip(start, components).allSatisfy({ $0 == $1.bytes }) {
        return TreePath(components: Array(components.dropFirst(start.count)))
      }
    }
    return nil
  }
}
