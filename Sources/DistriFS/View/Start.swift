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

  init(
    _ store: LocalStore, _ selection: PackageFileSystem.Selection, _ sources: [ExchangeSource], _ keeper: (any DescriptorKeeper)?
  ) throws(StoreError) {
    let digest = ViewSaver.digest(of: sources)
    if let inherited = keeper?.inherited[ViewSaver.keeperName] {
      isInherited = true
      file = (try? MappedFile(descriptor: inherited)).flatMap { ViewFile($0, sources: digest) }
    } else if selection.isWhole {
      file = IndexDirectory(store).map(ViewSaver.fileName(sources)).flatMap { ViewFile($0, sources: digest) }
    }
    let journal = keeper.map { NumberJournal.inherited($0) } ?? []
    if !journal.isEmpty { isInherited = true }
    if let file {
      view = file.view()
      if !view.unions.declarations.isEmpty {
        view = view.with(
          unions: RuntimeUnions(declarations: view.unions.declarations, of: view.slots) { try? $0.open(in: store, keeper) })
      }
      numbering = Numbering(after: view, journal: journal)
    } else {
      numbering = Numbering(journal: journal)
      view = ViewBuilder.emptyView(sources, &numbering)
    }
    if let keeper { view = view.with(slots: Self.lingering(view, keeper)) }
  }

  /// The view's packages, and those that have gone from the store but that programs still use.
  private static func lingering(_ view: View, _ keeper: any DescriptorKeeper) -> [View.Slot?] {
    var slots = view.slots
    for (key, image) in keeper.inherited {
      let parts = key.split(separator: "/", maxSplits: 2).map(String.init)
      guard parts.count == 3, parts[0] == "image", let number = UInt32(parts[1]), number < NodeCodec.packageLimit, number > 0,
        let identity = try? ImageIdentity(of: image)
      else { continue }
      while slots.count <= Int(number) { slots.append(nil) }
      if slots[Int(number)] != nil { continue }
      let package = MountedPackage(number: number, name: IndexBytes(Array(parts[2].utf8)), identity: identity)
      slots[Int(number)] = View.Slot(package: package, isShown: false)
    }
    return slots
  }
}
