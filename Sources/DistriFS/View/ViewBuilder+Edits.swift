// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

extension ViewBuilder {
  /// Deeper directories of a package are not shown in exchange directories.
  private static let maximumDepth = 64

  /// A directory of a package that is still to be read.
  private struct Visit {
    var node: PackageIndex.Node
    var directory: UInt32
    var path: [UInt8]
    var source: [UInt8]
    /// Below the exchange directory at the top.
    var depth: Int
  }

  /// Everything that a package brings, and its name at the top.
  mutating func collect(_ arrival: Arrival, _ sources: [ExchangeSource], _ numbering: inout Numbering) {
    let package = arrival.package
    let name = package.name.array
    if !arrival.isNamed {
      add(
        Edit(
          hash: nameHash(name), name: name, package: package.number, claim: 0, kind: .package, isRemoval: false,
          detail: package.number),
        to: NodeCodec.rootDirectory)
    }
    guard let index = arrival.index else {
      if let paths = arrival.paths { collect(arrival.isSelected ? paths() : [], of: package, sources, &numbering) }
      return
    }
    guard arrival.isSelected else { return package.set(MountedPackage.Summary(index, claims: [])) }
    var claims: [UInt8] = []
    var visits: [Visit] = []
    for source in sources.sorted(by: { $0.name < $1.name }) {
      guard let node = directory(at: source.source, in: index) else { continue }
      let number = claim(
        source.name.bytes, kind: .directory, by: package, in: NodeCodec.rootDirectory, path: [], &claims, &numbering)
      visits.append(Visit(node: node, directory: number, path: source.name.bytes, source: source.source.bytes, depth: 0))
    }
    var next = 0
    // An image's directories are listed once each; an index that says otherwise is not one of ours.
    while next < visits.count, next <= Int(index.nodeCount) + sources.count {
      let visit = visits[next]
      next += 1
      for entryNumber in visit.node.entries {
        let entry = index.entry(entryNumber)
        guard let node = index.node(entry.node) else { continue }
        let name = index.names.array(entry.nameOffset, entry.nameLength)
        if node.kind == .directory {
          if visit.depth >= Self.maximumDepth { continue }
          let path = visit.path + [UInt8(ascii: "/")] + name
          let source = visit.source + [UInt8(ascii: "/")] + name
          let number = claim(
            name, kind: .directory, by: package, in: visit.directory, path: path, source: source, &claims, &numbering)
          visits.append(Visit(node: node, directory: number, path: path, source: source, depth: visit.depth + 1))
        } else {
          let target = node.kind == .symbolicLink ? index.target(of: node) : []
          let isShown = !target.isEmpty && Self.staysInside(target, depth: visit.depth)
          _ = claim(
            name, kind: .link, by: package, in: visit.directory, path: [], target: isShown ? target : [], &claims, &numbering)
        }
      }
    }
    package.set(MountedPackage.Summary(index, claims: claims))
  }

