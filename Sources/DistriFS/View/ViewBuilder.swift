// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization

/// Makes a view of packages: a pure function of them and of the view before, whose numbers it goes on with.
///
/// Directories to which the same packages contribute as before are taken over as they are, with all below them: a package that arrives costs
/// only the directories that it has.
struct ViewBuilder {
  private let previous: View?
  /// When the change happened; nil for a first view, whose times are those of the images.
  private let time: Int64?
  private var directories: [ExchangeDirectory?]
  private var changes: [FileSystemChange] = []
  private var conflicts: [View.Conflict]?

  private init(previous: View?, time: Int64?, collectsConflicts: Bool) {
    self.previous = previous
    self.time = time
    directories = previous?.directories ?? [nil, nil]
    conflicts = collectsConflicts ? [] : nil
  }

  /// The view of the packages, and what is different from the one before.
  static func view(
    of packages: [MountedPackage], sources: [ExchangeSource], after previous: View? = nil, at time: Int64? = nil
  ) -> (view: View, changes: [FileSystemChange]) {
    var builder = ViewBuilder(previous: previous, time: time, collectsConflicts: false)
    let shown = packages.sorted { $0.id < $1.id }
    builder.mergeRoot(shown, sources)
    let slots = builder.slots(for: shown)
    return (View(shown: shown, slots: slots, directories: builder.directories), builder.changes)
  }

  /// The names that more than one package claims, sorted by path. Versions of one package do not contend with each other.
  static func conflicts(of packages: [MountedPackage], sources: [ExchangeSource]) -> [View.Conflict] {
    var builder = ViewBuilder(previous: nil, time: nil, collectsConflicts: true)
    builder.mergeRoot(packages, sources)
    return (builder.conflicts ?? []).sorted { $0.path.bytes.lexicographicallyPrecedes($1.path.bytes) }
  }

  /// Whoever comes first keeps a name: packages by name, of one package the newest.
  static func takesPrecedence(_ a: PackageID, over b: PackageID) -> Bool {
    if a.name == b.name, a.architecture == b.architecture { return a > b }
    return a < b
  }

  private func slots(for shown: [MountedPackage]) -> [View.Slot?] {
    // What went with the view before last and is not in use can go.
    var slots = (previous?.slots ?? [nil]).map { slot in
      slot.flatMap {
        $0.isShown || $0.package.lookups.load(ordering: .relaxed) > 0 ? View.Slot(package: $0.package, isShown: false) : nil
      }
    }
    for package in shown {
      let number = Int(package.number)
      if number >= slots.count { slots += [View.Slot?](repeating: nil, count: number + 1 - slots.count) }
      slots[number] = View.Slot(package: package, isShown: true)
    }
    return slots
  }

  // MARK: - Merging

  private typealias Contributor = ExchangeDirectory.Contributor

  private mutating func mergeRoot(_ packages: [MountedPackage], _ sources: [ExchangeSource]) {
    let contributors = packages.sorted { Self.takesPrecedence($0.id, over: $1.id) }
      .map { Contributor(package: $0, contents: $0.contents) }
    let before = previous?.root
    var entries: [ExchangeDirectory.Entry] = []
    var nextEntry = UInt32(before?.positions.count ?? 0)
    for source in sources.sorted(by: { $0.name < $1.name }) {
      let old = before?.entry(named: source.name)
      let inside = contributors.compactMap { contributor in
        contributor.contents.entries.first { $0.name == source.name }?.directory.map {
          Contributor(package: contributor.package, contents: $0)
        }
      }
      guard
        let number = merge(
          inside, at: TreePath(components: [source.name]), source.source, before: old?.directoryNumber, depth: 0)
      else { continue }
      entries.append(.init(name: source.name, number: old?.number ?? nextEntry, content: .directory(number)))
      if old == nil { nextEntry += 1 }
    }
    let gone = Set(previous?.shown.map(\.number) ?? [])
    let come = Set(packages.map(\.number))
    if let previous {
      for package in previous.shown + packages where gone.contains(package.number) != come.contains(package.number) {
        if let name = try? EntryName(package.id.description) { changes.append(.entry(name, in: .root)) }
      }
    }
    let isChanged = gone != come
    if isChanged, previous != nil { changes.append(.directory(.root)) }
    directories[Int(InodeCodec.rootDirectory)] = ExchangeDirectory(
      number: InodeCodec.rootDirectory, path: .root, sourcePath: .root, contributors: [], entries: entries,
      entryNumberLimit: Int(nextEntry),
      modificationTime: modificationTime(before, isChanged: isChanged, contributors))
  }

