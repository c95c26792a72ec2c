// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Makes a view from the one before: a function of that and of the packages that have come and gone, whose names alone it touches.
///
/// What a package brings becomes edits, by directory; each directory that has some is merged with them into a new block.
struct ViewBuilder {
  /// A package that comes, with its index; nil for one that shows nothing but an empty directory, or cannot be opened.
  struct Arrival {
    var package: MountedPackage
    var index: PackageIndex?
    /// Instead of an index, gives the files of a package that is not here: those of exchange directories.
    var paths: (() -> [String])?
    /// Whether it fills exchange directories.
    var isSelected = true
    /// Whether its name is there already.
    var isNamed = false
  }

  /// What becomes of one claim to a name.
  struct Edit {
    var hash: UInt64
    var name: [UInt8]
    var package: UInt32
    var claim: UInt32
    var kind: ExchangeDirectory.Kind
    var isRemoval: Bool
    /// Of a directory or package its number.
    var detail: UInt32 = 0
    /// Of a link that is shown as it is.
    var target: [UInt8] = []
  }

  /// What the merge of a directory needs to know of a package.
  struct Member {
    var package: MountedPackage
    var id: PackageID?
  }

  /// The new state of what has changed.
  struct Result {
    var changed: [UInt32: ExchangeDirectory?]
    var changes: [FileSystemChange]
  }

  let previous: View
  /// When the change happened; nil for a first view, whose times are those of the images.
  let time: Int64?
  var edits: [UInt32: [Edit]] = [:]
  /// Directories that are made now: what their blocks begin with.
  var origins: [UInt32: (path: [UInt8], source: [UInt8])] = [:]
  var children: [Child: UInt32] = [:]
  private var members: [UInt32: Member] = [:]
  private var changes: [UInt32: [FileSystemChange]] = [:]

  /// A directory's name in its parent.
  struct Child: Hashable {
    var parent: UInt32
    var hash: UInt64
  }

  private init(previous: View, time: Int64?) {
    self.previous = previous
    self.time = time
  }

  /// What is different without some packages and with others, which get their claims.
  ///
  /// - Parameter hidden: packages that stay under their names, and leave the exchange directories.
  static func apply(
    removing gone: [MountedPackage], hiding hidden: [MountedPackage] = [], adding come: [Arrival], to previous: View,
    sources: [ExchangeSource], at time: Int64?,
    _ numbering: inout Numbering
  ) -> Result {
    var builder = ViewBuilder(previous: previous, time: time)
    for package in gone { builder.collectRemoval(of: package) }
    for package in hidden { builder.collectClaimRemoval(of: package) }
    // In order of precedence, so that the claims to one name are in order, too.
    let ordered = come.map { ($0, try? $0.package.id) }.sorted { a, b in
      guard let first = a.1, let second = b.1 else { return a.0.package.number < b.0.package.number }
      return takesPrecedence(first, over: second)
    }
    for (arrival, id) in ordered {
      builder.members[arrival.package.number] = Member(package: arrival.package, id: id)
      builder.collect(arrival, sources, &numbering)
    }
    return builder.merged()
  }

  /// Whoever comes first keeps a name: packages by name, of one package the newest.
  static func takesPrecedence(_ a: PackageID, over b: PackageID) -> Bool {
    if a.name == b.name, a.architecture == b.architecture { return a > b }
    return a < b
  }

  /// A view without packages: the exchange directories, empty.
  static func emptyView(_ sources: [ExchangeSource], _ numbering: inout Numbering) -> View {
    var root = ExchangeDirectoryWriter(number: NodeCodec.rootDirectory, path: [], source: [])
    var directories: [UInt32: ExchangeDirectory?] = [:]
    for source in sources.sorted(by: { nameHash($0.name.bytes) < nameHash($1.name.bytes) }) {
      let number = numbering.directory(source.name.bytes)
      root.add(name: source.name.bytes, hash: nameHash(source.name.bytes), kind: .directory, detail: number, [])
      directories[number] = ExchangeDirectoryWriter(number: number, path: source.name.bytes, source: source.source.bytes)
        .finish(modificationTime: 0)
    }
    directories[NodeCodec.rootDirectory] = root.finish(modificationTime: 0)
    return View(
      file: nil, changed: directories, slots: PackageSlots(), unions: .none, nextPackage: numbering.nextPackage,
      nextDirectory: numbering.nextDirectory)
  }

  // MARK: - Merging

  private mutating func merged() -> Result {
    var changed: [UInt32: ExchangeDirectory?] = [:]
    var gone: [UInt32] = []
    for (number, edits) in edits {
      // Stable: claims of one name stay in order of precedence.
      let sorted = edits.enumerated().sorted { ($0.element.hash, $0.offset) < ($1.element.hash, $1.offset) }.map(\.element)
      changed[number] = .some(merge(number, sorted, &gone))
    }
    while let number = gone.popLast() {
      changed[number] = .some(nil)
      // The kernel forgets all below a name that it is told to forget.
      changes[number] = nil
    }
    return Result(changed: changed, changes: changes.values.flatMap { $0 })
  }

