// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization

/// What a mount shows at one moment: packages, and the directories that they fill together. Immutable.
public final class View: Sendable {
  /// A package by its number. One that has gone stays for as long as the kernel refers to its files.
  struct Slot: Sendable {
    var package: MountedPackage
    var isShown: Bool
  }

  /// A name that several packages claim.
  public struct Conflict: Sendable, Hashable {
    /// Below the view's root, such as `bin/awk`.
    public var path: TreePath
    /// Whose file is shown; of a directory, the first package that has it.
    public var winner: PackageID
    /// Whose files are not.
    public var losers: [PackageID]
  }

  /// The packages shown, in ``PackageID``'s order.
  let shown: [MountedPackage]
  /// By ``InodeCodec``'s package number.
  let slots: [Slot?]
  /// By directory number.
  let directories: [ExchangeDirectory?]
  private let numbers: [EntryName: UInt32]

  init(shown: [MountedPackage], slots: [Slot?], directories: [ExchangeDirectory?]) {
    self.shown = shown
    self.slots = slots
    self.directories = directories
    var numbers: [EntryName: UInt32] = [:]
    for package in shown { if let name = try? EntryName(package.id.description) { numbers[name] = package.number } }
    self.numbers = numbers
  }

  /// The packages, sorted.
  public var packages: [PackageID] { shown.map(\.id) }

  /// The directory that holds the exchange directories: the root without the packages.
  var root: ExchangeDirectory? { directory(numbered: InodeCodec.rootDirectory) }

  func directory(numbered number: UInt32) -> ExchangeDirectory? {
    number < directories.count ? directories[Int(number)] : nil
  }

  /// The package of a number, shown or still in use.
  func package(numbered number: UInt32) -> MountedPackage? {
    number < slots.count ? slots[Int(number)]?.package : nil
  }

  /// The package that is shown under a name.
  func package(named name: EntryName) -> MountedPackage? { numbers[name].flatMap { package(numbered: $0) } }

  /// The view without packages that have gone and that nobody uses any more.
  func withoutUnused() -> View {
    let kept = slots.map { slot in
      slot.flatMap { $0.isShown || $0.package.lookups.load(ordering: .relaxed) > 0 ? $0 : nil }
    }
    return View(shown: shown, slots: kept, directories: directories)
  }
}