  /// The number of the merged directory; nil when there are no numbers left, or the tree is too deep.
  private mutating func merge(
    _ contributors: [Contributor], at path: TreePath, _ source: TreePath, before number: UInt32?, depth: Int
  ) -> UInt32? {
    let before = number.flatMap { previous?.directory(numbered: $0) }
    if let before, conflicts == nil, Self.isSame(before.contributors, contributors) { return before.number }
    let number = before?.number ?? UInt32(truncatingIfNeeded: directories.count)
    guard number < InodeCodec.directoryLimit, depth < 100 else { return nil }
    if before == nil { directories.append(nil) }

    let old = before?.entries ?? []
    var oldIndex = 0
    var entries: [ExchangeDirectory.Entry] = []
    var nextEntry = UInt32(before?.positions.count ?? 0)
    var changed: [EntryName] = []
    for group in Self.groups(contributors) {
      // Both lists are sorted: names of before that come earlier are gone.
      while oldIndex < old.count, old[oldIndex].name < group.name {
        changed.append(old[oldIndex].name)
        remove(old[oldIndex])
        oldIndex += 1
      }
      var same: ExchangeDirectory.Entry?
      if oldIndex < old.count, old[oldIndex].name == group.name {
        same = old[oldIndex]
        oldIndex += 1
      }
      guard let content = content(of: group, in: contributors, at: path, source, before: same, depth: depth) else {
        if same != nil { changed.append(group.name) }
        continue
      }
      if let same, Self.isSame(same.content, content) {
        entries.append(.init(name: group.name, number: same.number, content: content))
        continue
      }
      if let same, case .link = content { remove(same) }
      guard nextEntry < InodeCodec.entryLimit else { continue }
      changed.append(group.name)
      entries.append(.init(name: group.name, number: nextEntry, content: content))
      nextEntry += 1
    }
    for entry in old[oldIndex...] {
      changed.append(entry.name)
      remove(entry)
    }
    if before != nil, !changed.isEmpty {
      let inode = InodeCodec.directory(number)
      changes += changed.map { .entry($0, in: inode) }
      changes.append(.directory(inode))
    }
    directories[Int(number)] = ExchangeDirectory(
      number: number, path: path, sourcePath: source, contributors: contributors, entries: entries,
      entryNumberLimit: Int(nextEntry),
      modificationTime: modificationTime(before, isChanged: !changed.isEmpty, contributors))
    return number
  }

  private func modificationTime(_ before: ExchangeDirectory?, isChanged: Bool, _ contributors: [Contributor]) -> Int64 {
    if let before, !isChanged { return before.modificationTime }
    return time ?? contributors.map(\.package.modificationTime).max() ?? 0
  }

  /// Forgets a directory that is gone, with all below it.
  private mutating func remove(_ entry: ExchangeDirectory.Entry) {
    var pending = [entry]
    while let entry = pending.popLast() {
      guard case .directory(let number) = entry.content, let directory = directories[Int(number)] else { continue }
      directories[Int(number)] = nil
      pending += directory.entries
    }
  }

  // MARK: - Names

  /// A name, and who has it, in order of precedence.
  private struct Group {
    var name: EntryName
    var candidates: [(contributor: Int, content: ExchangeContents.Content)]
  }

  private static func groups(_ contributors: [Contributor]) -> [Group] {
    var all: [(name: EntryName, contributor: Int, content: ExchangeContents.Content)] = []
    all.reserveCapacity(contributors.reduce(0) { $0 + $1.contents.entries.count })
    for (index, contributor) in contributors.enumerated() {
      for entry in contributor.contents.entries { all.append((entry.name, index, entry.content)) }
    }
    if contributors.count > 1 { all.sort { $0.name == $1.name ? $0.contributor < $1.contributor : $0.name < $1.name } }
    var groups: [Group] = []
    groups.reserveCapacity(all.count)
    for item in all {
      if let last = groups.indices.last, groups[last].name == item.name {
        groups[last].candidates.append((item.contributor, item.content))
      } else {
        groups.append(Group(name: item.name, candidates: [(item.contributor, item.content)]))
      }
    }
    return groups
  }

  /// What a name stands for: a directory if any package has one, else the file of the first.
  private mutating func content(
    of group: Group, in contributors: [Contributor], at path: TreePath, _ source: TreePath, before: ExchangeDirectory.Entry?,
    depth: Int
  ) -> ExchangeDirectory.Content? {
    let inside = group.candidates.compactMap { candidate in
      candidate.content.directory.map { Contributor(package: contributors[candidate.contributor].package, contents: $0) }
    }
    noteConflict(group, in: contributors, at: path)
    if !inside.isEmpty {
      return merge(
        inside, at: path.appending(group.name), source.appending(group.name), before: before?.directoryNumber, depth: depth + 1
      ).map { .directory($0) }
    }
    guard let first = group.candidates.first else { return nil }
    let package = contributors[first.contributor].package
    if case .link(let target) = first.content { return .link(package, target: target) }
    return .link(package, target: nil)
  }

  private mutating func noteConflict(_ group: Group, in contributors: [Contributor], at path: TreePath) {
    guard conflicts != nil, group.candidates.count > 1 else { return }
    let winner = group.candidates.first { $0.content.directory != nil } ?? group.candidates[0]
    let winnerID = contributors[winner.contributor].package.id
    let losers = group.candidates.filter { $0.content.directory == nil && $0.contributor != winner.contributor }
      .map { contributors[$0.contributor].package.id }.filter { $0.unversioned != winnerID.unversioned }
    guard !losers.isEmpty else { return }
    conflicts?.append(View.Conflict(path: path.appending(group.name), winner: winnerID, losers: losers))
  }

  private static func isSame(_ a: [Contributor], _ b: [Contributor]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { $0.package === $1.package && $0.contents === $1.contents }
  }

  private static func isSame(_ a: ExchangeDirectory.Content, _ b: ExchangeDirectory.Content) -> Bool {
    switch (a, b) {
    case (.directory(let a), .directory(let b)): a == b
    case (.link(let a, let aTarget), .link(let b, let bTarget)): a === b && aTarget == bTarget
    default: false
    }
  }
}

extension ExchangeContents.Content {
  /// The tree below, of a directory.
  fileprivate var directory: ExchangeContents? {
    if case .directory(let contents) = self { return contents }
    return nil
  }
}

extension ExchangeContents.Entry {
  fileprivate var directory: ExchangeContents? { content.directory }
}

extension ExchangeDirectory.Entry {
  /// The number, of a directory.
  fileprivate var directoryNumber: UInt32? {
    if case .directory(let number) = content { return number }
    return nil
  }
}
