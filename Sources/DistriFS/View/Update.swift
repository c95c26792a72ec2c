// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// From a look at the store to the view of it.
struct Update {
  /// What is looked at, beside the names in the directory.
  enum Extent {
    /// Only files of these packages, which somebody has written to.
    case atNames(Set<[UInt8]>)
    /// All files.
    case atAll
  }

  struct Result {
    var view: View
    var changes: [FileSystemChange]
    var fingerprint: StoreScan.Fingerprint
  }

  /// What is different between the view and the store.
  private struct Difference {
    var gone: [MountedPackage] = []
    /// Packages that leave the exchange directories.
    var hidden: [MountedPackage] = []
    var added: [ViewBuilder.Arrival] = []

    var isEmpty: Bool { gone.isEmpty && hidden.isEmpty && added.isEmpty }
  }

  private let supply: PackageSupply
  private let selection: PackageFileSystem.Selection
  private let sources: [ExchangeSource]
  private let references: ReferenceCounts

  init(
    _ supply: PackageSupply, _ selection: PackageFileSystem.Selection, _ sources: [ExchangeSource], _ references: ReferenceCounts
  ) {
    self.supply = supply
    self.selection = selection
    self.sources = sources
    self.references = references
  }

  private var store: LocalStore { supply.store }

  /// Lists the store and makes the view.
  ///
  /// - Parameters:
  ///   - time: now; nil for a first view, whose times are those of the images.
  ///   - isInherited: whether `before` is what the server before has shown.
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  func run(
    after before: View, _ numbering: inout Numbering, looking extent: Extent, at time: Int64?, isInherited: Bool = false
  ) throws(StoreError) -> Result {
    let scan = try StoreScan(store)
    var known: Set<UInt64> = []
    var difference = Difference()
    var again: [MountedPackage] = []
    for slot in before.slots where slot.isShown {
      let package = slot.package
      let key = package.name.checksum
      if package.identity == nil {
        known.insert(key)
      } else if isSame(package, key, scan, extent) {
        known.insert(key)
        switch (slot.isSelected, isSelected(key, scan)) {
        case (true, false): difference.hidden.append(package)
        // What was said of it, that it claims nothing, is said once only.
        case (false, true): again.append(package.renewed())
        default: if isDoubtful(package) { again.append(package) }
        }
      } else if isInherited, selection.only != nil {
        // Shown by the server before, and asked for.
        known.insert(key)
      } else {
        difference.gone.append(package)
      }
    }
    let come = arrivals(in: scan, known, &numbering)
    let opened = open(come + again)
    difference.added =
      come.map { arrival($0, opened[$0.number], scan) }
      + again.compactMap { package in
        // One that cannot be opened is selected all the same, and tried again.
        let index = opened[package.number]
        let isSwitched = before.slots[package.number]?.package !== package
        return index == nil && !isSwitched ? nil : arrival(package, index, scan, isNamed: isSwitched)
      }
    return result(after: before, difference, scan, &numbering, time)
  }

  private func arrival(
    _ package: MountedPackage, _ index: PackageIndex?, _ scan: StoreScan, isNamed: Bool = false
  ) -> ViewBuilder.Arrival {
    ViewBuilder.Arrival(
      package: package, index: index, paths: supply.paths(of: package),
      isSelected: isSelected(package.name.checksum, scan), isNamed: isNamed)
  }

  /// Whether a package fills exchange directories: all of a selection do, and all of a store without generations.
  private func isSelected(_ key: UInt64, _ scan: StoreScan) -> Bool {
    guard selection.only == nil, case .selected(let current) = scan.selection else { return true }
    return current.contains(key)
  }

  /// The view with the directory that keeps a package's place, if one is wanted.
  func withReserved(_ view: View, _ numbering: inout Numbering) -> View {
    guard let own = selection.reserved else { return view }
    let name = Array(own.description.utf8)
    guard view.package(named: name) == nil, let number = numbering.package(name, nil) else { return view }
    let package = MountedPackage(number: number, name: IndexBytes(name), identity: nil)
    let built = ViewBuilder.apply(
      removing: [], adding: [.init(package: package, index: nil)], to: view, sources: sources, at: nil, &numbering)
    var slots = view.slots
    slots[number] = View.Slot(package: package, isShown: true)
    return View(
      file: view.file, changed: view.changed.merging(built.changed) { $1 }, slots: slots, unions: view.unions,
      nextPackage: numbering.nextPackage, nextDirectory: numbering.nextDirectory)
  }