  /// The same where only the paths of files are known.
  private mutating func collect(
    _ paths: [String], of package: MountedPackage, _ sources: [ExchangeSource], _ numbering: inout Numbering
  ) {
    var claims: [UInt8] = []
    let names = Dictionary(sources.map { ($0.source, $0.name) }, uniquingKeysWith: { first, _ in first })
    // The directories of the path before: sorted, the next one shares most of them.
    var place: [(name: EntryName, number: UInt32?, path: [UInt8])] = []
    var last = ""
    for text in paths.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) where text != last {
      last = text
      guard let path = try? TreePath(parsing: text), path.bytes.elementsEqual(text.utf8), let name = path.name,
        case let directories = path.components.dropLast(), directories.count < Self.maximumDepth
      else { continue }
      place.removeLast(place.count - zip(place, directories).prefix { $0.name == $1 }.count)
      for component in directories.dropFirst(place.count) {
        let source = TreePath(components: place.map(\.name) + [component])
        let parent = place.last
        if let number = parent?.number, let way = parent?.path {
          let inside = way + [UInt8(ascii: "/")] + component.bytes
          let own = claim(
            component.bytes, kind: .directory, by: package, in: number, path: inside, source: source.bytes, &claims, &numbering)
          place.append((component, own, inside))
        } else if let top = names[source]?.bytes {
          let own = claim(top, kind: .directory, by: package, in: NodeCodec.rootDirectory, path: [], &claims, &numbering)
          place.append((component, own, top))
        } else {
          place.append((component, nil, []))
        }
      }
      if let number = place.last?.number {
        _ = claim(name.bytes, kind: .link, by: package, in: number, path: [], &claims, &numbering)
      }
    }
    package.set(MountedPackage.Summary(fileCount: paths.count, claims: claims, modificationTime: package.modificationTime))
  }

  /// Adds an edit for a name and the package's note of it. Of a directory its number.
  private mutating func claim(
    _ name: [UInt8], kind: ExchangeDirectory.Kind, by package: MountedPackage, in parent: UInt32, path: [UInt8],
    source: [UInt8] = [],
    target: [UInt8] = [], _ claims: inout [UInt8], _ numbering: inout Numbering
  ) -> UInt32 {
    let hash = nameHash(name)
    var number: UInt32 = 0
    if kind == .directory { number = directory(named: name, hash, in: parent, path, source, &numbering) }
    add(
      Edit(
        hash: hash, name: name, package: package.number, claim: UInt32(claims.count / 8), kind: kind, isRemoval: false,
        detail: number,
        target: target), to: parent)
    claims.append(number: parent)
    claims.append(number: UInt32(truncatingIfNeeded: hash >> 32))
    return number
  }

  /// The number of an exchange directory: the one it has, or a new one.
  private mutating func directory(
    named name: [UInt8], _ hash: UInt64, in parent: UInt32, _ path: [UInt8], _ source: [UInt8], _ numbering: inout Numbering
  ) -> UInt32 {
    let child = Child(parent: parent, hash: hash)
    if let known = children[child] { return known }
    if let entry = previous.directory(numbered: parent)?.entry(named: name), entry.kind == .directory {
      children[child] = entry.detail
      return entry.detail
    }
    let number = numbering.directory(path)
    children[child] = number
    origins[number] = (path, source)
    // Made even if nothing is in it.
    edits[number, default: []] += []
    return number
  }

  /// All claims of a package, and its name at the top.
  mutating func collectRemoval(of package: MountedPackage) {
    let name = package.name.array
    let own = Edit(
      hash: nameHash(name), name: name, package: package.number, claim: 0, kind: .package, isRemoval: true, detail: package.number)
    // One of the same name that comes at the same time follows.
    add(own, to: NodeCodec.rootDirectory)
    collectClaimRemoval(of: package)
  }

  /// All claims of a package, whose name stays.
  mutating func collectClaimRemoval(of package: MountedPackage) {
    let claims = package.summary.claims
    for number in 0..<UInt32(claims.count / 8) {
      let parent = claims.u32(Int(number) * 8)
      let prefix = claims.u32(Int(number) * 8 + 4)
      guard let directory = previous.directory(numbered: parent),
        let found = directory.entry(of: package.number, claim: number, prefix: prefix)
      else { continue }
      add(
        Edit(
          hash: found.entry.hash, name: directory.name(of: found.entry), package: package.number, claim: number,
          kind: found.claim.kind,
          isRemoval: true), to: parent)
    }
  }

  private mutating func add(_ edit: Edit, to directory: UInt32) { edits[directory, default: []].append(edit) }

  /// The directory at the path. One relative link in its place is followed, such as `out/lib64` → `lib`.
  private func directory(at path: TreePath, in index: PackageIndex) -> PackageIndex.Node? {
    guard let node = index.node(at: path).flatMap({ index.node($0) }) else { return nil }
    if node.kind == .directory { return node }
    guard node.kind == .symbolicLink, case let target = index.target(of: node), target.first != UInt8(ascii: "/"),
      let relative = try? TreePath(parsing: target)
    else { return nil }
    let resolved = index.node(at: TreePath(components: path.parent.components + relative.components)).flatMap { index.node($0) }
    return resolved?.kind == .directory ? resolved : nil
  }

  /// Whether a link of a directory so many levels below an exchange directory never leaves that.
  static func staysInside(_ target: [UInt8], depth: Int) -> Bool {
    guard let first = target.first, first != UInt8(ascii: "/") else { return false }
    var depth = depth
    for component in target.split(separator: UInt8(ascii: "/")) {
      if component.elementsEqual([UInt8(ascii: "."), UInt8(ascii: ".")]) {
        depth -= 1
        if depth < 0 { return false }
      } else if !component.elementsEqual([UInt8(ascii: ".")]) {
        depth += 1
      }
    }
    return true
  }
}
