// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What a view begins with: what the server before has left, what an earlier mount has written, or nothing.
struct Start {
  var view: View
  var file: ViewFile?
  var numbering: Numbering
  /// Whether a server before has shown it to the kernel.
  var isInherited = false
  var fingerprint: StoreScan.Fingerprint?
  /// What the kernel may not have heard of.
  var unreported: [FileSystemChange] = []

  init(
    _ supply: PackageSupply, _ selection: PackageFileSystem.Selection, _ sources: [ExchangeSource]
  ) throws(StoreError) {
    let (store, keeper) = (supply.store, supply.keeper)
    let digest = ViewSaver.digest(of: sources, supply.remote)
    if let inherited = keeper?.inherited[ViewSaver.keeperName] {
      isInherited = true
      file = (try? MappedFile(descriptor: inherited)).flatMap { ViewFile($0, sources: digest) }
    } else if selection.isWhole {
      file = IndexDirectory(store).map(ViewSaver.fileName(digest)).flatMap { ViewFile($0, sources: digest) }
    } else if keeper == nil, let only = selection.only {
      // The next server of a mount would not know the numbers that come from there.
      file = SelectionViews(store, sources).nearest(to: only)
    }
    let journal = keeper.map { NumberJournal.inherited($0) } ?? []
    if !journal.isEmpty { isInherited = true }
    if let file {
      view = file.view()
      if !view.unions.declarations.isEmpty {
        view = view.with(
          unions: RuntimeUnions(declarations: view.unions.declarations, of: view.slots) { try? $0.open(in: supply) })
      }
      numbering = Numbering(after: view, journal: journal)
    } else {
      numbering = Numbering(journal: journal)
      view = ViewBuilder.emptyView(sources, &numbering)
    }
    if let keeper { view = view.with(slots: Self.lingering(view, keeper)) }
  }

  /// Shows what the server before may have shown after its view was kept: packages whose images it has left. What has gone since then is
  /// found, and reported, by the look at the store that follows.
  mutating func replay(_ supply: PackageSupply, _ sources: [ExchangeSource]) {
    // Of several of one name, the last.
    var latest: [[UInt8]: MountedPackage] = [:]
    for package in view.lingering { latest[package.name.array] = package }
    let arrivals = latest.values.sorted { $0.number < $1.number }.compactMap { package in
      (try? package.open(in: supply)).map { ViewBuilder.Arrival(package: package, index: $0.index) }
    }
    if arrivals.isEmpty { return }
    let replaced = view.shown.filter { latest[$0.name.array] != nil }
    let built = ViewBuilder.apply(
      removing: replaced, adding: arrivals, to: view, sources: sources, at: SystemCalls.now, &numbering)
    unreported += built.changes
    var slots = view.slots
    for package in replaced { slots[package.number]?.isShown = false }
    for arrival in arrivals { slots[arrival.package.number]?.isShown = true }
    view = View(
      file: view.file, changed: view.changed.merging(built.changed) { $1 }, slots: slots, unions: view.unions,
      nextPackage: numbering.nextPackage, nextDirectory: numbering.nextDirectory)
  }

  /// The view's packages, and those that have gone from the store but that programs still use.
  private static func lingering(_ view: View, _ keeper: any DescriptorKeeper) -> PackageSlots {
    var slots = view.slots
    for (key, image) in keeper.inherited {
      let parts = key.split(separator: "/", maxSplits: 2).map(String.init)
      guard parts.count == 3, parts[0] == "image", let number = UInt32(parts[1]), number < NodeCodec.packageLimit, number > 0,
        let identity = try? ImageIdentity(of: image)
      else { continue }
      if slots[number] != nil { continue }
      let package = MountedPackage(number: number, name: IndexBytes(Array(parts[2].utf8)), identity: identity)
      slots[number] = View.Slot(package: package, isShown: false)
    }
    return slots
  }
}