  private func result(
    after before: View, _ difference: Difference, _ scan: StoreScan, _ numbering: inout Numbering, _ time: Int64?
  ) -> Result {
    if difference.isEmpty {
      return Result(view: dropUnused(before), changes: [], fingerprint: supply.fingerprint(with: scan.fingerprint))
    }
    let (gone, added) = (difference.gone, difference.added)
    let built = ViewBuilder.apply(
      removing: gone, hiding: difference.hidden, adding: added, to: before, sources: sources, at: time, &numbering)
    var slots = before.slots
    for package in gone { slots[package.number]?.isShown = false }
    for package in difference.hidden { slots[package.number]?.isSelected = false }
    for arrival in added {
      slots[arrival.package.number] = View.Slot(package: arrival.package, isShown: true, isSelected: arrival.isSelected)
    }
    let numbers = Set(gone.map(\.number)).union(added.filter { !$0.isNamed }.map(\.package.number))
    let declarations =
      before.unions.declarations.filter { !numbers.contains($0.package) }
      + self.declarations(of: added.filter { !$0.isNamed }.map(\.package))
    let unions = RuntimeUnions(declarations: declarations, of: slots) { try? $0.open(in: supply) }
    let view = View(
      file: before.file, changed: before.changed.merging(built.changed) { $1 }, slots: slots, unions: unions,
      nextPackage: numbering.nextPackage, nextDirectory: numbering.nextDirectory)
    return Result(
      view: dropUnused(view), changes: built.changes + before.unions.changes(to: unions),
      fingerprint: supply.fingerprint(with: scan.fingerprint))
  }

  /// Without packages that have gone and that nobody uses any more.
  func dropUnused(_ view: View) -> View {
    let unused = view.lingering.filter { !references.isUsed($0.number) }
    if unused.isEmpty { return view }
    var slots = view.slots
    for package in unused {
      supply.keeper?.release(package.keeperName)
      slots[package.number] = nil
    }
    return view.with(slots: slots)
  }

  /// What the kernel may have cached of a generation that the server before has shown after its view was kept, and that is current no more: all
  /// below the exchange directories, and directories with plug-ins. Nothing where there are no generations.
  func possibleSwitches(in view: View) -> [FileSystemChange] {
    if case .everything = CurrentSelection.state(of: store), view.slots.allSatisfy(\.isSelected) { return [] }
    let bases = Set(view.unions.declarations.map(\.base)).compactMap { try? EntryName($0) }
    return (sources.map(\.name) + bases).map { .entry($0, in: .root) }
  }

  // MARK: - Looking

  private func isSame(_ package: MountedPackage, _ key: UInt64, _ scan: StoreScan, _ extent: Extent) -> Bool {
    guard let found = scan.packages[key], found.imageInode != 0, isComplete(found, package.description) else {
      return supply.remotePackage(of: package) != nil
    }
    if supply.remotePackage(of: package) != nil { return false }
    if let only = selection.only, (try? package.id).map({ !only.contains($0) }) ?? true { return false }
    let looks: Bool
    switch extent {
    case .atAll: looks = true
    case .atNames(let names): looks = found.imageInode != package.identity?.inode || names.contains(package.name.array)
    }
    // Some file systems list other inode numbers than they say of the file itself.
    return !looks || (try? ImageIdentity(of: imagePath(package.description))) == package.identity
  }

  /// Whether the metadata are there. A writer may have moved them past us while the directory was listed.
  private func isComplete(_ found: StoreScan.Package, _ name: String) -> Bool {
    if found.hasMetadata || store.section != .packages { return true }
    return (try? ImageIdentity(of: store.path.appending("\(name).meta.textproto"))) != nil
  }

  private func imagePath(_ name: String) -> FilePath { store.path.appending("\(name).squashfs") }

  /// Whether it should be tried again: it could not be opened, but is not damaged.
  private func isDoubtful(_ package: MountedPackage) -> Bool {
    if case .damagedImage = package.problem { return false }
    return package.isDoubtful
  }

  /// Packages that have come, in the order of their names.
  private func arrivals(in scan: StoreScan, _ known: Set<UInt64>, _ numbering: inout Numbering) -> [MountedPackage] {
    var wanted: [(id: PackageID, name: [UInt8], identity: ImageIdentity)] = []
    for (key, found) in scan.packages where found.imageInode != 0 && !known.contains(key) {
      let name = scan.name(of: found)
      let text = String(decoding: name, as: UTF8.self)
      guard let id = try? PackageID(parsing: text), id.description == text, id != selection.reserved,
        selection.only?.contains(id) ?? true, isComplete(found, text), let identity = try? ImageIdentity(of: imagePath(text))
      else { continue }
      wanted.append((id, name, identity))
    }
    let local = Set(wanted.map(\.id))
    for (key, entry) in supply.remote?.entries ?? [:] where !known.contains(key) && !local.contains(entry.package.id) {
      guard selection.only?.contains(entry.package.id) ?? true, entry.package.id != selection.reserved else { continue }
      wanted.append((entry.package.id, Array(entry.package.id.description.utf8), entry.identity))
    }
    return wanted.sorted { $0.id < $1.id }.compactMap { item in
      numbering.package(item.name, item.identity).map {
        MountedPackage(number: $0, name: IndexBytes(item.name), identity: item.identity)
      }
    }
  }

  /// The indexes of packages, by number.
  private func open(_ packages: [MountedPackage]) -> [UInt32: PackageIndex] {
    let result = Mutex<[UInt32: PackageIndex]>([:])
    Parallel.forEach(packages.filter { $0.identity != nil && supply.remotePackage(of: $0) == nil }) { package in
      package.clearPassingProblem()
      if let opened = try? package.open(in: supply) { result.withLock { $0[package.number] = opened.index } }
    }
    return result.withLock { $0 }
  }

  private func declarations(of packages: [MountedPackage]) -> [RuntimeUnions.Declaration] {
    packages.filter { $0.identity != nil }.flatMap { RuntimeUnions.declarations(of: $0, in: store) }
  }
}