  private mutating func merge(_ number: UInt32, _ edits: [Edit], _ gone: inout [UInt32]) -> ExchangeDirectory {
    let before = previous.directory(numbered: number)
    let origin = before.map { ($0.path, $0.source) } ?? origins[number] ?? ([], [])
    var writer = ExchangeDirectoryWriter(number: number, path: origin.0, source: origin.1)
    var changed: [[UInt8]] = []
    var old = 0
    var next = 0
    while next < edits.count {
      let hash = edits[next].hash
      while let before, old < before.count, case let entry = before.entry(at: old), entry.hash < hash {
        writer.copy(entry, from: before)
        old += 1
      }
      var end = next + 1
      while end < edits.count, edits[end].hash == hash { end += 1 }
      var entry: ExchangeDirectory.Entry?
      if let before, old < before.count, before.entry(at: old).hash == hash {
        entry = before.entry(at: old)
        old += 1
      }
      if let name = mergeEntry(entry, of: before, edits[next..<end], in: number, into: &writer, &gone) { changed.append(name) }
      next = end
    }
    while let before, old < before.count {
      writer.copy(before.entry(at: old), from: before)
      old += 1
    }
    let time: Int64
    if let before, changed.isEmpty {
      time = before.modificationTime
    } else {
      time =
        self.time
        ?? edits.reduce(before?.modificationTime ?? 0) { max($0, members[$1.package]?.package.modificationTime ?? 0) }
    }
    if before != nil, !changed.isEmpty {
      let inode = NodeCodec.directory(number)
      changes[number] = changed.compactMap { (try? EntryName($0)).map { .entry($0, in: inode) } } + [.directory(inode)]
    }
    return writer.finish(modificationTime: time)
  }

  /// Merges the claims to one name. Its bytes when it now stands for something else.
  private mutating func mergeEntry(
    _ entry: ExchangeDirectory.Entry?, of before: ExchangeDirectory?, _ edits: ArraySlice<Edit>, in directory: UInt32,
    into writer: inout ExchangeDirectoryWriter, _ gone: inout [UInt32]
  ) -> [UInt8]? {
    guard let first = edits.first else { return nil }
    let name = entry.flatMap { entry in before.map { $0.name(of: entry) } } ?? first.name
    // Two names with one hash: whoever is there first stays, the other is not shown.
    let edits = edits.filter { $0.isRemoval || $0.name == name }
    if edits.contains(where: { $0.kind == .package }) || entry?.kind == .package {
      let isRemoval = edits.last?.isRemoval != false
      let detail = edits.last?.detail ?? 0
      if !isRemoval { writer.add(name: name, hash: first.hash, kind: .package, detail: detail, []) }
      return isRemoval || entry?.detail != detail ? name : nil
    }
    var claims: [ExchangeDirectoryWriter.Claim] = []
    if let entry, let before {
      for index in entry.claims {
        let claim = before.claim(at: index)
        if edits.contains(where: { $0.isRemoval && $0.package == claim.package && $0.claim == claim.number }) { continue }
        let target = claim.targetLength > 0 ? before.text(claim.targetOffset, claim.targetLength) : []
        claims.append(.init(package: claim.package, number: claim.number, kind: claim.kind, target: target))
      }
    }
    for edit in edits where !edit.isRemoval {
      let claim = ExchangeDirectoryWriter.Claim(package: edit.package, number: edit.claim, kind: edit.kind, target: edit.target)
      claims.insert(claim, at: position(of: edit.package, in: claims))
    }
    let isDirectory = claims.contains { $0.kind == .directory } || directory == NodeCodec.rootDirectory
    if isDirectory {
      let old = entry?.kind == .directory ? entry?.detail : nil
      let number = old ?? edits.first { $0.kind == .directory && !$0.isRemoval }?.detail ?? 0
      writer.add(name: name, hash: first.hash, kind: .directory, detail: number, claims)
      return old == nil ? name : nil
    }
    if let entry, entry.kind == .directory { gone.append(entry.detail) }
    guard let winner = claims.first else { return name }
    writer.add(name: name, hash: first.hash, kind: .link, detail: 0, winner: member(winner.package).package.name, claims)
    guard let entry, let before, entry.kind == .link, let old = entry.claims.first.map({ before.claim(at: $0) }) else {
      return name
    }
    return old.package == winner.package && old.number == winner.number ? nil : name
  }

  /// Where the claim of a package belongs.
  private mutating func position(of package: UInt32, in claims: [ExchangeDirectoryWriter.Claim]) -> Int {
    // The common case first: packages come in order.
    if let last = claims.last, !takesPrecedence(package, over: last.package) { return claims.count }
    var (low, high) = (0, claims.count)
    while low < high {
      let middle = (low + high) / 2
      if takesPrecedence(package, over: claims[middle].package) { high = middle } else { low = middle + 1 }
    }
    return low
  }

  private mutating func takesPrecedence(_ a: UInt32, over b: UInt32) -> Bool {
    guard let first = member(a).id, let second = member(b).id else { return a < b }
    return Self.takesPrecedence(first, over: second)
  }

  private mutating func member(_ number: UInt32) -> Member {
    if let known = members[number] { return known }
    let package = previous.package(numbered: number) ?? MountedPackage(number: number, name: .none, identity: nil)
    let member = Member(package: package, id: try? package.id)
    members[number] = member
    return member
  }
}
