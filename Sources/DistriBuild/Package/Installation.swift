// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Carries out the ``InstallInstructions`` of a definition on the files that its steps installed.
struct Installation {
  let package: PackageID
  let instructions: InstallInstructions
  let variables: Variables
  /// The unpacked source, where units and files come from.
  let source: FilePath

  private static let pass = "install instructions"

  /// Everything but capabilities, in the order that the format has.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for an instruction that cannot be carried out.
  func apply(to tree: inout PackageTree) throws {
    for path in instructions.deletions {
      let target = try below(path)
      guard tree[target] != nil else { throw defect("delete: there is no \(target)") }
      tree.remove(target)
    }
    for unit in instructions.systemdUnits {
      let from = try variables.expand(unit)
      let name = FilePath(from).lastComponent?.string ?? from
      try copy(from, to: try below("lib/systemd/system/\(name)"), permissions: 0o644, into: &tree)
    }
    for file in instructions.files {
      try copy(try variables.expand(file.source), to: try below(file.destination), permissions: nil, into: &tree)
    }
    for link in instructions.symbolicLinks {
      let path = try below(link.newName)
      guard tree[path] == nil else { throw defect("symlink: \(path) is there already") }
      tree.insertLink(path, to: try variables.expand(link.oldName))
    }
    for mode in instructions.modes { try change(mode, in: &tree) }
    for directory in instructions.emptyDirectories {
      let path = try below(directory)
      if tree[path] == nil {
        tree.insert(
          .init(entry: TreeEntry(path: path, kind: .directory, permissions: 0o755, modificationTime: tree.modificationTime)))
      }
    }
    for rename in instructions.renames { try move(rename, in: &tree) }
  }

  /// Capabilities, which come after everything that writes to files.
  ///
  /// - Throws: as ``apply(to:)``.
  func applyCapabilities(to tree: inout PackageTree) throws {
    for instruction in instructions.capabilities {
      let path = try below(instruction.filename)
      guard var node = tree.file(at: path) else { throw defect("capability: there is no file \(path)") }
      guard let capabilities = FileCapabilities(parsing: instruction.capability) else {
        throw defect("capability: «\(instruction.capability.printable)» is not in the words of setcap")
      }
      let attribute = capabilities.attribute
      node.entry.extendedAttributes.removeAll { $0.name == attribute.name }
      node.entry.extendedAttributes.append(attribute)
      tree.insert(node)
    }
  }

  private func defect(_ reason: String) -> BuildError { .invalidPackage("\(package)", pass: Self.pass, reason: reason) }

  /// A path of the result: below `out`, wherever it starts.
  private func below(_ text: String) throws -> TreePath {
    let expanded = try variables.expand(text)
    let prefix = "/ro/\(package)/out/"
    let relative = expanded.hasPrefix(prefix) ? String(expanded.dropFirst(prefix.count)) : expanded
    guard let path = try? TreePath(parsing: relative), !path.isRoot else {
      throw defect("«\(text.printable)» is no path below out")
    }
    return TreePath(components: PackageLayout.out.components + path.components)
  }

  private func copy(_ from: String, to path: TreePath, permissions: UInt16?, into tree: inout PackageTree) throws {
    // TreePath refuses what would leave the source; links inside it are refused, too: the source is somebody else's.
    guard let inside = try? TreePath(parsing: from), !inside.isRoot else {
      throw defect("«\(from.printable)» is no path in the source")
    }
    var node: PackageTree.Node?
    var directory = try DirectoryTree(path: source)
    while let entry = try directory.next() {
      guard entry.path == inside, case .regular = entry.kind else { continue }
      node = PackageTree.Node(entry: entry, contents: .file(inside.components.reduce(source) { $0.appending($1.description) }))
      break
    }
    guard var node else { throw defect("there is no file \(from) in the source") }
    node.entry.path = path
    if let permissions { node.entry.permissions = permissions }
    node.entry.modificationTime = tree.modificationTime
    tree.insert(node)
  }

  private func change(_ mode: InstallInstructions.Mode, in tree: inout PackageTree) throws {
    let path = try below(mode.name)
    guard var node = tree.file(at: path) else { throw defect("chmod: there is no file \(path)") }
    if mode.setsUserID { node.entry.permissions |= 0o4000 } else { node.entry.permissions &= ~0o4000 }
    tree.insert(node)
  }

  private func move(_ rename: InstallInstructions.Link, in tree: inout PackageTree) throws {
    let from = try below(rename.oldName), to = try below(rename.newName)
    guard tree[from] != nil else { throw defect("rename: there is no \(from)") }
    guard tree[to] == nil else { throw defect("rename: \(to) is there already") }
    guard !to.components.starts(with: from.components) else { throw defect("rename: \(to) is inside \(from)") }
    tree.move(from, to: to)
  }
}

extension PackageTree {
  /// Moves an entry with all below it; further names of files that are moved keep naming them.
  mutating func move(_ from: TreePath, to: TreePath) {
    let moved = sortedNodes.filter { $0.entry.path.components.starts(with: from.components) }
    func place(_ path: TreePath) -> TreePath {
      guard path.components.starts(with: from.components) else { return path }
      return TreePath(components: to.components + path.components.dropFirst(from.components.count))
    }
    let linked = sortedNodes.filter {
      guard case .hardLink(let first) = $0.entry.kind else { return false }
      return place(first) != first
    }
    remove(from)
    for var node in moved {
      node.entry.path = place(node.entry.path)
      if case .hardLink(let first) = node.entry.kind { node.entry.kind = .hardLink(to: place(first)) }
      insert(node)
    }
    for var node in linked where !node.entry.path.components.starts(with: from.components) {
      if case .hardLink(let first) = node.entry.kind { node.entry.kind = .hardLink(to: place(first)) }
      insert(node)
    }
  }
}
