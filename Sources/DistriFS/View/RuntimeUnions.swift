// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Directories of packages that show entries of other packages, too: plug-ins, beside those that the package has itself.
struct RuntimeUnions: Sendable {
  /// What a package's metadata say: its `out/<directory>` lies over that of the base.
  struct Declaration: Sendable, Hashable {
    /// The number of the package that brings plug-ins.
    var package: UInt32
    /// Below `out`.
    var directory: [UInt8]
    /// The full name of the package whose directory shows the union.
    var base: [UInt8]
  }

  /// A link to a plug-in.
  struct Link: Sendable, Hashable {
    var name: EntryName
    var hash: UInt64
    var inode: NodeID
    /// Below the view's root.
    var path: [UInt8]
    var target: [UInt8]
    var modificationTime: Int64
  }

  let declarations: [Declaration]
  /// By the directory that shows the union: links, sorted by hash.
  private(set) var links: [NodeID: [Link]] = [:]
  private var byNumber: [NodeID: Link] = [:]

  /// Links have these numbers among a package's claims, which claims never reach.
  private static let claimFlag: UInt32 = 1 << 31

  static let none = RuntimeUnions(declarations: [])

  init(declarations: [Declaration]) { self.declarations = declarations }

  /// What a package's metadata say; nothing where they cannot be read.
  static func declarations(of package: MountedPackage, in store: LocalStore) -> [Declaration] {
    guard store.section == .packages, let id = try? package.id, let metadata = try? store.metadata(of: id) else { return [] }
    return metadata.runtimeUnions.map {
      Declaration(package: package.number, directory: $0.directory.bytes, base: Array($0.package.description.utf8))
    }
  }

  /// Reads the directories of all packages that take part.
  ///
  /// - Parameter open: opens a package; what cannot be opened takes no part.
  init(declarations: [Declaration], of slots: PackageSlots, open: (MountedPackage) -> OpenedPackage?) {
    self.declarations = declarations
    if declarations.isEmpty { return }
    var shown: [[UInt8]: MountedPackage] = [:]
    for slot in slots { if slot.isShown { shown[slot.package.name.array] = slot.package } }
    let ordered = declarations.compactMap { declaration -> (Declaration, PackageID, MountedPackage)? in
      guard let slot = slots[declaration.package], slot.isShown, slot.isSelected, let id = try? slot.package.id
      else { return nil }
      return (declaration, id, slot.package)
    }.sorted {
      $0.1 == $1.1 ? $0.0.directory.lexicographicallyPrecedes($1.0.directory) : ViewBuilder.takesPrecedence($0.1, over: $1.1)
    }
    for (declaration, _, package) in ordered {
      guard let base = shown[declaration.base], base !== package, let opened = open(base), let plugins = open(package) else {
        continue
      }
      add(declaration, from: package, plugins.index, to: base, opened.index)
    }
    for key in Array(links.keys) { links[key]?.sort { $0.hash < $1.hash } }
  }

  private mutating func add(
    _ declaration: Declaration, from package: MountedPackage, _ plugins: PackageIndex, to base: MountedPackage,
    _ index: PackageIndex
  ) {
    guard let path = try? TreePath(parsing: Array("out/".utf8) + declaration.directory), let number = index.node(at: path),
      let directory = index.node(number), let source = plugins.node(at: path).flatMap({ plugins.node($0) })
    else { return }
    let union = NodeCodec.file(package: base.number, node: number)
    var names = Set((links[union] ?? []).map(\.name))
    let inside = [UInt8(ascii: "/")] + path.bytes + [UInt8(ascii: "/")]
    let way = Array(repeatElement("../", count: path.components.count + 1).joined().utf8)
    for number in source.entries {
      let entry = plugins.entry(number)
      guard let name = try? EntryName(plugins.names.array(entry.nameOffset, entry.nameLength)),
        index.lookUp(name.bytes, in: directory) == nil,
        names.insert(name).inserted
      else { continue }
      let link = Link(
        name: name, hash: nameHash(name.bytes), inode: NodeCodec.link(package: package.number, claim: Self.claimFlag | number),
        path: base.name.array + inside + name.bytes, target: way + package.name.array + inside + name.bytes,
        modificationTime: package.modificationTime)
      links[union, default: []].append(link)
      byNumber[link.inode] = link
    }
  }

  /// The link of a number.
  func link(_ inode: NodeID) -> Link? { byNumber[inode] }

  /// All links, in no particular order: where they are, and where they lead.
  var shown: [(path: [UInt8], target: [UInt8])] { byNumber.values.map { ($0.path, $0.target) } }

  /// The names that are different in another state.
  func changes(to other: RuntimeUnions) -> [FileSystemChange] {
    var changes: [FileSystemChange] = []
    for directory in Set(links.keys).union(other.links.keys) {
      let changed = Set(links[directory] ?? []).symmetricDifference(other.links[directory] ?? [])
      if changed.isEmpty { continue }
      changes += Set(changed.map(\.name)).map { .entry($0, in: directory) }
      changes.append(.directory(directory))
    }
    return changes
  }
}

extension RuntimeUnions.Link {
  /// Behind those of the directory's own entries.
  var cookie: UInt64 { 1 << 61 | hash >> 1 }

  var attributes: Attributes {
    Attributes(
      inode: inode, kind: .symbolicLink, permissions: 0o777, byteCount: UInt64(target.count), modificationTime: modificationTime)
  }
}
